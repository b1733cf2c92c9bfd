"""What happens to header fields on their way: kept, removed, added."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.stage import Stage

ORDINARY = [
    "User-Agent: Test/1.0 (x; y)",
    "ACCEPT: */*",
    "x-lower: one",
    "X-Mixed-Case: two",
    "Cookie: a=b; c=d",
    "X-Twice: first",
    "x-between: 1",
    "X-Twice: second",
    "X-Empty:",
    "X-Obs: caf\xe9",
]


def pairs(lines: list[str]) -> list[tuple[bytes, bytes]]:
    """Split lines into names and values."""
    return [(n.encode("latin-1"), v.strip().encode("latin-1")) for n, _, v in (line.partition(":") for line in lines)]


@pytest.mark.ours
@pytest.mark.h1_only
def test_request_fields_keep_case_order_and_value(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    assert stage.client().get("/", *ORDINARY).status == 200
    (request,) = server.requests
    assert request.fields == [(b"Host", b"lb.test"), *pairs(ORDINARY)]


@pytest.mark.ours
@pytest.mark.h1_only
def test_response_fields_keep_case_order_and_value(stage: Stage) -> None:
    lines = [
        "Server: test",
        "SET-Cookie: a",
        "x-mixed: 1",
        "Set-Cookie: b",
        "Date: Mon, 01 Jan 2024 00:00:00 GMT",
        "X-Empty:",
    ]
    stage.http(stage.server(reply(b"hello", *lines)))
    response = stage.client().get()
    assert [f for f in response.fields if f[0].lower() != b"content-length"] == pairs(lines)
    assert response.value("content-length") == b"5"


def test_no_field_is_lost_or_merged(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    assert stage.client().get("/", *ORDINARY).status == 200
    (request,) = server.requests
    got = [(name.lower(), value) for name, value in request.fields]
    assert got == [(b"host", b"lb.test"), *((n.lower(), v) for n, v in pairs(ORDINARY))]


HOP = [
    "Connection: keep-alive, X-Private, x-other",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "X-Private: secret",
    "X-OTHER: secret",
    "TE: trailers",
    "Trailer: X-Sum",
    "X-Kept: yes",
]


@pytest.mark.ours
def test_hop_by_hop_fields_and_nominated_ones_do_not_reach_the_server(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    assert stage.client().get("/", *HOP).status == 200
    names = {name.lower() for name in server.requests[0].names}
    assert names == {b"host", b"x-kept"}


@pytest.mark.ours
def test_hop_by_hop_fields_and_nominated_ones_do_not_reach_the_client(stage: Stage) -> None:
    stage.http(stage.server(reply(b"hello", *[line for line in HOP if not line.startswith("TE")], "Upgrade: h2c")))
    response = stage.client().get()
    assert {name.lower() for name in response.names} == {b"x-kept", b"content-length"}


@pytest.mark.ours
@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For"])
def test_connection_cannot_remove_what_framing_and_identity_need(stage: Stage, name: str) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded_for": True})
    client = stage.client()
    response = client.get("/", f"Connection: {name}", method="POST", body=b"body")
    if response.status == 400:
        assert not server.requests
        return
    (request,) = server.requests
    assert request.body == b"body"
    assert request.value("host") == b"lb.test"
    assert request.value("x-forwarded-for") == b"127.0.0.1"


@pytest.mark.smoke
def test_forwarded_for_carries_the_clients_address(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded_for": True})
    assert stage.client().get().status == 200
    assert server.requests[0].value("x-forwarded-for") == b"127.0.0.1"


def test_forwarded_for_comes_behind_what_a_trusted_proxy_sent(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded_for": True, "trusted_proxies": ["any"]})
    assert stage.client().get("/", "X-Forwarded-For: 192.0.2.1").status == 200
    values = b", ".join(server.requests[0].values("x-forwarded-for"))
    assert values == b"192.0.2.1, 127.0.0.1"


def test_a_nominated_forwarded_for_does_not_hide_the_clients_address(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"forwarded_for": True})
    stage.client().get("/", "Connection: x-forwarded-for", "X-Forwarded-For: 192.0.2.1")
    for request in server.requests:
        assert request.values("x-forwarded-for")[-1].endswith(b"127.0.0.1")


def test_without_the_option_nothing_is_added(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    stage.client().get()
    assert [name.lower() for name in server.requests[0].names] == [b"host"]


@pytest.mark.ours
def test_absolute_form_leaves_in_origin_form_with_its_authority_as_host(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    response = stage.client().get("http://lb.test:8080/a/b?c=d", host="lb.test:8080")
    assert response.status == 200
    (request,) = server.requests
    assert (request.target, request.value("host")) == ("/a/b?c=d", b"lb.test:8080")


@pytest.mark.ours
def test_absolute_form_without_a_path_asks_for_the_root(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    stage.client().get("http://lb.test?x")
    assert server.requests[0].target == "/?x"


def test_options_star_stays_as_it_is(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    assert stage.client().get("*", method="OPTIONS").status == 200
    assert (server.requests[0].method, server.requests[0].target) == ("OPTIONS", "*")


@pytest.mark.parametrize(
    "target", ["/", "/a%2fb/%2e%2e/c", "//double//slash", "/?", "/?a=b?c", "/a;b=c,d@e:f!$&'()*+~", "/%00"]
)
def test_a_target_leaves_as_it_came(stage: Stage, target: str) -> None:
    server = stage.server()
    stage.http(server)
    if stage.client().get(target).status == 200:
        assert server.requests[0].target == target


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "x!#$%&'*+-.^_`|~9"]
)
def test_any_method_token_is_passed_on(stage: Stage, method: str) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask(method=method))
    assert client.response("GET").status == 200
    assert server.requests[0].method == method


def test_a_1_0_client_is_answered_and_closed(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask(version="1.0"))
    assert client.response().body == b"hello"
    client.expect_end()


def test_a_1_0_client_may_ask_for_keep_alive(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    for _ in range(3):
        client.send(ask("/", "Connection: keep-alive", version="1.0"))
        response = client.response()
        assert response.body == b"hello"
        assert response.value("connection").lower() == b"keep-alive"


def test_a_1_0_client_never_gets_chunks(stage: Stage) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    stage.http(stage.server(answer))
    client = stage.client()
    client.send(ask(version="1.0"))
    head, _, body = client.read_to_end().partition(b"\r\n\r\n")
    if stage.plane.is_lb:
        assert (b"transfer-encoding" in head.lower(), body) == (False, b"hello")


@pytest.mark.ours
@pytest.mark.h1_only
def test_a_1_0_client_without_host_is_served(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask(version="1.0", host=None))
    assert client.response().status == 200


def test_a_1_0_server_is_read_to_its_end(stage: Stage) -> None:
    def script(connection):
        connection.request()
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold body")

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    response = client.get("/", "Connection: close")
    assert response.body == b"old body"


def test_a_1_0_server_that_keeps_alive_is_asked_again_or_anew(stage: Stage) -> None:
    server = stage.server(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold")
    stage.http(server)
    client = stage.client()
    for _ in range(3):
        assert client.get().body == b"old"


@pytest.mark.ours
def test_a_1_0_servers_answer_says_1_1(stage: Stage) -> None:
    stage.http(stage.server(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"))
    assert stage.client().get().version == b"1.1"


@pytest.mark.h1_only
def test_the_reason_phrase_is_kept(stage: Stage) -> None:
    stage.http(stage.server(b"HTTP/1.1 299 Very Odd Indeed\r\nContent-Length: 0\r\n\r\n"))
    response = stage.client().get()
    assert (response.status, response.reason) == (299, b"Very Odd Indeed")


def test_a_head_of_many_fields_is_passed_on(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    fields = [f"X-F{i}: {i}" for i in range(99)]
    assert stage.client().get("/", *fields).status == 200
    assert len(server.requests[0].fields) == 100


def test_a_large_head_is_passed_on_whole(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    fields = [f"X-{i}: {'v' * 1000}" for i in range(13)]
    assert stage.client().get("/" + "p" * 1000, *fields).status == 200
    assert server.requests[0].values("x-12") == [b"v" * 1000]
