from __future__ import annotations

import pytest
from kit.fork import abort_in

from lb._speedups.face.testing import IS_SANITIZED
from lb._speedups.face.testing_base import Pool


def test_what_is_taken_is_counted_until_given() -> None:
    pool = Pool(64, 8)
    objects = [pool.take() for _ in range(3)]
    assert len(set(objects)) == 3
    assert all(address % 16 == 0 for address in objects)
    assert pool.counts() == {"size": 64, "live": 3, "peak": 3, "cached": 0, "taken": 3, "failed": 0}
    for address in objects:
        pool.give(address)
    counts = pool.counts()
    assert (counts["live"], counts["peak"]) == (0, 3)


def test_at_most_keep_objects_are_kept() -> None:
    pool = Pool(32, 2)
    for address in [pool.take() for _ in range(5)]:
        pool.give(address)
    assert pool.counts()["cached"] == (0 if IS_SANITIZED else 2)
    pool.drain()
    assert pool.counts()["cached"] == 0


@pytest.mark.skipif(IS_SANITIZED, reason="keeps nothing")
def test_the_object_given_last_is_taken_first() -> None:
    pool = Pool(32, 4)
    first, second = pool.take(), pool.take()
    pool.give(first)
    pool.give(second)
    assert [pool.take(), pool.take()] == [second, first]
    pool.give(first)
    pool.give(second)


@pytest.mark.skipif(IS_SANITIZED, reason="reads a given object")
def test_a_given_object_is_overwritten() -> None:
    pool = Pool(48, 1)
    address = pool.take()
    pool.fill(address, 0x11)
    pool.give(address)
    assert pool.read(address)[8:] == b"\x5a" * 40


@pytest.mark.skipif(IS_SANITIZED, reason="writes to a given object")
def test_a_write_after_the_give_aborts_the_next_take() -> None:
    pool = Pool(48, 1)
    address = pool.take()

    def write_late() -> None:
        pool.give(address)
        pool.write(address, 47, 0x11)
        pool.take()

    abort_in(write_late)
    pool.give(address)


def test_every_nth_take_fails_when_told_to() -> None:
    pool = Pool(16, 4)
    pool.fail_every(3)
    taken = [pool.take() for _ in range(9)]
    assert [address == 0 for address in taken] == [False, False, True] * 3
    assert pool.counts()["failed"] == 3
    for address in taken:
        if address:
            pool.give(address)
    assert pool.counts()["live"] == 0


def test_an_object_is_at_least_a_pointer() -> None:
    assert Pool(1, 1).counts()["size"] == 8
