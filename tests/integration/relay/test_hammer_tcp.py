"""Random peers of a TCP relay: bytes, ends and resets in any order, both ways."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from pathlib import Path

import pytest
from kit.deadline import DEADLINE, Late
from kit.hammer import close, pattern, pieces
from kit.hammering import PLANES
from kit.inprocess import InProcess
from kit.settings import relay
from kit.stage import Stage

SIZES = (0, 1, 1000, 16_384, 40_000, 300_000, 1_000_000)
CONNECTIONS = {"tcp": 120, "twisted": 40, "chaos": 40, "scarce": 60}


class Talk:
    """One connection: what each side sends, and how it ends."""

    def __init__(self, token: str, chance: random.Random, most: int) -> None:
        self.token = token
        self.sizes = [min(chance.choice(SIZES), most) for _ in range(2)]
        self.resets = [chance.random() < 0.1 for _ in range(2)]
        self.first = f"{token}\n".encode()
        self.got = [b"", b""]
        self.whole = [False, False]

    def says(self, side: int) -> bytes:
        """Return what a side sends."""
        return (self.first if side == 0 else b"") + pattern(f"{self.token}.{side}", self.sizes[side])

    def wrong(self, is_scarce: bool) -> str:
        """Say what must not have happened."""
        for side in (0, 1):
            sent = self.says(side)
            if not sent.startswith(self.got[1 - side]):
                return f"{self.token}: side {1 - side} got other bytes"
            if self.whole[1 - side] and self.got[1 - side] != sent and not any(self.resets):
                return f"{self.token}: side {1 - side} saw the end after {len(self.got[1 - side])} of {len(sent)} bytes"
        if not (is_scarce or any(self.resets) or all(self.whole)):
            return f"{self.token}: cut for no reason"
        return ""


async def speak(sock: socket.socket, talk: Talk, side: int, chance: random.Random) -> None:
    """Send and read at once, pass the end on, and close."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        text = talk.says(side)
        if talk.resets[side]:
            text = text[: chance.randint(len(talk.first) if side == 0 else 0, len(text))]
        for piece in pieces(text, chance, least=len(text) // 20):
            await loop.sock_sendall(sock, piece)
        if talk.resets[side]:
            raise ConnectionResetError
        sock.shutdown(socket.SHUT_WR)

    async def read() -> None:
        while data := await loop.sock_recv(sock, chance.choice((1000, 65_536))):
            talk.got[side] += data

    async def both() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(send())
                group.create_task(read())
            # Not before: of send() and recv() one is told of a reset, the other of an end.
            talk.whole[side] = True
        except* OSError:
            pass

    try:
        await asyncio.wait_for(both(), DEADLINE)
    except TimeoutError:
        raise Late(f"{talk.token}: side {side} has {len(talk.got[side])} bytes, waits for {talk.sizes}") from None
    finally:
        close(sock, reset=talk.resets[side])


@pytest.mark.parametrize("name", PLANES)
def test_both_ways_carry_what_was_sent_and_how_it_ended(name: str, tmp_path: Path) -> None:
    stage = Stage(PLANES[name](7), tmp_path)
    try:
        asyncio.run(hammer(stage, CONNECTIONS[name], name))
    finally:
        stage.close()


async def hammer(stage: Stage, connections: int, name: str) -> None:
    is_scarce = name == "scarce"
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setblocking(False)
    host, port = listener.getsockname()
    proxy = await asyncio.to_thread(stage.start, relay("tcp", f"{host}:{port}"))
    assert isinstance(proxy, InProcess)
    talks: dict[str, Talk] = {}
    served: list[asyncio.Task[None]] = []
    seen: Counter[str] = Counter()

    async def serve(sock: socket.socket) -> None:
        first = b""
        try:
            while b"\n" not in first:
                if not (data := await loop.sock_recv(sock, 1000)):
                    sock.close()
                    return
                first += data
        except OSError:
            sock.close()
            return
        talk = talks[first.split(b"\n")[0].decode()]
        seen[talk.token] += 1
        talk.got[1] = first
        await speak(sock, talk, 1, random.Random(f"{talk.token} server"))

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            served.append(asyncio.create_task(serve(sock)))

    accepting = asyncio.create_task(accept())
    numbers = iter(range(connections))

    async def work() -> None:
        for number in numbers:
            chance = random.Random(f"tcp {number}")
            talk = talks[f"t{number}"] = Talk(f"t{number}", chance, 1_000_000 if name == "tcp" else 50_000)
            sock = socket.socket()
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, proxy.addresses["web"][0])
            except ConnectionError:
                sock.close()
                continue
            await speak(sock, talk, 0, chance)

    await asyncio.gather(*(work() for _ in range(16)))
    await asyncio.to_thread(proxy.calm)
    accepting.cancel()
    await asyncio.gather(*served)
    listener.close()
    wrong = [text for talk in talks.values() if (text := talk.wrong(is_scarce))]
    assert not wrong, [*wrong[:10], *(line for line in proxy.log_lines() if " -- " not in line)]
    assert max(seen.values()) == 1
    assert sum(all(talk.whole) for talk in talks.values()) > connections // 3
    await asyncio.to_thread(proxy.settle)
    web = proxy.counters("web")
    assert web["sess_total"] == len(proxy.log_lines())
    assert all(proxy.counters(each)["cur"] == 0 for each in proxy.oids)
