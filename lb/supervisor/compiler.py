"""The compiler: a child that reads the configuration once, so that 100,000 routes never hold the supervisor.

    compiler                                      supervisor
    load, resolve, validate   <-- Compile --
                              --- Faults -->      (end)
                              --- Compiled -->    registers names, allocates balances
    writes the sealed image   <-- Numbers --
                              --- Image + fd -->  (end)

Only the supervisor gives ids and arena space; only the child does work that grows with routes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass

import msgspec

from lb.config.part import Balance, ObjectKind, Part
from lb.supervisor.channel import BlockingChannel, Channel, ChannelBroken, pair
from lb.supervisor.child import Child, ending_text
from lb.supervisor.messages import Compile, Compiled, Faults, Image, Message, Numbers
from lb.supervisor.zygote import Heritage, SpawnFailed, Zygote

# Name resolution that hangs must not block reloads for good.
TIMEOUT_S = 120.0


class Refused(Exception):
    """Raise when a configuration cannot be used; `lines` are the diagnostics."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True)
class Reading:
    """What the compiler found in a configuration that can be used."""

    objects: list[tuple[ObjectKind, int, str]]
    balances: list[Balance]
    part: Part
    warnings: list[str]


def main(heritage: Heritage, slot: int, sock: socket.socket) -> int:
    """Live the life of a compiler child."""
    # Here and not above: neither supervisor nor workers need the readers of configuration languages.
    from lb.config import ConfigError
    from lb.config import compile as compile_configuration

    channel = BlockingChannel(sock)
    try:
        request, _ = channel.receive()
        assert isinstance(request, Compile)
        try:
            compilation = compile_configuration(request.path)
        except ConfigError as error:
            channel.send(Faults(str(error).splitlines()))
            return 0
        part = msgspec.msgpack.encode(compilation.part)
        channel.send(Compiled(compilation.objects, compilation.balances, part, compilation.warnings))
        numbers, _ = channel.receive()
        assert isinstance(numbers, Numbers)
        image = compilation.image(numbers.generation, numbers.oids, numbers.offsets)
        compilation.fill(
            heritage.mapping,
            numbers.generation,
            numbers.offsets[len(numbers.offsets) - len(compilation.part.references) :],
        )
        channel.send(Image(), [image])
    except ChannelBroken:
        # The supervisor has given up on this reading, or has ended.
        return 0
    return 0


class Compiler:
    """The supervisor's side of one reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop, zygote: Zygote) -> None:
        self._loop = loop
        self._zygote = zygote
        self._inbox: asyncio.Queue[tuple[Message, list[int]] | None] = asyncio.Queue()
        self._child: Child | None = None
        self._channel: Channel | None = None

    async def read(self, path: str) -> Reading:
        """Have this file read. Raise Refused."""
        ours, theirs = pair()
        try:
            self._child = await self._zygote.spawn("compiler", 0, theirs)
        except BaseException as error:
            ours.close()
            if not isinstance(error, SpawnFailed):
                raise
            raise Refused([f"lb: error: cannot start the compiler: {error}"]) from error
        finally:
            theirs.close()
        self._channel = Channel(
            self._loop,
            ours,
            lambda message, descriptors: self._inbox.put_nowait((message, descriptors)),
            lambda reason: self._inbox.put_nowait(None),
        )
        self._channel.send(Compile(path))
        message, _ = await self._receive()
        if isinstance(message, Faults):
            raise Refused(message.lines)
        assert isinstance(message, Compiled)
        part = msgspec.msgpack.decode(message.part, type=Part)
        return Reading(message.objects, message.balances, part, message.warnings)

    async def write(self, generation: int, oids: list[int], offsets: list[int]) -> int:
        """Have the image of what was read written with these numbers; return its descriptor. Raise Refused."""
        assert self._channel is not None
        self._channel.send(Numbers(generation, oids, offsets))
        message, descriptors = await self._receive()
        assert isinstance(message, Image)
        return descriptors[0]

    async def _receive(self) -> tuple[Message, list[int]]:
        assert self._child is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                received = await self._inbox.get()
                if received is not None:
                    return received
                status = await self._child.ended
        except TimeoutError:
            raise Refused([f"lb: error: the compiler did not answer within {TIMEOUT_S:.0f} s"]) from None
        raise Refused([f"lb: error: the compiler {ending_text(status)}"])

    async def close(self) -> None:
        """End the child, if it has not ended by itself, and forget what it sent."""
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            # It ends by itself when its channel closes, unless it hangs in a library.
            await asyncio.wait([self._child.ended], timeout=1.0)
            self._child.kill(signal.SIGKILL)
            await self._child.ended
        while not self._inbox.empty():
            received = self._inbox.get_nowait()
            for descriptor in received[1] if received else []:
                os.close(descriptor)
