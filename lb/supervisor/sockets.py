"""Listening sockets: they belong to the supervisor and outlive workers and generations.

A TCP address has one SO_REUSEPORT socket per worker slot, so that the kernel spreads connections and no worker wakes
for another's; a unix socket or an inherited descriptor is one socket that all workers share, and a name that systemd
gives to several sockets is all of them. A socket keeps its number for life. With fewer workers than sockets the
remaining ones adopt: socket i is served by slot (i mod workers) + 1, so nothing that waits in a queue is lost; the kernel
is told to give these sockets nothing new, or who adopts would get more than its share.

Options of a socket: what it is bound to (the interface, IPv6 alone) makes it another socket; all others are set on the
one that is there, when the generation that says so comes into use.

UDP addresses have a socket per slot too, and the kernel's spreading keeps a client's datagrams with one worker. An inherited
datagram socket is served by one worker only: shared, a client's datagrams would go to whoever is quickest.

A change is made in two steps, like the generation it belongs to: `prepare` binds what is new, `listen` opens it just
before the commit, and then either `commit` closes what is gone or `rollback` what was new.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from lb.config.part import Bind, BindOptions
from lb.model.address import UNIX_PATH_MAX, unix_name
from lb.supervisor.messages import Listening

# Connections the kernel keeps for us; it caps this at net.core.somaxconn.
BACKLOG = 65_535

_numbers = count(1)

# asm-generic/socket.h, linux/bpf_common.h, linux/filter.h: Python's socket module does not have them.
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68
_BPF_LD_W_ABS = 0x20
_BPF_ALU_MOD_K = 0x94
_BPF_RET_A = 0x16
_SKF_AD_RANDOM = 0xFFFFF000 + 56

_WHY = {
    errno.EADDRINUSE: "address in use",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EADDRNOTAVAIL: "no such address on this machine",
    errno.EMFILE: "too few file descriptors",
    errno.ENFILE: "the system has no free file descriptor",
    errno.EAFNOSUPPORT: "the kernel does not support this family of addresses",
    errno.EEXIST: "a file that is not a socket is there",
    errno.EBADF: "lb was started without this descriptor",
    errno.ENOTSOCK: "the descriptor is not a socket",
    errno.EPROTOTYPE: "the descriptor is a socket of another type",
    errno.ENODEV: "no such network interface",
}

# What to do about it, by kind of place. What speaks for itself has none.
_ANYWHERE = {errno.EMFILE: "raise the limit (ulimit -n, LimitNOFILE=)"}
_WAYS_OUT = {
    "address": {
        errno.EADDRINUSE: "'ss -ltnp' shows who listens there",
        errno.EACCES: "low ports (below 1024 on most machines) need root or CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "'ip address' lists those it has",
        errno.ENODEV: "'ip link' lists those it has",
    },
    "datagrams": {
        errno.EADDRINUSE: "'ss -lunp' shows who listens there",
        errno.EACCES: "low ports (below 1024 on most machines) need root or CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "'ip address' lists those it has",
    },
    "path": {
        errno.EADDRINUSE: "'ss -lxp' shows who listens there",
        errno.EEXIST: "remove it or choose another path",
        errno.ENOENT: "make its directory first",
        errno.EACCES: "lb's user must be able to write to its directory",
    },
    "name": {errno.EADDRINUSE: "'ss -lxp' shows who listens there"},
    "file": {
        errno.ENOENT: "make its directory first",
        errno.EACCES: "lb's user must be able to write to it and its directory",
    },
}


def _refusal(bind: Bind, reason: str) -> ListenFailed:
    return ListenFailed(f"frontend '{bind.frontend}': cannot listen on '{bind.text}': {reason}")


def _failure(bind: Bind, error: OSError) -> ListenFailed:
    kind = {"unix": "path", "fd": "descriptor", "abns": "name", "abnsz": "name"}.get(
        bind.family, "datagrams" if bind.is_datagram else "address"
    )
    if error.errno == errno.EPERM and bind.options.interface:
        return _refusal(bind, f"not permitted on interface '{bind.options.interface}'; it needs CAP_NET_RAW")
    return _refusal(bind, why(error, kind))


class ListenFailed(Exception):
    """Raise when an address cannot be listened on; the argument is the whole line."""


def why(error: OSError, kind: str = "") -> str:
    """Return the reason of an error in plain words and, if a kind of place is given, what to do about it."""
    number = error.errno or 0
    reason = _WHY.get(number, os.strerror(number).lower())
    way_out = (_ANYWHERE | _WAYS_OUT.get(kind, {})).get(number)
    return f"{reason}; {way_out}" if kind and way_out else reason


def address_text(sock: socket.socket) -> str:
    """Return the address that a socket is bound to, as a configuration would spell it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX and isinstance(name, bytes):
        is_full = len(name) == UNIX_PATH_MAX + 1
        return f"{'abns' if is_full else 'abnsz'}@{os.fsdecode(name.strip(bytes(1)))}"
    if sock.family == socket.AF_UNIX:
        return f"unix@{os.fsdecode(name)}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


@dataclass
class Numbered:
    """A listening socket."""

    sock: socket.socket
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass
class Address:
    """One configured address and its sockets."""

    bind: Bind
    sockets: list[Numbered]
    text: str  # where it really is: a port 0 is the kernel's choice here
    inode: tuple[int, int] | None = None  # of a unix socket's file

    @property
    def is_given(self) -> bool:
        """Whether there are as many sockets as there are, not one for each slot."""
        return self.bind.family in ("unix", "abns", "abnsz", "fd")

    @property
    def is_tcp(self) -> bool:
        return not self.bind.is_datagram and all(each.sock.family != socket.AF_UNIX for each in self.sockets)

    @property
    def is_shared(self) -> bool:
        """Whether all workers serve each socket."""
        return self.is_given and not self.bind.is_datagram

    def close(self) -> None:
        for numbered in self.sockets:
            numbered.sock.close()
        self.remove_file()

    def remove_file(self) -> None:
        """Remove a unix socket's file, unless someone else has put another one there."""
        if self.inode is None:
            return
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.bind.path)
            if (found.st_dev, found.st_ino) == self.inode:
                os.unlink(self.bind.path)


Key = tuple[object, ...]


def key_of(bind: Bind) -> Key:
    """Return what makes two binds of two generations the same socket."""
    if bind.family == "unix":
        return ("unix", bind.path)
    if bind.family in ("abns", "abnsz"):
        return (bind.family, bind.path)
    if bind.family == "fd":
        return ("fd", bind.fd, bind.fd_name, bind.is_datagram)
    # Where it is bound cannot be changed afterwards.
    transport = "udp" if bind.is_datagram else "tcp"
    place = (transport, bind.family, bind.host, bind.options.interface, bind.options.is_v6only)
    if bind.port == 0:
        # The kernel chose its port: only its name tells it from another one.
        return (*place, 0, bind.frontend, bind.name)
    return (*place, bind.port)


class Sockets:
    """Every address that is listened on, by its key, and the change that is being prepared."""

    def __init__(
        self, inherited: Container[int] | None = None, passed: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        """Take `fd@NUMBER` from these descriptors only (without them, from any), `fd@NAME` from those that were passed."""
        self._inherited = inherited
        self._passed = passed or {}
        self.addresses: dict[Key, Address] = {}
        self._next: dict[Key, Address] = {}
        self._workers = 0
        self._fresh: list[tuple[Address, Numbered]] = []
        self._binds: Sequence[Bind] = ()

    def prepare(self, binds: Sequence[Bind], workers: int) -> None:
        """Bind what these need beyond what is there. Raise ListenFailed: then roll back."""
        self._next = {}
        self._workers = workers
        self._fresh = []
        self._binds = binds
        self._check_descriptors(binds)
        for bind in binds:
            key = key_of(bind)
            address = self.addresses.get(key)
            try:
                if address is None:
                    address = Address(bind, [], "")
                    self._next[key] = address
                    self._open_first(address)
                else:
                    self._next[key] = address
                if not address.is_given:
                    while len(address.sockets) < workers:
                        self._open_sibling(address)
            except OSError as error:
                raise _failure(bind, error) from error

    def _check_descriptors(self, binds: Sequence[Bind]) -> None:
        """Raise ListenFailed for a descriptor that is not there, or that two binds take."""
        taken: dict[int, str] = {}
        for bind in binds:
            if bind.family != "fd":
                continue
            if bind.fd_name and bind.fd_name not in self._passed:
                others = ", ".join(f"'{name}'" for name in self._passed)
                raise _refusal(
                    bind,
                    f"systemd has passed no socket of this name; those that it passed: {others}"
                    if others
                    else "systemd has passed no socket; start the socket unit that has it (FileDescriptorName=)",
                )
            for descriptor in self._descriptors_of(bind):
                if self._inherited is not None and descriptor not in self._inherited:
                    # Under this number may be a socket of our own.
                    raise _failure(bind, OSError(errno.EBADF, os.strerror(errno.EBADF)))
                if descriptor in taken:
                    raise _refusal(bind, f"it is the same socket as '{taken[descriptor]}'; keep one of the two")
                taken[descriptor] = bind.text

    def _descriptors_of(self, bind: Bind) -> Sequence[int]:
        return self._passed[bind.fd_name] if bind.fd_name else [bind.fd]

    def unused(self) -> list[str]:
        """Return the names of passed sockets that nobody listens on."""
        used: set[int] = set()
        for address in self.addresses.values():
            if address.bind.family == "fd":
                used.update(self._descriptors_of(address.bind))
        return [name for name, descriptors in self._passed.items() if not used.issuperset(descriptors)]

    def _open_first(self, address: Address) -> None:
        bind = address.bind
        if bind.family == "unix":
            sock = _bind_unix(bind)
            found = os.stat(bind.path)
            address.inode = (found.st_dev, found.st_ino)
        elif bind.family == "fd":
            for descriptor in self._descriptors_of(bind):
                self._add(address, _adopt(descriptor, bind.is_datagram))
            address.text = ", ".join(address_text(each.sock) for each in address.sockets)
            return
        elif bind.family in ("abns", "abnsz"):
            sock = _bind_abstract(bind)
        else:
            if bind.port != 0 and not self._is_ours(bind):
                # SO_REUSEPORT would let a second instance share the port in silence.
                _ip(bind, bind.port, is_reused=False).close()
            sock = _ip(bind, bind.port, is_reused=True)
        self._add(address, sock)
        address.text = address_text(sock)

    def _is_ours(self, bind: Bind) -> bool:
        """Tell whether we listen on this port already, bound in another way: both are there until the commit."""
        others = (each.bind for each in self.addresses.values() if not each.is_given)
        return any(each.port == bind.port and each.is_datagram == bind.is_datagram for each in others)

    def _open_sibling(self, address: Address) -> None:
        port = address.sockets[0].sock.getsockname()[1]
        self._add(address, _ip(address.bind, port, is_reused=True))

    def _add(self, address: Address, sock: socket.socket) -> None:
        sock.setblocking(False)
        numbered = Numbered(sock)
        address.sockets.append(numbered)
        self._fresh.append((address, numbered))

    def places(self, binds: Sequence[Bind]) -> list[tuple[Bind, str]]:
        """Return where each bind really listens."""
        return [(bind, self.addresses[key_of(bind)].text) for bind in binds]

    def listen(self) -> None:
        """Open the prepared sockets for connections. Raise ListenFailed: then roll back."""
        for address, numbered in self._fresh:
            bind = address.bind
            if bind.is_datagram:
                continue
            if not address.is_tcp and bind.options != BindOptions():
                raise _refusal(bind, "it is a unix socket, and has no TCP options")
            try:
                if bind.family != "fd" or bind.backlog or not _is_listening(numbered.sock):
                    numbered.sock.listen(bind.backlog or BACKLOG)
                if address.is_tcp:
                    _set_options(numbered.sock, bind.options)
            except OSError as error:
                raise _failure(bind, error) from error

    def listening(self, binds: Sequence[Bind], oids: Sequence[int], workers: int, slot: int) -> list[Listening]:
        """Return what this slot listens on with these binds (prepared or present): (object id, socket number)."""
        found: list[Listening] = []
        for bind in binds:
            address = self._next.get(key_of(bind)) or self.addresses[key_of(bind)]
            for index, numbered in enumerate(address.sockets):
                if address.is_shared or index % workers == slot - 1:
                    found.append((oids[bind.object], numbered.number))
        return found

    def descriptors(self, numbers: Sequence[int]) -> list[int]:
        """Return the descriptors of the sockets with these numbers."""
        by_number = {
            numbered.number: numbered.sock.fileno()
            for addresses in (self.addresses, self._next)
            for address in addresses.values()
            for numbered in address.sockets
        }
        return [by_number[number] for number in numbers]

    def commit(self) -> None:
        """Close what the prepared change does not name. Its queues are the workers' to empty: they hold copies.

        What is kept gets the options that it has from now on.
        """
        for key, address in self.addresses.items():
            if key not in self._next:
                address.close()
        for bind in self._binds:
            address = self._next[key_of(bind)]
            if address.bind.options != bind.options and address.is_tcp:
                for numbered in address.sockets:
                    _set_options(numbered.sock, bind.options)
            address.bind = bind
        self.addresses, self._next, self._fresh, self._binds = self._next, {}, [], ()
        for address in self.addresses.values():
            # Who sends datagrams must stay with a worker, so these go by the packet's hash.
            if not address.is_given and not address.bind.is_datagram:
                _steer([each.sock for each in address.sockets], self._workers)

    def rollback(self) -> None:
        """Close what the prepared change has opened."""
        for address, numbered in self._fresh:
            numbered.sock.close()
            address.sockets.remove(numbered)
            if not address.sockets:
                address.remove_file()
        self._next, self._fresh = {}, []

    def close(self) -> None:
        """Close everything."""
        self.rollback()
        for address in self.addresses.values():
            address.close()
        self.addresses = {}


def _ip(bind: Bind, port: int, *, is_reused: bool) -> socket.socket:
    family = socket.AF_INET6 if bind.family == "ipv6" else socket.AF_INET
    sock = socket.socket(family, _type(bind.is_datagram))
    try:
        if not bind.is_datagram:
            # On Linux: share the address with closed connections, never with a listening socket. (With datagram
            # sockets it would be shared.)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_reused:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::]:80 and :80 are two addresses, as in nginx, unless the one is to be both.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bind.options.is_v6only))
        if bind.options.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bind.options.interface.encode())
        sock.bind((bind.host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _steer(group: Sequence[socket.socket], workers: int) -> None:
    """Have the kernel give new connections to the first `workers` sockets of an address only."""
    # The address may have become foreign to us, or the kernel may forbid it: then the spread is uneven, no more.
    with contextlib.suppress(OSError):
        if len(group) <= workers:
            group[0].setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
            return
        # The number of the socket, in the order of listen(): random mod workers. Not the hash of the packet: not every
        # network card gives one.
        steps = ((_BPF_LD_W_ABS, _SKF_AD_RANDOM), (_BPF_ALU_MOD_K, workers), (_BPF_RET_A, 0))
        program = b"".join(struct.pack("=HBBI", code, 0, 0, operand) for code, operand in steps)
        held = ctypes.create_string_buffer(program)
        filter_ = struct.pack("@HP", len(steps), ctypes.addressof(held))
        group[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, filter_)


def _set_options(sock: socket.socket, options: BindOptions) -> None:
    """Set what can be changed on a listening socket; connections accepted from it inherit it."""
    for name, value in (
        (socket.TCP_MAXSEG, options.mss),
        (socket.TCP_USER_TIMEOUT, options.user_timeout_ms),
        # Seconds that the kernel waits for data behind the handshake; it rounds up to its next retransmission.
        (socket.TCP_DEFER_ACCEPT, 1 if options.defers else 0),
        (socket.TCP_FASTOPEN, options.fast_open),
    ):
        # What is not asked for is left alone, unless an older generation asked.
        if value or sock.getsockopt(socket.IPPROTO_TCP, name):
            sock.setsockopt(socket.IPPROTO_TCP, name, value)


def _bind_abstract(bind: Bind) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(unix_name(bind.family, bind.path))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(bind: Bind) -> socket.socket:
    return bind_path(bind.path, bind.mode)


def bind_path(path: str, mode: int | None) -> socket.socket:
    """Return a unix stream socket bound to this path, with these permissions; a stale file there is replaced.

    Raise OSError: EADDRINUSE when someone listens there, EEXIST when it is not a socket.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        if mode is None:
            sock.bind(path)
        else:
            # The umask and not chmod afterwards: between the two anyone could connect.
            before = os.umask(0o777 & ~mode)
            try:
                sock.bind(path)
            finally:
                os.umask(before)
    except OSError as error:
        sock.close()
        if error.errno is None:  # a path longer than sun_path is Python's own error
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)) from error
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue is full: someone listens
            pass
        raise OSError(errno.EADDRINUSE, "in use")


def _is_listening(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _type(is_datagram: bool) -> socket.SocketKind:
    return socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM


def _adopt(descriptor: int, is_datagram: bool) -> socket.socket:
    sock = socket.socket(fileno=os.dup(descriptor))
    if sock.type != _type(is_datagram) or (is_datagram and sock.family == socket.AF_UNIX):
        sock.close()
        raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE))
    return sock
