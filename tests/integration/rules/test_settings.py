"""What rules set on a stream: log level, timeouts, addresses, the server, interim answers, and how it is dropped."""

from __future__ import annotations

import time

import pytest
from kit.deadline import Late
from kit.message import Ended, ask, reply
from kit.server import Connection, Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset


def ruled(
    stage: Stage, frontend: Settings, app: Settings | None = None, script: object = None
) -> tuple[Server, Server]:
    """Start a frontend with these rules, before a backend `app` of the servers `a` and `b`, and one called `two`."""
    first = stage.server(script or reply(b"a"))  # type: ignore[arg-type]
    second = stage.server(reply(b"b"))
    servers = [{"name": "a", "address": first.text}, {"name": "b", "address": second.text}]
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": servers, **(app or {})}, "two": {"servers": [second.text]}},
        }
    )
    return first, second


def test_a_silent_request_leaves_no_record(stage: Stage) -> None:
    rules = [{"set_log_level": "silent", "if": "{ path /ping }"}, {"set_log_level": "info", "if": "{ path /loud }"}]
    ruled(stage, {"rules": rules}, {"response_rules": [{"set_log_level": "silent", "if": "{ path /late }"}]})
    client = stage.client()
    for target in ("/ping", "/late", "/loud"):
        assert client.get(target).status == 200
    assert "GET /loud" in stage.record().line


def test_timeouts_of_one_request(stage: Stage) -> None:
    stage.start(
        {
            "version": 1,
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "rules": [
                        {"set_timeout": {"server": "300ms"}, "if": "{ path /constant }"},
                        {"set_timeout": {"server": "req.hdr(x-ms)"}, "if": "{ path /asked }"},
                        {"set_timeout": {"server": "req.hdr(nobody)"}, "if": "{ path /none }"},
                    ],
                    "default_backend": "app",
                }
            },
            "backends": {
                "app": {
                    "timeouts": {"server": "1200ms", "connect": "1200ms"},
                    "retries": 0,
                    "servers": [stage.server(silent).text],
                }
            },
        }
    )
    client = stage.client()

    def taken(target: str, *fields: str) -> float:
        begin = time.monotonic()
        assert client.get(target, *fields).status == 504
        return time.monotonic() - begin

    assert 0.29 <= taken("/constant") < 1.1
    assert 0.19 <= taken("/asked", "X-Ms: 200") < 1.1
    assert taken("/none") >= 1.19


def silent(connection: Connection) -> None:
    """Take requests and never answer."""
    while True:
        connection.request()


def test_a_dropped_client_is_not_answered(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"silent_drop": True, "if": "{ req.hdr(x-bad) -m found }"}]})
    client = stage.client()
    client.send(ask("/", "X-Bad: 1"))
    record = stage.record()
    assert record.state == "PR"
    client.sock.settimeout(0.2)
    with pytest.raises((Late, Ended, Reset)):  # with CAP_NET_ADMIN not even the end is told
        client.response()
    assert not server.requests


def test_a_rule_names_the_server(stage: Stage) -> None:
    rules = [
        {"use_server": "b", "if": "{ urlp(to) b }"},
        {"use_server": "%[urlp(by)]", "if": "{ urlp(by) -m found }"},
        {"use_server": "a", "if": "{ urlp(to) b }"},  # the first one that holds decides
    ]
    ruled(stage, {}, {"rules": rules})
    client = stage.client()
    assert {client.get("/").body for _ in range(4)} == {b"a", b"b"}
    assert {client.get("/?to=b").body for _ in range(4)} == {b"b"}
    assert {client.get("/?by=a").body for _ in range(4)} == {b"a"}
    assert {client.get("/?by=nobody").body for _ in range(4)} == {b"a", b"b"}


@pytest.mark.h1_only
def test_a_server_that_cannot_be_reached_is_not_waited_for(stage: Stage) -> None:
    server = stage.server(reply(b"up"))
    stage.start(
        {
            "version": 1,
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app"}},
            "backends": {
                "app": {
                    "rules": [{"use_server": "gone"}],
                    "servers": [
                        {"name": "gone", "address": stage.refused().text},
                        {"name": "up", "address": server.text},
                    ],
                }
            },
        }
    )
    assert stage.client().get("/").body == b"up"


def test_a_format_names_the_backend(stage: Stage) -> None:
    ruled(stage, {"rules": [{"use_backend": "%[req.hdr(x-to),lower]", "if": "{ req.hdr(x-to) -m found }"}]})
    client = stage.client()
    assert client.get("/", "X-To: TWO").body == b"b"
    assert client.get("/").body in (b"a", b"b")
    for name in ("nobody", "", "x" * 300):
        assert client.get("/", f"X-To: {name}").body in (b"a", b"b")  # what no backend is called is the default
    assert [each.backend for each in stage.records(5)] == ["two", "app", "app", "app", "app"]


def test_without_a_default_an_unknown_backend_is_none(stage: Stage) -> None:
    server = stage.server()
    stage.start(
        {
            "version": 1,
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "rules": [{"use_backend": "%[path,field(2,/)]"}]}},
            "backends": {"app": {"servers": [server.text]}},
        }
    )
    client = stage.client()
    assert client.get("/app/x").status == 200
    assert client.get("/x/app").status == 404


def test_who_the_client_is_changes(stage: Stage) -> None:
    rules = [
        {"set_src": "req.hdr_ip(x-ip)", "if": "{ req.hdr(x-ip) -m found }"},
        {"set_src_port": "req.hdr(x-port)", "if": "{ req.hdr(x-port) -m found }"},
        {"set_dst": "req.hdr_ip(x-dst)", "if": "{ req.hdr(x-dst) -m found }"},
        {"set_dst_port": "int(4711)", "if": "{ req.hdr(x-dst) -m found }"},
        {"set_header": ["x-ends", "%[src]:%[src_port] %[dst]:%[dst_port]"]},
        {"deny": 403, "if": "{ src 192.0.2.0/24 }"},
    ]
    server, other = ruled(stage, {"rules": rules})
    client = stage.client()
    source, port = client.local
    host, listening = stage.address()[:2]
    client.get("/", "X-Ip: 198.51.100.7")
    client.get("/", "X-Ip: 2001:db8::7", "X-Port: 99", "X-Dst: 203.0.113.9")
    client.get("/", "X-Ip: nobody")
    assert client.get("/", "X-Ip: 192.0.2.1").status == 403
    client.get("/")
    seen = [each.value("x-ends") for each in (*server.requests, *other.requests)]
    assert sorted(seen) == sorted(  # type: ignore[type-var]
        each.encode()
        for each in (
            f"198.51.100.7:{port} {host}:{listening}",
            "2001:db8::7:99 203.0.113.9:4711",
            f"{source}:{port} {host}:{listening}",
            f"{source}:{port} {host}:{listening}",
        )
    )
    logged = [each.client.rpartition(":")[0] for each in stage.records(5)]
    assert logged == ["198.51.100.7", "2001:db8::7", source, "192.0.2.1", source]


def test_early_hints_come_before_the_answer(stage: Stage) -> None:
    rules = [
        {"early_hint": ["link", "</style.css>; rel=preload"], "if": "{ path / }"},
        {"early_hint": ["link", "<%[path]script.js>; rel=preload"], "if": "{ path / }"},
        {"deny": 403, "if": "{ path /no }"},
    ]
    ruled(stage, {"rules": rules})
    client = stage.client()
    answer = client.get("/")
    (hint,) = answer.informational
    assert (answer.status, hint.status) == (200, 103)
    assert hint.values("link") == [b"</style.css>; rel=preload", b"</script.js>; rel=preload"]
    assert not client.get("/no").informational
    assert client.get("/x").status == 200  # without one


@pytest.mark.h1_only
def test_http10_knows_no_early_hints(stage: Stage) -> None:
    ruled(stage, {"rules": [{"early_hint": ["link", "</style.css>; rel=preload"]}]})
    client = stage.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    answer = client.response()
    assert (answer.status, answer.informational) == (200, [])


def test_an_edit_that_is_not_possible_may_be_left_out(stage: Stage) -> None:
    rules = [
        {"strict_mode": False, "if": "{ urlp(lax) 1 }"},
        {"set_path": "%[req.hdr(x-path)]"},
        {"set_header": ["x-y", "z"]},
    ]
    server, other = ruled(stage, {"rules": rules})
    client = stage.client()
    assert client.get("/a").status == 500
    assert client.get("/a?lax=1").status == 200
    (request,) = [*server.requests, *other.requests]
    assert (request.target, request.value("x-y")) == ("/a?lax=1", b"z")
    assert client.get("/a").status == 500  # strict again


def test_a_pause_holds_the_request_and_nothing_else(stage: Stage) -> None:
    rules = [
        {"set_header": ["x-n", "%[req.hdr(x-n)]1"]},
        {"pause": "300ms", "if": "{ path /slow }"},
        {"pause": "req.hdr(x-ms)", "if": "{ path /asked }"},
        {"set_header": ["x-n", "%[req.hdr(x-n)]2"]},
    ]
    server, other = ruled(stage, {"rules": rules}, {"rules": [{"pause": "50ms", "if": "{ path /slow }"}]})
    slow, quick = stage.client(), stage.client()
    begin = time.monotonic()
    slow.send(ask("/slow", method="POST", body=b"x" * 5000))
    assert quick.get("/").status == 200
    assert quick.get("/asked", "X-Ms: 0").status == 200
    assert quick.get("/asked", "X-Ms: x").status == 200
    assert time.monotonic() - begin < 0.3
    assert slow.response().status == 200
    assert time.monotonic() - begin >= 0.34
    paused = next(each for each in (*server.requests, *other.requests) if each.target == "/slow")
    assert (paused.value("x-n"), paused.body) == (b"12", b"x" * 5000)  # no rule was looked at twice


def test_a_client_that_leaves_in_a_pause_is_let_go(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"pause": "60s"}]})
    client = stage.client()
    client.send(ask("/"))
    client.close()
    assert stage.record().state == "CR"
    assert not server.requests


def test_the_mark_of_packets(stage: Stage) -> None:
    ruled(stage, {"rules": [{"set_fc_tos": 16}, {"set_fc_tos": "req.hdr(x-tos)", "if": "{ req.hdr(x-tos) -m found }"}]})
    assert stage.client().get("/").status == 200
    assert stage.client().get("/", "X-Tos: 8").status == 200
