"""HTTP checks of servers that answer well, badly, slowly, endlessly or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server, answering, silent
from kit.settings import relay
from kit.stage import Stage, server_setting
from kit.stat import becomes, row

pytestmark = pytest.mark.ours

FAST = {"http": "GET /healthz", "every": "50ms", "timeout": "5s"}


def start(daemon: Stage, *servers: Any, check: Any = FAST, **options: Any) -> Lb:
    lb = daemon.start(relay("http", *map(server_setting, servers), backend={"check": check}, **options))
    assert isinstance(lb, Lb)
    return lb


class Switch:
    """A server whose health answer can be changed."""

    def __init__(self, daemon: Stage, name: bytes) -> None:
        self.health = reply(b"well")
        self.server = daemon.server(
            answering(lambda request: self.health if request.target == "/healthz" else reply(name))
        )


@pytest.mark.smoke
def test_a_server_that_answers_otherwise_gets_nothing_until_it_answers_well(daemon: Stage) -> None:
    sick, well = Switch(daemon, b"sick"), Switch(daemon, b"well")
    lb = start(daemon, sick.server, well.server, workers=2)
    becomes(lb, "s1", status="UP", check_status="L7OK", check_code="200")
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"sick", b"well"}
    sick.health = reply(b"", status="503 Full")
    becomes(lb, "s1", status="DOWN", check_status="L7STS", check_code="503", last_chk="Full OK")
    assert {client.get().body for _ in range(8)} == {b"well"}
    assert (
        'Server app/s1 is DOWN, reason: Layer7 wrong status, code: 503, info: "Full OK", check duration: '
        in lb.stderr()
    )
    sick.health = reply(b"well")
    becomes(lb, "s1", status="UP")
    assert "Server app/s1 is UP, reason: Layer7 check passed, code: 200, check duration: " in lb.stderr()
    assert {client.get().body for _ in range(8)} == {b"sick", b"well"}


def test_what_a_server_is_asked(daemon: Stage, tmp_path: Path) -> None:
    plain, told = daemon.server(), daemon.server()
    unix = daemon.server(address=str(tmp_path / "app.sock"))
    more = {"http": "POST /x?y", "host": "www.example.com", "headers": {"X-A": "b"}, "body": "ping"}
    start(daemon, plain, {"address": told.text, "check": more}, unix)
    (first,) = plain.wait_requests(1)[:1]
    assert (first.method, first.target, first.body) == ("GET", "/healthz", b"")
    assert first.fields == [(b"Host", plain.text.encode()), (b"Connection", b"close")]
    eventually(lambda: told.requests and told.requests[0].body, "the request with its body")
    (second,) = told.requests[:1]
    assert (second.method, second.target, second.body) == ("POST", "/x?y", b"ping")
    assert second.fields[:2] == [(b"Host", b"www.example.com"), (b"X-A", b"b")]
    assert unix.wait_requests(1)[0].fields[0] == (b"Host", b"localhost")


def test_a_body_and_a_header_are_looked_at(daemon: Stage) -> None:
    server = daemon.server(reply(b"all is well here", "X-State: ready, steady"))
    given = [
        {"string": "is well"},
        {"string": "is bad"},
        {"regex": "well.*here$"},
        {"regex": "^well"},
        {"header": {"x-state": "steady"}},
        {"header": {"x-state": "go"}},
    ]
    lb = start(daemon, *({"address": server.text, "check": each} for each in given))
    for n, status in enumerate(["UP", "DOWN"] * 3, 1):
        becomes(lb, f"s{n}", status=status)
    assert row(lb, "s2")["last_chk"] == "HTTP content check did not match"
    assert row(lb, "s6")["check_status"].endswith("L7STS")


def test_servers_that_misbehave_cost_their_timeout_and_no_more(daemon: Stage) -> None:
    closing = threading.Event()

    def endless(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not closing.is_set():
            connection.send(b"x" * 65536)

    def endless_head(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not closing.is_set():
            connection.send(b"x" * 65536)

    def resets(connection: Connection) -> None:
        connection.head()
        connection.reset()

    scripts = {
        "silent": (silent, "L7TOUT"),
        "garbage": (lambda c: (c.head(), c.send(b"\x00\xff garbage\r\n\r\n")), "L7RSP"),
        "closes": (lambda c: c.head(), "L7RSP"),
        "resets": (resets, "SOCKERR"),
        "endless": (endless, "L7RSP"),
        "endless_head": (endless_head, "L7RSP"),
    }
    servers = [{"name": name, "address": daemon.server(script).text} for name, (script, _) in scripts.items()]  # type: ignore[arg-type]
    daemon.defer(closing.set)
    well = {"name": "well", "address": daemon.server().text}
    check = {**FAST, "timeout": "1s", "string": "hello"}
    lb = start(daemon, *servers, well, check=check)
    for name, (_, status) in scripts.items():
        shown = becomes(lb, name, status="DOWN")
        assert shown["check_status"].removeprefix("* ") == status, name
    assert row(lb, "well")["status"] == "UP"
    assert daemon.client().get().status == 200


def test_a_server_that_keeps_its_connection_open_is_cut_at_the_timeout(daemon: Stage) -> None:
    """It has answered, so it is well; the connection does not stay."""

    def keeping(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"hello"))
        connection.wait_end()

    server: Server = daemon.server(keeping)
    lb = start(daemon, server, check={**FAST, "timeout": "100ms"})
    becomes(lb, "s1", status="UP", check_health="4")
    server.wait(lambda s: len(s.connections) >= 3, "three checks")
    eventually(lambda: sum(not c.closed.is_set() for c in server.connections) <= 4, "connections to end")


def test_one_server_of_a_backend_is_checked_otherwise(daemon: Stage) -> None:
    sick = daemon.server(reply(b"", status="500 No"))
    lb = start(daemon, sick, {"address": sick.text, "check": "tcp"}, {"address": sick.text, "check": {"status": 500}})
    becomes(lb, "s1", status="DOWN", check_code="500")
    becomes(lb, "s2", status="UP", check_status="L4OK")
    becomes(lb, "s3", status="UP", check_code="500")
