"""The zygote: a process with everything imported and nothing started, from which children are forked.

A supervisor that runs a loop and a log thread is no place to fork from. The zygote is forked before all of
those, so its children begin with clean state and share its memory pages (`gc.freeze` keeps the collector from touching
them). It forks twice: the middle process ends at once, and the child falls to the supervisor, which is a subreaper and
waits for it by pidfd. The zygote itself ends when its channel does.

A child's channel end arrives as a descriptor; the shared mapping and all eventfds are inherited under the same numbers
in every process. Everything else that the program was started with is closed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.process import set_name
from lb.supervisor.channel import BlockingChannel, Channel, ChannelBroken, pair
from lb.supervisor.child import Child, reap_strangers
from lb.supervisor.messages import Message, Spawn, Spawned

# Signals that a terminal or an init system sends to the whole group: the supervisor decides, by its channel.
DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

EXIT_FAULT = 70  # sysexits.h: EX_SOFTWARE


@dataclass(frozen=True)
class Heritage:
    """What every child has from the supervisor."""

    mapping: Mapping
    eventfds: Sequence[int]  # by slot - 1, the same numbers in every process
    alarm: int  # the supervisor's own, for workers to write

    def descriptors(self) -> list[int]:
        return [self.mapping.fd, self.alarm, *self.eventfds]


Role = Callable[[Heritage, int, socket.socket], int]
"""A child's life: (heritage, slot, its end of the channel) to its exit status."""


class SpawnFailed(Exception):
    """Raise when no child could be made; the argument says why."""


def fork_zygote(heritage: Heritage, roles: dict[str, Role]) -> tuple[int, socket.socket]:
    """Fork the zygote; return its pid and the channel to it. Call it before there is a loop or a thread."""
    ours, theirs = pair()
    # What is written but not flushed would be written by every child again.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(lambda: _serve(heritage, roles, theirs))
    theirs.close()
    return pid, ours


def _live(life: Callable[[], int]) -> None:
    """Run a forked child to its end. Never returns: the parent's frames below are not this process's."""
    status = EXIT_FAULT
    try:
        status = life()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _serve(heritage: Heritage, roles: dict[str, Role], sock: socket.socket) -> int:
    set_name("lb zygote")
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    _close_all_but([*heritage.descriptors(), sock.fileno()])
    gc.collect()
    gc.freeze()
    channel = BlockingChannel(sock)
    with contextlib.suppress(ChannelBroken):  # the supervisor has ended
        while True:
            message, descriptors = channel.receive()
            assert isinstance(message, Spawn)
            assert len(descriptors) == 1
            channel.send(_fork_twice(heritage, roles[message.kind], message, descriptors[0], sock))
            os.close(descriptors[0])
    return 0


def _fork_twice(heritage: Heritage, role: Role, spawn: Spawn, descriptor: int, zygote: socket.socket) -> Spawned:
    read, write = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        return Spawned(0, os.strerror(error.errno or 0))
    if middle == 0:
        _live(lambda: _middle(heritage, role, spawn, descriptor, zygote, (read, write)))
    os.close(write)
    told = os.read(read, 64).decode()
    os.close(read)
    os.waitpid(middle, 0)
    return Spawned(int(told)) if told.isdigit() else Spawned(0, told or "fork failed")


def _middle(
    heritage: Heritage, role: Role, spawn: Spawn, descriptor: int, zygote: socket.socket, pipe: tuple[int, int]
) -> int:
    try:
        pid = os.fork()
    except OSError as error:
        os.write(pipe[1], os.strerror(error.errno or 0).encode())
        return 0
    if pid == 0:
        _live(lambda: _child(heritage, role, spawn, descriptor, zygote, pipe))
    os.write(pipe[1], str(pid).encode())
    return 0


def _child(
    heritage: Heritage, role: Role, spawn: Spawn, descriptor: int, zygote: socket.socket, pipe: tuple[int, int]
) -> int:
    os.close(pipe[0])
    os.close(pipe[1])
    zygote.close()
    random.seed()
    return role(heritage, spawn.slot, socket.socket(fileno=descriptor))


def _close_all_but(kept: list[int]) -> None:
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, max(first, os.sysconf("SC_OPEN_MAX")))


class Zygote:
    """The supervisor's side: ask for children, and know all that live."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pid: int, sock: socket.socket, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._child = Child(loop, pid, os.pidfd_open(pid))
        self._asked: deque[asyncio.Future[Child]] = deque()
        self._answered = asyncio.Event()
        self._children: set[Child] = set()
        self._channel = Channel(loop, sock, self._received, self._closed)

    def reap_strangers(self) -> None:
        """Collect orphans that fell to this process and are none of its children."""
        # While a child may exist whose pid is not known yet, it looks like a stranger.
        if not self._asked:
            reap_strangers({self._child.pid, *(child.pid for child in self._children)})

    async def spawn(self, kind: str, slot: int, end: socket.socket) -> Child:
        """Fork a child that gets this end of a channel (which stays the caller's). Raise SpawnFailed.

        A child whose caller went away ends by itself: nobody holds the other end of its channel.
        """
        if not self._channel.is_open:
            raise SpawnFailed("the zygote has ended")
        answer: asyncio.Future[Child] = self._loop.create_future()
        self._asked.append(answer)
        self._channel.send(Spawn(kind, slot), [end.fileno()])
        return await answer

    def _received(self, message: Message, descriptors: list[int]) -> None:
        assert isinstance(message, Spawned)
        answer = self._asked.popleft()
        try:
            if message.pid == 0:
                raise SpawnFailed(message.reason)
            # Now, while nobody reaps: dead or alive, the child is still there to be waited for.
            child = Child(self._loop, message.pid, os.pidfd_open(message.pid))
        except (OSError, SpawnFailed) as error:
            if not answer.cancelled():
                answer.set_exception(SpawnFailed(str(error)))
        else:
            self._children.add(child)
            child.ended.add_done_callback(lambda _: self._children.discard(child))
            if not answer.cancelled():
                answer.set_result(child)
        self._answered.set()

    def _closed(self, reason: str) -> None:
        while self._asked:
            answer = self._asked.popleft()
            if not answer.cancelled():
                answer.set_exception(SpawnFailed("the zygote has ended"))
        self._answered.set()
        self._ended()

    async def close(self) -> None:
        """End the zygote and the children that are left, and wait for them."""
        while self._asked:
            self._answered.clear()
            await self._answered.wait()
        self._channel.close()
        await self._child.ended
        for child in list(self._children):
            child.kill(signal.SIGKILL)
            await child.ended
