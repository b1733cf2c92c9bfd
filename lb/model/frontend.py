"""Frontends: where clients connect and where their requests go."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.answer import ErrorFiles, Pages
from lb.model.capture import Captures
from lb.model.connection import (
    FAST_OPEN_MAX,
    HTTP_CONNECTION,
    INTERFACE,
    MSS,
    USER_TIMEOUT,
    HttpConnection,
    Interface,
    Requests,
    SegmentSize,
)
from lb.model.forwarding import (
    ClientAddress,
    ForwardedForGiven,
    ForwardedGiven,
    MonitorGiven,
    RequestIdGiven,
    TrustedProxies,
    ViaGiven,
    XForwardedGiven,
)
from lb.model.kinds import Connections, Duration, Mode, Name, Text
from lb.model.limit import LIMITS, LimitNames
from lb.model.mirror import Mirror
from lb.model.network import Networks
from lb.model.process import Log
from lb.model.proxy import AcceptProxy
from lb.model.routing import Route, Sticky, Target
from lb.model.rule import Acl, Rule
from lb.model.traffic import Debug, FrontendTimeouts, Keepalive
from lb.model.traffic import Mode as ProxyMode

BACKLOG_MAX = 65_535


class Bind(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One address to listen on. A string is short for `{address: ...}`."""

    address: Annotated[
        Text,
        Meta(
            description="`:8080` and `*:8080` (every IPv4 address), `10.0.0.1:80`, `[::1]:80`, `unix@/run/app.sock` or the path "
            "alone, `fd@3` (inherited), `fd@web` (passed by systemd under this name). Port 0 lets the kernel choose.",
            examples=[":8080", "[::1]:8080", "unix@/run/app.sock"],
        ),
    ]
    name: Annotated[Name | UnsetType, Meta(description="Name in logs and statistics; the address if not given.")] = (
        UNSET
    )
    mode: Annotated[
        Mode | UnsetType,
        Meta(
            description="Permissions of a unix socket: octal digits in quotes; without it the umask decides.",
            examples=["0660"],
        ),
    ] = UNSET
    backlog: Annotated[
        Annotated[int, Meta(ge=1, le=BACKLOG_MAX)] | UnsetType,
        Meta(
            description="Connections the kernel keeps waiting; net.core.somaxconn if not given, and never more than that."
        ),
    ] = UNSET
    interface: Annotated[Interface | UnsetType, Meta(description=INTERFACE)] = UNSET
    v6only: Annotated[
        bool,
        Meta(description="`false`: an IPv6 address such as `[::]:80` takes IPv4 clients too."),
    ] = True
    tfo: Annotated[
        bool | Annotated[int, Meta(ge=1, le=FAST_OPEN_MAX)],
        Meta(
            description="TCP fast open: `true`, or how many connections may wait for their handshake to end. The kernel allows "
            "it to servers only with net.ipv4.tcp_fastopen=3."
        ),
    ] = False
    defer_accept: Annotated[
        bool,
        Meta(description="Accept a connection when its first bytes are here; for clients that speak first."),
    ] = False
    mss: Annotated[SegmentSize | UnsetType, Meta(description=MSS)] = UNSET
    user_timeout: Annotated[Duration | UnsetType, Meta(description=USER_TIMEOUT)] = UNSET
    accept_proxy: Annotated[
        Networks | AcceptProxy | UnsetType,
        Meta(
            description="Read a PROXY header from these proxies: the client is then who they say it is.",
            examples=['["10.0.0.0/8"]'],
            extra={"kind": "list", "item": '"10.0.0.0/8"'},
        ),
    ] = UNSET
    debug: Annotated[Debug | UnsetType, Meta(description="Test devices.", extra={"hidden": True})] = UNSET


class FrontendLog(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a frontend writes down, and where."""

    targets: Annotated[
        tuple[Log, ...] | UnsetType,
        Meta(
            description="Targets of this frontend alone, instead of those of `global.log`.",
            extra={"kind": "list", "item": "{to: /var/log/lb/web.log, format: haproxy}"},
        ),
    ] = UNSET
    normal: Annotated[
        bool,
        Meta(
            description="`false`: only what failed is written (HAProxy's `dontlog-normal`): a termination state other than `--`, a "
            "status from 500, a retry, a redispatch."
        ),
    ] = True
    null: Annotated[
        bool,
        Meta(
            description="`false`: nothing is written of connections on which the client sent nothing (HAProxy's `dontlognull`). In "
            "mode http these never are."
        ),
    ] = True
    separate_errors: Annotated[
        bool,
        Meta(
            description="What failed has the severity `err` (HAProxy's `log-separate-errors`), so that `level` of targets can tell "
            "it apart, and syslog servers too."
        ),
    ] = False


class Frontend(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clients connect."""

    mode: Annotated[
        ProxyMode,
        Meta(
            description="`http` reads requests; `tcp` relays bytes; `udp` sends datagrams on.", extra={"noun": "mode"}
        ),
    ] = "http"
    bind: Annotated[
        tuple[Annotated[Text, Meta(extra={"kind": "bind"})] | Bind, ...],
        Meta(description="Addresses to listen on, at least one.", extra={"kind": "list", "item": '":8080"'}),
    ]
    maxconn: Annotated[
        Connections | UnsetType,
        Meta(
            description="Client connections of this frontend over all workers; above it accepting pauses. In mode udp: sessions; "
            "above it the least recently used one ends for a new one."
        ),
    ] = UNSET
    timeouts: Annotated[FrontendTimeouts, Meta(description="How long to wait for clients.")] = FrontendTimeouts()
    tcp_keepalive: Annotated[
        bool | Keepalive, Meta(description="TCP keep-alive on client connections: `true`, `false` or its options.")
    ] = False
    trusted_proxies: TrustedProxies = UNSET
    client_address: ClientAddress = UNSET
    forwarded_for: ForwardedForGiven = UNSET
    forwarded: ForwardedGiven = UNSET
    x_forwarded: XForwardedGiven = UNSET
    via: ViaGiven = UNSET
    request_id: RequestIdGiven = UNSET
    monitor: MonitorGiven = UNSET
    log: Annotated[
        bool | tuple[Log, ...] | FrontendLog,
        Meta(
            description="Write access log records: `true` to `global.log`, `false` not at all, a list to targets of its own, or "
            "options.",
            extra={"item": "{to: /var/log/lb/web.log}"},
        ),
    ] = True
    log_format: Annotated[
        Text | UnsetType,
        Meta(
            description="The line that targets with `format: haproxy` get: a text in HAProxy's `log-format` language, or `http`, "
            "`tcp`, `clf` for its `httplog`, `tcplog`, `httplog clf`.",
            examples=["%ci [%tr] %{+Q}r %ST %B", "clf"],
        ),
    ] = UNSET
    routes: Annotated[
        tuple[Route, ...],
        Meta(
            description="Ways to backends and answers by host, path, method and more (mode http).",
            extra={"kind": "list", "item": "{match: {path: /static/*}, to: static}"},
        ),
    ] = ()
    mirror: Annotated[
        Mirror | UnsetType,
        Meta(
            description="Send copies of requests to another backend and drop what it answers (mode http); routes may say "
            "otherwise.",
            examples=["{to: staging, percent: 10}"],
        ),
    ] = UNSET
    limits: Annotated[LimitNames, Meta(description=LIMITS, extra={"kind": "list", "item": "per_client"})] = ()
    dot_segments: Annotated[
        Literal["refuse", "keep"],
        Meta(
            description="What is done with a path that has `.` or `..` as a segment, in any spelling, where routes or "
            "rules compare paths: `refuse` answers 400, since the server might serve another path than the one that "
            "was routed; `keep` compares it as it was sent.",
            extra={"noun": "dot_segments"},
        ),
    ] = "refuse"
    acls: Annotated[
        dict[Name, Acl],
        Meta(
            description="Named conditions: an expression and patterns, or a list of which one must match (mode http).",
            examples=[{"internal": "src 10.0.0.0/8"}],
        ),
    ] = {}
    captures: Annotated[
        Captures | UnsetType,
        Meta(
            description="What records show of heads: fields, and slots that rules fill (mode http).",
            examples=[{"request": [{"header": "host", "len": 40}], "response": [{"len": 20}]}],
        ),
    ] = UNSET
    connection_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for connections that were just accepted, before anything of them is read.",
            extra={"kind": "list", "item": "{reject: true, if: '{ src 10.9.0.0/16 }'}"},
        ),
    ] = ()
    session_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for connections once their client is known, which a PROXY header may tell.",
            extra={"kind": "list", "item": "{reject: true, if: '{ src 10.9.0.0/16 }'}"},
        ),
    ] = ()
    content_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules that may wait for bytes: in mode tcp before a backend is chosen, in mode http before `rules`.",
            extra={"kind": "list", "item": "{reject: true, unless: '{ req.ssl_hello_type 1 }'}"},
        ),
    ] = ()
    inspect_delay: Annotated[
        Duration | UnsetType,
        Meta(
            description="How long `content_rules` wait for what they look at; without it they decide by what is there."
        ),
    ] = UNSET
    rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for requests, before routes are looked at (mode http). In mode tcp: rules that choose a backend, "
            "behind `content_rules`.",
            extra={"kind": "list", "item": "{deny: 403, if: '{ path_beg /admin }'}"},
        ),
    ] = ()
    response_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for responses of servers (mode http).",
            extra={"kind": "list", "item": "{del_header: server}"},
        ),
    ] = ()
    errors: Pages = {}
    errorfiles: ErrorFiles = ()
    after_response_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for every response, those made here included, behind all others (mode http).",
            extra={"kind": "list", "item": "{set_header: [x-frame-options, DENY]}"},
        ),
    ] = ()
    default_backend: Annotated[
        Target | UnsetType,
        Meta(
            description="Backend for what no route matches, or backends with their shares. Without it such a request is answered "
            "with 404.",
            extra={"kind": "backend"},
        ),
    ] = UNSET
    sticky: Annotated[
        Sticky | UnsetType,
        Meta(description="What keeps a client on its share of `default_backend`, and of routes that say nothing else."),
    ] = UNSET
    http_connection: Annotated[
        HttpConnection | UnsetType,
        Meta(description=HTTP_CONNECTION + " From `defaults` if not given.", extra={"noun": "connection mode"}),
    ] = UNSET
    max_requests: Annotated[
        Requests | UnsetType,
        Meta(description="Requests that one client connection carries (mode http); without it there is no limit."),
    ] = UNSET
    half_close: Annotated[
        bool,
        Meta(
            description="`false`: when either side ends its direction, both connections are closed at once (mode tcp). A "
            "client that says its last word before the answer does not get one then."
        ),
    ] = True
