from __future__ import annotations

import asyncio
from pathlib import Path

from lb import demo

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_reads_its_addresses_from_the_configuration() -> None:
    scene = demo.read_scene(ROOT / "conf/demo.yaml")
    assert str(scene.frontend) == "127.0.0.1:8080"
    servers = {name: str(address) for name, address in scene.servers.items()}
    assert servers == {"one": "127.0.0.1:9001", "two": "127.0.0.1:9002", "three": "127.0.0.1:9003"}


def talk(request: bytes) -> bytes:
    async def exchange() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await demo.serve("one", reader, writer)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    return asyncio.run(exchange())


def test_a_demo_server_says_its_name_and_the_request() -> None:
    answer = talk(b"GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nserver one: GET /a HTTP/1.1 from 192.0.2.1\n")


def test_a_demo_server_keeps_the_connection_and_reads_bodies() -> None:
    answer = talk(b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD /b HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert b"POST /a" in answer
    assert answer.endswith(b"Connection: close\r\n\r\n")
