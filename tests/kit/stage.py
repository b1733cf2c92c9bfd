"""Everything one test uses: a running balancer, scripted servers, clients. Taken down in order, checked at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kit.client import Client
from kit.deadline import eventually
from kit.log import Record, parse
from kit.plane import Plane, Proxy
from kit.server import BlackHole, Refused, Script, Server, answering
from kit.settings import Settings, relay
from kit.wire import Address

T = TypeVar("T")


def open_descriptors() -> dict[str, str]:
    """List this process's descriptors and what they are."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass  # that of listdir itself
    return found


class Stage:
    """One test's processes and sockets."""

    def __init__(self, plane: Plane, directory: Path) -> None:
        self.plane = plane
        self.directory = directory
        self.servers: list[Server] = []
        self.clients: list[Client] = []
        self._others: list[Callable[[], None]] = []
        self._proxy: Proxy | None = None
        self._descriptors = open_descriptors()

    @property
    def bulk(self) -> int:
        """Bytes of a transfer that is large for this plane."""
        return self.plane.bulk

    @property
    def proxy(self) -> Proxy:
        """The running balancer."""
        assert self._proxy is not None, "nothing was started"
        return self._proxy

    # ---- actors

    def server(self, script: Script | bytes | None = None, **options: Any) -> Server:
        """Start a server: a script, or bytes to answer every request with."""
        if script is None:
            script = answering()
        elif isinstance(script, bytes):
            script = answering(script)
        server = Server(script, **options)
        self.servers.append(server)
        return server

    def refused(self) -> Refused:
        """Take an address that refuses connections."""
        refused = Refused()
        self._others.append(refused.close)
        return refused

    def black_hole(self) -> BlackHole:
        """Take an address where connecting never ends."""
        hole = BlackHole()
        self._others.append(hole.close)
        return hole

    def defer(self, close: Callable[[], None]) -> None:
        """Call this after the clients were closed and before the balancer is asked to be quiet."""
        self._others.append(close)

    def start(self, settings: Settings) -> Proxy:
        """Start the balancer."""
        assert self._proxy is None
        self._proxy = self.plane.start(settings, self.directory)
        return self._proxy

    def http(self, *servers: Server | str | Settings, **options: Any) -> Proxy:
        """Start it with one HTTP frontend `web`; options as in `settings.relay`."""
        return self.start(relay("http", *map(server_setting, servers), **options))

    def tcp(self, *servers: Server | str | Settings, **options: Any) -> Proxy:
        """Start it with one TCP frontend `web`; options as in `settings.relay`."""
        return self.start(relay("tcp", *map(server_setting, servers), **options))

    def address(self, frontend: str = "web") -> Address:
        """Return where a frontend listens."""
        return self.proxy.addresses[frontend][0]

    def url(self, path: str = "/", frontend: str = "web", scheme: str = "http") -> str:
        """Return a URL of a frontend."""
        host, port = self.address(frontend)
        return f"{scheme}://{host}:{port}{path}"

    def client(self, frontend: str = "web", **options: Any) -> Client:
        """Connect a client to a frontend."""
        client = Client(self.address(frontend), **options)
        self.clients.append(client)
        return client

    def records(self, count: int) -> list[Record]:
        """Wait until the access log has this many records; return all of them."""
        eventually(
            lambda: len(self.proxy.log_lines()) >= count,
            f"{count} records in the access log",
        )
        records = [parse(line) for line in self.proxy.log_lines()]
        assert len(records) == count, records
        return records

    def record(self) -> Record:
        """Wait for the first and only record of the access log."""
        return self.records(1)[0]

    # ---- the end

    def close(self) -> None:
        """Take everything down: clients, servers, then the balancer, which must have nothing left by then."""
        steps: list[Callable[[], None]] = [client.close for client in self.clients]
        steps += reversed(self._others)
        steps += [server.close for server in self.servers]
        if self._proxy is not None:
            steps += [self._proxy.settle, self._proxy.stop]
        steps.append(self._check_descriptors)
        failures: list[BaseException] = []
        for step in steps:
            try:
                step()
            except BaseException as e:
                failures.append(e)
        if failures:
            raise failures[0] if len(failures) == 1 else BaseExceptionGroup("while the stage was taken down", failures)

    def _check_descriptors(self) -> None:
        left = {n: what for n, what in open_descriptors().items() if self._descriptors.get(n) != what}
        assert not left, f"descriptors of the test process left open: {left}"


def server_setting(server: Server | str | Settings) -> str | Settings:
    """Write a scripted server as a configuration does."""
    return server.text if isinstance(server, Server) else server


def weighted(server: Server, weight: int, name: str = "") -> Settings:
    """Write a scripted server with a weight."""
    setting: Settings = {"address": server.text, "weight": weight}
    if name:
        setting["name"] = name
    return setting
