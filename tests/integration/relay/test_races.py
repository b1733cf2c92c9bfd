"""What two peers do at the same moment, in the order that hurts."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from kit.deadline import DEADLINE, eventually
from kit.message import ask, chunked, reply
from kit.stage import Stage


def test_a_request_is_answered_whose_stale_connection_had_the_last_server_behind_it(still, tmp_path: Path) -> None:
    # The second attempt fails within connect(), while the first one's link has just been given back.
    path = str(tmp_path / "server.sock")

    def script(connection):
        connection.request()
        connection.send(reply(b"one"))
        connection.head()
        os.unlink(path)

    still.http(still.server(script, address=path), retries=0)
    client = still.client()
    assert client.get().body == b"one"
    assert client.get().status == 503
    assert client.get().status == 503


def test_what_a_client_sends_behind_a_body_is_not_taken_for_the_body_when_the_server_dies(still) -> None:
    # The body has gone over to a flow, so the codec's own count of it stands still.
    length, first = 120_000, 100_000
    arrived, die = threading.Event(), threading.Event()

    def script(connection):
        connection.head()
        count = 0
        while count < first:
            count += len(connection.some_body())
        arrived.set()
        assert die.wait(DEADLINE)
        connection.reset()

    server = still.server(script)
    still.http(server)
    client = still.client()
    client.send(ask("/", f"Content-Length: {length}", method="POST"))
    client.send(b"x" * first)
    assert arrived.wait(DEADLINE)
    with still.proxy.halted():
        client.send(b"x" * (length - first) + ask("/hidden") * 2000)
        die.set()
        server.wait_idle()
    response = client.response("POST")
    assert (response.status, response.values("connection")) == (502, [b"close"])
    client.wait_end()
    assert [request.target for request in server.requests] == ["/"]


def test_an_answer_is_not_lost_when_the_server_closes_under_the_request(still) -> None:
    begun, answer = threading.Event(), threading.Event()

    def script(connection):
        connection.head()
        connection.some_body()
        begun.set()
        assert answer.wait(DEADLINE)
        connection.send(reply(b"enough", "Connection: close", status=413, reason="Content Too Large"))

    server = still.server(script)
    still.http(server)
    client = still.client()
    client.send(ask("/", "Content-Length: 50000", method="POST") + b"x" * 1000)
    assert begun.wait(DEADLINE)
    with still.proxy.halted():
        client.send(b"x" * 1000)
        answer.set()
        server.wait_idle()
    response = client.response("POST")
    assert (response.status, response.body) == (413, b"enough")


def test_an_answer_is_not_lost_when_the_server_resets_under_the_request(still) -> None:
    begun, answer = threading.Event(), threading.Event()

    def script(connection):
        connection.head()
        begun.set()
        assert answer.wait(DEADLINE)
        connection.send(reply(b"enough", "Connection: close", status=413, reason="Content Too Large"))
        # Bytes of the request are still unread: the close becomes a reset.

    server = still.server(script)
    still.http(server)
    client = still.client()
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
    assert begun.wait(DEADLINE)
    with still.proxy.halted():
        client.send(chunked(b"more"))
        answer.set()
        server.wait_idle()
    response = client.response("POST")
    assert (response.status, response.body) == (413, b"enough")


def test_requests_in_a_listeners_queue_are_answered_by_a_draining_engine(still) -> None:
    still.http(still.server())
    proxy = still.proxy
    idle = still.client()
    assert idle.get().body == b"hello"
    with still.proxy.halted():
        early, late = still.client(), still.client()
        early.send(ask("/"))
        idle.send(ask("/"))
        for _oid, descriptor in proxy.engine.listening():
            proxy.engine.unlisten(descriptor)
        proxy.engine.drain()
    late.send(ask("/"))
    for client in (early, late, idle):
        response = client.response()
        assert (response.status, response.values("connection")) == (200, [b"close"])
        client.expect_end()


def test_a_draining_engine_does_not_wait_for_a_client_that_says_nothing(still) -> None:
    still.http(still.server(), timeouts={"http_request": "1m", "client": "1m"})
    proxy = still.proxy
    client = still.client()
    eventually(lambda: proxy.ask(proxy.engine.connections), "a connection")
    proxy.ask(proxy.engine.drain)
    assert client.read_to_end() == b""


@pytest.mark.parametrize("size", [3000, 7000, 14000])
def test_large_interim_responses_reach_the_client(stage: Stage, size: int) -> None:
    def script(connection):
        connection.request()
        for _ in range(5):
            connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * size + b"\r\n\r\n")
        connection.send(reply(b"hello", "X-Large: " + "y" * size))

    stage.http(stage.server(script))
    response = stage.client().get()
    assert (response.status, response.body) == (200, b"hello")
    assert [len(interim.value("link") or b"") for interim in response.informational] == [size] * 5


def test_interim_responses_wait_for_a_client_that_does_not_read(stage: Stage) -> None:
    # Without back-pressure they would not fit the one buffer that keeps what the client does not take.
    rounds = 400
    head = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 14000 + b"\r\n\r\n"

    def script(connection):
        for _ in range(rounds):
            connection.request()
            connection.send(head * 10 + reply(b"hello"))

    stage.http(stage.server(script))
    client = stage.client(receive_buffer=4096)
    client.send(ask("/") * rounds)
    # The engine is stuck with what the client does not read when no more requests reach the server.
    eventually(lambda: _stands_still(stage), "a full connection")
    for _ in range(rounds):
        response = client.response()
        assert (response.status, response.body, len(response.informational)) == (200, b"hello", 10)


def _stands_still(stage: Stage) -> bool:
    before = len(stage.servers[0].requests)
    stage.client().close()
    return before > 0 and len(stage.servers[0].requests) == before


def test_a_client_cannot_put_off_the_servers_timeout_with_bytes_nobody_reads(stage: Stage) -> None:
    stage.http(stage.server(lambda connection: connection.wait_end()), timeouts={"server": "300ms"})
    client = stage.client()
    client.send(ask("/"))
    sent = 0
    while not client.readable(0.02):
        client.send(b"G")
        sent += 1
        assert sent < 500, "the server's timeout does not come"
    assert client.head().status == 504
