"""From a configuration to what runs: rows of ints and bytes for the plan image, and the supervisor's part.

Nothing here knows how the image is laid out: `lb/_speedups/policy/plan.pxd` does, and `lb/_speedups/face/plan.pyx` writes it from
these rows. Object ids and places in the shared mapping are the supervisor's to give, so rows name objects by index until
`CompiledPlan.image` is told the numbers.
"""

import hashlib
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lb.config.actions.steer import is_format
from lb.config.captures import shared_slots, slots
from lb.config.diagnostic import ConfigError, Diagnostic, Finding, Path
from lb.config.effective import effective
from lb.config.evaluation import first_values, image_of, process_variable
from lb.config.forwarding import ForwardingRow, MonitorRow, forwarding_row, monitor_row
from lb.config.health import check_part, observation_part, tracked_name
from lb.config.limits import LimitCompiler, LimitRow, users_of
from lb.config.loading import read
from lb.config.logs import LogRow, Logs
from lb.config.netset import NetsetRow, netset
from lb.config.part import (
    Admin,
    Backend,
    Balance,
    Bind,
    BindOptions,
    Frontend,
    HttpAdmin,
    LimitPart,
    ObjectKind,
    Part,
    Server,
)
from lb.config.persistence import PersistenceCompiler, PersistenceRow
from lb.config.references import build, reference_parts
from lb.config.routerows import KEYS, KeyRow, MirrorRow, PlaceRow, RedirectRow, ReplyRow, RouteRow, SplitRow, Tables
from lb.config.routing import mirrored_to, ruled_to
from lb.config.rules import RuleCompiler, Sets, check_pages, judges_paths, looks_at_tlvs, names_of
from lb.config.secret import SecretError, read_secret
from lb.config.source import Format, Source
from lb.config.tables import table_parts
from lb.config.userlists import UserRow, userlist_rows
from lb.language.program import ProgramRows
from lb.language.reference import Reference
from lb.language.variable import process_variables
from lb.model import Backend as BackendModel
from lb.model import Balance as BalanceModel
from lb.model import Bind as BindModel
from lb.model import Configuration, Debug, Keepalive
from lb.model import Frontend as FrontendModel
from lb.model import HttpAdmin as HttpAdminModel
from lb.model import Pool as PoolModel
from lb.model import Server as ServerModel
from lb.model.address import Address, Family, parse_bind, parse_server, parse_source, unix_name
from lb.model.backend import HASHED
from lb.model.connection import FAST_OPEN_QUEUE
from lb.model.hashkey import parse_key
from lb.model.naming import accept_proxy_of, balance_of, bind_of, send_proxy_of, server_of
from lb.model.process import WORKERS_MAX
from lb.model.routing import backends_of
from lb.model.units import duration_ms, percent

if TYPE_CHECKING:
    from lb._speedups.face.mapping import Mapping as SharedMapping

# Numbers of plan.pxd.
MODES = {"tcp": 1, "http": 2, "udp": 3}
BALANCES = {"roundrobin": 1, "static-rr": 2, "leastconn": 3, "random": 4} | dict.fromkeys(HASHED, 5)
TABLES = {"static-rr": 1, "random": 4}
TABLE_TYPES = {"map-based": 1, "consistent": 2, "maglev": 3}
HASHES = {"sdbm": 1, "djb2": 2, "wt6": 3, "crc32": 4, "xxh3": 5}
KEY_AVALANCHE = 1 << 0
KEY_WHOLE = 1 << 1
KEY_PATH_ONLY = 1 << 2
KEY_DOMAIN_ONLY = 1 << 3
FRONTEND_FORWARDING = 1 << 0
FRONTEND_LOG = 1 << 1
FRONTEND_KEEPALIVE = 1 << 2
FRONTEND_MARKS_RESPONSE = 1 << 8
FRONTEND_MONITOR = 1 << 9
FRONTEND_NO_DOTS = 1 << 10
CONNECTIONS = {"keep-alive": 0, "server-close": 1, "close": 2}
REUSES = {"safe": 0, "aggressive": 1, "always": 2, "never": 3}
SOCKET_TUNED = 1 << 0
SOCKET_KEEPALIVE = 1 << 1
SOCKET_FAST_OPEN = 1 << 2
UNLIMITED = 0xFFFFFFFF
_IP = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}
LISTENER_OTHERS = 1 << 0
LISTENER_KEEP_TLVS = 1 << 1
SEND_PROXY_VERSIONS = {"v1": 1, "v2": 2}
SEND_PROXY_VERSION = 3
SEND_PROXY_FLAGS = {"crc32c": 1 << 2, "unique_id": 1 << 3, "authority": 1 << 4, "tlvs": 1 << 5}
BACKEND_UDP_PROXY = 1 << 0
BACKEND_UDP_PROXY_FIRST = 1 << 1
LINK_TWISTED = 1 << 0
LINK_MUX = 1 << 1
LINK_PARK = 1 << 2


class ListenerRow(NamedTuple):
    """One plan_listener_t."""

    object: int
    frontend: int
    flags: int
    name: bytes
    proxies: NetsetRow = NetsetRow()
    proxy_max: int = 0
    proxy_ms: int = 0
    proxy_flags: int = 0


class FrontendRow(NamedTuple):
    """One plan_frontend_t and its routes."""

    object: int
    name: bytes
    mode: int
    flags: int
    maxconn: int
    default_route: int  # index of a RouteRow, -1 = none
    client_ms: int
    http_request_ms: int
    http_keep_alive_ms: int
    tunnel_ms: int
    keepalive: tuple[int, int, int]  # idle s, interval s, count; 0 = the kernel's
    places: list[PlaceRow]
    methods: list[bytes] = []  # beyond those of HTTP, in the order of their bits
    client_fin_ms: int = 0
    forwarding: ForwardingRow | None = None
    monitor: MonitorRow | None = None
    max_requests: int = UNLIMITED
    http_connection: int = 0
    close_both: int = 0
    log_flags: int = 0
    logs: tuple[int, int] = (0, 0)  # index of its first LogRow, their number
    mirror: int = 0  # of what a rule sends to a backend: place among the mirrors + 1, 0 = none
    rules: Sets = Sets()
    limits: tuple[int, ...] = ()  # numbers of rate limits
    captures: tuple[int, int] = (0, 0)  # rulesets too


class BackendRow(NamedTuple):
    """One plan_backend_t; its balance is the one of the same index."""

    object: int
    name: bytes
    mode: int
    balance: int
    retries: int
    flags: int
    servers_at: int
    servers: int
    connect_ms: int
    server_ms: int
    tunnel_ms: int
    queue_ms: int
    key: KeyRow = KeyRow()
    server_fin_ms: int = 0
    reuse: int = 0
    http_connection: int = 0
    udp_responses: int = -1  # -1 = not known
    udp_requests: int = 0
    rules: Sets = Sets()
    limits: tuple[int, ...] = ()
    persistence: PersistenceRow | None = None


class ServerRow(NamedTuple):
    """One plan_server_t."""

    object: int
    name: bytes
    backend: int
    weight: int
    flags: int
    family: int
    address: bytes  # a sockaddr
    socket: int = 0  # index
    link_hash: int = 0  # 64 bits of all that makes a connection to it what it is
    pool: tuple[int, int, int, int] = (UNLIMITED, 60_000, 0, 0)  # most idle, idle ms, most requests, most ms of age
    send_proxy: int = 0
    cookie: bytes = b""


class SocketRow(NamedTuple):
    """One plan_socket_t."""

    flags: int = 0
    user_timeout_ms: int = 0
    mss: int = 0
    keepalive: tuple[int, int, int] = (0, 0, 0)
    interface: bytes = b""
    family: int = 0  # of the source address
    source: bytes = b""  # a sockaddr
    ports: tuple[int, int] = (0, 0)


class Rows(NamedTuple):
    """Everything that the image holds, but for the numbers that the supervisor gives."""

    maxconn: int
    grace_ms: int
    listeners: list[ListenerRow]
    frontends: list[FrontendRow]
    backends: list[BackendRow]
    servers: list[ServerRow]
    logs: list[LogRow]
    mirrors: list[MirrorRow] = []
    routes: list[RouteRow] = []
    splits: list[SplitRow] = []
    redirects: list[RedirectRow] = []
    replies: list[ReplyRow] = []
    sockets: list[SocketRow] = []
    workers: int = 1
    max_idle: int = UNLIMITED
    program: ProgramRows | None = None
    tables: int = 0
    limits: list[LimitRow] = []
    userlists: list[list[UserRow]] = []
    references: int = 0


@dataclass(slots=True)
class CompiledPlan:
    """One configuration, compiled: see `lb.config.part.Compilation`."""

    objects: list[tuple[ObjectKind, int, str]]
    balances: list[Balance]
    part: Part
    rows: Rows
    warnings: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)

    def image(self, generation: int, oids: list[int], offsets: list[int]) -> int:
        """Return a sealed memfd with the plan; object ids by `objects`, arena offsets by `balances`. Raise OSError."""
        # The only compiled code that configuration needs, and `lb check` does not.
        from lb._speedups.face.plan import write

        return write(generation, self.rows, oids, offsets)

    def fill(self, mapping: "SharedMapping", generation: int, places: list[int]) -> None:
        """Write the references to their reserved places in the store. Raise MemoryError."""
        for each, place in zip(self.references, places, strict=True):
            build(each, mapping, generation, place)


def compile(given: str | PathLike[str] | Mapping[str, object] | Configuration) -> CompiledPlan:  # noqa: A001
    """Compile a file, a mapping or a configuration that was loaded; raise ConfigError with every error."""
    source: Source | None = None
    if isinstance(given, Configuration):
        configuration = given
    else:
        configuration, source = read(given)
    folder = os.path.dirname(source.file) if source is not None and source.format is not Format.MAPPING else ""
    compiler = _Compiler(effective(configuration), folder, source)
    if compiler.findings:
        if source is not None:
            raise source.error(compiler.findings)
        raise ConfigError(
            [Diagnostic("configuration", 0, each.subject, each.message, each.hint) for each in compiler.findings]
        )
    return compiler.plan(source)


def sockaddr(address: Address) -> tuple[int, bytes]:
    """Return the family and the bytes of the kernel's sockaddr of a numeric or unix address."""
    if address.family is Family.IPV4:
        return socket.AF_INET, struct.pack("=H", socket.AF_INET) + struct.pack(
            "!H4s8x", address.port, socket.inet_aton(address.host)
        )
    if address.family is Family.IPV6:
        inside = struct.pack("!HI16sI", address.port, 0, socket.inet_pton(socket.AF_INET6, address.host), 0)
        return socket.AF_INET6, struct.pack("=H", socket.AF_INET6) + inside
    return socket.AF_UNIX, struct.pack("=H", socket.AF_UNIX) + unix_name(address.family, address.path)


def resolve(hosts: Iterable[str]) -> dict[str, Address | str]:
    """Return the first address of each host name, port 0, or why there is none. Names are asked for at the same time."""
    names = sorted(set(hosts))
    if len(names) < 2:
        return {name: _resolve_one(name) for name in names}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(names), 16)) as pool:
        return dict(zip(names, pool.map(_resolve_one, names), strict=True))


def _resolve_one(name: str) -> Address | str:
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror as error:
        return (error.strerror or str(error)).lower()
    except UnicodeError:
        return "not a host name"
    for family, _, _, _, address in found:
        if family == socket.AF_INET:
            return Address(Family.IPV4, str(address[0]))
        if family == socket.AF_INET6:
            return Address(Family.IPV6, str(address[0]).partition("%")[0])
    return "it has no IPv4 or IPv6 address"


def _lines(source: Source | None) -> Callable[[Path], int]:
    """Return what says in which line a rule stands. The file is read again for that: only if somebody may ask for it."""
    if source is None or "last_rule_line" not in source.text:
        return lambda _: 0
    return lambda path: source.line_of(Finding(path, "", ""))


class _Compiler:
    """One configuration on its way to rows."""

    def __init__(self, configuration: Configuration, folder: str, source: Source | None) -> None:
        self.configuration = configuration
        self.objects: list[tuple[ObjectKind, int, str]] = [("process", -1, "lb")]
        self.balances: list[Balance] = []
        self.findings: list[Finding] = []
        self.backend_index = {name: index for index, name in enumerate(configuration.backends)}
        self.listeners: list[ListenerRow] = []
        self.servers: list[ServerRow] = []
        self.sockets: dict[SocketRow, int] = {}
        self.binds: list[Bind] = []
        self.nfrontends = 0
        file = source.file if source is not None else ""
        names = names_of(configuration, folder, file)
        self.limits = LimitCompiler(configuration, names, self.findings.append)
        self.tables = Tables(self.backend_index, folder, self.limits.list_of)
        self.passes_tlvs = any(
            _send_proxy(server_of(each)) & (SEND_PROXY_FLAGS["authority"] | SEND_PROXY_FLAGS["tlvs"])
            for backend in configuration.backends.values()
            for each in backend.servers
        )
        self.rules = RuleCompiler(names, self.findings.append, configuration.http_errors, _lines(source))
        check_pages(self.rules, configuration)
        self.userlists = userlist_rows(configuration.userlists, folder, self.findings.append)
        self.shared_slots = shared_slots(configuration)
        self.logs = Logs(configuration, names, self.rules.program.expression)
        self.persistence = PersistenceCompiler(configuration.tables, self.rules.program, self.findings.append)
        self.judges_paths = any(map(judges_paths, configuration.backends.values()))
        self.addresses = self._addresses()
        self.frontends = [self._frontend(name, each) for name, each in configuration.frontends.items()]
        self.backends = [self._backend(name, each) for name, each in configuration.backends.items()]
        if looks_at_tlvs(self.rules.program.rows.ops):
            self.listeners = [
                row._replace(proxy_flags=row.proxy_flags | LISTENER_KEEP_TLVS) if row.proxy_max else row
                for row in self.listeners
            ]
        self.rules.names.files.finish()
        self.findings += self.tables.findings
        self.http = self._http(configuration.global_.http, folder)

    def _first_values(self) -> tuple[tuple[int, bytes, bool], ...]:
        known = self.rules.names.variables
        return tuple(
            (process_variable(name, known), image_of(text, known, is_format=is_format), is_format)
            for keyword, name, text in first_values(self.configuration.global_)
            for is_format in (keyword == "set_var_fmt",)
        )

    def plan(self, source: Source | None) -> CompiledPlan:
        """Put the parts together."""
        process = self.configuration.global_
        maxconn = _or(process.maxconn, 0)
        grace_ms = duration_ms(process.grace)
        tables = table_parts(self.configuration.tables, self.findings.append)
        objects = [self._object("limit", 0, each) for each in self.configuration.limits]
        limits = self.limits.rows(self.rules.program, objects, len(tables))
        part = Part(
            workers=_usable_cores() if process.workers == "auto" else int(process.workers),
            maxconn=maxconn,
            grace_ms=grace_ms,
            admin=None
            if process.admin is UNSET
            else Admin(
                path=parse_bind(process.admin.path).path, mode=int(process.admin.mode, 8), level=process.admin.level
            ),
            logs=tuple(self.logs.targets),
            error_logs=self.logs.errors,
            binds=tuple(self.binds),
            frontends=tuple(each[1] for each in self.frontends),
            backends=self._tracking(),
            copies=self._copies(),
            spread_percent=process.spread_checks,
            first_values=self._first_values(),
            variables=process_variables(self.rules.names.variables),
            http=self.http,
            tables=tables + self.limits.tables(),
            limits=self._limits(limits),
            references=reference_parts(self.rules.names.files),
        )
        references = self.rules.names.files.found
        rows = Rows(
            maxconn,
            grace_ms,
            self.listeners,
            [each[0] for each in self.frontends],
            [each[0] for each in self.backends],
            self.servers,
            self.logs.rows,
            list(self.tables.mirrors),
            self.tables.routes,
            self.tables.splits,
            self.tables.redirects,
            self.tables.replies,
            list(self.sockets),
            part.workers,
            _or(process.max_idle, UNLIMITED),
            self.rules.program.rows if self._has_program(limits) else None,
            len(part.tables),
            limits,
            userlists=self.userlists,
            references=len(part.references),
        )
        return CompiledPlan(self.objects, self.balances, part, rows, self._warnings(source), references)

    def _tracking(self) -> tuple[Backend, ...]:
        """Return the backends, their servers with whom they track."""
        shown = [each[1] for each in self.backends]
        objects = {f"{backend.name}/{server.name}": server.object for backend in shown for server in backend.servers}
        tracks = {
            f"{name}/{server.name}": tracked_name(name, server)
            for name, backend in self.configuration.backends.items()
            for server in map(server_of, backend.servers)
            if server.track is not UNSET
        }
        if not tracks:
            return tuple(shown)

        def tracking(backend: Backend, server: Server) -> Server:
            tracked = tracks.get(f"{backend.name}/{server.name}")
            return server if tracked is None else replace(server, track=objects[tracked])

        return tuple(replace(each, servers=tuple(tracking(each, server) for server in each.servers)) for each in shown)

    def _http(self, http: HttpAdminModel | UnsetType, folder: str) -> HttpAdmin | None:
        if http is UNSET:
            return None
        address = parse_bind(http.address)
        token = ""
        try:
            if http.token is not UNSET:
                token = read_secret(http.token, folder)
        except SecretError as error:
            self.findings.append(Finding(("global", "http", "token"), "global", f"http.token {error}"))
        return HttpAdmin(address.host, address.port, token)

    def _has_program(self, limits: list[LimitRow]) -> bool:
        is_asked = any(row.persistence is not None for row, _ in self.backends)
        rows = self.rules.program.rows
        return bool(rows.rulesets or rows.exprs or limits or is_asked)

    def _limits(self, rows: list[LimitRow]) -> tuple[LimitPart, ...]:
        return tuple(
            LimitPart(
                row.object,
                name,
                given.rate,
                row.burst,
                given.by,
                given.mode,
                row.table,
                users_of(self.configuration, name),
            )
            for row, (name, given) in zip(rows, self.configuration.limits.items(), strict=True)
        )

    def _object(self, kind: ObjectKind, parent: int, name: str) -> int:
        self.objects.append((kind, parent, name))
        return len(self.objects) - 1

    def _frontend(self, name: str, frontend: FrontendModel) -> tuple[FrontendRow, Frontend]:
        number = self._object("frontend", 0, name)
        index = self.nfrontends
        self.nfrontends += 1
        for given in frontend.bind:
            bind = bind_of(given)
            address = parse_bind(bind.address)
            assert bind.name is not UNSET
            listener = self._object("listener", number, f"{name}/{bind.name}")
            self.listeners.append(self._listener(listener, index, bind, frontend))
            self.binds.append(
                Bind(
                    object=listener,
                    frontend=name,
                    name=bind.name,
                    text=bind.address,
                    family=address.family.value,
                    host=address.host,
                    port=address.port,
                    path=address.path,
                    fd=address.fd,
                    fd_name=address.name,
                    mode=None if bind.mode is UNSET else int(bind.mode, 8),
                    backlog=_or(bind.backlog, 0),
                    options=_options(bind),
                    is_datagram=frontend.mode == "udp",
                )
            )
        forwarding = forwarding_row(frontend) if frontend.mode == "http" else None
        monitor = None if frontend.monitor is UNSET else monitor_row(frontend.monitor, self.backend_index)
        flags = FRONTEND_FORWARDING if forwarding is not None else 0
        flags |= FRONTEND_MARKS_RESPONSE if forwarding is not None and forwarding.marks_response else 0
        flags |= FRONTEND_MONITOR if monitor is not None else 0
        logs = self.logs.frontend(frontend)
        flags |= FRONTEND_LOG if logs.rows else 0
        flags |= FRONTEND_KEEPALIVE if frontend.tcp_keepalive is not False else 0
        maxconn = _or(frontend.maxconn, 0)
        timeouts = frontend.timeouts
        places, methods, default = self.tables.frontend(name, frontend)
        compares = (
            any(each.is_exact or each.path != b"/" for each in places) or self.judges_paths or judges_paths(frontend)
        )
        if frontend.dot_segments == "refuse" and compares:
            flags |= FRONTEND_NO_DOTS
        row = FrontendRow(
            number,
            name.encode(),
            MODES[frontend.mode],
            flags,
            maxconn,
            default,
            _ms(timeouts.client),
            _ms(timeouts.http_request),
            _ms(timeouts.http_keep_alive),
            _ms(timeouts.tunnel),
            _keepalive(frontend.tcp_keepalive),
            places,
            methods,
            _ms(timeouts.client_fin),
            forwarding,
            monitor,
            1 if frontend.http_connection == "close" else _or(frontend.max_requests, UNLIMITED),
            0 if frontend.http_connection is UNSET else CONNECTIONS[frontend.http_connection],
            int(not frontend.half_close),
            log_flags=logs.flags,
            logs=(logs.at, logs.rows),
            mirror=self.tables.mirror(frontend),
            rules=self.rules.compile(
                ("frontends", name),
                f"frontend '{name}'",
                frontend,
                mode=frontend.mode,
                tarpit_ms=_ms(frontend.timeouts.tarpit),
                slots=slots(frontend),
            )._replace(inspect_ms=_ms(frontend.inspect_delay)),
            limits=self.limits.list_of(frontend.limits),
            captures=self.rules.captures(frontend),
        )
        return row, Frontend(
            object=number, name=name, mode=frontend.mode, maxconn=maxconn, mirrors=mirrored_to(frontend)
        )

    def _listener(self, number: int, frontend: int, bind: BindModel, model: FrontendModel) -> ListenerRow:
        assert bind.name is not UNSET
        row = ListenerRow(number, frontend, _link(bind.debug), bind.name.encode())
        if bind.accept_proxy is UNSET:
            expects = any(rule.expect_proxy is not UNSET for rule in model.connection_rules)
            return row._replace(proxy_flags=LISTENER_KEEP_TLVS) if expects and self.passes_tlvs else row
        proxies = accept_proxy_of(bind.accept_proxy)
        flags = LISTENER_OTHERS if proxies.others == "plain" else 0
        return row._replace(
            proxies=netset(proxies.from_),
            proxy_max=proxies.max_header,
            proxy_ms=duration_ms(proxies.timeout),
            proxy_flags=flags | (LISTENER_KEEP_TLVS if self.passes_tlvs else 0),
        )

    def _copies(self) -> int:
        """Return how many copies of requests one worker may have under way."""
        most: dict[int, int] = {}
        for row in self.tables.mirrors:
            most[row.backend] = max(row.max_copies, most.get(row.backend, 0))
        return sum(most.values())

    def _backend(self, name: str, backend: BackendModel) -> tuple[BackendRow, Backend]:
        number = self._object("backend", 0, name)
        first = len(self.servers)
        shown: list[Server] = []
        assert backend.mode is not UNSET
        for index, given in enumerate(backend.servers):
            shown.append(self._server(number, name, index, server_of(given), backend))
        timeouts = backend.timeouts
        balance = balance_of(backend.balance)
        algorithm = balance.algorithm
        self.balances.append(_balance(number, backend, balance, shown))
        row = BackendRow(
            number,
            name.encode(),
            MODES[backend.mode],
            BALANCES[algorithm],
            _or(backend.retries, 0),
            _udp_flags(backend),
            first,
            len(shown),
            _ms(timeouts.connect),
            _ms(timeouts.server),
            _ms(timeouts.tunnel),
            0,
            _key(balance),
            _ms(timeouts.server_fin),
            0 if backend.http_reuse is UNSET else REUSES[backend.http_reuse],
            0 if backend.http_connection is UNSET else CONNECTIONS[backend.http_connection],
            _or(backend.udp.responses, -1),
            _or(backend.udp.requests, 0),
            self.rules.compile(
                ("backends", name),
                f"backend '{name}'",
                backend,
                mode=backend.mode,
                tarpit_ms=_ms(backend.timeouts.tarpit),
                slots=self.shared_slots,
            )._replace(inspect_ms=_ms(backend.inspect_delay), answer_inspect_ms=_ms(backend.response_inspect_delay)),
            self.limits.list_of(backend.limits),
            self.persistence.compile(name, backend, *self.rules.scope) if backend.mode == "http" else None,
        )
        return row, Backend(
            object=number,
            name=name,
            mode=backend.mode,
            algorithm=algorithm,
            servers=tuple(shown),
            all_backups=backend.allbackups,
        )

    def _server(self, parent: int, backend: str, index: int, server: ServerModel, owner: BackendModel) -> Server:
        assert server.name is not UNSET
        number = self._object("server", parent, f"{backend}/{server.name}")
        address = parse_server(server.address)
        if address.family is Family.NAME:
            found = self.addresses[address.host]
            if isinstance(found, str):
                path = ("backends", backend, "servers", index, "address")
                message = f"host name '{address.host}' cannot be resolved: {found}"
                self.findings.append(
                    Finding(
                        path, f"server '{backend}/{server.name}'", message, "write an address, or mend the name service"
                    )
                )
                return Server(
                    object=number,
                    name=server.name,
                    address=server.address,
                    weight=server.weight,
                    is_backup=server.backup,
                )
            address = found._replace(port=address.port)
        family, raw = sockaddr(address)
        options = self._socket(backend, index, server, address)
        flags = _link(server.debug)
        self.servers.append(
            ServerRow(
                number,
                server.name.encode(),
                self.backend_index[backend],
                server.weight,
                flags,
                family,
                raw,
                self.sockets.setdefault(options, len(self.sockets)),
                _hash64(repr((raw, options, flags, _send_proxy(server))).encode()),
                _pool(server.pool),
                _send_proxy(server),
                b"" if server.cookie is UNSET else server.cookie.encode(),
            )
        )
        return Server(
            object=number,
            name=server.name,
            address=str(address),
            weight=server.weight,
            is_backup=server.backup,
            check=check_part(server, owner, address),
            observation=observation_part(server),
            send_proxy=_send_proxy(server) & SEND_PROXY_VERSION,
            is_disabled=server.disabled,
        )

    def _socket(self, backend: str, index: int, server: ServerModel, address: Address) -> SocketRow:
        source = None if server.source is UNSET else parse_source(server.source)
        if source is not None and source.address.family is not address.family:
            path = ("backends", backend, "servers", index)
            message = f"{address} cannot be reached from {source.address.host}: the one is {_IP[address.family]}, "
            message += f"the other {_IP[source.address.family]}"
            self.findings.append(
                Finding(path, f"server '{backend}/{server.name}'", message, "give it a 'source' of its own family")
            )
            return SocketRow()
        interface = "" if server.interface is UNSET else server.interface
        timeout, mss, keepalive = _ms(server.user_timeout), _or(server.mss, 0), server.tcp_keepalive
        has_keepalive = keepalive is not UNSET and keepalive is not False
        flags = SOCKET_KEEPALIVE if has_keepalive else 0
        flags |= SOCKET_TUNED if has_keepalive or interface or timeout or mss else 0
        flags |= SOCKET_FAST_OPEN if server.tfo is True else 0
        family, raw = (0, b"") if source is None else sockaddr(source.address)
        return SocketRow(
            flags,
            timeout,
            mss,
            _keepalive(False if keepalive is UNSET else keepalive),
            interface.encode(),
            family,
            raw,
            (0, 0) if source is None else source.ports,
        )

    def _addresses(self) -> dict[str, Address | str]:
        parsed = (
            parse_server(server_of(each).address)
            for backend in self.configuration.backends.values()
            for each in backend.servers
        )
        return resolve(each.host for each in parsed if each.family is Family.NAME)

    def _warnings(self, source: Source | None) -> list[str]:
        used: set[str] = set()
        for frontend in self.configuration.frontends.values():
            used.update(mirrored_to(frontend))
            used.update(backends_of(frontend.default_backend))
            for route in frontend.routes:
                used.update(backends_of(route.to))
            chosen = ruled_to(frontend)
            used.update(self.configuration.backends if any(map(is_format, chosen)) else chosen)
        unused = [
            Finding(("backends", name), f"backend '{name}'", "no frontend uses it")
            for name in self.configuration.backends
            if name not in used
        ]
        if source is None:
            return [f"{each.subject}: {each.message}" for each in unused]
        return [str(each) for each in source.error(unused).errors]


def _options(bind: BindModel) -> BindOptions:
    return BindOptions(
        interface="" if bind.interface is UNSET else bind.interface,
        is_v6only=bind.v6only,
        fast_open=FAST_OPEN_QUEUE if bind.tfo is True else int(bind.tfo),
        defers=bind.defer_accept,
        mss=_or(bind.mss, 0),
        user_timeout_ms=_ms(bind.user_timeout),
    )


def _balance(number: int, backend: BackendModel, balance: BalanceModel, servers: list[Server]) -> Balance:
    kind = balance.type if balance.algorithm in HASHED else UNSET
    by_position = balance.points == "position"
    on_ring = kind in ("consistent", "maglev") and not by_position
    return Balance(
        backend=number,
        servers=tuple(each.object for each in servers),
        weights=tuple(each.weight for each in servers),
        algorithm=BALANCES[balance.algorithm],
        table=TABLES.get(balance.algorithm, 0) if kind is UNSET else TABLE_TYPES[kind],
        draws=_or(balance.draws, 0),
        bound=0 if balance.bound is UNSET else percent(balance.bound),
        backups=tuple(each.is_backup for each in servers) if any(each.is_backup for each in servers) else (),
        all_backups=backend.allbackups,
        identities=tuple(_identity(each.name) for each in servers) if on_ring else (),
        by_position=by_position,
    )


def _udp_flags(backend: BackendModel) -> int:
    if backend.udp.send_proxy is UNSET:
        return 0
    return BACKEND_UDP_PROXY if backend.udp.send_proxy == "each" else BACKEND_UDP_PROXY_FIRST


def _identity(name: str) -> int:
    """Return 64 bits that stand for a name, the same on every machine."""
    return _hash64(name.encode())


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _pool(pool: PoolModel | UnsetType) -> tuple[int, int, int, int]:
    if pool is UNSET:  # mode tcp: nothing is pooled
        return UNLIMITED, 0, 0, 0
    return _or(pool.max_idle, UNLIMITED), _ms(pool.idle_timeout), _or(pool.max_requests, 0), _ms(pool.max_age)


def _key(balance: BalanceModel) -> KeyRow:
    if balance.algorithm not in HASHED:
        return KeyRow()
    assert balance.hash is not UNSET
    source: str = balance.algorithm
    name = "" if balance.name is UNSET else balance.name
    if balance.algorithm == "hash":
        assert balance.key is not UNSET
        source, name = parse_key(balance.key)
    if source in ("hdr", "req.hdr"):
        name = name.lower()
    flags = KEY_AVALANCHE if balance.avalanche is True else 0
    flags |= KEY_WHOLE if balance.whole else 0
    flags |= KEY_PATH_ONLY if balance.path_only else 0
    flags |= KEY_DOMAIN_ONLY if balance.use_domain_only else 0
    return KeyRow(KEYS[source], HASHES[balance.hash], flags, _or(balance.depth, 0), _or(balance.len, 0), name.encode())


def _or(value: int | UnsetType, otherwise: int) -> int:
    return otherwise if value is UNSET else value


def _ms(text: str | UnsetType) -> int:
    """Return milliseconds; 0, which is none, where nothing is said."""
    return 0 if text is UNSET else duration_ms(text)


def _keepalive(given: bool | Keepalive) -> tuple[int, int, int]:
    if isinstance(given, bool):
        return 0, 0, 0
    return _ms(given.idle) // 1000, _ms(given.interval) // 1000, _or(given.count, 0)


def _link(given: Debug | UnsetType) -> int:
    if given is UNSET:
        return 0
    return (
        (LINK_TWISTED if given.transport == "twisted" else 0)
        | (LINK_MUX if given.codec == "mux" else 0)
        | (LINK_PARK if given.park else 0)
    )


def _send_proxy(server: ServerModel) -> int:
    sent = None if server.send_proxy is UNSET else send_proxy_of(server.send_proxy)
    if sent is None:
        return 0
    flags = sum(flag for word, flag in SEND_PROXY_FLAGS.items() if getattr(sent, word))
    return SEND_PROXY_VERSIONS[sent.version] | flags


def _usable_cores() -> int:
    return min(len(os.sched_getaffinity(0)), WORKERS_MAX)
