"""TCP checks of real servers that refuse, hang, die and come back."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server, answering
from kit.settings import Settings, relay
from kit.stage import Stage, server_setting
from kit.stat import becomes, row

pytestmark = pytest.mark.ours

FAST = {"every": "50ms", "timeout": "5s"}


def start(daemon: Stage, *servers: Server | str | Settings, check: Any = FAST, **options: Any) -> Lb:
    """Start lb with checked servers."""
    backend = {"check": check, **options.pop("backend", {})}
    lb = daemon.start(relay("http", *map(server_setting, servers), backend=backend, **options))
    assert isinstance(lb, Lb)
    return lb


def comes_back(daemon: Stage, address: Any) -> Server:
    """Start a server at an address that has been in use."""
    return daemon.server(answering(reply(b"back")), address=address)


ALERT = "\nlb: error: backend app has no server available!\n"


@pytest.mark.smoke
def test_a_server_that_refuses_gets_nothing_until_it_is_back(daemon: Stage) -> None:
    refused = daemon.refused()
    lb = start(daemon, refused.text, daemon.server(reply(b"well")), workers=2)
    shown = becomes(lb, "s1", status="DOWN")
    assert (shown["check_status"], shown["last_chk"]) == ("L4CON", "Connection refused")
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"well"}
    assert row(lb, "s1")["connect"] == "0"
    refused.close()
    comes_back(daemon, refused.address)
    becomes(lb, "s1", status="UP", check_status="L4OK", check_health="4")
    assert {client.get().body for _ in range(8)} == {b"well", b"back"}
    assert 'Server app/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused"' in lb.stderr()
    assert "lb: Server app/s1 is UP, reason: Layer4 check passed, check duration: " in lb.stderr()


def test_a_server_that_hangs_costs_its_timeout_and_holds_nobody_up(daemon: Stage) -> None:
    holes = [daemon.black_hole().text for _ in range(3)]
    refused = daemon.refused()
    lb = start(daemon, *holes, refused.text, daemon.server(), check={"every": "50ms", "timeout": "300ms"})
    becomes(lb, "s4", status="DOWN", check_status="L4CON")
    for name in ("s1", "s2", "s3"):
        shown = becomes(lb, name, status="DOWN")
        assert shown["check_status"].removeprefix("* ") == "L4TOUT"
        assert int(shown["check_duration"]) >= 298  # a loop's clock has whole milliseconds
    assert daemon.client().get().status == 200
    assert row(lb, "s5")["status"] == "UP"


def test_a_dead_backend_answers_at_once(daemon: Stage) -> None:
    lb = start(daemon, daemon.refused().text, daemon.refused().text)
    becomes(lb, "BACKEND", status="DOWN", act="0", weight="0", chkdown="1")
    assert lb.stderr().count(ALERT) == 1
    answer = daemon.client().get()
    assert answer.status == 503
    record = daemon.record()
    assert (record.state, record.server, record.retries) == ("SC", "<NOSRV>", 0)
    assert [row(lb, name)["connect"] for name in ("s1", "s2")] == ["0", "0"]


def test_a_request_in_progress_goes_on_when_its_server_goes_down(daemon: Stage) -> None:
    may_answer = threading.Event()

    def slow(connection: Connection) -> None:
        connection.request()
        assert may_answer.wait(30)
        connection.send(reply(b"late"))

    server = daemon.server(slow)
    lb = start(daemon, server)
    becomes(lb, "s1", status="UP")
    client = daemon.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server.wait_requests(1)
    server.stop_listening()
    becomes(lb, "s1", status="DOWN")
    assert ". 0 active and 0 backup servers left. 1 sessions active, 0 requeued" in lb.stderr()
    may_answer.set()
    assert client.response().body == b"late"


def test_backups_serve_while_the_others_are_down(daemon: Stage) -> None:
    refused = daemon.refused()
    spare = {"address": daemon.server(reply(b"spare")).text, "backup": True}
    lb = start(daemon, refused.text, spare)
    becomes(lb, "s1", status="DOWN")
    shown = row(lb, "BACKEND")
    assert (shown["status"], shown["act"], shown["bck"]) == ("UP", "0", "1")
    client = daemon.client()
    assert client.get().body == b"spare"
    refused.close()
    comes_back(daemon, refused.address)
    becomes(lb, "s1", status="UP")
    assert {client.get().body for _ in range(4)} == {b"back"}


def test_a_check_looks_where_it_is_told_to(daemon: Stage, tmp_path: Path) -> None:
    well, refused = daemon.server(), daemon.refused()
    by_port = {"address": well.text, "check": {"port": refused.address[1]}}
    by_address = {"address": well.text, "check": {"address": f"unix@{tmp_path}/nobody"}}
    other = {"address": refused.text, "check": {"port": well.address[1]}, "observe": "none", "weight": 0}
    lb = start(daemon, by_port, by_address, other, well)
    becomes(lb, "s1", status="DOWN", last_chk="Connection refused")
    becomes(lb, "s2", status="DOWN", last_chk="No such file or directory")
    becomes(lb, "s3", status="UP")


def test_a_unix_socket_is_checked(daemon: Stage, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    server = daemon.server(reply(b"unix"), address=path)
    lb = start(daemon, server, daemon.server(reply(b"tcp")))
    becomes(lb, "s1", status="UP", check_status="L4OK")
    server.close()
    becomes(lb, "s1", status="DOWN", check_status="L4CON", last_chk="Connection refused")
    os.unlink(path)
    comes_back(daemon, path)
    becomes(lb, "s1", status="UP")


def test_servers_do_not_see_the_connections_of_checks(daemon: Stage) -> None:
    server = daemon.server()
    lb = start(daemon, server, check={"every": "20ms", "timeout": "5s"})
    eventually(lambda: int(row(lb, "s1")["check_health"]) == 4, "a check to pass")
    before = row(lb, "s1")["lastchg"]
    eventually(lambda: row(lb, "s1")["lastchg"] != before, "a second to pass")
    assert server.connections == []


@pytest.mark.parametrize("initial", ["down", "fully-down"])
def test_a_server_that_begins_as_down_gets_nothing_before_it_is_checked(daemon: Stage, initial: str) -> None:
    server = daemon.server()
    lb = start(daemon, server, check={"every": "10m", "init_state": initial})
    assert row(lb, "s1")["status"] in ("DOWN 1/2", "DOWN", "UP")
    if initial == "fully-down":
        assert daemon.client().get().status == 503
        assert server.connections == []


def test_one_server_without_a_check_among_others(daemon: Stage) -> None:
    lb = start(daemon, daemon.server(), {"address": daemon.server().text, "check": False})
    becomes(lb, "s1", status="UP", chkfail="0")
    assert (row(lb, "s2")["status"], row(lb, "s2")["check_status"]) == ("no check", "")


# ---- reloads, and other ends ----


def test_states_and_counts_survive_a_reload(daemon: Stage) -> None:
    refused = daemon.refused()
    settings = relay("http", refused.text, daemon.server(reply(b"well")).text, backend={"check": FAST}, workers=2)
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)
    lb.expect_stderr("reloaded, generation 2")
    before = becomes(lb, "s1", status="DOWN", chkfail="1")
    settings["backends"]["app"]["servers"][1]["weight"] = 7
    lb.write(settings)
    assert lb.admin("reload").startswith("Success=1")
    after = row(lb, "s1")
    assert (after["status"], after["chkfail"], after["chkdown"]) == ("DOWN", "1", "1")
    assert int(after["lastchg"]) >= int(before["lastchg"])
    client = daemon.client()
    assert {client.get().body for _ in range(8)} == {b"well"}
    assert lb.stderr().count("Server app/s1 is DOWN") == 1
    refused.close()
    comes_back(daemon, refused.address)
    becomes(lb, "s1", status="UP")


def test_a_check_comes_and_goes_by_reload(daemon: Stage) -> None:
    refused, well = daemon.refused(), daemon.server(reply(b"well"))
    settings = relay("http", refused.text, well.text, backend={"observe": "none"})
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)
    lb.expect_stderr("reloaded, generation 3")
    lb.expect_stderr("reloaded, generation 2")
    assert row(lb, "s1")["status"] == "no check"
    settings["backends"]["app"]["check"] = FAST
    lb.write(settings)
    lb.admin("reload")
    becomes(lb, "s1", status="DOWN")
    del settings["backends"]["app"]["check"]
    lb.write(settings)
    lb.admin("reload")
    assert row(lb, "s1")["status"] == "no check"
    client = daemon.client()
    assert {client.get().body for _ in range(4)} == {b"well"}
    assert int(row(lb, "s1")["econ"]) > 0, "it is asked again"


def test_a_new_worker_knows_who_is_down(daemon: Stage) -> None:
    lb = start(daemon, daemon.refused().text, daemon.server(reply(b"well")))
    lb.expect_stderr("worker 1 .* SIGKILL")
    becomes(lb, "s1", status="DOWN")
    (pid,) = lb.workers()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: lb.workers() not in ([], [pid]), "a new worker")
    lb.rest()
    client = daemon.client()
    assert {client.get().body for _ in range(4)} == {b"well"}
    assert row(lb, "s1")["connect"] == "0"


def test_a_supervisor_that_was_stopped_blames_no_server(daemon: Stage) -> None:
    server = daemon.server()
    lb = start(daemon, server, check={"every": "50ms", "timeout": "100ms", "fall": 1})
    becomes(lb, "s1", status="UP")
    lb.send_signal(signal.SIGSTOP)
    try:
        client = daemon.client()
        # Ten timeouts long.
        end = threading.Event()
        threading.Timer(1.0, end.set).start()
        while not end.is_set():
            assert client.get().status == 200
    finally:
        lb.send_signal(signal.SIGCONT)
    first = row(lb, "s1")["lastchg"]
    eventually(lambda: row(lb, "s1")["lastchg"] != first, "a second of checks")
    assert row(lb, "s1")["chkfail"] == "0"
    assert "DOWN" not in lb.stderr()


def test_a_program_that_is_killed_and_started_again(daemon: Stage) -> None:
    """A real process, killed under traffic: what could go elsewhere does, and it is used again when it is back."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def serve() -> int:
        pid = os.fork()
        if pid == 0:
            while True:
                connection, _ = listener.accept()
                connection.recv(4096)
                connection.sendall(reply(b"process", "Connection: close"))
                connection.close()
        return pid

    pid = serve()
    listener.close()
    lb = start(daemon, {"address": f"127.0.0.1:{address[1]}"}, daemon.server(reply(b"thread")))
    becomes(lb, "s1", status="UP")
    client = daemon.client()
    assert {client.get().body for _ in range(4)} == {b"process", b"thread"}
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert {client.get().status for _ in range(20)} == {200}
    becomes(lb, "s1", status="DOWN")
    assert {client.get().body for _ in range(4)} == {b"thread"}
    listener = socket.create_server(address)
    pid = serve()
    listener.close()
    try:
        becomes(lb, "s1", status="UP")
        assert {client.get().body for _ in range(4)} == {b"process", b"thread"}
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
