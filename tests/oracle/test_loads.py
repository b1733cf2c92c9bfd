"""leastconn and random against slow models, while workers die, servers go down and configurations are reloaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.mapping import (
    BALANCE_LEASTCONN,
    BALANCE_RANDOM,
    OBJECT_BACKEND,
    OBJECT_SERVER,
    TABLE_SUMS,
    WORKER_STARTING,
    Mapping,
)
from lb._speedups.face.testing_base import check_heap, rebuild, set_moves, spoil_heap, spoil_loads

SLOTS = 4
MASK = (1 << 64) - 1
SERVERS = list(range(2, 14))


def fresh() -> Mapping:
    """Return a mapping with workers and servers."""
    mapping = Mapping.create()
    for slot in range(1, SLOTS + 1):
        mapping.set_worker(slot, state=WORKER_STARTING)
    backend = mapping.register(OBJECT_BACKEND, 0, "app")
    assert [mapping.register(OBJECT_SERVER, backend, f"s{i}") for i in range(12)] == SERVERS
    return mapping


def mix(number: int) -> int:
    """Return splitmix64's finalizer of a number."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


@dataclass
class Member:
    oid: int
    weight: int
    backup: bool
    load: int
    stamp: int


@dataclass
class Model:
    """One balance; `down` is common to all."""

    at: int
    members: list[Member]
    down: set[int]
    seed: int
    draws: int
    moves: int = field(init=False)

    def __post_init__(self) -> None:
        self.moves = len(self.members)

    def member(self, oid: int) -> Member | None:
        return next((each for each in self.members if each.oid == oid), None)

    def usable(self) -> list[Member]:
        up = [each for each in self.members if each.weight and each.oid not in self.down]
        return [each for each in up if not each.backup] or [each for each in up if each.backup][:1]

    def least(self, avoid: int) -> int:
        usable = self.usable()
        others = [each for each in usable if each.oid != avoid] or usable
        if not others:
            return 0
        return min(others, key=lambda each: (Fraction(each.load, each.weight), each.stamp)).oid

    def draw(self, avoid: int) -> Member:
        usable = self.usable()
        self.seed = (self.seed + 1) & MASK
        number = (mix(self.seed) >> 32) * sum(each.weight for each in usable) >> 32
        at = 0
        while number >= usable[at].weight:
            number -= usable[at].weight
            at += 1
        if usable[at].oid == avoid:
            at = (at + 1) % len(usable)
        return usable[at]

    def random(self, avoid: int) -> int:
        if not self.usable():
            return 0
        best = self.draw(avoid)
        for _ in range(1, self.draws):
            other = self.draw(avoid)
            if Fraction(other.load, other.weight) <= Fraction(best.load, best.weight):
                best = other
        return best.oid

    def book(self, oid: int, delta: int) -> None:
        member = self.member(oid)
        if member:
            self.moves += 1
            member.load += delta
            member.stamp = self.moves


WEIGHTS = st.one_of(st.integers(0, 3), st.integers(0, 256))
STEPS = ("pick",) * 8 + ("leave",) * 6 + ("down", "up", "die", "reload", "spoil")


@pytest.mark.parametrize("algorithm", [BALANCE_LEASTCONN, BALANCE_RANDOM])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_picks_and_loads_are_the_definitions(algorithm: int, data: st.DataObject) -> None:
    mapping = fresh()
    balances: list[Model] = []
    held: list[tuple[int, int, int]] = []  # slot, server, place of the balance in `balances`
    down: set[int] = set()
    gone: set[int] = set()

    def make() -> None:
        oids = data.draw(st.lists(st.sampled_from(SERVERS), min_size=1, max_size=12, unique=True))
        weights = [data.draw(WEIGHTS) for _ in oids]
        backups = [data.draw(st.integers(0, 4)) == 0 for _ in oids]
        seed, draws = data.draw(st.integers(0, MASK)), data.draw(st.integers(1, 4))
        at = mapping.balance(
            oids,
            weights,
            balances[-1].at if balances else 0,
            algorithm=algorithm,
            table=TABLE_SUMS if algorithm == BALANCE_RANDOM else 0,
            backups=backups,
            draws=draws,
            seed=seed,
        )
        # Who is down is known of the members of the balance before; a server that comes back begins as up.
        known = {each.oid for each in balances[-1].members} if balances else set()
        down.intersection_update(known & set(oids))
        loads = [sum(server == oid for _, server, _ in held) for oid in oids]
        members = [Member(*each) for each in zip(oids, weights, backups, loads, range(len(oids)), strict=True)]
        balances.append(Model(at, members, set(down), seed, draws))

    make()
    for _ in range(data.draw(st.integers(1, 60))):
        newest = balances[-1]
        step = data.draw(st.sampled_from(STEPS))
        if step == "pick":
            slot, avoid = data.draw(st.integers(1, SLOTS)), data.draw(st.sampled_from([0, 0, 0, *SERVERS]))
            found = newest.least(avoid) if algorithm == BALANCE_LEASTCONN else newest.random(avoid)
            assert mapping.pick(newest.at, avoid, slot=slot) == found
            if found:
                newest.book(found, 1)
                held.append((slot, found, len(balances) - 1))
        elif step == "leave" and held:
            slot, oid, index = held.pop(data.draw(st.integers(0, len(held) - 1)))
            mapping.unpick(balances[index].at, oid, slot)
            for model in balances[index:]:
                model.book(oid, -1)
        elif step in ("down", "up"):
            oid = data.draw(st.sampled_from([each.oid for each in newest.members]))
            mapping.set_usable(oid, step == "up")
            for model in balances:
                (model.down.discard if step == "up" else model.down.add)(oid)
            (down.discard if step == "up" else down.add)(oid)
        elif step == "die":
            slot = data.draw(st.integers(1, SLOTS))
            mapping.bury(slot)
            mapping.set_worker(slot, state=WORKER_STARTING)
            held = [each for each in held if each[0] != slot]
            for member in newest.members:
                member.load = sum(oid == member.oid for _, oid, _ in held)
        elif step == "reload" and len(balances) < 4:
            make()
        elif step == "spoil":
            spoil_heap(mapping, newest.at)
            spoil_loads(mapping, newest.at)
            mapping.recount(newest.at)
        newest = balances[-1]
        assert mapping.loads(newest.at) == {each.oid: each.load for each in newest.members}
        check_heap(mapping, newest.at)
        # An older balance none of whose streams is left goes at any time.
        for index, model in enumerate(balances[:-1]):
            if index not in gone and all(each[2] != index for each in held):
                mapping.release_balance(model.at)
                gone.add(index)
    for slot, oid, index in held:
        mapping.unpick(balances[index].at, oid, slot)
    assert set(mapping.loads(balances[-1].at).values()) == {0}
    assert all(mapping.counters(oid)["cur"] == 0 for oid in SERVERS)
    for index, model in enumerate(balances):
        if index not in gone:
            mapping.release_balance(model.at)
    mapping.close()


def test_ties_that_run_out_of_numbers_begin_anew() -> None:
    mapping, oids = fresh(), SERVERS[:4]
    at = mapping.balance(oids, [1] * 4, algorithm=BALANCE_LEASTCONN)
    set_moves(mapping, at, 0xFFFFFFFF - 5)
    picked = [mapping.pick(at, slot=1) for _ in range(16)]
    assert mapping.loads(at) == dict.fromkeys(oids, 4)
    check_heap(mapping, at)
    for oid in picked:
        mapping.unpick(at, oid, 1)
    rebuild(mapping, at)
    mapping.release_balance(at)
