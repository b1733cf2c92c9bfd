from __future__ import annotations

import os
from itertools import pairwise

import pytest

from lb._speedups.face.mapping import OBJECT_BACKEND, OBJECT_FRONTEND, WORKER_EMPTY, WORKER_STARTING, Mapping
from lb._speedups.face.testing_base import allocate, count, fill, is_zero, release, set_worker_generation


@pytest.fixture
def mapping() -> Mapping:
    mapping = Mapping.create()
    for slot in (1, 2, 64):
        mapping.set_worker(slot, state=WORKER_STARTING)
    return mapping


@pytest.fixture
def web(mapping: Mapping) -> int:
    return mapping.register(OBJECT_FRONTEND, 0, "web")


def test_counters_are_the_sum_of_the_rows(mapping: Mapping, web: int) -> None:
    count(mapping, 1, web, req_total=3, bytes_in=100, cur=1, cur_max=4, last_ms=50)
    count(mapping, 2, web, req_total=4, idle=2, cur_max=2, last_ms=70)
    count(mapping, 64, web, log_dropped=1)
    counters = mapping.counters(web)
    assert (counters["req_total"], counters["bytes_in"], counters["log_dropped"]) == (7, 100, 1)
    assert (counters["cur"], counters["idle"]) == (1, 2)
    assert (counters["cur_max"], counters["last_ms"]) == (4, 70)
    assert mapping.counters_row(2, web)["req_total"] == 4


def test_a_buried_workers_sums_survive_and_its_gauges_do_not(mapping: Mapping, web: int) -> None:
    count(mapping, 1, web, req_total=3, cur=2, cur_max=9, idle=5, last_ms=50)
    count(mapping, 2, web, req_total=4, cur=1, cur_max=1)
    mapping.bury(1)
    counters = mapping.counters(web)
    assert (counters["req_total"], counters["cur"], counters["idle"]) == (7, 1, 0)
    assert (counters["cur_max"], counters["last_ms"]) == (9, 50)
    assert mapping.worker(1)["state"] == WORKER_EMPTY
    mapping.set_worker(1, state=WORKER_STARTING)
    assert not any(mapping.counters_row(1, web).values())
    count(mapping, 1, web, req_total=1)
    mapping.bury(1)
    mapping.bury(1)
    assert mapping.counters(web)["req_total"] == 8


def test_clearing_all_starts_sums_anew_without_writing_workers_rows(mapping: Mapping, web: int) -> None:
    count(mapping, 1, web, req_total=30, cur=2, cur_max=9, idle=1, last_ms=5)
    mapping.bury(2)
    mapping.clear_counters(True)
    counters = mapping.counters(web)
    assert (counters["req_total"], counters["cur"], counters["idle"]) == (0, 2, 1)
    assert (counters["cur_max"], counters["last_ms"]) == (2, 5)
    assert mapping.counters_row(1, web)["req_total"] == 30
    count(mapping, 1, web, req_total=4)
    assert mapping.counters(web)["req_total"] == 4
    mapping.bury(1)
    assert mapping.counters(web)["req_total"] == 4
    mapping.clear_counters(True)
    assert mapping.counters(web)["req_total"] == 0


def test_clearing_maxima_leaves_sums(mapping: Mapping, web: int) -> None:
    for _ in range(3):
        mapping.enter(1, web)
    mapping.leave(1, web)
    count(mapping, 1, web, req_total=4)
    assert mapping.counters(web)["cur_max"] == 3
    mapping.clear_counters()
    counters = mapping.counters(web)
    assert (counters["cur_max"], counters["req_total"]) == (2, 4)


# Ids


def test_an_id_is_not_reused_while_a_worker_is_behind(mapping: Mapping) -> None:
    mapping.generation = 5
    for number in range(65_535):
        mapping.register(OBJECT_BACKEND, 0, f"b{number}")
    mapping.set_worker(1, state=WORKER_STARTING)
    set_worker_generation(mapping, 1, 6)
    mapping.generation = 7
    with pytest.raises(OSError, match="No space"):
        mapping.register(OBJECT_BACKEND, 0, "new")
    set_worker_generation(mapping, 1, 7)
    assert mapping.register(OBJECT_BACKEND, 0, "new") > 0
    assert len(mapping.objects()) == 1


# The arena


def test_regions_are_aligned_zeroed_and_apart(mapping: Mapping) -> None:
    regions = [(allocate(mapping, size), size) for size in (1, 64, 100, 70_000)]
    for at, size in regions:
        assert at % 64 == 0
        assert is_zero(mapping, at, size)
        fill(mapping, at, size, 0xFF)
    spans = sorted(regions)
    for (at, size), (following, _) in pairwise(spans):
        assert at + size <= following


def test_released_regions_are_given_again_zeroed(mapping: Mapping) -> None:
    sizes = (64, 4096, 300_000, 128)
    regions = [allocate(mapping, size) for size in sizes]
    end = allocate(mapping, 64)
    for at, size in zip(regions, sizes, strict=True):
        fill(mapping, at, size, 0xAA)
    # In an order that joins with both neighbours.
    for index in (0, 2, 1, 3):
        release(mapping, regions[index], sizes[index])
    whole = sum((size + 63) // 64 * 64 for size in sizes)
    assert allocate(mapping, whole) == regions[0]
    assert is_zero(mapping, regions[0], whole)
    assert allocate(mapping, 64) > end


def test_a_released_regions_memory_goes_back(mapping: Mapping) -> None:
    before = os.fstat(mapping.fd).st_blocks
    at = allocate(mapping, 10_000_000)
    assert os.fstat(mapping.fd).st_blocks - before >= 10_000_000 // 512
    release(mapping, at, 10_000_000)
    assert os.fstat(mapping.fd).st_blocks - before <= 32


def test_a_full_arena_refuses(mapping: Mapping) -> None:
    assert allocate(mapping, 1 << 40) == 0
    assert allocate(mapping, 0) == 0
    assert allocate(mapping, 64) != 0
