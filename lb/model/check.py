"""Health: what lb does to learn whether a server is well.

A check asks a server by itself, an observation looks at what traffic shows.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Duration, Text

COUNT_MAX = 1000

Count = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
Kind = Literal["tcp", "http"]
Initial = Literal["up", "down", "fully-up", "fully-down"]
Layer = Literal["layer4", "none"]
Reaction = Literal["fastinter", "fail-check", "sudden-death", "mark-down"]


class Step(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step of a conversation: one of these keys."""

    send: Annotated[Text | UnsetType, Meta(description="Send this text.", examples=['"PING\\r\\n"'])] = UNSET
    send_binary: Annotated[
        Text | UnsetType,
        Meta(
            description="Send these bytes, written in hexadecimal.",
            examples=['"50494e470d0a"'],
            extra={"kind": "binary"},
        ),
    ] = UNSET
    expect: Annotated[Text | UnsetType, Meta(description="Wait until this text has come.", examples=["+PONG"])] = UNSET
    expect_binary: Annotated[
        Text | UnsetType,
        Meta(description="Wait until these bytes have come, written in hexadecimal.", extra={"kind": "binary"}),
    ] = UNSET
    expect_regex: Annotated[
        Text | UnsetType, Meta(description="Wait until what has come matches this regular expression (PCRE2's).")
    ] = UNSET


class Check(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An active health check, made by the supervisor. What a server says here is put over what its backend says."""

    type: Annotated[
        Kind | UnsetType,
        Meta(
            description="`tcp`: a connection can be made; it is reset at once, so most servers do not even see it. "
            "`http`: a request is answered as expected. `http` if `http` is given, else `tcp`.",
            extra={"noun": "check"},
        ),
    ] = UNSET
    http: Annotated[
        Text | UnsetType,
        Meta(
            description="The request: a method and a path, or a path alone for GET; `GET /` if not given. It is sent as HTTP/1.1.",
            examples=["GET /healthz", "/healthz?full=1"],
        ),
    ] = UNSET
    host: Annotated[
        Text | UnsetType,
        Meta(
            description="For `http`: the Host header; the server's address if not given.", examples=["www.example.com"]
        ),
    ] = UNSET
    headers: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="For `http`: more headers of the request.", examples=["{user-agent: lb}"]),
    ] = UNSET
    body: Annotated[Text | UnsetType, Meta(description="For `http`: the body of the request.")] = UNSET
    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | Text | UnsetType,
        Meta(
            description="For `http`: expected statuses and ranges, separated by commas; `200-399` if not given.",
            examples=["200,204,300-399"],
        ),
    ] = UNSET
    header: Annotated[
        dict[str, str] | UnsetType,
        Meta(
            description="For `http`: headers that the response must have, with this value whole or between commas; an empty one "
            "asks for the header alone.",
            examples=["{x-state: ready}"],
        ),
    ] = UNSET
    string: Annotated[
        Text | UnsetType, Meta(description="For `http`: a text that stands in the first 16 KiB of the response's body.")
    ] = UNSET
    regex: Annotated[
        Text | UnsetType,
        Meta(description="For `http`: a regular expression (PCRE2's) that matches somewhere in these 16 KiB."),
    ] = UNSET
    disable_on_404: Annotated[
        bool | UnsetType,
        Meta(
            description="For `http`: a server that answers 404 is well, but gets only what belongs to it, until it answers as "
            "expected again."
        ),
    ] = UNSET
    every: Annotated[
        Duration | UnsetType, Meta(description="Time from the end of a check to the next one; `2s` if not given.")
    ] = UNSET
    fast_every: Annotated[
        Duration | UnsetType,
        Meta(description="The same while the server is on its way up or down; as `every` if not given."),
    ] = UNSET
    down_every: Annotated[
        Duration | UnsetType, Meta(description="The same while the server is down; as `every` if not given.")
    ] = UNSET
    rise: Annotated[
        Count | UnsetType, Meta(description="Checks in a row that must pass before a server that is down is up; 2.")
    ] = UNSET
    fall: Annotated[
        Count | UnsetType, Meta(description="Checks in a row that must fail before a server that is up is down; 3.")
    ] = UNSET
    timeout: Annotated[
        Duration | UnsetType,
        Meta(description="Longest time for one check; `timeouts.check` if not given, and `every` without that."),
    ] = UNSET
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)] | UnsetType,
        Meta(description="Connect to this port; the server's own if not given."),
    ] = UNSET
    address: Annotated[
        Text | UnsetType,
        Meta(
            description="Connect to this IP address or unix socket; the server's own address if not given.",
            examples=["10.1.0.1", "unix@/run/app.health"],
        ),
    ] = UNSET
    init_state: Annotated[
        Initial | UnsetType,
        Meta(
            description="What a new server is before its first check: `up` (one failure takes it down), `fully-up` (`fall` "
            "failures do), `down` (one success brings it up), `fully-down` (`rise` successes do); `up` if not given.",
            extra={"noun": "init_state"},
        ),
    ] = UNSET
    steps: Annotated[
        tuple[Step, ...] | UnsetType,
        Meta(
            description="For `tcp`: what to say on the connection and what to hear, in this order. An `expect` looks at what "
            "has come since the last `send`, at most 16 KiB.",
            extra={"kind": "list", "item": '{send: "PING\\r\\n"}, {expect: "+PONG"}'},
        ),
    ] = UNSET
