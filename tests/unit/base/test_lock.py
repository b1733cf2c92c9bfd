from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from kit.fork import abort_in, finish, start, together

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.testing_base import BROKEN, OK, Lock


@pytest.fixture
def lock() -> Lock:
    return Lock(Mapping.create())


def wait_until_asleep(pid: int) -> None:
    """Wait for the state in which a process waits for a lock after it has spun."""
    status = Path(f"/proc/{pid}/stat")
    while status.read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()


def hold_and_die(lock: Lock, repair: bool = False) -> int:
    """Let a child die with the lock; return what it got."""
    read, write = os.pipe()

    def hold() -> None:
        os.write(write, b"x" if lock.take() == BROKEN else b"o")
        if repair:
            lock.repaired()
        os.kill(os.getpid(), signal.SIGKILL)

    pid = start(hold)
    os.waitpid(pid, 0)
    got = BROKEN if os.read(read, 1) == b"x" else OK
    os.close(read)
    os.close(write)
    return got


def test_a_free_lock_is_taken_and_given(lock: Lock) -> None:
    for _ in range(3):
        assert lock.take() == OK
        lock.give()


def test_the_next_locker_hears_of_a_death_once(lock: Lock) -> None:
    assert hold_and_die(lock) == OK
    assert lock.take() == BROKEN
    lock.repaired()
    lock.give()
    assert lock.take() == OK
    lock.give()


@pytest.mark.parametrize("repair", [False, True])
def test_a_death_during_or_after_the_repair_is_a_new_death(lock: Lock, repair: bool) -> None:
    assert hold_and_die(lock) == OK
    assert hold_and_die(lock, repair) == BROKEN
    assert lock.take() == BROKEN
    lock.repaired()
    lock.give()


def test_who_sleeps_on_a_lock_is_woken_by_its_owners_death(lock: Lock) -> None:
    read, write = os.pipe()

    def hold() -> None:
        lock.take()
        os.write(write, b"!")
        signal.pause()

    def wait() -> None:
        assert lock.take() == BROKEN
        lock.repaired()
        lock.give()

    owner = start(hold)
    os.read(read, 1)
    waiter = start(wait)
    wait_until_asleep(waiter)
    os.kill(owner, signal.SIGKILL)
    finish(waiter)
    os.waitpid(owner, 0)
    assert lock.take() == OK
    lock.give()
    os.close(read)
    os.close(write)


def test_who_sleeps_on_a_lock_is_woken_when_it_is_given(lock: Lock) -> None:
    assert lock.take() == OK
    waiter = start(lambda: (lock.take(), lock.give()))
    wait_until_asleep(waiter)
    lock.give()
    finish(waiter)


def test_one_at_a_time(lock: Lock) -> None:
    read, write = os.pipe()
    os.write(write, b"t")
    os.set_blocking(read, False)

    def churn() -> None:
        for _ in range(2_000):
            assert lock.take() == OK
            # The token is there for whoever has the lock, and for nobody else.
            assert os.read(read, 1) == b"t"
            os.write(write, b"t")
            lock.give()

    together(churn, churn, churn)
    os.close(read)
    os.close(write)


def test_a_lock_given_back_without_repair_is_an_invariant(lock: Lock) -> None:
    assert hold_and_die(lock) == OK

    def forget() -> None:
        lock.take()
        lock.give()
        lock.take()

    abort_in(forget)
