"""How long connections live: `http_connection`, `max_requests` of clients, and of servers by their pool."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.stage import Stage

MODES = ["keep-alive", "server-close", "close"]


@pytest.mark.smoke
@pytest.mark.parametrize("backend", MODES[:2])
@pytest.mark.parametrize("frontend", MODES)
def test_what_is_closed_after_a_request(stage: Stage, frontend: str, backend: str) -> None:
    """Whoever of the two says `server-close` has it; `close` ends the client's connection too. As HAProxy's options."""
    server = stage.server()
    stage.http(server, frontend={"http_connection": frontend}, backend={"http_connection": backend})
    client = stage.client()
    answer = client.get()
    is_closed = frontend == "close"
    assert (b"close" in answer.values("connection")) == is_closed
    if is_closed:
        assert client.read() == b""
        client = stage.client()
    assert client.get().body == b"hello"
    keeps_server = frontend == backend == "keep-alive"
    server.wait_requests(2)
    assert [(b"close" in request.values("connection")) for request in server.requests] == [not keeps_server] * 2
    assert len(server.connections) == (1 if keeps_server else 2)


@pytest.mark.ours
def test_defaults_are_inherited_by_both_sides(stage: Stage) -> None:
    server = stage.server()
    settings = {
        "version": 1,
        "global": {"workers": 1},
        "defaults": {"http_connection": "close"},
        "frontends": {
            "web": {"bind": [{"address": "127.0.0.1:0"}], "default_backend": "app"},
            "lasting": {
                "bind": [{"address": "127.0.0.1:0"}],
                "default_backend": "app",
                "http_connection": "keep-alive",
            },
        },
        "backends": {"app": {"servers": [server.text]}},
    }
    stage.start(settings)
    assert stage.client().get().values("connection") == [b"close"]
    client = stage.client("lasting")
    assert client.get().values("connection") == client.get().values("connection") == []
    assert len(server.connections) == 3


def test_a_server_connection_that_the_server_does_not_close_is_closed(stage: Stage) -> None:
    """`Connection: close` was said; a server that does not act on it is not kept all the same."""

    def script(connection) -> None:
        while True:
            connection.request()
            connection.send(reply(b"hello"))

    server = stage.server(script)
    stage.http(server, backend={"http_connection": "server-close"})
    client = stage.client()
    for _ in range(3):
        client.get()
    server.wait(lambda s: all(c.closed.is_set() for c in s.connections), "all three to be closed")
    assert [len(c.requests) for c in server.connections] == [1, 1, 1]


def test_an_upgrade_is_not_hindered(stage: Stage) -> None:
    def script(connection) -> None:
        request = connection.head_only()
        assert request.values("connection") == [b"upgrade"]
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        connection.send(connection.read_exactly(4))

    stage.http(stage.server(script), backend={"http_connection": "server-close"})
    client = stage.client()
    client.send(ask("/", "Connection: upgrade", "Upgrade: x"))
    assert client.head(upgrade="x").status == 101
    client.send(b"ping")
    assert client.read_exactly(4) == b"ping"


@pytest.mark.ours
def test_a_client_connection_carries_so_many_requests(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"max_requests": 3})
    client = stage.client()
    for number in range(3):
        answer = client.get()
        assert answer.body == b"hello"
        assert answer.values("connection") == ([b"close"] if number == 2 else [])
    assert client.read() == b""
    assert stage.client().get().values("connection") == []
    assert len(server.connections) == 1


@pytest.mark.ours
def test_requests_behind_the_last_one_are_not_answered(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, frontend={"max_requests": 2})
    client = stage.client()
    client.send(ask("/1") + ask("/2") + ask("/3"))
    assert client.response().body == b"hello"
    assert client.response().values("connection") == [b"close"]
    assert client.read() == b""
    assert [request.target for request in server.requests] == ["/1", "/2"]


@pytest.mark.ours
def test_an_answer_of_lb_s_own_counts(stage: Stage) -> None:
    stage.http(stage.server(), frontend={"max_requests": 2, "routes": [{"match": {"path": "/a"}, "to": "app"}]})
    client = stage.client()
    client.get("/a")
    assert client.get("/a").values("connection") == [b"close"]
