"""Connections that the supervisor makes to servers, many at a time, on one epoll set that its loop watches.

A check of mode tcp is the cheapest that the kernel offers: a non-blocking connect, one event, and a reset instead of a
proper end. With quick acknowledgements off the reset goes out before the handshake is complete, so a server that is well
mostly does not even see the connection. A loop's own connect would take a transport or a watcher for each.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from lb.checks.schedule import Entry, Schedule
from lb.checks.status import Status
from lb.config.part import Check

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
RESET = struct.pack("ii", 1, 0)

# Not the server's fault: something is short here.
OURS = frozenset(
    (
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
    )
)


class Finding(NamedTuple):
    """What a check has found."""

    status: Status
    info: str = ""  # in words, such as `Connection refused`
    code: int = 0  # of layer 7
    duration_ms: int = -1  # -1 = nothing was measured


Done = Callable[[Finding], None]


class Probe:
    """One connection on its way; its end is told once, unless it is cancelled."""

    __slots__ = ("began", "deadline", "done", "probes", "sock")

    def __init__(self, probes: Probes, done: Done) -> None:
        self.probes = probes
        self.done: Done | None = done
        self.began = probes.time()
        self.sock: socket.socket | None = None
        self.deadline: Entry | None = None

    def cancel(self) -> None:
        """End it without telling anybody."""
        self.done = None
        self.probes.release(self)


class Probes:
    """All connections on their way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, schedule: Schedule) -> None:
        self._loop = loop
        self._schedule = schedule
        self._epoll = select.epoll()
        self._waiting: dict[int, Probe] = {}  # by descriptor
        loop.add_reader(self._epoll.fileno(), self._ready)

    def close(self) -> None:
        """End all of them without telling anybody."""
        for probe in list(self._waiting.values()):
            probe.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def time(self) -> float:
        """Return monotonic seconds."""
        return self._schedule.time()

    def connect(self, check: Check, done: Done) -> Probe:
        """Try to connect. `done` may be called before this returns."""
        probe = Probe(self, done)
        family = FAMILIES[check.family]
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            self._finish(probe, Status.SOCKERR, os.strerror(error.errno or 0))
            return probe
        probe.sock = sock
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        answer = sock.connect_ex(check.path if family == socket.AF_UNIX else (check.host, check.port))
        if answer == errno.EINPROGRESS:
            descriptor = sock.fileno()
            self._waiting[descriptor] = probe
            self._epoll.register(descriptor, select.EPOLLOUT)
            probe.deadline = self._schedule.after(check.timeout_ms / 1000, lambda: self._late(probe))
        else:
            self._judge(probe, answer)
        return probe

    def release(self, probe: Probe) -> None:
        """Give back what a probe holds. Again is harmless."""
        if probe.deadline is not None:
            probe.deadline.cancel()
            probe.deadline = None
        if probe.sock is not None:
            # A closed descriptor leaves the epoll set by itself: nobody else holds it.
            self._waiting.pop(probe.sock.fileno(), None)
            probe.sock.close()
            probe.sock = None

    def _ready(self) -> None:
        # All of them before the first is judged: that may open a connection with the number of one that has ended.
        ready = [self._waiting.pop(descriptor, None) for descriptor, _ in self._epoll.poll(0)]
        for probe in ready:
            if probe is not None and probe.sock is not None:
                self._judge(probe, probe.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _late(self, probe: Probe) -> None:
        # Whoever was stopped for a while finds answers that came in time.
        self._ready()
        self._finish(probe, Status.L4TOUT)

    def _judge(self, probe: Probe, error: int) -> None:
        if error == 0:
            self._finish(probe, Status.L4OK)
        else:
            self._finish(probe, Status.SOCKERR if error in OURS else Status.L4CON, os.strerror(error))

    def _finish(self, probe: Probe, status: Status, info: str = "") -> None:
        done, probe.done = probe.done, None
        self.release(probe)
        if done is not None:
            done(Finding(status, info, duration_ms=max(0, round((self.time() - probe.began) * 1000))))
