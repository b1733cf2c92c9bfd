from __future__ import annotations

import os
from pathlib import Path

import pytest
from kit.fork import die_at, finish, start, together

from lb._speedups.face.mapping import OBJECT_FRONTEND, WORKER_RUNNING, WORKER_STARTING, Mapping
from lb._speedups.face.testing_base import spoil_gauge, waiting

ENTER_POINTS = ("gauge.locked", "gauge.row", "gauge.counted")


@pytest.fixture
def mapping() -> Mapping:
    mapping = Mapping.create()
    for slot in (1, 2, 3, 4):
        mapping.set_worker(slot, state=WORKER_STARTING)
        mapping.set_worker(slot, state=WORKER_RUNNING)
    return mapping


@pytest.fixture
def web(mapping: Mapping) -> int:
    return mapping.register(OBJECT_FRONTEND, 0, "web")


def live_sum(mapping: Mapping, oid: int) -> int:
    return sum(mapping.counters_row(slot, oid)["cur"] for slot in range(1, 5))


def test_the_gauge_is_the_sum_of_the_rows(mapping: Mapping, web: int) -> None:
    for slot in (1, 1, 2):
        assert mapping.enter(slot, web)
    assert mapping.gauge(web) == live_sum(mapping, web) == 3
    mapping.leave(1, web)
    assert mapping.gauge(web) == live_sum(mapping, web) == 2
    assert mapping.counters(web)["cur_max"] == 3


def test_nobody_enters_over_the_limit(mapping: Mapping, web: int) -> None:
    mapping.set_limit(web, 2)
    assert mapping.enter(1, web)
    assert mapping.enter(2, web)
    assert not mapping.enter(3, web)
    assert mapping.gauge(web) == 2
    assert waiting(mapping, web) == 0b100


def waker(mapping: Mapping, slot: int) -> int:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    mapping.set_worker(slot, eventfd=fd)
    return fd


def is_woken(fd: int) -> bool:
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


def test_who_leaves_wakes_all_who_wait_once(mapping: Mapping, web: int) -> None:
    fds = [waker(mapping, slot) for slot in (1, 2, 3)]
    mapping.set_limit(web, 1)
    assert mapping.enter(1, web)
    assert not mapping.enter(2, web)
    assert not mapping.enter(3, web)
    mapping.leave(1, web)
    assert [is_woken(fd) for fd in fds] == [False, True, True]
    assert mapping.enter(1, web)
    mapping.leave(1, web)
    assert [is_woken(fd) for fd in fds] == [False, False, False]
    for fd in fds:
        os.close(fd)


def test_leaving_wakes_nobody_while_over_a_lowered_limit(mapping: Mapping, web: int) -> None:
    fd = waker(mapping, 2)
    for _ in range(5):
        assert mapping.enter(1, web)
    mapping.set_limit(web, 2)
    assert not mapping.enter(2, web)
    for woken in (False, False, False, True):
        mapping.leave(1, web)
        assert is_woken(fd) == woken
    os.close(fd)


@pytest.mark.parametrize("limit", [3, 0])
def test_a_raised_limit_wakes_who_waits(mapping: Mapping, web: int, limit: int) -> None:
    fd = waker(mapping, 2)
    mapping.set_limit(web, 1)
    assert mapping.enter(1, web)
    assert not mapping.enter(2, web)
    mapping.set_limit(web, 1)
    assert not is_woken(fd)
    mapping.set_limit(web, limit)
    assert is_woken(fd)
    assert mapping.enter(2, web)
    os.close(fd)


def test_four_processes_count_exactly(mapping: Mapping, web: int) -> None:
    mapping.set_limit(web, 3)

    def churn(slot: int) -> None:
        held = 0
        for _ in range(20_000):
            if mapping.enter(slot, web):
                held += 1
            assert mapping.gauge(web) <= 3
            if held:
                mapping.leave(slot, web)
                held -= 1

    together(*(lambda slot=slot: churn(slot) for slot in (1, 2, 3, 4)))
    assert mapping.gauge(web) == live_sum(mapping, web) == 0
    assert mapping.counters(web)["cur_max"] <= 3


@pytest.mark.parametrize("point", ENTER_POINTS)
def test_death_inside_enter_is_repaired_by_the_next_locker(mapping: Mapping, web: int, point: str) -> None:
    assert mapping.enter(2, web)
    die_at(point, lambda: mapping.enter(1, web))
    assert mapping.enter(2, web)
    assert mapping.gauge(web) == live_sum(mapping, web)
    mapping.bury(1)
    assert mapping.gauge(web) == live_sum(mapping, web) == 2
    mapping.leave(2, web)
    mapping.leave(2, web)
    assert mapping.gauge(web) == 0


def test_death_inside_leave_is_repaired_by_the_next_locker(mapping: Mapping, web: int) -> None:
    def leave() -> None:
        mapping.enter(1, web)
        mapping.enter(1, web)
        mapping.leave(1, web)

    die_at("gauge.left", leave)
    assert mapping.enter(2, web)
    assert mapping.gauge(web) == live_sum(mapping, web) == 2
    mapping.bury(1)
    assert mapping.gauge(web) == 1


@pytest.mark.parametrize("point", ENTER_POINTS)
def test_burying_repairs_too(mapping: Mapping, web: int, point: str) -> None:
    assert mapping.enter(2, web)
    die_at(point, lambda: mapping.enter(1, web))
    mapping.bury(1)
    assert mapping.gauge(web) == live_sum(mapping, web) == 1


def test_a_broken_gauge_does_not_refuse_forever(mapping: Mapping, web: int) -> None:
    """The dead worker held every place: who waits is woken by the burial."""
    fd = waker(mapping, 2)
    mapping.set_limit(web, 2)
    die_at("gauge.left", lambda: [mapping.enter(1, web), mapping.enter(1, web), mapping.leave(1, web)])
    assert mapping.enter(2, web)
    assert not mapping.enter(2, web)
    mapping.bury(1)
    assert is_woken(fd)
    assert mapping.enter(2, web)
    os.close(fd)


def test_the_dead_wait_for_nothing(mapping: Mapping, web: int) -> None:
    mapping.set_limit(web, 1)
    assert mapping.enter(1, web)
    assert not mapping.enter(2, web)
    mapping.bury(2)
    assert waiting(mapping, web) == 0


def test_four_processes_one_of_which_dies_inside_again_and_again(mapping: Mapping, web: int, tmp_path: Path) -> None:
    """Many deaths under contention, at every point; after each the gauge is what the rows say."""

    def churn(slot: int) -> None:
        for _ in range(3_000):
            if mapping.enter(slot, web):
                mapping.leave(slot, web)

    for number, point in enumerate((*ENTER_POINTS, "gauge.left") * 3):
        token = tmp_path / str(number)
        token.touch()
        os.environ["LB_KILL_AT"] = f"{point}@{token}"
        try:
            pids = {start(lambda slot=slot: churn(slot)): slot for slot in (1, 2, 3)}
        finally:
            del os.environ["LB_KILL_AT"]
        dead = []
        for pid, slot in pids.items():
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                dead.append(slot)
                mapping.bury(slot)
                mapping.set_worker(slot, state=WORKER_RUNNING)
        assert len(dead) == 1
        assert not token.exists()
        assert mapping.gauge(web) == live_sum(mapping, web) == 0


def test_a_spoilt_total_is_mended_by_a_burial(mapping: Mapping, web: int) -> None:
    mapping.enter(2, web)
    spoil_gauge(mapping, web, -5)
    mapping.bury(1)
    assert mapping.gauge(web) == 1


def test_only_the_process_that_removes_the_file_dies(mapping: Mapping, web: int, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    os.environ["LB_KILL_AT"] = f"gauge.locked@{gone}"
    try:
        finish(start(lambda: mapping.enter(1, web)))
    finally:
        del os.environ["LB_KILL_AT"]
