"""Programs that others wrote, on both sides of lb as it is started by users."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re

import pytest
from kit import programs
from kit.deadline import eventually
from kit.message import reply
from kit.stage import Stage
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve


def test_curl_downloads_and_uploads(daemon: Stage) -> None:
    data = random.Random(1).randbytes(3 << 20)
    server = daemon.server(lambda c: [c.send(reply(r.body or data)) for r in iter(c.request, None)])
    daemon.http(server)
    source, target = daemon.directory / "source", daemon.directory / "target"
    source.write_bytes(data)
    programs.run("curl", "-sSf", "-o", str(target), daemon.url("/file"))
    assert target.read_bytes() == data
    programs.run("curl", "-sSf", "-H", "Expect:", "-T", str(source), "-o", str(target), daemon.url("/put"))
    assert target.read_bytes() == data
    chunks = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", f"@{source}"]
    programs.run("curl", "-sSf", *chunks, "-o", str(target), daemon.url())
    assert target.read_bytes() == data
    programs.run("curl", "-sSf", "-H", "Expect: 100-continue", "-T", str(source), "-o", str(target), daemon.url())
    assert target.read_bytes() == data


@pytest.mark.smoke
def test_curl_reuses_its_connection(daemon: Stage) -> None:
    daemon.http(daemon.server())
    text = programs.run("curl", "-sSv", "--stderr", "-", *[daemon.url(f"/{i}") for i in range(5)])
    assert text.count("HTTP/1.1 200 OK") == 5
    assert text.count("Connected to") == 1


def test_curl_speaks_1_0_and_head(daemon: Stage) -> None:
    daemon.http(
        daemon.server(lambda c: [c.send(reply(b"" if r.method == "HEAD" else b"hello")) for r in iter(c.request, None)])
    )
    assert programs.run("curl", "-sSf", "-0", daemon.url()) == "hello"
    assert "200 OK" in programs.run("curl", "-sSfI", daemon.url())


def test_nginx_serves_files(daemon: Stage) -> None:
    address = programs.nginx(daemon)
    files = {}
    for size in (0, 1, 64, 16_384, 1 << 20, 10 << 20):
        data = random.Random(size).randbytes(size)
        (daemon.directory / "www" / str(size)).write_bytes(data)
        files[size] = hashlib.sha256(data).hexdigest()
    daemon.http(address, workers=2)
    client = daemon.client()
    for _ in range(2):
        for size, digest in files.items():
            response = client.get(f"/{size}")
            assert (response.status, hashlib.sha256(response.body).hexdigest()) == (200, digest)
            assert client.get(f"/{size}", method="HEAD").value("content-length") == str(size).encode()
    assert client.get("/10485760", "Range: bytes=5-9").status == 206
    etag = client.get("/64").value("etag").decode()
    assert client.get("/64", f"If-None-Match: {etag}").status == 304
    assert client.get("/none").status == 404


def test_wrk_loads_without_an_error(daemon: Stage) -> None:
    daemon.http(programs.nginx(daemon), workers=2)
    text = programs.run("wrk", "-t1", "-c40", "-d2s", daemon.url("/hello"))
    assert "Socket errors" not in text
    assert "Non-2xx" not in text
    requests = int(re.search(r"(\d+) requests in", text)[1])
    assert requests > 100
    eventually(lambda: len(daemon.proxy.log_lines()) >= requests, "a record of every request")


def test_wrk_with_a_connection_a_request(daemon: Stage) -> None:
    daemon.http(programs.nginx(daemon), workers=2)
    text = programs.run("wrk", "-t1", "-c20", "-d1s", "-H", "Connection: close", daemon.url("/hello"))
    assert "Non-2xx" not in text
    assert not re.search(r"Socket errors: connect [1-9]|, write [1-9]|, timeout [1-9]", text)


def test_websockets_echo_through_the_tunnel(daemon: Stage) -> None:
    big = random.Random(5).randbytes(2 << 20)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk() -> None:
        async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
            host, port = next(iter(server.sockets)).getsockname()
            await asyncio.to_thread(daemon.http, f"{host}:{port}")
            async with connect(daemon.url("/chat", scheme="ws"), max_size=None) as socket:
                for message in ("hello", "", "\u00fc" * 5000, b"\x00\xff", big):
                    await socket.send(message)
                    assert await socket.recv() == message
                await (await socket.ping())

    asyncio.run(talk())
    record = daemon.record()
    assert (record.status, record.state) == (101, "--")


def test_redis_through_tcp(daemon: Stage) -> None:
    address = programs.redis(daemon)
    daemon.tcp(address, workers=2)
    host, port = daemon.address()
    cli = ["redis-cli", "-h", host, "-p", str(port)]
    assert programs.run(*cli, "set", "key", "value").strip() == "OK"
    assert programs.run(*cli, "get", "key").strip() == "value"
    assert programs.run(*cli, "eval", "return string.rep('x', 3000000)", "0").strip() == "x" * 3_000_000


def test_redis_benchmark_through_tcp(daemon: Stage) -> None:
    daemon.tcp(programs.redis(daemon), workers=2)
    host, port = daemon.address()
    text = programs.run(
        "redis-benchmark", "-h", host, "-p", str(port), "-n", "5000", "-c", "20", "-P", "4", "-t", "set,get", "--csv",
        "-d", "1000",
    )  # fmt: skip
    assert '"SET"' in text
    assert '"GET"' in text
    assert "rror" not in text


def test_h2load_speaks_1_1(daemon: Stage) -> None:
    daemon.http(programs.nginx(daemon))
    text = programs.run("h2load", "--h1", "-n", "2000", "-c", "20", "-m", "4", daemon.url("/hello"))
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in text
