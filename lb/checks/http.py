"""A check by HTTP: one request, and what its response must be. Without I/O: bytes go in, a finding comes out.

h11 reads the response, and holds at most 16 KiB of an incomplete head; of a body at most BODY_MAX are kept, and only if
something is looked for in it.
"""

from __future__ import annotations

from functools import lru_cache

import h11

from lb.checks.finding import Finding
from lb.checks.regex import is_found
from lb.checks.status import Status
from lb.config.part import HttpCheck

BODY_MAX = 16 * 1024

NO_MATCH = "HTTP content check did not match"
NO_BODY = "HTTP content check could not find a response body"


class HttpExchange:
    """One request and its response."""

    where = ""

    def __init__(self, check: HttpCheck) -> None:
        self._check = check
        self._connection = h11.Connection(h11.CLIENT)
        self._body = bytearray()
        self._code = 0
        self._is_short = False  # the body goes on beyond what is looked at

    def begin(self) -> bytes:
        """Return what is to be sent."""
        return _request(self._check, self._connection)

    def sent(self) -> Finding | None:
        """Hear that everything was sent: it says nothing yet."""

    def more(self) -> bytes:
        """Return what else is to be sent: nothing ever is."""
        return b""

    def late(self) -> Finding:
        """Return what it means that nothing more came in time."""
        return Finding(Status.L7TOUT)

    def received(self, data: bytes) -> Finding | None:
        """Take bytes from the server, none at its end; return the finding when there is one."""
        try:
            self._connection.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError:
            return Finding(Status.L7RSP)

    def _read(self) -> Finding | None:
        while True:
            event = self._connection.next_event()
            match event:
                case h11.Response():
                    finding = self._head(event)
                    if finding is not None:
                        return finding
                case h11.Data():
                    self._body += event.data[: BODY_MAX - len(self._body)]
                    finding = self._content(is_whole=len(self._body) == BODY_MAX)
                    if finding is not None:
                        return finding
                case h11.EndOfMessage():
                    return self._content(is_whole=True)
                case h11.NEED_DATA:
                    return None
                case h11.ConnectionClosed() | h11.PAUSED:
                    return Finding(Status.L7RSP)

    def _head(self, response: h11.Response) -> Finding | None:
        check, code = self._check, response.status_code
        self._code = code
        wrong = Finding(Status.L7STS, bytes(response.reason).decode("latin-1"), code)
        if code == 404 and check.is_drained_by_404:
            return wrong._replace(status=Status.L7OKC)
        if not any(low <= code <= high for low, high in check.statuses):
            return wrong
        if not all(_has(response, name, value) for name, value in check.header):
            return wrong
        return None if check.string or check.regex else Finding(Status.L7OK, "", code)

    def _content(self, is_whole: bool) -> Finding | None:
        check = self._check
        found = not check.string or check.string.encode() in self._body
        # A regular expression may look for the end, so it is asked when nothing more comes.
        if found and check.regex:
            if not is_whole:
                return None
            found = is_found(check.regex.encode(), self._body)
        if found:
            return Finding(Status.L7OK, "", self._code)
        if not is_whole:
            return None
        return Finding(Status.L7RSP, NO_MATCH if self._body else NO_BODY)


@lru_cache(4096)
def _written(check: HttpCheck) -> bytes:
    """Return the bytes of a request; they are the same each time."""
    connection = h11.Connection(h11.CLIENT)
    return _send(check, connection)


def _request(check: HttpCheck, connection: h11.Connection) -> bytes:
    # The connection must know what was sent, to read the response to it.
    connection.send(h11.Request(method=check.method, target=check.target, headers=[("Host", "-")]))
    connection.send(h11.EndOfMessage())
    return _written(check)


def _send(check: HttpCheck, connection: h11.Connection) -> bytes:
    body = check.body.encode()
    headers = [*check.headers, ("Connection", "close")]
    if body:
        headers.append(("Content-Length", str(len(body))))
    sent = connection.send(h11.Request(method=check.method, target=check.target, headers=headers)) or b""
    if body:
        sent += connection.send(h11.Data(data=body)) or b""
    return sent + (connection.send(h11.EndOfMessage()) or b"")


def _has(response: h11.Response, name: str, value: str) -> bool:
    for key, given in response.headers:
        if key.decode("latin-1") == name:
            text = given.decode("latin-1")
            if not value or text == value or value in (part.strip() for part in text.split(",")):
                return True
    return False
