"""The wheel against a plain list of deadlines, under random operations."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lb._speedups.face.testing_base import NEVER, Timers

SIZE = 12
NUMBERS = st.integers(0, SIZE - 1)
DELAYS = st.one_of(
    st.integers(0, 3),
    st.integers(0, 600),
    st.integers(0, 40_000),
    st.integers(0, 1 << 27),
    st.integers(0, 1 << 40),
    st.sampled_from([255, 256, 257, 16_383, 16_384, 1 << 20, (1 << 26) - 1, 1 << 32, 1 << 38]),
)
ACTIONS = st.lists(st.tuples(st.sampled_from(["set", "clear", "unlink"]), NUMBERS, DELAYS), max_size=4)


class TimersAgainstAList(RuleBasedStateMachine):
    @initialize(start=st.one_of(st.integers(0, 1 << 21), st.integers((1 << 38) - 1000, 1 << 38)))
    def begin(self, start: int) -> None:
        self.timers = Timers(SIZE, start)
        self.now = start
        self.deadlines: dict[int, int] = {}
        self.actions: dict[int, list[tuple[str, int, int]]] = {}

    @rule(i=NUMBERS, delay=DELAYS)
    def set(self, i: int, delay: int) -> None:
        self.timers.set(i, self.now + delay)
        self.deadlines[i] = self.now + delay

    @rule(i=NUMBERS, back=st.integers(0, 5000))
    def set_in_the_past(self, i: int, back: int) -> None:
        self.timers.set(i, max(0, self.now - back))
        self.deadlines[i] = max(0, self.now - back)

    @rule(i=NUMBERS)
    def clear(self, i: int) -> None:
        self.timers.clear(i)
        self.deadlines.pop(i, None)

    @rule(i=NUMBERS)
    def unlink(self, i: int) -> None:
        self.timers.unlink(i)
        self.deadlines.pop(i, None)
        assert not self.timers.is_queued(i)

    @rule(i=NUMBERS, actions=ACTIONS)
    def on_fire(self, i: int, actions: list[tuple[str, int, int]]) -> None:
        self.timers.on_fire(i, actions)
        self.actions[i] = actions

    @rule(delay=DELAYS, limit=st.one_of(st.just(1 << 30), st.integers(1, 4)))
    def run(self, delay: int, limit: int) -> None:
        self.now += delay
        self.step(limit)

    @rule()
    def run_to_next(self) -> None:
        """Going from next() to next() passes no deadline and reaches the first in few steps."""
        if not self.deadlines:
            return
        first = min(self.deadlines.values())
        for _ in range(200):
            tick = self.timers.next()
            assert tick <= max(first, self.now)
            self.now = max(self.now, tick)
            if self.step(1 << 30):
                assert self.now == max(first, self.now)
                return
        raise AssertionError("next() does not come nearer")

    def step(self, limit: int) -> list[int]:
        due = {i for i, deadline in self.deadlines.items() if deadline <= self.now}
        fired = self.timers.run(self.now, limit)
        assert len(fired) == len(set(fired)) <= limit
        for i in fired:
            # What a callback made due belongs to the next run; what it took back does not fire.
            assert i in due
            assert self.deadlines[i] <= self.now
            del self.deadlines[i]
            due.discard(i)
            for verb, target, value in self.actions.get(i, []):
                due.discard(target) if verb != "set" or value else None
                if verb == "set":
                    self.deadlines[target] = self.now + value
                else:
                    self.deadlines.pop(target, None)
        if len(fired) < limit:
            # A timer set to this very moment while it waited in the run fires in this run or in the next.
            assert all(self.deadlines.get(i) == self.now for i in due)
        return fired

    @invariant()
    def next_is_a_lower_bound(self) -> None:
        if hasattr(self, "timers"):
            self.timers.check()
            first = min(self.deadlines.values(), default=NEVER)
            assert self.timers.next() <= max(first, self.now)
            for i, deadline in self.deadlines.items():
                assert self.timers.is_queued(i)
                assert self.timers.expire(i) == deadline


TestTimersAgainstAList = TimersAgainstAList.TestCase
TestTimersAgainstAList.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
