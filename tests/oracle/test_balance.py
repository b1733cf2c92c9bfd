"""Roundrobin against the definition: of all deadlines (2k + 1) / w the earliest, in exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.testing_base import check_heap, rebuild, spoil_heap


@dataclass
class Member:
    oid: int
    weight: int
    chosen: int
    position: int

    @property
    def key(self) -> tuple[Fraction, int]:
        return Fraction(2 * self.chosen + 1, self.weight), self.position


class Model:
    def __init__(self, members: list[tuple[int, int, int]]) -> None:
        self.members = [Member(oid, weight, k, at) for at, (oid, weight, k) in enumerate(members)]

    def pick(self, avoid: int) -> int:
        usable = [member for member in self.members if member.weight]
        if not usable:
            return 0
        others = [member for member in usable if member.oid != avoid]
        found = min(others or usable, key=lambda member: member.key)
        found.chosen += 1
        return found.oid


WEIGHTS = st.one_of(st.integers(0, 3), st.integers(0, 256), st.integers(0, 65_535))
MAPPING = Mapping.create()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), weights=st.lists(WEIGHTS, min_size=1, max_size=24))
def test_picks_are_the_definitions(data: st.DataObject, weights: list[int]) -> None:
    oids = list(range(1, len(weights) + 1))
    at = MAPPING.balance(oids, weights)
    model = Model([(oid, weight, 0) for oid, weight in zip(oids, weights, strict=True)])
    for _ in range(data.draw(st.integers(1, 60))):
        avoid = data.draw(st.sampled_from([0, 0, 0, *oids, 999]))
        assert MAPPING.pick(at, avoid) == model.pick(avoid)
        if data.draw(st.integers(0, 15)) == 0:
            spoil_heap(MAPPING, at)
            rebuild(MAPPING, at)
        check_heap(MAPPING, at)
    MAPPING.release_balance(at)


@settings(max_examples=15, deadline=None)
@given(seed=st.randoms(use_true_random=False), size=st.integers(200, 1000))
def test_picks_among_many_are_the_definitions(seed: Random, size: int) -> None:
    oids = list(range(1, size + 1))
    weights = [seed.choice((0, 1, 1, 2, seed.randint(0, 256))) for _ in oids]
    at = MAPPING.balance(oids, weights)
    model = Model([(oid, weight, 0) for oid, weight in zip(oids, weights, strict=True)])
    usable = [member for member in model.members if member.weight]
    order = sorted(
        (Fraction(2 * k + 1, member.weight), member.position, member.oid)
        for member in usable
        for k in range(min(8, member.weight))
    )
    # Complete up to the first deadline that was left out.
    ends = [Fraction(17, member.weight) for member in usable if member.weight > 8]
    order = [entry for entry in order if not ends or entry[0] < min(ends)]
    assert [MAPPING.pick(at) for _ in order] == [oid for _, _, oid in order]
    check_heap(MAPPING, at)
    MAPPING.release_balance(at)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_over_reloads_no_member_is_far_from_its_share(data: st.DataObject) -> None:
    """Servers come, go and change weight; in each generation a member gets its exact share within two turns.

    One for what it brings along from the generation before, one for where the generation ends.
    """
    at = 0
    for _ in range(data.draw(st.integers(1, 6))):
        oids = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=12, unique=True))
        weights = [data.draw(st.integers(1, 40)) for _ in oids]
        old, at = at, MAPPING.balance(oids, weights, at)
        if old:
            MAPPING.release_balance(old)
        check_heap(MAPPING, at)
        before = {oid: k for oid, _, k in MAPPING.members(at)}
        number = data.draw(st.integers(0, 400))
        model = Model(MAPPING.members(at))
        assert [MAPPING.pick(at) for _ in range(number)] == [model.pick(0) for _ in range(number)]
        deadlines = [Fraction(2 * k + 1, weight) for _, weight, k in MAPPING.members(at)]
        start = min(Fraction(2 * before[oid] + 1, weight) for oid, weight, _ in MAPPING.members(at))
        passed = (min(deadlines) - start) / 2
        for oid, weight, k in MAPPING.members(at):
            assert abs((k - before[oid]) - passed * weight) <= 2
    MAPPING.release_balance(at)
