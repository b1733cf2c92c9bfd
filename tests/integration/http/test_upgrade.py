"""Tunnels: only after a matching 101, then bytes both ways until both sides have finished."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest
from kit.message import ask, reply
from kit.server import Connection
from kit.stage import Stage
from kit.wire import Reset

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH += b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def switch_and_echo(connection: Connection) -> None:
    """Agree to the upgrade, then send back what comes."""
    connection.head_only()
    connection.send(SWITCH)
    while data := connection.read():
        connection.send(data)


@pytest.mark.smoke
@pytest.mark.h1_only
def test_an_upgrade_becomes_a_tunnel(stage: Stage) -> None:
    server = stage.server(switch_and_echo)
    stage.http(server)
    client = stage.client()
    client.send(ask("/chat", *UPGRADE))
    response = client.head(upgrade="websocket")
    assert response.status == 101
    assert response.value("upgrade").lower() == b"websocket"
    assert response.value("connection").lower() == b"upgrade"
    request = server.requests[0]
    assert (request.value("upgrade"), request.value("connection").lower()) == (b"websocket", b"upgrade")
    for message in (b"one", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 300):
        client.send(message)
        assert client.read_exactly(len(message)) == message
    client.half_close()
    assert client.read_to_end() == b""


@pytest.mark.h1_only
def test_bytes_behind_the_101_belong_to_the_tunnel(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(SWITCH + b"at once")
        assert connection.read_exactly(5) == b"hello"
        connection.send(b"bye")

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    assert client.head(upgrade="websocket").status == 101
    assert client.read_exactly(7) == b"at once"
    client.send(b"hello")
    assert client.read_to_end() == b"bye"


@pytest.mark.h1_only
def test_bytes_behind_the_request_wait_for_the_101(stage: Stage) -> None:
    """What a client sends in advance reaches the server only once it has agreed."""

    def script(connection: Connection) -> None:
        connection.head_only()
        assert not connection.readable(0.1), "client bytes came before the 101"
        connection.send(SWITCH)
        assert connection.read_exactly(5) == b"early"

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", *UPGRADE) + b"early")
    assert client.head(upgrade="websocket").status == 101
    assert client.read_to_end() == b""


@pytest.mark.parametrize("status", [200, 426, 404])
def test_a_refused_upgrade_is_an_ordinary_exchange(stage: Stage, status: int) -> None:
    """The websocket-426 trick: bytes behind a refused upgrade are requests, read by lb's own grammar."""

    def script(connection: Connection) -> None:
        while True:
            request = connection.head_only()
            connection.send(reply(request.target.encode(), status=status, reason="No"))

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    client.send(ask("/chat", *UPGRADE))
    response = client.response()
    assert (response.status, response.body) == (status, b"/chat")
    client.send(b"PRIVATE /admin HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert client.response().status == 400
    client.wait_end()
    assert [request.target for request in server.requests] == ["/chat"]


def test_an_unasked_101_is_a_fault_of_the_server(stage: Stage) -> None:
    stage.http(stage.server(lambda c: (c.request(), c.send(SWITCH), c.wait_end())))
    client = stage.client()
    client.send(ask())
    assert client.response().status == 502


@pytest.mark.ours
def test_a_101_for_another_protocol_is_a_fault_of_the_server(stage: Stage) -> None:
    other = SWITCH.replace(b"websocket", b"gopher")
    stage.http(stage.server(lambda c: (c.head_only(), c.send(other), c.wait_end())))
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    assert client.response().status == 502


@pytest.mark.ours
def test_h2c_is_never_offered_to_a_server(stage: Stage) -> None:
    server = stage.server()
    stage.http(server)
    response = stage.client().get(
        "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    )
    assert response.status == 200
    assert [name.lower() for name in server.requests[0].names] == [b"host"]


@pytest.mark.h1_only
def test_large_transfers_through_a_tunnel_keep_every_byte(stage: Stage) -> None:
    data = random.Random(7).randbytes(stage.bulk)
    server = stage.server(switch_and_echo)
    stage.http(server)
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    assert client.head(upgrade="websocket").status == 101
    sender = threading.Thread(target=lambda: (client.send(data), client.half_close()))
    sender.start()
    back = client.read_to_end()
    sender.join()
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


@pytest.mark.h1_only
def test_a_half_closed_tunnel_still_carries_the_other_way(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(SWITCH)
        assert connection.read_to_end() == b"question"
        connection.send(b"answer")

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    client.head(upgrade="websocket")
    client.send(b"question")
    client.half_close()
    assert client.read_to_end() == b"answer"


def test_a_client_that_resets_a_tunnel_ends_it_at_the_server(stage: Stage) -> None:
    server = stage.server(switch_and_echo)
    stage.http(server)
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    client.head(upgrade="websocket")
    client.reset()
    server.wait_idle()


@pytest.mark.h1_only
def test_a_server_that_resets_a_tunnel_ends_it_at_the_client(stage: Stage) -> None:
    server = stage.server(lambda c: (c.head_only(), c.send(SWITCH), c.read_exactly(1), c.reset()))
    stage.http(server)
    client = stage.client()
    client.send(ask("/", *UPGRADE))
    client.head(upgrade="websocket")
    client.send(b"x")
    client.expect_end()


@pytest.mark.ours
@pytest.mark.parametrize("target", ["lb.test:443", "/"])
def test_connect_is_refused(stage: Stage, target: str) -> None:
    server = stage.server()
    stage.http(server)
    client = stage.client()
    client.send(ask(target, method="CONNECT", host="lb.test:443") + b"early bytes")
    status = int(client.read_exactly(12)[9:])
    assert status in (400, 405, 501)
    try:
        client.wait_end()
    except Reset:
        pass
    assert not server.connections
