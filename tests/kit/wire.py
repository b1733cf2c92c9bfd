"""A connected socket that sends exactly what it is told and reads with a deadline."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from kit.deadline import DEADLINE, Late

Address = tuple[str, int] | str
READ = 65536


class Reset(ConnectionError):
    """Say that the peer reset the connection, or takes no more."""


def family_of(address: Address) -> socket.AddressFamily:
    """Name the family of an address: a string is the path of a unix socket."""
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Wire:
    """One side of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        """All bytes ever read."""
        self.ended = False
        """The peer has finished sending."""
        self._unread = bytearray()
        sock.settimeout(DEADLINE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- sending

    def send(self, data: bytes) -> None:
        """Send all of it, in as few pieces as the kernel takes."""
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise Late(f"the peer did not take {len(data)} bytes") from None
        except (ConnectionResetError, BrokenPipeError) as e:
            raise Reset("the peer closed") from e

    def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send each piece in a segment of its own (as far as TCP lets one say so)."""
        for piece in pieces:
            self.send(piece)

    def send_bytewise(self, data: bytes) -> None:
        """Send byte by byte."""
        self.send_pieces(data[i : i + 1] for i in range(len(data)))

    def send_some(self, data: bytes) -> int:
        """Send what the kernel takes at once, and return how much that was."""
        sent = 0
        self.sock.settimeout(0)
        try:
            while sent < len(data):
                sent += self.sock.send(memoryview(data)[sent : sent + READ])
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError) as e:
            raise Reset("the peer closed") from e
        finally:
            self.sock.settimeout(DEADLINE)
        return sent

    def writable(self, seconds: float) -> bool:
        """Wait at most this long until the kernel takes more, and tell whether it does."""
        return bool(select.select([], [self.sock], [], seconds)[1])

    def half_close(self) -> None:
        """Finish sending; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST, as a process that dies with unread data would."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close; a second time does nothing."""
        self.sock.close()

    # ---- reading

    def readable(self, seconds: float) -> bool:
        """Wait at most this long until there is something to read (or the end), and tell whether there is."""
        return bool(self._unread) or bool(select.select([self.sock], [], [], seconds)[0])

    def wait_readable(self) -> None:
        """Wait without a deadline until there is something to read, or the end."""
        if not self._unread and not self.ended:
            select.select([self.sock], [], [])

    def read(self, most: int = READ) -> bytes:
        """Return at least one byte, or nothing at the end; raise Late or Reset."""
        if self._unread:
            data = bytes(self._unread[:most])
            del self._unread[:most]
            return data
        if self.ended:
            return b""
        try:
            data = self.sock.recv(most)
        except TimeoutError:
            raise Late(f"nothing came; so far {bytes(self.received[-200:])!r}") from None
        except ConnectionResetError as e:
            raise Reset(f"reset; so far {bytes(self.received[-200:])!r}") from e
        self.received += data
        self.ended = not data
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what read() returns next."""
        self._unread[:0] = data

    def read_exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes; raise EOFError if the peer ends before."""
        data = bytearray()
        while len(data) < count:
            piece = self.read(min(READ, count - len(data)))
            if not piece:
                raise EOFError(f"{len(data)} of {count} bytes came, then the end: {bytes(data[-200:])!r}")
            data += piece
        return bytes(data)

    def read_to_end(self) -> bytes:
        """Return everything up to the peer's FIN."""
        data = bytearray()
        while piece := self.read():
            data += piece
        return bytes(data)

    def read_available(self) -> bytes:
        """Return what has come already, perhaps nothing."""
        data = bytes(self._unread)
        self._unread.clear()
        self.sock.settimeout(0)
        try:
            while piece := self.sock.recv(READ):
                self.received += piece
                data += piece
            self.ended = True
        except BlockingIOError:
            pass
        except ConnectionResetError as e:
            raise Reset("reset") from e
        finally:
            self.sock.settimeout(DEADLINE)
        return data

    def expect_end(self) -> None:
        """Wait until the peer has closed, by FIN or RST, and fail if bytes come instead."""
        try:
            data = self.read()
        except Reset:
            return
        assert data == b"", f"expected the end, got {data[:200]!r}"

    def wait_end(self) -> None:
        """Wait until the peer has closed, by FIN or RST, whatever comes before."""
        try:
            while self.read():
                pass
        except Reset:
            pass
