"""The meeting of a loop and an engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lb._speedups.face.engine import (
    ACCEPT_DESCRIPTORS,
    ACCEPT_LIMIT,
    STEP_ACCEPT,
    STEP_AGAIN,
    STEP_DRAINED,
    STEP_LIMITED,
    STEP_SWITCHED,
)
from lb.worker import DESCRIPTOR_PAUSE_S, Driver

Call = tuple[Callable[..., None], tuple[object, ...]]


class FakeLoop:
    def __init__(self) -> None:
        self.readers: dict[int, Call] = {}
        self.soon: list[Call] = []
        self.later: list[tuple[float, Call]] = []

    def add_reader(self, descriptor: int, call: Callable[..., None], *arguments: object) -> None:
        self.readers[descriptor] = (call, arguments)

    def remove_reader(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def call_soon(self, call: Callable[..., None], *arguments: object) -> None:
        self.soon.append((call, arguments))

    def call_later(self, delay: float, call: Callable[..., None], *arguments: object) -> None:
        self.later.append((delay, (call, arguments)))

    def run(self, calls: list[Call]) -> None:
        due = list(calls)
        calls.clear()
        for call, arguments in due:
            call(*arguments)

    def readable(self, descriptor: int) -> None:
        call, arguments = self.readers[descriptor]
        call(*arguments)


class FakeEngine:
    """Says what it is told to say; descriptor 5 is its epoll set."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.accepts: list[int] = []
        self.stepped = 0
        self.sockets: list[tuple[int, int]] = []
        self.given = 100
        self.done: list[str] = []
        self.limits = 0

    def fileno(self) -> int:
        return 5

    def step(self) -> int:
        self.stepped += 1
        return self.steps.pop(0) if self.steps else 0

    def accept(self, descriptor: int, is_turn: bool = False) -> int:
        return self.accepts.pop(0) if self.accepts else 0

    def listen(self, oid: int, descriptor: int) -> None:
        self.given += 1
        self.sockets.append((oid, self.given))

    def listening(self) -> list[tuple[int, int]]:
        return list(self.sockets)

    def unlisten(self, descriptor: int, *, stays: bool = False) -> None:
        self.sockets = [each for each in self.sockets if each[1] != descriptor]

    def regexes(self) -> dict[str, object]:
        return {"limits": self.limits, "limited": b"(a+)+$" if self.limits < 10 else b""}

    def drain(self) -> None:
        self.done.append("drain")

    def close(self) -> None:
        self.done.append("close")


class Setup:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.engine = FakeEngine()
        self.calls: list[str] = []
        self.driver = Driver(
            self.loop,  # type: ignore[arg-type]
            self.engine,  # type: ignore[arg-type]
            lambda: self.calls.append("switched"),
            lambda: self.calls.append("drained"),
            self.calls.append,
        )


@pytest.fixture
def made() -> Setup:
    return Setup()


def test_a_quiet_step_asks_for_nothing(made: Setup) -> None:
    made.loop.readable(5)
    assert made.engine.stepped == 1
    assert made.loop.soon == []
    assert made.loop.later == []


def test_regular_expressions_that_gave_up_are_spoken_of(made: Setup) -> None:
    made.engine.steps = [STEP_LIMITED, 0, STEP_LIMITED]
    made.engine.limits = 3
    made.loop.readable(5)
    made.loop.readable(5)
    made.engine.limits = 10
    made.loop.readable(5)
    last = ", '(a+)+$' last"
    does = "regular expressions reached a limit ({} times{}): rules that refuse did so, others were left out"
    assert made.calls == [
        does.format(3, last),
        does.format(7, ""),
    ]


def test_a_run_list_that_is_not_empty_is_gone_on_with_at_once(made: Setup) -> None:
    made.engine.steps = [STEP_AGAIN, STEP_AGAIN, 0]
    made.loop.readable(5)
    made.loop.run(made.loop.soon)
    made.loop.run(made.loop.soon)
    assert made.engine.stepped == 3
    assert made.loop.soon == []


def test_it_is_gone_on_with_once_whoever_asks(made: Setup) -> None:
    made.engine.steps = [STEP_AGAIN, STEP_AGAIN]
    made.loop.readable(5)
    made.loop.readable(5)
    assert len(made.loop.soon) == 1


def test_what_was_accepted_is_looked_at_at_once(made: Setup) -> None:
    made.driver.serve([(1, 10)], {10: 20})
    made.engine.accepts = [3]
    made.loop.readable(101)
    assert made.engine.stepped == 1


def test_at_the_limit_a_listener_waits_for_room(made: Setup) -> None:
    made.driver.serve([(1, 10), (2, 11)], {10: 20, 11: 21})
    made.engine.accepts = [ACCEPT_LIMIT]
    made.loop.readable(101)
    assert set(made.loop.readers) == {5, 102}
    made.engine.steps = [STEP_ACCEPT]
    made.loop.readable(5)
    assert set(made.loop.readers) == {5, 101, 102}


def test_without_descriptors_a_listener_comes_back_by_a_timer(made: Setup) -> None:
    made.driver.serve([(1, 10)], {10: 20})
    made.engine.accepts = [ACCEPT_DESCRIPTORS]
    made.loop.readable(101)
    assert set(made.loop.readers) == {5}
    ((delay, (call, arguments)),) = made.loop.later
    assert delay == DESCRIPTOR_PAUSE_S
    call(*arguments)
    assert set(made.loop.readers) == {5, 101}


def test_a_listener_that_went_while_it_paused_does_not_come_back(made: Setup) -> None:
    made.driver.serve([(1, 10), (2, 11)], {10: 20, 11: 21})
    made.engine.accepts = [ACCEPT_DESCRIPTORS, ACCEPT_LIMIT]
    made.loop.readable(101)
    made.loop.readable(102)
    made.driver.serve([], {})
    made.loop.run([call for _, call in made.loop.later])
    made.engine.steps = [STEP_ACCEPT]
    made.loop.readable(5)
    assert set(made.loop.readers) == {5}
    assert made.engine.sockets == []


def test_only_what_changes_is_touched(made: Setup) -> None:
    made.driver.serve([(1, 10), (2, 11)], {10: 20, 11: 21})
    made.driver.serve([(1, 10), (3, 12)], {10: 20, 12: 22})
    assert made.engine.sockets == [(1, 101), (3, 103)]
    assert set(made.loop.readers) == {5, 101, 103}


def test_news_are_passed_on(made: Setup) -> None:
    made.engine.steps = [STEP_SWITCHED | STEP_DRAINED]
    made.loop.readable(5)
    assert made.calls == ["switched", "drained"]


def test_a_closed_driver_does_nothing_any_more(made: Setup) -> None:
    made.driver.serve([(1, 10)], {10: 20})
    made.engine.steps = [STEP_AGAIN]
    made.engine.accepts = [ACCEPT_DESCRIPTORS]
    made.loop.readable(5)
    made.loop.readable(101)
    made.driver.close()
    made.driver.close()
    made.loop.run(made.loop.soon)
    made.loop.run([call for _, call in made.loop.later])
    assert made.engine.stepped == 1
    assert made.engine.done == ["close"]
    assert made.loop.readers == {}
