"""When what is due: on a clock that stands still unless it is told to go."""

from __future__ import annotations

from kit.clock import FakeLoop

from lb.checks.schedule import BATCH, Schedule


def test_what_is_due_first_runs_first() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    ran: list[str] = []
    schedule.after(3, lambda: ran.append("late"))
    schedule.after(1, lambda: ran.append("early"))
    schedule.after(1, lambda: ran.append("early too"))
    loop.advance(0.999)
    assert ran == []
    loop.advance(0.001)
    assert ran == ["early", "early too"]
    loop.advance(10)
    assert ran == ["early", "early too", "late"]


def test_one_timer_is_armed_and_only_for_the_earliest() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    for seconds in (5, 9, 7):
        schedule.after(seconds, lambda: None)
    assert loop.armed == [5]
    schedule.after(2, lambda: None)
    assert loop.armed == [2]


def test_what_is_cancelled_does_not_run() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    ran: list[int] = []
    entries = [schedule.after(n, lambda n=n: ran.append(n)) for n in (1, 2, 3)]  # type: ignore[misc]
    entries[1].cancel()
    entries[1].cancel()
    loop.advance(3)
    entries[2].cancel()
    assert ran == [1, 3]
    assert loop.armed == []


def test_what_is_due_may_make_more_due_and_cancel_others() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    ran: list[str] = []
    other = schedule.after(1.5, lambda: ran.append("cancelled"))

    def act() -> None:
        ran.append("act")
        other.cancel()
        schedule.after(1, lambda: ran.append("next"))

    schedule.after(1, act)
    loop.advance(5)
    assert ran == ["act", "next"]


def test_a_clock_that_stood_still_lets_the_loop_go_on_in_between() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    ran: list[int] = []
    for n in range(3 * BATCH):
        schedule.after(1 + n / 1000, lambda n=n: ran.append(n))  # type: ignore[misc]
    loop.now += 100
    loop.turn()
    assert len(ran) == BATCH
    loop.turn()
    loop.turn()
    assert ran == list(range(3 * BATCH))


def test_after_its_end_nothing_runs() -> None:
    loop = FakeLoop()
    schedule = Schedule(loop)
    schedule.after(1, lambda: 1 / 0)
    schedule.close()
    schedule.after(1, lambda: 1 / 0)
    loop.advance(5)
    assert loop.armed == []
