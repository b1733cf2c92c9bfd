from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from kit.fork import die_at, start, together

from lb._speedups.face.mapping import (
    BALANCE_HASH,
    BALANCE_LEASTCONN,
    OBJECT_BACKEND,
    OBJECT_SERVER,
    TABLE_MAGLEV,
    TABLE_RING,
    TABLE_SLOTS,
    WORKER_STARTING,
    Mapping,
)
from lb._speedups.face.micro_balance import churn
from lb._speedups.face.testing_base import check_heap, rebuild, spoil_heap, spoil_loads

POINTS = ("balance.locked", "balance.chosen", "balance.sifted")


@pytest.fixture
def mapping() -> Mapping:
    return Mapping.create()


def servers(mapping: Mapping, number: int) -> list[int]:
    backend = mapping.register(OBJECT_BACKEND, 0, "app")
    return [mapping.register(OBJECT_SERVER, backend, f"s{i}") for i in range(number)]


def picks(mapping: Mapping, at: int, number: int, avoid: int = 0) -> list[int]:
    return [mapping.pick(at, avoid) for _ in range(number)]


def chosen(mapping: Mapping, at: int) -> dict[int, int]:
    return {oid: times for oid, _, times in mapping.members(at)}


def test_equal_weights_take_turns_in_order(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    at = mapping.balance(oids, [1, 1, 1])
    assert picks(mapping, at, 7) == [*oids, *oids, oids[0]]


def test_weights_interleave(mapping: Mapping) -> None:
    a, b, c = servers(mapping, 3)
    at = mapping.balance([a, b, c], [3, 1, 2])
    assert picks(mapping, at, 6) == [a, c, a, b, c, a]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 100, 1000])
def test_each_round_chooses_every_member_its_weight(mapping: Mapping, size: int) -> None:
    oids = servers(mapping, size)
    weights = [1 + i * 7 % 11 for i in range(size)]
    at = mapping.balance(oids, weights)
    for turn in range(1, 4):
        mapping.pick(at, 0, sum(weights))
        assert chosen(mapping, at) == {o: w * turn for o, w in zip(oids, weights, strict=True)}
        check_heap(mapping, at)


def test_weight_zero_is_never_chosen(mapping: Mapping) -> None:
    a, b, c = servers(mapping, 3)
    at = mapping.balance([a, b, c], [1, 0, 1])
    assert set(picks(mapping, at, 10)) == {a, c}
    assert mapping.pick(mapping.balance([a, b], [0, 0])) == 0


def test_the_avoided_is_passed_over_and_keeps_its_turn(mapping: Mapping) -> None:
    a, b, c = servers(mapping, 3)
    at = mapping.balance([a, b, c], [1, 1, 1])
    assert mapping.pick(at, a) == b
    assert mapping.pick(at) == a
    assert mapping.pick(at) == c


def test_the_avoided_is_chosen_when_it_is_the_only_one(mapping: Mapping) -> None:
    a, b = servers(mapping, 2)
    at = mapping.balance([a, b], [1, 0])
    assert mapping.pick(at, a) == a


def test_avoiding_a_stranger_changes_nothing(mapping: Mapping) -> None:
    a, b = servers(mapping, 2)
    at = mapping.balance([a, b], [1, 1])
    assert picks(mapping, at, 4, avoid=999) == [a, b, a, b]


@pytest.mark.parametrize("size", [3, 1000])
def test_four_processes_pick_exactly(mapping: Mapping, size: int) -> None:
    oids = servers(mapping, size)
    weights = [1 + i % 4 for i in range(size)]
    at = mapping.balance(oids, weights)
    rounds = 400 if size == 1000 else 40_000
    each = sum(weights) * rounds // 4
    assert each * 4 == sum(weights) * rounds
    together(*[lambda: mapping.pick(at, 0, each)] * 4)
    assert chosen(mapping, at) == {o: w * rounds for o, w in zip(oids, weights, strict=True)}
    check_heap(mapping, at)


def test_what_four_processes_got_is_what_was_chosen(mapping: Mapping) -> None:
    oids = servers(mapping, 5)
    at = mapping.balance(oids, [5, 4, 3, 2, 1])
    ends = [os.pipe() for _ in range(4)]
    pids = []
    for _, write in ends:
        pids.append(start(lambda write=write: os.write(write, bytes(mapping.pick(at) for _ in range(3_000)))))
        os.close(write)
    got: Counter[int] = Counter()
    for (read, _), pid in zip(ends, pids, strict=True):
        with os.fdopen(read, "rb") as pipe:
            got.update(pipe.read())
        os.waitpid(pid, 0)
    assert got == chosen(mapping, at)
    assert got == {oid: 800 * weight for oid, weight in zip(oids, [5, 4, 3, 2, 1], strict=True)}


def test_a_rebuilt_heap_chooses_as_before(mapping: Mapping) -> None:
    oids = servers(mapping, 50)
    weights = [i % 5 for i in range(50)]
    one, two = (mapping.balance(oids, weights) for _ in range(2))
    for number in range(300):
        if number % 7 == 0:
            spoil_heap(mapping, two)
            rebuild(mapping, two)
            check_heap(mapping, two)
        assert mapping.pick(one) == mapping.pick(two)


@pytest.mark.parametrize("point", POINTS)
def test_death_inside_a_pick_is_repaired_by_the_next_locker(mapping: Mapping, point: str) -> None:
    oids = servers(mapping, 7)
    weights = [3, 1, 4, 1, 5, 9, 2]
    at = mapping.balance(oids, weights)
    mapping.pick(at, 0, 5)

    def die_with_a_spoilt_heap() -> None:
        # A real death leaves it half sorted: the worst of that.
        spoil_heap(mapping, at)
        rebuild(mapping, at)
        mapping.pick(at)

    die_at(point, die_with_a_spoilt_heap)
    done = sum(chosen(mapping, at).values())
    assert done == 5 + (point != "balance.locked")
    # What the dead one chose counts as its pick: the round still ends exactly.
    spoil_heap(mapping, at)
    mapping.pick(at, 0, sum(weights) - done)
    check_heap(mapping, at)
    assert chosen(mapping, at) == dict(zip(oids, weights, strict=True))


def test_deaths_among_busy_processes_lose_at_most_their_own_pick(mapping: Mapping, tmp_path: Path) -> None:
    oids = servers(mapping, 5)
    weights = [4, 3, 2, 1, 1]
    at = mapping.balance(oids, weights)
    for number, point in enumerate(POINTS * 4):
        before = sum(chosen(mapping, at).values())
        token = tmp_path / str(number)
        token.touch()
        os.environ["LB_KILL_AT"] = f"{point}@{token}"
        try:
            pids = [start(lambda: mapping.pick(at, 0, 5_000)) for _ in range(3)]
        finally:
            del os.environ["LB_KILL_AT"]
        deaths = sum(os.WIFSIGNALED(os.waitpid(pid, 0)[1]) for pid in pids)
        assert deaths == 1
        done = sum(chosen(mapping, at).values()) - before
        assert 10_000 <= done <= 15_000
        mapping.pick(at, 0, -sum(chosen(mapping, at).values()) % sum(weights))
        check_heap(mapping, at)
        rounds = sum(chosen(mapping, at).values()) // sum(weights)
        assert chosen(mapping, at) == {o: w * rounds for o, w in zip(oids, weights, strict=True)}


# A new balance in place of an old one.


def test_the_same_members_go_on_where_they_were(mapping: Mapping) -> None:
    oids = servers(mapping, 20)
    weights = [1 + i % 6 for i in range(20)]
    old = mapping.balance(oids, weights)
    mapping.pick(old, 0, 1_000_003)
    new = mapping.balance(oids, weights, old)
    assert sum(chosen(mapping, new).values()) < 2 * sum(weights)
    assert picks(mapping, new, 200) == picks(mapping, old, 200)


def test_the_order_of_members_does_not_matter_to_their_places(mapping: Mapping) -> None:
    oids = servers(mapping, 5)
    old = mapping.balance(oids, [5, 4, 3, 2, 1])
    mapping.pick(old, 0, 7)
    new = mapping.balance(oids[::-1], [1, 2, 3, 4, 5], old)
    mapping.pick(new, 0, 8)
    got = chosen(mapping, new)
    assert {oid: got[oid] for oid in oids} == dict(zip(oids, [5, 4, 3, 2, 1], strict=True))


def test_a_new_member_neither_floods_nor_starves(mapping: Mapping) -> None:
    oids = servers(mapping, 4)
    old = mapping.balance(oids[:3], [1, 1, 1])
    mapping.pick(old, 0, 3_000_001)
    new = mapping.balance(oids, [1, 1, 1, 1], old)
    got = picks(mapping, new, 8)
    assert Counter(got[:4])[oids[3]] == 1
    assert Counter(got) == dict.fromkeys(oids, 2)


def test_a_heavy_new_member_gets_its_share_from_the_start(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    old = mapping.balance(oids[:2], [1, 256])
    mapping.pick(old, 0, 12_345)
    new = mapping.balance(oids, [1, 256, 256], old)
    share = Counter(picks(mapping, new, 100))
    assert abs(share[oids[2]] - share[oids[1]]) <= 2


def test_removed_members_take_nobody_with_them(mapping: Mapping) -> None:
    oids = servers(mapping, 6)
    old = mapping.balance(oids, [2] * 6)
    mapping.pick(old, 0, 100)
    new = mapping.balance(oids[3:], [2] * 3, old)
    assert Counter(picks(mapping, new, 30)) == dict.fromkeys(oids[3:], 10)


@pytest.mark.parametrize("weights", [[10, 1, 1], [1, 100, 1], [0, 1, 1], [256, 256, 1]])
def test_changed_weights_hold_at_once(mapping: Mapping, weights: list[int]) -> None:
    oids = servers(mapping, 3)
    old = mapping.balance(oids, [5, 3, 1])
    mapping.pick(old, 0, 1_234)
    new = mapping.balance(oids, weights, old)
    total = sum(weights)
    got = Counter(picks(mapping, new, 10 * total))
    for oid, weight in zip(oids, weights, strict=True):
        assert abs(got[oid] - 10 * weight) <= 1 + weight // 10


def test_a_member_that_comes_back_from_weight_zero_joins_like_a_new_one(mapping: Mapping) -> None:
    a, b = servers(mapping, 2)
    old = mapping.balance([a, b], [1, 0])
    mapping.pick(old, 0, 1000)
    new = mapping.balance([a, b], [1, 1], old)
    assert Counter(picks(mapping, new, 10)) == {a: 5, b: 5}


def test_an_old_one_without_usable_members_lends_nothing(mapping: Mapping) -> None:
    a, b = servers(mapping, 2)
    old = mapping.balance([a, b], [0, 0])
    new = mapping.balance([a, b], [1, 1], old)
    assert picks(mapping, new, 4) == [a, b, a, b]


def test_taking_over_from_a_balance_whose_lock_is_broken(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    old = mapping.balance(oids, [1, 1, 1])
    die_at("balance.chosen", lambda: mapping.pick(old))
    new = mapping.balance(oids, [1, 1, 1], old)
    assert picks(mapping, new, 3) == [oids[1], oids[2], oids[0]]


def test_wrong_arguments_are_refused(mapping: Mapping) -> None:
    (a,) = servers(mapping, 1)
    with pytest.raises(ValueError, match="weights"):
        mapping.balance([a], [1, 2])
    with pytest.raises(ValueError, match="weight"):
        mapping.balance([a], [65_536])
    with pytest.raises(ValueError, match="no balance"):
        mapping.pick(12)


def test_a_released_balance_leaves_room_for_the_next(mapping: Mapping) -> None:
    oids = servers(mapping, 10)
    mapping.release_balance(mapping.balance(oids, [1] * 10))
    at = mapping.balance(oids, [1] * 10)
    mapping.release_balance(at)
    assert mapping.balance(oids, [2] * 10) == at
    assert picks(mapping, at, 10) == oids


# Loads over processes.


def loaded(mapping: Mapping, number: int, workers: int) -> tuple[list[int], int]:
    for slot in range(1, workers + 1):
        mapping.set_worker(slot, state=WORKER_STARTING)
    oids = servers(mapping, number)
    return oids, mapping.balance(oids, [1 + i % 3 for i in range(number)], algorithm=BALANCE_LEASTCONN)


def test_four_processes_leave_no_load_behind(mapping: Mapping) -> None:
    _, at = loaded(mapping, 7, 4)
    together(*[lambda slot=slot: churn(mapping, at, slot, 20_000, 9) for slot in range(1, 5)])
    assert set(mapping.loads(at).values()) == {0}
    check_heap(mapping, at)


def test_what_four_processes_hold_is_spread_by_weight(mapping: Mapping) -> None:
    oids, at = loaded(mapping, 6, 4)
    together(*[lambda slot=slot: mapping.pick(at, 0, 300, slot=slot) for slot in range(1, 5)])
    assert mapping.loads(at) == {oid: 100 * (1 + i % 3) for i, oid in enumerate(oids)}
    for slot in (1, 3):
        mapping.bury(slot)
    assert sum(mapping.loads(at).values()) == 600
    assert mapping.loads(at) == {oid: mapping.counters(oid)["cur"] for oid in oids}
    check_heap(mapping, at)


@pytest.mark.parametrize("point", ["balance.locked", "balance.row", "balance.booked", "balance.leaving"])
def test_a_death_between_row_and_load_is_mended(mapping: Mapping, point: str) -> None:
    oids, at = loaded(mapping, 5, 2)
    mapping.pick(at, 0, 12, slot=1)
    mapping.pick(at, 0, 1, slot=2)

    def pick_and_end() -> None:
        spoil_heap(mapping, at)
        spoil_loads(mapping, at)
        rebuild(mapping, at)
        mapping.unpick(at, mapping.pick(at, slot=2), 2)

    die_at(point, pick_and_end)
    # The next locker finds the lock broken, before anybody knows of the death.
    mapping.unpick(at, mapping.pick(at, slot=1), 1)
    assert mapping.loads(at) == {oid: mapping.counters(oid)["cur"] for oid in oids}
    check_heap(mapping, at)
    mapping.bury(2)
    assert sum(mapping.loads(at).values()) == 12
    check_heap(mapping, at)


def test_connections_of_the_old_balance_count_in_the_new_one(mapping: Mapping) -> None:
    oids, old = loaded(mapping, 3, 1)
    held = [mapping.pick(old, slot=1) for _ in range(12)]
    middle = mapping.balance(oids[1:], [1, 1], old, algorithm=BALANCE_LEASTCONN)
    new = mapping.balance(oids, [1, 1, 1], middle, algorithm=BALANCE_LEASTCONN)
    assert mapping.loads(new) == mapping.loads(old)
    for oid in held[:6]:
        mapping.unpick(old, oid, 1)
    mapping.release_balance(middle)
    for oid in held[6:]:
        mapping.unpick(old, oid, 1)
    assert set(mapping.loads(new).values()) == {0}
    check_heap(mapping, new)


def test_from_roundrobin_to_leastconn_nothing_is_forgotten(mapping: Mapping) -> None:
    mapping.set_worker(1, state=WORKER_STARTING)
    oids = servers(mapping, 2)
    old = mapping.balance(oids, [1, 1])
    held = [mapping.pick(old, slot=1) for _ in range(3)]
    new = mapping.balance(oids, [1, 1], old, algorithm=BALANCE_LEASTCONN)
    assert mapping.loads(new) == {oids[0]: 2, oids[1]: 1}
    assert mapping.pick(new, slot=1) == oids[1]
    for oid in held:
        mapping.unpick(old, oid, 1)
    mapping.recount(new)
    assert mapping.loads(new) == {oids[0]: 0, oids[1]: 1}


@pytest.mark.parametrize("table", [TABLE_SLOTS, TABLE_RING])
def test_a_table_that_is_too_large_is_refused(mapping: Mapping, table: int) -> None:
    oids = servers(mapping, 20)
    with pytest.raises(OSError, match="Invalid"):
        mapping.balance(oids, [65535] * 19 + [65534], algorithm=BALANCE_HASH, table=table, identities=list(range(20)))


def test_a_server_that_comes_back_neither_floods_nor_starves(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    at = mapping.balance(oids, [1, 1, 1])
    mapping.set_usable(oids[0], False)
    assert set(picks(mapping, at, 1000)) == set(oids[1:])
    mapping.set_usable(oids[0], True)
    assert Counter(picks(mapping, at, 9)) == dict.fromkeys(oids, 3)
    for oid in oids:
        mapping.set_usable(oid, False)
    assert mapping.pick(at) == 0
    mapping.set_usable(oids[2], True)
    mapping.set_usable(oids[1], True)
    assert abs(Counter(picks(mapping, at, 10))[oids[1]] - 5) <= 1


def test_who_is_down_stays_down_over_a_reload(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    old = mapping.balance(oids, [1, 1, 1])
    mapping.set_usable(oids[1], False)
    new = mapping.balance(oids[::-1], [1, 1, 2], old)
    assert set(picks(mapping, new, 12)) == {oids[0], oids[2]}


def test_a_weight_counts_from_now_on(mapping: Mapping) -> None:
    oids = servers(mapping, 3)
    at = mapping.balance(oids, [1, 1, 1])
    picks(mapping, at, 3000)
    assert mapping.set_weight(oids[0], 10)
    # Its share from here on, and neither a burst for what it did not get nor a pause.
    first = Counter(picks(mapping, at, 12))
    assert abs(first[oids[0]] - 10) <= 1
    assert Counter(picks(mapping, at, 1200))[oids[0]] == 1000
    assert mapping.set_weight(oids[0], 1)
    assert abs(Counter(picks(mapping, at, 300))[oids[0]] - 100) <= 1
    assert [weight for _, weight, _ in mapping.members(at)] == [1, 1, 1]


def test_a_weight_of_none_drains(mapping: Mapping) -> None:
    oids = servers(mapping, 2)
    at = mapping.balance(oids, [5, 5])
    assert mapping.set_weight(oids[0], 0)
    assert set(picks(mapping, at, 20)) == {oids[1]}
    # Down and draining are two things.
    mapping.set_usable(oids[0], False)
    assert mapping.set_weight(oids[0], 5)
    assert set(picks(mapping, at, 20)) == {oids[1]}
    mapping.set_usable(oids[0], True)
    assert Counter(picks(mapping, at, 20)) == dict.fromkeys(oids, 10)
    # A reload keeps it.
    mapping.set_weight(oids[1], 0)
    new = mapping.balance(oids, [5, 5], at)
    assert set(picks(mapping, new, 20)) == {oids[0]}
    # All balances of the server are told.
    mapping.set_weight(oids[1], 5)
    assert set(picks(mapping, new, 20)) == set(picks(mapping, at, 20)) == set(oids)


def test_weights_of_leastconn(mapping: Mapping) -> None:
    for slot in (1, 2):
        mapping.set_worker(slot, state=WORKER_STARTING)
    oids = servers(mapping, 2)
    at = mapping.balance(oids, [1, 1], algorithm=BALANCE_LEASTCONN)
    assert mapping.set_weight(oids[1], 3)
    assert Counter(mapping.pick(at, slot=1) for _ in range(40)) == {oids[0]: 10, oids[1]: 30}
    for oid, load in mapping.loads(at).items():
        for _ in range(load):
            mapping.unpick(at, oid, 1)


@pytest.mark.parametrize("table", [TABLE_SLOTS, TABLE_RING, TABLE_MAGLEV])
def test_weights_of_hashes(mapping: Mapping, table: int) -> None:
    oids = servers(mapping, 3)
    at = mapping.balance(oids, [20, 20, 20], algorithm=BALANCE_HASH, table=table, identities=[7, 8, 9])

    def shares() -> Counter[int]:
        return Counter(mapping.pick(at, hash=number * 0x9E3779B1 & 0xFFFFFFFF) for number in range(3000))

    before = shares()
    assert set(before) == set(oids)
    assert mapping.set_weight(oids[0], 0)
    assert set(shares()) == set(oids[1:])
    assert mapping.set_weight(oids[0], 20)
    assert shares() == before
    if table == TABLE_SLOTS:
        # As HAProxy: a static algorithm knows the configured weight and none.
        assert not mapping.set_weight(oids[0], 10)
        assert shares() == before
        return
    assert mapping.set_weight(oids[0], 5)
    assert shares()[oids[0]] < before[oids[0]] / 2
    assert mapping.set_weight(oids[0], 20)
    assert shares() == before
    if table == TABLE_RING:
        assert not mapping.set_weight(oids[0], 21)
        assert shares() == before
        # There is room for what others gave up.
        assert mapping.set_weight(oids[1], 10)
        assert mapping.set_weight(oids[0], 30)
