"""A scripted client: bytes go out as told, responses come back through h11."""

from __future__ import annotations

import socket

import h11

from kit.message import Reader, Response, ask
from kit.wire import Address, Wire, family_of


class Client(Wire):
    """A client connection."""

    def __init__(self, address: Address, *, receive_buffer: int = 0) -> None:
        """Connect; `receive_buffer` (bytes) makes the window of a slow reader small."""
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            super().__init__(sock)
            try:
                sock.connect(address)
            except ConnectionResetError:
                # Accepted and reset before connect() returned: an end, like one that comes a moment later.
                self.ended = True
        except BaseException:
            sock.close()
            raise
        self._reader: Reader | None = None

    @property
    def local(self) -> tuple[str, int]:
        """This side's address."""
        host, port = self.sock.getsockname()[:2]
        return host, port

    def head(self, method: str = "GET", *, upgrade: str = "") -> Response:
        """Read informational responses and the head of the final one (a 101 is final when `upgrade` names it)."""
        reader = self._reader = Reader(self, h11.CLIENT)
        fields = [("Host", "lb.test")]
        if upgrade:
            fields += [("Connection", "upgrade"), ("Upgrade", upgrade)]
        reader.h11.send(h11.Request(method=method, target="/", headers=fields))
        reader.h11.send(h11.EndOfMessage())
        before: list[Response] = []
        while True:
            event = reader.next_event()
            if not isinstance(event, h11.InformationalResponse | h11.Response):
                raise AssertionError(f"expected a head, got {event}")
            response = Response(
                event.headers.raw_items(), b"", event.http_version, event.status_code, event.reason, before
            )
            if isinstance(event, h11.Response):
                return response
            if event.status_code == 101:
                reader.release()
                return response
            before.append(response)

    def body(self) -> bytes:
        """Read the rest of the body of the response whose head was read."""
        assert self._reader is not None
        return self._reader.body()

    def some_body(self, least: int = 1) -> bytes:
        """Read `least` bytes of the body or more; fewer at its end."""
        assert self._reader is not None
        return self._reader.some_body(least)

    def response(self, method: str = "GET") -> Response:
        """Read one whole response to a request of this method."""
        response = self.head(method)
        response.body = self.body()
        return response

    def get(self, target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None,
            version: str = "1.1", host: str | None = "lb.test") -> Response:  # fmt: skip
        """Send a request and read its response."""
        self.send(ask(target, *fields, method=method, body=body, version=version, host=host))
        return self.response(method)
