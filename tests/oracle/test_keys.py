"""Balancing by keys against slow models: HAProxy's slots and ring, bounded loads, Maglev; and what moves when one leaves."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.mapping import (
    BALANCE_HASH,
    BALANCE_STATIC_RR,
    OBJECT_BACKEND,
    OBJECT_SERVER,
    TABLE_MAGLEV,
    TABLE_RING,
    TABLE_SLOTS,
    WORKER_STARTING,
    Mapping,
)
from lb._speedups.face.testing_base import avalanche_of, table

MASK = (1 << 64) - 1
SERVERS = list(range(2, 202))
IDENTITIES = [Random(i).getrandbits(64) for i in range(200)]


def fresh() -> Mapping:
    """Return a mapping with a worker and servers."""
    mapping = Mapping.create()
    mapping.set_worker(1, state=WORKER_STARTING)
    backend = mapping.register(OBJECT_BACKEND, 0, "app")
    assert [mapping.register(OBJECT_SERVER, backend, f"s{i}") for i in SERVERS] == SERVERS
    return mapping


MAPPING = fresh()

MEMBERS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=10)
KEYS = st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=30)


def mix(number: int) -> int:
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def usable(members: list[tuple[int, bool]], down: set[int], all_backups: bool) -> list[int]:
    """Return the weights that count."""
    up = [0 if i in down else weight for i, (weight, _) in enumerate(members)]
    active = [0 if members[i][1] else weight for i, weight in enumerate(up)]
    if any(active):
        return active
    backup = [weight if members[i][1] else 0 for i, weight in enumerate(up)]
    if all_backups:
        return backup
    first = next((i for i, weight in enumerate(backup) if weight), -1)
    return [weight if i == first else 0 for i, weight in enumerate(backup)]


def slots(weights: list[int], divisor: int) -> list[int]:
    """Return HAProxy's map, as lb_map.c makes it."""
    weights = [weight // divisor for weight in weights]
    total = sum(weights)
    scores = [0] * len(weights)
    found = []
    for _ in range(total):
        best, most = -1, 0
        for i, weight in enumerate(weights):
            if not weight:
                continue
            scores[i] += weight
            level = (scores[i] + total) // total
            if best < 0 or level > most:
                best, most = i, level
        scores[best] -= total
        found.append(best)
    return found


def points(weights: list[int], by_position: bool) -> list[tuple[int, int]]:
    """Return the ring."""
    return sorted(
        (avalanche_of((i + 1) * 4096 + n) if by_position else mix(IDENTITIES[i] + n & MASK) & 0xFFFFFFFF, i)
        for i, weight in enumerate(weights)
        for n in range(weight * 16)
    )


def nearest(ring: list[tuple[int, int]], key: int) -> int:
    """Return the place of the nearest point, as lb_chash.c finds it."""
    after = next((at for at, (place, _) in enumerate(ring) if place >= key), 0)
    before = (after - 1) % len(ring)
    back, on = (key - ring[before][0]) & 0xFFFFFFFF, (ring[after][0] - key) & 0xFFFFFFFF
    return before if back <= on else after


def maglev(weights: list[int]) -> list[int]:
    """Return the table, filled as the paper says."""
    size = 65537
    places = [-1] * size
    at = [mix(IDENTITIES[i]) % size for i in range(len(weights))]
    skip = [mix(~IDENTITIES[i] & MASK) % (size - 1) + 1 for i in range(len(weights))]
    credit = [0] * len(weights)
    left = size
    while True:
        for i, weight in enumerate(weights):
            credit[i] += weight
            if credit[i] < max(weights):
                continue
            credit[i] -= max(weights)
            while places[at[i]] >= 0:
                at[i] = (at[i] + skip[i]) % size
            places[at[i]] = i
            left -= 1
            if not left:
                return places


@settings(max_examples=150, deadline=None)
@given(members=MEMBERS, all_backups=st.booleans(), keys=KEYS, data=st.data())
def test_slots_are_haproxys(
    members: list[tuple[int, bool]], all_backups: bool, keys: list[int], data: st.DataObject
) -> None:
    oids, weights = SERVERS[: len(members)], [weight for weight, _ in members]
    backups = [backup for _, backup in members]
    divisor = math.gcd(*weights) or 1
    options = {"table": TABLE_SLOTS, "backups": backups, "all_backups": all_backups}
    at = MAPPING.balance(oids, weights, algorithm=BALANCE_HASH, **options)  # type: ignore[arg-type]
    turns = MAPPING.balance(oids, weights, algorithm=BALANCE_STATIC_RR, **options)  # type: ignore[arg-type]
    down: set[int] = set()
    cursor = 0
    for _ in range(3):
        model = slots(usable(members, down, all_backups), divisor)
        assert table(MAPPING, at) == model
        for key in keys:
            assert MAPPING.pick(at, hash=key) == (oids[model[key % len(model)]] if model else 0)
        for _ in range(5 if model else 0):
            cursor = cursor if cursor < len(model) else 0
            assert MAPPING.pick(turns) == oids[model[cursor]]
            cursor += 1
        if len(set(model)) > 1:
            first = oids[model[keys[0] % len(model)]]
            assert MAPPING.pick(at, first, hash=keys[0]) not in (0, first)
        changed = data.draw(st.integers(0, len(members) - 1))
        MAPPING.set_usable(oids[changed], changed in down)
        down ^= {changed}
    for oid in oids:
        MAPPING.set_usable(oid, True)
    MAPPING.release_balance(at)
    MAPPING.release_balance(turns)


@settings(max_examples=100, deadline=None)
@given(members=MEMBERS, by_position=st.booleans(), bound=st.sampled_from([0, 101, 125, 200]), keys=KEYS, data=st.data())
def test_the_ring_is_haproxys(
    members: list[tuple[int, bool]], by_position: bool, bound: int, keys: list[int], data: st.DataObject
) -> None:
    mapping = fresh()
    oids, weights = SERVERS[: len(members)], [weight for weight, _ in members]
    at = mapping.balance(
        oids,
        weights,
        algorithm=BALANCE_HASH,
        table=TABLE_RING,
        backups=[backup for _, backup in members],
        positions=by_position,
        identities=() if by_position else IDENTITIES[: len(members)],
        bound=bound,
    )
    down: set[int] = set()
    held: list[int] = []
    for _ in range(3):
        now = usable(members, down, False)
        ring = points(now, by_position)
        assert table(mapping, at) == ring
        total = sum(now) * 16
        for key in keys:
            avoid = data.draw(st.sampled_from([-1, -1, *range(len(members))]))
            expected = 0
            if ring:
                place = nearest(ring, key)
                expected = oids[ring[place][1]]
                room = ((len(held) + 1) * bound + 99) // 100
                for offset in range(len(ring)):
                    i = ring[(place + offset) % len(ring)][1]
                    before, weight = sum(now[:i]) * 16, now[i] * 16
                    part = weight * (room // total)
                    part += (before + weight) * (room % total) // total - before * (room % total) // total
                    if i != avoid and (not bound or held.count(oids[i]) < max(part, 1)):
                        expected = oids[i]
                        break
            found = mapping.pick(at, oids[avoid] if avoid >= 0 else 0, hash=key, slot=1)
            assert found == expected
            if found:
                held.append(found)
        for oid in held[::2]:
            mapping.unpick(at, oid, 1)
        held = held[1::2]
        changed = data.draw(st.integers(0, len(members) - 1))
        mapping.set_usable(oids[changed], changed in down)
        down ^= {changed}
    mapping.close()


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [1, 2, 0, 7], [256, 1]])
def test_maglev_is_the_papers(weights: list[int]) -> None:
    oids = SERVERS[: len(weights)]
    at = MAPPING.balance(
        oids, weights, algorithm=BALANCE_HASH, table=TABLE_MAGLEV, identities=IDENTITIES[: len(weights)]
    )
    model = maglev(weights)
    assert table(MAPPING, at) == model
    for key in (0, 1, 65536, 65537, 0xFFFFFFFF):
        assert MAPPING.pick(at, hash=key) == oids[model[key % 65537]]
    counted = Counter(model)
    for i, weight in enumerate(weights):
        assert abs(counted[i] - 65537 * weight / sum(weights)) <= len(weights)
    MAPPING.release_balance(at)


def test_without_a_key_members_take_turns() -> None:
    at = MAPPING.balance(SERVERS[:3], [1, 1, 1], algorithm=BALANCE_HASH, table=TABLE_SLOTS)
    assert [MAPPING.pick(at) for _ in range(6)] == SERVERS[:3] * 2
    MAPPING.release_balance(at)


# What moves when one of N leaves: it is taken out of the configuration, or it goes down.

NUMBER = 20_000


def placed(at: int) -> list[int]:
    return [MAPPING.pick(at, hash=avalanche_of(key)) for key in range(NUMBER)]


@pytest.mark.parametrize("size", [2, 3, 10, 100])
@pytest.mark.parametrize("how", ["removed", "down"])
def test_on_a_ring_only_the_keys_of_the_one_that_leaves_move(size: int, how: str) -> None:
    def make(members: list[int], old: int = 0) -> int:
        return MAPPING.balance(
            [SERVERS[i] for i in members],
            [1 + i % 3 for i in members],
            old,
            algorithm=BALANCE_HASH,
            table=TABLE_RING,
            identities=[IDENTITIES[i] for i in members],
        )

    at = make(list(range(size)))
    before = placed(at)
    gone = size // 2
    if how == "down":
        MAPPING.set_usable(SERVERS[gone], False)
        after = placed(at)
        MAPPING.set_usable(SERVERS[gone], True)
        assert placed(at) == before
    else:
        new = make([i for i in range(size) if i != gone], at)
        after = placed(new)
        MAPPING.release_balance(new)
    MAPPING.release_balance(at)
    moved = [old for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {SERVERS[gone]}
    assert len(moved) == before.count(SERVERS[gone])


def test_with_a_bound_the_keys_of_one_that_leaves_and_the_spill_move() -> None:
    """Every key is one open connection; a key that spills at either time may move, and nobody passes the bound."""
    size, number, bound = 10, 2_000, 125
    oids = SERVERS[:size]

    def place(members: list[int], limit: int) -> list[int]:
        at = MAPPING.balance(
            [oids[i] for i in members],
            [1] * len(members),
            algorithm=BALANCE_HASH,
            table=TABLE_RING,
            identities=[IDENTITIES[i] for i in members],
            bound=limit,
        )
        found = [MAPPING.pick(at, hash=avalanche_of(key), slot=1) for key in range(number)]
        if limit:
            assert max(Counter(found).values()) <= math.ceil(number * limit / 100 / len(members)) + 1
        for oid in found:
            MAPPING.unpick(at, oid, 1)
        MAPPING.release_balance(at)
        return found

    everybody, others = list(range(size)), [i for i in range(size) if i != 4]
    before, after = place(everybody, bound), place(others, bound)
    home_before, home_after = place(everybody, 0), place(others, 0)
    spilled = {k for k in range(number) if before[k] != home_before[k] or after[k] != home_after[k]}
    moved = {k for k in range(number) if before[k] != after[k]}
    own = {k for k in range(number) if home_before[k] == oids[4]}
    assert moved <= own | spilled
    assert len(moved) < number / 2


def test_maglev_moves_few_keys_of_others() -> None:
    size = 100
    at = MAPPING.balance(
        SERVERS[:size], [1] * size, algorithm=BALANCE_HASH, table=TABLE_MAGLEV, identities=IDENTITIES[:size]
    )
    before = placed(at)
    MAPPING.set_usable(SERVERS[7], False)
    after = placed(at)
    MAPPING.set_usable(SERVERS[7], True)
    MAPPING.release_balance(at)
    others = sum(old not in (new, SERVERS[7]) for old, new in zip(before, after, strict=True))
    assert others < NUMBER * 0.03
