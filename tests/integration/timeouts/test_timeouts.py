"""Every timeout of an HTTP exchange: what the client gets, what the log says, that the server is let go.

Values are short, and tests wait for the event that follows; none asserts how long it took.
"""

from __future__ import annotations

import pytest
from kit.message import Truncated, ask, reply
from kit.server import Connection, silent
from kit.stage import Stage
from kit.wire import Reset

SHORT = "150ms"
LONG = {"client": "20s", "server": "20s", "http_request": "20s", "http_keep_alive": "20s"}


@pytest.mark.smoke
def test_a_head_that_does_not_come_whole_is_answered_with_408(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, timeouts={**LONG, "http_request": SHORT})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: lb.te")
    assert client.response().status == 408
    client.wait_end()
    record = stage.record()
    assert (record.state, record.status, record.request) == ("cR", 408, "<BADREQ>")
    assert not server.connections


def test_a_head_that_dribbles_has_no_more_time(stage: Stage) -> None:
    """The whole head has the time, not each byte."""
    stage.http(stage.server(), timeouts={**LONG, "http_request": "300ms"})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\n")
    for i in range(400):
        if client.readable(0.02):
            break
        client.send(b"X: %d\r\n" % (i % 10))
    else:
        raise AssertionError("the head may take as long as it likes")
    assert client.response().status == 408


def test_a_connection_without_a_byte_is_closed(stage: Stage) -> None:
    stage.http(stage.server(), timeouts={**LONG, "http_request": SHORT})
    client = stage.client()
    client.wait_end()
    assert b" 200 " not in client.received


def test_an_idle_connection_is_closed_without_a_word(stage: Stage) -> None:
    stage.http(stage.server(), timeouts={**LONG, "http_keep_alive": SHORT})
    client = stage.client()
    assert client.get().status == 200
    client.expect_end()
    assert stage.record().state == "--"


@pytest.mark.smoke
def test_a_server_that_does_not_answer_is_answered_with_504(stage: Stage) -> None:
    server = stage.server(silent)
    stage.http(server, timeouts={**LONG, "server": SHORT})
    assert stage.client().get().status == 504
    server.wait_idle()
    record = stage.record()
    assert (record.state, record.status, record.server) == ("sH", 504, "s1")
    assert len(server.connections) == 1, "a request that was sent is not sent again"


def test_a_server_that_stops_in_the_middle_is_cut(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.wait_end()

    server = stage.server(script)
    stage.http(server, timeouts={**LONG, "server": SHORT})
    client = stage.client()
    client.send(ask())
    with pytest.raises((Truncated, Reset)):
        client.response()
    server.wait_idle()
    record = stage.record()
    assert (record.state, record.status) == ("sD", 200)


@pytest.mark.ours
def test_a_client_that_stops_in_the_middle_of_its_body_is_answered_with_408(stage: Stage) -> None:
    server = stage.server(lambda c: (c.head(), c.wait_end()))
    stage.http(server, timeouts={**LONG, "client": SHORT})
    client = stage.client()
    client.send(ask("/", "Content-Length: 100", method="POST") + b"half")
    assert client.response("POST").status == 408
    client.wait_end()
    server.wait_idle()
    record = stage.record()
    assert (record.state[0], record.status) == ("c", 408)


def test_a_client_that_does_not_take_its_answer_is_cut(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with pytest.raises(Reset):
            connection.send(bytes(100_000_000))

    server = stage.server(script)
    stage.http(server, timeouts={**LONG, "client": SHORT})
    client = stage.client(receive_buffer=4096)
    client.send(ask())
    server.wait_idle()
    assert stage.record().state == "cD"


def test_a_server_that_cannot_be_reached_in_time_is_answered_with_503(stage: Stage) -> None:
    stage.http(stage.black_hole().text, timeouts={**LONG, "connect": SHORT}, retries=0)
    assert stage.client().get().status == 503
    record = stage.record()
    assert (record.state, record.status, record.timers[2]) == ("sC", 503, -1)


def test_an_unreachable_server_does_not_keep_another_from_answering(stage: Stage) -> None:
    server = stage.server()
    stage.http(stage.black_hole().text, server, timeouts={**LONG, "connect": SHORT})
    for _ in range(2):
        assert stage.client().get().body == b"hello"


def test_a_silent_tunnel_is_closed(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
        connection.wait_end()

    server = stage.server(script)
    stage.http(server, timeouts={**LONG, "tunnel": SHORT})
    client = stage.client()
    client.send(ask("/", "Connection: Upgrade", "Upgrade: test"))
    assert client.head(upgrade="test").status == 101
    client.expect_end()
    server.wait_idle()


def test_a_tunnel_outlives_the_other_timeouts(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
        connection.send(connection.read_exactly(1))

    stage.http(
        stage.server(script),
        timeouts={"client": SHORT, "server": SHORT, "http_request": SHORT, "http_keep_alive": SHORT, "tunnel": "20s"},
    )
    client = stage.client()
    client.send(ask("/", "Connection: Upgrade", "Upgrade: test"))
    assert client.head(upgrade="test").status == 101
    assert not client.readable(0.5), "closed by a timeout that is not the tunnel's"
    client.send(b"x")
    assert client.read_exactly(1) == b"x"


def test_a_long_answer_may_take_longer_than_the_timeout(stage: Stage) -> None:
    """Timeouts are about silence."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            assert not connection.readable(0.15), "given up"
            connection.send(b"x")

    stage.http(stage.server(script), timeouts={**LONG, "server": "500ms", "client": "500ms"})
    assert stage.client().get().body == b"xxxxxx"


def test_frontends_and_backends_may_say_otherwise(stage: Stage) -> None:
    stage.http(stage.server(silent), timeouts={**LONG, "server": "20s"}, backend={"timeouts": {"server": SHORT}})
    assert stage.client().get().status == 504


def test_the_next_request_of_a_connection_has_its_own_time(stage: Stage) -> None:
    stage.http(stage.server(lambda c: [c.send(reply(c.request().target.encode())) for _ in range(9)]),
               timeouts={**LONG, "http_request": "400ms", "http_keep_alive": "20s"})  # fmt: skip
    client = stage.client()
    for i in range(4):
        assert not client.readable(0.2)
        assert client.get(f"/{i}").body == b"/%d" % i
