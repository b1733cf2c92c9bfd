"""Servers and clients of datagrams: a small DNS of our own, a collector of syslog lines, clients that lose nothing.

The DNS server knows one thing: every name of type TXT, whose text is the server's own name. It writes and reads real packets
(RFC 1035), so that what passes through lb is what a resolver would send.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kit.deadline import DEADLINE, eventually

SIZE = 65_535
TXT, IN = 16, 1
BUFFER = 4 << 20  # what the kernel gives of it is net.core.rmem_max


def query(number: int, name: str) -> bytes:
    """Return a DNS query for the TXT records of a name."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TXT, IN)


def answer(question: bytes, text: str) -> bytes:
    """Return the answer to a query: one TXT record."""
    number, _, *_ = struct.unpack("!HHHHHH", question[:12])
    data = bytes([len(text)]) + text.encode()
    record = b"\xc0\x0c" + struct.pack("!HHIH", TXT, IN, 60, len(data)) + data
    return struct.pack("!HHHHHH", number, 0x8180, 1, 1, 0, 0) + question[12:] + record


def read_answer(packet: bytes) -> tuple[int, str]:
    """Return the number and the text of an answer; fail for anything else."""
    number, flags, questions, answers, *_ = struct.unpack("!HHHHHH", packet[:12])
    assert (flags, questions, answers) == (0x8180, 1, 1), packet
    end = packet.index(b"\0", 12) + 5
    assert packet[end : end + 2] == b"\xc0\x0c", packet
    length = packet[end + 12]
    return number, packet[end + 13 : end + 13 + length].decode()


Reply = Callable[[bytes], list[bytes]]
"""What a server answers to a datagram."""


class Server:
    """A server of datagrams in a thread: keeps who asked what, and answers as it was told."""

    def __init__(self, reply: Reply | None = None, *, name: str = "s1", host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self._reply = reply or (lambda question: [answer(question, self.name)])
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.text = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.seen: list[tuple[bytes, tuple[str, int]]] = []
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.sock, self._ended], [], [])
            if self._ended in ready:
                return
            data, peer = self.sock.recvfrom(SIZE)
            self.seen.append((data, peer[:2]))
            for each in self._reply(data):
                self.sock.sendto(each, peer)

    @property
    def peers(self) -> set[tuple[str, int]]:
        """Who has asked."""
        return {peer for _, peer in self.seen}

    def wait(self, count: int) -> None:
        """Wait until this many datagrams have come."""
        eventually(lambda: len(self.seen) >= count, f"{count} datagrams at {self.name}; {len(self.seen)} came")

    def close(self) -> None:
        """End it; its port refuses from now on."""
        if self.sock.fileno() < 0:
            return
        self._end.send(b"x")
        self._thread.join(DEADLINE)
        self.sock.close()
        self._end.close()
        self._ended.close()


def echoing(data: bytes) -> list[bytes]:
    """Answer with the same."""
    return [data]


def silent(data: bytes) -> list[bytes]:
    """Answer nothing."""
    return []


def socket_to(address: tuple[str, int], *, source: str = "") -> socket.socket:
    """Return a socket of a client that only hears this address."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.settimeout(DEADLINE)
    if source:
        sock.bind((source, 0))
    sock.connect(address)
    return sock


@contextlib.contextmanager
def client(address: tuple[str, int], *, source: str = "") -> Iterator[Client]:
    """Lend a client that only hears this address."""
    sock = socket_to(address, source=source)
    try:
        yield Client(sock)
    finally:
        sock.close()


class Client:
    """A client with one socket, so one port."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes) -> None:
        """Send a datagram."""
        self.sock.send(data)

    def receive(self) -> bytes:
        """Return the next datagram."""
        return self.sock.recv(SIZE)

    def talk(self, data: bytes) -> bytes:
        """Send and return what comes back."""
        self.send(data)
        return self.receive()

    def ask(self, name: str = "example.net") -> str:
        """Ask the DNS for a name; return the text of the answer."""
        number = random.getrandbits(16)
        got, text = read_answer(self.talk(query(number, name)))
        assert got == number
        return text

    def hears_nothing(self, seconds: float = 0.2) -> None:
        """Fail if something comes within this time."""
        assert not select.select([self.sock], [], [], seconds)[0], self.sock.recv(SIZE)


@dataclass
class Tally:
    """What became of many queries."""

    sent: int = 0
    answered: int = 0
    wrong: int = 0
    by_text: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """Queries that nobody answered."""
        return self.sent - self.answered


def ask_many(
    address: tuple[str, int],
    count: int,
    *,
    sockets: int = 16,
    is_over: Callable[[], bool] = lambda: False,
    tally: Tally | None = None,
) -> Tally:
    """Ask `count` queries from fresh sockets, at most `sockets` at a time; each is waited for, none is sent again."""
    tally = Tally() if tally is None else tally
    waiting: dict[int, tuple[socket.socket, int, float]] = {}
    poll = select.poll()

    def begin() -> None:
        sock = socket_to(address)
        number = random.getrandbits(16)
        sock.send(query(number, f"host-{tally.sent}.example.net"))
        waiting[sock.fileno()] = (sock, number, time.monotonic())
        poll.register(sock, select.POLLIN)
        tally.sent += 1

    def end(descriptor: int) -> None:
        poll.unregister(descriptor)
        waiting.pop(descriptor)[0].close()

    while waiting or (tally.sent < count and not is_over()):
        while len(waiting) < sockets and tally.sent < count and not is_over():
            begin()
        for descriptor, _ in poll.poll(100):
            sock, number, _ = waiting[descriptor]
            got, text = read_answer(sock.recv(SIZE))
            tally.answered += 1
            tally.wrong += got != number
            tally.by_text[text] += 1
            end(descriptor)
        late = time.monotonic() - DEADLINE
        for descriptor in [fd for fd, (_, _, since) in waiting.items() if since < late]:
            end(descriptor)
    return tally


def refused_port(host: str = "127.0.0.1") -> int:
    """Return a port where nobody listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port
