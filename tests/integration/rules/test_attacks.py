"""What somebody tries who wants to pass by a rule, or to have more done than was asked."""

from __future__ import annotations

from typing import Any

import pytest
from kit.message import ask, reply
from kit.server import Connection, Server
from kit.settings import LOOPBACK
from kit.stage import Stage


def ruled(
    stage: Stage, rules: list[dict[str, Any]], app: dict[str, Any] | None = None, server: Server | None = None
) -> Server:
    server = server or stage.server(reply(b"app"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", "rules": rules}},
            "backends": {"app": {"servers": [server.text], **(app or {})}},
        }
    )
    return server


def closing_when_idle(connection: Connection) -> None:
    connection.request()
    connection.send(reply(b"hello"))
    connection.head()


@pytest.mark.ours
def test_a_request_that_a_rule_made_a_post_is_never_sent_twice(stage: Stage) -> None:
    server = ruled(stage, [{"set_method": "POST", "if": "{ path /once }"}], server=stage.server(closing_when_idle))
    client = stage.client()
    assert client.get("/").status == 200
    assert client.get("/once").status == 502
    assert [each.target for each in server.requests].count("/once") == 1


@pytest.mark.ours
def test_a_request_that_a_rule_made_a_get_is_never_sent_twice(stage: Stage) -> None:
    server = ruled(stage, [{"set_method": "GET", "if": "{ path /once }"}], server=stage.server(closing_when_idle))
    client = stage.client()
    assert client.get("/").status == 200
    assert client.get("/once", method="POST", body=b"x").status == 502
    assert [each.target for each in server.requests].count("/once") == 1


@pytest.mark.parametrize(
    ("target", "status"), [("http://a", 403), ("http://a?q", 403), ("http://a/", 403), ("http://a/b", 200)]
)
def test_a_target_without_a_path_does_not_pass_by(stage: Stage, target: str, status: int) -> None:
    ruled(stage, [{"deny": True, "if": "{ path / } or { base a/ }"}])
    client = stage.client()
    client.send(ask(target, host="a"))
    assert client.response().status == status


@pytest.mark.parametrize("path", ["/x/../admin", "/x/%2e%2e/admin", "/x/..;/admin"])
def test_dot_segments_do_not_pass_by_the_rules_of_a_backend(stage: Stage, path: str) -> None:
    server = ruled(stage, [], {"rules": [{"deny": True, "if": "{ path_beg /admin }"}]})
    client = stage.client()
    assert client.get("/admin").status == 403
    assert client.get(path).status == 400
    assert not server.requests


def test_dot_segments_that_a_rule_makes_are_refused(stage: Stage) -> None:
    server = ruled(
        stage,
        [
            {"deny": True, "if": "{ path_beg /admin }"},
            {"set_path": "%[req.hdr(x-path)]", "if": "{ req.hdr(x-path) -m found }"},
        ],
    )
    client = stage.client()
    assert client.get("/", "X-Path: /b").status == 200
    assert client.get("/", "X-Path: /b/../admin").status == 400
    assert [each.target for each in server.requests] == ["/b"]


def test_options_of_the_server_as_a_whole_keeps_its_method(stage: Stage) -> None:
    server = ruled(stage, [{"set_method": "GET", "if": "METH_OPTIONS"}])
    client = stage.client()
    assert client.get("*", method="OPTIONS").status == 500
    assert client.get("/", method="OPTIONS").status == 200
    assert [(each.method, each.target) for each in server.requests] == [("GET", "/")]


@pytest.mark.parametrize("value", [b"\xff", b"a\xffb"])
def test_a_byte_above_ascii_in_a_pattern_is_that_byte(stage: Stage, value: bytes) -> None:
    ruled(stage, [{"deny": True, "if": "{ req.hdr(x-v) -m sub \\xff }"}])
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-V: " + value + b"\r\n\r\n")
    assert client.response().status == 403


def test_where_a_redirect_cannot_lead(stage: Stage) -> None:
    ruled(
        stage,
        [
            {"redirect": {"location": "/there#%[req.hdr(x-part)]"}, "if": "{ path /part }"},
            {"redirect": {"scheme": "https"}},
        ],
    )
    client = stage.client()
    answer = client.get("/part", "X-Part: a")
    assert (answer.status, answer.value("location")) == (302, b"/there#a")
    assert client.get("/part", "X-Part: a#b").status == 500
    assert client.get("/" + "a" * 7990).status == 414
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().status == 400


def pipelined(*requests: bytes) -> bytes:
    return b"".join(requests)


@pytest.mark.parametrize("action", [{"deny": 403}, {"return": {"status": 200, "body": "here"}}, {"redirect": "/else"}])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_stands_around_an_answer_of_a_rule_stays_framed(
    stage: Stage, action: dict[str, Any], chunked: bool
) -> None:
    """The body of a request that a rule answers looks like a request: it is never read as one."""
    server = ruled(stage, [{**action, "if": "{ path_beg /no }"}])
    inner = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST /no HTTP/1.1\r\nHost: a\r\n"
    if chunked:
        body = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    else:
        body = b"Content-Length: %d\r\n\r\n%s" % (len(inner), inner)
    client = stage.client()
    client.send(ask("/a") + head + body + ask("/no", method="HEAD") + ask("/b"))
    statuses = [
        client.response().status,
        client.response().status,
        client.response("HEAD").status,
        client.response().status,
    ]
    assert statuses == [200, statuses[1], statuses[1], 200]
    assert [each.target for each in server.requests] == ["/a", "/b"]


def test_the_destination_is_what_a_proxy_header_says(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK, "accept_proxy": ["any"]}],
                    "default_backend": "app",
                    "rules": [
                        {"deny": True, "if": "{ dst 10.9.0.0/16 }"},
                        {"set_header": ["x-dst", "%[src]:%[src_port] %[dst]:%[dst_port]"]},
                    ],
                }
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = stage.client()
    client.send(b"PROXY TCP4 192.0.2.1 10.9.0.1 1000 80\r\n" + ask("/"))
    assert client.response().status == 403
    client = stage.client()
    client.send(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.8.0.1 1000 80\r\n" + ask("/"))
    assert client.response().status == 200
    assert server.requests[0].value("x-dst") == b"192.0.2.1:1000 10.8.0.1:80"


def test_what_rules_leave_no_room_for_is_not_left_out(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "request_id": {"response": True},
                    "response_rules": [
                        {"set_header": ["x-big", "%[req.hdr(x-big)]"], "if": "{ req.hdr(x-big) -m found }"}
                    ],
                }
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = stage.client()
    assert client.get("/", "X-Big: " + "b" * 900).value("x-request-id") is not None
    assert client.get("/", "X-Big: " + "b" * 1015).status == 500
    assert client.get("/").status == 200


UPGRADE = ask("/ws", "Connection: Upgrade", "Upgrade: echo")


def upgrading(connection: Connection) -> None:
    connection.head_only()
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\ntunnel")
    connection.read()


@pytest.mark.h1_only
@pytest.mark.parametrize(
    ("rules", "response_rules", "status"),
    [
        ([], [{"deny": True}], 502),
        ([], [{"set_status": 200}], 500),
        ([], [{"return": {"status": 200, "body": "no"}}], 200),
        ([{"set_method": "POST"}, {"set_path": "/x"}], [{"set_header": ["x", "1"]}], 101),
        ([{"deny": 403}], [], 403),
    ],
)
def test_a_tunnel_begins_only_where_rules_let_the_answer_pass(
    stage: Stage, rules: list[dict[str, Any]], response_rules: list[dict[str, Any]], status: int
) -> None:
    server = stage.server(upgrading)
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "rules": rules,
                    "response_rules": response_rules,
                }
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = stage.client()
    client.send(UPGRADE)
    answer = client.head(upgrade="echo") if status == 101 else client.response()
    assert answer.status == status
    if status == 101:
        assert client.read_exactly(6) == b"tunnel"
    else:
        assert b"tunnel" not in answer.body
        assert client.get("/again").status != 0  # the connection is one for requests still


def test_hints_pass_the_rules_by_and_the_answer_behind_them_does_not(stage: Stage) -> None:
    server = stage.server(
        lambda c: [(c.request(), c.send(b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" + reply(b"app"))) for _ in range(3)]
    )
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", "response_rules": [{"deny": True}]}
            },
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = stage.client()
    client.send(ask("/"))
    answer = client.response()
    assert [each.status for each in answer.informational] == [103]
    assert (answer.status, b"app" in answer.body) == (502, False)
