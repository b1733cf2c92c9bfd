"""What the service manager is told: systemd's notification protocol (sd_notify(3)), without libsystemd.

The protocol is one datagram of `NAME=value` lines to the unix socket that NOTIFY_SOCKET names. Nobody here waits for it:
what the socket does not take now goes out at the next tick, in order. Without the variable nothing is told to anybody.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

from lb.supervisor.journal import Journal

WAITING = 16  # datagrams kept for a service manager that is slow; then the oldest goes


class Notifier:
    """The way to the service manager, or to nobody; its tick belongs to the supervisor's."""

    def __init__(self, journal: Journal, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address`: a path, or `@` and an abstract name; '' is nobody. `watchdog_s`: 0 = no watchdog."""
        self._journal = journal
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._fed = float("-inf")
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._sock: socket.socket | None = None
        if address and address[0] not in "@/":
            self._give_up(f"'{address}' is no unix socket")
        elif address:
            try:
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            except OSError as error:
                self._give_up(os.strerror(error.errno or 0).lower())

    def ready(self, status: str) -> None:
        """Say that lb serves: after the start, and after every reload however it ended."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload begins; the time tells the service manager which request it answers."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self, status: str, within_s: float) -> None:
        """Say that lb ends, and for how long it may take beyond what the unit allows."""
        self._tell("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def status(self, status: str) -> None:
        """Say in words how things are."""
        self._tell(f"STATUS={status}")

    def tick(self, is_well: bool) -> None:
        """Send what waits; feed the watchdog when it is time to and all is well."""
        self._flush()
        # systemd expects it within its time; half of that would do, a quarter forgives one that came late.
        if is_well and self._watchdog_s and time.monotonic() - self._fed >= self._watchdog_s / 4:
            self._fed = time.monotonic()
            self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell nothing more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _tell(self, *lines: str) -> None:
        # A line break would begin another assignment.
        text = "\n".join(" ".join(line.splitlines()) for line in lines)
        self._waiting.append(text.encode())
        self._flush()

    def _flush(self) -> None:
        while self._sock is not None and self._waiting:
            try:
                self._sock.sendto(self._waiting[0], self._address)
            except BlockingIOError:
                return
            except OSError as error:
                self._give_up(os.strerror(error.errno or 0).lower())
                return
            self._waiting.popleft()

    def _give_up(self, reason: str) -> None:
        self.close()
        self._journal.warn(f"NOTIFY_SOCKET: {reason}; the service manager will not know how lb is")


def from_environment(journal: Journal) -> Notifier:
    """Return the notifier that the environment asks for, and take what it says out of it: it is meant for nobody else."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    interval_us = os.environ.pop("WATCHDOG_USEC", "")
    watched = os.environ.pop("WATCHDOG_PID", "")
    is_watched = interval_us.isdecimal() and watched in ("", str(os.getpid()))
    return Notifier(journal, address, int(interval_us) / 1e6 if is_watched else 0.0)


def passed_sockets() -> dict[str, list[int]]:
    """Return the descriptors that systemd has opened for this process, by name (sd_listen_fds_with_names(3)).

    Sockets of one unit share its name. What the environment says about them is taken out of it.
    """
    first = 3  # SD_LISTEN_FDS_START
    pid, number, names = (os.environ.pop(each, "") for each in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not number.isdecimal():
        return {}
    found: dict[str, list[int]] = {}
    given = names.split(":") if names else []
    for index in range(int(number)):
        found.setdefault(given[index] if index < len(given) else "unknown", []).append(first + index)
    return found
