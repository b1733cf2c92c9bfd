"""Mutated PROXY headers: the reader agrees with a slow one, whatever the bytes and however they are cut.

Rounds and seeds as in test_h1.py. The bytes end at a guard page.
"""

from __future__ import annotations

import random

from kit import proxy
from kit.proxy import tlv, v1, v2

from lb._speedups.face.proxy import header
from lb._speedups.face.testing_proxy import Reader

from .test_h1 import rounds

READER = Reader()

WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"  ",
    b"\0",
    b"0",
    b"::",
    b"::ffff:1.2.3.4",
    b"1.2.3.4",
    b"65535",
    b"65536",
    b"TCP4",
    b"TCP6",
    b"UNKNOWN",
    b"PROXY ",
    b"\x21\x11",
    b"\x20\x00",
    b"\xff\xff",
    b"\0\x0c",
    tlv(proxy.NOOP, b""),
    tlv(proxy.AUTHORITY, b"a"),
    tlv(proxy.CRC32C, b"sum!"),
    tlv(proxy.SSL, bytes(5)),
    proxy.SIGNATURE,
]


def address(rng: random.Random, bits: int) -> str:
    if bits == 32:
        return ".".join(str(rng.choice([0, 1, 10, 99, 100, 255])) for _ in range(4))
    groups = [rng.choice(["0", "1", "abcd", "FFFF", "0db8"]) for _ in range(8)]
    if rng.random() < 0.5:
        at = rng.randrange(7)
        return ":".join(groups[:at]) + "::" + ":".join(groups[at + 2 :])
    return ":".join(groups)


def one(rng: random.Random) -> bytes:
    bits = rng.choice([32, 128])
    ends = (address(rng, bits), rng.choice([0, 1, 443, 65535]), address(rng, bits), rng.randrange(65536))
    kind = rng.randrange(6)
    if kind == 0:
        return v1(*ends)
    if kind == 1:
        return b"PROXY UNKNOWN" + rng.choice([b"", b" x"]) + b"\r\n"
    values = [
        bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 4, 5, 8, 130]))) for _ in range(rng.randrange(4))
    ]
    tlvs = b"".join(tlv(rng.choice([1, 2, 3, 4, 5, 0x20, 0x30, 0xE0]), value) for value in values)
    if kind == 2:
        return v2(command=rng.randrange(2), tlvs=tlvs, checksum=rng.random() < 0.3)
    if kind == 3:
        return v2(family=proxy.UNIX, tlvs=bytes(216) + tlvs)
    return v2(*ends, tlvs=tlvs, checksum=rng.random() < 0.5)


def mutated(rng: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        at = rng.randrange(len(found) + 1)
        to = min(len(found), at + rng.choice([1, 1, 2, 10]))
        how = rng.randrange(5)
        if how == 0:
            found[at:at] = rng.choice(WORDS)
        elif how == 1:
            found[at:to] = rng.choice(WORDS)
        elif how == 2:
            del found[at:to]
        elif how == 3 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        else:
            found[at:at] = found[at:to] * rng.choice([1, 20])
    return bytes(found[:20000])


def test_the_verdict_is_that_of_a_slow_reader() -> None:
    for rng in rounds():
        data = mutated(rng, one(rng)) + rng.choice([b"", b"", b"GET / HTTP/1.1\r\n"])
        limit = rng.choice([232, 16384])
        size, said = READER.read(data, limit)
        assert (size, said) == proxy.read(data, limit), data
        for cut in {rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)}:
            part = READER.read(data[:cut], limit)
            assert part in ((0, None), (size, said)), (data, cut)
            if cut < size:
                assert part == (0, None), (data, cut)


def test_what_is_written_is_read_again() -> None:
    for rng in rounds():
        data = one(rng)
        size, said = READER.read(data)
        if size <= 0 or said is None or said["family"] not in (2, 10):
            continue
        width = 4 if said["family"] == 2 else 16
        ends = [(proxy.ipaddress.ip_address(said[end][0][:width]), said[end][1]) for end in ("source", "target")]
        plain = [each for each in proxy.split_tlvs(said["tlvs"]) if each[0] not in (proxy.CRC32C, proxy.NOOP)]
        made = header(2, *ends, tlvs=said["tlvs"], datagram=said["datagram"], crc32c=rng.random() < 0.5)
        size, again = READER.read(made)
        assert size == len(made), data
        assert again is not None
        assert [each for each in proxy.split_tlvs(again["tlvs"]) if each[0] != proxy.CRC32C] == plain
        assert {**again, "tlvs": b"", "version": 0} == {**said, "tlvs": b"", "version": 0}, data
        size, again = READER.read(header(1, *ends))
        assert again is not None
        assert (again["source"], again["target"]) == (said["source"], said["target"]), data
