"""Time a function of this process, in CPU nanoseconds a call.

What is timed takes a count and repeats itself that often in compiled code, so
that the interpreter's call is paid once a batch. `report` grows the count until
a batch lasts long enough for the clock, then takes the median of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.stats import median, spread

_BATCHES = 7
_BATCH_NS = 50_000_000


@dataclass(frozen=True)
class Timing:
    ns: float  # CPU nanoseconds a call, median of the batches
    spread: float  # (largest - smallest) / median
    calls: int  # in each batch


def time_calls(
    repeat: Callable[[int], object],
    batches: int = _BATCHES,
    batch_ns: int = _BATCH_NS,
    clock: Callable[[], int] = time.process_time_ns,
) -> Timing:
    """Return the cost of one call; `repeat(n)` must make n of them."""
    calls = 1
    while True:
        took = _once(repeat, calls, clock)
        if took >= batch_ns:
            break
        # At most tenfold at a time: the first batches are cold and mislead.
        calls *= min(10, max(2, batch_ns // max(1, took) + 1))
    found = [_once(repeat, calls, clock) / calls for _ in range(batches)]
    return Timing(median(found), spread(found), calls)


def report(name: str, repeat: Callable[[int], object]) -> Timing:
    """Time and print one line."""
    timing = time_calls(repeat)
    print(f"{name:40} {timing.ns:10.1f} ns a call (spread {timing.spread:.1%}, {timing.calls} calls a batch)")
    return timing


def _once(repeat: Callable[[int], object], calls: int, clock: Callable[[], int]) -> int:
    begin = clock()
    repeat(calls)
    return clock() - begin
