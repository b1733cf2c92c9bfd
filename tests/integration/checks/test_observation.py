"""What is dead gets no traffic, also without a check."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kit.daemon import Lb
from kit.message import reply
from kit.server import Server, answering
from kit.settings import Settings, relay
from kit.stage import Stage, server_setting
from kit.stat import becomes, row

pytestmark = pytest.mark.ours


def start(daemon: Stage, *servers: Server | str | Settings, **options: Any) -> Lb:
    lb = daemon.start(relay("http", *map(server_setting, servers), **options))
    assert isinstance(lb, Lb)
    return lb


@pytest.mark.smoke
def test_a_dead_server_is_found_out_by_traffic_and_comes_back_by_itself(daemon: Stage) -> None:
    refused = daemon.refused()
    lb = start(daemon, refused.text, daemon.server(reply(b"well")), workers=2)
    client = daemon.client()
    assert row(lb, "s1")["status"] == "no check"
    assert {client.get().body for _ in range(10)} == {b"well"}
    shown = becomes(lb, "s1", status="DOWN", hanafail="1", chkdown="1")
    # By the time that the supervisor looks there may be more than three.
    assert re.search(
        'Server app/s1 is DOWN, reason: Health analyze, info: "Detected [3-9] consecutive errors, last one was: '
        'L4 unsuccessful connection". 1 active and 0 backup servers left.',
        lb.stderr(),
    )
    tried = shown["connect"]
    clients = [daemon.client() for _ in range(20)]
    assert {each.get().body for each in clients} == {b"well"}
    assert row(lb, "s1")["connect"] == tried, "every worker knows"
    refused.close()
    daemon.server(answering(reply(b"back")), address=refused.address)
    becomes(lb, "s1", status="no check")
    assert {client.get().body for _ in range(4)} == {b"well", b"back"}
    assert row(lb, "s1")["downtime"] != ""


def test_connections_that_never_come_count_too(daemon: Stage) -> None:
    lb = start(daemon, daemon.black_hole().text, daemon.server(reply(b"well")), timeouts={"connect": "100ms"})
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"well"}
    becomes(lb, "s1", status="DOWN")


def test_the_last_server_stays(daemon: Stage) -> None:
    lb = start(daemon, daemon.refused().text, retries=0)
    client = daemon.client()
    for _ in range(12):
        assert client.get().status == 503
    assert row(lb, "s1")["status"] == "no check"
    assert row(lb, "s1")["connect"] == "12"


def test_of_two_dead_servers_one_stays(daemon: Stage) -> None:
    lb = start(daemon, daemon.refused().text, daemon.refused().text, retries=0)
    client = daemon.client()
    for _ in range(30):
        assert client.get().status == 503
    assert sorted(row(lb, name)["status"] for name in ("s1", "s2")) == ["DOWN", "no check"]
    assert row(lb, "BACKEND")["status"] == "UP"


def test_a_server_that_answers_in_between_stays(daemon: Stage) -> None:
    # Without keep-alive each request is a connection; of four in a row two fail.
    server = daemon.server(lambda c: (c.request(), c.send(reply(b"once", "Connection: close"))))  # type: ignore[arg-type]
    lb = start(daemon, server, daemon.server(reply(b"well")), backend={"error_limit": 2})
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"once", b"well"}
    assert row(lb, "s1")["status"] == "no check"


def test_observation_can_be_left_out(daemon: Stage) -> None:
    lb = start(daemon, daemon.refused().text, daemon.server(), backend={"observe": "none"})
    client = daemon.client()
    assert {client.get().status for _ in range(20)} == {200}
    shown = row(lb, "s1")
    assert (shown["status"], shown["hanafail"]) == ("no check", "")
    assert int(shown["econ"]) >= 10


def test_with_a_check_too_many_failures_count_as_a_failed_check(daemon: Stage) -> None:
    well = daemon.server(reply(b"well"))
    lying = {"address": daemon.refused().text, "check": {"port": well.address[1]}}
    options = {
        "check": {"every": "10s", "fast_every": "20ms", "timeout": "5s"},
        "observe": "layer4",
        "error_limit": 2,
        "on_error": "mark-down",
    }
    lb = start(daemon, lying, well, backend=options)
    becomes(lb, "s1", check_status="L4OK")
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"well"}
    becomes(lb, "s1", chkdown="1", hanafail="1")
    # The check passes where nobody serves: it is up again, and the next failures take it out again.
    becomes(lb, "s1", status="UP")
    assert {client.get().body for _ in range(8)} == {b"well"}
    becomes(lb, "s1", chkdown="2", hanafail="2")


def test_a_retry_does_not_wait_when_its_server_has_been_taken_out(daemon: Stage) -> None:
    """With one usable server left, a failed connection to another goes there at once, not after a turnaround."""
    lb = start(daemon, daemon.refused().text, daemon.server(), backend={"error_limit": 1}, retries=3)
    client = daemon.client()
    for _ in range(6):
        assert client.get().status == 200
    becomes(lb, "s1", status="DOWN")
    assert all(record.timers[2] < 900 for record in daemon.records(6))


def test_tcp_relays_are_observed_too(daemon: Stage) -> None:
    server = daemon.server(lambda c: c.send(b"hello"))
    lb = daemon.start(relay("tcp", daemon.refused().text, server.text))
    assert isinstance(lb, Lb)
    for _ in range(10):
        assert daemon.client().read() == b"hello"
    becomes(lb, "s1", status="DOWN")
