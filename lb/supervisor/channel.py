"""The control channel: messages and descriptors between the supervisor and one child.

A SOCK_SEQPACKET pair carries packets of at most 64 KiB. A message is a msgspec struct; one that does not fit is sent in
numbered parts and put together by the receiver. Descriptors travel with the first part. The far end's death is an end of
file after the last packet, so nothing that was said is lost.

uvloop's transports refuse SEQPACKET, hence `add_reader` and bare `recvmsg`. Two ends exist: `Channel` belongs to a loop
and never waits; `BlockingChannel` is for children that have nothing else to do (zygote, compiler).
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from lb.supervisor.messages import Message

PACKET = 64 * 1024
HEADER = struct.Struct("!II")  # this part's number, number of parts
PAYLOAD = PACKET - HEADER.size
DESCRIPTORS = 240  # a packet carries at most 253 (SCM_MAX_FD)

# A message is assembled in memory: above this the far end is broken (100,000 routes with their names need 10 MiB).
PARTS = 4096

_ANCILLARY = socket.CMSG_LEN(DESCRIPTORS * array.array("i").itemsize)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


class ChannelBroken(Exception):
    """Raise when the far end breaks the rules of the channel or has gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel, neither inheritable."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _packets(message: Message) -> Iterator[bytes]:
    body = _encoder.encode(message)
    parts = max(1, -(-len(body) // PAYLOAD))
    if parts > PARTS:
        raise ChannelBroken(f"a message of {len(body)} bytes is more than a channel carries")
    for part in range(parts):
        yield HEADER.pack(part, parts) + body[part * PAYLOAD : (part + 1) * PAYLOAD]


def _rights(descriptors: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    if not descriptors:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]


class _Assembly:
    """Parts of the message that is being received."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.descriptors: list[int] = []

    def receive(self, sock: socket.socket) -> tuple[Message, list[int]] | None:
        """Read one packet; return the message when it was the last part. Raise BlockingIOError, ChannelBroken."""
        try:
            packet, ancillary, flags, _ = sock.recvmsg(PACKET, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError as error:
            raise ChannelBroken("closed") from error
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                self.descriptors.extend(received)
        if not packet:
            raise ChannelBroken("closed")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(packet) < HEADER.size:
            # MSG_CTRUNC also means that this process has no descriptor left for one that was sent.
            raise ChannelBroken("a packet was cut short")
        part, parts = HEADER.unpack_from(packet)
        if part != len(self.parts) or parts > PARTS:
            raise ChannelBroken(f"part {part} of {parts} came when part {len(self.parts)} was due")
        self.parts.append(packet[HEADER.size :])
        if len(self.parts) < parts:
            return None
        try:
            message = _decoder.decode(b"".join(self.parts))
        except msgspec.MsgspecError as error:
            raise ChannelBroken(f"not a message: {error}") from error
        descriptors, self.descriptors, self.parts = self.descriptors, [], []
        return message, descriptors

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class BlockingChannel:
    """An end whose owner has nothing to do but wait for the next message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(True)
        self._assembly = _Assembly()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message and copies of at most DESCRIPTORS descriptors; raise ChannelBroken when the far end has gone."""
        try:
            for packet in _packets(message):
                self.sock.sendmsg([packet], _rights(descriptors))
                descriptors = ()
        except ConnectionError as error:
            raise ChannelBroken("closed") from error

    def receive(self) -> tuple[Message, list[int]]:
        """Wait for a message; the descriptors become the caller's. Raise ChannelBroken when the far end has gone."""
        while True:
            received = self._assembly.receive(self.sock)
            if received is not None:
                return received

    def close(self) -> None:
        self._assembly.close()
        self.sock.close()


class Channel:
    """An end that belongs to a loop.

    `received(message, descriptors)` is called for each message and owns the descriptors; `closed(reason)` once, when the
    far end has gone or broke the rules, unless `close` was called before.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        received: Callable[[Message, list[int]], None],
        closed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._received = received
        self._closed = closed
        self._assembly = _Assembly()
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self.is_open = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message and copies of at most DESCRIPTORS descriptors, now or when the far end has room.

        What is sent to an end that has gone is dropped: `closed` tells about that.
        """
        if not self.is_open:
            return
        was_idle = not self._waiting
        for packet in _packets(message):
            # Copies, because the caller may close its own before the far end has room.
            self._waiting.append((packet, [os.dup(descriptor) for descriptor in descriptors]))
            descriptors = ()
        if was_idle:
            self._write()

    def _write(self) -> None:
        while self._waiting:
            packet, descriptors = self._waiting[0]
            try:
                self._sock.sendmsg([packet], _rights(descriptors))
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
                return
            except ConnectionError:
                # The reader still has the far end's last words; it sees the end of file after them.
                self._drop()
                break
            self._waiting.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        # Bounded, so that one talkative child cannot hold the loop.
        for _ in range(64):
            if not self.is_open:
                return
            try:
                received = self._assembly.receive(self._sock)
            except BlockingIOError:
                return
            except ChannelBroken as error:
                self.close()
                self._closed(str(error))
                return
            if received is not None:
                self._received(*received)

    def _drop(self) -> None:
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()

    def close(self) -> None:
        """Close this end; what waits to be sent is dropped."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._drop()
        self._assembly.close()
        self._sock.close()
