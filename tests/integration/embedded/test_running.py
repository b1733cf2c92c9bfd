"""`lb.running`: the real engine in the caller's loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

import lb
from lb.config import ConfigError
from lb.supervisor.sockets import ListenFailed


def configuration(server: str, **changes: object) -> dict[str, object]:
    return {
        "version": 1,
        "global": {"workers": 0, "log": [], **changes},
        "frontends": {"web": {"mode": "tcp", "bind": ["127.0.0.1:0"], "default_backend": "app"}},
        "backends": {"app": {"mode": "tcp", "servers": [{"name": "s1", "address": server}]}},
    }


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
    writer.close()


async def connect(running: lb.embedded.Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = running.addresses["web"][0].rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    async with asyncio.timeout(10):
        return await reader.readline()


Test = Callable[[str], Coroutine[object, object, None]]


def run(test: Test, loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> None:
    """Run a test that needs an echo server's address; no descriptor may be left."""

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            await test(f"{host}:{port}")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.sleep(0))  # libuv keeps two descriptors of its first loop
    before = sorted(os.listdir("/proc/self/fd"))
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    gc.collect()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_it_serves_in_any_loop(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test(server: str) -> None:
        async with lb.running(configuration(server)) as running:
            reader, writer = await connect(running)
            assert await say(reader, writer, b"hello\n") == b"hello\n"
            assert running.pools()["link"]["live"] > 0
        assert all(pool["live"] == 0 for pool in running.pools().values())
        writer.close()

    run(test, loop)


@pytest.mark.smoke
def test_it_counts() -> None:
    async def test(server: str) -> None:
        async with lb.running(configuration(server)) as running:
            reader, writer = await connect(running)
            await say(reader, writer, b"hello\n")
            rows = {row["svname"]: row for row in running.stats()}
            assert rows["FRONTEND"]["stot"] == 1
            assert rows["FRONTEND"]["scur"] == 1
            assert rows["s1"]["lbtot"] == 1
            writer.close()
            await writer.wait_closed()

    run(test)


def test_a_reload_keeps_connections_and_takes_new_servers() -> None:
    async def test(server: str) -> None:
        async with lb.running(configuration("127.0.0.1:9")) as running:
            before = running.addresses
            await running.reload(configuration(server))
            assert running.addresses == before
            reader, writer = await connect(running)
            assert await say(reader, writer, b"one\n") == b"one\n"
            await running.reload(configuration("127.0.0.1:9"))
            assert await say(reader, writer, b"two\n") == b"two\n"
            writer.close()

    run(test)


def test_what_cannot_be_put_in_force_changes_nothing() -> None:
    async def test(server: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            async with lb.running(configuration(server)) as running:
                with pytest.raises(ConfigError):
                    await running.reload({"version": 1})
                taken = configuration(server)
                taken["frontends"]["web"]["bind"].append(f"127.0.0.1:{other.getsockname()[1]}")  # type: ignore[index]
                with pytest.raises(ListenFailed, match="address in use"):
                    await running.reload(taken)
                reader, writer = await connect(running)
                assert await say(reader, writer, b"hello\n") == b"hello\n"
                writer.close()

    run(test)


def test_a_start_that_fails_leaves_nothing() -> None:
    async def test(server: str) -> None:
        with pytest.raises(ConfigError):
            async with lb.running({"version": 1, "nonsense": True}):
                pass
        with pytest.raises(OSError, match="No such file"):
            async with lb.running(configuration(server, log=[{"to": "/nowhere/log"}])):
                pass

    run(test)


def test_a_drain_waits_for_the_last_connection() -> None:
    async def test(server: str) -> None:
        async with lb.running(configuration(server)) as running:
            reader, writer = await connect(running)
            await say(reader, writer, b"hello\n")
            draining = asyncio.create_task(running.drain())
            assert await say(reader, writer, b"still here\n") == b"still here\n"
            assert not draining.done()
            writer.close()
            async with asyncio.timeout(10):
                await draining

    run(test)


def test_it_touches_neither_signals_nor_limits() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)]

    async def test(server: str) -> None:
        async with lb.running(configuration(server)):
            assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)] == handlers

    run(test)


def test_it_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"

    async def test(server: str) -> None:
        file.write_text(
            "version = 1\nglobal.log = []\n"
            '[frontends.web]\nmode = "tcp"\nbind = ["127.0.0.1:0"]\ndefault_backend = "app"\n'
            f'[backends.app]\nmode = "tcp"\nservers = ["{server}"]\n'
        )
        async with lb.running(file) as running:
            reader, writer = await connect(running)
            assert await say(reader, writer, b"hello\n") == b"hello\n"
            await running.reload()
            writer.close()

    run(test)


class Heard(logging.Handler):
    """Waits for a line of the logger `lb`."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.came.set()


def test_servers_are_checked_in_the_callers_loop() -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        host, port = dead.getsockname()

        async def test(server: str) -> None:
            backend = {
                "mode": "tcp",
                "check": {"every": "20ms", "timeout": "5s"},
                "servers": [{"name": "s1", "address": server}, {"name": "s2", "address": f"{host}:{port}"}],
            }
            heard = Heard("Server app/s2 is DOWN, reason: Layer4 connection problem")
            logging.getLogger("lb").addHandler(heard)
            try:
                async with lb.running({**configuration(server), "backends": {"app": backend}}) as running:
                    async with asyncio.timeout(10):
                        await heard.came.wait()
                    status = {row["svname"]: row["status"] for row in running.stats()}
                    assert (status["s1"][:2], status["s2"]) == ("UP", "DOWN")  # type: ignore[index]
                    for _ in range(4):
                        reader, writer = await connect(running)
                        assert await say(reader, writer, b"hello\n") == b"hello\n"
                        writer.close()
            finally:
                logging.getLogger("lb").removeHandler(heard)

        run(test)
