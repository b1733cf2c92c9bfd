"""The engine inside the test process, driven by a thread: quick to start, and with transports that misbehave.

The thread does what a worker's loop does: it watches the engine's epoll descriptor and the listening sockets, and
calls step() and accept(). Everything else that touches the engine is handed to that thread.
"""

from __future__ import annotations

import asyncio
import copy
import os
import queue
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kit.deadline import DEADLINE, Words, eventually
from kit.log import LogFile
from kit.settings import Settings
from kit.wire import Address, family_of
from lb._speedups.face.engine import ACCEPT_DESCRIPTORS, ACCEPT_LIMIT, STEP_ACCEPT, STEP_AGAIN, Engine
from lb._speedups.face.logdrain import LogDrain
from lb._speedups.face.mapping import WORKER_RUNNING, WORKER_STARTING, Mapping
from lb.config import compile as compile_configuration
from lb.supervisor import tables, variables
from lb.supervisor.generation import Generation, Retired, number
from lb.supervisor.logs import targets_of
from lb.supervisor.references import References

T = TypeVar("T")
SLOT = 1


class EngineThread:
    """Drives one engine until stop(). The engine is made, used and closed in this thread only."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.listening: set[int] = set()
        self.failure: BaseException | None = None
        self._asked: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def ask(self, call: Callable[[], T]) -> T:
        """Run `call` between two steps and return its result."""
        future: Future[T] = Future()
        self._asked.put((future, call))
        os.eventfd_write(self._bell, 1)
        if self.failure is not None:
            raise self.failure
        return future.result(DEADLINE)

    def unlisten(self, descriptor: int) -> None:
        """Stop watching a listening socket and close it; called in this thread."""
        self._poll.unregister(descriptor)
        self.engine.unlisten(descriptor)

    def stop(self) -> None:
        """End the thread; the engine stays."""
        self._asked.put(None)
        os.eventfd_write(self._bell, 1)
        self._thread.join(DEADLINE)
        os.close(self._bell)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self._drive()
        except BaseException as e:
            self.failure = e
            while not self._asked.empty():
                if asked := self._asked.get():
                    asked[0].set_exception(e)

    def _drive(self) -> None:
        engine = self.engine
        poll = self._poll
        for descriptor in (self._bell, engine.fileno(), *(fd for _, fd in engine.listening())):
            poll.register(descriptor, select.POLLIN)
        paused: set[int] = set()
        timeout: int | None = None
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(timeout)}
            if self._bell in ready:
                os.eventfd_read(self._bell)
                while not self._asked.empty():
                    asked = self._asked.get()
                    if asked is None:
                        return
                    future, call = asked
                    try:
                        future.set_result(call())
                    except BaseException as e:
                        future.set_exception(e)
            retry = False
            for descriptor in ready.intersection(fd for _, fd in engine.listening()):
                accepted = engine.accept(descriptor)
                if accepted == ACCEPT_LIMIT:
                    poll.unregister(descriptor)
                    paused.add(descriptor)
                retry |= accepted == ACCEPT_DESCRIPTORS
            bits = engine.step()
            if bits & STEP_ACCEPT:
                for descriptor in paused:
                    poll.register(descriptor, select.POLLIN)
                paused.clear()
            timeout = 0 if bits & STEP_AGAIN else 10 if retry else None


class InProcess:
    """A running engine with its mapping, plan, log thread and sockets."""

    def __init__(self, settings: Settings, directory: Path, *, transport: str = "tcp", chaos: int = 0,
                 scarce: int = 0) -> None:  # fmt: skip
        self._log = LogFile(directory / "access.log")
        self._transport = transport
        os.environ["LB_DEBUG_CONFIG"] = "1"
        compiled = compile_configuration(_prepared(settings, str(self._log.path), transport))
        self.mapping = Mapping.create()
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.mapping.set_worker(SLOT, pid=os.getpid(), state=WORKER_STARTING, eventfd=self._eventfd)
        numbering = asyncio.run(number(self.mapping, compiled.objects, compiled.balances, None))
        variables.place(self.mapping, compiled.part, 1)
        placed = tables.place(self.mapping, compiled.part.tables, 1, 1)
        self._references = References(self.mapping, print)
        kept = self._references.place(compiled.part.references, 1)
        places = [each.place for each in kept]
        compiled.fill(self.mapping, 1, places)
        image = compiled.image(1, numbering.oids, [*numbering.offsets, *(each.offset for each in placed), *places])
        generation = Generation(1, image, compiled.part, numbering, placed, kept)
        generation.apply_limits(self.mapping)
        self._generation = generation
        self._retired = Retired(self.mapping)
        self.oids = {name: oid for (_, _, name), oid in zip(compiled.objects, numbering.oids, strict=True)}
        """Object ids by name."""
        self._drain = LogDrain(self.mapping, targets_of(compiled.part))
        self.engine = Engine(self.mapping, SLOT, eventfd=self._eventfd)
        self.engine.prepare(image)
        self.mapping.generation = 1
        self.mapping.set_worker(SLOT, state=WORKER_RUNNING)
        if chaos:
            self.engine.chaos(chaos, scarce=scarce)
        self.addresses: dict[str, list[Address]] = {}
        for bind in compiled.part.binds:
            address: Address = bind.path or (bind.host, bind.port)
            with socket.socket(
                family_of(address), socket.SOCK_DGRAM if bind.is_datagram else socket.SOCK_STREAM
            ) as sock:
                sock.bind(address)
                if not bind.is_datagram:
                    sock.listen(128)
                self.engine.listen(numbering.oids[bind.object], sock.fileno())
                name = sock.getsockname()
                self.addresses.setdefault(bind.frontend, []).append(name if isinstance(name, str) else name[:2])
        self._thread = EngineThread(self.engine)

    def log_lines(self) -> list[str]:
        """Return the access log so far."""
        self._drain.flush(timeout_s=DEADLINE)
        return self._log.lines()

    def ask(self, call: Callable[[], T]) -> T:
        """Run `call` in the engine's thread, between two steps."""
        return self._thread.ask(call)

    def reload(self, settings: Settings) -> None:
        """Put another configuration in force; new listeners are not bound, those that are gone are closed."""
        compiled = compile_configuration(_prepared(settings, str(self._log.path), self._transport))
        before = self._generation
        numbering = asyncio.run(number(self.mapping, compiled.objects, compiled.balances, before))
        variables.place(self.mapping, compiled.part, before.number + 1)
        placed = tables.place(self.mapping, compiled.part.tables, 1, before.number + 1)
        kept = self._references.place(compiled.part.references, before.number + 1)
        places = [each.place for each in kept]
        compiled.fill(self.mapping, before.number + 1, places)
        image = compiled.image(
            before.number + 1, numbering.oids, [*numbering.offsets, *(each.offset for each in placed), *places]
        )
        generation = Generation(before.number + 1, image, compiled.part, numbering, (), kept)
        self.ask(lambda: self.engine.prepare(image))
        generation.apply_limits(self.mapping)
        self.mapping.generation = generation.number
        os.eventfd_write(self._eventfd, 1)
        eventually(lambda: self.ask(lambda: self.engine.generation) == generation.number, "the new generation")
        for oid, descriptor in self.ask(self.engine.listening):
            if oid not in numbering.oids:
                self.ask(partial(self._thread.unlisten, descriptor))
        generation.mark(self.mapping)
        self.oids |= {name: oid for (_, _, name), oid in zip(compiled.objects, numbering.oids, strict=True)}
        before.close()
        self._retired.replace(before, generation)
        self._generation = generation

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Let the engine take no step meanwhile, so that what happens then is seen at once; it may be called here."""
        entered, over = threading.Event(), threading.Event()

        def wait() -> None:
            entered.set()
            over.wait(DEADLINE)

        thread = threading.Thread(target=self.ask, args=(wait,))
        thread.start()
        try:
            assert entered.wait(DEADLINE)
            yield
        finally:
            over.set()
            thread.join(DEADLINE)

    def calm(self) -> None:
        """End chaos."""
        self.ask(lambda: self.engine.chaos(0))

    def live(self) -> dict[str, int]:
        """Return the pools that have objects out, with their number."""
        pools = self._thread.ask(self.engine.pools)
        return {name: pool["live"] for name, pool in pools.items() if pool["live"]}

    def parked(self) -> list[int]:
        """Return the handles of parked streams."""
        return self._thread.ask(self.engine.parked)

    def resume(self, handle: int) -> bool:
        """Resume a parked stream."""
        return self._thread.ask(lambda: self.engine.resume(handle))

    def counters(self, name: str) -> dict[str, int]:
        """Return the counters of an object by its name, such as `web` or `app/s1`."""
        return self.mapping.counters(self.oids[name])

    def settle(self) -> None:
        """Wait until no client connection and no pooled object is left."""
        eventually(
            lambda: not self._thread.ask(self.engine.connections) and not self.live(),
            Words(lambda: f"{self._thread.ask(self.engine.connections)} connections, pools {self.live()}, "
                          f"sessions {self._thread.ask(self.engine.sessions)}"),
        )  # fmt: skip

    def stop(self) -> None:
        """Close the engine; fail for an object that its pools still count, or a record that was lost."""
        try:
            self._thread.stop()
        finally:
            self._generation.close()
            self.engine.close()
            left = {name: pool["live"] for name, pool in self.engine.pools().items() if pool["live"]}
            del self.engine, self._thread.engine
            written = self._drain.stop(DEADLINE)
            self.mapping.close()
            os.close(self._eventfd)
        assert not left, f"pools of a closed engine: {left}"
        assert written, "log records were lost"


class InProcessPlane:
    """Runs tests on the engine in this process."""

    is_lb = True

    def __init__(self, name: str = "tcp", *, transport: str = "tcp", chaos: int = 0, scarce: int = 0,
                 bulk: int = 10 << 20) -> None:  # fmt: skip
        self.name = name
        self.bulk = bulk
        self._transport = transport
        self._chaos = chaos
        self._scarce = scarce

    def start(self, settings: Settings, directory: Path) -> InProcess:
        """Start an engine."""
        return InProcess(settings, directory, transport=self._transport, chaos=self._chaos, scarce=self._scarce)


def _prepared(settings: Settings, log: str, transport: str) -> Settings:
    """Add the log target and, on every bind and server, the transport."""
    settings = copy.deepcopy(settings)
    settings.setdefault("global", {}).setdefault("log", [{"to": log, "format": "haproxy"}])
    if transport != "tcp":
        for frontend in settings["frontends"].values():
            frontend["bind"] = [_disturbed(bind, transport) for bind in frontend["bind"]]
        for backend in settings["backends"].values():
            backend["servers"] = [_disturbed(server, transport) for server in backend["servers"]]
    return settings


def _disturbed(link: str | Settings, transport: str) -> Settings:
    entry = link if isinstance(link, dict) else {"address": link}
    return {**entry, "debug": {**entry.get("debug", {}), "transport": transport}}
