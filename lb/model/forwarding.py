"""What lb tells servers about clients, whose word about them it takes, and what it answers to other balancers.

Every keyword takes a short form: `forwarded_for: true`, `x_forwarded: [proto, host]`, `via: edge`. In a frontend it replaces
what `defaults` says as a whole.
"""

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from lb.model.kinds import Header, Name, Pseudonym, Text
from lb.model.network import NETWORKS, Networks

ForwardMode = Literal["append", "replace", "if_none"]
ForwardPart = Literal["proto", "host", "port", "real_ip"]
IdFormat = Literal["hex32", "uuid4", "uuid7"]
IdSource = Literal["trusted", "any", "never"]

VIA_NAME = "lb"
"""The pseudonym of `via: true`."""

CLIENT_HEADER = "X-Forwarded-For"
"""The header of `client_address: true`."""

FORWARD_NAMES = {
    "proto": "X-Forwarded-Proto",
    "host": "X-Forwarded-Host",
    "port": "X-Forwarded-Port",
    "real_ip": "X-Real-IP",
}
"""The headers of `x_forwarded`, unless it names others."""

SERVERS_MAX = 65_535


class ForwardedFor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The peer's address, in a list with those before it."""

    name: Annotated[Header, Meta(description="The header.")] = "X-Forwarded-For"
    mode: Annotated[
        ForwardMode,
        Meta(
            description="What becomes of what a trusted proxy sent: `append` adds the peer's address behind it, `replace` "
            "drops it, `if_none` leaves it as it is. From anybody else it is dropped in any case.",
            extra={"noun": "mode of forwarding"},
        ),
    ] = "append"
    except_: Annotated[
        Networks,
        Meta(
            description="Peers for which nothing is added: proxies that write the header themselves. " + NETWORKS,
            extra={"kind": "list", "item": '"10.0.0.0/8"'},
        ),
    ] = field(name="except", default=())


class Forwarded(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters of the header Forwarded (RFC 7239) that lb writes."""

    proto: Annotated[bool, Meta(description="`proto`: the scheme that the client used.")] = True
    host: Annotated[bool, Meta(description="`host`: the host that the client asked for.")] = False
    by: Annotated[
        Text,
        Meta(
            description="`by`: where the request came in. `address`, `address_port`, `unknown`, `none`, or an identifier of "
            "letters, digits and `.-_` that begins with `_`.",
            extra={"kind": "node"},
            examples=["_edge"],
        ),
    ] = "none"
    for_: Annotated[
        Text,
        Meta(
            description="`for`: the peer that sent the request, in the same words. `unknown` or an identifier hides its "
            "address from servers.",
            extra={"kind": "node"},
            examples=["address_port"],
        ),
    ] = field(name="for", default="address")


class XForwarded(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Headers with one value each, by their names. A list of their keys means the usual names."""

    proto: Annotated[
        Header | UnsetType,
        Meta(description="The scheme that the client used.", examples=["X-Forwarded-Proto"]),
    ] = UNSET
    host: Annotated[
        Header | UnsetType, Meta(description="The host that the client asked for.", examples=["X-Forwarded-Host"])
    ] = UNSET
    port: Annotated[
        Header | UnsetType, Meta(description="The port that the client came to.", examples=["X-Forwarded-Port"])
    ] = UNSET
    real_ip: Annotated[
        Header | UnsetType,
        Meta(description="The client's address: see `client_address`.", examples=["X-Real-IP"]),
    ] = UNSET


class Via(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The header Via (RFC 9110 7.6.3). A text is short for `{name: ...}`, `true` for the name `lb`."""

    name: Annotated[Pseudonym, Meta(description="What this balancer is called there.", examples=["edge"])] = VIA_NAME
    request: Annotated[bool, Meta(description="Add it to requests.")] = True
    response: Annotated[bool, Meta(description="Add it to responses.")] = True
    refuse_loops: Annotated[
        bool, Meta(description="Answer 508 to a request whose Via has this name already: it has been here.")
    ] = False


class RequestId(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An id for each request, the same for server, log and error answers. `true` is short for `{}`."""

    name: Annotated[Header, Meta(description="The header.")] = "X-Request-ID"
    format: Annotated[
        IdFormat,
        Meta(
            description="How an id looks that is made here: `hex32` is 32 hex digits, `uuid4` random, `uuid7` begins with the "
            "time (RFC 9562).",
            extra={"noun": "format of ids"},
        ),
    ] = "hex32"
    accept: Annotated[
        IdSource,
        Meta(
            description="Whose ids are taken over: `trusted` proxies', `any` client's, or `never`. One is taken if it has 1 to "
            "64 letters, digits and `._~:@+/=-`, else a new one is made.",
            extra={"noun": "source of ids"},
        ),
    ] = "trusted"
    response: Annotated[bool, Meta(description="Add it to responses too.")] = False


class Monitor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A path that lb answers itself. A text is short for `{path: ...}`."""

    path: Annotated[
        Text,
        Meta(
            description="Path and query, compared as a whole. Answered with 200; with 503 while lb drains or a backend of "
            "`fail_below` is short of servers. Such requests are not logged.",
            examples=["/alive"],
        ),
    ]
    fail_below: Annotated[
        dict[Name, Annotated[int, Meta(ge=1, le=SERVERS_MAX)]],
        Meta(
            description="Backends, and how many usable servers each must have.",
            examples=["{app: 2}"],
        ),
    ] = {}


TrustedProxies = Annotated[
    Networks | UnsetType,
    Meta(
        description="Whose forwarding headers are believed. Anybody else's are removed: those that lb writes and, where this "
        "keyword stands, all usual ones. " + NETWORKS,
        extra={"kind": "list", "item": '"10.0.0.0/8"'},
    ),
]
ClientAddress = Annotated[
    bool | Header | UnsetType,
    Meta(
        description="Take the client's address from this header (`true`: X-Forwarded-For) when a trusted proxy sends it: the "
        "last address that is not one of them. `forwarded` is read as RFC 7239 says, any other as a list of addresses. Log, "
        "balancing and rules then see this address.",
        examples=["x-forwarded-for"],
    ),
]
ForwardedForGiven = Annotated[
    bool | ForwardedFor | UnsetType,
    Meta(description="Tell servers the peer's address in X-Forwarded-For: `true`, `false` or its options."),
]
ForwardedGiven = Annotated[
    bool | Forwarded | UnsetType,
    Meta(description="Tell servers about the client in Forwarded (RFC 7239): `true`, `false` or its options."),
]
XForwardedGiven = Annotated[
    tuple[Annotated[ForwardPart, Meta(extra={"noun": "x_forwarded header"})], ...] | XForwarded | UnsetType,
    Meta(
        description="Tell servers in X-Forwarded-Proto, -Host, -Port and X-Real-IP: a list of `proto`, `host`, `port` and "
        "`real_ip`, or a mapping of them to other names.",
        extra={"kind": "list", "item": "proto, host, port"},
    ),
]
ViaGiven = Annotated[
    bool | Pseudonym | Via | UnsetType,
    Meta(description="Add a Via header: the name of this balancer, `true`, `false` or options.", examples=["edge"]),
]
RequestIdGiven = Annotated[
    bool | RequestId | UnsetType,
    Meta(description="Tell servers an id for each request: `true`, `false` or its options."),
]
MonitorGiven = Annotated[
    Text | Monitor | UnsetType,
    Meta(description="A path that lb answers itself, for balancers in front of it.", examples=["/alive"]),
]


NODES = ("address", "address_port", "unknown", "none")

_IDENTIFIER = re.compile(r"_[A-Za-z0-9._-]{1,63}")


def node_problem(text: str) -> str:
    """Say what keeps a text from being a node of Forwarded, or nothing."""
    if text in NODES or _IDENTIFIER.fullmatch(text):  # RFC 7239 6.3: obfnode
        return ""
    if text.startswith("_"):
        return "is no identifier; take '_' and up to 63 letters, digits and '.', '-', '_'"
    return "is no node; write 'address', 'address_port', 'unknown', 'none' or an identifier such as '_edge'"


def forwarded_for_of(given: bool | ForwardedFor) -> ForwardedFor | None:
    """Return the long form, None for nothing."""
    return (ForwardedFor() if given else None) if isinstance(given, bool) else given


def forwarded_of(given: bool | Forwarded) -> Forwarded | None:
    """Return the long form, None for nothing."""
    return (Forwarded() if given else None) if isinstance(given, bool) else given


def x_forwarded_of(given: tuple[ForwardPart, ...] | XForwarded) -> XForwarded:
    """Return the long form."""
    return given if isinstance(given, XForwarded) else XForwarded(**{part: FORWARD_NAMES[part] for part in given})


def via_of(given: bool | str | Via) -> Via | None:
    """Return the long form, None for nothing."""
    if isinstance(given, bool):
        return Via() if given else None
    return Via(name=given) if isinstance(given, str) else given


def request_id_of(given: bool | RequestId) -> RequestId | None:
    """Return the long form, None for nothing."""
    return (RequestId() if given else None) if isinstance(given, bool) else given


def monitor_of(given: str | Monitor) -> Monitor:
    """Return the long form."""
    return Monitor(path=given) if isinstance(given, str) else given


def client_header(given: bool | str) -> str:
    """Return the header that says who the client is; empty for none."""
    if isinstance(given, bool):
        return CLIENT_HEADER if given else ""
    return given
