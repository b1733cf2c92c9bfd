"""The PROXY protocol: whose headers a bind reads, and which a backend's servers get."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from lb.model.kinds import Duration
from lb.model.network import NETWORKS, Networks

HEADER_MIN, HEADER_MAX = 232, 16_000
"""What `max_header` may be: a header of version 2 with unix paths and no TLV; nearly a buffer."""

Version = Literal["v1", "v2"]
Sending = Literal["off", "v1", "v2"]


class AcceptProxy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose connections begin with a PROXY header. A list is short for `{from: ...}`."""

    from_: Annotated[
        Networks,
        Meta(
            description="The proxies in front of lb. A connection from one of them must begin with a header of version 1 or 2, "
            "and its addresses count as the client's. " + NETWORKS,
            examples=['["10.0.0.0/8"]', "[unix]"],
            extra={"kind": "list", "item": '"10.0.0.0/8"'},
        ),
    ] = field(name="from")
    others: Annotated[
        Literal["refuse", "plain"],
        Meta(
            description="What becomes of other connections. `refuse`: they are closed. `plain` (mode http): they are served "
            "without a header; one that they send is not HTTP and answered with 400.",
            extra={"noun": "choice"},
        ),
    ] = "refuse"
    timeout: Annotated[Duration, Meta(description="Longest time for the whole header, from accept.")] = "3s"
    max_header: Annotated[
        Annotated[int, Meta(ge=HEADER_MIN, le=HEADER_MAX)],
        Meta(description="Bytes that a header of version 2 may have, with its TLVs. Of version 1 it is always 107."),
    ] = 4096


class SendProxy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A PROXY header in front of every connection to a server. `v1` or `v2` is short for `{version: ...}`."""

    version: Annotated[
        Version,
        Meta(
            description="`v1`: a line of text. `v2`: binary, which alone can carry what follows here.",
            extra={"noun": "PROXY version"},
        ),
    ] = "v2"
    crc32c: Annotated[bool, Meta(description="Add a checksum of the header.")] = False
    unique_id: Annotated[
        bool, Meta(description="Add the id of the request (mode tcp: of the connection) that opened the connection.")
    ] = False
    authority: Annotated[
        bool, Meta(description="Pass on the host name (TLV AUTHORITY) of the header that came from the client's side.")
    ] = False
    tlvs: Annotated[
        bool,
        Meta(
            description="Pass on all TLVs of that header, but for checksums and padding; an own `unique_id` replaces its one."
        ),
    ] = False
