"""What tests of `mode: udp` share: their configuration, and looks at the engine."""

from __future__ import annotations

from kit.datagrams import Server, echoing
from kit.inprocess import InProcess
from kit.settings import Settings
from kit.stage import Stage

DNS: Settings = {"udp": {"responses": 1}}


def serve(stage: Stage, *servers: Server) -> list[Server]:
    for server in servers:
        stage.defer(server.close)
    return list(servers)


def dns(stage: Stage, count: int = 2) -> list[Server]:
    return serve(stage, *(Server(name=f"s{i}") for i in range(1, count + 1)))


def settings(
    servers: list[Server] | list[str], backend: Settings | None = None, frontend: Settings | None = None, **more: object
) -> Settings:
    """Write a frontend `dns` in front of a backend `resolvers`."""
    return {
        "version": 1,
        "global": {"workers": 1, **(more.pop("process", {}))},  # type: ignore[dict-item]
        "frontends": {
            "dns": {"mode": "udp", "bind": ["127.0.0.1:0"], "default_backend": "resolvers", **(frontend or {})}
        },
        "backends": {
            "resolvers": {
                "servers": [
                    {"name": f"s{i}", "address": each if isinstance(each, str) else each.text}
                    for i, each in enumerate(servers, 1)
                ],
                **(backend or {}),
            }
        },
        **more,
    }


def at(stage: Stage) -> tuple[str, int]:
    address = stage.proxy.addresses["dns"][0]
    assert isinstance(address, tuple)
    return address


def counters(stage: Stage, name: str) -> dict[str, int]:
    assert isinstance(stage.proxy, InProcess)
    return stage.proxy.counters(name)


def expire(stage: Stage) -> None:
    """End the sessions that are open by a reload that has another backend: they retire and go."""
    assert isinstance(stage.proxy, InProcess)
    server = Server(echoing)
    stage.defer(server.close)
    other = settings([server])
    other["backends"]["others"] = other["backends"].pop("resolvers")
    other["frontends"]["dns"]["default_backend"] = "others"
    stage.proxy.reload(other)
