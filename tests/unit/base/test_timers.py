from __future__ import annotations

import pytest

from lb._speedups.face.testing_base import NEVER, Timers

HOUR = 3_600_000


def test_nothing_queued_is_never() -> None:
    timers = Timers(1, 1000)
    assert timers.next() == NEVER
    assert timers.run(10 * HOUR) == []
    assert timers.now == 10 * HOUR


@pytest.mark.parametrize("delay", [1, 2, 255, 256, 257, 16_383, 16_384, 1 << 20, (1 << 26) + 1, 1 << 32, 40 * HOUR])
@pytest.mark.parametrize("start", [0, 1, 255, 256, 16_383, (1 << 20) - 1, 123_456_789])
def test_a_timer_fires_at_its_tick_and_not_before(start: int, delay: int) -> None:
    timers = Timers(1, start)
    timers.set(0, start + delay)
    assert timers.run(start + delay - 1) == []
    assert timers.next() == start + delay
    assert timers.run(start + delay) == [0]
    assert timers.count == 0
    assert timers.expire(0) == NEVER


def test_following_next_reaches_the_deadline_in_a_step_per_level() -> None:
    timers = Timers(1, 77)
    deadline = 77 + 30 * 24 * HOUR
    timers.set(0, deadline)
    steps = 0
    while not timers.run(timers.next()):
        steps += 1
    assert timers.now == deadline
    assert steps <= 6


def test_a_deadline_in_the_past_fires_at_the_next_run() -> None:
    timers = Timers(1, 5000)
    timers.set(0, 100)
    assert timers.next() == 5000
    assert timers.run(5000) == [0]


def test_moving_later_does_not_touch_the_wheel() -> None:
    timers = Timers(1, 0)
    timers.set(0, 100)
    timers.set(0, 500)
    assert timers.next() == 100
    assert timers.run(100) == []
    assert timers.run(499) == []
    assert timers.next() == 500
    assert timers.run(500) == [0]


def test_moving_earlier_fires_earlier() -> None:
    timers = Timers(1, 0)
    timers.set(0, 50_000)
    timers.set(0, 10)
    assert timers.next() == 10
    assert timers.run(10) == [0]
    assert timers.run(60_000) == []


def test_a_cleared_timer_is_dropped_when_it_comes_up() -> None:
    timers = Timers(2, 0)
    timers.set(0, 100)
    timers.set(1, 70_000)
    timers.clear(0)
    timers.clear(1)
    assert timers.count == 2
    assert timers.run(70_000) == []
    assert timers.count == 0
    assert timers.next() == NEVER


def test_unlink_takes_it_out_at_once_and_twice_is_safe() -> None:
    timers = Timers(1, 0)
    timers.set(0, 100)
    timers.unlink(0)
    timers.unlink(0)
    timers.check()
    assert (timers.count, timers.next()) == (0, NEVER)


def test_a_run_fires_at_most_limit_and_the_rest_next_time() -> None:
    timers = Timers(5, 0)
    for i in range(5):
        timers.set(i, 10)
    assert timers.run(20, 2) == [0, 1]
    assert timers.next() == 20
    assert timers.run(20, 2) == [2, 3]
    assert timers.run(20, 2) == [4]
    assert timers.next() == NEVER


def test_a_timer_that_sets_itself_to_now_does_not_hold_the_run() -> None:
    timers = Timers(1, 0)
    timers.on_fire(0, [("set", 0, 0)])
    timers.set(0, 10)
    assert timers.run(10) == [0]
    assert timers.next() == 10
    assert timers.run(10) == [0]


def test_a_callback_may_unlink_and_clear_its_neighbours_in_the_slot() -> None:
    timers = Timers(4, 0)
    timers.on_fire(0, [("unlink", 1, 0), ("clear", 2, 0)])
    for i in range(4):
        timers.set(i, 10)
    assert timers.run(10) == [0, 3]
    timers.check()
    assert timers.count == 0


def test_a_callback_may_set_a_due_neighbour_later() -> None:
    timers = Timers(2, 0)
    timers.on_fire(0, [("set", 1, 300)])
    timers.set(0, 10)
    timers.set(1, 10)
    assert timers.run(10) == [0]
    assert timers.run(309) == []
    assert timers.run(310) == [1]


def test_deadlines_beyond_the_wheels_window_are_kept() -> None:
    window = 1 << 38
    timers = Timers(2, window - 1)
    timers.set(0, window)
    timers.set(1, window + 5 * window)
    assert timers.run(window) == [0]
    assert timers.run(6 * window - 1) == []
    assert timers.run(6 * window) == [1]


def test_time_does_not_go_back() -> None:
    timers = Timers(1, 1000)
    timers.set(0, 1500)
    assert timers.run(500) == []
    assert timers.now == 1000


def test_setting_to_never_does_not_queue() -> None:
    timers = Timers(1, 0)
    timers.set(0, NEVER)
    assert not timers.is_queued(0)
    assert timers.next() == NEVER
