"""Maps and ACL files in the store: placed before a plan that names them, changed by hand, folded, given back.

Each generation has its own: a reload reads the files again, and what was changed at run time goes with the old generation.
Room in the store is given out here and nowhere else. An image that was replaced stays until every worker has come through its
loop since, because a rule that is being evaluated may look at it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lb._speedups.face import references as face
from lb._speedups.face.mapping import WORKER_EMPTY, Mapping
from lb.config.part import ReferencePart
from lb.config.references import ADMIN_SLACK
from lb.supervisor.generation import NoRoom

PAUSE_S = 1.0  # between folds of one reference that only make lookups faster
SHARE = 20  # and at least so many times as long as the last one took
IN_THREAD = 20_000  # records from which on a fold has a thread of its own: some ms
SLOTS = 64


@dataclass(eq=False)
class Kept:
    """A reference in the store."""

    part: ReferencePart
    place: int
    size: int  # of what stands there: the reference and its first image
    generation: int
    image: tuple[int, int] | None = None  # place and size of the present image, if it is another than the first
    is_forgotten: bool = False  # nobody can ask it: no more folds
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    folded: float = 0.0  # monotonic
    took: float = 0.0  # seconds, the last fold
    refused: int = 0  # as last told


class Store:
    """The free room of the store, in order of place."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = [(face.STORE_AT, face.STORE_BYTES)]

    def take(self, size: int) -> int:
        """Return a place for so many bytes. Raise NoRoom."""
        size = _pages(size)
        for index, (place, free) in enumerate(self._free):
            if free >= size:
                self._free[index : index + 1] = [(place + size, free - size)] if free > size else []
                return place
        raise NoRoom(
            f"no room for {size >> 20} MiB of maps and ACL files: all together may have {face.STORE_BYTES >> 30} GiB"
        )

    def give(self, place: int, size: int) -> None:
        """Take a place back."""
        size = _pages(size)
        index = bisect_left(self._free, (place, 0))
        if index < len(self._free) and self._free[index][0] == place + size:
            size += self._free.pop(index)[1]
        if index > 0 and sum(self._free[index - 1]) == place:
            before, more = self._free.pop(index - 1)
            place, size, index = before, size + more, index - 1
        self._free.insert(index, (place, size))


class References:
    """All references of all generations that are in use."""

    def __init__(self, mapping: Mapping, warn: Callable[[str], None]) -> None:
        self._mapping = mapping
        self._warn = warn
        self._store = Store()
        self._kept: list[Kept] = []
        self._replaced: list[
            tuple[int, int, int]
        ] = []  # (ms when, place, size): images that somebody may still look at
        self._folds: set[asyncio.Task[None]] = set()
        self._readers = 0  # that look at images piece by piece

    # ---- generations ---------------------------------------------------------------------------------------

    def place(self, parts: Sequence[ReferencePart], generation: int) -> list[Kept]:
        """Give every reference of a generation its place. Raise NoRoom."""
        made: list[Kept] = []
        try:
            for part in parts:
                made.append(Kept(part, self._reserve(part.size), part.size, generation))
        except NoRoom as error:
            self.undo(made)
            raise NoRoom(f"'{parts[len(made)].name}': {error}") from error
        self._kept += made
        return made

    def undo(self, made: Sequence[Kept]) -> None:
        """Give back what was made for a generation that did not come into force."""
        for each in made:
            each.is_forgotten = True
            self._release(each.place, each.size)
        self._kept = [each for each in self._kept if each not in made]

    def collect(self) -> None:
        """Give back the references of generations that no worker uses any more, and images that nobody looks at."""
        if self._readers:
            return
        oldest = self._mapping.oldest
        for each in [each for each in self._kept if each.generation < oldest and not each.changing.locked()]:
            each.is_forgotten = True
            self._kept.remove(each)
            if each.image is not None:
                self._release(*each.image)
            self._release(each.place, each.size)
        if self._replaced:
            seen = self._seen_ms()
            for _, place, size in [each for each in self._replaced if each[0] < seen]:
                self._release(place, size)
            self._replaced = [each for each in self._replaced if each[0] >= seen]

    def _seen_ms(self) -> int:
        """Return the time after which every worker has been through its loop."""
        beats = [
            worker["beat_ms"]
            for slot in range(1, SLOTS + 1)
            if (worker := self._mapping.worker(slot))["state"] != WORKER_EMPTY
        ]
        return min(beats, default=time.monotonic_ns() // 1_000_000)

    def _reserve(self, size: int) -> int:
        place = self._store.take(size)
        try:
            face.reserve(self._mapping, place, _pages(size))
        except OSError as error:
            self._store.give(place, size)
            raise NoRoom(f"no memory for {size >> 20} MiB of maps and ACL files: {error.strerror}") from error
        return place

    def _release(self, place: int, size: int) -> None:
        face.release(self._mapping, place, _pages(size))
        self._store.give(place, size)

    # ---- folds ---------------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look after all: fold what has little room or is slower than it need be, and tell what was refused."""
        now = time.monotonic()
        for each in self._kept:
            if each.changing.locked():
                continue
            known = face.information(self._mapping, each.place)
            if known is None:
                continue  # the compiler is at it
            if known["refused"] > each.refused:
                self._warn(
                    f"{title(each.part)}: {known['refused'] - each.refused} changes by rules found no room "
                    f"({known['entries']} entries)"
                )
                each.refused = known["refused"]
            is_short = (
                known["torn"]
                or 2 * (known["used"] - known["base"]) > known["capacity"] - known["base"]
                or 2 * known["logged"] > known["log_size"]
                or 2 * known["heap_free"] < known["heap_room"]
            )
            is_slow = known["appended"] or 2 * known["gone"] > known["used"]
            if is_short or (is_slow and now >= each.folded + max(PAUSE_S, SHARE * each.took)):
                self._begin_fold(each, None, True).add_done_callback(self._tell)
        self.collect()

    def _tell(self, fold: asyncio.Task[None]) -> None:
        if not fold.cancelled() and (error := fold.exception()) is not None:
            self._warn(str(error))

    def _begin_fold(self, kept: Kept, version: int | None, keeps: bool) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._fold(kept, version, keeps))
        self._folds.add(task)
        task.add_done_callback(self._folds.discard)
        return task

    async def fold(self, kept: Kept, version: int | None = None, *, keeps: bool = True) -> None:
        """Make the next image, of the present version if no other is given; without the entries of it if it keeps none.

        Raise NoRoom. Whoever waits for it may be cancelled: it goes on.
        """
        await asyncio.shield(self._begin_fold(kept, version, keeps))

    async def _fold(self, kept: Kept, version: int | None, keeps: bool) -> None:
        async with kept.changing:
            if not kept.is_forgotten:
                await self._fold_locked(kept, version, keeps)

    async def _fold_locked(self, kept: Kept, version: int | None, keeps: bool) -> None:
        known = face.information(self._mapping, kept.place)
        assert known is not None
        version = known["version"] if version is None else version
        # Twice what was appended to the last one: who adds much finds room for it.
        slack = max(kept_slack(known), 2 * (known["used"] - known["base"]))
        while True:
            size, capacity, base, heap = face.fold_room(self._mapping, kept.place, version, keeps, slack)
            place = self._reserve(size)
            began = time.monotonic()
            arguments = (self._mapping, kept.place, place, version, keeps, capacity, base, heap)
            if known["used"] > IN_THREAD:
                answer = await asyncio.to_thread(face.fold, *arguments)
            else:
                answer = face.fold(*arguments)
            if answer == face.REFERENCE_DONE:
                break
            self._release(place, size)
            if answer == face.REFERENCE_LOST or slack > 1 << 24:
                raise NoRoom(f"{title(kept.part)}: it cannot be folded; its entries stay as they are")
            slack *= 2
        kept.took = time.monotonic() - began
        kept.folded = time.monotonic()
        if kept.image is not None:
            self._replaced.append((time.monotonic_ns() // 1_000_000, *kept.image))
        kept.image = (place, size)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing is given back meanwhile."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._folds:
            await asyncio.wait(self._folds)


def kept_slack(known: dict[str, int]) -> int:
    """Return for how many more entries the next image has room."""
    return max(ADMIN_SLACK, known["capacity"] - known["base"], known["entries"] // 16)


def title(part: ReferencePart) -> str:
    """Return how the log names a reference."""
    return f"{'map' if part.is_map else 'acl'} '{part.name or f'#{part.number}'}'"


def _pages(size: int) -> int:
    return (size + face.STORE_PAGE - 1) // face.STORE_PAGE * face.STORE_PAGE
