"""Routes against a slow, obvious model: look at every route that matches and keep the most specific."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lb._speedups.face.plan import build
from lb._speedups.face.testing_plan import ROUTE_HOST_MAX, Plan
from lb.config import compile as compile_configuration
from lb.config.plan import FrontendRow, Rows, ServerRow
from lb.config.routerows import PlaceRow, ReplyRow, RouteRow
from lb.config.routing import OVERLAP_MAX, overlap

NO_KEEPALIVE = (0, 0, 0)
HOST, PATH = "host", "path"


@dataclass(frozen=True)
class Rule:
    """A route as a user writes it."""

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, bool | str | tuple[str, ...]], ...] = ()
    query: tuple[tuple[str, bool | str | tuple[str, ...]], ...] = ()

    def written(self) -> dict[str, Any]:
        match: dict[str, Any] = {}
        for word, value in (("host", self.hosts), ("path", self.paths), ("method", self.methods)):
            if value:
                match[word] = list(value) if len(value) > 1 else value[0]
        for word, pairs in (("headers", self.headers), ("query", self.query)):
            if pairs:
                match[word] = {name: list(want) if isinstance(want, tuple) else want for name, want in pairs}
        return {"match": match or {"path": "/*"}, "to": "app"}


@dataclass(frozen=True)
class Asked:
    """A request."""

    authority: bytes
    path: bytes
    query: bytes = b""
    method: bytes = b"GET"
    fields: tuple[tuple[bytes, bytes], ...] = ()


def plan_of(rules: list[Rule], default: bool = False) -> Plan:
    frontend: dict[str, Any] = {"bind": [":80"], "routes": [rule.written() for rule in rules]}
    if default or not rules:
        frontend["default_backend"] = "app"
    compiled = compile_configuration(
        {
            "version": 1,
            "global": {"log": []},
            "frontends": {"web": frontend},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    return Plan(build(1, compiled.rows, list(range(1, len(compiled.objects) + 1)), [64]))


def find(plan: Plan, asked: Asked) -> tuple[int, int]:
    return plan.route(0, asked.authority, asked.path, asked.query, asked.method, asked.fields)[:2]


# ---- the model ----


def normal(authority: bytes) -> bytes:
    """Return the host of an authority as routes know it."""
    if authority.startswith(b"[") and b"]" in authority:
        return authority[: authority.index(b"]") + 1].lower()
    return authority.partition(b":")[0].removesuffix(b".").lower()


def host_rank(pattern: str, host: bytes) -> tuple[int, int] | None:
    """Return how specific a pattern is that takes this host; None if it does not."""
    if pattern in ("", "*"):
        return (0, 0)
    if pattern.startswith("*."):
        tail = pattern[1:].encode().lower()
        return (1, tail.count(b".")) if host.endswith(tail) and len(host) > len(tail) else None
    return (2, 0) if pattern.encode().lower() == host else None


# What a segment of a pattern is worth, from the left; an end is worth more than the star that goes on.
LITERAL, PARAMETER, END, STAR = 4, 3, 2, 1


def path_rank(pattern: str, path: bytes) -> tuple[int, ...] | None:
    if not path.startswith(b"/"):
        return (STAR,) if pattern == "/*" else None
    parts = pattern[1:].split("/")
    given = path[1:].split(b"/")
    rank: list[int] = []
    for number, part in enumerate(parts):
        if part == "*" and number == len(parts) - 1:
            return (*rank, STAR) if len(given) > number else None
        if number >= len(given):
            return None
        if part.startswith("{"):
            if not given[number]:
                return None
            rank.append(PARAMETER)
        elif part.encode() != given[number]:
            return None
        elif number == len(parts) - 1 and not part:
            rank.append(END)
        else:
            rank.append(LITERAL)
    return tuple(rank) if len(given) == len(parts) else None


def holds(want: bool | str | tuple[str, ...], values: list[bytes]) -> bool:
    if isinstance(want, bool):
        return bool(values) == want
    wanted = (want,) if isinstance(want, str) else want
    return any(each.encode() in values for each in wanted)


def conditions_hold(rule: Rule, asked: Asked) -> bool:
    for name, want in rule.headers:
        if not holds(want, [value for field, value in asked.fields if field.lower() == name.lower().encode()]):
            return False
    pairs = [piece.partition(b"=")[::2] for piece in asked.query.split(b"&") if piece]
    return all(holds(want, [value for key, value in pairs if key == name.encode()]) for name, want in rule.query)


def takes(rule: Rule, method: bytes) -> bool:
    methods = {each.encode() for each in rule.methods}
    return not methods or method in methods or (method == b"HEAD" and b"GET" in methods)


def expected(rules: list[Rule], default: bool, asked: Asked) -> tuple[int, set[str]]:
    """Return the number of the route that wins, and the methods that would have found one."""
    best: tuple[Any, int] | None = None
    allowed: set[str] = set()
    for number, rule in enumerate(rules):
        conditions = len(rule.headers) + len(rule.query) + bool(rule.methods)
        for host in rule.hosts or ("",):
            for path in rule.paths or ("/*",):
                by_host, by_path = host_rank(host, normal(asked.authority)), path_rank(path, asked.path)
                if by_host is None or by_path is None or not conditions_hold(rule, asked):
                    continue
                if not takes(rule, asked.method):
                    allowed.update(rule.methods)
                    continue
                rank = (by_host, by_path, conditions, -number)
                if best is None or rank > best[0]:
                    best = rank, number
    if best is not None:
        return best[1], set()
    return (len(rules), set()) if default or not rules else (-1, allowed)


# ---- what may be asked ----

SEGMENTS = ["", "a", "b", "ab", "static", "v1", "eightbyt", "a-segment-of-more-than-sixteen-bytes", ".", "%2f", "*a"]
HOSTS = ["a", "b.example", "api.example.com", "[::1]", "10.0.0.1", "*.example.com", "*.api.example.com", "*.com", "*"]

few = st.sampled_from(SEGMENTS[:6])
segment = st.sampled_from(SEGMENTS[:-1])


@st.composite
def path_patterns(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.one_of(few, few, segment, st.just("{}")), max_size=4))
    named = [f"{{p{number}}}" if part == "{}" else part for number, part in enumerate(parts)]
    return "/" + "/".join([*named, draw(st.sampled_from(["", "*", "a", "b", "{last}"]))])


want = st.one_of(st.booleans(), st.sampled_from(["x", "y", ("x", "z"), ("y",)]))
pairs = st.dictionaries(st.sampled_from(["x-a", "X-B"]), want, max_size=2).map(lambda each: tuple(each.items()))
params = st.dictionaries(st.sampled_from(["a", "B"]), want, max_size=2).map(lambda each: tuple(each.items()))
methods = st.lists(st.sampled_from(["GET", "POST", "PURGE", "X-OWN"]), max_size=2, unique=True).map(tuple)
rare = st.integers(0, 3)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    hosts = draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True))
    paths = draw(st.lists(path_patterns(), min_size=not hosts, max_size=2, unique=True))
    is_plain = draw(st.booleans())
    return Rule(
        tuple(hosts),
        tuple(paths),
        () if is_plain else draw(methods),
        () if is_plain else draw(pairs),
        () if is_plain else draw(params),
    )


def key(rule: Rule) -> list[tuple[object, ...]]:
    def plain(conditions: tuple[tuple[str, object], ...]) -> frozenset[tuple[str, object]]:
        return frozenset(
            (name.lower(), frozenset([want] if isinstance(want, str) else want) if not isinstance(want, bool) else want)  # type: ignore[call-overload]
            for name, want in conditions
        )

    def shape(path: str) -> str:
        return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))

    told = frozenset(rule.methods), plain(rule.headers), plain(rule.query)
    hosts = [host if host != "*" else "" for host in rule.hosts or ("",)]
    return [(host, shape(path), *told) for host in hosts for path in rule.paths or ("/*",)]


@st.composite
def tables(draw: st.DrawFn) -> list[Rule]:
    """Draw routes of which no two match the same: lb refuses others."""
    kept: list[Rule] = []
    seen: set[tuple[object, ...]] = set()
    for rule in draw(st.lists(rules(), max_size=14)):
        keys = key(rule)
        if len(set(keys)) == len(keys) and not seen & set(keys):
            seen.update(keys)
            kept.append(rule)
    return kept


authority = st.one_of(
    st.sampled_from([b"a", b"b.example", b"api.example.com", b"[::1]", b"10.0.0.1", b"x.api.example.com", b"y.x.example.com"]),
    st.sampled_from([b"A", b"a:80", b"a.", b"a.:8080", b"[::1]:80", b"[::1", b"[", b":80", b".", b"API.Example.COM:443"]),
    st.sampled_from([b"", b"com", b".com", b"..com", b".example.com", b"x.example.com.:1", b"x" * ROUTE_HOST_MAX, b"y" * 4000]),
    st.sampled_from([b"x" * (ROUTE_HOST_MAX + 1), b"a." * 126 + b"com"]),
    st.binary(max_size=8),
)  # fmt: skip
request_path = st.one_of(
    st.lists(st.one_of(few, segment), max_size=6).map(lambda parts: ("/" + "/".join(parts)).encode()),
    st.sampled_from([b"", b"*", b"/", b"//", b"/a/b/a/b/a/b", b"/static"]),
    st.binary(max_size=12),
)
queries = st.sampled_from([b"", b"a=x", b"a", b"a=&a=y", b"b=x", b"B=z&a", b"a=x=", b"&&B=y&", b"xa=x"])
fields = st.lists(
    st.tuples(st.sampled_from([b"x-a", b"X-A", b"x-b", b"x-ab"]), st.sampled_from([b"x", b"y", b"z", b"x, y", b""])),
    max_size=3,
).map(tuple)
requests = st.builds(
    Asked, authority, request_path, queries, st.sampled_from([b"GET", b"HEAD", b"POST", b"PURGE", b"X-OWN", b"PUT"]), fields
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(tables(), st.booleans(), st.lists(requests, max_size=12))
@example([Rule(("a",))], False, [Asked(b"a", b"*"), Asked(b"a", b""), Asked(b"b", b"/")])
@example(
    [Rule((), ("/a/b/c",)), Rule((), ("/{x}/b/d",)), Rule((), ("/{x}/{y}/*",)), Rule((), ("/*",))],
    False,
    [Asked(b"", b"/a/b/c"), Asked(b"", b"/a/b/d"), Asked(b"", b"/a/b/e"), Asked(b"", b"/a/"), Asked(b"", b"/a//b")],
)
def test_the_most_specific_route_wins(table: list[Rule], default: bool, asked: list[Asked]) -> None:
    plan = plan_of(table, default)
    for each in asked:
        number, allowed = expected(table, default, each)
        found, methods = find(plan, each)
        assert found == number, each
        told = {name.decode() for name in plan.allow(0, methods, 1000).split(b", ")} - {""}
        assert told - {"HEAD"} == allowed, each
        assert ("HEAD" in told) == ("GET" in told)


@pytest.mark.parametrize(
    ("rules", "path", "winner"),
    [
        # A literal that fails deeper falls back to the parameter beside it, at any depth, as often as needed.
        (["/a/b/c/d", "/a/b/{z}/e", "/a/{y}/c/f", "/{x}/b/c/g"], "/a/b/c/d", 0),
        (["/a/b/c/d", "/a/b/{z}/e", "/a/{y}/c/f", "/{x}/b/c/g"], "/a/b/c/e", 1),
        (["/a/b/c/d", "/a/b/{z}/e", "/a/{y}/c/f", "/{x}/b/c/g"], "/a/b/c/f", 2),
        (["/a/b/c/d", "/a/b/{z}/e", "/a/{y}/c/f", "/{x}/b/c/g"], "/a/b/c/g", 3),
        (["/a/b/c/d", "/a/b/{z}/e", "/a/{y}/c/f", "/{x}/b/c/g"], "/a/b/c/h", -1),
        # A prefix is tried when nothing below it matches, and before another branch.
        (["/a/*", "/{x}/b"], "/a/b", 0),
        (["/a/b/c", "/{x}/b"], "/a/b", 1),
        (["/*", "/{x}/*", "/{x}/{y}/*"], "/a/b/c", 2),
        (["/*", "/{x}/*", "/{x}/{y}/*"], "/a", 0),
        # A parameter is one segment, and not an empty one.
        (["/{x}"], "/", -1),
        (["/{x}"], "/a/", -1),
        (["/{x}/"], "/a/", 0),
        (["/{x}/"], "//", -1),
        (["//{x}"], "//a", 0),
    ],
)
def test_branches_are_tried_in_order(rules: list[str], path: str, winner: int) -> None:
    plan = plan_of([Rule((), (each,)) for each in rules])
    assert find(plan, Asked(b"x", path.encode()))[0] == winner


# ---- what it costs ----


def place_plan(places: list[tuple[bytes, bytes, int]]) -> Plan:
    """Make a plan of places alone: compiling a configuration of 100,000 routes takes seconds."""
    routes = [RouteRow(b"", number + 1, 4, 0) for number in range(len(places))]
    found = [PlaceRow(*place, number) for number, place in enumerate(places)]
    frontend = FrontendRow(1, b"web", 2, 0, 0, -1, 0, 0, 0, 0, NO_KEEPALIVE, found)
    replies = [ReplyRow(200, b"", b"", ())]
    rows = Rows(0, 0, [], [frontend], [], list[ServerRow](), [], routes=routes, replies=replies)
    return Plan(build(1, rows, [1, 2], []))


def test_a_hundred_thousand_routes_are_all_found() -> None:
    places = [(b"h%d.example" % (n % 1000), b"/v%d/orders/" % n, 0) for n in range(30_000)]
    places += [(b".h%d.example" % (n % 1000), b"/v%d/\0/items" % n, 1) for n in range(20_000)]
    places += [(b"", b"/v%d/orders/list" % n, 1) for n in range(50_000)]
    plan = place_plan(places)
    for n in range(0, 30_000, 77):
        assert plan.route(0, b"H%d.example:80" % (n % 1000), b"/v%d/orders/7" % n)[0] == n
        assert plan.route(0, b"other", b"/v%d/orders/list" % n)[0] == 50_000 + n
        assert plan.route(0, b"other", b"/v%d/orders/7" % n)[0] == -1
    for n in range(0, 20_000, 77):
        assert plan.route(0, b"a.b.h%d.example" % (n % 1000), b"/v%d/x/items" % n)[0] == 30_000 + n


def test_a_lookup_costs_the_same_among_10_and_among_100000_routes() -> None:
    small = place_plan([(b"h%d.example" % n, b"/v1/orders/\0/items/", 0) for n in range(10)])
    many = place_plan(
        [(b"h%d.example" % (n % 50_000), b"/v%d/orders/\0/items/" % (1 + n // 50_000), 0) for n in range(100_000)]
    )
    request = (b"h7.example:443", b"/v1/orders/12345/items/6")
    assert small.route(0, *request)[0] == many.route(0, *request)[0] == 7
    # The same steps; what differs is noise and one cache line more or less. A search would cost a thousand times as much.
    assert small.route(0, *request)[2] == many.route(0, *request)[2]

    def best(plan: Plan) -> float:
        return min(plan.route_many(0, *request, 20_000) for _ in range(7))

    assert best(many) < 4 * best(small) + 100


def test_a_path_of_many_slashes_ends_where_the_routes_end() -> None:
    plan = plan_of([Rule((), ("/a/b/*",)), Rule((), ("//*",)), Rule((), ("/{x}/{y}/{z}/w",))])
    for path in (b"/a/b/" + b"c/" * 4000, b"/" * 8000, b"/x" * 4000):
        assert plan.route(0, b"x", path)[2] <= 6


def branching(depth: int, width: int) -> list[str]:
    """Return paths whose parameters overlap as much as is allowed: the first `width` rows of a binary tree."""
    made = []
    for number in range(width):
        parts = [f"{{p{place}}}" if number >> place & 1 else "a" for place in range(depth)]
        made.append("/" + "/".join(parts) + f"/end{number}")
    return made


@pytest.mark.parametrize("depth", [4, 20, 200])
def test_no_request_costs_more_than_its_depth_times_a_constant(depth: int) -> None:
    # Every one of the branches matches to its last segment, and then fails: the worst that can be asked.
    paths = [path.replace("/end", "/" + "a/" * (depth - 4) + "end") for path in branching(4, OVERLAP_MAX)]
    plan = plan_of([Rule((), (path,)) for path in paths])
    found, _, steps = plan.route(0, b"x", b"/" + b"a/" * depth + b"none")
    assert found == -1
    assert depth <= steps <= (depth + 1) * OVERLAP_MAX
    assert plan.route(0, b"x", b"/" + b"a/" * depth + b"end0")[0] == 0
    assert plan.route(0, b"x", b"/" + b"a/" * depth + b"end15")[0] == 15


@settings(max_examples=300, deadline=None)
@given(st.lists(path_patterns(), min_size=1, max_size=30), st.lists(request_path, max_size=8))
def test_the_bound_that_is_computed_at_load_holds(paths: list[str], asked: list[bytes]) -> None:
    places = {("/".join("\0" if part.startswith("{") else part for part in path.split("/"))) for path in paths}
    told = [(path.removesuffix("*"), not path.endswith("/*")) for path in places]
    width = overlap(told)
    plan = place_plan([(b"", path.encode(), int(is_exact)) for path, is_exact in told])
    for path in asked:
        steps = plan.route(0, b"x", path)[2]
        depth = max(each.count("/") for each in paths) + 1
        assert steps <= width * min(depth, path.count(b"/") + 1)


# ---- paths that are not plain ----

PIECES = ["/", ".", "..", "%2e", "%2E", "%2f", "%5C", "\\", ";", "a", "%61", "%", "%2", "%00", "...", ".a"]


def is_plain(path: str) -> bool:
    """Decode once, cut parameters off, and look at the segments."""
    decoded = re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), path)
    segments = [segment.partition(";")[0] for segment in re.split(r"[/\\]", decoded)]
    return "\0" not in decoded and not {".", ".."} & set(segments)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map(lambda pieces: "/" + "".join(pieces)))
def test_dot_segments_are_seen_in_every_spelling(path: str) -> None:
    assert Plan.is_plain(path.encode()) == is_plain(path)
