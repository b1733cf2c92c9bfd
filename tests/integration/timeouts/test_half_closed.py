"""`client_fin` and `server_fin`: the timeouts of relays and tunnels in which one side has ended. HAProxy's meaning."""

from __future__ import annotations

import threading

import pytest
from kit.deadline import DEADLINE
from kit.message import ask
from kit.server import Connection
from kit.settings import Settings
from kit.stage import Stage
from kit.wire import Reset

SHORT = "150ms"
LONG = {"client": "20s", "server": "20s", "tunnel": "20s"}


def spoken(connection: Connection) -> None:
    """Say hello to who says hello."""
    assert connection.read_exactly(5) == b"hello"
    connection.send(b"hello")


def server_that_stays(connection: Connection) -> None:
    spoken(connection)
    connection.wait_end()


def server_that_ends(connection: Connection) -> None:
    spoken(connection)
    connection.half_close()
    connection.wait_end()


def upgraded(connection: Connection) -> None:
    connection.head_only()
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")


def start(stage: Stage, mode: str, script: object, timeouts: Settings) -> object:
    """Begin a relay or tunnel in which both have said hello; return the client and the server."""

    def whole(connection: Connection) -> None:
        if mode == "http":
            upgraded(connection)
        script(connection)  # type: ignore[operator]

    server = stage.server(whole)
    (stage.http if mode == "http" else stage.tcp)(server, timeouts={**LONG, **timeouts})
    client = stage.client()
    if mode == "http":
        client.send(ask("/", "Connection: Upgrade", "Upgrade: test"))
        assert client.head(upgrade="test").status == 101
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"
    return client, server


MODES = pytest.mark.parametrize("mode", ["tcp", "http"])


@MODES
def test_a_client_that_has_ended_waits_for_its_server_as_long_as_server_fin(stage: Stage, mode: str) -> None:
    over = threading.Event()

    def script(connection: Connection) -> None:
        spoken(connection)
        assert connection.read() == b""  # the client's end is passed on
        assert over.wait(DEADLINE)

    client, _ = start(stage, mode, script, {"server_fin": SHORT})
    client.half_close()
    client.wait_end()
    assert stage.record().state == "sD"
    over.set()


# (HAProxy ends a tunnel of HTTP as soon as the server does: `--`.)
@pytest.mark.parametrize("mode", ["tcp", pytest.param("http", marks=pytest.mark.ours)])
def test_a_server_that_has_ended_waits_for_its_client_as_long_as_client_fin(stage: Stage, mode: str) -> None:
    client, server = start(stage, mode, server_that_ends, {"client_fin": SHORT})
    client.wait_end()
    server.wait_idle()
    assert stage.record().state == "cD"


@MODES
def test_bytes_begin_its_time_anew(stage: Stage, mode: str) -> None:
    def script(connection: Connection) -> None:
        spoken(connection)
        assert connection.read() == b""
        for _ in range(6):
            assert not connection.readable(0.2) or connection.read() == b""
            connection.send(b"x")

    client, server = start(stage, mode, script, {"server_fin": "500ms"})
    client.half_close()
    assert client.read_to_end() == b"xxxxxx"
    server.wait_idle()
    assert stage.record().state == "--"


@MODES
def test_the_other_one_s_timeout_does_not_apply(stage: Stage, mode: str) -> None:
    """The server is waited for: client_fin says nothing about it."""

    def script(connection: Connection) -> None:
        spoken(connection)
        assert connection.read() == b""
        assert not connection.readable(0.5) or connection.read() == b""
        connection.send(b"late")

    client, server = start(stage, mode, script, {"client_fin": SHORT})
    client.half_close()
    assert client.read_to_end() == b"late"
    server.wait_idle()
    assert stage.record().state == "--"


@MODES
def test_while_both_are_open_the_tunnel_s_timeout_holds(stage: Stage, mode: str) -> None:
    client, server = start(stage, mode, server_that_stays, {"client_fin": SHORT, "server_fin": SHORT})
    assert not client.readable(0.5), "closed by a timeout of half-closed connections"
    client.close()
    server.wait_idle()
    assert stage.record().state in ("--", "CD")


@MODES
@pytest.mark.ours
def test_without_them_the_tunnel_s_timeout_holds_to_the_end(stage: Stage, mode: str) -> None:
    client, server = start(stage, mode, server_that_ends, {"tunnel": "300ms"})
    client.wait_end()
    server.wait_idle()
    assert stage.record().state in ("cD", "sD")


def test_before_both_have_spoken_too(stage: Stage) -> None:
    server = stage.server(lambda c: (c.half_close(), c.wait_end()))
    stage.tcp(server, timeouts={**LONG, "client_fin": SHORT})
    client = stage.client()
    client.wait_end()
    server.wait_idle()
    assert stage.record().state == "cD"


@pytest.mark.ours
def test_a_client_that_has_ended_and_does_not_take_what_comes_is_cut_after_client_fin(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        assert connection.read_exactly(5) == b"hello"
        with pytest.raises(Reset):
            connection.send(bytes(100_000_000))

    server = stage.server(script)
    stage.tcp(server, timeouts={**LONG, "client_fin": SHORT, "server_fin": "10s"})
    client = stage.client(receive_buffer=4096)
    client.send(b"hello")
    client.half_close()
    server.wait_idle()
    assert stage.record().state == "cD"


def test_backends_and_frontends_may_say_otherwise(stage: Stage) -> None:
    server = stage.server(server_that_ends)
    stage.tcp(server, timeouts={**LONG, "client_fin": "20s"}, frontend={"timeouts": {"client_fin": SHORT}})
    client = stage.client()
    client.send(b"hello")
    client.wait_end()
    server.wait_idle()
    assert stage.record().state == "cD"
