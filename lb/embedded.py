"""lb inside the calling process: one engine in the caller's own loop, for embedding and tests.

There is no supervisor here: no signal handler is installed, no limit is changed, nobody watches a heart and nothing is
aborted. What holds the loop, holds the traffic: the promise that the control plane cannot delay a request is one of
`lb run` alone. Where `workers` is written, it is not looked at; the admin socket is not opened.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping as Dictionary
from os import PathLike
from types import TracebackType

from lb._speedups.face.engine import Engine
from lb._speedups.face.logdrain import LogDrain
from lb._speedups.face.mapping import WORKER_RUNNING, WORKER_STARTING, Mapping
from lb.admin import statistics
from lb.checks.probe import Probes
from lb.checks.schedule import Schedule
from lb.checks.states import States
from lb.config import compile as compile_configuration
from lb.supervisor import tables, variables
from lb.supervisor.generation import Generation, Placed, Retired, number, release
from lb.supervisor.logs import targets_of
from lb.supervisor.references import Kept, References
from lb.supervisor.sockets import Sockets
from lb.worker import Driver

Given = str | PathLike[str] | Dictionary[str, object]
"""A configuration: the path of a file, or a dict of what a file would hold."""

SLOT = 1
TEND_S = 1.0  # between looks at maps and ACL files that rules have changed


class _Log:
    """What happens to servers, told to the logger `lb`."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("lb")
        self.note = self._logger.info
        self.warn = self._logger.warning
        self.error = self._logger.error


class Running:
    """A running lb; `async with` starts and ends it."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._changing = asyncio.Lock()
        self._mapping: Mapping
        self._retired: Retired
        self._references: References
        self._engine: Engine
        self._driver: Driver
        self._logs: LogDrain | None = None
        self._eventfd = self._alarm = -1
        self._schedule: Schedule
        self._probes: Probes
        self._states: States
        self._sockets = Sockets()
        self._generation: Generation | None = None
        self._next: Generation | None = None
        self._drained = asyncio.Event()
        self._pools: dict[str, dict[str, int]] = {}  # as they were at the end

    async def __aenter__(self) -> Running:
        """Start. Raise ConfigError, ListenFailed, OSError."""
        self._mapping = Mapping.create()
        self._retired = Retired(self._mapping)
        self._references = References(self._mapping, _Log().warn)
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._mapping.set_worker(SLOT, pid=os.getpid(), state=WORKER_STARTING, eventfd=self._eventfd)
        self._engine = Engine(self._mapping, SLOT, eventfd=self._eventfd)
        self._watch(asyncio.get_running_loop())
        self._driver = Driver(asyncio.get_running_loop(), self._engine, self._switched, self._drained.set, _Log().warn)
        try:
            await self.reload()
        except BaseException:
            self._close()
            raise
        self._mapping.set_worker(SLOT, state=WORKER_RUNNING)
        return self

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._mapping.set_alarm(self._alarm)
        self._schedule = Schedule(loop)
        self._probes = Probes(loop, self._schedule)
        self._states = States(self._mapping, self._schedule, _Log(), self._probes.begin)
        loop.add_reader(self._alarm, self._alarmed)
        self._tend(loop)

    def _tend(self, loop: asyncio.AbstractEventLoop) -> None:
        self._references.tend()
        self._tending = loop.call_later(TEND_S, self._tend, loop)

    def _alarmed(self) -> None:
        os.eventfd_read(self._alarm)
        self._states.notice()
        self._references.tend()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every connection and give everything back."""
        async with self._changing:
            await self._references.close()
            self._close()

    def _close(self) -> None:
        self._tending.cancel()
        asyncio.get_running_loop().remove_reader(self._alarm)
        self._states.close()
        self._schedule.close()
        self._probes.close()
        os.close(self._alarm)
        self._driver.close()
        self._pools = self._engine.pools()
        self._sockets.close()
        if self._logs is not None:
            self._logs.stop()
        for generation in (self._generation, self._next):
            if generation is not None:
                generation.close()
        os.close(self._eventfd)
        # The last references: the engine's descriptors and the mapping go with them.
        del self._driver, self._engine, self._retired, self._references, self._states, self._mapping

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Where each frontend really listens: a port 0 is the kernel's choice here."""
        assert self._generation is not None
        found: dict[str, list[str]] = {}
        for bind, text in self._sockets.places(self._generation.part.binds):
            found.setdefault(bind.frontend, []).append(text)
        return found

    def stats(self) -> list[dict[str, int | str]]:
        """Return the rows of `show stat` by column name, without the empty columns."""
        assert self._generation is not None
        places = self._sockets.places(self._generation.part.binds)
        return list(statistics.rows(self._mapping, self._generation, places, states=self._states))

    def pools(self) -> dict[str, dict[str, int]]:
        """Return the engine's pools: size, live, peak, cached, taken, failed. At the end no object is live."""
        return self._pools or self._engine.pools()

    async def reload(self, given: Given | None = None) -> None:
        """Put another configuration in force, or read the present one anew; connections go on.

        Raise ConfigError, ListenFailed, OSError: then the one in force stays.
        """
        async with self._changing:
            source = self._given if given is None else given
            # Host names are resolved: that may take seconds.
            compiled = await asyncio.to_thread(compile_configuration, source)
            before = self._generation
            numbering = await number(self._mapping, compiled.objects, compiled.balances, before)
            this = before.number + 1 if before else 1
            placed: list[Placed] = []
            kept: list[Kept] = []
            try:
                variables.place(self._mapping, compiled.part, this)
                placed = tables.place(self._mapping, compiled.part.tables, 1, this)
                kept = self._references.place(compiled.part.references, this)
                places = [each.place for each in kept]
                offsets = [*numbering.offsets, *(each.offset for each in placed), *places]
                await asyncio.to_thread(compiled.fill, self._mapping, this, places)
                image = compiled.image(this, numbering.oids, offsets)
                self._next = Generation(this, image, compiled.part, numbering, placed, kept)
                await self._put_in_force(self._next)
            except BaseException:
                self._sockets.rollback()
                self._references.undo(kept)
                tables.undo(self._mapping, placed)
                release(self._mapping, numbering, before)
                if self._next is not None:
                    self._next.close()
                    self._next = None
                raise
            self._given = source
            generation, self._next = self._next, None
            self._generation = generation
            if before is not None:
                before.close()
                self._retired.replace(before, generation)
                tables.collect(self._mapping)
                self._references.collect()

    async def _put_in_force(self, generation: Generation) -> None:
        part = generation.part
        targets = targets_of(part)
        self._sockets.prepare(part.binds, 1)
        if self._logs is None:
            self._logs = LogDrain(self._mapping, targets)
        else:
            self._logs.set_targets(targets)
        self._states.prepare(generation)
        self._sockets.listen()
        self._engine.prepare(generation.image)
        await self._compile(generation.number)
        # From here on nothing fails.
        generation.apply_limits(self._mapping)
        self._mapping.generation = generation.number
        self._states.apply(generation)
        self._driver.step()
        self._sockets.commit()
        generation.mark(self._mapping)

    async def _compile(self, number: int) -> None:
        """Let the engine compile what a prepared plan needs, a little in each turn of the loop."""
        try:
            while not self._engine.compile(number):  # noqa: ASYNC110 - not a wait: each call does a part
                await asyncio.sleep(0)
        except BaseException:
            self._engine.discard(number)
            raise

    def _switched(self) -> None:
        assert self._next is not None
        listening = self._next.listening(self._sockets, SLOT)
        numbers = [each for _, each in listening]
        self._driver.serve(listening, dict(zip(numbers, self._sockets.descriptors(numbers), strict=True)))

    async def drain(self) -> None:
        """Accept nothing new, and wait until the last connection has gone."""
        async with self._changing:
            self._driver.drain(stays=True)
            self._sockets.close()
        await self._drained.wait()
