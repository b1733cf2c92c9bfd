"""How connections are made, kept and shared: pools of server connections, modes, socket options."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Duration

# TCP_MAXSEG: TCP_MIN_MSS and MAX_TCP_WINDOW of the kernel, less what options may take.
MSS_MIN, MSS_MAX = 88, 32_767
FAST_OPEN_MAX = 65_535
# What a fast open queue has when a bind only says `true`; HAProxy's is its backlog, nginx asks for a number.
FAST_OPEN_QUEUE = 1024
REQUESTS_MAX = 1_000_000_000

HttpReuse = Literal["never", "safe", "aggressive", "always"]
HttpConnection = Literal["keep-alive", "server-close", "close"]
ServerConnection = Literal["keep-alive", "server-close"]

Requests = Annotated[int, Meta(ge=1, le=REQUESTS_MAX)]
# What Linux takes as the name of an interface: IFNAMSIZ with its NUL, no white space, no '/'.
Interface = Annotated[str, Meta(pattern=r"^[^\s/]{1,15}$(?!\n)", extra={"kind": "interface"})]
SegmentSize = Annotated[int, Meta(ge=MSS_MIN, le=MSS_MAX)]

REUSE = (
    "Who may send a request over an idle server connection. `never`: only the client for which it was opened. `safe`: the "
    "first request of a client only if lb can send it again should the server be closing just then (a GET; not a POST); "
    "later requests always. `aggressive`: any first request too, on a connection that has been reused before. `always`: any "
    "request."
)
HTTP_CONNECTION = (
    "What lives longer than one request. `keep-alive`: the connections of clients and servers. `server-close`: only those of "
    "clients. `close`: neither."
)
SERVER_CONNECTION = (
    "`server-close`: a server connection carries one request, whatever the frontend says. `keep-alive`: as the frontend "
    "says."
)
INTERFACE = "Name of the network interface, such as `eth1`, that packets must come and go by."
MSS = "Largest TCP segment, in bytes (TCP_MAXSEG)."
USER_TIMEOUT = (
    "How long sent bytes may stay unacknowledged before the kernel gives the connection up (TCP_USER_TIMEOUT)."
)


class Pool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Idle server connections; what a server does not say, its backend says."""

    max_idle: Annotated[
        Annotated[int, Meta(ge=0, le=10_000_000)] | UnsetType,
        Meta(
            description="Idle connections kept for one server by all workers together, each keeping its share; 0 keeps none. "
            "Without it only `global.max_idle` limits them."
        ),
    ] = UNSET
    idle_timeout: Annotated[
        Duration | UnsetType,
        Meta(description="A connection is closed when it has been idle for this long; `60s` if not given."),
    ] = UNSET
    max_requests: Annotated[
        Requests | UnsetType,
        Meta(description="A connection carries this many requests and is closed.", examples=[1000]),
    ] = UNSET
    max_age: Annotated[
        Duration | UnsetType,
        Meta(description="A connection opened longer ago carries no new request.", examples=["1h"]),
    ] = UNSET
