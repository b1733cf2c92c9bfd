"""The supervisor: owns the listening sockets, the mapping and the generations, and sees that workers live.

A start and a reload are the same act: read in the compiler, give numbers, bind what is new, have every worker make the
plan ready, and commit by one store of the generation number. Until that store everything can be taken back; what fails
is said, and the generation in force goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from lb._speedups.face.logdrain import LogDrain
from lb.admin.rates import Rates
from lb.admin.server import AdminServer
from lb.checks.probe import Probes
from lb.checks.schedule import Schedule
from lb.checks.states import States
from lb.config.part import Bind, Part
from lb.supervisor import tables, variables
from lb.supervisor.compiler import Compiler, Refused
from lb.supervisor.generation import Generation, NoRoom, Placed, Retired, number, release
from lb.supervisor.journal import Journal
from lb.supervisor.limits import descriptors_needed
from lb.supervisor.logs import Complaints, error_targets_of, targets_of
from lb.supervisor.notify import Notifier
from lb.supervisor.references import Kept, References
from lb.supervisor.sockets import ListenFailed, Sockets, why
from lb.supervisor.workers import Workers
from lb.supervisor.zygote import Heritage, Zygote

if TYPE_CHECKING:
    from lb.admin.http import HttpServer

TICK_S = 0.5
RATE_S = 0.99  # every second tick
STOP_S = 10.0  # to end workers, logs and children, at the most
LATE_S = 1.0  # a tick later than this: the supervisor was stopped or starved, and judges nobody by old beats


class Failed(Exception):
    """Raise when a start or reload cannot go on; `lines` are ready to be shown."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Supervisor:
    """All that is not traffic."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        heritage: Heritage,
        zygote: tuple[int, socket.socket],
        path: str,
        journal: Journal,
        sockets: Sockets,
        notifier: Notifier,
        *,
        descriptor_limit: int,
        ready_fd: int = -1,
    ) -> None:
        self._loop = loop
        self._heritage = heritage
        self._ready_fd = ready_fd
        self._path = path
        self._zygote = Zygote(loop, *zygote, ended=self._zygote_ended)
        self.mapping = heritage.mapping
        self.journal = journal
        self.descriptor_limit = descriptor_limit
        self.started = time.time()
        self.reloads = 0
        self.generation: Generation | None = None
        self.rates = Rates(self.mapping)
        self._retired = Retired(self.mapping)
        self.references = References(self.mapping, journal.warn)
        self._schedule = Schedule(loop)
        self._probes = Probes(loop, self._schedule)
        self.states = States(self.mapping, self._schedule, journal, self._probes.begin)
        self.sockets = sockets
        self._notifier = notifier
        self._places: list[tuple[Bind, str]] = []  # kept here: `show stat` also works when the sockets are closed
        self.workers = Workers(loop, self._zygote, heritage, self.sockets, journal)
        self._admin: AdminServer | None = None
        self._http: HttpServer | None = None
        self._logs: LogDrain | None = None
        self._complaints = Complaints()
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._rated = loop.time()
        self._ending: asyncio.Task[None] | None = None  # held, or the loop may forget it
        self._tick_due = loop.time() + TICK_S
        self._ended: asyncio.Future[bool] = loop.create_future()
        self.is_stopping = False

    # ---- life ----------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Start, serve until a signal ends it, and clean up; return the exit status."""
        self._loop.add_signal_handler(signal.SIGTERM, self.drain)
        self._loop.add_signal_handler(signal.SIGINT, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        self._loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)
        self._loop.add_signal_handler(signal.SIGUSR2, self._refuse_upgrade)
        self._loop.add_reader(self._heritage.alarm, self._alarmed)
        self._loop.call_later(TICK_S, self._tick)
        start = self._loop.create_task(self._start())
        try:
            # A signal may come while the start waits for something.
            await asyncio.wait({start, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if not self.is_stopping and not start.result():
                return 1
            await self._ended
            return 0
        finally:
            start.cancel()
            await asyncio.wait({start})
            await self._clean_up()

    async def _start(self) -> bool:
        self.journal.begin()
        try:
            generation = await self._change()
        except Failed as error:
            if not self.is_stopping:
                self._tell(error)
                self._notifier.status(error.lines[0])
            return False
        self._announce(generation)
        if not self.is_stopping:
            self._notifier.ready(self._status(generation))
        return True

    def _status(self, generation: Generation) -> str:
        workers = generation.part.workers
        return f"ready, {workers} worker{'s' if workers != 1 else ''}, generation {generation.number}"

    def _announce(self, generation: Generation) -> None:
        part = generation.part
        self.journal.note(self._status(generation))
        if self._http is not None:
            self.journal.note(f"listening on {self._http.address} (HTTP admin)")
        listeners: dict[str, list[str]] = {}
        for bind, text in self._places:
            self.journal.note(f"listening on {text} ({bind.frontend})")
            listeners.setdefault(bind.frontend, []).extend(text.split(", "))
        if self._ready_fd >= 0:
            ready = {
                "listeners": listeners,
                "admin": part.admin.path if part.admin else None,
                "http": self._http.address if self._http else None,
                "pid": os.getpid(),
                "workers": [worker.child.pid for worker in self.workers.present()],
            }
            try:
                with open(self._ready_fd, "w") as ready_file:
                    ready_file.write(json.dumps(ready) + "\n")
            except OSError as error:
                self.journal.warn(f"cannot write to the descriptor of --ready-fd: {why(error)}")
            self._ready_fd = -1

    async def _clean_up(self) -> None:
        reloads = [task for task in self._tasks if not task.done()]
        for task in reloads:
            task.cancel()
        if reloads:
            await asyncio.wait(reloads)
        self.stop()
        await self._ended
        if self._admin is not None:
            await self._admin.close()
        if self._http is not None:
            await self._http.close()
        self._loop.remove_reader(self._heritage.alarm)
        await self.references.close()
        self.states.close()
        self._schedule.close()
        self._probes.close()
        self.sockets.close()
        await self._zygote.close()
        if self._logs is not None:
            self.journal.use(None)
            self._logs.stop()
        if self.generation is not None:
            self.generation.close()

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- signals -------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """End when the last connection has gone, or after the grace; asked a second time, now."""
        if self.is_stopping or self.generation is None:
            self.stop()
            return
        grace_s = self.generation.part.grace_ms / 1000
        self.journal.note(f"draining, up to {grace_s:g} s")
        self._notifier.stopping(f"draining, up to {grace_s:g} s", grace_s + STOP_S)
        self._end_workers()
        self.mapping.stopping = True
        # Workers hold copies and empty the queues; with ours gone their last close frees the address.
        self.sockets.close()
        for worker in self.workers.present():
            self.workers.drain(worker, grace_s)

    def stop(self) -> None:
        """End now."""
        if self.generation is not None and not self._ended.done():
            self._notifier.stopping("stopping", STOP_S)
        self._end_workers()
        for worker in self.workers.present():
            self.workers.stop(worker)

    def _end_workers(self) -> None:
        if self.is_stopping:
            return
        self.is_stopping = True
        self.workers.halt()
        self._ending = self._loop.create_task(self._wait_for_workers())

    async def _wait_for_workers(self) -> None:
        await self.workers.gone()
        self._ended.set_result(True)

    def reopen_logs(self) -> None:
        """Open the log files anew, after something has renamed them."""
        if self._logs is None:
            return
        try:
            failures = self._logs.reopen()
        except TimeoutError:
            self.journal.error("log: a file hangs; it will be reopened when it moves again")
            return
        for failure in failures:
            self.journal.error(f"log '{failure.filename}': cannot be reopened: {why(failure, 'file')}")
        if not failures:
            self.journal.note("log files reopened")

    def _refuse_upgrade(self) -> None:
        self.journal.warn("SIGUSR2: upgrading the running program is not built; SIGHUP reloads, SIGTERM drains")

    def _zygote_ended(self) -> None:
        if not self.is_stopping:
            self.journal.error("the zygote has ended: no worker can be replaced and nothing reloaded; restart lb soon")

    # ---- configuration -------------------------------------------------------------------------------------

    async def reload(self) -> bool:
        """Read the configuration anew and put it in force; whether that worked."""
        async with self._changing:
            if self.is_stopping:
                return False
            self.journal.begin()
            began = self._loop.time()
            status = failure = f"reload failed, generation {self._number()} goes on"
            self._notifier.reloading()
            try:
                generation = await self._change()
                status = self._status(generation)
            except Failed as error:
                self._tell(error)
                self.journal.error(failure)
                status = f"{failure}: {error.lines[0]}"
                return False
            finally:
                if not self.is_stopping:
                    self._notifier.ready(status)
            self.reloads += 1
            took_ms = (self._loop.time() - began) * 1000
            self.journal.note(f"reloaded, generation {generation.number}, {took_ms:.0f} ms")
            return True

    def _number(self) -> int:
        return self.generation.number if self.generation else 0

    def _tell(self, error: Failed) -> None:
        for line in error.lines:
            self.journal.diagnose(line)

    async def _change(self) -> Generation:
        """Prepare and commit a generation. Raise Failed after undoing what was done for it."""
        before = self.generation
        compiler = Compiler(self._loop, self._zygote)
        try:
            reading = await compiler.read(self._path)
            for line in reading.warnings:
                self.journal.diagnose(line)
            self._check(reading.part)
            numbering = await number(self.mapping, reading.objects, reading.balances, before)
            this = self._number() + 1
            placed: list[Placed] = []
            kept: list[Kept] = []
            try:
                variables.place(self.mapping, reading.part, this)
                placed = tables.place(self.mapping, reading.part.tables, reading.part.workers, this)
                kept = self.references.place(reading.part.references, this)
                offsets = [*numbering.offsets, *(each.offset for each in placed), *(each.place for each in kept)]
                image = await compiler.write(this, numbering.oids, offsets)
            except BaseException:
                self.references.undo(kept)
                tables.undo(self.mapping, placed)
                release(self.mapping, numbering, before)
                raise
        except Refused as error:
            raise Failed(*error.lines) from error
        except NoRoom as error:
            raise Failed(f"lb: error: {error}") from error
        except OSError as error:
            raise Failed(f"lb: error: {why(error, 'process')}") from error
        finally:
            await compiler.close()
        generation = Generation(this, image, reading.part, numbering, placed, kept)
        try:
            await self._put_in_force(generation)
        except BaseException:
            if self.generation is not generation:
                generation.close()
                self.references.undo(kept)
                tables.undo(self.mapping, placed)
                release(self.mapping, numbering, before)
            raise
        for line in tables.remarks(placed):
            self.journal.warn(line)
        if before is not None:
            before.close()
            self._retired.replace(before, generation)
            tables.collect(self.mapping)
            self.references.collect()
        return generation

    def _check(self, part: Part) -> None:
        if part.workers == 0:
            raise Failed(
                "lb: error: global: workers: 0 runs inside a calling program; write a number above 0 or 'auto'"
            )
        needed = descriptors_needed(part)
        if needed > self.descriptor_limit:
            who, way_out = (
                (f"{part.maxconn} connections", " or lower maxconn") if part.maxconn else ("these listeners", "")
            )
            raise Failed(
                f"lb: error: global: {who} need {needed} file descriptors, the limit is "
                f"{self.descriptor_limit}; raise it (ulimit -n, LimitNOFILE=){way_out}"
            )

    async def _put_in_force(self, generation: Generation) -> None:
        part = generation.part
        is_first = self.generation is None
        async with AsyncExitStack() as undo:
            admin = await self._open_admin(part, undo)
            http = await self._open_http(part, undo)
            self._open_logs(part, undo)
            self.states.prepare(generation)
            try:
                undo.callback(self.sockets.rollback)
                self.sockets.prepare(part.binds, part.workers)
                if is_first:
                    # Workers take their first plan into use as soon as they have it.
                    self.sockets.listen()
                    generation.apply_limits(self.mapping)
                undo.callback(self.workers.discard, generation)
                refusal = await self.workers.prepare(generation)
                if refusal:
                    raise Failed(f"lb: error: {refusal}")
                self.sockets.listen()
            except ListenFailed as error:
                raise Failed(f"lb: error: {error}") from error
            except OSError as error:
                # Descriptors for workers, most likely.
                raise Failed(f"lb: error: {why(error, 'process')}") from error
            undo.pop_all()
        # From here on nothing fails.
        generation.apply_limits(self.mapping)
        self.mapping.generation = generation.number
        self.generation = generation
        self.states.apply(generation)
        await self.workers.commit(generation)
        self.sockets.commit()
        self._places = self.sockets.places(part.binds)
        for name in self.sockets.unused():
            self.journal.warn(
                f"socket '{name}' was passed to lb and no bind takes it; write 'fd@{name}', or remove it from its unit"
            )
        generation.mark(self.mapping)
        if self._admin is not None and self._admin is not admin:
            await self._admin.close()
        self._admin = admin
        if admin is not None and part.admin is not None:
            admin.settle(part.admin)
        if self._http is not None and self._http is not http:
            # Not awaited: the request that asked for this reload may be one of those that it waits for.
            self._spawn(self._http.close())
        self._http = http
        if http is not None and part.http is not None:
            http.admin = part.http

    async def _open_admin(self, part: Part, undo: AsyncExitStack) -> AdminServer | None:
        """Return the admin server that this configuration wants: the present one while its path is the same."""
        if part.admin is None or (self._admin is not None and self._admin.path == part.admin.path):
            return self._admin if part.admin is not None else None
        admin = AdminServer(part.admin, self)
        try:
            await admin.open()
        except OSError as error:
            raise Failed(f"lb: error: admin socket '{part.admin.path}': {why(error, 'path')}") from error
        undo.push_async_callback(admin.close)
        return admin

    async def _open_http(self, part: Part, undo: AsyncExitStack) -> HttpServer | None:
        """Return the HTTP admin that this configuration wants: the present one while its address is the same."""
        if part.http is None:
            return None
        if self._http is not None and self._http.is_at(part.http):
            return self._http
        # Not before it is wanted: aiohttp is slow to import, and is nothing for the zygote.
        from lb.admin.http import HttpServer

        http = HttpServer(part.http, self)
        try:
            await http.open()
        except OSError as error:
            where = f"http.address '{part.http.host}' port {part.http.port}"
            raise Failed(f"lb: error: global: {where}: {why(error, 'address')}") from error
        undo.push_async_callback(http.close)
        return http

    def _open_logs(self, part: Part, undo: AsyncExitStack) -> None:
        targets, own = targets_of(part), error_targets_of(part)
        try:
            if self._logs is None:
                # Before workers live: what they log is read from the first record on.
                self._logs = LogDrain(self.mapping, targets, own)
                self.journal.use(self._logs.write)
            elif self.generation is not None:
                old = targets_of(self.generation.part), error_targets_of(self.generation.part)
                if (targets, own) != old:
                    self._logs.set_targets(targets, own)
                    undo.callback(self._logs.set_targets, *old)
        except TimeoutError:
            self.journal.warn("log: a target hangs; the new ones will be used when it moves again")
        except OSError as error:
            raise Failed(f"lb: error: log '{error.filename}': {why(error, 'file')}") from error

    # ---- for the admin socket ------------------------------------------------------------------------------

    @property
    def dropped_logs(self) -> int:
        """Return how many records log targets did not take."""
        return 0 if self._logs is None else self._logs.stats()["dropped"]

    def places(self) -> list[tuple[Bind, str]]:
        """Return where each bind really listens."""
        return self._places

    def is_beating(self) -> bool:
        """Return whether every worker has shown signs of life of late."""
        return self.workers.are_beating()

    async def ask(self, question: str) -> dict[int, object]:
        """Ask every worker; return the answers by slot."""
        return await self.workers.ask(question)

    async def glance(self, question: str) -> dict[int, object]:
        """Ask every worker; return the answers by slot at once, of a slow one the previous answer."""
        return await self.workers.glance(question)

    # ---- watching ------------------------------------------------------------------------------------------

    def _alarmed(self) -> None:
        """Hear what workers have noticed of servers."""
        os.eventfd_read(self._heritage.alarm)
        self.states.notice()
        self.references.tend()

    def _tick(self) -> None:
        now = self._loop.time()
        was_late = now - self._tick_due > LATE_S
        self._tick_due = now + TICK_S
        self._loop.call_later(TICK_S, self._tick)
        self.workers.listen_to_hearts(was_late)
        self.references.tend()
        self._notifier.tick(self.workers.are_beating())
        seconds = now - self._rated
        if self.generation is not None and seconds >= RATE_S:
            self._rated = now
            self.rates.advance(self.generation, seconds)
            self.rates.look_at_workers([worker.child.pid for worker in self.workers.present()], seconds)
            self._look_at_logs(now)
        self._zygote.reap_strangers()

    def _look_at_logs(self, now: float) -> None:
        if self._logs is None:
            return
        stats = self._logs.stats()
        targets = stats["targets"] + stats["messages"]
        for to, records in self._complaints.drops(targets, now):
            self.journal.warn(f"log '{to}': {records} record{'s' if records != 1 else ''} dropped")
        for to, error in self._complaints.news(targets, now):
            if error:
                self.journal.warn(
                    f"log '{to}': {error[0].lower()}{error[1:]}; records wait, then they are dropped and counted"
                )
            else:
                self.journal.note(f"log '{to}': takes records again")
