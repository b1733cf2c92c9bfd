"""What frontends and backends share: timeouts, keep-alive options, the section ``defaults``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.answer import ErrorFiles, Pages
from lb.model.connection import HTTP_CONNECTION, REUSE, HttpConnection, HttpReuse
from lb.model.forwarding import (
    ClientAddress,
    ForwardedForGiven,
    ForwardedGiven,
    RequestIdGiven,
    TrustedProxies,
    ViaGiven,
    XForwardedGiven,
)
from lb.model.kinds import Duration

Mode = Literal["http", "tcp", "udp"]

RETRIES_MAX = 100

Retries = Annotated[int, Meta(ge=0, le=RETRIES_MAX)]
Seconds = Annotated[Duration, Meta(extra={"kind": "seconds"})]

_CONNECT = "Longest time to connect to a server; then another one is tried."
_CLIENT = (
    "Longest silence of a client while it is its turn: reading a request body, or taking a response. In mode udp: how long "
    "a session without traffic is kept."
)
_SERVER = (
    "Longest silence of a server while it is its turn: answering, sending on, or taking a request body. In mode udp: how "
    "long an answer that is due is waited for."
)
_HTTP_REQUEST = "Longest time for a whole request head, from its first byte; then 408."
_HTTP_KEEP_ALIVE = "Longest wait for the first byte of the next request on an idle connection."
_TUNNEL = (
    "Longest silence of both sides of a tunnel (an upgraded connection) or of a TCP relay once both sides have spoken."
)
_CHECK = "Longest time for a health check; its `every` if not given."
_CLIENT_FIN = (
    "Longest silence of a client's connection that is half-closed, of a tunnel or TCP relay; `tunnel` if not given."
)
_SERVER_FIN = (
    "Longest silence of a server's connection that is half-closed, of a tunnel or TCP relay; `tunnel` if not given."
)
_TARPIT = (
    "How long the rule action `tarpit` holds a request before it is answered; `defaults.timeouts.connect` if not given."
)


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait; frontends and backends inherit these and may say otherwise."""

    connect: Annotated[Duration, Meta(description=_CONNECT)] = "5s"
    client: Annotated[Duration, Meta(description=_CLIENT)] = "30s"
    server: Annotated[Duration, Meta(description=_SERVER)] = "30s"
    http_request: Annotated[Duration, Meta(description=_HTTP_REQUEST)] = "10s"
    http_keep_alive: Annotated[Duration, Meta(description=_HTTP_KEEP_ALIVE)] = "60s"
    tunnel: Annotated[Duration, Meta(description=_TUNNEL)] = "1h"
    check: Annotated[Duration | UnsetType, Meta(description=_CHECK)] = UNSET
    client_fin: Annotated[Duration | UnsetType, Meta(description=_CLIENT_FIN)] = UNSET
    server_fin: Annotated[Duration | UnsetType, Meta(description=_SERVER_FIN)] = UNSET
    tarpit: Annotated[Duration | UnsetType, Meta(description=_TARPIT)] = UNSET


class FrontendTimeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait for clients; what is not said comes from `defaults`."""

    client: Annotated[Duration | UnsetType, Meta(description=_CLIENT)] = UNSET
    http_request: Annotated[Duration | UnsetType, Meta(description=_HTTP_REQUEST)] = UNSET
    http_keep_alive: Annotated[Duration | UnsetType, Meta(description=_HTTP_KEEP_ALIVE)] = UNSET
    tunnel: Annotated[Duration | UnsetType, Meta(description=_TUNNEL)] = UNSET
    client_fin: Annotated[Duration | UnsetType, Meta(description=_CLIENT_FIN)] = UNSET
    tarpit: Annotated[Duration | UnsetType, Meta(description=_TARPIT)] = UNSET


class BackendTimeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait for servers; what is not said comes from `defaults`."""

    connect: Annotated[Duration | UnsetType, Meta(description=_CONNECT)] = UNSET
    server: Annotated[Duration | UnsetType, Meta(description=_SERVER)] = UNSET
    tunnel: Annotated[Duration | UnsetType, Meta(description=_TUNNEL)] = UNSET
    check: Annotated[Duration | UnsetType, Meta(description=_CHECK)] = UNSET
    server_fin: Annotated[Duration | UnsetType, Meta(description=_SERVER_FIN)] = UNSET
    tarpit: Annotated[Duration | UnsetType, Meta(description=_TARPIT)] = UNSET


class Keepalive(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """TCP keep-alive probes of the kernel; what is not said is the kernel's setting."""

    idle: Annotated[
        Seconds | UnsetType, Meta(description="Silence before the first probe, whole seconds.", examples=["60s"])
    ] = UNSET
    interval: Annotated[
        Seconds | UnsetType, Meta(description="Time between probes, whole seconds.", examples=["10s"])
    ] = UNSET
    count: Annotated[
        Annotated[int, Meta(ge=1, le=127)] | UnsetType,
        Meta(description="Unanswered probes before the connection is given up.", examples=[6]),
    ] = UNSET


class Debug(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Test devices of the debug build; allowed only when LB_DEBUG_CONFIG=1 is in the environment."""

    transport: Annotated[
        Literal["tcp", "twisted"],
        Meta(description="`twisted` holds bytes back and wants the other direction.", extra={"noun": "transport"}),
    ] = "tcp"
    codec: Annotated[
        Literal["h1", "mux"], Meta(description="`mux` is the in-memory multiplexing codec.", extra={"noun": "codec"})
    ] = "h1"
    park: Annotated[
        bool, Meta(description="Every request of this bind waits until the engine is told to resume it.")
    ] = False


class Defaults(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What frontends and backends inherit unless they say otherwise."""

    timeouts: Annotated[Timeouts, Meta(description="How long to wait.")] = Timeouts()
    retries: Annotated[
        Retries, Meta(description="Connection attempts beyond the first, each on another server if there is one.")
    ] = 3
    errors: Pages = {}
    errorfiles: ErrorFiles = ()
    trusted_proxies: TrustedProxies = UNSET
    client_address: ClientAddress = False
    forwarded_for: ForwardedForGiven = False
    forwarded: ForwardedGiven = False
    x_forwarded: XForwardedGiven = ()
    via: ViaGiven = False
    request_id: RequestIdGiven = False
    http_reuse: Annotated[HttpReuse, Meta(description=REUSE, extra={"noun": "reuse"})] = "safe"
    http_connection: Annotated[HttpConnection, Meta(description=HTTP_CONNECTION, extra={"noun": "connection mode"})] = (
        "keep-alive"
    )
