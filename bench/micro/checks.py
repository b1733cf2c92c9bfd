"""What checking many servers costs the supervisor: `python -m bench.micro.checks [servers] [seconds]`.

All of them are checked every 2 s, as by default; the servers are 20 listening sockets of another process.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys

import uvloop

from lb._speedups.face.mapping import OBJECT_BACKEND, OBJECT_PROCESS, OBJECT_SERVER, Mapping
from lb.checks.probe import Done, Probe, Probes
from lb.checks.schedule import Schedule
from lb.checks.states import States
from lb.config.part import Backend, Check, Part, Server

LISTENERS = 20
EVERY_MS = 2000


class _Generation:
    """A configuration with so many checked servers."""

    def __init__(self, mapping: Mapping, addresses: list[tuple[str, int]], number: int) -> None:
        process = mapping.register(OBJECT_PROCESS, 0, "lb")
        backend = mapping.register(OBJECT_BACKEND, process, "app")
        self._oids = [process, backend]
        self._oids += [mapping.register(OBJECT_SERVER, backend, f"app/{n}") for n in range(number)]
        mapping.balance(self._oids[2:], [1] * number)
        servers = []
        for n in range(number):
            host, port = addresses[n % len(addresses)]
            check = Check("ipv4", host, port, "", EVERY_MS, EVERY_MS, EVERY_MS, EVERY_MS, 2, 3)
            servers.append(Server(n + 2, str(n), f"{host}:{port}", 1, check=check))
        app = Backend(1, "app", "http", "roundrobin", tuple(servers))
        self.part = Part(1, 0, 0, None, (), (), (), (app,), spread_percent=5)

    def oid(self, index: int) -> int:
        return self._oids[index]


class _Silent:
    def note(self, line: str) -> None: ...
    def warn(self, line: str) -> None: ...
    def error(self, line: str) -> None: ...


async def _measure(addresses: list[tuple[str, int]], number: int, seconds: float) -> tuple[float, int]:
    loop = asyncio.get_running_loop()
    mapping = Mapping.create()
    schedule = Schedule(loop)
    probes = Probes(loop, schedule)
    made = 0

    def begin(check: Check, done: Done) -> Probe:
        nonlocal made
        made += 1
        return probes.begin(check, done)

    states = States(mapping, schedule, _Silent(), begin)
    states.apply(_Generation(mapping, addresses, number))
    await asyncio.sleep(EVERY_MS / 1000)
    made, before = 0, _cpu()
    await asyncio.sleep(seconds)
    used, count = _cpu() - before, made
    down = [state for n in range(number) if (state := states.server(n + 3)) is not None and not state.is_up]
    if down:
        print(f"{len(down)} servers are down, such as {down[0].finding}")
    states.close()
    schedule.close()
    probes.close()
    return used, count


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print what it costs."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(LISTENERS)]
    addresses = [sock.getsockname() for sock in sockets]
    pid = os.fork()
    if pid == 0:
        # Nobody accepts: checks are reset before they get into the queue.
        signal.pause()
    for sock in sockets:
        sock.close()
    try:
        used, made = uvloop.run(_measure(addresses, number, seconds))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(
        f"{number} servers every {EVERY_MS / 1000:g} s: {made / seconds:.0f} checks/s, {100 * used / seconds:.1f} % of a core, "
        f"{1e6 * used / made:.0f} us a check"
    )


if __name__ == "__main__":
    main()
