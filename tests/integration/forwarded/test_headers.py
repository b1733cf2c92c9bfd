"""The headers that lb writes, and their options."""

from __future__ import annotations

import pytest
from kit.message import reply
from kit.server import Connection
from kit.settings import Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours

FRIEND = ["127.0.0.1"]


def added(stage: Stage, frontend: Settings, *fields: str, **options: str) -> list[tuple[bytes, bytes]]:
    """Return the fields of one request as the server got it, without Host."""
    server = stage.server()
    stage.http(server, frontend=frontend)
    assert stage.client().get("/", *fields, **options).status == 200
    return [each for each in server.requests[0].fields if each[0].lower() != b"host"]


CASES: list[tuple[str, Settings, tuple[str, ...], list[str]]] = [
    ("nothing", {"forwarded_for": False, "via": False}, (), []),
    ("forwarded_for", {"forwarded_for": True}, (), ["X-Forwarded-For: 127.0.0.1"]),
    ("its name", {"forwarded_for": {"name": "X-Client"}}, ("X-Client: a",), ["X-Client: 127.0.0.1"]),
    ("except", {"forwarded_for": {"except": ["loopback"]}}, (), []),
    ("except, from a stranger", {"forwarded_for": {"except": ["loopback"]}}, ("X-Forwarded-For: a",), []),
    (
        "except, from a proxy",
        {"forwarded_for": {"except": ["loopback"]}, "trusted_proxies": FRIEND},
        ("X-Forwarded-For: a",),
        ["X-Forwarded-For: a"],
    ),
    ("except others", {"forwarded_for": {"except": ["10.0.0.0/8"]}}, (), ["X-Forwarded-For: 127.0.0.1"]),
    (
        "append",
        {"forwarded_for": True, "trusted_proxies": FRIEND},
        ("X-Forwarded-For: a", "X-Forwarded-For: b"),
        ["X-Forwarded-For: a", "X-Forwarded-For: b", "X-Forwarded-For: 127.0.0.1"],
    ),
    (
        "replace",
        {"forwarded_for": {"mode": "replace"}, "trusted_proxies": FRIEND},
        ("X-Forwarded-For: a", "X-Forwarded-For: b"),
        ["X-Forwarded-For: 127.0.0.1"],
    ),
    (
        "if_none, there is one",
        {"forwarded_for": {"mode": "if_none"}, "trusted_proxies": FRIEND},
        ("X-Forwarded-For: a",),
        ["X-Forwarded-For: a"],
    ),
    (
        "if_none, there is none",
        {"forwarded_for": {"mode": "if_none"}, "trusted_proxies": FRIEND},
        (),
        ["X-Forwarded-For: 127.0.0.1"],
    ),
    (
        "if_none, from a stranger",
        {"forwarded_for": {"mode": "if_none"}},
        ("X-Forwarded-For: a",),
        ["X-Forwarded-For: 127.0.0.1"],
    ),
    ("forwarded", {"forwarded": True}, (), ["Forwarded: proto=http;for=127.0.0.1"]),
    (
        "all parts",
        {"forwarded": {"host": True, "by": "address", "for": "address"}},
        (),
        ["Forwarded: proto=http;host=lb.test;by=127.0.0.1;for=127.0.0.1"],
    ),
    ("hidden", {"forwarded": {"for": "_hidden", "proto": False}}, (), ["Forwarded: for=_hidden"]),
    (
        "unknown",
        {"forwarded": {"for": "unknown", "by": "_lb.1-x"}},
        (),
        ["Forwarded: proto=http;by=_lb.1-x;for=unknown"],
    ),
    ("only proto", {"forwarded": {"for": "none"}}, (), ["Forwarded: proto=http"]),
    (
        "a list of elements",
        {"forwarded": True, "trusted_proxies": FRIEND},
        ('Forwarded: for="[2001:db8::17]", for=_x',),
        ['Forwarded: for="[2001:db8::17]", for=_x', "Forwarded: proto=http;for=127.0.0.1"],
    ),
    (
        "x_forwarded",
        {"x_forwarded": ["host", "proto", "real_ip"]},
        (),
        ["X-Forwarded-Proto: http", "X-Forwarded-Host: lb.test", "X-Real-IP: 127.0.0.1"],
    ),
    (
        "their names",
        {"x_forwarded": {"proto": "X-Scheme", "host": "X-Original-Host"}},
        ("X-Scheme: https",),
        ["X-Scheme: http", "X-Original-Host: lb.test"],
    ),
    (
        "from a proxy",
        {"x_forwarded": ["proto", "host", "port", "real_ip"], "trusted_proxies": FRIEND},
        ("X-Forwarded-Proto: https", "X-Forwarded-Host: a", "X-Forwarded-Port: 443", "X-Real-IP: b"),
        ["X-Forwarded-Proto: https", "X-Forwarded-Host: a", "X-Forwarded-Port: 443", "X-Real-IP: b"],
    ),
    ("via", {"via": "edge"}, (), ["Via: 1.1 edge"]),
    ("via, the short form", {"via": True}, (), ["Via: 1.1 lb"]),
    (
        "via behind others",
        {"via": "edge"},
        ("Via: 1.0 fred, 1.1 p.example.net (x)",),
        ["Via: 1.0 fred, 1.1 p.example.net (x)", "Via: 1.1 edge"],
    ),
    ("via in responses only", {"via": {"name": "edge", "request": False}}, (), []),
]


@pytest.mark.parametrize(
    ("frontend", "fields", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_request(stage: Stage, frontend: Settings, fields: tuple[str, ...], expected: list[str]) -> None:
    got = [(name.lower(), value) for name, value in added(stage, frontend, *fields)]  # mux has lower case
    assert got == [(name.lower().encode(), value.encode()) for name, _, value in (e.partition(": ") for e in expected)]


@pytest.mark.h1_only
def test_names_are_written_as_they_are_configured(stage: Stage) -> None:
    frontend: Settings = {
        "forwarded_for": {"name": "x-CLIENT"},
        "x_forwarded": ["proto"],
        "request_id": True,
        "via": "Edge",
    }
    names = [name for name, _ in added(stage, frontend)]
    assert names == [b"x-CLIENT", b"X-Forwarded-Proto", b"X-Request-ID", b"Via"]


def test_ports_are_those_of_the_connection(stage: Stage) -> None:
    server = stage.server()
    stage.http(
        server,
        frontend={"forwarded": {"by": "address_port", "for": "address_port", "proto": False}, "x_forwarded": ["port"]},
    )
    client = stage.client()
    port = client.sock.getpeername()[1]
    for _ in range(2):
        client.get()
    for request in server.requests:
        assert request.value("forwarded") == f'by="127.0.0.1:{port}";for="127.0.0.1:{client.local[1]}"'.encode()
        assert request.value("x-forwarded-port") == str(port).encode()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a.test", b"a.test"),
        ("a.test:8080", b'"a.test:8080"'),
        ("[2001:db8::1]:80", b'"[2001:db8::1]:80"'),
        ("a=b;c", b'"a=b;c"'),
        ("a%22b", b"a%22b"),
        ("x~y!z$", b"x~y!z$"),
    ],
)
def test_a_host_is_quoted_where_it_must_be(stage: Stage, host: str, said: bytes) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded": {"host": True, "proto": False, "for": "none"}, "x_forwarded": ["host"]})
    response = stage.client().get(host=host)
    if response.status == 400:  # no host at all
        pytest.skip("not a host")
    assert server.requests[0].value("forwarded") == b"host=" + said
    assert server.requests[0].value("x-forwarded-host") == host.encode()


def test_the_host_is_that_of_an_absolute_target(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded": {"host": True}, "x_forwarded": ["host"]})
    stage.client().get("http://other.test/x", host="other.test")
    assert server.requests[0].value("x-forwarded-host") == b"other.test"


@pytest.mark.h1_only
def test_a_request_without_a_host_has_none_to_tell(stage: Stage) -> None:
    server = stage.server()
    stage.http(
        server,
        frontend={"forwarded": {"host": True, "proto": False, "for": "none"}, "x_forwarded": ["host"], "via": "x"},
    )
    client = stage.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().status == 200
    assert [name.lower() for name in server.requests[0].names] == [b"host", b"via"]
    assert server.requests[0].value("via") == b"1.0 x"


@pytest.mark.h1_only
def test_ipv6_peers(stage: Stage) -> None:
    server = stage.server()
    stage.http(
        server,
        frontend={
            "bind": ["[::1]:0"],
            "forwarded_for": True,
            "forwarded": {"by": "address", "for": "address_port"},
            "x_forwarded": ["real_ip"],
        },
    )
    client = stage.client()
    client.get()
    (request,) = server.requests
    assert request.value("x-forwarded-for") == b"::1"
    assert request.value("x-real-ip") == b"::1"
    assert request.value("forwarded") == f'proto=http;by="[::1]";for="[::1]:{client.local[1]}"'.encode()


def test_peers_over_a_unix_socket_have_no_address(daemon: Stage) -> None:
    server = daemon.server()
    path = str(daemon.directory / "web.sock")
    frontend = {
        "bind": [f"unix@{path}"],
        "trusted_proxies": ["unix"],
        "client_address": True,
        "forwarded_for": True,
        "forwarded": {"by": "address"},
        "x_forwarded": ["real_ip", "port"],
    }
    daemon.http(server, frontend=frontend)
    client = daemon.client()
    client.get()
    client.get("/", "X-Forwarded-For: 192.0.2.7")
    first, second = server.requests
    assert first.value("forwarded") == b"proto=http;by=unknown;for=unknown"
    assert not [name for name in first.names if name.lower().startswith(b"x-")]
    assert second.values("x-forwarded-for") == [b"192.0.2.7"]
    assert second.value("x-real-ip") == b"192.0.2.7"
    assert daemon.records(2)[1].client.startswith("192.0.2.7:")


def test_a_response_says_via(stage: Stage) -> None:
    stage.http(stage.server(reply(b"x", "Via: 1.1 inner")), frontend={"via": {"name": "edge", "request": False}})
    assert stage.client().get().values("via") == [b"1.1 inner", b"1.1 edge"]


@pytest.mark.h1_only
def test_a_response_s_via_has_the_server_s_version(stage: Stage) -> None:
    stage.http(stage.server(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"), frontend={"via": "edge"})
    assert stage.client().get().value("via") == b"1.0 edge"


@pytest.mark.h1_only
def test_interim_heads_and_a_tunnel_s_head(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello")

    stage.http(stage.server(script), frontend={"via": "edge"})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
    response = client.head(upgrade="test")
    assert response.value("via") == b"1.1 edge"
    assert [each.values("via") for each in response.informational] == [[]]
    assert client.read_to_end() == b"hello"


@pytest.mark.h1_only
def test_lb_s_own_answers_say_no_via(stage: Stage) -> None:
    stage.http(stage.refused().text, frontend={"via": "edge"}, retries=0)
    response = stage.client().get()
    assert (response.status, response.values("via")) == (503, [])


@pytest.mark.parametrize(
    ("via", "status"),
    [("1.1 other", 200), ("1.1 edge", 508), ("1.0 a, 1.1 EDGE (x)", 508), ("1.1 edgeways", 200), ("1.1 an-edge", 200)],
)
def test_a_request_that_has_been_here_is_refused(stage: Stage, via: str, status: int) -> None:
    server = stage.server()
    stage.http(server, frontend={"via": {"name": "edge", "refuse_loops": True}})
    assert stage.client().get("/", f"Via: {via}").status == status
    assert len(server.requests) == (status == 200)
    assert stage.record().state == ("--" if status == 200 else "PR")


@pytest.mark.h1_only
def test_defaults_are_inherited_and_frontends_say_otherwise(stage: Stage) -> None:
    server = stage.server()
    stage.start(
        {
            "version": 1,
            "defaults": {"forwarded_for": True, "x_forwarded": ["proto"], "via": "edge"},
            "frontends": {
                "web": {"bind": ["127.0.0.1:0"], "default_backend": "app"},
                "other": {
                    "bind": ["127.0.0.1:0"],
                    "default_backend": "app",
                    "forwarded_for": {"name": "X-Ff"},
                    "x_forwarded": [],
                    "via": False,
                },
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    stage.client().get()
    stage.client("other").get()
    names = [[name for name in request.names if name != b"Host"] for request in server.requests]
    assert names == [[b"X-Forwarded-For", b"X-Forwarded-Proto", b"Via"], [b"X-Ff"]]


LONGEST: Settings = {
    "forwarded_for": {"name": "X-" + "a" * 62},
    "forwarded": {"host": True, "by": "_" + "b" * 63, "for": "_" + "c" * 63},
    "x_forwarded": {
        "proto": "X-" + "d" * 62,
        "host": "X-" + "e" * 62,
        "port": "X-" + "f" * 62,
        "real_ip": "X-" + "g" * 62,
    },
    "via": "h" * 64,
    "request_id": {"name": "X-" + "i" * 62, "accept": "any"},
}


@pytest.mark.h1_only
@pytest.mark.parametrize("size", [1, 200, *range(300, 400, 7), 500, 1000, 6000])
def test_all_that_can_be_configured_fits_and_a_longer_host_is_answered_with_431(stage: Stage, size: int) -> None:
    server = stage.server()
    stage.http(server, frontend=LONGEST)
    host = "h" * size
    response = stage.client().get("/", host=host)
    assert response.status == (200 if server.requests else 431)
    if size <= 200:
        assert server.requests[0].value("forwarded") == b"proto=http;host=%s;by=_%s;for=_%s" % (
            host.encode(), b"b" * 63, b"c" * 63,
        )  # fmt: skip
        assert len(server.requests[0].fields) == 9
    if size >= 500:
        assert response.status == 431
    assert stage.record().state == ("--" if response.status == 200 else "PR")


@pytest.mark.h1_only
@pytest.mark.parametrize("total", [15360, 15359, 15300, 14400])
@pytest.mark.parametrize("size", [4, 7000])
def test_the_longest_heads_leave_whole_or_are_refused(stage: Stage, total: int, size: int) -> None:
    """Never 500: that a head with what is added fits where it is written to is known before."""
    server = stage.server()
    frontend = LONGEST if size == 4 else {**LONGEST, "forwarded": False}
    stage.http(server, frontend=frontend)
    head = f"GET / HTTP/1.1\r\nHost: {'h' * size}\r\nX-Fill: "
    head += "x" * (total - len(head) - 4) + "\r\n\r\n"
    client = stage.client()
    client.send(head.encode())
    response = client.response()
    assert response.status == (200 if size == 4 else 431)
    if size == 4:
        (request,) = server.requests
        assert len(request.value("x-fill") or b"") > 14000 - 200
        assert request.value("via") == b"1.1 " + b"h" * 64


def test_an_edit_survives_a_request_that_is_sent_again(stage: Stage) -> None:
    """A stale connection is replaced: the head is written once more, with what was added, once."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"one"))
        if connection.number == 0:
            connection.request()  # and closes without a byte of an answer
        else:
            while True:
                connection.request()
                connection.send(reply(b"two"))

    server = stage.server(script)
    stage.http(server, frontend={"forwarded_for": True, "via": "edge"})
    client = stage.client()
    client.get()
    client.get()
    for request in server.requests:
        assert request.values("x-forwarded-for") == [b"127.0.0.1"]
        assert request.values("via") == [b"1.1 edge"]
