"""Timeouts of a TCP relay, and what the log says about each end."""

from __future__ import annotations

import pytest
from kit.server import echoing, silent
from kit.stage import Stage


@pytest.mark.ours
def test_silence_of_both_ends_a_connection(stage: Stage) -> None:
    server = stage.server(echoing)
    stage.tcp(server, timeouts={"client": "200ms", "server": "200ms", "tunnel": "200ms"})
    client = stage.client()
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"
    client.expect_end()
    server.wait_idle()
    assert stage.record().state in ("cD", "sD")


def test_a_client_that_never_speaks_is_let_go(stage: Stage) -> None:
    server = stage.server(silent)
    stage.tcp(server, timeouts={"client": "200ms", "server": "10s"})
    stage.client().expect_end()
    server.wait_idle()
    assert stage.record().state in ("cD", "sD")


def test_a_server_that_does_not_answer_in_time_is_let_go(stage: Stage) -> None:
    server = stage.server(silent)
    stage.tcp(server, timeouts={"client": "10s", "server": "200ms"})
    client = stage.client()
    client.send(b"hello")
    client.expect_end()
    server.wait_idle()
    assert stage.record().state in ("cD", "sD")


def test_a_server_that_never_accepts_is_given_up(stage: Stage) -> None:
    stage.tcp(stage.black_hole().text, timeouts={"connect": "100ms"}, retries=0)
    stage.client().expect_end()
    assert stage.record().state == "sC"


def test_a_server_that_refuses_is_logged_so(stage: Stage) -> None:
    stage.tcp(stage.refused().text, retries=0)
    stage.client().expect_end()
    record = stage.record()
    assert record.state == "SC"
    assert record.timers[1] == -1


def test_bytes_keep_a_connection_open(stage: Stage) -> None:
    """Twenty times half the timeout: activity of either side counts for both."""
    stage.tcp(stage.server(echoing), timeouts={"client": "400ms", "server": "400ms", "tunnel": "400ms"})
    client = stage.client()
    for _ in range(6):
        client.send(b"x")
        assert client.read_exactly(1) == b"x"
        assert not client.readable(0.2), "ended although it was used"


@pytest.mark.ours
def test_once_both_have_spoken_the_timeout_is_the_tunnels(stage: Stage) -> None:
    stage.tcp(stage.server(echoing), timeouts={"client": "100ms", "server": "100ms", "tunnel": "20s"})
    client = stage.client()
    client.send(b"x")
    assert client.read_exactly(1) == b"x"
    assert not client.readable(0.4), "closed by a timeout that is not the tunnel's"
    client.send(b"y")
    assert client.read_exactly(1) == b"y"
