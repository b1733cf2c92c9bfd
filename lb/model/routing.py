"""Routes: what a request must look like, and where it goes then."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from lb.model.kinds import Duration, Name, Text, Unchecked
from lb.model.limit import LIMITS, LimitNames
from lb.model.mirror import Mirror
from lb.model.traffic import Retries

SHARE_MAX = 65_535
BODY_MAX = 1_048_576

# Browsers keep no cookie longer (RFC 6265bis 5.5).
AGE_MAX_MS = 400 * 86_400_000

Share = Annotated[int, Meta(ge=0, le=SHARE_MAX, extra={"kind": "share"})]
Target = Unchecked | dict[Name, Share]

Wanted = bool | Text | tuple[Text, ...]


class Match(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request must look like; what is not said matches everything."""

    host: Annotated[
        Text | tuple[Text, ...] | UnsetType,
        Meta(
            description="A host without port, in any case; `*.example.com` is every host with one or more labels in front of "
            "`.example.com`; or a list of them.",
            examples=["api.example.com", "*.example.com"],
        ),
    ] = UNSET
    path: Annotated[
        Text | tuple[Text, ...] | UnsetType,
        Meta(
            description="`/health` matches just that path, `/v1/orders/*` every path that begins with `/v1/orders/`; "
            "`{name}` stands for one segment that is not empty; or a list of them. Paths are compared byte by byte, as "
            "they were sent.",
            examples=["/static/*", "/v1/orders/{id}/items/*"],
        ),
    ] = UNSET
    method: Annotated[
        Text | tuple[Text, ...] | UnsetType,
        Meta(
            description="A method or a list of them; `GET` also takes `HEAD`. When only methods keep every route from "
            "matching and there is no default, the answer is 405 with `Allow`.",
            examples=["GET"],
        ),
    ] = UNSET
    headers: Annotated[
        dict[Text, Wanted],
        Meta(
            description="By name of a header: `true` (it is there), `false` (it is not), the exact value of one of its lines, or "
            "a list of such values.",
            examples=["{x-beta: true, x-region: [eu, us]}"],
        ),
    ] = {}
    query: Annotated[
        dict[Text, Wanted],
        Meta(
            description="The same by name of a parameter of the query, names and values as they were sent.",
            examples=["{version: '2'}"],
        ),
    ] = {}


class Sticky(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What keeps a client on its share of a weighted split: a cookie, or a key that it brings.

    A client's point is fixed; when percentages change, only as many clients move as the change demands.
    """

    cookie: Annotated[
        Text | UnsetType,
        Meta(description="Name of a cookie that lb sets: it holds the client's point.", examples=["lb_split"]),
    ] = UNSET
    by: Annotated[
        Text | UnsetType,
        Meta(
            description="Instead of a cookie: `source` (the client's address), `req.hdr(name)`, the last value of a header, or "
            "`req.cook(name)`, a cookie of the application. A request without it is dealt at random.",
            examples=["req.hdr(x-user)"],
        ),
    ] = UNSET
    path: Annotated[Text | UnsetType, Meta(description="The cookie's `Path`; `/` if not given.")] = UNSET
    domain: Annotated[
        Text | UnsetType, Meta(description="The cookie's `Domain`; without it only the host itself gets it back.")
    ] = UNSET
    max_age: Annotated[
        Text | UnsetType,
        Meta(
            description="The cookie's `Max-Age`, a duration in whole seconds of at most 400d; without it the cookie ends "
            "with the browser's session.",
            examples=["30d"],
        ),
    ] = UNSET
    http_only: Annotated[
        bool | UnsetType, Meta(description="Keep the cookie from scripts (`HttpOnly`); true if not given.")
    ] = UNSET
    secure: Annotated[
        bool | UnsetType, Meta(description="Have the cookie sent over TLS only (`Secure`); false if not given.")
    ] = UNSET
    same_site: Annotated[
        Literal["strict", "lax", "none"] | UnsetType,
        Meta(description="The cookie's `SameSite`; `lax` if not given.", extra={"noun": "same_site"}),
    ] = UNSET


class Redirect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer that sends the client elsewhere. Exactly one of `location`, `prefix` and `scheme`."""

    location: Annotated[
        Text | UnsetType,
        Meta(
            description="The address as it is; `{name}` stands for a parameter of the route's path.",
            examples=["https://www.example.com/", "/v2/orders/{id}"],
        ),
    ] = UNSET
    prefix: Annotated[
        Text | UnsetType,
        Meta(description="What is put in front of the request's path and query.", examples=["https://www.example.com"]),
    ] = UNSET
    scheme: Annotated[
        Literal["http", "https"] | UnsetType,
        Meta(description="The same host, path and query under this scheme.", extra={"noun": "scheme"}),
    ] = UNSET
    code: Annotated[
        Literal[301, 302, 303, 307, 308],
        Meta(description="The status: 301 and 308 are permanent, 307 and 308 keep the method.", extra={"noun": "code"}),
    ] = 302
    drop_query: Annotated[bool, Meta(description="Leave the query out (`prefix` and `scheme`).")] = False


class Reply(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer that lb gives itself."""

    status: Annotated[int, Meta(ge=200, le=599, description="The status.")] = 200
    body: Annotated[Text | UnsetType, Meta(description="The body as text, sent in UTF-8.")] = UNSET
    file: Annotated[
        Text | UnsetType,
        Meta(
            description="A file with the body, read when the configuration is read; relative to the configuration's folder. At "
            "most 1 MiB."
        ),
    ] = UNSET
    content_type: Annotated[
        Text | UnsetType,
        Meta(description="Content-Type; `text/plain; charset=utf-8` if not given.", examples=["application/json"]),
    ] = UNSET
    headers: Annotated[
        dict[Text, str],
        Meta(description="Further headers by name.", examples=['{cache-control: no-store, retry-after: "60"}']),
    ] = {}


class RouteTimeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait on this route; what is not said comes from frontend and backend."""

    client: Annotated[Duration | UnsetType, Meta(description="As in a frontend, once the route is chosen.")] = UNSET
    connect: Annotated[Duration | UnsetType, Meta(description="As in a backend.")] = UNSET
    server: Annotated[Duration | UnsetType, Meta(description="As in a backend.")] = UNSET
    tunnel: Annotated[Duration | UnsetType, Meta(description="As in a backend.")] = UNSET


class Route(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way from a request to a backend or an answer: exactly one of `to`, `redirect` and `reply`.

    The most specific route wins, whatever the order. Host first: exact, then wildcards, the longest first, then any. Then
    the path, from the left: at the first segment that differs a literal beats a parameter and a parameter beats `/*`. Then
    the one with more conditions (method, headers, query), then the first in the file.
    """

    name: Annotated[Name | UnsetType, Meta(description="A name for people.")] = UNSET
    match: Annotated[Match, Meta(description="What a request must look like.")]
    to: Annotated[
        Target | UnsetType,
        Meta(
            description="Name of the backend, or backends with their shares of the requests.",
            extra={"kind": "backend"},
            examples=["orders", "{orders: 95, canary: 5}"],
        ),
    ] = UNSET
    redirect: Annotated[Redirect | UnsetType, Meta(description="Send the client elsewhere.")] = UNSET
    reply: Annotated[Reply | UnsetType, Meta(description="Answer with a fixed response.")] = UNSET
    sticky: Annotated[
        Sticky | UnsetType, Meta(description="What keeps a client on its share of `to`; the frontend's if not given.")
    ] = UNSET
    mirror: Annotated[
        Mirror | UnsetType, Meta(description="Copies of requests of this route, instead of the frontend's.")
    ] = UNSET
    limits: Annotated[LimitNames, Meta(description=LIMITS, extra={"kind": "list", "item": "per_client"})] = ()
    timeouts: Annotated[RouteTimeouts, Meta(description="How long to wait on this route.")] = RouteTimeouts()
    retries: Annotated[
        Retries | UnsetType, Meta(description="Connection attempts beyond the first, instead of the backend's.")
    ] = UNSET


def backends_of(target: Target | UnsetType) -> tuple[str, ...]:
    """Return the names of the backends that a target leads to."""
    if target is UNSET:
        return ()
    return (target,) if isinstance(target, str) else tuple(target)
