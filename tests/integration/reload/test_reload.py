"""Reloading: nothing that works is lost, and what does not work changes nothing."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.echo import PATIENCE_S, Echo, receive_line, talk, wait_until


class Load:
    """Clients that connect, ask and leave, one after the other, until told to stop."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.answered = 0
        self.errors: list[str] = []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.is_over.is_set():
            try:
                with socket.create_connection(self.address, timeout=PATIENCE_S) as sock:
                    if talk(sock, "who"):
                        self.answered += 1
                    else:
                        self.errors.append("closed without an answer")
            except OSError as error:
                self.errors.append(str(error))


@contextmanager
def load(lb: Echo) -> Iterator[Load]:
    """Keep clients coming meanwhile; none may fail."""
    clients = Load(lb.address())
    clients.thread.start()
    try:
        yield clients
    finally:
        clients.is_over.set()
        clients.thread.join()
    assert clients.errors == []
    assert clients.answered > 0


def listening_on(lb: Echo) -> list[str]:
    """Return the addresses that `show stat` shows."""
    rows = [line.split(",") for line in lb.command("show stat").splitlines()]
    return [row[73] for row in rows if row[32:33] == ["3"]]


def test_sighup_puts_a_new_generation_in_force_in_the_same_processes(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        with lb.connect() as sock:
            assert talk(sock, "who")[2] == 1
            lb.signal(signal.SIGHUP)
            lb.said("lb: reloaded, generation 2, ")
            assert talk(sock, "who")[2] == 2  # the connection has survived
        assert lb.workers() == before
        assert lb.ask()[2] == 2


def test_a_listener_is_added_and_removed(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        first = listening_on(lb)
        lb.binds.append({"address": "127.0.0.1:0", "name": "more"})
        assert lb.reload().startswith("Success=1\n--\n")
        more = listening_on(lb)
        assert more[0] == first[0]
        host, _, port = more[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as sock:
            assert talk(sock, "who")[2] == 2
            lb.binds.pop()
            assert lb.reload().startswith("Success=1\n--\n")
            assert listening_on(lb) == first
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), timeout=PATIENCE_S)
            sock.sendall(b"still here\n")
            assert receive_line(sock) == "still here\n"


def test_a_listener_that_only_changes_its_name_keeps_its_socket(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    lb.binds = [address]
    lb.write()
    with lb, load(lb):
        lb.binds = [{"address": address, "name": "renamed"}]
        assert lb.reload().startswith("Success=1\n")
        assert ",renamed," in lb.command("show stat")
        assert lb.workers().keys() == {1, 2}


def test_what_waits_in_a_removed_listener_is_still_accepted(tmp_path: Path) -> None:
    lb = Echo(tmp_path, workers=1)
    lb.binds.append({"address": "127.0.0.1:0", "name": "more"})
    lb.write()
    with lb:
        host, _, port = lb.addresses()[1].rpartition(":")
        (pid,) = lb.workers().values()
        os.kill(pid, signal.SIGSTOP)
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as waiting:
            lb.binds.pop()
            lb.write()
            lb.signal(signal.SIGHUP)
            os.kill(pid, signal.SIGCONT)
            lb.said("lb: reloaded, generation 2, ")
            waiting.sendall(b"hello\n")
            assert receive_line(waiting) == "hello\n"


def test_a_broken_configuration_keeps_the_generation_in_force(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        lb.write("{")
        answer = lb.command("reload")
        assert answer.startswith(f"Success=0\n--\n{lb.file}:1: ")
        assert answer.endswith("lb: error: reload failed, generation 1 goes on\n")
        assert lb.command("show startup-logs") == answer.partition("--\n")[2]
        assert lb.ask()[2] == 1
        assert lb.reload().startswith("Success=1\n--\nlb: reloaded, generation 2, ")


def test_an_address_in_use_keeps_the_generation_in_force(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb, socket.create_server(("127.0.0.1", 0)) as other:
        lb.binds.append(f"127.0.0.1:{other.getsockname()[1]}")
        assert "address in use; " in lb.reload()
        assert lb.ask()[2] == 1


def test_a_worker_that_refuses_a_plan_keeps_the_generation_in_force(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.environment = {"ECHO_REFUSES": "2"}
    with lb:
        before = lb.workers()
        first = listening_on(lb)
        lb.binds.append({"address": "127.0.0.1:0", "name": "more"})
        assert "this plan is refused\n" in lb.reload(workers=3)
        assert listening_on(lb) == first
        assert lb.workers() == before
        wait_until(lambda: len(lb.group()) == 4)  # the third worker has gone again


def test_workers_come_and_go_without_a_lost_connection(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=1) as lb, load(lb):
        for count in (3, 2, 4, 1, 3):
            assert lb.reload(workers=count).startswith("Success=1\n")
            wait_until(lambda count=count: lb.workers().keys() == set(range(1, count + 1)))


def test_the_rest_adopts_the_sockets_of_workers_that_went(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=4) as lb:
        assert lb.reload(workers=1).startswith("Success=1\n")
        # The kernel spreads connections over four sockets still; one worker serves them all, once the others know.
        wait_until(lambda: {lb.ask()[1] for _ in range(40)} == {1})


def test_a_worker_that_went_serves_its_connections_to_the_end(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=2) as lb:
        socks = [lb.connect() for _ in range(16)]
        slots = [talk(sock, "who")[1] for sock in socks]
        assert set(slots) == {1, 2}
        lb.reload(workers=1)
        for sock, slot in zip(socks, slots, strict=True):
            assert talk(sock, "who")[1] == slot
            sock.close()
        wait_until(lambda: len(lb.group()) == 3)


def test_a_storm_of_reloads_under_load_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        lb.reload()
        held = {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in (*before.values(), lb.process.pid)}
        with load(lb):
            for round_ in range(15):
                if round_ % 3:
                    lb.binds = ["127.0.0.1:0", {"address": "127.0.0.1:0", "name": f"more{round_}"}]
                else:
                    lb.binds = ["127.0.0.1:0"]
                assert lb.reload().startswith("Success=1\n")
        lb.binds = ["127.0.0.1:0"]
        lb.reload()
        assert lb.workers() == before
        assert lb.ask()[2] == 18
        for pid, number in held.items():
            wait_until(lambda pid=pid, number=number: len(os.listdir(f"/proc/{pid}/fd")) <= number)


def test_a_worker_that_dies_while_it_prepares_does_not_stop_a_reload(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        os.kill(before[1], signal.SIGSTOP)
        lb.signal(signal.SIGHUP)
        # The other one has it ready; the first one never will.
        wait_until(lambda: lb.command("show version"))
        os.kill(before[1], signal.SIGKILL)
        lb.said("lb: reloaded, generation 2, ")
        wait_until(lambda: len(lb.workers()) == 2)
        assert {lb.ask()[2] for _ in range(20)} == {2}


def test_a_successor_is_born_with_the_generation_in_force(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=1) as lb:
        lb.reload()
        lb.reload()
        (pid,) = lb.workers().values()
        os.kill(pid, signal.SIGKILL)
        assert lb.ask()[2] == 3


def test_signals_that_come_while_it_reloads_are_obeyed(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        for _ in range(3):
            lb.signal(signal.SIGHUP)
        lb.signal(signal.SIGTERM)
        assert lb.wait() == 0
        assert "Traceback" not in lb.errors()


def test_logs_change_and_are_reopened(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with Echo(tmp_path, log=[{"to": str(first)}]) as lb:
        assert first.exists()
        first.rename(tmp_path / "first.log.1")
        lb.signal(signal.SIGUSR1)
        lb.said("lb: log files reopened")
        assert first.exists()
        assert lb.reload(log=[{"to": str(second)}]).startswith("Success=1\n")
        assert second.exists()
        assert "lb: error: log '/nowhere/x': no such file or directory; " in lb.reload(log=[{"to": "/nowhere/x"}])
        assert lb.ask()


def test_the_admin_socket_moves(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        other = tmp_path / "other.sock"
        lb.write(admin={"path": str(other), "mode": "0600"})
        assert lb.command("reload").startswith("Success=1\n")  # answered on the socket that goes
        wait_until(lambda: not lb.admin.exists())
        lb.admin = other
        assert lb.reload(admin={"path": str(other), "mode": "0660"}).startswith("Success=1\n")
        assert other.stat().st_mode & 0o777 == 0o660
        assert lb.reload(admin={"path": str(other), "mode": "0660", "level": "user"}).startswith("Success=1\n")
        assert lb.command("reload") == "Permission denied\n"
