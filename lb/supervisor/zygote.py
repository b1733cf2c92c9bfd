"""The zygote: a process with everything imported and nothing started, from which children are forked.

A supervisor that runs a loop, a log thread and aiohttp is no place to fork from. The zygote is forked before all of
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
from lb.supervisor.child import Child
from lb.supervisor.messages import Message, Spawn, Spawned

# Signals that a terminal or an init system sends to the whole group: the supervisor decides, by its channel.
DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

EXIT_FAULT = 70  # sysexits.h: EX_SOFTWARE


@dataclass(frozen=True)
class Heritage:
    """What every child has from the supervisor."""

    mapping: Mapping
    eventfds: Sequence[int]  # by slot - 1, the same numbers in every process

    def descriptors(self) -> list[int]:
        return [self.mapping.fd, *self.eventfds]


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
    while True:
        try:
            message, descriptors = channel.receive()
        except ChannelBroken:
            return 0
        assert isinstance(message, Spawn)
        assert len(descriptors) == 1
        channel.send(_fork_twice(heritage, roles[message.kind], message, descriptors[0], sock))
        os.close(descriptors[0])


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
    """The supervisor's side: ask for children."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pid: int, sock: socket.socket, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._child = Child(loop, pid, os.pidfd_open(pid))
        self.pid = pid
        self._answers: deque[asyncio.Future[tuple[int, int]]] = deque()
        self._channel = Channel(loop, sock, self._received, self._closed)

    @property
    def is_asked(self) -> bool:
        """Whether a child may exist whose pid is not known yet: then nobody may reap strangers."""
        return bool(self._answers)

    async def spawn(self, kind: str, slot: int, end: socket.socket) -> tuple[int, int]:
        """Fork a child that gets this end of a channel (which stays the caller's); return its pid and pidfd.

        Raise SpawnFailed.
        """
        if not self._channel.is_open:
            raise SpawnFailed("the zygote has ended")
        answer: asyncio.Future[tuple[int, int]] = self._loop.create_future()
        self._answers.append(answer)
        self._channel.send(Spawn(kind, slot), [end.fileno()])
        return await answer

    def _received(self, message: Message, descriptors: list[int]) -> None:
        assert isinstance(message, Spawned)
        answer = self._answers.popleft()
        if message.pid == 0:
            error: Exception = SpawnFailed(message.reason)
        else:
            try:
                # Now, while it counts as asked for: dead or alive, the child is still there to be waited for.
                pidfd = os.pidfd_open(message.pid)
            except OSError as failure:
                error = SpawnFailed(os.strerror(failure.errno or 0))
            else:
                if answer.cancelled():
                    os.close(pidfd)
                else:
                    answer.set_result((message.pid, pidfd))
                return
        if not answer.cancelled():
            answer.set_exception(error)

    def _closed(self, reason: str) -> None:
        while self._answers:
            answer = self._answers.popleft()
            if not answer.cancelled():
                answer.set_exception(SpawnFailed("the zygote has ended"))
        self._ended()

    def close(self) -> None:
        """Let the zygote end."""
        self._channel.close()

    async def wait(self) -> None:
        """Wait until the zygote's process has ended."""
        await self._child.ended
