from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from lb import demo

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_servers_are_those_of_the_configuration() -> None:
    configuration = yaml.safe_load((ROOT / "conf/demo.yaml").read_text())
    (bind,) = configuration["frontends"]["web"]["bind"]
    assert bind["address"] == f"{demo.HOST}:{demo.FRONTEND_PORT}"
    servers = configuration["backends"]["app"]["servers"]
    assert {server["name"]: server["address"] for server in servers} == {
        name: f"{demo.HOST}:{port}" for name, port in demo.SERVERS.items()
    }


def talk(request: bytes) -> bytes:
    async def exchange() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await demo.serve("one", reader, writer)

        async with await asyncio.start_server(serve, demo.HOST, 0) as server:
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
