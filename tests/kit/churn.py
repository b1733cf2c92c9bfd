"""Clients that come, ask, misbehave and go for as long as they are told, and know what right answers look like."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from kit.client import Client
from kit.message import Ended, Request, Truncated, ask, chunked, reply
from kit.server import Connection, Script
from kit.wire import Address, Reset

LARGE = 300_000


def answer(request: Request) -> bytes:
    """Answer with the digest of the body, and as many bytes as the path says."""
    size = int(request.target.partition("/")[2] or 0)
    body = random.Random(size).randbytes(size)
    fields = [f"X-Digest: {hashlib.sha256(request.body).hexdigest()}"]
    if size % 2:
        head = reply(b"", *fields, "Transfer-Encoding: chunked", length=False)
        return head + chunked(*(body[i : i + 10_000] for i in range(0, size, 10_000)))
    return reply(body, *fields)


def honest(connection: Connection) -> None:
    """Answer every request."""
    while True:
        connection.send(answer(connection.request()))


def moody(seed: int) -> Script:
    """Make a script that answers most requests, and sometimes closes, cuts or resets."""
    rng = random.Random(seed)

    def script(connection: Connection) -> None:
        while True:
            request = connection.request()
            mood = rng.random()
            whole = answer(request)
            if mood < 0.03:
                return
            if mood < 0.06:
                connection.reset()
                return
            if mood < 0.09:
                connection.send(whole[: rng.randrange(len(whole))])
                return
            connection.send(whole)
            if mood < 0.15:
                return

    return script


class Churn:
    """Some threads of clients against one address."""

    def __init__(self, address: Callable[[], Address], *, seed: int, honest: bool, threads: int = 4) -> None:
        self.address = address
        self.outcomes: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._honest = honest
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + i),), daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, seconds: float, meanwhile: Callable[[], None] | None = None) -> None:
        """Go on for this long, calling `meanwhile` over and over, then stop; raise what a client found wrong."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.failures:
            if meanwhile is None:
                self._stop.wait(min(0.2, max(0.0, end - time.monotonic())))
            else:
                meanwhile()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _note(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1

    def _run(self, rng: random.Random) -> None:
        try:
            while not self._stop.is_set():
                self._connection(rng)
        except BaseException as e:
            self.failures.append(e)

    def _connection(self, rng: random.Random) -> None:
        try:
            with Client(self.address()) as client:
                for _ in range(rng.randrange(1, 20)):
                    if self._stop.is_set() or not self._exchange(client, rng):
                        return
        except (Reset, Ended, Truncated, ConnectionRefusedError) as e:
            self._note(type(e).__name__)

    def _exchange(self, client: Client, rng: random.Random) -> bool:
        """Do one exchange; False when this connection is over."""
        if not self._honest and rng.random() < 0.2:
            return self._misbehave(client, rng)
        size = rng.choice([0, 1, 100, 5000, 20_001, rng.randrange(LARGE)])
        body = rng.randbytes(rng.choice([0, 10, 4000, 17_000, rng.randrange(LARGE)])) if rng.random() < 0.5 else None
        # A request that may be sent again when its server dies: the others are allowed to fail then.
        client.send(ask(f"/{size}", method="PUT" if body is not None else "GET", body=body))
        response = client.response()
        self._note(str(response.status))
        if response.status == 200:
            assert response.value("x-digest") == hashlib.sha256(body or b"").hexdigest().encode(), "another's answer"
            assert response.body == random.Random(size).randbytes(size), "a wrong body"
        else:
            assert response.status in (502, 503, 504), response
        return b"close" not in (response.value("connection") or b"")

    def _misbehave(self, client: Client, rng: random.Random) -> bool:
        way = rng.randrange(7)
        if way == 0:
            client.send(ask("/100000"))
            client.reset()
        elif way == 1:
            client.send(ask("/", "Content-Length: 100000", method="PUT") + b"x" * rng.randrange(90_000))
            client.reset()
        elif way == 2:
            client.send(ask("/5")[: rng.randrange(1, 20)])
        elif way == 3:
            client.send(b"nonsense\r\n\r\n")
            assert client.response().status in (400, 505)
        elif way == 4:
            client.send(ask("/100001"))
            client.head()
            client.reset()
        elif way == 5:
            client.send(ask("/10") * 5)
            client.response()
        else:
            client.send(ask("/", "Transfer-Encoding: chunked", method="PUT") + b"5\r\nhelloXX")
            client.wait_end()
        self._note("misbehaved")
        return False
