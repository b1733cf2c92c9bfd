"""Mirroring: copies of requests for another backend."""

from typing import Annotated

from msgspec import Meta, Struct

from lb.model.kinds import Duration, Name, Size

COPIES_MAX = 65_535


class Mirror(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Copies of requests for another backend; nobody waits for its answers."""

    to: Annotated[Name, Meta(description="Name of the backend that gets the copies.", extra={"kind": "backend"})]
    percent: Annotated[
        Annotated[int, Meta(ge=0, le=100)], Meta(description="How many of the requests are copied, chosen at random.")
    ] = 100
    max_body: Annotated[Size, Meta(description="A request with a longer body is not copied.")] = "64k"
    max_copies: Annotated[
        Annotated[int, Meta(ge=1, le=COPIES_MAX)],
        Meta(description="Copies at a time in each worker; what would be more is not sent."),
    ] = 256
    timeout: Annotated[Duration, Meta(description="Longest time a copy may take as a whole; then it is cut.")] = "30s"
