"""Backends: groups of servers that do the same."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Name, Text
from lb.model.traffic import BackendTimeouts, Debug, Keepalive, Retries
from lb.model.traffic import Mode as ProxyMode

WEIGHT_MAX = 256

Algorithm = Literal["roundrobin"]


class Balance(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How servers take turns. A string is short for `{algorithm: ...}`."""

    algorithm: Annotated[
        Algorithm,
        Meta(description="`roundrobin`: in turn, in proportion to their weights.", extra={"noun": "balance algorithm"}),
    ] = "roundrobin"


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
    debug: Annotated[Debug | UnsetType, Meta(description="Test devices.", extra={"hidden": True})] = UNSET


class Backend(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Servers that do the same."""

    mode: Annotated[
        ProxyMode | UnsetType,
        Meta(description="`http` or `tcp`; that of the frontends that use it, if not given.", extra={"noun": "mode"}),
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
    timeouts: Annotated[BackendTimeouts, Meta(description="How long to wait for servers.")] = BackendTimeouts()
    retries: Annotated[
        Retries | UnsetType, Meta(description="Connection attempts beyond the first; from `defaults` if not given.")
    ] = UNSET
    tcp_keepalive: Annotated[
        bool | Keepalive, Meta(description="TCP keep-alive on server connections: `true`, `false` or its options.")
    ] = False
