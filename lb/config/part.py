"""What the supervisor itself must know of a configuration: the rest of it is in the plan image.

`lb.config.compile(path)` returns a `Compilation`; `lb/supervisor/compiler.py` is its caller (docs/internals.md,
"Compiling").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from lb._speedups.face.mapping import Mapping

ObjectKind = Literal["process", "frontend", "listener", "backend", "server", "limit"]


class Balance(Struct, frozen=True, array_like=True):
    """A balance to be made in the shared mapping; numbers of `lb/_speedups/policy/balance.pxd`."""

    backend: int  # index in Compilation.objects
    servers: tuple[int, ...]  # indexes in Compilation.objects
    weights: tuple[int, ...]  # in the servers' order, as all that follows
    algorithm: int = 1  # BALANCE_*
    table: int = 0  # TABLE_*
    draws: int = 0
    bound: int = 0  # percent, 0 = none
    backups: tuple[bool, ...] = ()  # empty = none is one
    all_backups: bool = False
    identities: tuple[int, ...] = ()  # 64 bits of each name, where servers have places on a ring by name
    by_position: bool = False  # or they have them by position


class TablePart(Struct, frozen=True, array_like=True):
    """A stick table to be made in the shared mapping; numbers of `lb/_speedups/policy/table.pxd`."""

    name: str
    key_type: int  # table_key_type
    key_size: int  # bytes of the longest; 0 = the type says it
    size: int
    expire_ms: int  # 0 = never
    nopurge: bool
    stores: tuple[tuple[int, int, int], ...]  # table_store, cells, ms of the period


class LimitPart(Struct, frozen=True, array_like=True):
    """A rate limit as `show limits` shows it."""

    object: int  # index in Compilation.objects
    name: str
    rate: str  # as configured, as `by` is
    burst: int
    by: str
    mode: str
    table: int  # index in Part.tables
    used_by: tuple[str, ...]  # "frontend 'web'", "route 2 of frontend 'web'", "backend 'app'"


class Admin(Struct, frozen=True):
    """The admin socket."""

    path: str
    mode: int  # permissions
    level: str  # "user", "operator", "admin"


class HttpAdmin(Struct, frozen=True):
    """The HTTP admin."""

    host: str  # numeric
    port: int  # 0 = the kernel's choice
    token: str  # of those who change anything; "" = nobody may


class Log(Struct, frozen=True):
    """A target of the access log or of the error log."""

    # "stdout", "stderr", an absolute path, a syslog server ("udp:127.0.0.1:514", "tcp:[::1]:601", "unix:/dev/log") or
    # "journald:/run/systemd/journal/socket"
    to: str
    syslog: Literal["", "local", "rfc3164", "rfc5424", "journald"] = ""  # header, "" = lines
    priority: int = 0  # syslog, journald: 8 * facility + severity of access records
    tag: str = ""  # syslog, journald: who sends it
    level: int = 7  # error log: the least grave severity that is written


class BindOptions(Struct, frozen=True):
    """Options of a listening socket."""

    interface: str = ""  # "" = any
    is_v6only: bool = True
    fast_open: int = 0  # queue, 0 = off
    defers: bool = False  # accept when bytes are here
    mss: int = 0  # 0 = the kernel's
    user_timeout_ms: int = 0  # 0 = the kernel's


class Bind(Struct, frozen=True):
    """An address to listen on."""

    object: int  # index of the listener in Compilation.objects
    frontend: str  # name of its frontend
    name: str  # as in logs and `show stat`
    text: str  # the address as configured
    family: str  # "ipv4", "ipv6", "unix", "abns", "abnsz", "fd"
    host: str = ""  # numeric, "0.0.0.0" and "::" for any
    port: int = 0  # 0 = the kernel's choice
    path: str = ""  # of a unix socket; name of an abstract one
    fd: int = -1  # inherited descriptor
    fd_name: str = ""  # the same by the name that systemd gives it
    mode: int | None = None  # permissions of a unix socket, None = umask
    backlog: int = 0  # 0 = as many as the kernel allows
    options: BindOptions = BindOptions()
    is_datagram: bool = False  # UDP: nothing is accepted


class Frontend(Struct, frozen=True):
    """A frontend as `show stat` shows it."""

    object: int
    name: str
    mode: str  # "http", "tcp", "udp"
    maxconn: int = 0  # 0 = no limit
    mirrors: tuple[str, ...] = ()  # backends that get copies of its requests


class HttpCheck(Struct, frozen=True, array_like=True):
    """What a check of type http asks, and what it expects."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]  # Host among them
    body: str
    statuses: tuple[tuple[int, int], ...]  # ranges, both ends belong to them
    header: tuple[tuple[str, str], ...] = ()  # lower case; an empty value is any
    string: str = ""  # "" = anything
    regex: str = ""
    is_drained_by_404: bool = False


class Step(Struct, frozen=True, array_like=True):
    """One step of a conversation."""

    kind: str  # "send", "string", "binary", "regex"
    data: bytes


class Check(Struct, frozen=True, array_like=True):
    """How the supervisor checks a server."""

    family: str  # "ipv4", "ipv6", "unix"
    host: str  # numeric
    port: int
    path: str  # of a unix socket
    every_ms: int
    fast_every_ms: int
    down_every_ms: int
    timeout_ms: int
    rise: int
    fall: int
    initial: str = "up"  # "up", "down", "fully-up", "fully-down"
    http: HttpCheck | None = None  # without it and without steps a connection is enough
    steps: tuple[Step, ...] = ()
    is_reserve: bool = False  # nobody asked for it: it runs only while the server is down for what traffic showed


class Observation(Struct, frozen=True, array_like=True):
    """What of a server's traffic counts."""

    limit: int  # connections that failed in a row
    on_error: str  # "fastinter", "fail-check", "sudden-death", "mark-down"


class Server(Struct, frozen=True):
    """A server as `show stat` shows it, and how its health is known."""

    object: int
    name: str
    address: str  # resolved, "10.0.0.1:80"
    weight: int
    is_backup: bool = False
    check: Check | None = None
    observation: Observation | None = None
    send_proxy: int = 0  # version of the PROXY header that connections begin with, 0 = none
    is_disabled: bool = False  # begins in maintenance
    track: int = -1  # `object` of the server whose state it has


class Backend(Struct, frozen=True):
    """A backend as `show stat` shows it."""

    object: int
    name: str
    mode: str
    algorithm: str  # as configured
    servers: tuple[Server, ...] = ()
    all_backups: bool = False


class ReferencePart(Struct, frozen=True, array_like=True):
    """A map or an ACL file, as the supervisor keeps it."""

    name: str  # as written; '' for patterns that stand in the configuration
    number: int  # that `show map` and `show acl` give it
    is_map: bool
    users: str  # what looks things up in it: "map", "acl", "map, acl"
    size: int  # bytes with its first image


class Part(Struct, frozen=True):
    """The supervisor's part of a configuration."""

    workers: int  # `auto` resolved; 0 = in-process
    maxconn: int  # client connections of all workers, 0 = not given
    grace_ms: int  # how long a drain may take
    admin: Admin | None
    logs: tuple[Log, ...]  # of records, by the numbers that the plan has for them
    binds: tuple[Bind, ...]
    frontends: tuple[Frontend, ...]
    backends: tuple[Backend, ...]
    copies: int = 0  # mirrored requests that one worker may have under way
    spread_percent: int = 0  # of an interval: how much sooner or later a check may come
    error_logs: tuple[Log, ...] = ()  # targets of lb's own lines
    tables: tuple[TablePart, ...] = ()  # by their numbers in the plan; those of limits behind the others
    variables: tuple[tuple[int, str], ...] = ()  # id and name of those of the process
    first_values: tuple[tuple[int, bytes, bool], ...] = ()  # id, an image with an expression, whether it is a format
    http: HttpAdmin | None = None
    limits: tuple[LimitPart, ...] = ()
    references: tuple[ReferencePart, ...] = ()  # by theirs


class Compilation(Protocol):
    """One reading of a configuration, complete but for the numbers that the supervisor gives."""

    objects: list[tuple[ObjectKind, int, str]]
    """(kind, index of the parent in this list or -1, name); parents come first. Names: 'lb', 'web', 'web/:8080', 'app',
    'app/s1'."""
    balances: list[Balance]
    """One for each backend."""
    part: Part
    warnings: list[str]

    def image(self, generation: int, oids: list[int], offsets: list[int]) -> int:
        """Return a sealed memfd with the plan; object ids by `objects`, arena offsets by `balances`, then `part.tables`, then
        places in the store by `part.references`."""

    def fill(self, mapping: Mapping, generation: int, places: list[int]) -> None:
        """Write the references to their reserved places in the store. Raise MemoryError."""
