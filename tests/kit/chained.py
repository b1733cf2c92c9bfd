"""The HTTP tests on the multiplexing codec: two engines in this process, with mux between them.

The outer one has the configuration of the test, but each of its servers is a listener of the inner one, spoken to in
mux; the inner one gives what comes to the real server. So a request crosses the codec on its server side and on its
client side, and clients and servers are those of every other plane.
"""

from __future__ import annotations

import copy
from pathlib import Path

from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.server import address_text
from kit.settings import LOOPBACK, Settings
from kit.wire import Address

MUX: Settings = {"debug": {"codec": "mux"}}


class Chained:
    """An outer and an inner engine."""

    def __init__(self, settings: Settings, directory: Path, *, transport: str = "tcp", chaos: int = 0) -> None:
        outer = copy.deepcopy(settings)
        inner: Settings = {"version": 1, "frontends": {}, "backends": {}}
        if "defaults" in outer:
            inner["defaults"] = copy.deepcopy(outer["defaults"])
        for backend in outer["backends"].values():
            for i, given in enumerate(backend["servers"]):
                server = given if isinstance(given, dict) else {"address": given}
                name = f"hop{len(inner['frontends'])}"
                inner["frontends"][name] = {
                    "mode": "http", "bind": [{"address": LOOPBACK, **MUX}], "default_backend": name,
                }  # fmt: skip
                inner["backends"][name] = {"servers": [{"address": server["address"]}]}
                sent = server.get("send_proxy", backend.get("send_proxy"))
                if sent:
                    inner["frontends"][name]["bind"][0]["accept_proxy"] = ["loopback"]
                    inner["backends"][name]["send_proxy"] = sent
                backend["servers"][i] = {**server, **MUX, "address": name}
        (directory / "inner").mkdir()
        self.inner = InProcess(inner, directory / "inner", transport=transport, chaos=chaos)
        for backend in outer["backends"].values():
            for server in backend["servers"]:
                server["address"] = address_text(self.inner.addresses[server["address"]][0])
        self.outer = InProcess(outer, directory, transport=transport, chaos=chaos)
        self.addresses: dict[str, list[Address]] = self.outer.addresses
        self.log_lines = self.outer.log_lines
        self.counters = self.outer.counters

    def settle(self) -> None:
        """Wait until the outer engine holds nothing but idle connections to the inner one."""
        eventually(
            lambda: not self.outer.live().keys() - {"link", "buffer"},
            "the end of every stream in the outer engine",
        )

    def stop(self) -> None:
        """End both; nothing may be left in the inner one when the outer one has gone."""
        try:
            self.outer.stop()
            self.inner.settle()
        finally:
            self.inner.stop()


class MuxPlane:
    """Runs tests with mux between two engines in this process."""

    is_lb = True

    def __init__(self, name: str = "mux", *, transport: str = "tcp", chaos: int = 0, bulk: int = 1 << 18) -> None:
        self.name = name
        self.bulk = bulk
        self._transport = transport
        self._chaos = chaos

    def start(self, settings: Settings, directory: Path) -> Chained:
        """Start both engines."""
        return Chained(settings, directory, transport=self._transport, chaos=self._chaos)
