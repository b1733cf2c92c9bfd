"""Mutated heads and chunked bodies: however the bytes are cut, the verdict is one; what is taken can be written.

The suite runs a fixed number of rounds from a fixed seed. `make fuzz` (LB_FUZZ_SECONDS) goes on for that long from a
seed of its own, which is printed; a failure shows the bytes. On the sanitize build a message ends in a guard page
and in ASan's red zones.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

from kit import h1_messages
from kit.h1 import CHUNKED, GET, HEAD, HEAD_MAX, POISONS, POST, REQUEST, RESPONSE, read, unchunk

ROUNDS = 6000
SECONDS = float(os.environ.get("LB_FUZZ_SECONDS", "0"))

WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b'"',
    b"\\",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"0",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"Host: a\r\n",
    b"Connection: close, x\r\n",
    b"X: y\r\n",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"Expect: 100-continue\r\n",
    b"http://a",
    b"/",
    b"?",
    b"#",
    b"*",
    b"HTTP/1.1 200 OK\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"7fffffffffffffff\r\n",
    b"A" * 256,
    b"5;a=b\r\n",
    b"[::1]",
    b"%0d%0a",
]


def rounds() -> Iterator[random.Random]:
    seed = random.SystemRandom().randrange(2**32) if SECONDS else 9112
    print(f"seed {seed}")
    rng = random.Random(seed)
    end = time.monotonic() + SECONDS
    count = 0
    while count < ROUNDS or (SECONDS and time.monotonic() < end):
        count += 1
        yield rng


def mutated(rng: random.Random, data: bytes, other: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(found) + 1)
        to = min(len(found), at + rng.choice([1, 1, 2, 10, 100]))
        how = rng.randrange(6)
        if how == 0:
            found[at:at] = rng.choice(WORDS)
        elif how == 1:
            found[at:to] = rng.choice(WORDS)
        elif how == 2:
            del found[at:to]
        elif how == 3:
            found[at:at] = found[at:to] * rng.choice([1, 1, 2, 120])
        elif how == 4 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        else:
            found[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(found[:HEAD_MAX])


def random_cut(rng: random.Random, data: bytes) -> list[bytes]:
    if not data:
        return []
    marks = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([1, 2, 5, 20])))
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def check_head(rng: random.Random, kind: int, data: bytes, method: int) -> None:
    whole = read(kind, [data], method)
    for _ in range(2):
        pieces = random_cut(rng, data)
        assert read(kind, pieces, method, rng.choice(POISONS)).said == whole.said, pieces
    if len(data) <= 200:
        pieces = [data[i : i + 1] for i in range(len(data))]
        assert read(kind, pieces, method, rng.choice(POISONS)).said == whole.said, data
    if whole.answer < 0:
        assert whole.reason != "OK"
        assert whole.status == -whole.answer
    if whole.answer <= 0:
        return
    assert whole.answer <= len(data)
    flags = rng.randrange(32)
    wrote = whole.head.write(flags)
    assert wrote is not None, data
    assert wrote.endswith(b"\r\n\r\n")
    if kind == REQUEST and not whole.authority:
        return
    if not 200 <= whole.status < 600 and kind == RESPONSE and flags:
        return
    again = read(kind, [wrote], method)
    assert again.answer == len(wrote), (data, flags, wrote, again.reason)
    assert whole.head.write(flags, len(wrote)) == wrote
    assert whole.head.write(flags, len(wrote) - 1) is None
    whole.head.strip_hop()
    assert whole.head.write(flags) == wrote
    if again.framing == CHUNKED:
        assert not again.values(b"content-length")


def test_requests() -> None:
    last = b""
    for rng in rounds():
        data = h1_messages.request(rng, rng.choice([0, 0.3, 1]))
        last, data = data, mutated(rng, data, last)
        check_head(rng, REQUEST, data, GET)


def test_responses() -> None:
    last = b""
    for rng in rounds():
        data = h1_messages.response(rng, rng.choice([0, 0.3, 1]))
        last, data = data, mutated(rng, data, last)
        check_head(rng, RESPONSE, data, rng.choice([GET, POST, HEAD]))


def test_chunked_bodies() -> None:
    last = b""
    for rng in rounds():
        data = h1_messages.chunked_body(rng, rng.choice([0, 0.3, 1]))
        last, data = data, mutated(rng, data, last)
        whole = unchunk([data])
        for _ in range(2):
            pieces = random_cut(rng, data)
            assert unchunk(pieces) == whole, pieces
        if len(data) <= 200:
            assert unchunk([data[i : i + 1] for i in range(len(data))]) == whole, data
        body, left, said, reason = whole
        assert len(body) + left <= len(data)
        assert (reason != 0) == (said == "bad")
        if said == "more":
            assert left == 0
