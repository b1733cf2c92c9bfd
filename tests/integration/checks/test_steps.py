"""Checks by conversation, with a real Redis and with servers that talk nonsense."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kit.daemon import Lb
from kit.programs import free_port, start
from kit.server import Connection, silent
from kit.settings import relay
from kit.stage import Stage
from kit.stat import becomes

pytestmark = pytest.mark.ours

PING = {"steps": [{"send": "PING\r\n"}, {"expect": "+PONG"}, {"send": "QUIT\r\n"}], "every": "50ms", "timeout": "2s"}


def begin(daemon: Stage, *servers: Any, check: Any = PING) -> Lb:
    lb = daemon.start(relay("tcp", *servers, backend={"check": check}))
    assert isinstance(lb, Lb)
    return lb


def test_a_redis_is_asked_for_a_pong(daemon: Stage) -> None:
    port = free_port()
    address = start(daemon, "redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1", port=port)
    lb = begin(daemon, address, daemon.server(lambda c: c.send(b"-ERR no redis\r\n")).text)
    becomes(lb, "s1", status="UP", check_status="L7OK", check_code="0", last_chk="(tcp-check)")
    becomes(lb, "s2", status="DOWN", last_chk="TCPCHK did not match content '+PONG' at step 2")


def test_servers_that_say_nothing_or_too_much(daemon: Stage) -> None:
    closing = threading.Event()

    def floods(connection: Connection) -> None:
        while not closing.is_set():
            connection.send(b"x" * 65536)

    servers = [silent, lambda c: c.read(), floods]
    daemon.defer(closing.set)
    lb = begin(daemon, *(daemon.server(each).text for each in servers), daemon.refused().text)  # type: ignore[arg-type]
    becomes(lb, "s2", status="DOWN", last_chk="TCPCHK got an empty response at step 2")
    becomes(lb, "s3", status="DOWN", last_chk="TCPCHK did not match content '+PONG' at step 2")
    becomes(lb, "s4", status="DOWN", last_chk="Connection refused at initial connection step of tcp-check")
    shown = becomes(lb, "s1", status="DOWN")
    assert shown["last_chk"] in ("", " at step 2 of tcp-check (expect string '+PONG')")


def test_a_server_may_speak_first(daemon: Stage) -> None:
    server = daemon.server(lambda c: (c.send(b"220 mail ready\r\n"), c.wait_end()))  # type: ignore[arg-type]
    lb = begin(
        daemon, server.text, check={"steps": [{"expect_regex": "^220 .*ready"}], "every": "50ms", "timeout": "5s"}
    )
    becomes(lb, "s1", status="UP", check_status="L7OK")
