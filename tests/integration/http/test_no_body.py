"""Responses without a body, interim responses, Expect, and answers that come early."""

from __future__ import annotations

import threading

import pytest
from kit.deadline import wait_for
from kit.message import Ended, ask, reply
from kit.server import Connection
from kit.stage import Stage
from kit.wire import Reset


def test_an_answer_to_head_has_no_body_and_keeps_its_length(stage: Stage) -> None:
    server = stage.server(lambda c: _each(c, b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    stage.http(server)
    client = stage.client()
    for _ in range(3):
        response = client.get(method="HEAD")
        assert (response.body, response.value("content-length")) == (b"", b"1234")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("fields", [b"", b"ETag: x\r\n"])
def test_204_and_304_have_no_body(stage: Stage, status: int, fields: bytes) -> None:
    server = stage.server(lambda c: _each(c, b"HTTP/1.1 %d Fine\r\n%s\r\n" % (status, fields)))
    stage.http(server)
    client = stage.client()
    for _ in range(3):
        response = client.get()
        assert (response.status, response.body) == (status, b"")
    assert len(server.connections) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_empty_body_ends_at_once(stage: Stage, method: str) -> None:
    stage.http(stage.server(lambda c: _each(c, reply(b""))))
    client = stage.client()
    for _ in range(3):
        assert client.get(method=method).body == b""


def test_interim_responses_come_before_the_final_one(stage: Stage) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    stage.http(stage.server(lambda c: _each(c, hints + hints + reply(b"done"))))
    client = stage.client()
    for _ in range(2):
        response = client.get()
        assert (response.status, response.body) == (200, b"done")
        assert [r.status for r in response.informational] in ([103, 103], [])


@pytest.mark.ours
def test_interim_responses_never_go_to_a_1_0_client(stage: Stage) -> None:
    stage.http(stage.server(lambda c: _each(c, b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(b"done"))))
    client = stage.client()
    client.send(ask(version="1.0"))
    assert b" 103 " not in client.read_to_end()


@pytest.mark.h1_only
def test_100_continue_is_waited_for_and_passed_on(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        request = connection.head()
        assert request.value("expect") == b"100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(reply(connection.body()))

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
    assert client.read_exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"body")
    assert client.response("POST").body == b"body"


def test_a_body_that_does_not_wait_for_100_is_taken(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(connection.request().body))

    stage.http(stage.server(script))
    client = stage.client()
    for _ in range(3):
        client.send(ask("/", "Expect: 100-continue", method="POST", body=b"body"))
        assert client.response("POST").body == b"body"


def test_a_final_answer_instead_of_100_is_passed_on(stage: Stage) -> None:
    server = stage.server(
        lambda c: (c.head(), c.send(reply(b"no", status=413, reason="Content Too Large")), c.wait_end())
    )
    stage.http(server)
    client = stage.client()
    client.send(ask("/", "Expect: 100-continue", "Content-Length: 1000000", method="POST"))
    response = client.response("POST")
    assert (response.status, response.body) == (413, b"no")


def test_what_follows_an_early_answer_is_never_read_as_a_request(stage: Stage) -> None:
    """0.CL: the unread body of an answered request must not become the next one."""

    def script(connection: Connection) -> None:
        connection.head()
        connection.send(reply(b"early", status=403, reason="Forbidden"))
        connection.body()
        while True:
            connection.send(reply(connection.request().target.encode()))

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    smuggled = ask("/smuggled")
    client.send(ask("/", f"Content-Length: {len(smuggled) + 10}", method="POST"))
    assert client.response("POST").status == 403
    try:
        client.send(smuggled)
        client.send(b"0123456789")
        client.send(ask("/next"))
        assert client.response().body == b"/next"
    except (Reset, Ended):
        pass  # closing after an early answer is right as well
    assert "/smuggled" not in [request.target for request in server.requests]


@pytest.mark.smoke
def test_an_early_answer_arrives_while_the_body_still_comes(stage: Stage) -> None:
    answered = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        connection.send(reply(b"early"))
        wait_for(answered, "the client to have its answer")
        assert connection.body() == b"x" * 100_000
        answered.clear()

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    client.send(ask("/", "Content-Length: 100000", method="POST") + b"x" * 1000)
    assert client.response("POST").body == b"early"
    answered.set()
    try:
        client.send(b"x" * 99_000)
    except Reset:
        pass  # closing after an early answer is right as well


def _each(connection: Connection, answer: bytes) -> None:
    while True:
        connection.request()
        connection.send(answer)
