"""Nanoseconds a balance pick costs: `python -m bench.micro.balance`.

Contended picks are the CPU time of all processes a pick: the price of the shared heap, waiting included.
"""

from __future__ import annotations

import os
import time

from bench.micro.timing import report
from lb._speedups.face.mapping import (
    BALANCE_HASH,
    BALANCE_LEASTCONN,
    BALANCE_RANDOM,
    BALANCE_STATIC_RR,
    OBJECT_BACKEND,
    OBJECT_SERVER,
    TABLE_MAGLEV,
    TABLE_RING,
    TABLE_SLOTS,
    TABLE_SUMS,
    WORKER_STARTING,
    Mapping,
)
from lb._speedups.face.micro_balance import churn, hash_many

CONTENDED_PICKS = 12_000_000

# What is given to Mapping.balance.
ALGORITHMS = {
    "static-rr": {"algorithm": BALANCE_STATIC_RR, "table": TABLE_SLOTS},
    "leastconn": {"algorithm": BALANCE_LEASTCONN},
    "random(2)": {"algorithm": BALANCE_RANDOM, "table": TABLE_SUMS},
    "map-based": {"algorithm": BALANCE_HASH, "table": TABLE_SLOTS},
    "consistent": {"algorithm": BALANCE_HASH, "table": TABLE_RING},
    "consistent, bound 125%": {"algorithm": BALANCE_HASH, "table": TABLE_RING, "bound": 125},
    "maglev": {"algorithm": BALANCE_HASH, "table": TABLE_MAGLEV},
}
FUNCTIONS = {"sdbm": 1, "djb2": 2, "wt6": 3, "crc32": 4, "xxh3": 5}


def contend(mapping: Mapping, at: int, processes: int) -> None:
    """Let so many forked processes pick at once, and print CPU and wall time a pick."""
    each = CONTENDED_PICKS // processes
    begin = time.monotonic_ns()
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            mapping.pick(at, 0, each)
            os._exit(0)
        pids.append(pid)
    cpu = 0.0
    for pid in pids:
        _, _, usage = os.wait4(pid, 0)
        cpu += usage.ru_utime + usage.ru_stime
    wall = time.monotonic_ns() - begin
    picks = each * processes
    name = f"pick, 3 servers, {processes} processes"
    print(f"{name:40} {cpu * 1e9 / picks:10.1f} ns of CPU a pick, {wall / picks:.1f} ns between picks")


def main() -> None:
    mapping = Mapping.create()
    mapping.set_worker(1, state=WORKER_STARTING)
    backend = mapping.register(OBJECT_BACKEND, 0, "app")
    servers = [mapping.register(OBJECT_SERVER, backend, f"s{i}") for i in range(1000)]
    for size in (3, 10, 100, 1000):
        for name, weights in (("equal", [1] * size), ("mixed", [1 + i * 7 % 11 for i in range(size)])):
            at = mapping.balance(servers[:size], weights)
            report(f"pick, {size} servers, {name} weights", lambda n, at=at: mapping.pick(at, 0, n))
    # A pick and the end of an earlier one, with three connections a server open.
    for size in (3, 1000):
        for name, options in ALGORITHMS.items():
            weights = [1 + i * 7 % 11 for i in range(size)]
            identities = [i * 0x9E3779B97F4A7C15 % 2**64 for i in range(size)] if options.get("table") else []
            at = mapping.balance(servers[:size], weights, identities=identities, **options)
            churning = f"{name}, {size} servers, pick and end"
            report(churning, lambda n, at=at, size=size: churn(mapping, at, 1, n, 3 * size))
            mapping.release_balance(at)
    for length in (16, 100):
        for name, number in FUNCTIONS.items():
            key = bytes(i % 251 for i in range(length))
            report(f"{name}, key of {length} bytes", lambda n, key=key, number=number: hash_many(number, key, n))
    at = mapping.balance(servers[:3], [1, 1, 1])
    for processes in (1, 2, 4):
        contend(mapping, at, processes)


if __name__ == "__main__":
    main()
