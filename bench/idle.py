"""Memory of idle connections: the slope of Pss over their number.

The client opens connections, gets one reply on each and leaves them open. Pss
of the proxy's process tree is read at each step, and the slope over the steps
is the cost of one connection, free of what the process costs by itself. Only
user space is counted: the kernel's socket costs the same whoever owns it.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import time

from bench.machine import BenchError, Process, tree_pss

STEPS = (2000, 4000, 6000, 8000, 10000, 12500, 15000)
# Descriptors a proxy needs beside its clients: server connections, logs, epoll.
_SPARE = 1200
_SOURCES = 8  # loopback addresses the client connects from


def fd_limit() -> int:
    """Raise the soft descriptor limit to the hard one; return it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def steps_within(limit: int) -> list[int]:
    """Return the steps that the descriptor limit allows; at least two."""
    allowed = [step for step in STEPS if step + _SPARE <= limit]
    if len(allowed) < 2:
        raise BenchError(
            f"idle: {limit} descriptors allow too few connections; "
            f"`ulimit -n` of at least {STEPS[1] + _SPARE} is needed"
        )
    return allowed


def measure(process: Process, port: int, steps: list[int]) -> list[tuple[int, int]]:
    """Return (connections, bytes of Pss) at each step."""
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    points: list[tuple[int, int]] = []
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        for step in steps:
            while len(opened) < step:
                s = stack.enter_context(socket.socket())
                s.settimeout(10)
                # Bind late: the port is chosen at connect, so that each source
                # address has the whole ephemeral range.
                s.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                s.bind((f"127.0.0.{1 + len(opened) % _SOURCES}", 0))
                s.connect(("127.0.0.1", port))
                s.sendall(request)
                _expect_reply(s, len(opened))
                opened.append(s)
            points.append((step, _settled_pss(process)))
        for number, s in enumerate(opened):
            _expect_open(s, number)
    return points


def _settled_pss(process: Process) -> int:
    """Read Pss until two readings half a second apart agree within a page a thousand."""
    last = tree_pss(process.pid)
    for _ in range(10):
        time.sleep(0.5)
        now = tree_pss(process.pid)
        if abs(now - last) <= last // 1000:
            return now
        last = now
    return last


def _expect_reply(s: socket.socket, number: int) -> None:
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < 64:
        piece = s.recv(4096)
        if not piece:
            raise BenchError(f"idle: connection {number} was closed without a reply")
        got += piece
    if not got.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"idle: connection {number} was answered {got[:40]!r}")


def _expect_open(s: socket.socket, number: int) -> None:
    """A proxy that closes idle connections under pressure would look frugal."""
    s.setblocking(False)
    try:
        left = s.recv(1)
    except BlockingIOError:
        return
    raise BenchError(f"idle: connection {number} was " + ("closed" if not left else "sent stray bytes"))
