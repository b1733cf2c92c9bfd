"""Connections that carry several requests, and requests that come in advance."""

from __future__ import annotations

import pytest
from kit.message import ask, chunked, reply
from kit.stage import Stage


@pytest.mark.smoke
def test_a_connection_carries_many_requests(stage: Stage) -> None:
    server = stage.server(lambda c: [c.send(reply(c.request().target.encode())) for _ in range(20)])
    stage.http(server)
    client = stage.client()
    for i in range(20):
        response = client.get(f"/{i}")
        assert (response.status, response.body) == (200, b"/%d" % i)
    assert len(server.connections) == 1


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    def answer_late_in_reverse(request):
        return reply(request.target.encode() * 100)

    server = stage.server()
    server.script = _answers(answer_late_in_reverse)
    stage.http(server)
    client = stage.client()
    client.send(b"".join(ask(f"/{i}") for i in range(30)))
    assert [client.response().body[:3] for i in range(30)] == [(b"/%d" % i * 100)[:3] for i in range(30)]
    assert [request.target for request in server.requests] == [f"/{i}" for i in range(30)]


def test_pipelined_requests_with_bodies_are_kept_apart(stage: Stage) -> None:
    server = stage.server()
    server.script = _answers(lambda request: reply(request.body))
    stage.http(server)
    client = stage.client()
    client.send(
        ask(method="POST", body=b"GET /hidden HTTP/1.1\r\n\r\n")
        + ask("/", "Transfer-Encoding: chunked", method="POST")
        + chunked(b"one", b"two")
        + ask("/last")
    )
    assert client.response("POST").body == b"GET /hidden HTTP/1.1\r\n\r\n"
    assert client.response("POST").body == b"onetwo"
    assert client.response().body == b""
    assert [request.method for request in server.requests] == ["POST", "POST", "GET"]


def test_requests_that_come_byte_by_byte_are_read(stage: Stage) -> None:
    server = stage.server()
    server.script = _answers(lambda request: reply(request.body + request.target.encode()))
    stage.http(server)
    client = stage.client()
    client.send_bytewise(ask("/a") + ask("/b", method="POST", body=b"body") + ask("/c"))
    assert client.response().body == b"/a"
    assert client.response("POST").body == b"body/b"
    assert client.response().body == b"/c"


def test_responses_that_come_byte_by_byte_are_read(stage: Stage) -> None:
    server = stage.server(_bytewise)
    stage.http(server)
    client = stage.client()
    for _ in range(3):
        assert client.get().body == b"hello"
    assert len(server.connections) == 1


def test_a_request_split_at_any_point_is_read(stage: Stage) -> None:
    server = stage.server()
    server.script = _answers(lambda request: reply(request.body))
    stage.http(server)
    client = stage.client()
    whole = ask("/x", "Transfer-Encoding: chunked", method="POST") + chunked(b"abc", b"d")
    for at in range(1, len(whole)):
        client.send_pieces([whole[:at], whole[at:]])
        assert client.response("POST").body == b"abcd"


def test_a_client_that_asks_for_close_gets_it(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    response = client.get("/", "Connection: close")
    assert response.body == b"hello"
    client.expect_end()


def test_requests_behind_connection_close_are_ignored(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask("/first", "Connection: close") + ask("/second"))
    assert client.response().body == b"hello"
    client.wait_end()
    assert [request.target for request in server.requests] == ["/first"]


def test_the_server_connection_outlives_the_client_that_opened_it(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    for _ in range(5):
        client = stage.client()
        assert client.get().status == 200
        client.close()
    assert len(server.connections) == 1


def test_a_server_that_says_close_is_not_asked_again(stage: Stage) -> None:
    server = stage.server(_closes_after_one)
    stage.http(server)
    client = stage.client()
    for _ in range(3):
        response = client.get()
        assert response.body == b"bye"
        assert b"close" not in (response.value("connection") or b"")
    assert len(server.connections) == 3


def test_two_clients_at_once_get_a_server_connection_each(stage: Stage) -> None:
    server = stage.server()
    server.script = _answers(lambda request: server.wait_requests(2) and reply(request.target.encode()))
    stage.http(server)
    one, two = stage.client(), stage.client()
    one.send(ask("/one"))
    two.send(ask("/two"))
    assert one.response().body == b"/one"
    assert two.response().body == b"/two"
    assert len(server.connections) == 2


def test_a_client_that_half_closes_still_gets_its_answer_or_the_end(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask("/x", "Connection: close"))
    client.half_close()
    answer = client.read_to_end()
    assert answer == b"" or answer.endswith(b"hello") or answer.startswith(b"HTTP/1.1 400")


def test_the_idle_client_that_leaves_is_let_go(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.get()
    client.half_close()
    client.expect_end()


def _answers(answer):
    def script(connection):
        while True:
            connection.send(answer(connection.request()))

    return script


def _bytewise(connection):
    while True:
        connection.request()
        connection.send_bytewise(reply(b"hello"))


def _closes_after_one(connection):
    connection.request()
    connection.send(reply(b"bye", "Connection: close"))
