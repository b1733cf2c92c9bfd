"""Nanoseconds a touch of a stick table costs: `python -m bench.micro.table`.

A touch is a key hashed, its shard locked, its entry found and brought to the end of the order of age, one count, the lock given
back. Contended touches are the CPU time of all processes a touch, waiting included.
"""

from __future__ import annotations

import os
import time

from bench.micro.timing import report
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import STORE_NAMES, TABLE_INTEGER, count, count_numbers, place_table

GPC0, RATE = STORE_NAMES.index("gpc0"), STORE_NAMES.index("http_req_rate")
TOUCHES = 4_000_000


def contend(mapping: Mapping, at: int, processes: int) -> None:
    """Let so many forked processes touch one key."""
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            count(mapping, at, b"hot!", GPC0, times=TOUCHES)
            os._exit(0)
        pids.append(pid)
    cpu = 0.0
    for pid in pids:
        _, _, usage = os.wait4(pid, 0)
        cpu += usage.ru_utime + usage.ru_stime
    print(f"one key, {processes} processes: {cpu / (processes * TOUCHES) * 1e9:.0f} ns of CPU a touch")


def main() -> None:
    """Print the table."""
    mapping = Mapping.create()
    at, _ = place_table(mapping, b"t", TABLE_INTEGER, 1 << 20, ((GPC0, 1, 0), (RATE, 1, 10_000)))
    now_ms = time.monotonic_ns() // 1_000_000
    for store, name in ((GPC0, "a count"), (RATE, "a rate")):
        report(f"one key, {name}", lambda n, store=store: count(mapping, at, b"hot!", store, times=n))  # type: ignore[misc]
    for keys in (1000, 1_000_000):
        count_numbers(mapping, at, GPC0, 0, keys, 2 * keys, now_ms)
        report(
            f"{keys} keys in turn",
            lambda n, keys=keys: count_numbers(mapping, at, GPC0, 0, keys, n, now_ms),  # type: ignore[misc]
        )
    for processes in (1, 2):
        contend(mapping, at, processes)


if __name__ == "__main__":
    main()
