from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable

import pytest
from kit.fork import die_at, together

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import (
    STORE_NAMES,
    TABLE_BINARY,
    TABLE_INTEGER,
    TABLE_IP,
    TABLE_STRING,
    bury_tables,
    clear_shard,
    collect_tables,
    count,
    count_numbers,
    drop,
    hold,
    make_ledger,
    place_table,
    put,
    read,
    release,
    set_cells,
    table_information,
    table_places,
    table_row,
    table_rows,
)
from lb._speedups.face.testing_tables import check, spoil, wind

GPC0 = STORE_NAMES.index("gpc0")
CONN_CUR = STORE_NAMES.index("conn_cur")
RATE = STORE_NAMES.index("http_req_rate")
BYTES = STORE_NAMES.index("bytes_in_cnt")
GPC = STORE_NAMES.index("gpc")
STORES = ((GPC0, 1, 0), (CONN_CUR, 1, 0), (RATE, 1, 10_000), (BYTES, 1, 0), (GPC, 5, 0))
T0 = 1_000_000


@pytest.fixture
def mapping() -> Mapping:
    mapping = Mapping.create()
    make_ledger(mapping, 1)
    make_ledger(mapping, 2)
    return mapping


def make(mapping: Mapping, size: int = 8, **kwargs: int) -> int:
    at, outcome = place_table(mapping, b"t", TABLE_INTEGER, size, STORES, **kwargs)
    assert outcome == "made"
    return at


def key(number: int) -> bytes:
    return struct.pack("<I", number)


def keys(mapping: Mapping, at: int, now_ms: int = T0) -> set[int]:
    return {struct.unpack("<I", row[1])[0] for row in table_rows(mapping, at, now_ms)}


def test_what_was_counted_is_read(mapping: Mapping) -> None:
    at = make(mapping)
    assert read(mapping, at, key(1), GPC0, now_ms=T0) is None
    assert count(mapping, at, key(1), GPC0, 3, now_ms=T0)
    assert count(mapping, at, key(1), GPC0, 4, now_ms=T0)
    assert count(mapping, at, key(2), BYTES, 1 << 40, now_ms=T0)
    assert count(mapping, at, key(2), GPC, 9, cell=4, now_ms=T0)
    assert read(mapping, at, key(1), GPC0, now_ms=T0) == 7
    assert read(mapping, at, key(2), BYTES, now_ms=T0) == 1 << 40
    assert read(mapping, at, key(2), GPC, cell=4, now_ms=T0) == 9
    assert read(mapping, at, key(2), GPC, cell=3, now_ms=T0) == 0
    assert put(mapping, at, key(2), GPC, 5, cell=3, now_ms=T0)
    assert read(mapping, at, key(2), GPC, cell=3, now_ms=T0) == 5


def test_what_is_not_stored_reads_as_zero_and_changes_nothing(mapping: Mapping) -> None:
    at = make(mapping)
    for store in range(len(STORE_NAMES)):
        if store not in {each[0] for each in STORES}:
            assert count(mapping, at, key(1), store, 3, now_ms=T0)
            assert read(mapping, at, key(1), store, now_ms=T0) == 0
    assert count(mapping, at, key(1), GPC, 3, cell=5, now_ms=T0)
    assert [row[5] for row in table_rows(mapping, at, T0)] == [[0] * 9]


def test_a_full_table_gives_up_the_one_touched_longest_ago(mapping: Mapping) -> None:
    at = make(mapping, 3)
    for number in (1, 2, 3, 1, 4):
        assert count(mapping, at, key(number), GPC0, now_ms=T0)
    assert keys(mapping, at) == {1, 3, 4}
    assert table_information(mapping, at, T0)["evicted"] == 1
    check(mapping, at)


def test_a_held_entry_is_never_evicted(mapping: Mapping) -> None:
    at = make(mapping, 3, expire_ms=1000)
    place = hold(mapping, at, 1, key(1), now_ms=T0)
    assert place
    for number in range(2, 50):
        assert count(mapping, at, key(number), GPC0, now_ms=T0 + number)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0 + 999_999) == 1
    held = [hold(mapping, at, 1, key(number), now_ms=T0 + 100) for number in (100, 101)]
    assert all(held)
    # All are held: no key has room now.
    assert not hold(mapping, at, 1, key(102), now_ms=T0 + 100)
    assert not count(mapping, at, key(102), GPC0, now_ms=T0 + 100)
    assert table_information(mapping, at, T0 + 100)["refused"] == 2
    release(mapping, 1, place, now_ms=T0 + 200)
    # Its time begins when nobody holds it any more.
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0 + 1199) == 0
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0 + 1200) is None
    check(mapping, at)


def test_touches_may_be_more_than_their_number_counts(mapping: Mapping) -> None:
    at = make(mapping, 4)
    for number in (1, 2, 3, 4, 2):
        assert count(mapping, at, key(number), GPC0, now_ms=T0)
    wind(mapping, at, 0xFFFFFFFE)
    for number in (3, 1):
        assert count(mapping, at, key(number), GPC0, now_ms=T0)
        check(mapping, at)
    # The order of touches is 4, 2, 3, 1, as it was.
    for new, gone in ((11, 4), (12, 2), (13, 3), (14, 1)):
        assert count(mapping, at, key(new), GPC0, now_ms=T0)
        assert gone not in keys(mapping, at)
        check(mapping, at)


def test_a_search_for_room_has_an_end(mapping: Mapping) -> None:
    at = make(mapping, 1000)
    count_numbers(mapping, at, GPC0, 0, 1000, 1000, T0)
    # All but one are touched: the queue of age says nothing true any more.
    for number in range(1000):
        if number != 1000 * 7 // 8:
            assert count(mapping, at, key(number), GPC0, now_ms=T0 + 1)
    before = keys(mapping, at)
    for number in range(2000, 2020):
        assert count(mapping, at, key(number), GPC0, now_ms=T0 + 2)
        check(mapping, at)
    after = keys(mapping, at, T0 + 2)
    assert len(after) == 1000
    assert len(before - after) == 20
    assert set(range(2000, 2020)) <= after


def test_a_row_by_its_key(mapping: Mapping) -> None:
    at = make(mapping, 8, expire_ms=1000)
    assert table_row(mapping, at, key(1), T0) is None
    assert set_cells(mapping, at, key(1), [(GPC0, 5), (RATE, 9), (BYTES, 1 << 40), (GPC, 7)], now_ms=T0)
    row = table_row(mapping, at, key(1), T0 + 400)
    assert row is not None
    assert row[1:5] == (key(1), 0, 600, 0)
    assert row[5] == [5, 0, 9, 1 << 40, 7, 0, 0, 0, 0]
    assert [row] == list(table_rows(mapping, at, T0 + 400))
    # It is a rate that begins now, and fades like any other.
    assert read(mapping, at, key(1), RATE, now_ms=T0 + 999) == 9
    assert table_row(mapping, at, key(1), T0 + 1000) is None


@pytest.mark.parametrize("size", [200, 8000])
def test_a_shard_is_cleared_of_all_but_what_is_held(mapping: Mapping, size: int) -> None:
    at = make(mapping, size)
    count_numbers(mapping, at, GPC0, 0, size, size, T0)
    place = hold(mapping, at, 1, key(7), now_ms=T0)
    shards = table_information(mapping, at, T0)["shards"]
    assert isinstance(shards, int)
    before = len(keys(mapping, at))
    assert sum(clear_shard(mapping, at, shard) for shard in range(shards)) == before - 1
    check(mapping, at)
    assert keys(mapping, at) == {7}
    release(mapping, 1, place, now_ms=T0)
    count_numbers(mapping, at, GPC0, 0, size, size, T0)
    check(mapping, at)
    assert len(keys(mapping, at)) == before
    with pytest.raises(IndexError):
        clear_shard(mapping, at, shards)


def test_nopurge_refuses_new_keys_until_old_ones_expire(mapping: Mapping) -> None:
    at = make(mapping, 2, nopurge=True, expire_ms=1000)
    assert count(mapping, at, key(1), GPC0, now_ms=T0)
    assert count(mapping, at, key(2), GPC0, now_ms=T0 + 500)
    assert not count(mapping, at, key(3), GPC0, now_ms=T0 + 999)
    assert count(mapping, at, key(3), GPC0, now_ms=T0 + 1000)
    assert keys(mapping, at, T0 + 1000) == {2, 3}


def test_an_expired_entry_is_as_if_it_were_not_there(mapping: Mapping) -> None:
    at = make(mapping, expire_ms=1000)
    assert count(mapping, at, key(1), GPC0, 5, now_ms=T0)
    assert read(mapping, at, key(1), GPC0, now_ms=T0 + 999) == 5
    assert read(mapping, at, key(1), GPC0, now_ms=T0 + 1000) is None
    assert count(mapping, at, key(1), GPC0, 1, now_ms=T0 + 1000)
    assert read(mapping, at, key(1), GPC0, now_ms=T0 + 1000) == 1
    assert table_information(mapping, at, T0 + 2000)["used"] == 0


def test_rates_slide_as_in_haproxy(mapping: Mapping) -> None:
    at = make(mapping)

    def rate(now_ms: int) -> int | None:
        return read(mapping, at, key(1), RATE, now_ms=now_ms)

    assert count(mapping, at, key(1), RATE, 100, now_ms=T0)
    assert rate(T0) == 100
    assert rate(T0 + 10_000) == 100  # the end of the period still is of it
    assert rate(T0 + 12_500) == 75
    assert count(mapping, at, key(1), RATE, 10, now_ms=T0 + 15_000)
    assert rate(T0 + 15_000) == 10 + 50
    assert rate(T0 + 20_000) == 10
    assert rate(T0 + 25_000) == 5
    assert rate(T0 + 30_001) == 0
    assert count(mapping, at, key(1), RATE, 1, now_ms=T0 + 90_000)
    assert rate(T0 + 90_000) == 1
    # A single event does not flap between 0 and 1 before its time is over.
    assert rate(T0 + 109_000) == 1
    assert rate(T0 + 110_001) == 0
    # A loop that is behind sees no more than there is.
    assert rate(T0 + 89_000) == 1


@pytest.mark.parametrize(
    ("key_type", "size", "given", "kept"),
    [
        (TABLE_STRING, 4, b"abc", b"abc"),
        (TABLE_STRING, 4, b"abcdef", b"abcd"),
        (TABLE_BINARY, 4, b"ab", b"ab\0\0"),
        (TABLE_BINARY, 4, b"abcdef", b"abcd"),
        (TABLE_STRING, 9, b"123456789", b"123456789"),
        (TABLE_IP, 0, b"\x7f\0\0\x01", b"\x7f\0\0\x01"),
    ],
)
def test_keys_are_cut_and_filled_as_in_haproxy(
    mapping: Mapping, key_type: int, size: int, given: bytes, kept: bytes
) -> None:
    at, _ = place_table(mapping, b"t", key_type, 10, STORES, key_size=size)
    assert count(mapping, at, given, GPC0, now_ms=T0)
    assert [row[1] for row in table_rows(mapping, at, T0)] == [kept]
    assert read(mapping, at, given, GPC0, now_ms=T0) == 1


def test_strings_that_only_differ_in_zeros_are_two_keys(mapping: Mapping) -> None:
    at, _ = place_table(mapping, b"t", TABLE_STRING, 10, STORES, key_size=8)
    assert count(mapping, at, b"a", GPC0, now_ms=T0)
    assert count(mapping, at, b"a\0", GPC0, now_ms=T0)
    assert sorted(row[1] for row in table_rows(mapping, at, T0)) == [b"a", b"a\0"]


@pytest.mark.parametrize("size", [4096, 20_000, 100_000])
def test_a_table_of_many_shards_has_room_for_its_size(mapping: Mapping, size: int) -> None:
    at = make(mapping, size)
    assert count_numbers(mapping, at, GPC0, 0, 1 << 32, size, T0) == 0
    found = table_information(mapping, at, T0)
    assert found["used"] == size
    assert found["evicted"] == 0
    assert found["shards"] >= 16


def test_a_table_is_kept_by_name_over_reloads(mapping: Mapping) -> None:
    at = make(mapping, 10, expire_ms=1000)
    for number in range(10):
        assert count(mapping, at, key(number), GPC0, number, now_ms=T0 + number)
    assert place_table(mapping, b"t", TABLE_INTEGER, 10, STORES, expire_ms=1000, generation=2) == (at, "kept")
    other, outcome = place_table(mapping, b"t", TABLE_INTEGER, 4, STORES, expire_ms=1000, generation=3)
    assert outcome == "resized"
    # The youngest stay, with their values and their age.
    assert keys(mapping, other, T0) == {6, 7, 8, 9}
    assert read(mapping, other, key(9), GPC0, now_ms=T0 + 1008) == 9
    assert read(mapping, other, key(9), GPC0, now_ms=T0 + 1009) is None
    assert table_places(mapping) == {"t": other}
    emptied, outcome = place_table(mapping, b"t", TABLE_INTEGER, 4, STORES[:1], generation=4)
    assert outcome == "emptied"
    assert keys(mapping, emptied) == set()
    check(mapping, other)


def test_an_old_table_lives_until_nobody_holds_it(mapping: Mapping) -> None:
    at = make(mapping, 10)
    place = hold(mapping, at, 1, key(1), now_ms=T0)
    other, _ = place_table(mapping, b"t", TABLE_INTEGER, 4, STORES[:1], generation=2)
    mapping.generation = 2
    collect_tables(mapping)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 1
    release(mapping, 1, place, now_ms=T0)
    collect_tables(mapping)
    mapping.generation = 3
    collect_tables(mapping)
    assert table_places(mapping) == {}
    # And its memory is there for the next one.
    assert min(at, other) <= place_table(mapping, b"u", TABLE_INTEGER, 1, STORES)[0] < max(at, other) + 8192


def test_no_memory_is_an_error(mapping: Mapping) -> None:
    with pytest.raises(OSError, match="No space"):
        place_table(mapping, b"t", TABLE_INTEGER, 16_000_000, ((STORE_NAMES.index("gpc_rate"), 100, 1000),))
    with pytest.raises(OSError, match="Cannot allocate"):
        place_table(mapping, b"t", TABLE_INTEGER, 1000, STORES, room=10_000)
    assert table_places(mapping) == {}
    at, _ = place_table(mapping, b"t", TABLE_INTEGER, 1000, STORES, room=200_000)
    assert place_table(mapping, b"t", TABLE_INTEGER, 1000, STORES, room=0) == (at, "kept")


def test_a_ledger_has_an_end(mapping: Mapping) -> None:
    at = make(mapping, 2)
    places = [hold(mapping, at, 1, key(1), now_ms=T0) for _ in range(65536)]
    assert all(places)
    assert hold(mapping, at, 1, key(1), now_ms=T0) == 0
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 65536
    release(mapping, 1, places[7], now_ms=T0)
    assert hold(mapping, at, 1, key(1), now_ms=T0) == places[7]
    spoil(mapping, at)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 65536
    bury_tables(mapping, 1, T0)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 0
    check(mapping, at)


def test_a_dead_worker_gives_back_what_it_held_and_no_more(mapping: Mapping) -> None:
    at = make(mapping)
    mine = hold(mapping, at, 2, key(1), now_ms=T0)

    def work() -> None:
        for number in (1, 1, 2):
            assert hold(mapping, at, 1, key(number), now_ms=T0)

    together(work)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 3
    bury_tables(mapping, 1, T0)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 1
    assert read(mapping, at, key(2), CONN_CUR, now_ms=T0) == 0
    release(mapping, 2, mine, now_ms=T0)
    check(mapping, at)


POINTS: dict[str, Callable[[Mapping, int], object]] = {
    "table.locked": lambda m, at: count(m, at, key(1), GPC0, now_ms=T0),
    "table.making": lambda m, at: count(m, at, key(50), GPC0, now_ms=T0),
    "table.made": lambda m, at: count(m, at, key(50), GPC0, now_ms=T0),
    "table.indexed": lambda m, at: count(m, at, key(50), GPC0, now_ms=T0),
    "table.dropping": lambda m, at: drop(m, at, key(2), now_ms=T0),
    "table.unindexed": lambda m, at: drop(m, at, key(2), now_ms=T0),
    "table.taking": lambda m, at: hold(m, at, 1, key(2), now_ms=T0),
    "table.taken": lambda m, at: hold(m, at, 1, key(2), now_ms=T0),
    "table.releasing": lambda m, at: release(m, 1, hold(m, at, 1, key(2), now_ms=T0), now_ms=T0),
    "table.turning": lambda m, at: count(m, at, key(1), RATE, now_ms=T0 + 10_000),
}


DROPPING = ("table.dropping", "table.unindexed")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("bury_first", [False, True])
def test_a_death_anywhere_leaves_a_whole_table(mapping: Mapping, point: str, bury_first: bool) -> None:
    at = make(mapping, 5)
    for number in range(5):
        assert count(mapping, at, key(number), GPC0, number, now_ms=T0)
    assert count(mapping, at, key(1), RATE, 1, now_ms=T0)
    mine = hold(mapping, at, 2, key(2) if point not in DROPPING else key(1), now_ms=T0)
    die_at(point, lambda: POINTS[point](mapping, at))
    if bury_first:
        bury_tables(mapping, 1, T0)
    check(mapping, at)
    bury_tables(mapping, 1, T0)
    check(mapping, at)
    assert read(mapping, at, key(3), GPC0, now_ms=T0) == 3
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == (1 if point in DROPPING else 0)
    release(mapping, 2, mine, now_ms=T0)
    for number in range(100, 105):
        assert count(mapping, at, key(number), GPC0, now_ms=T0)
    assert keys(mapping, at) == {100, 101, 102, 103, 104}
    check(mapping, at)


@pytest.mark.parametrize("workers", [1, 4])
def test_counts_are_exact_over_all_workers(mapping: Mapping, workers: int) -> None:
    at = make(mapping, 100)
    each = 40_000 // workers
    for slot in range(1, workers + 1):
        make_ledger(mapping, slot)

    def work(slot: int) -> None:
        for _ in range(20):
            place = hold(mapping, at, slot, key(1), now_ms=T0)
            assert count(mapping, at, key(1), GPC0, times=each // 20, now_ms=T0)
            assert count(mapping, at, key(1), RATE, times=each // 20, now_ms=T0)
            if place % 2 == 0 or slot % 2:
                release(mapping, slot, place, now_ms=T0)

    together(*(lambda slot=slot: work(slot) for slot in range(1, workers + 1)))  # type: ignore[misc]
    assert read(mapping, at, key(1), GPC0, now_ms=T0) == 40_000
    assert read(mapping, at, key(1), RATE, now_ms=T0) == 40_000
    for slot in range(1, workers + 1):
        bury_tables(mapping, slot, T0)
    assert read(mapping, at, key(1), CONN_CUR, now_ms=T0) == 0
    check(mapping, at)


def test_evictions_by_many_workers_leave_a_whole_table(mapping: Mapping) -> None:
    at = make(mapping, 64)

    def work(seed: int) -> None:
        for _ in range(300):
            count_numbers(mapping, at, GPC0, seed * 50, 200, 50, T0)

    together(*(lambda seed=seed: work(seed) for seed in range(4)))  # type: ignore[misc]
    assert table_information(mapping, at, T0)["used"] == 64
    check(mapping, at)


def test_deaths_one_after_the_other_lose_nothing_that_was_counted(mapping: Mapping) -> None:
    at = make(mapping, 32)
    keeper = hold(mapping, at, 2, key(1), now_ms=T0)
    rng = random.Random(7)
    counted = 0
    for point in 4 * [each for each in POINTS if each != "table.turning" and each not in DROPPING]:
        times = rng.randrange(20)

        def work(point: str = point, seed: int = rng.randrange(1 << 30), times: int = times) -> None:
            mine = random.Random(seed)
            for _ in range(times):
                count(mapping, at, key(1), GPC0, now_ms=T0)
            os.environ["LB_KILL_AT"] = point
            while True:
                release(mapping, 1, hold(mapping, at, 1, key(mine.randrange(40, 400)), now_ms=T0), now_ms=T0)

        die_at("", work)
        counted += times
        bury_tables(mapping, 1, T0)
        check(mapping, at)
        assert read(mapping, at, key(1), GPC0, now_ms=T0) == (counted or 0)
        assert sum(row[2] for row in table_rows(mapping, at, T0)) == 1
    release(mapping, 2, keeper, now_ms=T0)
