"""Mutated lists of addresses: nothing is read outside of them, the search ends, what is found is an address.

The suite runs a fixed number of rounds from a fixed seed; `make fuzz` (LB_FUZZ_SECONDS) goes on from a seed of its own.
"""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Iterator

from lb._speedups.face.plan import build
from lb._speedups.face.testing_forwarding import Judge, parse
from lb.config import compile  # noqa: A004

ROUNDS = 8000
SECONDS = float(os.environ.get("LB_FUZZ_SECONDS", "0"))

WORDS = [
    b"for=", b"10.0.0.1", b"192.0.2.1", b"[2001:db8::1]", b"::1", b"::ffff:10.0.0.1", b":80", b",", b", ", b";", b'"', b"\\",
    b"=", b"by=_x", b"unknown", b"_", b"[", b"]", b".", b"0", b"255", b"%1", b" ", b"\t", b"\xff", b"proto=http",
]  # fmt: skip


def rounds() -> Iterator[random.Random]:
    if not SECONDS:
        dice = random.Random(11)
        for _ in range(ROUNDS):
            yield dice
        return
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)
    end = time.monotonic() + SECONDS / 8
    while time.monotonic() < end:
        yield dice


def mutated(dice: random.Random) -> bytes:
    made = bytearray(b"".join(dice.choices(WORDS, k=dice.randrange(0, 14))))
    if made and dice.random() < 0.2:
        made[dice.randrange(len(made))] = dice.randrange(32, 127)
    if dice.random() < 0.02:
        made *= dice.randrange(1, 200)
    return bytes(made[:14000]).strip(b" \t")


def test_lists() -> None:
    judges = []
    for header in ("x-forwarded-for", "forwarded"):
        compiled = compile(
            {
                "version": 1,
                "frontends": {
                    "web": {"bind": [":80"], "default_backend": "app", "trusted_proxies": ["10.0.0.0/8"],
                            "client_address": header}
                },
                "backends": {"app": {"servers": ["10.0.0.1:80"]}},
            }
        )  # fmt: skip
        judges.append((header.encode(), Judge(build(1, compiled.rows, [1, 2, 3, 4, 5], [64]))))
    for dice in rounds():
        text = mutated(dice)
        for header, judge in judges:
            judge.read(b"GET / HTTP/1.1\r\nHost: a\r\n" + header + b": " + text + b"\r\n\r\n")
            found = judge.client()
            assert found == judge.client()
            if found is not None:
                ipaddress.ip_address(found[0])
        for strict in (False, True):
            one = parse(text[:60], strict)
            if one is not None:
                ipaddress.ip_address(one[0])
                assert parse(one[0].encode() if ":" not in one[0] else f"[{one[0]}]".encode(), strict) == (one[0], 0)
