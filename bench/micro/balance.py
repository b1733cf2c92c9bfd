"""Nanoseconds a balance pick costs: `python -m bench.micro.balance`.

Contended picks are the CPU time of all processes a pick: the price of the shared heap, waiting included.
"""

from __future__ import annotations

import os
import time

from bench.micro.timing import report
from lb._speedups.face.mapping import OBJECT_BACKEND, OBJECT_SERVER, WORKER_STARTING, Mapping

CONTENDED_PICKS = 12_000_000


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
    at = mapping.balance(servers[:3], [1, 1, 1])
    for processes in (1, 2, 4):
        contend(mapping, at, processes)


if __name__ == "__main__":
    main()
