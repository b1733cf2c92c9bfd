"""When a worker counts as stuck."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from lb.supervisor import workers as module
from lb.supervisor.journal import Journal
from lb.supervisor.workers import LATE_MS, STUCK_MS, Worker, Workers


class FakeMapping:
    def __init__(self) -> None:
        self.beat_ms = 0

    def worker(self, slot: int) -> dict[str, int]:
        return {"beat_ms": self.beat_ms}


class FakeChild:
    def __init__(self) -> None:
        self.pid = 1234
        self.killed: list[signal.Signals] = []

    def kill(self, number: signal.Signals) -> None:
        self.killed.append(number)


class FakeLoop:
    def __init__(self) -> None:
        self.later: list[tuple[float, object, signal.Signals]] = []

    def call_later(self, delay: float, call: object, argument: signal.Signals) -> None:
        self.later.append((delay, call, argument))


class Heart:
    """One worker whose clock is ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000
        self.mapping = FakeMapping()
        self.mapping.beat_ms = self.now
        self.child = FakeChild()
        self.loop = FakeLoop()
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        self.said = os.open(os.devnull, os.O_WRONLY)
        heritage = type("Heritage", (), {"mapping": self.mapping, "eventfds": [self.eventfd]})()
        stream = os.fdopen(self.said, "w")
        self.stream = stream
        self.journal = Journal(stream)
        self.workers = Workers(self.loop, None, heritage, None, self.journal)  # type: ignore[arg-type]
        self.worker = Worker(1, self.child, None, 0.0)  # type: ignore[arg-type]
        self.workers._by_slot[1] = self.worker
        monkeypatch.setattr(module, "now_ms", lambda: self.now)

    def tick(self, after_ms: int, *, beats: bool = False, was_late: bool = False) -> bool:
        """Let time go by, look; whether it was woken."""
        self.now += after_ms
        if beats:
            self.mapping.beat_ms = self.now
        self.workers.listen_to_hearts(was_late)
        try:
            return os.eventfd_read(self.eventfd) > 0
        except BlockingIOError:
            return False


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heart]:
    found = Heart(monkeypatch)
    yield found
    os.close(found.eventfd)
    found.stream.close()


def test_one_that_beats_is_left_alone(heart: Heart) -> None:
    for _ in range(100):
        assert not heart.tick(500, beats=True)
    assert heart.child.killed == []


def test_an_idle_one_is_woken_each_second_and_lives(heart: Heart) -> None:
    for _ in range(100):
        heart.tick(LATE_MS, beats=True)
        assert heart.tick(LATE_MS + 1)
    assert heart.child.killed == []


def test_one_that_stays_silent_when_woken_is_aborted_then_killed(heart: Heart) -> None:
    assert heart.tick(LATE_MS + 1)
    heart.tick(STUCK_MS - 1)
    assert heart.child.killed == []
    heart.tick(1)
    assert heart.child.killed == [signal.SIGABRT]
    assert [(delay, number) for delay, _, number in heart.loop.later] == [(1.0, signal.SIGKILL)]
    assert "has not moved for 10 s" in heart.journal.text()
    heart.tick(5_000)
    assert heart.child.killed == [signal.SIGABRT]


def test_a_supervisor_that_was_late_itself_starts_the_clock_anew(heart: Heart) -> None:
    heart.tick(LATE_MS + 1)
    heart.tick(STUCK_MS * 5, was_late=True)
    assert heart.child.killed == []
    heart.tick(STUCK_MS - 1)
    assert heart.child.killed == []
    heart.tick(1)
    assert heart.child.killed == [signal.SIGABRT]


def test_a_beat_from_ahead_is_no_silence(heart: Heart) -> None:
    heart.mapping.beat_ms = heart.now + 50
    assert not heart.tick(1)


def test_who_waits_for_a_switch_goes_on_without_a_stuck_worker(heart: Heart) -> None:
    async def main() -> None:
        heart.workers._loop = asyncio.get_running_loop()
        plan = type("Plan", (), {"number": 2, "part": type("Part", (), {"workers": 1, "grace_ms": 0})()})()
        waiting = asyncio.create_task(heart.workers.commit(plan))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert not waiting.done()
        heart.tick(LATE_MS + 1)
        async with asyncio.timeout(10):
            await waiting

    asyncio.run(main())


def test_all_beat_while_none_has_stayed_silent_for_a_second(heart: Heart) -> None:
    heart.workers._target = 1
    heart.tick(500, beats=True)
    assert heart.workers.are_beating()
    heart.tick(LATE_MS + 1)  # old, and woken
    assert heart.workers.are_beating()
    heart.tick(LATE_MS)
    assert not heart.workers.are_beating()
    heart.tick(1, beats=True)
    assert heart.workers.are_beating()


def test_an_empty_slot_does_not_beat_unless_lb_ends(heart: Heart) -> None:
    heart.workers._target = 2
    assert not heart.workers.are_beating()
    heart.workers.is_stopping = True
    assert heart.workers.are_beating()
