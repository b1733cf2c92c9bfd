"""Configurations for tests, as plain dicts: one frontend `web` in front of one backend `app`, and variations."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]
LOOPBACK = "127.0.0.1:0"


def relay(mode: str, *servers: str | Settings, workers: int = 1, frontend: Settings | None = None,
          backend: Settings | None = None, timeouts: Settings | None = None, retries: int | None = None,
          maxconn: int | None = None) -> Settings:  # fmt: skip
    """Write one frontend `web` with one backend `app`; servers are named s1, s2 ... unless they have a name.

    `timeouts` go to `defaults`, `maxconn` to `global`.
    """
    named = [
        {"name": f"s{i}", **(server if isinstance(server, dict) else {"address": server})}
        for i, server in enumerate(servers, 1)
    ]
    defaults: Settings = {}
    if timeouts:
        defaults["timeouts"] = timeouts
    if retries is not None:
        defaults["retries"] = retries
    process: Settings = {"workers": workers}
    if maxconn is not None:
        process["maxconn"] = maxconn
    return {
        "version": 1,
        "global": process,
        "defaults": defaults,
        "frontends": {
            "web": {"mode": mode, "bind": [{"address": LOOPBACK}], "default_backend": "app", **(frontend or {})}
        },
        "backends": {"app": {"servers": named, **(backend or {})}},
    }


def milliseconds(duration: str) -> int:
    """Read a duration such as `200ms` or `5s`."""
    for unit, factor in (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)):
        if duration.endswith(unit):
            return int(duration.removesuffix(unit)) * factor
    raise ValueError(duration)
