"""Rates per second of `show stat` and `show info`: the differences of counters, taken once a second by the supervisor.

Reading a counter adds up the rows of all workers, some microseconds an object. Above LIMIT objects that would be work for
its own sake; the columns are empty then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lb._speedups.face.mapping import Mapping
from lb.config.part import Part
from lb.supervisor.generation import Generation

LIMIT = 1000


@dataclass
class Rate:
    """One counter's way over time."""

    total: int
    now: int = 0  # during the last second
    maximum: int = 0

    def advance(self, total: int, seconds: float) -> None:
        """Note what the counter is now. One that went back has been cleared: so are the rates."""
        if total < self.total:
            self.now = self.maximum = 0
        else:
            self.now = round((total - self.total) / seconds)
            self.maximum = max(self.maximum, self.now)
        self.total = total


COUNTERS = ("conn_total", "sess_total", "req_total")


class Rates:
    """The rates of every frontend, backend and server, by object id, and those of the process."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._by_oid: dict[int, dict[str, Rate]] = {}
        self.connections = Rate(0)  # of all frontends
        self.idle_percent = 100  # of the workers' time
        self._busy_ns: dict[int, int] = {}  # by pid

    def look_at_workers(self, pids: Sequence[int], seconds: float) -> None:
        """Note how much processor time the workers have used."""
        before, self._busy_ns = self._busy_ns, {}
        for pid in pids:
            with contextlib.suppress(OSError):  # it has just ended
                self._busy_ns[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        known = [pid for pid in self._busy_ns if pid in before]
        if known:
            busy_s = sum(self._busy_ns[pid] - before[pid] for pid in known) / 1e9
            self.idle_percent = max(0, min(100, round(100 - 100 * busy_s / seconds / len(known))))

    def advance(self, generation: Generation, seconds: float) -> None:
        """Look at the counters; `seconds` have gone by since the last time."""
        indexes = _indexes(generation.part)
        if len(indexes) > LIMIT:
            self._by_oid = {}
            return
        fronts = {frontend.object for frontend in generation.part.frontends}
        connections = 0
        present = {}
        for index in indexes:
            oid = generation.oid(index)
            counters = self._mapping.counters(oid)
            if index in fronts:
                connections += counters["conn_total"]
            rates = self._by_oid.get(oid)
            if rates is None:
                rates = {name: Rate(counters[name]) for name in COUNTERS}
            else:
                for name, rate in rates.items():
                    rate.advance(counters[name], seconds)
            present[oid] = rates
        self._by_oid = present
        self.connections.advance(connections, seconds)

    def clear(self) -> None:
        """Begin the maxima anew."""
        for rate in (self.connections, *(rate for rates in self._by_oid.values() for rate in rates.values())):
            rate.maximum = rate.now

    def of(self, oid: int) -> dict[str, Rate]:
        """Return the rates of an object by counter; nothing when there are none."""
        return self._by_oid.get(oid, {})


def _indexes(part: Part) -> list[int]:
    found = [frontend.object for frontend in part.frontends]
    for backend in part.backends:
        found.append(backend.object)
        found += [server.object for server in backend.servers]
    return found
