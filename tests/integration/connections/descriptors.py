"""Sockets of processes, to ask them for their options."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from kit.wire import Address

PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def _copies(pid: int) -> Iterator[socket.socket]:
    """Yield a copy of every socket of a process."""
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            copy = _libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            if copy < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            yield socket.socket(fileno=copy)
    finally:
        os.close(pidfd)


@contextmanager
def sockets_of(remote: Address, pid: int = 0) -> Iterator[list[socket.socket]]:
    """Give copies of a process's sockets (this one's, if none is told) that are connected to this address."""
    with _those(pid or os.getpid(), lambda sock: _peer(sock) == remote) as found:
        yield found


@contextmanager
def listeners_of(pid: int, family: socket.AddressFamily = socket.AF_INET) -> Iterator[list[socket.socket]]:
    """Give copies of a process's listening sockets of this family."""
    accepting = socket.SO_ACCEPTCONN
    with _those(pid, lambda s: s.family == family and s.getsockopt(socket.SOL_SOCKET, accepting)) as found:
        yield found


@contextmanager
def _those(pid: int, holds) -> Iterator[list[socket.socket]]:  # type: ignore[no-untyped-def]
    found: list[socket.socket] = []
    try:
        for sock in list(_copies(pid)):
            if holds(sock):
                found.append(sock)
            else:
                sock.close()
        yield found
    finally:
        for sock in found:
            sock.close()


def _peer(sock: socket.socket) -> Address | None:
    try:
        name = sock.getpeername()
    except OSError:
        return None
    return name if isinstance(name, str | bytes) else name[:2]  # type: ignore[return-value]
