"""What is tried again and what never is."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.server import Connection
from kit.stage import Stage

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]


@pytest.mark.smoke
def test_a_refused_connection_goes_to_another_server(stage: Stage) -> None:
    server = stage.server()
    stage.http(stage.refused().text, server)
    client = stage.client()
    for _ in range(4):
        assert client.get().body == b"hello"
    records = stage.records(4)
    assert {record.server for record in records} == {"s2"}
    assert any(record.retries >= 1 and record.redispatched for record in records)


def test_a_refused_connection_goes_to_another_server_with_its_body(stage: Stage) -> None:
    server = stage.server(lambda c: [c.send(reply(c.request().body)) for _ in range(8)])
    stage.http(stage.refused().text, server)
    client = stage.client()
    body = bytes(range(256)) * 1000
    for _ in range(4):
        assert client.get(method="POST", body=body).body == body


def test_without_retries_a_refused_connection_is_the_end(stage: Stage) -> None:
    stage.http(stage.refused().text, stage.refused().text, retries=0)
    assert stage.client().get().status == 503
    assert stage.record().retries == 0


def test_retries_are_counted_and_end(stage: Stage) -> None:
    stage.http(*(stage.refused().text for _ in range(5)), retries=2)
    assert stage.client().get().status == 503
    assert stage.record().retries == 2


def closing_when_idle(connection: Connection) -> None:
    """Answer one request; when the next one comes on this connection, close without an answer."""
    request = connection.request()
    connection.send(reply(b"" if request.method == "HEAD" else b"hello"))
    connection.head()


@pytest.mark.ours
@pytest.mark.smoke
@pytest.mark.parametrize("method", IDEMPOTENT)
def test_a_stale_connection_is_replaced_invisibly(stage: Stage, method: str) -> None:
    server = stage.server(closing_when_idle)
    stage.http(server)
    client = stage.client()
    assert client.get(method=method).status == 200
    assert client.get(method=method).status == 200
    assert len(server.connections) == 2
    assert [r.target for r in server.requests] == ["/", "/", "/"]


@pytest.mark.ours
@pytest.mark.parametrize("method", ["POST", "PATCH", "X-OTHER"])
def test_what_is_not_idempotent_is_never_sent_twice(stage: Stage, method: str) -> None:
    server = stage.server(closing_when_idle)
    stage.http(server)
    client = stage.client()
    assert client.get().status == 200
    client.send(ask("/once", method=method, body=b"body"))
    assert client.response("POST").status == 502
    assert [r.target for r in server.requests].count("/once") == 1
    second = stage.records(2)[1]
    assert (second.state, second.status) == ("SH", 502)


@pytest.mark.ours
def test_a_fresh_connection_that_closes_is_not_tried_again(stage: Stage) -> None:
    """Only a connection used before may have been stale; this server has seen the request and failed."""
    server = stage.server(lambda c: c.head())
    stage.http(server)
    assert stage.client().get().status == 502
    assert len(server.connections) == 1
    record = stage.record()
    assert (record.state, record.status) == ("SH", 502)


@pytest.mark.ours
def test_a_server_that_has_begun_to_answer_is_not_asked_again(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"hello"))
        connection.request()
        connection.send(b"HTTP/1.1 2")

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    assert client.get().status == 200
    assert client.get().status == 502
    assert len(server.connections) == 1


def test_a_connection_closed_while_idle_is_not_used(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"hello"))

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    for i in range(4):
        assert client.get(method="POST", body=b"x").body == b"hello"
        server.wait(lambda s, i=i: s.connections[i].closed.is_set(), "the connection to be closed")
    assert len(server.connections) == 4


@pytest.mark.ours
def test_a_stale_connection_reset_is_replaced_too(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"hello"))
        connection.head()
        connection.reset()

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    assert client.get().body == b"hello"
    assert client.get().body == b"hello"
    assert len(server.connections) == 2


def test_a_server_that_dies_leaves_the_others_to_answer(stage: Stage) -> None:
    dying, living = stage.server(reply(b"dying")), stage.server(reply(b"living"))
    stage.http(dying, living)
    client = stage.client()
    assert {client.get().body for _ in range(4)} == {b"dying", b"living"}
    dying.close()
    assert {client.get().body for _ in range(6)} == {b"living"}
