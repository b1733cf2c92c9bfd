"""The multiplexing debug protocol (relay/muxlink.pxd) from the outside: frames, a client, and scripts for a server.

A `MuxClient` opens streams on its connection; a `serving` script of `kit.server.Server` gives each stream that comes to
a function in a thread of its own. Both sides keep a stream's credit as the protocol says, and give it back when the
stream is read; `hold()` stops that for a stream nobody shall read.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kit.deadline import DEADLINE, Late
from kit.message import Fields, Response, Truncated
from kit.server import Connection, Script, Server
from kit.wire import Address, Reset, Wire, family_of

HEAD, DATA, END, RESET, WINDOW, GOAWAY = range(1, 7)
NONE, PROTOCOL, CREDIT, REFUSED, CANCEL = range(5)
STREAMS, STREAM_CREDIT, LINK_CREDIT, LAST_ID = 3, 100, 250, 255


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    """Write a frame."""
    return bytes((kind, number)) + len(payload).to_bytes(2, "big") + payload


def head_payload(fields: Fields, end: bool) -> bytes:
    """Write the payload of a HEAD."""
    pairs = (bytes((len(k),)) + k + len(v).to_bytes(2, "big") + v for k, v in fields)
    return bytes((end,)) + b"".join(pairs)


def read_fields(payload: bytes) -> tuple[Fields, bool]:
    """Read the payload of a HEAD."""
    fields, at = [], 1
    while at < len(payload):
        name_end = at + 1 + payload[at]
        name = payload[at + 1 : name_end]
        size = int.from_bytes(payload[name_end : name_end + 2], "big")
        at = name_end + 2 + size
        fields.append((name, payload[at - size : at]))
    return fields, bool(payload[0] & 1)


def request_fields(target: str = "/", method: str = "GET", authority: str = "lb.test", more: Fields = []) -> Fields:  # noqa: B006
    """Write the fields of a request."""
    return [(b":method", method.encode()), (b":scheme", b"http"), (b":authority", authority.encode()),
            (b":path", target.encode()), *more]  # fmt: skip


def response_fields(status: int = 200, more: Fields = []) -> Fields:  # noqa: B006
    """Write the fields of a response."""
    return [(b":status", str(status).encode()), *more]


class StreamReset(Exception):
    """Say that the peer gave a stream up."""

    def __init__(self, code: int) -> None:
        super().__init__(f"reset with code {code}")
        self.code = code


@dataclass
class Stream:
    """One stream of a connection, of either side."""

    mux: Mux
    number: int
    heads: list[Fields] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    """Received and not read yet."""
    ended: bool = False
    code: int | None = None
    """Of the RESET that came."""
    credit: int = STREAM_CREDIT
    granted: int = STREAM_CREDIT
    held: bool = False
    done: bool = False
    """END or RESET was sent."""
    cancelled: bool = False
    """RESET was sent."""
    dropped: bool = False
    """Nobody reads it any more: what comes only gives the connection its credit back."""

    # ---- writing

    def send_head(self, fields: Fields, end: bool = False) -> None:
        """Send a head."""
        self.done = self.done or end
        self.mux.send(frame(HEAD, self.number, head_payload(fields, end)))

    def send_data(self, data: bytes) -> None:
        """Send all of it, waiting for credit."""
        view = memoryview(data)
        while view:
            taken = self.mux.take_credit(self, len(view))
            self.mux.send(frame(DATA, self.number, bytes(view[:taken])))
            view = view[taken:]

    def send_end(self) -> None:
        """Send END."""
        self.done = True
        self.mux.send(frame(END, self.number))

    def reset(self, code: int = CANCEL) -> None:
        """Give the stream up."""
        self.done = self.cancelled = True
        self.drop()
        self.mux.send(frame(RESET, self.number, bytes((code,))))

    def respond(self, body: bytes = b"", status: int = 200, more: Fields = [], length: bool = True) -> None:  # noqa: B006
        """Send a whole response."""
        fields = response_fields(status, more)
        if length:
            fields.append((b"content-length", str(len(body)).encode()))
        self.send_head(fields)
        self.send_data(body)
        self.send_end()

    # ---- reading

    def drop(self) -> None:
        """Read no more of it."""
        with self.mux.changed:
            self.dropped = True
            count = len(self.data)
            self.data.clear()
        self.mux.give_connection(count)

    def hold(self) -> None:
        """Do not give credit back for what comes from now on."""
        self.held = True

    def next_head(self) -> Fields:
        """Wait for the next head."""
        self.mux.wait(lambda: self.heads or self.over, f"a head on stream {self.number}")
        if not self.heads:
            raise StreamReset(self.code) if self.code is not None else Truncated("no head")
        return self.heads.pop(0)

    def some_body(self) -> bytes:
        """Wait for some body and take it; nothing at its end."""
        self.mux.wait(lambda: self.data or self.over, f"body on stream {self.number}")
        with self.mux.changed:
            data = bytes(self.data)
            self.data.clear()
        if data:
            if not self.held:
                self.mux.give(self, len(data))
        elif not self.ended:
            raise StreamReset(self.code) if self.code is not None else Truncated("the connection ended")
        return data

    def body(self) -> bytes:
        """Wait for the rest of the body."""
        data = bytearray()
        while piece := self.some_body():
            data += piece
        return bytes(data)

    def response(self) -> Response:
        """Wait for a whole response."""
        before: list[Response] = []
        while True:
            (name, status), *fields = self.next_head()
            assert name == b":status", name
            response = Response(fields, b"", b"mux", int(status), b"", before)
            if response.status >= 200:
                response.body = self.body()
                return response
            before.append(response)

    def wait_over(self) -> int | None:
        """Wait for the END or RESET of the peer; return the code of the latter."""
        self.mux.wait(lambda: self.over, f"the end of stream {self.number}")
        return self.code

    def wait_reset(self) -> int:
        """Wait for the RESET of the peer."""
        self.mux.wait(lambda: self.code is not None or self.mux.lost, f"a reset of stream {self.number}")
        assert self.code is not None, "the connection ended without a reset"
        return self.code

    @property
    def is_open(self) -> bool:
        """It counts among those that may be open at a time."""
        return self.code is None and not self.cancelled and not (self.ended and self.done)

    @property
    def over(self) -> bool:
        """Nothing more comes."""
        return self.ended or self.code is not None or self.mux.lost


class Mux:
    """The frames of one connection, read by a thread."""

    def __init__(self, wire: Wire, opened: Callable[[Stream], None] | None = None) -> None:
        self.wire = wire
        self.opened = opened
        """Called with each stream that the peer opens."""
        self.streams: dict[int, Stream] = {}
        self.changed = threading.Condition()
        self.credit = LINK_CREDIT
        self.granted = LINK_CREDIT
        self.goaway: tuple[int, int] | None = None
        self.lost = False
        self.failure: BaseException | None = None
        self._sending = threading.Lock()
        wire.sock.settimeout(None)  # idle is no failure here; closing wakes the thread
        self._thread = threading.Thread(target=self._read, name="mux", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, seconds: float | None = DEADLINE) -> None:
        """Wait until the peer has closed, and fail for what it did wrong."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise Late("the connection does not end")
        if self.failure is not None:
            raise self.failure

    def send(self, data: bytes) -> None:
        """Send whole frames."""
        with self._sending:
            self.wire.send(data)

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """Wait until it holds after some frame."""
        with self.changed:
            if not self.changed.wait_for(lambda: holds() or self.failure, DEADLINE):
                raise Late(f"waited for {what}; {self.streams}")
        if self.failure is not None:
            raise self.failure

    def take_credit(self, stream: Stream, most: int) -> int:
        """Wait for credit and take it."""
        self.wait(lambda: (stream.credit > 0 and self.credit > 0) or stream.code is not None or self.lost,
                  f"credit for stream {stream.number}")  # fmt: skip
        with self.changed:
            if stream.code is not None:
                raise StreamReset(stream.code)
            if self.lost:
                raise Truncated("the connection ended")
            taken = min(most, stream.credit, self.credit)
            stream.credit -= taken
            self.credit -= taken
        return taken or self.take_credit(stream, most)

    def give(self, stream: Stream, count: int) -> None:
        """Give credit back for bytes that were read."""
        with self.changed:
            stream.granted += count
            self.granted += count
        windows = frame(WINDOW, 0, count.to_bytes(2, "big"))
        if not stream.over:
            windows += frame(WINDOW, stream.number, count.to_bytes(2, "big"))
        try:
            self.send(windows)
        except Reset:
            if not self.lost and not stream.over:
                raise

    def give_connection(self, count: int) -> None:
        """Give credit of the connection back, for bytes of streams that nobody reads."""
        if count:
            with self.changed:
                self.granted += count
            try:
                self.send(frame(WINDOW, 0, count.to_bytes(2, "big")))
            except (Reset, OSError):
                pass  # the connection has ended

    def _read(self) -> None:
        try:
            while True:
                kind, number, high, low = self.wire.read_exactly(4)
                payload = self.wire.read_exactly(high << 8 | low)
                with self.changed:
                    new = self._frame(kind, number, payload)
                    self.changed.notify_all()
                    unread = self._unread(number, kind, payload)
                self.give_connection(unread)
                if new is not None and self.opened is not None:
                    self.opened(new)
        except (EOFError, Reset, OSError):
            pass
        except BaseException as e:
            self.failure = e
        with self.changed:
            self.lost = True
            self.changed.notify_all()

    def _unread(self, number: int, kind: int, payload: bytes) -> int:
        stream = self.streams.get(number)
        if kind != DATA or stream is None or not stream.dropped:
            return 0
        stream.data.clear()
        return len(payload)

    def _frame(self, kind: int, number: int, payload: bytes) -> Stream | None:
        if kind == GOAWAY:
            self.goaway = payload[0], payload[1]
            return None
        if kind == WINDOW and number == 0:
            self.credit += int.from_bytes(payload, "big")
            return None
        new = None
        if kind == HEAD and number not in self.streams:
            assert self.opened is not None, "a HEAD of a stream that was not opened"
            assert number > max(self.streams, default=0), "ids must rise"
            assert sum(each.is_open for each in self.streams.values()) < STREAMS, "too many streams at a time"
            new = self.streams[number] = Stream(self, number)
        stream = self.streams[number]
        assert stream.code is None, "a frame behind RESET"
        if kind == HEAD:
            fields, end = read_fields(payload)
            stream.heads.append(fields)
            stream.ended = end
        elif kind == DATA:
            assert not stream.ended, "DATA behind END"
            stream.granted -= len(payload)
            self.granted -= len(payload)
            assert stream.granted >= 0, "more DATA than its stream was granted"
            assert self.granted >= 0, "more DATA than the connection was granted"
            stream.data += payload
        elif kind == END:
            assert not stream.ended, "END twice"
            stream.ended = True
        elif kind == RESET:
            stream.code = payload[0]
        elif kind == WINDOW:
            stream.credit += int.from_bytes(payload, "big")
        else:
            raise AssertionError(f"unknown frame {kind}")
        return new


class MuxClient:
    """A client connection that opens streams."""

    def __init__(self, address: Address) -> None:
        sock = socket.socket(family_of(address), socket.SOCK_STREAM)
        try:
            self.wire = Wire(sock)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        self.mux = Mux(self.wire)
        self.mux.start()
        self._last = 0

    def open(self) -> Stream:
        """Take the next id; nothing is sent yet."""
        self._last += 1
        stream = self.mux.streams[self._last] = Stream(self.mux, self._last)
        return stream

    def begin(self, target: str = "/", *, method: str = "GET", end: bool = True, more: Fields = []) -> Stream:  # noqa: B006
        """Send the head of a request."""
        stream = self.open()
        stream.send_head(request_fields(target, method, more=more), end)
        return stream

    def get(self, target: str = "/") -> Response:
        """Send a request and read its response."""
        return self.begin(target).response()

    def post(self, target: str, body: bytes, *, length: bool = True) -> Stream:
        """Send a request with a body, from a thread of its own."""
        more: Fields = [(b"content-length", str(len(body)).encode())] if length else []
        stream = self.begin(target, method="POST", end=False, more=more)
        threading.Thread(target=_send_body, args=(stream, body), daemon=True).start()
        return stream

    def shut(self) -> None:
        """Close without waiting."""
        try:
            self.wire.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was first

    def close(self) -> None:
        """Close, and fail for what the peer did wrong."""
        self.shut()
        self.mux.join()
        self.wire.close()


def _send_body(stream: Stream, body: bytes) -> None:
    try:
        stream.send_data(body)
        stream.send_end()
    except (StreamReset, Truncated, Reset, OSError):
        pass  # whoever reads the stream sees it too


def serving(answer: Callable[[Stream], None]) -> Script:
    """Make a script that runs `answer` for each stream, in threads of their own."""

    def script(connection: Connection) -> None:
        threads: list[threading.Thread] = []
        failures: list[BaseException] = []

        def run(stream: Stream) -> None:
            try:
                answer(stream)
            except (StreamReset, Truncated, Reset):
                pass  # an answer that cares catches this itself
            except BaseException as e:
                failures.append(e)
            stream.drop()

        def opened(stream: Stream) -> None:
            thread = threading.Thread(target=run, args=(stream,), daemon=True)
            threads.append(thread)
            thread.start()

        mux = Mux(connection, opened)
        connection.mux = mux  # type: ignore[attr-defined]
        mux.start()
        mux.join(None)  # Server.close ends the connection
        for thread in threads:
            thread.join(DEADLINE)
        if failures:
            raise failures[0]

    return script


def streams_of(server: Server) -> list[Stream]:
    """Return all streams that have come to a `serving` server."""
    muxes = [connection.mux for connection in server.connections if hasattr(connection, "mux")]
    return [stream for mux in muxes for stream in list(mux.streams.values())]


def echo(stream: Stream) -> None:
    """Answer with the request's body."""
    stream.next_head()
    stream.respond(stream.body())
