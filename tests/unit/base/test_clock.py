from __future__ import annotations

import time

from lb._speedups.face.testing import Clock


def test_monotonic_time_is_the_machines() -> None:
    clock = Clock()
    before = time.monotonic_ns() // 1000
    now = clock.mono_us()
    assert before <= now <= time.monotonic_ns() // 1000


def test_milliseconds_are_the_same_clock_rounded_down() -> None:
    clock = Clock()
    assert clock.fake(1_999, 0) == 0
    assert clock.mono_ms() == 1


def test_real_time_is_the_machines() -> None:
    clock = Clock()
    before = time.time_ns() // 1000
    now = clock.real_us()
    assert before <= now <= time.time_ns() // 1000


def test_a_faked_clock_stands_still_until_moved() -> None:
    clock = Clock()
    assert clock.fake(5_000_000, 7_000_000) == 0
    assert (clock.mono_us(), clock.real_us()) == (5_000_000, 7_000_000)
    assert clock.advance(1_500) == 0
    assert (clock.mono_us(), clock.mono_ms(), clock.real_us()) == (5_001_500, 5_001, 7_001_500)


def test_a_real_clock_cannot_be_moved() -> None:
    assert Clock().advance(1) == -1
