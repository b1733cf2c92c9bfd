"""`python -m lb.demo`: lb on conf/demo.yaml with three small servers behind it, until Ctrl-C.

The servers are asyncio and live in this process, one for each server that the configuration names; lb is a
child. Nothing is written outside a temporary directory. Whatever ends this process ends lb too: Ctrl-C and
SIGTERM by asking, anything else because the kernel tells the child (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lb.config import ConfigError, effective, read
from lb.model.address import Address, parse_bind, parse_server
from lb.model.naming import bind_of, server_of

READY_S = 10.0
STOP_S = 10.0
HEAD_LIMIT = 16 * 1024
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Scene:
    """What the configuration says of addresses."""

    path: Path
    frontend: Address
    servers: dict[str, Address]


def read_scene(path: Path) -> Scene:
    """Read the first address to listen on and every server; raise ConfigError."""
    configuration = effective(read(str(path))[0])
    frontend = next(iter(configuration.frontends.values()))
    servers: dict[str, Address] = {}
    for backend in configuration.backends.values():
        for server in map(server_of, backend.servers):
            servers[str(server.name)] = parse_server(server.address)
    return Scene(path, parse_bind(bind_of(frontend.bind[0]).address), servers)


async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of one connection with the server's name and the request line."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while await answer(name, reader, writer):
            pass
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read one request, write one response; false when the connection must end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    fields = {key.strip().lower(): value.strip() for key, _, value in (field.partition(":") for field in rest)}
    left = int(fields.get("content-length", "0"))
    while left:
        left -= len(await reader.readexactly(min(left, HEAD_LIMIT)))
    # A chunked body is not read: the connection ends after the answer instead.
    keeps_alive = "transfer-encoding" not in fields and fields.get("connection", "").lower() != "close"
    client = fields.get("x-forwarded-for", "?")
    body = f"server {name}: {line} from {client}\n".encode("latin-1")
    reply = (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Server: {name}\r\n"
        f"Connection: {'keep-alive' if keeps_alive else 'close'}\r\n\r\n"
    )
    writer.write(reply.encode("ascii") + (b"" if line.startswith("HEAD ") else body))
    await writer.drain()
    return keeps_alive


async def start_servers(scene: Scene, stack: contextlib.AsyncExitStack) -> None:
    for name, address in scene.servers.items():
        try:
            server = await asyncio.start_server(partial(serve, name), address.host, address.port, limit=HEAD_LIMIT)
        except OSError as error:
            sys.exit(f"lb demo: {address}: {os.strerror(error.errno or 0).lower()}; end what listens there")
        stack.callback(server.close)


def follow_parent() -> Callable[[], None]:
    """Return what the child runs before exec: ask the kernel for SIGTERM when this process is gone."""
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask


async def start_lb(scene: Scene, directory: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "lb", "run", "-f", str(scene.path)),
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "LB_DEMO_DIR": directory},
        preexec_fn=follow_parent(),
        # A group of its own: the terminal's Ctrl-C comes here, and lb is stopped in order.
        process_group=0,
    )


async def answers(address: Address) -> bool:
    """Say whether the frontend answers a request through one of the servers."""
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    try:
        writer.write(f"GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


async def wait_until_ready(scene: Scene, lb: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_S):
        # Nothing tells when another program listens, so it is asked.
        while lb.returncode is None and not await answers(scene.frontend):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def end(lb: asyncio.subprocess.Process) -> int:
    for number in (signal.SIGINT, signal.SIGKILL):
        if lb.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                lb.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lb.wait(), STOP_S)
    return lb.returncode or 0


def welcome(scene: Scene) -> str:
    servers = "\n".join(f"  server {name:<8} http://{address}/" for name, address in scene.servers.items())
    return (
        f"\nlb listens on      http://{scene.frontend}/\n{servers}\n\n"
        "Each request goes to the next server:\n\n"
        f"  curl -s 'http://{scene.frontend}/[1-6]'\n\n"
        "Ctrl-C ends it. The access log follows.\n"
    )


async def demo(scene: Scene) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-demo-"))
        await start_servers(scene, stack)
        lb = await start_lb(scene, directory)
        ended = asyncio.create_task(lb.wait())
        asked = asyncio.create_task(stopped.wait())
        try:
            ready = asyncio.create_task(wait_until_ready(scene, lb))
            await asyncio.wait((ready, asked), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                ready.cancel()
            elif ready.exception():
                print(f"lb demo: lb did not answer within {READY_S:.0f} s", file=sys.stderr)
                return 1
            elif lb.returncode is None:
                print(welcome(scene), flush=True)
            await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
            if not stopped.is_set():
                print(f"lb demo: lb ended by itself with status {lb.returncode}", file=sys.stderr)
                return 1
        finally:
            status = await end(lb)
    print("lb demo: stopped")
    return 1 if status else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lb.demo", description="lb with three small servers behind it")
    parser.add_argument("-f", dest="configuration", type=Path, default=Path("conf/demo.yaml"))
    path: Path = parser.parse_args().configuration
    if not path.is_file():
        sys.exit(f"lb demo: {path}: no such file; start from the top of the source tree or give -f")
    try:
        scene = read_scene(path)
    except ConfigError as error:
        sys.exit("\n".join(map(str, error.errors)))
    sys.exit(asyncio.run(demo(scene)))


if __name__ == "__main__":
    main()
