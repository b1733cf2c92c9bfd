"""What reloads take of the arena, they give back."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import cast

import pytest

from lb._speedups.face.mapping import WORKER_STARTING, Mapping
from lb._speedups.face.testing_base import set_worker_generation
from lb.config.part import Balance, Part
from lb.supervisor.generation import Generation, NoRoom, Numbering, Retired, number, release

OBJECTS = [("process", -1, "lb"), ("backend", 0, "app"), ("server", 1, "app/a"), ("server", 1, "app/b")]


@pytest.fixture
def mapping() -> Mapping:
    mapping = Mapping.create()
    mapping.set_worker(1, state=WORKER_STARTING)
    return mapping


def numbered(mapping: Mapping, weights: list[int], before: Generation | None) -> Numbering:
    return asyncio.run(number(mapping, OBJECTS, [Balance(1, (2, 3), tuple(weights))], before))


def generation(this: int, numbering: Numbering) -> Generation:
    return Generation(this, os.memfd_create("plan"), cast(Part, SimpleNamespace()), numbering)


def test_the_same_members_and_weights_keep_their_balance(mapping: Mapping) -> None:
    first = generation(1, numbered(mapping, [1, 1], None))
    second = generation(2, numbered(mapping, [1, 1], first))
    assert first.numbering.offsets == second.numbering.offsets
    retired = Retired(mapping)
    mapping.generation = 2
    retired.replace(first, second)
    retired.replace(second, second)
    assert mapping.pick(second.numbering.offsets[0]) > 0


def test_endless_reloads_use_a_few_regions(mapping: Mapping) -> None:
    retired = Retired(mapping)
    offsets = set()
    before = generation(1, numbered(mapping, [1, 1], None))
    for this in range(2, 200):
        after = generation(this, numbered(mapping, [1, this], before))
        mapping.generation = this
        set_worker_generation(mapping, 1, this)
        retired.replace(before, after)
        before.close()
        before = after
        offsets.update(after.numbering.offsets)
    before.close()
    assert len(offsets) <= 4


def test_a_worker_with_an_old_stream_keeps_its_balance(mapping: Mapping) -> None:
    retired = Retired(mapping)
    first = generation(1, numbered(mapping, [1, 1], None))
    set_worker_generation(mapping, 1, 1)
    before, offsets = first, set()
    for this in range(2, 6):
        after = generation(this, numbered(mapping, [1, this], before))
        mapping.generation = this
        retired.replace(before, after)
        offsets.update(after.numbering.offsets)
        before = after
    assert first.numbering.offsets[0] not in offsets
    assert len(offsets) == 4
    assert mapping.oldest == 1
    mapping.bury(1)
    assert mapping.oldest == 5
    after = generation(6, numbered(mapping, [1, 6], before))
    mapping.generation = 6
    retired.replace(before, after)
    again = numbered(mapping, [1, 7], after)
    assert again.offsets[0] in {*first.numbering.offsets, *offsets}


def test_a_generation_that_fails_gives_back_only_what_is_its_own(mapping: Mapping) -> None:
    first = generation(1, numbered(mapping, [1, 1], None))
    failed = numbered(mapping, [1, 2], first)
    release(mapping, failed, first)
    assert numbered(mapping, [1, 3], first).offsets == failed.offsets
    kept = numbered(mapping, [1, 1], first)
    release(mapping, kept, first)
    assert mapping.pick(first.numbering.offsets[0]) > 0


def test_no_room_gives_back_what_was_made(mapping: Mapping) -> None:
    first = generation(1, numbered(mapping, [1, 1], None))
    mapping.release_balance(mapping.balance([1, 2], [1, 1]))
    fresh = mapping.balance([1, 2], [1, 1])
    mapping.release_balance(fresh)

    class Full:
        """A mapping whose arena is full after one more balance."""

        made = 0

        def __getattr__(self, name: str) -> object:
            return getattr(mapping, name)

        def balance(self, *arguments: object, **options: object) -> int:
            self.made += 1
            if self.made == 2:
                raise OSError("full")
            return mapping.balance(*arguments, **options)  # type: ignore[arg-type]

    objects = [*OBJECTS, ("backend", 0, "api"), ("server", 4, "api/a")]
    with pytest.raises(NoRoom, match="full"):
        asyncio.run(number(cast(Mapping, Full()), objects, [Balance(1, (2, 3), (1, 9)), Balance(4, (5,), (1,))], first))
    assert mapping.balance([1, 2], [1, 1]) == fresh
