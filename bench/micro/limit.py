"""Nanoseconds a rate limit costs: `python -m bench.micro.limit`.

All that a request pays: its key found and hashed, the shard locked, the time compared and moved, what answers tell computed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.micro.timing import report
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.micro_limit import Limiter
from lb._speedups.face.plan import build
from lb.config import compile as compile_configuration
from lb.supervisor import tables
from lb.supervisor.generation import number


def limiter(mapping: Mapping, limits: dict[str, Any]) -> Limiter:
    """Return what asks these limits for one request."""
    plan = compile_configuration(
        {
            "version": 1,
            "limits": limits,
            "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app", "limits": list(limits)}},
            "backends": {"app": {"servers": ["127.0.0.1:1"]}},
        }
    )
    numbering = asyncio.run(number(mapping, plan.objects, plan.balances, None))
    places = [each.offset for each in tables.place(mapping, plan.part.tables, 1, 1)]
    made = Limiter(build(1, plan.rows, numbering.oids, [*numbering.offsets, *places]), mapping)
    made.set_request(b"GET / HTTP/1.1\r\nHost: lb.test\r\nX-Key: 0123456789abcdef\r\n\r\n", "192.0.2.1")
    return made


def main() -> None:
    """Print the table."""
    now_ms = time.monotonic_ns() // 1_000_000
    wide: dict[str, Any] = {"rate": "1000000/s", "burst": 10_000_000}
    for name, limits in (
        ("one limit by address, passed", {"a": wide}),
        ("one limit by address, refused", {"a": {"rate": "1/1h"}}),
        ("one limit by a header", {"a": {**wide, "by": "req.hdr(x-key)"}}),
        ("three limits", {"a": wide, "b": wide, "c": {**wide, "by": "req.hdr(x-key)"}}),
    ):
        mapping = Mapping.create()
        lb = limiter(mapping, limits)
        report(name, lambda n, lb=lb: lb.take(now_ms, times=n))  # type: ignore[misc]
        mapping.close()


if __name__ == "__main__":
    main()
