"""Heads and bodies as tests see them, read by h11 so that what lb writes meets a reader that is not its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11

from kit.wire import Wire

HEAD_MAX = 1 << 18
Fields = list[tuple[bytes, bytes]]


class Truncated(Exception):
    """Say that a message was cut before its end."""


class Ended(Exception):
    """Say that the peer closed before the first byte of a message."""


@dataclass
class Head:
    """What requests and responses share."""

    fields: Fields = field(default_factory=list)
    """Names with their case, in order."""
    body: bytes = b""
    version: bytes = b"1.1"

    def values(self, name: str) -> list[bytes]:
        """Return every value of a field, in order."""
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def value(self, name: str) -> bytes | None:
        """Return the one value of a field, or None; fail if there are several."""
        values = self.values(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def names(self) -> list[bytes]:
        """Names in order, with their case."""
        return [name for name, _ in self.fields]


@dataclass
class Request(Head):
    """A request as a server saw it."""

    method: str = "GET"
    target: str = "/"


@dataclass
class Response(Head):
    """A response as a client saw it."""

    status: int = 0
    reason: bytes = b""
    informational: list[Response] = field(default_factory=list)
    """The 1xx responses in front of it."""


class Reader:
    """Reads one message from a wire; a new one is made for each message, what is left over goes back to the wire."""

    def __init__(self, wire: Wire, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.wire = wire
        self.h11 = h11.Connection(role, max_incomplete_event_size=HEAD_MAX)
        self._any = False

    def next_event(self) -> object:
        """Return the next event that is not a wait for data; raise Truncated, Ended or h11.RemoteProtocolError."""
        while True:
            try:
                event = self.h11.next_event()
            except h11.RemoteProtocolError as e:
                if self.wire.ended:
                    raise Truncated(str(e)) from e
                raise
            if event is h11.NEED_DATA:
                data = self.wire.read()
                if not data and not self._any:
                    raise Ended
                self._any = True
                self.h11.receive_data(data)
                continue
            if isinstance(event, h11.ConnectionClosed):
                raise Truncated if self._any else Ended
            return event

    def body(self) -> bytes:
        """Return the rest of the body up to the message's end."""
        data = bytearray()
        while not isinstance(event := self.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            data += event.data
        self.release()
        return bytes(data)

    def some_body(self, least: int = 1) -> bytes:
        """Return the next pieces of the body, `least` bytes or more; fewer only at its end."""
        data = bytearray()
        while len(data) < least:
            event = self.next_event()
            if isinstance(event, h11.EndOfMessage):
                self.release()
                break
            assert isinstance(event, h11.Data), event
            data += event.data
        return bytes(data)

    def release(self) -> None:
        """Give the bytes behind this message back to the wire."""
        rest, _closed = self.h11.trailing_data
        self.wire.unread(rest)


def head_bytes(start: str, fields: Fields, body: bytes = b"") -> bytes:
    """Write a head, and a body behind it, exactly as told."""
    lines = [start.encode("latin-1"), *(name + b": " + value for name, value in fields)]
    return b"\r\n".join([*lines, b"", body])


def reply(body: bytes = b"", *fields: str, status: int = 200, reason: str = "OK", length: bool = True) -> bytes:
    """Write a response; `fields` are whole lines without their line ends."""
    lines = [f"HTTP/1.1 {status} {reason}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None, version: str = "1.1",
        host: str | None = "lb.test") -> bytes:  # fmt: skip
    """Write a request; `fields` are whole lines without their line ends."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += fields
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Write a chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last
