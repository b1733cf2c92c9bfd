"""A scripted server: a function per connection, in a thread of its own, that records what it saw.

A script is called with each accepted connection and may block. When it returns, the connection is closed; when it
fails, the test fails in `Server.close`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import h11

from kit.deadline import DEADLINE, Late
from kit.message import Ended, Reader, Request, Truncated, reply
from kit.wire import Address, Reset, Wire, family_of


class Connection(Wire):
    """A connection a server has accepted."""

    def __init__(self, sock: socket.socket, server: Server, number: int) -> None:
        super().__init__(sock)
        self.server = server
        self.number = number
        """0 for the first connection of this server."""
        self.requests: list[Request] = []
        self.closed = threading.Event()
        """The script has returned and the connection is closed."""
        self.peer = sock.getpeername()
        self._reader: Reader | None = None

    def head(self) -> Request:
        """Read the head of the next request; raise Ended when the peer closes instead.

        Its first byte may take as long as it likes: connections stay idle. Server.close() ends the wait.
        """
        self.wait_readable()
        reader = self._reader = Reader(self, h11.SERVER)
        event = reader.next_event()
        assert isinstance(event, h11.Request), event
        request = Request(
            event.headers.raw_items(), b"", event.http_version, event.method.decode(), event.target.decode()
        )
        self.requests.append(request)
        self.server.note_request(request)
        return request

    def head_only(self) -> Request:
        """Read a request without a body; what follows it is left to read()."""
        request = self.head()
        assert self._reader is not None
        assert isinstance(self._reader.next_event(), h11.EndOfMessage)
        self._reader.release()
        return request

    def body(self) -> bytes:
        """Read the rest of the body of the request whose head was read; raise Truncated when it is cut."""
        assert self._reader is not None
        data = self._reader.body()
        self.requests[-1].body = data
        return data

    def some_body(self, least: int = 1) -> bytes:
        """Read `least` bytes of the body or more; fewer at its end."""
        assert self._reader is not None
        return self._reader.some_body(least)

    def request(self) -> Request:
        """Read one whole request."""
        request = self.head()
        self.body()
        return request


Script = Callable[[Connection], None]


class Server:
    """A listening socket and its connections."""

    def __init__(self, script: Script, *, address: Address = ("127.0.0.1", 0), backlog: int = 128,
                 receive_buffer: int = 0) -> None:  # fmt: skip
        self.script = script
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        """Every request, in the order in which heads were complete."""
        self.failures: list[BaseException] = []
        self.gone: list[BaseException] = []
        """How connections were cut that ended in the middle of a message."""
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.socket(family_of(address), socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(address)
        self._listener.listen(backlog)
        name = self._listener.getsockname()
        self.address: Address = name if isinstance(name, str) else name[:2]
        self._acceptor = threading.Thread(target=self._accept, name=f"server {self.address}", daemon=True)
        self._acceptor.start()

    @property
    def text(self) -> str:
        """The address as configurations write it."""
        return address_text(self.address)

    # ---- what tests ask

    def note_request(self, request: Request) -> None:
        """Record a request; connections call this."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait(self, holds: Callable[[Server], object], what: str) -> None:
        """Wait until `holds(self)` after some change of connections, requests or ends."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self), DEADLINE):
                raise Late(f"server {self.text}: {what}; {len(self.connections)} connections, "
                           f"{len(self.requests)} requests, failures: {self.failures}")  # fmt: skip

    def wait_requests(self, count: int) -> list[Request]:
        """Wait until this many request heads have come; return all requests."""
        self.wait(lambda s: len(s.requests) >= count, f"waits for {count} requests")
        return self.requests

    def wait_idle(self) -> None:
        """Wait until every connection is closed."""
        self.wait(lambda s: all(c.closed.is_set() for c in s.connections), "waits for every connection to end")

    # ---- life

    def stop_listening(self) -> None:
        """Refuse new connections from now on; present ones stay."""
        with self._changed:
            self._closing = True
        # Closing alone does not wake accept() in another thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(DEADLINE)
        self._listener.close()

    def close(self) -> None:
        """Stop listening, end every connection, and raise what a script raised."""
        if not self._closing:
            self.stop_listening()
        for connection in self.connections:
            if not connection.closed.is_set():
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has just ended by itself
        for thread in self._threads:
            thread.join(DEADLINE)
            if thread.is_alive():
                raise Late(f"a script of {thread.name} does not end")
        if self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _peer = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._closing:
                    sock.close()
                    return
                try:
                    connection = Connection(sock, self, len(self.connections))
                except OSError:  # reset before it was accepted
                    sock.close()
                    continue
                self.connections.append(connection)
                thread = threading.Thread(
                    target=self._run, args=(connection,), name=f"{self.text}#{connection.number}", daemon=True
                )
                self._threads.append(thread)
                self._changed.notify_all()
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            self.script(connection)
        except Ended:
            pass
        except (Reset, Truncated) as e:
            # The proxy went away in the middle. A script that cares catches this itself.
            self.gone.append(e)
        except BaseException as e:
            if not self._closing:
                self.failures.append(e)
        finally:
            connection.close()
            connection.closed.set()
            with self._changed:
                self._changed.notify_all()


def address_text(address: Address) -> str:
    """Write an address as configurations do."""
    if isinstance(address, str):
        return f"unix@{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


HELLO = reply(b"hello")


def answering(answer: bytes | Callable[[Request], bytes] = HELLO) -> Script:
    """Make a script that answers every request, and keeps the connection while the client does."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.request()
            connection.send(answer(request) if callable(answer) else answer)
            if b"close" in [value.lower() for value in request.values("connection")]:
                return

    return script


def once(answer: bytes) -> Script:
    """Make a script that answers one request and closes."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(answer)

    return script


def echoing(connection: Connection) -> None:
    """Send back what comes; after the peer's FIN send FIN."""
    while data := connection.read():
        connection.send(data)


def silent(connection: Connection) -> None:
    """Read and never answer."""
    connection.wait_end()


class Refused:
    """An address that refuses connections, kept so that nobody else gets it."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._sock.getsockname()
        self.text = address_text(self.address)

    def close(self) -> None:
        """Give the address back."""
        self._sock.close()


class BlackHole:
    """An address where connecting never ends: its accept queue is full, and Linux drops what more comes."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(0)
        self.address: tuple[str, int] = self._sock.getsockname()
        self.text = address_text(self.address)
        self._fillers: list[socket.socket] = []
        for _ in range(3):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._fillers.append(filler)

    def close(self) -> None:
        """Give the address back."""
        for filler in self._fillers:
            filler.close()
        self._sock.close()
