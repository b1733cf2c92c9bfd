"""From routes to rows of the plan image: what a request is compared with, and where it goes then."""

import os
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.routing import mirror_of, sticky_of, values_of
from lb.model import Frontend, Mirror, Redirect, Reply, Route, Sticky
from lb.model.hashkey import parse_key
from lb.model.route import METHODS, Pattern, parse_host, parse_location, parse_path
from lb.model.routing import AGE_MAX_MS, BODY_MAX, Target, Wanted
from lb.model.units import duration_ms, size_bytes

# Numbers of plan.pxd.
TARGET_BACKEND, TARGET_SPLIT, TARGET_REDIRECT, TARGET_REPLY = 1, 2, 3, 4
CONDITION_FIELD, CONDITION_PARAM = 1, 2
TEST_PRESENT, TEST_ABSENT, TEST_IS = 1, 2, 3
REDIRECT_LOCATION, REDIRECT_PREFIX, REDIRECT_SCHEME = 1, 2, 3
REDIRECT_DROP_QUERY = 1 << 0
KEYS = {"source": 1, "uri": 2, "hdr": 3, "req.hdr": 4, "req.cook": 5, "url_param": 6}
HASH_XXH3 = 5

# The bits of plan_route_t.methods that are left for methods which HTTP does not know.
EXTRA_METHOD = 10

ANYWHERE = Pattern("/", False, {})


class KeyRow(NamedTuple):
    """One plan_key_t: what of a stream is hashed, if it is."""

    source: int = 0
    function: int = 0
    flags: int = 0
    depth: int = 0
    len: int = 0
    name: bytes = b""


class ConditionRow(NamedTuple):
    """One plan_condition_t."""

    kind: int
    test: int
    name: bytes  # of a header in lower case
    values: tuple[bytes, ...] = ()


class SplitRow(NamedTuple):
    """One plan_split_t."""

    shares: tuple[tuple[int, int], ...]  # backend, weight
    key: KeyRow = KeyRow()
    cookie: bytes = b""
    attributes: bytes = b""


class RedirectRow(NamedTuple):
    """One plan_redirect_t."""

    kind: int
    status: int
    flags: int
    pieces: tuple[tuple[bytes, int], ...]  # a literal and 0, or b"" and a segment of the path + 1


class ReplyRow(NamedTuple):
    """One plan_reply_t."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class RouteRow(NamedTuple):
    """One plan_route_t: a route, or the default of a frontend."""

    name: bytes
    number: int  # its place in the frontend's routes from 1, 0 = the default
    kind: int
    target: int  # index of a backend, split, redirect or reply
    methods: int = 0  # bits by METHODS, 0 = any
    conditions: tuple[ConditionRow, ...] = ()
    retries: int = -1
    connect_ms: int = 0
    server_ms: int = 0
    tunnel_ms: int = 0
    client_ms: int = 0
    mirror: int = 0  # place among the mirrors + 1, 0 = none
    limits: tuple[int, ...] = ()  # numbers of rate limits


class MirrorRow(NamedTuple):
    """One plan_mirror_t."""

    backend: int  # index
    percent: int
    max_body: int
    max_copies: int
    timeout_ms: int


class PlaceRow(NamedTuple):
    """A host and a path of a route; `lb.model.route` says how they are spelled."""

    host: bytes
    path: bytes
    is_exact: int
    route: int  # index of its RouteRow


class Tables:
    """The routes of all frontends and what they need."""

    def __init__(
        self, backends: dict[str, int], folder: str, limits: Callable[[tuple[str, ...]], tuple[int, ...]]
    ) -> None:
        self.backends = backends
        self.limits = limits
        self.folder = folder
        self.routes: list[RouteRow] = []
        self.splits: list[SplitRow] = []
        self.redirects: list[RedirectRow] = []
        self.replies: list[ReplyRow] = []
        self.mirrors: dict[MirrorRow, int] = {}  # with their places + 1
        self.findings: list[Finding] = []

    def frontend(self, name: str, frontend: Frontend) -> tuple[list[PlaceRow], list[bytes], int]:
        """Add the routes of a frontend; return their places, its methods that HTTP does not know, its default or -1."""
        places: list[PlaceRow] = []
        extra: dict[str, int] = {}
        for index, route in enumerate(frontend.routes):
            number = len(self.routes)
            match = route.match
            patterns = [parse_path(each) for each in values_of(match.path)] or [ANYWHERE]
            kind, target = self._destination(("frontends", name, "routes", index), frontend, route, patterns)
            timeouts = route.timeouts
            self.routes.append(
                RouteRow(
                    b"" if route.name is UNSET else route.name.encode(),
                    index + 1,
                    kind,
                    target,
                    _methods(values_of(match.method), extra),
                    (*_conditions(CONDITION_FIELD, match.headers), *_conditions(CONDITION_PARAM, match.query)),
                    -1 if route.retries is UNSET else route.retries,
                    _ms(timeouts.connect),
                    _ms(timeouts.server),
                    _ms(timeouts.tunnel),
                    _ms(timeouts.client),
                    self._mirror(mirror_of(frontend, route)),
                    self.limits(route.limits),
                )
            )
            hosts = dict.fromkeys(map(parse_host, values_of(match.host))) or {"": None}
            found = dict.fromkeys((each.path, each.is_exact) for each in patterns)
            for host in hosts:
                at = host.encode()
                places.extend(PlaceRow(at, path.encode(), int(is_exact), number) for path, is_exact in found)
        default = -1
        if frontend.default_backend is not UNSET:
            default = len(self.routes)
            kind, target = self._target(frontend.default_backend, sticky_of(frontend, None))
            mirror = self._mirror(mirror_of(frontend, None))
            self.routes.append(RouteRow(b"", 0, kind, target, mirror=mirror))
        return places, [each.encode() for each in extra], default

    def mirror(self, frontend: Frontend) -> int:
        """Return the place + 1 of what mirrors requests whose backend a rule chose."""
        return self._mirror(mirror_of(frontend, None))

    def _mirror(self, mirror: Mirror | UnsetType) -> int:
        """Return the place of a mirror + 1; the same one twice is one."""
        if mirror is UNSET:
            return 0
        row = MirrorRow(
            self.backends[mirror.to],
            mirror.percent,
            size_bytes(mirror.max_body),
            mirror.max_copies,
            duration_ms(mirror.timeout),
        )
        return self.mirrors.setdefault(row, len(self.mirrors) + 1)

    def _destination(self, at: Path, frontend: Frontend, route: Route, patterns: list[Pattern]) -> tuple[int, int]:
        if route.redirect is not UNSET:
            self.redirects.append(_redirect(route.redirect, patterns))
            return TARGET_REDIRECT, len(self.redirects) - 1
        if route.reply is not UNSET:
            self.replies.append(self._reply((*at, "reply"), route.reply))
            return TARGET_REPLY, len(self.replies) - 1
        assert route.to is not UNSET
        return self._target(route.to, sticky_of(frontend, route))

    def _target(self, target: Target, sticky: Sticky | UnsetType) -> tuple[int, int]:
        if isinstance(target, str):
            return TARGET_BACKEND, self.backends[target]
        shares = tuple((self.backends[name], weight) for name, weight in target.items())
        row = SplitRow(shares)
        if sticky is not UNSET and sticky.cookie is not UNSET:
            row = SplitRow(shares, KeyRow(), sticky.cookie.encode(), _attributes(sticky).encode())
        elif sticky is not UNSET and sticky.by is not UNSET:
            source, name = ("source", "") if sticky.by == "source" else parse_key(sticky.by)
            name = name.lower() if source == "req.hdr" else name
            row = SplitRow(shares, KeyRow(KEYS[source], HASH_XXH3, name=name.encode()))
        self.splits.append(row)
        return TARGET_SPLIT, len(self.splits) - 1

    def _reply(self, at: Path, reply: Reply) -> ReplyRow:
        body = b"" if reply.body is UNSET else reply.body.encode()
        if reply.file is not UNSET:
            body = self._file((*at, "file"), reply.file)
        kind = "" if reply.content_type is UNSET else reply.content_type
        headers = tuple((name.encode(), value.encode()) for name, value in reply.headers.items())
        return ReplyRow(reply.status, kind.encode(), body, headers)

    def _file(self, at: Path, given: str) -> bytes:
        path = os.path.join(self.folder, given)
        try:
            # A pipe or device would have no end, or none in time.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
                if not os.path.isfile(path):
                    raise IsADirectoryError(0, "not a regular file")
                found = stream.read(BODY_MAX + 1)
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error).lower()
            self._report(at, f"file '{line_text(path)}' cannot be read: {reason}", "give the path of a readable file")
            return b""
        if len(found) > BODY_MAX:
            self._report(at, f"file '{line_text(path)}' is larger than {BODY_MAX} bytes", "have a server send it")
        return found

    def _report(self, at: Path, message: str, hint: str) -> None:
        self.findings.append(Finding(at, f"frontend '{at[1]}'", message, hint))


def _methods(given: tuple[str, ...], extra: dict[str, int]) -> int:
    bits = 0
    for method in given:
        bits |= 1 << METHODS[method] if method in METHODS else 1 << extra.setdefault(method, EXTRA_METHOD + len(extra))
        if method == "GET":
            bits |= 1 << METHODS["HEAD"]
    return bits


def _conditions(kind: int, wanted: dict[str, Wanted]) -> list[ConditionRow]:
    rows: list[ConditionRow] = []
    for name, value in wanted.items():
        raw = (name.lower() if kind == CONDITION_FIELD else name).encode()
        if isinstance(value, bool):
            rows.append(ConditionRow(kind, TEST_PRESENT if value else TEST_ABSENT, raw))
        else:
            rows.append(ConditionRow(kind, TEST_IS, raw, tuple(each.encode() for each in values_of(value))))
    return rows


def _redirect(redirect: Redirect, patterns: list[Pattern]) -> RedirectRow:
    flags = REDIRECT_DROP_QUERY if redirect.drop_query else 0
    if redirect.prefix is not UNSET:
        return RedirectRow(REDIRECT_PREFIX, redirect.code, flags, ((redirect.prefix.encode(), 0),))
    if redirect.scheme is not UNSET:
        return RedirectRow(REDIRECT_SCHEME, redirect.code, flags, ((redirect.scheme.encode() + b"://", 0),))
    assert redirect.location is not UNSET
    segments = patterns[0].parameters
    pieces = parse_location(redirect.location, segments)
    made = tuple((b"", segments[name] + 1) if name else (literal.encode(), 0) for literal, name in pieces)
    return RedirectRow(REDIRECT_LOCATION, redirect.code, flags, made)


def _attributes(sticky: Sticky) -> str:
    said = [f"Path={'/' if sticky.path is UNSET else sticky.path}"]
    if sticky.domain is not UNSET:
        said.append(f"Domain={sticky.domain}")
    if sticky.max_age is not UNSET:
        said.append(f"Max-Age={duration_ms(sticky.max_age, AGE_MAX_MS) // 1000}")
    if sticky.http_only is not False:
        said.append("HttpOnly")
    if sticky.secure is True:
        said.append("Secure")
    same_site = "lax" if sticky.same_site is UNSET else sticky.same_site
    said.append(f"SameSite={same_site.capitalize()}")
    return "".join(f"; {each}" for each in said)


def _ms(text: str | UnsetType) -> int:
    return 0 if text is UNSET else duration_ms(text)
