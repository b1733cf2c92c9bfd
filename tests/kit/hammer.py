"""A driver that says everything two HTTP/1 peers can say to a proxy between them, at random, and checks what comes out.

Each request carries a token that appears in its target, a field and every byte of its body, and tells the scripted
server by its target what to do: answer, answer early, cut, reset, send garbage, interim heads, bytes too many. Clients
split what they send at random, pipeline, leave in the middle, speak 1.0. Whatever happens, a body that reaches a peer
is a prefix of the right one, a whole one is whole, answers come in order, and nothing of one stream shows in another.

Choices follow from the seed, the order of events does not; so a run is one of many that a seed can have.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from kit.deadline import DEADLINE
from kit.wire import Address

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style>; rel=preload\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
GARBAGE = (
    b"\x00\x01\x02\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Half: a head that end",
)
REFUSED = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
    b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
)
SIZES = (0, 0, 0, 1, 10, 1000, 15_000, 16_384, 16_400, 40_000, 70_000, 200_000)
GOOD = ("ok", "ok", "ok", "ok", "slow", "interim", "stale", "extra", "early", "empty")
BAD = ("cut", "reset", "garbage", "drop", "flood")
JUDGED = ("denied", "denied", "returned", "returned", "veiled")
"""What rules decide, if the configuration has them: the first two kinds reach no server, of the last no answer is seen."""
# After these the client's connection may end although nothing said so: it was answered before all of it was read.
ENDS = ("early", "cut", "reset", "garbage", "drop", "flood", "denied", "returned", "veiled")


def pattern(token: str, size: int) -> bytes:
    """Return the body of `size` bytes that belongs to a token."""
    word = f"{token}-".encode()
    return (word * (size // len(word) + 1))[:size]


@dataclass
class Ask:
    """One request and what its server is to do."""

    token: str
    kind: str
    method: str
    version: str
    size: int
    """Bytes of its body."""
    answer: int
    """Bytes of the answer's body."""
    framing: str
    """Of the answer: length, chunked, close."""
    chunked: bool
    close: bool

    @property
    def target(self) -> str:
        """What the server reads its orders from."""
        return f"/{self.kind}/{self.token}/{self.size}/{self.answer}/{self.framing}"

    def bytes(self, chance: random.Random) -> bytes:
        """Write it."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}", "Host: hammer", f"X-Token: {self.token}"]
        body = pattern(self.token, self.size)
        if self.close:
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: keep-alive")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = chunks(body, chance) + (b"0\r\nX-Trailer: t\r\n\r\n" if chance.random() < 0.2 else b"0\r\n\r\n")
        elif self.size or self.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {self.size}")
        if self.size and self.version == "1.1" and chance.random() < 0.1:
            lines.append("Expect: 100-continue")
        if chance.random() < 0.2:
            lines.append("X-Long: " + pattern(self.token, chance.choice((100, 2000, 14_500))).decode())
        return "\r\n".join([*lines, "", ""]).encode() + body

    @property
    def is_safe_to_repeat(self) -> bool:
        """Whether lb repeats it after a stale connection, whatever the order of events."""
        return self.method not in ("POST", "PATCH") and self.size == 0


def chunks(body: bytes, chance: random.Random) -> bytes:
    """Cut a body into chunks."""
    out, at = bytearray(), 0
    while at < len(body):
        piece = body[at : at + chance.choice((1, 7, 100, 3000, 16_384, 50_000))]
        if len(piece) < 7 and len(body) > 1000 and chance.random() < 0.9:
            piece = body[at : at + 5000]
        out += b"%x\r\n%s\r\n" % (len(piece), piece)
        at += len(piece)
    return bytes(out)


@dataclass
class Tally:
    """What a run has seen."""

    asked: dict[str, Ask] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    """Status of each whole answer by token."""
    refused: int = 0
    """Whole answers to what is no request."""
    broken: int = 0
    """Answers that did not come, or not whole."""
    served: Counter[str] = field(default_factory=Counter)
    """How often servers saw each token."""
    wrong: list[str] = field(default_factory=list)
    """What must not happen."""


class Hammer:
    """Scripted servers and clients with one seed."""

    def __init__(self, seed: int, *, scarce: bool = False, judged: bool = False) -> None:
        """Make one.

        `scarce`: lb lacks memory and connections now and then, so every request may fail. `judged`: lb has rules for what is
        JUDGED, and takes PROXY headers from clients.
        """
        self.seed = seed
        self.scarce = scarce
        self.judged = judged
        self.tally = Tally()
        self.describe: Callable[[], object] = str
        """Called in a thread when nothing comes: what lb says of its streams."""
        self.addresses: list[Address] = []
        self._servers: list[asyncio.Server] = []
        self._served: set[asyncio.Task[None]] = set()

    # ---- servers

    async def listen(self, count: int) -> None:
        """Start servers; `addresses` are theirs."""
        for _ in range(count):
            server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=512)
            self._servers.append(server)
            self.addresses.append(server.sockets[0].getsockname()[:2])

    async def close(self) -> None:
        """End the servers and their connections."""
        for server in self._servers:
            server.close()
        for task in list(self._served):
            task.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            rest: bytes | None = b""
            while rest is not None:
                rest = await self._serve(reader, writer, rest)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except h11.RemoteProtocolError as e:
            # A client that leaves cuts its request here too; anything else is ours.
            if not reader.at_eof():
                self.tally.wrong.append(f"a server read: {e}")
        except Exception as e:
            self.tally.wrong.append(f"a server failed: {e!r}")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> bytes | None:
        """Serve one request; return what came behind it, or None to close."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        if rest:
            connection.receive_data(rest)
        head = await self._event(connection, reader)
        if not isinstance(head, h11.Request):
            return None
        target = head.target.decode()
        _, kind, token, _size, _answer, framing = target.split("/")
        order = self.tally.asked.get(token)
        fields = dict(head.headers.raw_items())
        if order is None or order.target != target or fields.get(b"X-Token") != token.encode():
            self.tally.wrong.append(f"a server saw {target} with token {fields.get(b'X-Token')!r}")
            return None
        if head.method.decode() != order.method or b"X-Forwarded-For" not in fields:
            self.tally.wrong.append(f"{target}: the head changed: {head}")
        if kind in ("denied", "returned"):
            self.tally.wrong.append(f"a server saw {target}, which a rule answers")
        self.tally.served[token] += 1
        chance = random.Random(f"{self.seed} {token} server")
        read = self._body(connection, reader, order, slow=kind == "slow")
        if kind == "drop":
            if chance.random() < 0.5:
                await read
            else:
                read.close()
            self._end(writer, reset=chance.random() < 0.5)
            return None
        if kind == "garbage":
            await read
            writer.write(chance.choice(GARBAGE))
            return None
        if kind == "early":
            writer.write(self._answer(order, chance))
            if chance.random() < 0.5:
                await read
                # lb may have sent the next request already.
                return None if framing == "close" else bytes(connection.trailing_data[0])
            read.close()
            return None
        if kind == "interim" and chance.random() < 0.5 and b"Expect" in fields:
            writer.write(CONTINUE)
        await read
        if kind == "interim":
            writer.write(HINTS * chance.randint(1, 3))
        elif kind == "flood":
            writer.write(HINTS * 40)
            return None
        out = self._answer(order, chance)
        if kind in ("cut", "reset"):
            if len(out) > 1:
                out = out[: chance.randint(out.index(b"\r\n\r\n") + 4, len(out)) - 1]
            writer.write(out)
            await writer.drain()
            self._end(writer, reset=kind == "reset")
            return None
        if kind == "extra":
            # Behind a body that ends with the connection nothing is too much.
            writer.write(out if framing == "close" else out + POISON)
            return None
        if kind == "slow":
            for piece in pieces(out, chance, least=len(out) // 20):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(out)
        await writer.drain()
        if framing == "close" or kind == "stale":
            return None
        if connection.trailing_data[0]:
            self.tally.wrong.append(f"{target}: bytes behind a request: {connection.trailing_data[0]!r}")
        return b""

    async def _event(self, connection: h11.Connection, reader: asyncio.StreamReader) -> object:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        return event

    async def _body(self, connection: h11.Connection, reader: asyncio.StreamReader, order: Ask, slow: bool) -> None:
        body = bytearray()
        while True:
            event = await self._event(connection, reader)
            if isinstance(event, h11.EndOfMessage):
                break
            if not isinstance(event, h11.Data):
                raise ConnectionResetError  # the client left
            body += event.data
            if slow:
                await asyncio.sleep(0)
        if body != pattern(order.token, order.size):
            self.tally.wrong.append(f"{order.target}: the server got another body of {len(body)} bytes")

    @staticmethod
    def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
        if reset and not writer.is_closing():
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    @staticmethod
    def _answer(order: Ask, chance: random.Random) -> bytes:
        body = pattern(order.token, order.answer)
        lines = ["HTTP/1.1 200 OK", f"X-Token: {order.token}"]
        if order.kind == "empty":
            lines[0] = chance.choice(("HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified"))
            body = b""
        elif order.framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif order.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            body = chunks(body, chance) + b"0\r\n\r\n"
        else:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if order.method == "HEAD" else body)

    # ---- clients

    async def run(self, address: Address, connections: int, at_once: int = 16) -> None:
        """Make this many client connections to lb."""
        numbers = iter(range(connections))

        async def work() -> None:
            for number in numbers:
                chance = random.Random(f"{self.seed} {number}")
                await self._connect(address, number, chance)

        await asyncio.gather(*(work() for _ in range(at_once)))

    def _ask(self, number: int, i: int, chance: random.Random) -> Ask:
        method = chance.choice(("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"))
        size = chance.choice(SIZES) if method in ("POST", "PUT") or chance.random() < 0.1 else 0
        version = "1.0" if chance.random() < 0.1 else "1.1"
        token = f"{self.seed:x}.{number:x}.{i}.{chance.getrandbits(32):08x}"
        kind = chance.choice(GOOD) if chance.random() < 0.85 else chance.choice(BAD)
        if self.judged and chance.random() < 0.2:
            kind = chance.choice(JUDGED)
        return Ask(
            token, kind, method, version, size, len(token) + 1 if kind == "returned" else chance.choice(SIZES),
            chance.choice(("length", "length", "chunked", "close")),
            chunked=size > 0 and version == "1.1" and chance.random() < 0.4,
            close=chance.random() < (0.5 if version == "1.0" else 0.05),
        )  # fmt: skip

    async def _connect(self, address: Address, number: int, chance: random.Random) -> None:
        asks = [self._ask(number, i, chance) for i in range(chance.choice((1, 2, 3, 8)))]
        # An answer to 1.0 whose length is not known ends the connection too.
        closing = [i for i, one in enumerate(asks) if one.close or (one.version == "1.0" and one.framing != "length")]
        if closing:
            del asks[closing[0] + 1 :]  # whoever says so sends nothing more
        for one in asks:
            self.tally.asked[one.token] = one
        texts = [one.bytes(chance) for one in asks]
        refused = not closing and chance.random() < 0.1
        if refused:
            texts.append(chance.choice(REFUSED))
        sock = socket.socket()
        sock.setblocking(False)
        if chance.random() < 0.2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except ConnectionError as e:
            sock.close()
            if not self.scarce:
                self.tally.wrong.append(f"connection {number}: {e}")
            return
        if self.judged:
            texts.insert(0, b"PROXY TCP4 192.0.2.%d 192.0.2.1 %d 80\r\n" % (chance.randint(1, 254), 1024 + number))
        leaves = chance.random() < 0.15
        sending = asyncio.create_task(self._send(sock, texts, chance, leaves))
        try:
            async with asyncio.timeout(DEADLINE):
                await self._read(sock, asks, refused, chance, leaves)
        except TimeoutError:
            self.tally.wrong.append(f"nothing comes: {[(one.method, one.target, one.version) for one in asks]}, {leaves=}: "
                                    f"{await asyncio.to_thread(self.describe)}")  # fmt: skip
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            close(sock, reset=chance.random() < 0.2)

    async def _send(self, sock: socket.socket, texts: list[bytes], chance: random.Random, leaves: bool) -> None:
        loop = asyncio.get_running_loop()
        text = b"".join(texts)
        if leaves:
            text = text[: chance.randint(0, len(text))]
        try:
            for piece in pieces(text, chance, least=len(text) // 30):
                await loop.sock_sendall(sock, piece)
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            if leaves:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # lb has closed

    async def _read(self, sock: socket.socket, asks: list[Ask], refused: bool, chance: random.Random,
                    leaves: bool) -> None:  # fmt: skip
        rest = b""
        may_end = leaves or self.scarce
        stop = chance.randrange(len(asks)) if chance.random() < 0.1 else len(asks)
        for i, order in enumerate(asks):
            if i == stop:
                return  # leaves with answers due
            answer = Answer(order)
            try:
                rest = await answer.read(sock, rest, chance)
            except (ConnectionError, h11.RemoteProtocolError) as e:
                # What ends a connection with bytes unread may cost a client that pipelines the answers in front.
                may_end |= any(later.kind in ENDS for later in asks[i + 1 :])
                self._check(answer, whole=False, may_end=may_end, why=str(e))
                self.tally.broken += len(asks) - i
                return
            self._check(answer, whole=True, may_end=may_end, why="")
            self.tally.answered[order.token] = answer.status
            may_end = leaves or self.scarce or order.kind in ENDS
            if answer.closes:
                if i + 1 < len(asks) and not (may_end or order.close or order.version == "1.0"
                                              or answer.status >= 400):  # fmt: skip
                    self.tally.wrong.append(f"{order.target}: 'Connection: close' for no reason")
                if rest or await self._more(sock):
                    self.tally.wrong.append(f"{order.target}: bytes behind the last answer")
                return
        if refused:
            answer = Answer(Ask("", "refused", "GET", "1.1", 0, 0, "length", False, True))
            try:
                await answer.read(sock, rest, chance)
            except (ConnectionError, h11.RemoteProtocolError) as e:
                if not may_end:
                    self.tally.wrong.append(f"no answer to what is no request: {e}")
                return
            self.tally.refused += 1
            if not 400 <= answer.status < 600 or not answer.closes:
                self.tally.wrong.append(f"what is no request was answered with {answer.status}")

    @staticmethod
    async def _more(sock: socket.socket) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(sock, 100)
        except ConnectionError:
            return b""

    def _check(self, answer: Answer, *, whole: bool, may_end: bool, why: str) -> None:
        order, wrong = answer.order, self.tally.wrong
        where = f"{order.method} {order.target} HTTP/{order.version} ({order.chunked=})"
        expected = pattern(order.token, order.answer)
        if order.method == "HEAD" or order.kind == "empty":
            expected = b""
        if answer.status in (200, 204, 304):
            if order.kind in ("garbage", "drop", "flood", "denied", "veiled"):
                wrong.append(f"{where}: {answer.status} from a server that gave none")
            elif answer.token != order.token.encode():
                wrong.append(f"{where}: the answer to {answer.token!r}")
            elif not expected.startswith(answer.body):
                wrong.append(f"{where}: another body: {bytes(answer.body[:60])!r}")
            elif whole and answer.body != expected and not (order.framing == "close" and order.kind in ENDS):
                wrong.append(f"{where}: {len(answer.body)} of {len(expected)} bytes, as if they were all")
            elif not whole and not (may_end or self.scarce) and order.kind in GOOD and order.kind != "early":
                wrong.append(f"{where}: cut after {len(answer.body)} of {len(expected)} bytes: {why}")
        elif answer.status:
            ours = (502,) if order.kind not in GOOD or not order.is_safe_to_repeat else ()
            if self.scarce:
                ours += (500, 502, 503)
            if answer.status not in ours:
                wrong.append(f"{where}: {answer.status} {bytes(answer.body)!r}")
        elif not (may_end or order.kind in ("cut", "reset")):
            wrong.append(f"{where}: no answer: {why}")


class Answer:
    """One response, read piece by piece."""

    def __init__(self, order: Ask) -> None:
        self.order = order
        self.status = 0
        self.token = b""
        self.body = bytearray()
        self.closes = False

    async def read(self, sock: socket.socket, rest: bytes, chance: random.Random) -> bytes:
        """Read it, and return what came behind. Raise h11.RemoteProtocolError or ConnectionError when it is cut."""
        loop = asyncio.get_running_loop()
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
        fields = [("Host", "hammer")]
        if self.order.version == "1.0":
            fields.append(("Connection", "keep-alive"))
        connection.send(h11.Request(method=self.order.method, target="/", headers=fields))
        connection.send(h11.EndOfMessage())
        if rest:
            connection.receive_data(rest)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await loop.sock_recv(sock, chance.choice((100, 5000, 65536)))
                if not data and not self.status:
                    raise ConnectionResetError("the end instead of an answer")
                connection.receive_data(data)
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                self.token = dict(event.headers.raw_items()).get(b"X-Token", b"")
                self.closes = b"close" in [v for n, v in event.headers if n == b"connection"]
            elif isinstance(event, h11.Data):
                self.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.closes |= connection.their_state in (h11.MUST_CLOSE, h11.CLOSED)
                return bytes(connection.trailing_data[0])
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the end instead of an answer")


def close(sock: socket.socket, *, reset: bool) -> None:
    """Close, with RST or FIN."""
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pieces(text: bytes, chance: random.Random, least: int) -> list[bytes]:
    """Cut bytes into pieces of at most 65536 bytes; of about 30, few are short."""
    found, at = [], 0
    while at < len(text):
        size = (
            chance.choice((1, 3, 100)) if chance.random() < 0.3 else max(least, chance.choice((1000, 16_384, 65_536)))
        )
        found.append(text[at : at + size])
        at += size
    return found
