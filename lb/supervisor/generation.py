"""A generation: one configuration in force, as the supervisor knows it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import astuple

from lb._speedups.face.mapping import (
    OBJECT_BACKEND,
    OBJECT_FRONTEND,
    OBJECT_LIMIT,
    OBJECT_LISTENER,
    OBJECT_PROCESS,
    OBJECT_SERVER,
    Mapping,
)
from lb.config.part import Balance, ObjectKind, Part, TablePart
from lb.supervisor.messages import Listening
from lb.supervisor.sockets import Sockets

if TYPE_CHECKING:
    from lb.supervisor.references import Kept

# Objects registered before the loop gets its turn: some 100 us.
BATCH = 256

KINDS = {
    "process": OBJECT_PROCESS,
    "frontend": OBJECT_FRONTEND,
    "listener": OBJECT_LISTENER,
    "backend": OBJECT_BACKEND,
    "server": OBJECT_SERVER,
    "limit": OBJECT_LIMIT,
}


class Made(NamedTuple):
    """A balance in the mapping. One of the next generation that has the same members and shape is the same."""

    members: tuple[int, ...]  # object ids
    shape: tuple[object, ...]  # all else that was asked for
    offset: int  # in the mapping, 0 = there was nothing to balance


class Placed(NamedTuple):
    """A stick table in the mapping."""

    part: TablePart
    offset: int
    outcome: str  # "made", "kept", "resized", "emptied"


class NoRoom(Exception):
    """Raise when the mapping cannot hold what a configuration names; the argument is the line."""


@dataclass(frozen=True)
class Numbering:
    """The numbers that a configuration's names have in the mapping."""

    oids: list[int]  # by index of the compiler's objects
    balances: dict[int, Made]  # by the backend's object id, in the compiler's order
    since: dict[int, float] = field(default_factory=dict)  # by object id: monotonic seconds of its first generation

    @property
    def offsets(self) -> list[int]:
        """Return the arena offsets in the order of the compiler's balances."""
        return [made.offset for made in self.balances.values()]


@dataclass(eq=False)
class Generation:
    """A plan image with the supervisor's part of the same configuration."""

    number: int
    image: int  # descriptor of the sealed plan
    part: Part
    numbering: Numbering
    tables: Sequence[Placed] = ()
    references: Sequence[Kept] = ()

    def oid(self, index: int) -> int:
        """Return the object id of the compiler's object `index`."""
        return self.numbering.oids[index]

    def age_s(self, index: int) -> int:
        """Return for how many seconds every generation has named the compiler's object `index`."""
        return int(time.monotonic() - self.numbering.since[self.oid(index)])

    def listening(self, sockets: Sockets, slot: int) -> list[Listening]:
        """Return what this worker slot listens on in this generation."""
        return sockets.listening(self.part.binds, self.numbering.oids, max(1, self.part.workers), slot)

    def apply_limits(self, mapping: Mapping) -> None:
        """Set what is shared by all workers and not in the plan: the limits of the gauges."""
        mapping.set_limit(self.oid(0), self.part.maxconn)
        for frontend in self.part.frontends:
            mapping.set_limit(self.oid(frontend.object), frontend.maxconn)
        for offset in self.numbering.offsets:
            if offset:
                # Every worker has seen by now that these are counted.
                mapping.recount(offset)

    def mark(self, mapping: Mapping) -> None:
        """Say that this generation names its objects: their ids are not given to others while it is in use."""
        for oid in self.numbering.oids:
            mapping.mark(oid, self.number)

    def close(self) -> None:
        """Close the image; workers have their own descriptors."""
        os.close(self.image)


async def number(
    mapping: Mapping,
    objects: Sequence[tuple[ObjectKind, int, str]],
    balances: Sequence[Balance],
    before: Generation | None,
) -> Numbering:
    """Give ids to names and room to balances, a batch at a time. Raise NoRoom.

    A name keeps its id over generations; a backend with the same servers, weights and algorithm keeps its balance.
    """
    oids: list[int] = []
    made: dict[int, Made] = {}
    try:
        for index, (kind, parent, name) in enumerate(objects, 1):
            oids.append(mapping.register(KINDS[kind], oids[parent] if parent >= 0 else 0, name))
            if index % BATCH == 0:
                await asyncio.sleep(0)
        for balance in balances:
            backend = oids[balance.backend]
            members = tuple(oids[server] for server in balance.servers)
            shape = astuple(balance)[2:]
            old = before.numbering.balances.get(backend) if before else None
            if old is not None and (old.members, old.shape) == (members, shape):
                made[backend] = old
            else:
                # A backend without servers has nothing to balance; old members lend their places in the rotation.
                offset = make(mapping, members, balance, old.offset if old else 0) if members else 0
                made[backend] = Made(members, shape, offset)
                await asyncio.sleep(0)
    except (MemoryError, OSError) as error:
        release(mapping, Numbering(oids, made), before)
        raise NoRoom(f"the shared mapping has no room for this configuration: {error}") from error
    now = time.monotonic()
    known = before.numbering.since if before else {}
    return Numbering(oids, made, {oid: known.get(oid, now) for oid in oids})


def make(mapping: Mapping, members: Sequence[int], balance: Balance, old: int) -> int:
    """Make a balance and return where it stands. Raise OSError."""
    return mapping.balance(
        members,
        balance.weights,
        old,
        algorithm=balance.algorithm,
        table=balance.table,
        backups=balance.backups,
        identities=balance.identities,
        all_backups=balance.all_backups,
        positions=balance.by_position,
        draws=balance.draws,
        bound=balance.bound,
        seed=random.getrandbits(64),
    )


def new_offsets(numbering: Numbering, before: Generation | None) -> list[int]:
    """Return where the balances stand that `before` does not have."""
    old = set(before.numbering.offsets) if before else set()
    return [offset for offset in numbering.offsets if offset and offset not in old]


def release(mapping: Mapping, numbering: Numbering, before: Generation | None) -> None:
    """Give back the balances made for a generation that did not come into force."""
    for offset in new_offsets(numbering, before):
        mapping.release_balance(offset)


class Retired:
    """Balances that the generation in force does not name, kept until no stream of a worker can ask them."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._kept: list[tuple[int, int]] = []  # (last generation that names it, offset)

    def replace(self, before: Generation, after: Generation) -> None:
        """Keep what `after` does not use any more, and release what was kept and is free by now."""
        oldest = self._mapping.oldest
        for last, offset in self._kept:
            if last < oldest:
                self._mapping.release_balance(offset)
        self._kept = [(last, offset) for last, offset in self._kept if last >= oldest]
        self._kept += [(before.number, offset) for offset in new_offsets(before.numbering, after)]
