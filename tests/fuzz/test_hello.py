"""Mutated TLS hellos: the reader agrees with a slow one, whatever the bytes and however they are cut.

Rounds and seeds as in test_h1.py. The bytes end at a guard page.
"""

from __future__ import annotations

import itertools
import random

import pytest
from kit import tls
from kit.tls import FOUND, NONE, PART, extension, message, protocols, records, server_name

from lb._speedups.face.testing_hello import Reader

from .test_h1 import rounds

READER = Reader()


def one(rng: random.Random) -> bytes:
    parts = [
        server_name((0, b"a.example")),
        server_name((1, b"x"), (0, b"b.example"), (0, b"c")),
        server_name((0, b"")),
        extension(0, b""),
        protocols(b"h2", b"http/1.1"),
        extension(16, b"\0\0"),
        protocols(b""),
        extension(10, b"\0\2\0\x1d"),
        extension(35, rng.choice([b"", b"ticket"])),
        extension(rng.randrange(65536), rng.randbytes(rng.randrange(9))),
    ]
    rng.shuffle(parts)
    made = message(
        *parts[: rng.randrange(len(parts))],
        version=rng.choice([b"\3\3", b"\3\1", b"\3\0", b"\2\0"]),
        session=bytes(rng.choice([0, 32, 33])),
        is_old=rng.random() < 0.1,
    )
    sizes = [rng.choice([1, 2, 3, 4, 5, 40, 200]) for _ in range(rng.choice([0, 0, 1, 3]))]
    return records(made, *sizes) + rng.choice([b"", b"\x16\3\1\0\1x", b"tail"])


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(out)) if out else 0
        kind = rng.randrange(4)
        if kind == 0 and out:
            out[at] = rng.choice([0, 1, 2, 3, 22, 127, 128, 255, rng.randrange(256)])
        elif kind == 1:
            out[at:at] = rng.randbytes(rng.randrange(4))
        elif kind == 2 and out:
            del out[at : at + rng.randrange(1, 5)]
        elif out:
            del out[at:]
    return bytes(out)


def test_the_reader_agrees_with_a_slow_one() -> None:
    for rng in rounds():
        data = mutated(rng, one(rng))
        assert READER.read(data) == tls.read(data), data.hex()
        READER.type(data)
        READER.version(data)


def test_what_is_told_of_a_beginning_stays_true() -> None:
    for rng in itertools.islice(rounds(), 150):
        data = mutated(rng, one(rng))
        whole = READER.read(data)
        for cut in range(len(data)):
            part = READER.read(data[:cut])
            assert part[0] == PART or part == whole, (cut, data.hex())


@pytest.mark.parametrize(
    ("name", "alpn"), [("a.example", ()), (None, ("h2",)), ("x" * 60 + ".test", ("h2", "http/1.1"))]
)
def test_real_ones(name: str | None, alpn: tuple[str, ...]) -> None:
    data = tls.hello(name, alpn)
    found, said = READER.read(data)
    assert found == FOUND
    assert said is not None
    assert said["sni"] == (None if name is None else name.encode())
    assert said["alpn"] == (b"".join(bytes([len(each)]) + each.encode() for each in alpn) or None)
    assert said["groups"]
    assert said["version"] == 0x30003
    assert READER.type(data) == (FOUND, 1)
    assert READER.version(data) == (FOUND, 0x30003)
    for cut in range(len(data)):
        assert READER.read(data[:cut]) == (PART, None)
        assert READER.type(data[:cut]) == (PART, None)


def test_versions_of_old_hellos() -> None:
    body = b"\x01\x03\x01" + (3).to_bytes(2, "big") + bytes(2) + (16).to_bytes(2, "big") + b"\1\2\3" + bytes(16)
    short = (0x8000 | len(body)).to_bytes(2, "big") + body
    assert READER.version(short) == (FOUND, 0x30001)
    assert READER.version(short[:-1]) == (PART, None)
    assert READER.version(b"\0\x1c\0" + body) == (FOUND, 0x30001)
    assert READER.version(b"GET / HTTP/1.1\r\n\r\n") == (NONE, None)
    assert READER.type(b"GET") == (NONE, None)
    assert READER.version(b"\x16\3\1\0\5xxxxxx") == (NONE, None)  # too short to be one
