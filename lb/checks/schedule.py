"""When what is due: a heap of moments and one timer of the loop.

A timer of the loop for each of thousands of checks would cost more than the checks' own work. What is cancelled stays in the
heap until its moment comes, empty.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

EARLY_S = 0.001
"""A loop's clock has whole milliseconds: a timer for less fires at once, and nothing would be due yet."""

BATCH = 64
"""Due entries that run before the loop gets its turn: a supervisor that was stopped has all of them due at once."""


class Handle(Protocol):
    """What the loop gives for a timer."""

    def cancel(self) -> None:
        """Take it back."""


class Clock(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        """Call it at that time."""


class Entry:
    """Something that is due at a moment."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Make nothing of it. Again, and after it ran, is harmless."""
        self.call = None


class Schedule:
    """All that is due later."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Entry]] = []  # the number makes an order of what is due at the same time
        self._orders = 0
        self._timer: Handle | None = None
        self._armed_for = 0.0
        self._is_running = False
        self._is_closed = False

    def time(self) -> float:
        """Return monotonic seconds."""
        return self._clock.time()

    def after(self, seconds: float, call: Callable[[], None]) -> Entry:
        """Call it in so many seconds."""
        self._orders += 1
        when = self._clock.time() + seconds
        entry = Entry(when, call)
        heapq.heappush(self._heap, (when, self._orders, entry))
        if not self._is_running:
            self._arm()
        return entry

    def close(self) -> None:
        """Let nothing happen any more."""
        self._is_closed = True
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        if not self._heap or self._is_closed:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._armed_for <= when:
                return
            self._timer.cancel()
        self._armed_for = when
        self._timer = self._clock.call_at(when, self._run)

    def _run(self) -> None:
        self._timer = None
        due = self._clock.time() + EARLY_S
        self._is_running = True
        try:
            for _ in range(BATCH):
                if not self._heap or self._heap[0][0] > due:
                    break
                entry = heapq.heappop(self._heap)[2]
                call, entry.call = entry.call, None
                if call is not None:
                    call()
        finally:
            self._is_running = False
            self._arm()
