from __future__ import annotations

import errno
import os
import time

import pytest

from lb._speedups.face.mapping import (
    MAPPING_WORKERS,
    OBJECT_BACKEND,
    OBJECT_FRONTEND,
    OBJECT_PROCESS,
    OBJECT_SERVER,
    WORKER_EMPTY,
    WORKER_RUNNING,
    WORKER_STARTING,
    Mapping,
)

pytestmark = pytest.mark.smoke


@pytest.fixture
def mapping() -> Mapping:
    return Mapping.create()


def test_a_mapping_is_made_or_attached_not_constructed() -> None:
    with pytest.raises(TypeError, match="create"):
        Mapping()


def test_an_empty_mapping_takes_little_memory(mapping: Mapping) -> None:
    assert os.fstat(mapping.fd).st_blocks * 512 < 512 * 1024
    mapping.objects()
    for slot in range(1, MAPPING_WORKERS + 1):
        mapping.worker(slot)
    assert os.fstat(mapping.fd).st_blocks * 512 < 512 * 1024


def test_summing_does_not_give_memory_to_slots_without_a_worker(mapping: Mapping) -> None:
    oid = mapping.register(OBJECT_PROCESS, 0, "lb")
    before = os.fstat(mapping.fd).st_blocks
    mapping.counters(oid)
    mapping.enter(1, oid)
    mapping.clear_counters(True)
    assert (os.fstat(mapping.fd).st_blocks - before) * 512 <= 4096


def test_two_mappings_of_one_memfd_see_the_same(mapping: Mapping) -> None:
    other = Mapping.attach(mapping.fd)
    assert other.address != mapping.address
    mapping.generation = 7
    mapping.stopping = True
    oid = mapping.register(OBJECT_FRONTEND, 0, "web")
    assert (other.generation, other.stopping, other.name(oid)) == (7, True, "web")
    other.close()
    assert os.fstat(mapping.fd)


def test_the_memfd_cannot_be_resized(mapping: Mapping) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(mapping.fd, 4096)


def test_a_strange_file_is_not_attached() -> None:
    fd = os.memfd_create("strange")
    try:
        with pytest.raises(OSError, match="Protocol error") as caught:
            Mapping.attach(fd)
        assert caught.value.errno == errno.EPROTO
    finally:
        os.close(fd)


def test_a_closed_mapping_says_so(mapping: Mapping) -> None:
    mapping.close()
    mapping.close()
    assert mapping.fd == -1
    with pytest.raises(ValueError, match="closed"):
        mapping.register(OBJECT_PROCESS, 0, "lb")
    with pytest.raises(ValueError, match="closed"):
        _ = mapping.generation


def test_a_name_has_one_id_per_kind_and_parent(mapping: Mapping) -> None:
    app = mapping.register(OBJECT_BACKEND, 0, "app")
    api = mapping.register(OBJECT_BACKEND, 0, "api")
    assert mapping.register(OBJECT_BACKEND, 0, "app") == app
    assert mapping.register(OBJECT_FRONTEND, 0, "app") not in (app, api)
    first = mapping.register(OBJECT_SERVER, app, "s1")
    assert mapping.register(OBJECT_SERVER, api, "s1") != first
    assert (mapping.kind(first), mapping.parent(first), mapping.name(first)) == (OBJECT_SERVER, app, "s1")
    assert len(mapping.objects()) == 5


def test_long_names_are_cut_and_stay_different(mapping: Mapping) -> None:
    one = mapping.register(OBJECT_BACKEND, 0, "b" * 200 + "1")
    two = mapping.register(OBJECT_BACKEND, 0, "b" * 200 + "2")
    assert one != two
    assert mapping.register(OBJECT_BACKEND, 0, "b" * 200 + "1") == one
    assert mapping.name(one).startswith("b" * 86 + "~")
    assert len(mapping.name(one)) == 103
    exact = mapping.register(OBJECT_BACKEND, 0, "c" * 103)
    assert mapping.name(exact) == "c" * 103


def test_unknown_ids_and_slots_are_refused(mapping: Mapping) -> None:
    for oid in (0, 1, 70_000):
        with pytest.raises(KeyError):
            mapping.name(oid)
    for slot in (0, MAPPING_WORKERS + 1):
        with pytest.raises(IndexError):
            mapping.worker(slot)
    with pytest.raises(ValueError, match="kind"):
        mapping.register(9, 0, "x")


def test_all_ids_can_be_given_and_forgotten_ones_are_given_again(mapping: Mapping) -> None:
    mapping.set_worker(1, state=WORKER_STARTING)
    mapping.generation = 1
    old_backend = mapping.register(OBJECT_BACKEND, 0, "old")
    old_server = mapping.register(OBJECT_SERVER, old_backend, "s")
    busy = mapping.register(OBJECT_BACKEND, 0, "busy")
    kept_parent = mapping.register(OBJECT_BACKEND, 0, "parent")
    kept_child = mapping.register(OBJECT_SERVER, kept_parent, "s")
    mapping.mark(kept_child, 9)
    mapping.enter(1, busy)
    for number in range(65_535 - 5):
        mapping.mark(mapping.register(OBJECT_BACKEND, 0, f"b{number}"), 9)
    with pytest.raises(OSError, match="No space"):
        mapping.register(OBJECT_BACKEND, 0, "one more")
    # Generation 2 was the coming one for what was registered under 1.
    mapping.generation = 3
    fresh = {mapping.register(OBJECT_BACKEND, 0, f"new{number}") for number in range(2)}
    assert fresh == {old_backend, old_server}
    assert mapping.name(busy) == "busy"
    assert mapping.name(kept_parent) == "parent"
    with pytest.raises(OSError, match="No space"):
        mapping.register(OBJECT_BACKEND, 0, "one more")


def test_set_worker_sets_what_is_given(mapping: Mapping) -> None:
    before = time.monotonic_ns() // 1_000_000
    mapping.set_worker(3, pid=123, state=WORKER_STARTING)
    assert before <= mapping.worker(3)["beat_ms"]
    mapping.set_worker(3, state=WORKER_RUNNING, eventfd=9)
    worker = mapping.worker(3)
    assert (worker["pid"], worker["state"], worker["eventfd"]) == (123, WORKER_RUNNING, 9)
    mapping.beat(3)
    assert mapping.worker(3)["beat_ms"] >= worker["beat_ms"]
    assert mapping.worker(4)["state"] == WORKER_EMPTY


def test_memory_is_given_before_it_is_used(mapping: Mapping) -> None:
    """A worker's rows and ring, and the rows of objects that come later, cost no fault that could fail."""
    mapping.set_worker(1, state=WORKER_STARTING)
    for number in range(1000):
        mapping.register(OBJECT_BACKEND, 0, f"b{number}")
    mapping.set_worker(2, state=WORKER_STARTING)
    before = os.fstat(mapping.fd).st_blocks
    for oid in mapping.objects():
        for slot in (0, 1, 2):
            mapping.counters_row(slot, oid)
        mapping.enter(1, oid)
        mapping.enter(2, oid)
    assert os.fstat(mapping.fd).st_blocks == before
