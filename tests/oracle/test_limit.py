"""Rate limits beside a slow model of GCRA in fractions, over random requests, clocks that disagree a little, and rebuilds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.micro_limit import Limiter
from lb._speedups.face.plan import build
from lb._speedups.face.testing_tables import spoil
from lb.config import compile as compile_configuration
from lb.supervisor import tables
from lb.supervisor.generation import number

START = 1_000_000


@dataclass
class Limit:
    name: str
    count: int
    period_ms: int
    burst: int
    is_shadow: bool
    owed_until: dict[str, Fraction] = field(default_factory=dict)

    @property
    def interval(self) -> Fraction:
        # The data plane counts in nanoseconds, and rounds so that nobody gets more than his due.
        return Fraction(-(-self.period_ms * 1_000_000 // self.count), 1_000_000)

    def owed(self, key: str, now: int) -> Fraction:
        return max(self.owed_until.get(key, Fraction(0)) - now, Fraction(0))

    def fits(self, key: str, now: int) -> bool:
        return self.owed(key, now) + self.interval <= self.burst * self.interval

    def left(self, key: str, now: int) -> int:
        return math.floor(self.burst - self.owed(key, now) / self.interval)

    def wait_s(self, key: str, now: int) -> int:
        if self.left(key, now) == self.burst:
            return 0
        more = (self.burst - self.left(key, now) - 1) * self.interval
        return math.ceil((self.owed(key, now) - more) / 1000)


@dataclass
class Model:
    limits: list[Limit]

    def take(self, key: str, now: int) -> tuple[int, str, int, int, str]:
        fits = {each.name: each.fits(key, now) for each in self.limits}
        refusing = [each for each in self.limits if not fits[each.name] and not each.is_shadow]
        shadow = [each.name for each in self.limits if not fits[each.name] and each.is_shadow]
        if not refusing:
            for each in self.limits:
                if fits[each.name]:
                    each.owed_until[key] = now + each.owed(key, now) + each.interval
        shown = refusing or [each for each in self.limits if not each.is_shadow]
        said: tuple[str, int, int] = ("", 0, 0)
        if shown:
            # Of those that refuse the longest, else the one with least left; the first of equals.
            rank = {
                each.name: (
                    -each.wait_s(key, now) if refusing else each.left(key, now),
                    0 if refusing else -each.wait_s(key, now),
                )
                for each in shown
            }
            best = min(shown, key=lambda each: rank[each.name])
            said = best.name, best.left(key, now), best.wait_s(key, now)
        return int(not refusing), *said, shadow[0] if shadow else ""


@pytest.fixture
def mappings() -> Iterator[list[Mapping]]:
    made: list[Mapping] = []
    yield made
    for each in made:
        each.close()


def limiter(mapping: Mapping, limits: list[Limit]) -> tuple[Limiter, list[int]]:
    compiled = compile_configuration(
        {
            "version": 1,
            "limits": {
                each.name: {
                    "rate": f"{each.count}/{each.period_ms}ms",
                    "burst": each.burst,
                    "by": "req.hdr(x-key)",
                    "mode": "shadow" if each.is_shadow else "enforce",
                    "size": 100,
                }
                for each in limits
            },
            "frontends": {
                "web": {
                    "bind": ["127.0.0.1:0"],
                    "default_backend": "app",
                    "limits": [each.name for each in limits][::2],
                }
            },
            "backends": {"app": {"servers": ["127.0.0.1:1"], "limits": [each.name for each in limits][1::2]}},
        }
    )
    numbering = asyncio.run(number(mapping, compiled.objects, compiled.balances, None))
    placed = tables.place(mapping, compiled.part.tables, 1, 1)
    places = [each.offset for each in placed]
    return Limiter(build(1, compiled.rows, numbering.oids, [*numbering.offsets, *places]), mapping), places


STEPS = some.lists(
    some.tuples(some.sampled_from("abc"), some.integers(0, 700), some.integers(0, 3), some.booleans()), max_size=120
)
LIMITS = some.lists(
    some.tuples(some.integers(1, 9), some.sampled_from([250, 1000, 7001]), some.integers(1, 12), some.booleans()),
    min_size=1,
    max_size=5,
)


@effort(max_examples=150)
@given(shapes=LIMITS, steps=STEPS)
def test_as_the_model_says(shapes: list[tuple[int, int, int, bool]], steps: list[tuple[str, int, int, bool]]) -> None:
    limits = [Limit(f"l{index}", *each) for index, each in enumerate(shapes)]
    mapping = Mapping.create()
    try:
        lb, places = limiter(mapping, limits)
        # Limits are asked in the order of their tables.
        by_place = sorted(zip(places, limits, strict=True), key=lambda each: each[0])
        model = Model([each for _, each in by_place])
        clock = START
        for key, more, behind, spoils in steps:
            clock += more
            if spoils:
                for place in places:
                    spoil(mapping, place)
            now = clock - behind  # another worker's clock
            lb.set_request(f"GET / HTTP/1.1\r\nHost: x\r\nX-Key: {key}\r\n\r\n".encode(), "10.0.0.1")
            assert lb.take(now) == model.take(key, now)
    finally:
        mapping.close()


@effort(max_examples=30)
@given(
    count=some.integers(1, 50), period_ms=some.sampled_from([100, 1000]), burst=some.integers(1, 60), pause=some.integers(1, 40)
)  # fmt: skip
def test_as_many_pass_as_burst_and_rate_allow(count: int, period_ms: int, burst: int, pause: int) -> None:
    limit = Limit("l", count, period_ms, burst, False)
    # What comes back while nobody asks is kept up to the burst, so only a greedy client gets all.
    is_greedy = pause <= (burst - 1) * limit.interval
    mapping = Mapping.create()
    try:
        lb, _ = limiter(mapping, [limit])
        lb.set_request(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key: a\r\n\r\n", "10.0.0.1")
        passed = 0
        for now in range(START, START + 3 * period_ms, pause):
            passed += lb.take(now, times=burst + 5)[0]
            most = burst + math.floor((now - START) / limit.interval)
            assert passed == most if is_greedy else passed <= most
    finally:
        mapping.close()


def test_who_has_no_key_is_counted_by_address(mappings: list[Mapping]) -> None:
    mappings.append(mapping := Mapping.create())
    lb, _ = limiter(mapping, [Limit("l", 1, 1000, 1, False)])
    for head, source, passes in (
        (b"", "10.0.0.1", 1),
        (b"X-Key:\r\n", "10.0.0.1", 0),  # an empty one is none
        (b"", "10.0.0.2", 1),
        (b"", "2001:db8::1", 1),
        (b"", "2001:db8::1", 0),
        (b"", "", 1),  # unix sockets: all of them are one
        (b"", "", 0),
        (b"X-Key: 10.0.0.1\r\n", "10.0.0.1", 1),  # a key is not an address
        (b"X-Key: " + b"k" * 200 + b"1\r\n", "10.0.0.1", 1),
        (b"X-Key: " + b"k" * 200 + b"2\r\n", "10.0.0.1", 1),  # long ones are told apart by all of them
        (b"X-Key: " + b"k" * 200 + b"2\r\n", "10.0.0.1", 0),
        (b"X-Key: " + b"k" * 9000 + b"2\r\n", "10.0.0.1", 1),
        (b"X-Key: " + b"k" * 9000 + b"3\r\n", "10.0.0.1", 1),
        (b"X-Key: " + b"k" * 64 + b"\r\n", "10.0.0.1", 1),
    ):
        lb.set_request(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n", source)
        assert lb.take(START)[0] == passes, (head[:20], source)
