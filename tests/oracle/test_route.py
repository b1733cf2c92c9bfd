"""Routes against a slow, obvious model: look at every route and keep the most specific."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lb._speedups.face.plan import build
from lb._speedups.face.testing_plan import ROUTE_HOST_MAX, Plan
from lb.config.plan import BackendRow, FrontendRow, RouteRow, Rows, ServerRow

NO_KEEPALIVE = (0, 0, 0)


def plan_of(routes: list[RouteRow], backends: int = 20, default: int = -1) -> Plan:
    """Return a plan with one frontend that has these routes."""
    frontend = FrontendRow(1, b"web", 2, 0, 0, default, 0, 0, 0, 0, NO_KEEPALIVE, routes)
    rows = Rows(
        0,
        0,
        [],
        [frontend],
        [BackendRow(2, b"b%d" % n, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, NO_KEEPALIVE) for n in range(backends)],
        list[ServerRow](),
        [],
    )
    return Plan(build(1, rows, [1, 2, 3], [64] * backends))


def normal(authority: bytes) -> bytes:
    """Return the host of an authority as routes know it."""
    if authority.startswith(b"[") and b"]" in authority:
        return authority[: authority.index(b"]") + 1].lower()
    return authority.partition(b":")[0].removesuffix(b".").lower()


def expected(routes: list[RouteRow], default: int, authority: bytes, path: bytes) -> int:
    """Return the backend of the most specific route that matches."""
    host = normal(authority)
    best: tuple[tuple[bool, int, bool], int] | None = None
    for route in routes:
        if route.host and route.host != host:
            continue
        if route.is_exact:
            matches = path == route.path
        else:
            matches = path.startswith(route.path) or (route.path == b"/" and not path.startswith(b"/"))
        rank = (bool(route.host), len(route.path), bool(route.is_exact))
        if matches and (best is None or rank > best[0]):
            best = rank, route.backend
    return default if best is None else best[1]


HOSTS = [b"", b"a", b"b.example", b"api.example.com", b"[::1]", b"10.0.0.1"]
SEGMENTS = [
    b"",
    b"a",
    b"b",
    b"ab",
    b"static",
    b"v1",
    b"eightbyt",
    b"a-segment-of-more-than-sixteen-bytes",
    b".",
    b"%2f",
]

host = st.sampled_from(HOSTS)
segments = st.lists(st.sampled_from(SEGMENTS), max_size=4)
prefix = segments.map(lambda parts: b"".join(b"/" + part for part in parts) + b"/")
exact = st.tuples(segments, st.sampled_from(SEGMENTS)).map(
    lambda both: b"".join(b"/" + part for part in both[0]) + b"/" + both[1]
)
route = st.one_of(
    st.builds(RouteRow, host, prefix, st.just(0), st.integers(0, 19)),
    st.builds(RouteRow, host, exact, st.just(1), st.integers(0, 19)),
)
routes = st.lists(route, max_size=25, unique_by=lambda each: each[:3])
authority = st.one_of(
    host,
    st.sampled_from(
        [b"A", b"a:80", b"a.", b"a.:8080", b"[::1]:80", b"[::1", b"[", b":80", b".", b"API.Example.COM:443", b"c"]
    ),
    st.binary(max_size=8),
    st.sampled_from([b"x" * ROUTE_HOST_MAX, b"x" * (ROUTE_HOST_MAX + 1), b"y" * 4000]),
)
path = st.one_of(
    exact, prefix, st.sampled_from([b"", b"*", b"/", b"//", b"/a/b/a/b/a/b", b"/static"]), st.binary(max_size=12)
)


@settings(max_examples=400, deadline=None)
@given(routes, st.integers(-1, 19), st.lists(st.tuples(authority, path), max_size=12))
@example([RouteRow(b"a", b"/", 0, 3)], -1, [(b"a", b"*"), (b"a", b""), (b"b", b"/")])
@example([RouteRow(b"a", b"/x/", 0, 3), RouteRow(b"", b"/", 0, 4)], 5, [(b"a", b"/y"), (b"a", b"/x/"), (b"a", b"/x")])
def test_the_most_specific_route_wins(
    routes: list[RouteRow], default: int, requests: list[tuple[bytes, bytes]]
) -> None:
    plan = plan_of(routes, default=default)
    for authority, path in requests:
        assert plan.route(0, authority, path) == expected(routes, default, authority, path)


def test_a_hundred_thousand_routes_are_all_found() -> None:
    routes = [RouteRow(b"h%d.example" % (n % 1000), b"/v%d/orders/" % n, 0, n % 20) for n in range(50_000)]
    routes += [RouteRow(b"", b"/v%d/orders/list" % n, 1, (n + 1) % 20) for n in range(50_000)]
    plan = plan_of(routes)
    for n in range(0, 50_000, 77):
        assert plan.route(0, b"H%d.example:80" % (n % 1000), b"/v%d/orders/7" % n) == n % 20
        assert plan.route(0, b"other", b"/v%d/orders/list" % n) == (n + 1) % 20
        assert plan.route(0, b"other", b"/v%d/orders/7" % n) == -1


def test_a_lookup_costs_the_same_among_10_and_among_100000_routes() -> None:
    few = plan_of([RouteRow(b"h%d.example" % n, b"/v1/orders/", 0, n) for n in range(10)])
    many = plan_of(
        [
            RouteRow(b"h%d.example" % (n % 50_000), b"/v%d/orders/" % (1 + n // 50_000), 0, n % 20)
            for n in range(100_000)
        ]
    )
    request = (b"h7.example:443", b"/v1/orders/12345")
    assert few.route(0, *request) == many.route(0, *request) == 7

    def best(plan: Plan) -> float:
        return min(plan.route_many(0, *request, 20_000) for _ in range(7))

    # Equal work; what differs is noise and one cache line more or less. A search would cost a thousand times as much.
    assert best(many) < 4 * best(few) + 100


def test_a_path_of_many_slashes_ends_where_the_routes_end() -> None:
    plan = plan_of([RouteRow(b"", b"/a/b/", 0, 1), RouteRow(b"", b"//", 0, 2)])
    short = min(plan.route_many(0, b"x", b"/a/b/c", 5_000) for _ in range(7))
    long = min(plan.route_many(0, b"x", b"/a/b/" + b"c/" * 4000, 5_000) for _ in range(7))
    slashes = min(plan.route_many(0, b"x", b"/" * 8000, 5_000) for _ in range(7))
    assert long < 10 * short + 1000
    assert slashes < 10 * short + 1000
