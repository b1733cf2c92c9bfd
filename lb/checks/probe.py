"""Connections that the supervisor makes to servers, many at a time, on one epoll set that its loop watches.

A check of mode tcp is the cheapest that the kernel offers: a non-blocking connect, one event, and a reset instead of a
proper end. With quick acknowledgements off the reset goes out before the handshake is complete, so a server that is well
mostly does not even see the connection. A loop's own connect would take a transport or a watcher for each.

Other checks are an exchange: bytes out, bytes in, until it says what it has found.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from lb.checks.conversation import Conversation
from lb.checks.finding import Finding
from lb.checks.http import HttpExchange
from lb.checks.schedule import Entry, Schedule
from lb.checks.status import Status
from lb.config.part import Check

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
RESET = struct.pack("ii", 1, 0)

READ = 16 * 1024
RECEIVED_MAX = 1024 * 1024
"""Bytes that a server may send, in all; one that sends more is cut off."""

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


Done = Callable[[Finding], None]


class Exchange(Protocol):
    """What is said on a connection, without I/O."""

    where: str  # what a failure to connect is told with

    def begin(self) -> bytes:
        """Return what is to be sent first; nothing if the server begins."""

    def sent(self) -> Finding | None:
        """Hear that all was sent; return the finding if that was the end."""

    def more(self) -> bytes:
        """Return what is to be sent now, after something was received."""

    def late(self) -> Finding:
        """Return what it means that nothing more came in time."""

    def received(self, data: bytes) -> Finding | None:
        """Take bytes from the server, none at its end; return the finding when there is one."""


def exchange_of(check: Check) -> Exchange | None:
    """Return what a check says on its connection; None if it says nothing."""
    if check.http is not None:
        return HttpExchange(check.http)
    return Conversation(check.steps) if check.steps else None


class Probe:
    """One connection on its way; its end is told once, unless it is cancelled."""

    __slots__ = ("began", "deadline", "done", "exchange", "is_sending", "probes", "received", "sock", "unsent")

    def __init__(self, probes: Probes, exchange: Exchange | None, done: Done) -> None:
        self.probes = probes
        self.exchange = exchange
        self.done: Done | None = done
        self.began = probes.time()
        self.sock: socket.socket | None = None
        self.unsent: bytes | None = None  # None: not connected yet
        self.is_sending = True
        self.received = 0
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

    def begin(self, check: Check, done: Done) -> Probe:
        """Begin what a check asks for. `done` may be called before this returns."""
        probe = Probe(self, exchange_of(check), done)
        family = FAMILIES[check.family]
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            self._finish(probe, Finding(Status.SOCKERR, os.strerror(error.errno or 0), is_ours=True))
            return probe
        probe.sock = sock
        if family != socket.AF_UNIX and probe.exchange is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        answer = sock.connect_ex(check.path if family == socket.AF_UNIX else (check.host, check.port))
        if answer not in (0, errno.EINPROGRESS):
            self._fail(probe, answer)
        elif answer == 0 and probe.exchange is None:
            self._finish(probe, Finding(Status.L4OK))
        else:
            descriptor = sock.fileno()
            self._waiting[descriptor] = probe
            self._epoll.register(descriptor, select.EPOLLOUT)
            probe.deadline = self._schedule.after(check.timeout_ms / 1000, lambda: self._late(probe))
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
        ready = [self._waiting.get(descriptor) for descriptor, _ in self._epoll.poll(0)]
        for probe in ready:
            if probe is not None and probe.sock is not None:
                self._go_on(probe, probe.sock)

    def _late(self, probe: Probe) -> None:
        # Whoever was stopped for a while finds answers that came in time.
        self._ready()
        if probe.sock is None:
            return
        if probe.exchange is not None:
            probe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        where = probe.exchange.where if probe.exchange else ""
        finding = Finding(Status.L4TOUT, where)
        if probe.exchange is not None and probe.unsent is not None and probe.done is not None:
            finding = probe.exchange.late()
        self._finish(probe, finding)
        self.release(probe)

    def _go_on(self, probe: Probe, sock: socket.socket) -> None:
        if probe.unsent is None:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._fail(probe, error)
                return
            if probe.exchange is None:
                self._finish(probe, Finding(Status.L4OK))
                return
            probe.unsent = probe.exchange.begin()
        assert probe.exchange is not None
        try:
            if probe.is_sending:
                if probe.unsent:
                    probe.unsent = probe.unsent[sock.send(probe.unsent) :]
                if not probe.unsent:
                    self._hear(probe, sock)
                return
            data = sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(probe, Finding(Status.SOCKERR, os.strerror(error.errno or 0)))
            self.release(probe)
            return
        probe.received += len(data)
        if probe.done is not None:
            finding = probe.exchange.received(data)
            if finding is not None:
                self._finish(probe, finding)
            elif more := probe.exchange.more():
                probe.unsent, probe.is_sending = more, True
                self._epoll.modify(sock.fileno(), select.EPOLLOUT)
        if not data or probe.received > RECEIVED_MAX:
            if data:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._finish(probe, Finding(Status.L7RSP))
            self.release(probe)

    def _hear(self, probe: Probe, sock: socket.socket) -> None:
        """Listen, now that all is sent."""
        assert probe.exchange is not None
        probe.is_sending = False
        self._epoll.modify(sock.fileno(), select.EPOLLIN)
        finding = probe.exchange.sent()
        if finding is not None:
            self._finish(probe, finding)

    def _fail(self, probe: Probe, error: int) -> None:
        is_ours = error in OURS
        status = Status.SOCKERR if is_ours else Status.L4CON
        where = probe.exchange.where if probe.exchange else ""
        self._finish(probe, Finding(status, os.strerror(error) + where, is_ours=is_ours))

    def _finish(self, probe: Probe, finding: Finding) -> None:
        """Tell what was found. A connection that had an exchange stays until the server closes it, or its time is over: the
        other way round each check would leave a port in TIME_WAIT.
        """
        done, probe.done = probe.done, None
        if probe.unsent is None:
            self.release(probe)
        if done is not None:
            done(finding._replace(duration_ms=max(0, round((self.time() - probe.began) * 1000))))
