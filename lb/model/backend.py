"""Backends: groups of servers that do the same."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.answer import ErrorFiles, Pages
from lb.model.check import Check, Count, Kind, Layer, Reaction
from lb.model.connection import (
    INTERFACE,
    MSS,
    REUSE,
    SERVER_CONNECTION,
    USER_TIMEOUT,
    HttpReuse,
    Interface,
    Pool,
    SegmentSize,
    ServerConnection,
)
from lb.model.kinds import Duration, Name, Text
from lb.model.limit import LIMITS, LimitNames
from lb.model.persistence import Condition, PersistenceCookie, Stick
from lb.model.proxy import Sending, SendProxy
from lb.model.rule import Acl, Rule
from lb.model.traffic import BackendTimeouts, Debug, Keepalive, Retries
from lb.model.traffic import Mode as ProxyMode

WEIGHT_MAX = 256

DRAWS_MAX = 64

Algorithm = Literal["roundrobin", "static-rr", "leastconn", "random", "source", "uri", "hdr", "url_param", "hash"]
HashType = Literal["map-based", "consistent", "maglev"]
HashFunction = Literal["sdbm", "djb2", "wt6", "crc32", "xxh3"]

RESPONSES_MAX = 1_000_000
REQUESTS_MAX = 1_000_000_000

HASHED = ("source", "uri", "hdr", "url_param", "hash")
"""The algorithms that choose by a key."""


class Balance(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How servers take turns. A string is short for `{algorithm: ...}`."""

    algorithm: Annotated[
        Algorithm,
        Meta(
            description="`roundrobin`: in turn, in proportion to their weights. `static-rr`: the same in HAProxy's fixed "
            "order. `leastconn`: the fewest connections for its weight. `random`: the less loaded of `draws` drawn. By a "
            "key: `source` (the client's address), `uri`, `hdr` (a header), `url_param`, `hash` (what `key` says).",
            extra={"noun": "balance algorithm"},
        ),
    ] = "roundrobin"
    key: Annotated[
        Text | UnsetType,
        Meta(
            description="For `hash`: `req.hdr(name)`, the last value of a header, or `req.cook(name)`, a cookie.",
            examples=["req.hdr(x-user)", "req.cook(session)"],
        ),
    ] = UNSET
    name: Annotated[
        Text | UnsetType, Meta(description="For `hdr` and `url_param`: the header or the parameter of the query.")
    ] = UNSET
    type: Annotated[
        HashType | UnsetType,
        Meta(
            description="How a key finds its server. `map-based`: even, but nearly all keys move when a server comes or "
            "goes. `consistent`: only the keys of that server move. `maglev`: the same but for a few, and more even. "
            "`map-based` if not given.",
            extra={"noun": "hash type"},
        ),
    ] = UNSET
    hash: Annotated[
        HashFunction | UnsetType,
        Meta(description="The hash function; `sdbm` if not given.", extra={"noun": "hash function"}),
    ] = UNSET
    avalanche: Annotated[
        bool | UnsetType,
        Meta(
            description="Mix the hash once more, which spreads similar keys; if not given, only where `type` is not "
            "`map-based` and no `hash` is named."
        ),
    ] = UNSET
    bound: Annotated[
        Text | UnsetType,
        Meta(
            description="For `type: consistent`: a server with more than this percentage of its share of all connections "
            "passes new keys on to the next one.",
            examples=["125%"],
        ),
    ] = UNSET
    points: Annotated[
        Literal["name", "position"] | UnsetType,
        Meta(
            description="For `type: consistent`: what places a server on the ring. By `name` it keeps its keys wherever it "
            "stands in the list; by `position` keys find the same server as in HAProxy.",
            extra={"noun": "points"},
        ),
    ] = UNSET
    draws: Annotated[
        Annotated[int, Meta(ge=1, le=DRAWS_MAX)] | UnsetType,
        Meta(description="For `random`: how many servers are drawn and compared; 2 if not given."),
    ] = UNSET
    depth: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | UnsetType,
        Meta(description="For `uri`: use the path up to this many directories."),
    ] = UNSET
    len: Annotated[
        Annotated[int, Meta(ge=1, le=8192)] | UnsetType, Meta(description="For `uri`: use this many bytes at most.")
    ] = UNSET
    whole: Annotated[bool, Meta(description="For `uri`: use the query too.")] = False
    path_only: Annotated[bool, Meta(description="For `uri`: leave out scheme and host of an absolute target.")] = False
    use_domain_only: Annotated[
        bool, Meta(description="For `hdr`: of a host name use the label before the last only.")
    ] = False


class Server(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One server. A string is short for `{address: ...}`."""

    address: Annotated[
        Text,
        Meta(
            description="`10.0.0.1:8080`, `[::1]:8080`, `unix@/run/app.sock` or a host name with a port, which is resolved "
            "when the configuration is loaded.",
            examples=["10.0.0.1:8080", "app.internal:8080"],
        ),
    ]
    name: Annotated[
        Name | UnsetType,
        Meta(description="Name in logs and statistics, and identity over reloads; made from the address if not given."),
    ] = UNSET
    weight: Annotated[
        Annotated[int, Meta(ge=0, le=WEIGHT_MAX)],
        Meta(description="Share of the traffic relative to the other servers; 0 gets none."),
    ] = 1
    backup: Annotated[bool, Meta(description="Gets traffic only when no server without `backup` is usable.")] = False
    disabled: Annotated[
        bool, Meta(description="Begins in maintenance: gets nothing until `enable server` says otherwise.")
    ] = False
    track: Annotated[
        Text | UnsetType,
        Meta(
            description="Is what this server is, `backend/server` or one of the same backend: up, down, in maintenance, draining. "
            "It has no check of its own then.",
            examples=["app/s1"],
        ),
    ] = UNSET
    check: Annotated[
        bool | Kind | Check | UnsetType,
        Meta(
            description="Health check: `true` or its options, over those of the backend; `false` for none.",
            extra={"noun": "check"},
        ),
    ] = UNSET
    observe: Annotated[
        Layer | UnsetType,
        Meta(
            description="`layer4`: count connections that failed in a row, in all workers; `none`: do not. As its backend says; "
            "if that says nothing, `layer4` for servers without a check.",
            extra={"noun": "observe"},
        ),
    ] = UNSET
    error_limit: Annotated[
        Count | UnsetType,
        Meta(description="Failures in a row that are too many; as its backend says, else 3, with a check 10."),
    ] = UNSET
    on_error: Annotated[
        Reaction | UnsetType,
        Meta(
            description="What too many do: `mark-down`, or, to servers with a check, `fail-check` (as if a check had failed), "
            "`sudden-death` (one more failure takes it down), `fastinter` (check sooner). As its backend says, else "
            "`mark-down`, with a check `fail-check`.",
            extra={"noun": "on_error"},
        ),
    ] = UNSET
    pool: Annotated[
        Pool | UnsetType, Meta(description="Idle connections to this server; what is not said, its backend says.")
    ] = UNSET
    source: Annotated[
        Text | UnsetType,
        Meta(description="As in the backend, for this server.", examples=["10.0.0.5", "10.0.0.5:20000-29999"]),
    ] = UNSET
    interface: Annotated[Interface | UnsetType, Meta(description="As in the backend, for this server.")] = UNSET
    tfo: Annotated[bool | UnsetType, Meta(description="As in the backend, for this server.")] = UNSET
    mss: Annotated[SegmentSize | UnsetType, Meta(description="As in the backend, for this server.")] = UNSET
    user_timeout: Annotated[Duration | UnsetType, Meta(description="As in the backend, for this server.")] = UNSET
    tcp_keepalive: Annotated[bool | Keepalive | UnsetType, Meta(description="As in the backend, for this server.")] = (
        UNSET
    )
    send_proxy: Annotated[
        Sending | SendProxy | UnsetType,
        Meta(
            description="Begin each connection with a PROXY header, or not; as the backend says, if not given.",
            extra={"noun": "PROXY version"},
        ),
    ] = UNSET
    cookie: Annotated[
        Text | UnsetType,
        Meta(
            description="Its value in the backend's persistence cookie; servers that share one stand in for each other. A server "
            "without one takes the cookie back.",
            examples=["s1"],
        ),
    ] = UNSET
    debug: Annotated[Debug | UnsetType, Meta(description="Test devices.", extra={"hidden": True})] = UNSET


class Datagrams(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of a protocol over UDP: when a session is over."""

    responses: Annotated[
        Annotated[int, Meta(ge=0, le=RESPONSES_MAX)] | UnsetType,
        Meta(
            description="Datagrams that a server answers to each one of a client; a session ends with the last that is due. "
            "1 for DNS. 0, without `requests`: no answers and no sessions, every datagram is balanced alone (syslog). If not "
            "given, only `timeouts.client` ends a session.",
            examples=[1, 0],
        ),
    ] = UNSET
    requests: Annotated[
        Annotated[int, Meta(ge=1, le=REQUESTS_MAX)] | UnsetType,
        Meta(
            description="Datagrams of a client in one session: the next one begins another. Any number if not given.",
            examples=[1],
        ),
    ] = UNSET
    send_proxy: Annotated[
        Literal["each", "first"] | UnsetType,
        Meta(
            description="Put a PROXY protocol header (version 2) before `each` datagram, as DNS servers want it, or before the "
            "`first` one of a session only. None if not given.",
            extra={"noun": "choice"},
        ),
    ] = UNSET


class Backend(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Servers that do the same."""

    mode: Annotated[
        ProxyMode | UnsetType,
        Meta(
            description="`http`, `tcp` or `udp`; that of the frontends that use it, if not given.",
            extra={"noun": "mode"},
        ),
    ] = UNSET
    balance: Annotated[
        Algorithm | Balance, Meta(description="How servers take turns.", extra={"noun": "balance algorithm"})
    ] = "roundrobin"
    servers: Annotated[
        tuple[Annotated[Text, Meta(extra={"kind": "server"})] | Server, ...],
        Meta(
            description="The servers, at least one of them with a weight above 0.",
            extra={"kind": "list", "item": '"10.0.0.1:8080"'},
        ),
    ]
    acls: Annotated[dict[Name, Acl], Meta(description="Named conditions for the rules (mode http).")] = {}
    content_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules that may wait for bytes: in mode tcp before a server is chosen, in mode http before `rules`.",
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
            description="Rules for requests that come to this backend, behind those of the frontend (mode http).",
            extra={"kind": "list", "item": "{set_header: [x-tier, gold]}"},
        ),
    ] = ()
    response_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for responses, before those of the frontend (mode http).",
            extra={"kind": "list", "item": "{del_header: server}"},
        ),
    ] = ()
    limits: Annotated[LimitNames, Meta(description=LIMITS, extra={"kind": "list", "item": "per_client"})] = ()
    errors: Pages = {}
    errorfiles: ErrorFiles = ()
    cookie: Annotated[
        PersistenceCookie | UnsetType,
        Meta(
            description="Bring clients back to their server by a cookie (mode http).",
            examples=["{name: SRV, indirect: true}"],
        ),
    ] = UNSET
    stick: Annotated[
        tuple[Stick, ...],
        Meta(
            description="Bring clients back to their server by a stick table (mode http).",
            extra={"kind": "list", "item": "{on: src, table: clients}"},
        ),
    ] = ()
    persist: Annotated[
        bool,
        Meta(
            description="Lead clients back to a server that is down too, and let connecting decide (HAProxy's `option persist`)."
        ),
    ] = False
    force_persist: Annotated[
        Condition,
        Meta(
            description="Conditions under which a client is led to its server even if that is down, to try it before others do.",
            examples=["{ src 10.0.0.0/8 }"],
        ),
    ] = ()
    ignore_persist: Annotated[
        Condition,
        Meta(
            description="Conditions under which cookies are neither believed nor set.",
            examples=["{ path_beg /static }"],
        ),
    ] = ()
    redispatch: Annotated[
        bool,
        Meta(
            description="A request whose server cannot be reached goes to another one with its last retry; `false`: only ever to "
            "the one that a cookie or a stick table names."
        ),
    ] = True
    response_content_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules that look at the server's first bytes before these go on (mode tcp).",
            extra={"kind": "list", "item": "{reject: true, unless: '{ res.len gt 0 }'}"},
        ),
    ] = ()
    response_inspect_delay: Annotated[
        Duration | UnsetType, Meta(description="How long `response_content_rules` wait for what they look at.")
    ] = UNSET
    after_response_rules: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules for every response, those made here included, behind all others (mode http).",
            extra={"kind": "list", "item": "{set_header: [x-frame-options, DENY]}"},
        ),
    ] = ()
    allbackups: Annotated[bool, Meta(description="When backups are used, use all of them, not only the first.")] = False
    timeouts: Annotated[BackendTimeouts, Meta(description="How long to wait for servers.")] = BackendTimeouts()
    retries: Annotated[
        Retries | UnsetType, Meta(description="Connection attempts beyond the first; from `defaults` if not given.")
    ] = UNSET
    tcp_keepalive: Annotated[
        bool | Keepalive, Meta(description="TCP keep-alive on server connections: `true`, `false` or its options.")
    ] = False
    check: Annotated[
        bool | Kind | Check,
        Meta(
            description="Health check of every server: `true`, `tcp`, or options; a server can say otherwise.",
            extra={"noun": "check"},
        ),
    ] = False
    observe: Annotated[
        Layer | UnsetType,
        Meta(
            description="What traffic shows of the servers: see [Server](#server).",
            extra={"noun": "observe"},
        ),
    ] = UNSET
    error_limit: Annotated[
        Count | UnsetType,
        Meta(description="Failures in a row that are too many: see [Server](#server)."),
    ] = UNSET
    on_error: Annotated[
        Reaction | UnsetType,
        Meta(
            description="What too many failures do: see [Server](#server).",
            extra={"noun": "on_error"},
        ),
    ] = UNSET
    http_reuse: Annotated[
        HttpReuse | UnsetType,
        Meta(description=REUSE + " From `defaults` if not given.", extra={"noun": "reuse"}),
    ] = UNSET
    http_connection: Annotated[
        ServerConnection | UnsetType,
        Meta(
            description=SERVER_CONNECTION + " From `defaults` if not given, where `close` means `server-close` here.",
            extra={"noun": "connection mode"},
        ),
    ] = UNSET
    pool: Annotated[Pool, Meta(description="Idle connections to servers (mode http).")] = Pool()
    source: Annotated[
        Text | UnsetType,
        Meta(
            description="Address that server connections come from, with a range of ports if the kernel shall not choose them. "
            "Workers share the range.",
            examples=["10.0.0.5", "10.0.0.5:20000-29999", "[2001:db8::5]"],
        ),
    ] = UNSET
    interface: Annotated[Interface | UnsetType, Meta(description=INTERFACE)] = UNSET
    tfo: Annotated[
        bool,
        Meta(description="TCP fast open to the servers (mode http): the request travels with the first packet."),
    ] = False
    mss: Annotated[SegmentSize | UnsetType, Meta(description=MSS)] = UNSET
    user_timeout: Annotated[Duration | UnsetType, Meta(description=USER_TIMEOUT)] = UNSET
    send_proxy: Annotated[
        Sending | SendProxy,
        Meta(
            description="Begin each connection to a server with a PROXY header that says who the client is.",
            extra={"noun": "PROXY version"},
        ),
    ] = "off"
    udp: Annotated[Datagrams, Meta(description="What is known of the protocol (mode udp).")] = Datagrams()
