"""Phases around the rules for requests: connections, sessions, contents, bodies, and what goes out."""

from __future__ import annotations

import pytest
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.message import Ended, ask, chunked, reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage


def ruled(
    stage: Stage, frontend: Settings, app: Settings | None = None, tables: Settings | None = None
) -> tuple[Server, Server]:
    """Start a frontend with these rules, before a backend `app` and one called `two`."""
    first = stage.server(reply(b"app", "X-Kind: plain"))
    second = stage.server(reply(b"two"))
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            **({"tables": tables} if tables else {}),
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", **frontend}},
            "backends": {"app": {"servers": [first.text], **(app or {})}, "two": {"servers": [second.text]}},
        }
    )
    return first, second


@pytest.mark.parametrize("phase", ["connection_rules", "session_rules"])
def test_who_is_refused_gets_nothing(stage: Stage, phase: str) -> None:
    server, _ = ruled(stage, {phase: [{"reject": True, "if": "{ src 127.0.0.0/8 ::1 }"}]})
    client = stage.client()
    with pytest.raises((Ended, ConnectionError)):
        client.get("/")
    assert not server.requests


def test_content_rules_come_first(stage: Stage) -> None:
    server, _ = ruled(
        stage,
        {
            "content_rules": [{"reject": True, "if": "{ path /gone }"}, {"use_backend": "two", "if": "{ path /two }"}],
            "rules": [{"set_path": "/gone", "if": "{ path /x }"}],
        },
    )
    client = stage.client()
    assert client.get("/x").body == b"app"
    assert client.get("/two").body == b"two"
    with pytest.raises(Ended):
        client.get("/gone")
    assert [each.target for each in server.requests] == ["/gone"]
    assert stage.records(3)[-1].state == "PR"


def test_a_request_without_a_body_has_ended(stage: Stage) -> None:
    ruled(stage, {"content_rules": [{"accept": True, "if": "WAIT_END"}, {"reject": True}], "inspect_delay": "60s"})
    client = stage.client()
    assert client.get("/").body == b"app"
    assert client.get("/").body == b"app"


def test_content_rules_wait_for_the_end_of_a_body_or_the_delay(stage: Stage) -> None:
    rules = [{"accept": True, "if": "WAIT_END"}, {"reject": True}]
    server, _ = ruled(stage, {"content_rules": rules, "inspect_delay": "100ms"})
    client = stage.client()
    client.send(ask("/", method="POST", body=b"")[:-2].replace(b"Content-Length: 0", b"Content-Length: 5") + b"\r\nab")
    assert not client.readable(0.03)
    server.wait_requests(1)  # the delay is over: it goes on without the rest
    client.send(b"cde")
    assert client.response().body == b"app"
    assert server.requests[0].body == b"abcde"


def test_the_rules_of_a_backend_wait_too(stage: Stage) -> None:
    server, _ = ruled(stage, {}, {"content_rules": [{"reject": True, "unless": "WAIT_END"}], "inspect_delay": "60s"})
    client = stage.client()
    head = ask("/", method="POST", body=b"12345")
    client.send(head[:-3])
    assert not client.readable(0.03)
    assert not server.connections
    client.send(head[-3:])
    assert client.response().body == b"app"
    assert server.requests[0].body == b"12345"


# ---- bodies ----


WAIT: Settings = {"wait_for_body": {"time": "60s"}}


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_is_waited_for_and_goes_on_whole(stage: Stage, is_chunked: bool) -> None:
    server, _ = ruled(stage, {"rules": [WAIT]})
    client = stage.client()
    pieces = [bytes([i]) * 7 for i in range(1, 100)]
    if is_chunked:
        data = ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces)
    else:
        data = ask("/", method="POST", body=b"".join(pieces))
    client.send(data[:-1])
    assert not client.readable(0.03)
    assert not server.connections
    client.send(data[-1:])
    assert client.response().body == b"app"
    assert server.requests[0].body == b"".join(pieces)


def test_a_body_larger_than_a_buffer_goes_on_when_that_is_full(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [WAIT]})
    client = stage.client()
    body = bytes(range(256)) * 400
    assert client.get("/", method="POST", body=body).body == b"app"
    assert client.get("/again", method="POST", body=body + b"x").body == b"app"
    assert [each.body for each in server.requests] == [body, body + b"x"]


def test_enough_of_a_body(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"wait_for_body": {"time": "60s", "at_least": "4"}}]})
    client = stage.client()
    data = ask("/", method="POST", body=b"0123456789")
    client.send(data[:-7])
    assert not client.readable(0.03)
    assert not server.connections
    client.send(data[-7:-5])
    server.wait(lambda s: s.connections, "the request goes on")
    client.send(data[-5:])
    assert client.response().body == b"app"


def test_a_body_that_does_not_come(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [{"wait_for_body": "50ms"}]})
    client = stage.client()
    client.send(ask("/", method="POST", body=b"01234")[:-1])
    assert client.response().status == 408
    assert stage.record().state == "cD"
    assert not server.connections


def test_a_client_that_leaves_while_its_body_is_waited_for(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [WAIT]})
    client = stage.client()
    client.send(ask("/", method="POST", body=b"01234")[:-1])
    if isinstance(stage.proxy, InProcess):
        proxy = stage.proxy
        eventually(lambda: "buffer" in proxy.live(), "a body is gathered")
    client.reset()
    assert stage.record().state in ("CR", "CH")
    assert not server.connections


def test_a_client_that_asks_first_is_told_to_go_on(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [WAIT]})
    client = stage.client()
    client.send(ask("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    assert client.read_exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hello")
    assert client.response().body == b"app"
    assert server.requests[0].body == b"hello"
    assert server.requests[0].value("expect") is None


def test_rules_behind_a_body_may_answer(stage: Stage) -> None:
    """What was gathered is not taken for the next request."""
    server, _ = ruled(stage, {"rules": [WAIT, {"deny": 403, "if": "{ path /no }"}]})
    client = stage.client()
    assert client.get("/no", method="POST", body=b"GET /evil HTTP/1.1\r\n\r\n").status == 403
    assert client.get("/yes").body == b"app"
    assert len(server.requests) == 1


# ---- what goes out ----


def test_every_response_meets_the_last_rules(stage: Stage) -> None:
    ruled(
        stage,
        {
            "rules": [
                {"deny": 403, "if": "{ path /deny }"},
                {"return": {"status": 200, "body": "here"}, "if": "{ path /return }"},
                {"redirect": "/elsewhere", "if": "{ path /redirect }"},
                {"use_backend": "two", "if": "{ path /two }"},
            ],
            "routes": [{"match": {"path": "/only"}, "reply": {"status": 204}}],
            "after_response_rules": [
                {"set_header": ["x-frame-options", "DENY"]},
                {"set_header": ["x-status", "%[status]-%[path]-%[res.hdr(x-kind)]"]},
                {"set_status": 418, "if": "{ status 403 }"},
            ],
        },
        {"after_response_rules": [{"set_header": ["x-kind", "app"], "if": "{ res.hdr(x-kind) -m found }"}]},
    )
    client = stage.client()
    for path, status, shown in (
        ("/", 200, b"200-/-app"),
        ("/two", 200, b"200-/two-"),
        ("/deny", 418, b"403-/deny-"),
        ("/return", 200, b"200-/return-"),
        ("/redirect", 302, b"302-/redirect-"),
        ("/only", 204, b"204-/only-"),
    ):
        answer = client.get(path)
        assert (answer.status, answer.value("x-frame-options"), answer.value("x-status")) == (status, b"DENY", shown)
    assert [each.status for each in stage.records(6)] == [200, 200, 418, 200, 302, 204]


def test_an_error_of_the_connection_meets_them_too(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    server.stop_listening()
    stage.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "default_backend": "app",
                    "after_response_rules": [{"set_header": ["x-seen", "%[status]"]}],
                }
            },
            "backends": {"app": {"servers": [server.text], "retries": 0}},
        }
    )
    answer = stage.client().get("/")
    assert (answer.status, answer.value("x-seen")) == (503, b"503")


# ---- tracking ----


def test_what_a_connection_tracks_is_counted_for_each_request(stage: Stage) -> None:
    store = ["conn_cur", "conn_cnt", "http_req_cnt", "http_err_cnt"]
    ruled(
        stage,
        {
            "session_rules": [{"track": "src", "table": "per_ip"}],
            "rules": [
                {"set_header": ["x-n", "%[sc_http_req_cnt(0)]"]},
                {"deny": 429, "if": "{ sc_http_req_cnt(0) gt 3 }"},
            ],
            "after_response_rules": [
                {"set_header": ["x-counts", "%[sc_conn_cnt(0)] %[sc_conn_cur(0)] %[sc_http_err_cnt(0)]"]}
            ],
        },
        tables={"per_ip": {"key": "ip", "size": 100, "expire": "1h", "store": store}},
    )
    client = stage.client()
    answers = [client.get("/") for _ in range(5)]
    assert [each.status for each in answers] == [200, 200, 200, 429, 429]
    if not getattr(stage.plane, "name", "").startswith("mux"):  # there the inner engine has one connection for all
        other = stage.client().get("/")
        assert (other.status, other.value("x-counts")) == (429, b"2 2 2")


# ---- what fetches say of bodies ----


SHOW: Settings = {
    "set_header": ["x-body", "%[req.body,length] %[req.body_len] %[req.body_size] %[req.body_param(b)] %[req.body,hex]"]
}


def test_fetches_see_what_was_waited_for(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [WAIT, SHOW, {"use_backend": "two", "if": "{ req.body_param(b),lower yes }"}]})
    client = stage.client()
    body = b"a=1&b=YES&c"
    assert client.get("/", method="POST", body=body).body == b"two"
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"a=1;b", b"=no", b"&b=yes"))
    assert client.response().body == b"two"  # one of several values is enough
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"a=1;b", b"=no"))
    assert client.response().body == b"app"
    assert server.requests[0].value("x-body") == b"8 8 8 no " + b"a=1;b=no".hex().upper().encode()
    assert client.get("/").body == b"app"
    assert server.requests[1].value("x-body") == b"0 0 0"


def test_without_waiting_fetches_see_what_is_here(stage: Stage) -> None:
    server, _ = ruled(stage, {"rules": [SHOW]})
    client = stage.client()
    head = ask("/", method="POST", body=b"0123456789")
    client.send(head[:-4])
    server.wait(lambda s: s.connections, "the request goes on")
    client.send(head[-4:])
    assert client.response().body == b"app"
    length, has, size, *_ = server.requests[0].value("x-body").split()  # type: ignore[union-attr]
    assert length == has
    assert int(has) <= 6
    assert size == b"10"
    assert server.requests[0].body == b"0123456789"
