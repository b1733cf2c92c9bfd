"""Long answers of the HTTP admin: in pieces, and never held by who does not read them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from lb.admin import http


async def endless() -> AsyncIterator[str]:
    while True:
        yield "x" * http.PIECE


async def drive(seen: list[int]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        async def counted() -> AsyncIterator[str]:
            async for text in endless():
                seen[0] += len(text)
                yield text

        return await http._stream(request, "text/plain", counted())

    ended = asyncio.Event()

    @web.middleware
    async def watched(request: web.Request, handler: http.Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            ended.set()

    app = web.Application(middlewares=[watched])
    app.add_routes([web.get("/", handler)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await web.SockSite(runner, sock).start()
        reader, writer = await asyncio.open_connection(*sock.getsockname(), limit=4096)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n\r\n")
            # Nothing is read from here on: the far end gives up, and what is left ends without an end.
            await ended.wait()
        writer.close()
        await runner.cleanup()


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE_S", 0.1)
    seen = [0]
    asyncio.run(drive(seen))
    # What sockets and buffers took, and no more.
    assert http.PIECE <= seen[0] < 64 << 20


def test_a_list_is_one_value() -> None:
    async def values(n: int) -> AsyncIterator[object]:
        for number in range(n):
            yield {"n": number}

    async def text(n: int) -> str:
        return "".join([piece async for piece in http._listed(values(n))])

    assert asyncio.run(text(0)) == "[]"
    assert asyncio.run(text(1)) == '[{"n":0}]'
    assert asyncio.run(text(2)) == '[{"n":0},\n{"n":1}]'
