"""Workers: their birth, their answers, their heartbeat and their end.

A slot (1..64) is a place in the mapping with an eventfd and a share of the listening sockets. The worker in it may die
and be replaced; the next one takes over the slot's sockets, so what waits in their queues is served.

    starting -> running -> draining -> stopping
        |          |           |           |
        +----------+-----------+-----------+--> ended: buried in the mapping, and replaced while its slot is wanted,
                                                after a pause that grows with quick deaths

Nothing here waits for a worker that does not answer: a stuck worker is found by its heart, aborted and replaced, and
whoever waited for its answer goes on without it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from enum import Enum

from lb._speedups.face.mapping import WORKER_DRAINING, WORKER_RUNNING, WORKER_STARTING
from lb._speedups.face.tables import bury_tables
from lb.supervisor.channel import DESCRIPTORS, Channel, pair
from lb.supervisor.child import Child, ending_text
from lb.supervisor.generation import Generation
from lb.supervisor.journal import Journal
from lb.supervisor.messages import (
    Answer,
    Ask,
    Discard,
    Drain,
    Listening,
    Message,
    Prepare,
    Prepared,
    Stop,
    Switched,
)
from lb.supervisor.messages import Sockets as Handover
from lb.supervisor.sockets import Sockets
from lb.supervisor.zygote import Heritage, SpawnFailed, Zygote

LATE_MS = 1_000  # a beat older than this: the worker is woken by its eventfd
STUCK_MS = 10_000  # awake and silent for this long: it is stuck
ABORT_S = 1.0  # between SIGABRT (core dump) and SIGKILL

QUICK_S = 10.0  # a worker that dies earlier than this died quickly
PAUSES_S = (0.0, 0.1, 0.2, 0.5, 1.0)  # before the replacement, by quick deaths in a row

ANSWER_S = 2.0  # a question to a busy worker
GLANCE_S = 0.1  # the same, asked by somebody who would rather have an old answer than wait


def now_ms() -> int:
    """Return the clock of the mapping: CLOCK_MONOTONIC in milliseconds."""
    return time.monotonic_ns() // 1_000_000


class State(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"


class NoAnswer(Exception):
    """Raise when a worker does not answer in time, or ends instead."""


@dataclass(eq=False)
class Worker:
    """One worker process."""

    slot: int
    child: Child
    channel: Channel
    born: float  # loop time
    state: State = State.STARTING
    prepared: int = 0  # the newest generation it has ready
    refused: str = ""  # why it could not make the present plan ready
    generation: int = 0  # in use, as it last said
    listening: list[Listening] = field(default_factory=list)  # of the generation in use
    known: set[int] = field(default_factory=set)  # numbers of the sockets it holds
    woken_ms: int = 0  # it was woken then and has not beaten since; 0 = it beats
    is_aborted: bool = False
    answers: dict[int, asyncio.Future[object]] = field(default_factory=dict)
    said: dict[str, object] = field(default_factory=dict)  # its latest answer to each question


class Workers:
    """All worker slots."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        zygote: Zygote,
        heritage: Heritage,
        sockets: Sockets,
        journal: Journal,
    ) -> None:
        self._loop = loop
        self._zygote = zygote
        self._heritage = heritage
        self._sockets = sockets
        self._journal = journal
        self._by_slot: dict[int, Worker] = {}
        self._births: dict[int, asyncio.Task[None]] = {}
        self._quick_deaths: dict[int, int] = {}
        self._questions = 0
        self._watchers: list[asyncio.Future[None]] = []
        self._target = 0
        self._plans: list[Generation] = []  # what a new worker must know: committed, then in preparation
        self._failure = ""  # why a worker could not begin, since the last prepare
        self._is_preparing = False
        self.is_stopping = False

    # ---- looking -------------------------------------------------------------------------------------------

    def present(self) -> list[Worker]:
        """Return the living workers by slot."""
        return [self._by_slot[slot] for slot in sorted(self._by_slot)]

    def _change(self) -> None:
        """Tell those who wait that a worker was born, has died, prepared or switched."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def _changed(self) -> None:
        watcher: asyncio.Future[None] = self._loop.create_future()
        self._watchers.append(watcher)
        await watcher

    # ---- birth and death -----------------------------------------------------------------------------------

    def _populate(self, count: int) -> None:
        self._target = count
        for slot in range(1, count + 1):
            if slot not in self._by_slot and slot not in self._births:
                self._bear(slot, 0.0)

    def _bear(self, slot: int, pause_s: float) -> None:
        task = self._loop.create_task(self._birth(slot, pause_s))
        self._births[slot] = task
        task.add_done_callback(lambda _: self._births.pop(slot, None))

    async def _birth(self, slot: int, pause_s: float) -> None:
        while True:
            if pause_s:
                await asyncio.sleep(pause_s)
            if self.is_stopping or slot > self._target:
                return
            try:
                child, sock = await self._spawn(slot)
            except (SpawnFailed, OSError) as error:
                line = f"worker {slot} cannot be started: {error}"
                if self._is_preparing:
                    self._failure = line
                else:
                    self._journal.error(line)
                self._change()
                pause_s = PAUSES_S[-1]
            else:
                self._born(slot, child, sock)
                return

    async def _spawn(self, slot: int) -> tuple[Child, socket.socket]:
        # Before it lives: this gives memory to its rows and its ring, and starts its heart's clock.
        eventfd = self._heritage.eventfds[slot - 1]
        self._heritage.mapping.set_worker(slot, state=WORKER_STARTING, eventfd=eventfd)
        ours, theirs = pair()
        try:
            child = await self._zygote.spawn("worker", slot, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return child, ours

    def _born(self, slot: int, child: Child, sock: socket.socket) -> None:
        channel = Channel(
            self._loop,
            sock,
            lambda message, descriptors: self._hear(worker, message, descriptors),
            lambda reason: self._lost(worker),
        )
        worker = Worker(slot, child, channel, self._loop.time())
        self._by_slot[slot] = worker
        self._heritage.mapping.set_worker(slot, pid=child.pid)
        child.ended.add_done_callback(lambda ended: self._died(worker, ended.result()))
        if self.is_stopping or slot > self._target:
            # What it was born for is over.
            self.stop(worker)
            return
        for plan in self._plans:
            self._send_plan(worker, plan)

    def _lost(self, worker: Worker) -> None:
        # A worker closes its channel by ending. One that lives on cannot be told anything any more.
        self._loop.call_later(ABORT_S, worker.child.kill, signal.SIGKILL)

    def _died(self, worker: Worker, status: int) -> None:
        worker.channel.close()
        for answer in worker.answers.values():
            if not answer.done():
                answer.set_exception(NoAnswer("it has ended"))
        if self._by_slot.get(worker.slot) is worker:
            del self._by_slot[worker.slot]
        # Its rows become part of the base row and its share leaves every gauge.
        self._heritage.mapping.bury(worker.slot)
        bury_tables(self._heritage.mapping, worker.slot)
        was_leaving = worker.state in (State.DRAINING, State.STOPPING)
        if not was_leaving or status not in (0, -signal.SIGKILL):
            line = f"worker {worker.slot} (pid {worker.child.pid}) {ending_text(status)}"
            if worker.state is State.STARTING:
                line += " before it was ready"
            if worker.state is State.STARTING and self._is_preparing:
                # Told by whoever prepares; what comes of the slot is decided by discard.
                self._failure = line
            else:
                self._journal.error(line)
        if not self.is_stopping and worker.slot <= self._target and not (self._is_preparing and self._failure):
            self._bear(worker.slot, 0.0 if was_leaving else self._pause(worker))
        self._change()

    def _pause(self, worker: Worker) -> float:
        if self._loop.time() - worker.born >= QUICK_S:
            self._quick_deaths[worker.slot] = 0
        deaths = self._quick_deaths.get(worker.slot, 0)
        self._quick_deaths[worker.slot] = deaths + 1
        return PAUSES_S[min(deaths, len(PAUSES_S) - 1)]

    # ---- messages ------------------------------------------------------------------------------------------

    def _hear(self, worker: Worker, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # workers send none
            os.close(descriptor)
        match message:
            case Prepared(generation, error):
                self._prepared(worker, generation, error)
            case Switched(generation):
                self._switched(worker, generation)
            case Answer(number, content):
                answer = worker.answers.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(content)
            case _:
                self._journal.error(f"worker {worker.slot} said something a worker does not say; it is replaced")
                worker.child.kill(signal.SIGKILL)
        self._change()

    def _prepared(self, worker: Worker, generation: int, error: str) -> None:
        if not error:
            worker.prepared = max(worker.prepared, generation)
            return
        worker.refused = f"worker {worker.slot}: {error}"
        is_in_force = any(plan.number == generation for plan in self._plans)
        if worker.state is State.STARTING and is_in_force and not self._is_preparing:
            # A successor without a plan serves nobody. What it lacks, memory say, the next one may find.
            self._journal.error(worker.refused)
            worker.child.kill(signal.SIGKILL)

    def _switched(self, worker: Worker, generation: int) -> None:
        worker.generation = generation
        if worker.state is State.STARTING:
            worker.state = State.RUNNING
            self._heritage.mapping.set_worker(worker.slot, state=WORKER_RUNNING)
        for plan in self._plans:
            if plan.number == generation and not self.is_stopping:
                listening = plan.listening(self._sockets, worker.slot)
                worker.known -= {number for _, number in worker.listening}
                worker.known |= {number for _, number in listening}
                worker.listening = listening

    def _send_plan(self, worker: Worker, plan: Generation) -> None:
        listening = plan.listening(self._sockets, worker.slot)
        missing = [number for number in dict.fromkeys(n for _, n in listening) if number not in worker.known]
        for at in range(0, len(missing), DESCRIPTORS):
            some = missing[at : at + DESCRIPTORS]
            worker.channel.send(Handover(some), self._sockets.descriptors(some))
        worker.known.update(missing)
        worker.channel.send(Prepare(plan.number, listening, plan.part.grace_ms), [plan.image])

    async def glance(self, question: str) -> dict[int, object]:
        """Ask every worker at once; return the answers by slot, of one that is slow what it said the last time."""
        answers = await self.ask(question, GLANCE_S)
        return {w.slot: w.said[question] for w in self.present() if question in w.said} | answers

    async def ask(self, question: str, within_s: float = ANSWER_S) -> dict[int, object]:
        """Ask every worker at once; return the answers by slot of those that answer in time."""
        asked = []
        for worker in self.present():
            self._questions += 1
            answer: asyncio.Future[object] = self._loop.create_future()
            worker.answers[self._questions] = answer
            worker.channel.send(Ask(self._questions, question))
            asked.append((worker, self._questions, answer))
        if asked:
            await asyncio.wait([answer for _, _, answer in asked], timeout=within_s)
        found = {}
        for worker, number, answer in asked:
            worker.answers.pop(number, None)
            if answer.done() and answer.exception() is None:
                found[worker.slot] = worker.said[question] = answer.result()
            elif not answer.done():
                answer.cancel()
        return found

    # ---- generations ---------------------------------------------------------------------------------------

    async def prepare(self, plan: Generation) -> str:
        """Have every worker that the plan keeps make it ready, and missing ones born; return why not, or ''.

        A worker that dies meanwhile is not waited for: its successor learns the plan at birth.
        """
        self._failure = ""
        self._is_preparing = True
        try:
            return await self._prepare(plan)
        finally:
            self._is_preparing = False

    async def _prepare(self, plan: Generation) -> str:
        for worker in self.present():
            worker.refused = ""
            if self._is_kept(worker, plan):
                self._send_plan(worker, plan)
        self._plans.append(plan)
        self._populate(max(self._target, plan.part.workers))
        while not self.is_stopping:
            kept = [worker for worker in self.present() if self._is_kept(worker, plan)]
            refused = [worker.refused for worker in kept if worker.refused]
            if refused or self._failure:
                return refused[0] if refused else self._failure
            if sum(worker.prepared >= plan.number for worker in kept) == plan.part.workers:
                return ""
            await self._changed()
        return "lb is stopping"

    def _is_kept(self, worker: Worker, plan: Generation) -> bool:
        return worker.slot <= plan.part.workers and worker.state in (State.STARTING, State.RUNNING)

    def discard(self, plan: Generation) -> None:
        """Take back a plan in preparation."""
        if plan not in self._plans:
            return
        self._plans.remove(plan)
        for worker in self.present():
            worker.channel.send(Discard(plan.number))
            worker.known = {number for _, number in worker.listening}
        self._resize(self._plans[0].part.workers if self._plans else 0)

    async def commit(self, plan: Generation) -> None:
        """Wake the workers for the generation that has just been stored, and wait until they have switched.

        Workers beyond its number drain. Nobody waits for a stuck worker: its successor begins with this plan.
        """
        self._plans = [plan]
        for worker in self.present():
            self.wake(worker)
        self._resize(plan.part.workers)
        while not self.is_stopping:
            kept = [worker for worker in self.present() if self._is_kept(worker, plan)]
            if all(worker.generation >= plan.number or worker.woken_ms for worker in kept):
                return
            await self._changed()

    def _resize(self, count: int) -> None:
        self._populate(count)
        grace_s = self._plans[0].part.grace_ms / 1000 if self._plans else 0.0
        for worker in self.present():
            if worker.slot > count and worker.state in (State.STARTING, State.RUNNING):
                self.drain(worker, grace_s)

    # ---- ending --------------------------------------------------------------------------------------------

    def drain(self, worker: Worker, grace_s: float) -> None:
        """Let a worker end when its last connection has gone, or after this time."""
        worker.state = State.DRAINING
        self._heritage.mapping.set_worker(worker.slot, state=WORKER_DRAINING)
        worker.channel.send(Drain(alone=self.is_stopping))
        self._loop.call_later(grace_s, self.stop, worker)

    def stop(self, worker: Worker) -> None:
        """End a worker now; one that does not obey is killed."""
        if worker.child.ended.done():
            return
        worker.state = State.STOPPING
        worker.channel.send(Stop())
        self._loop.call_later(ABORT_S, worker.child.kill, signal.SIGKILL)

    def halt(self) -> None:
        """Bear nobody any more, and let those who wait for workers go on."""
        self.is_stopping = True
        self._change()

    async def gone(self) -> None:
        """Wait until the last worker has ended."""
        while self._by_slot or self._births:
            if self._births:
                await asyncio.wait(self._births.values())
            else:
                await self._changed()

    # ---- heartbeat -----------------------------------------------------------------------------------------

    def wake(self, worker: Worker) -> None:
        """Write the worker's eventfd: it looks at the generation word and what is granted to it."""
        os.eventfd_write(self._heritage.eventfds[worker.slot - 1], 1)

    def are_beating(self) -> bool:
        """Whether every slot has a worker, and none has stayed silent for a second after it was woken."""
        now = now_ms()
        if not self.is_stopping and any(slot not in self._by_slot for slot in range(1, self._target + 1)):
            return False
        return all(worker.woken_ms == 0 or now - worker.woken_ms < LATE_MS for worker in self.present())

    def listen_to_hearts(self, was_late: bool) -> None:
        """Wake workers whose last beat is old; abort those that stay silent when woken.

        `was_late`: this process itself has not run for a while, so silence proves nothing yet.
        """
        now = now_ms()
        for worker in self.present():
            beat = self._heritage.mapping.worker(worker.slot)["beat_ms"]
            if max(0, now - beat) <= LATE_MS:
                worker.woken_ms = 0
                continue
            if was_late:
                worker.woken_ms = 0
            self.wake(worker)
            if worker.woken_ms == 0:
                worker.woken_ms = now
            elif now - worker.woken_ms >= STUCK_MS and not worker.is_aborted:
                worker.is_aborted = True
                self._journal.error(
                    f"worker {worker.slot} (pid {worker.child.pid}) has not moved for {STUCK_MS // 1000} s; "
                    "it is aborted and replaced"
                )
                worker.child.kill(signal.SIGABRT)
                self._loop.call_later(ABORT_S, worker.child.kill, signal.SIGKILL)
        self._change()
