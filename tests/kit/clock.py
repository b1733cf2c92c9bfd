"""A loop whose time is told to go on, for what waits and does nothing else."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """A timer of the fake loop."""

    def __init__(self, loop: FakeLoop, when: float, call: Callable[[], object]) -> None:
        self.loop, self.when, self.call = loop, when, call

    def cancel(self) -> None:
        """Take it back."""
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class FakeLoop:
    """Time and timers."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.timers: list[Timer] = []

    def time(self) -> float:
        """Return the seconds of now."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Arm a timer."""
        timer = Timer(self, when, callback)
        self.timers.append(timer)
        return timer

    @property
    def armed(self) -> list[float]:
        """Times of the timers that are armed."""
        return sorted(timer.when for timer in self.timers)

    def turn(self) -> bool:
        """Run the timers that are due now, but none that they arm; return whether there were any."""
        due = [timer for timer in self.timers if timer.when <= self.now]
        for timer in sorted(due, key=lambda each: each.when):
            if timer in self.timers:
                self.timers.remove(timer)
                timer.call()
        return bool(due)

    def advance(self, seconds: float) -> None:
        """Let time go by, from timer to timer."""
        end = round(self.now + seconds, 9)
        while True:
            due = [timer.when for timer in self.timers if timer.when <= end]
            if not due:
                break
            self.now = max(self.now, min(due))
            self.turn()
        self.now = end
