"""Signals that end it, and processes that die."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.kit.echo import Echo, receive_line, talk, wait_until


def test_sigterm_serves_what_is_open_to_its_end(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        with lb.connect() as sock:
            talk(sock, "who")
            lb.signal(signal.SIGTERM)
            wait_until(lb.is_refusing)
            sock.sendall(b"still here\n")
            assert receive_line(sock) == "still here\n"
            assert lb.process.poll() is None
        assert lb.wait() == 0
        assert "lb: draining, up to 10 s\n" in lb.errors()


def test_the_admin_socket_answers_until_the_end_of_a_drain(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        with lb.connect() as sock:
            talk(sock, "who")
            lb.signal(signal.SIGTERM)
            wait_until(lambda: "Stopping: 1\n" in lb.command("show info"))
            assert lb.addresses()[0] in lb.command("show stat")
            assert lb.command("reload").startswith("Success=0\n")
        assert lb.wait() == 0


def test_the_grace_ends_a_drain(tmp_path: Path) -> None:
    with Echo(tmp_path, grace="100ms") as lb, lb.connect() as sock:
        talk(sock, "who")
        lb.signal(signal.SIGTERM)
        assert lb.wait() == 0
        assert receive_line(sock) == ""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_drain_now(tmp_path: Path, second: signal.Signals) -> None:
    with Echo(tmp_path, grace="1h") as lb, lb.connect() as sock:
        talk(sock, "who")
        lb.signal(signal.SIGTERM)
        wait_until(lb.is_refusing)
        lb.signal(second)
        assert lb.wait() == 0


def test_sigint_ends_at_once(tmp_path: Path) -> None:
    with Echo(tmp_path, grace="1h") as lb, lb.connect() as sock:
        talk(sock, "who")
        lb.signal(signal.SIGINT)
        assert lb.wait() == 0


def test_a_terminals_ctrl_c_reaches_all_and_still_ends_cleanly(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        os.killpg(lb.process.pid, signal.SIGINT)
        assert lb.wait() == 0
        assert len(lb.errors().splitlines()) == 2


def test_sigusr2_says_that_it_is_not_built(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        lb.signal(signal.SIGUSR2)
        lb.said("lb: warning: SIGUSR2: upgrading the running program is not built")
        assert lb.ask()


def test_a_drain_that_begins_during_a_reload_ends_both(tmp_path: Path) -> None:
    with Echo(tmp_path, grace="1h") as lb:
        workers = lb.workers()
        os.kill(workers[1], signal.SIGSTOP)
        lb.write(workers=3)
        lb.signal(signal.SIGHUP)
        wait_until(lambda: len(lb.group()) > 4)  # the third worker is there, so the reload waits for the first one
        lb.signal(signal.SIGTERM)
        lb.said("lb: draining")
        os.kill(workers[1], signal.SIGCONT)
        assert lb.wait() == 0
        assert "Traceback" not in lb.errors()


def test_a_killed_worker_is_replaced_in_its_slot(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        os.kill(before[1], signal.SIGKILL)
        lb.said(f"lb: error: worker 1 (pid {before[1]}) was ended by SIGKILL")
        wait_until(lambda: lb.workers().get(1, before[1]) != before[1])
        assert lb.workers()[2] == before[2]


def test_connections_that_wait_for_a_dead_worker_are_served_by_its_successor(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=1) as lb:
        (pid,) = lb.workers().values()
        os.kill(pid, signal.SIGSTOP)
        with lb.connect() as sock:
            sock.sendall(b"who\n")
            os.kill(pid, signal.SIGKILL)
            successor = int(receive_line(sock).split()[0])
        assert successor != pid


def test_under_load_killing_workers_loses_only_what_they_held(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=2) as lb:
        refused = 0
        for round_ in range(40):
            if round_ in (5, 15, 25):
                os.kill(lb.ask()[0], signal.SIGKILL)
            with lb.connect() as sock:
                try:
                    talk(sock, "who")
                except ConnectionError:  # accepted by the one that died
                    refused += 1
        assert refused <= 3
        lb.said("was ended by SIGKILL", times=3)


def test_the_gauge_of_a_dead_workers_connections_is_mended(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=1) as lb:

        def current() -> int:
            rows = [line.split(",") for line in lb.command("show stat").splitlines()]
            return next(int(row[4]) for row in rows if row[32] == "3")

        socks = [lb.connect() for _ in range(5)]
        for sock in socks:
            sock.sendall(b"enter\n")
            receive_line(sock)
        assert current() == 5
        (pid,) = lb.workers().values()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: current() == 0)
        for sock in socks:
            sock.close()
        with lb.connect() as sock:
            sock.sendall(b"enter\n")
            receive_line(sock)
            assert current() == 1


def test_a_stuck_worker_is_aborted_and_replaced(tmp_path: Path) -> None:
    lb = Echo(tmp_path, workers=1)
    lb.environment = {"ECHO_LATE_MS": "100", "ECHO_STUCK_MS": "400"}
    with lb:
        (pid,) = lb.workers().values()
        with lb.connect() as sock:
            sock.sendall(b"hang\n")
            lb.said(f"worker 1 (pid {pid}) was ended by SIGABRT")
        assert lb.ask()[0] != pid
        # Where it stood.
        assert "echo_engine.py" in lb.errors()


def test_a_worker_that_ends_again_and_again_is_replaced_each_time(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=1) as lb:
        for death in range(1, 4):
            with lb.connect() as sock:
                sock.sendall(b"die\n")
                assert receive_line(sock) == ""
            lb.said("ended with status 3", times=death)
        assert lb.ask()


def test_a_successor_that_cannot_begin_is_followed_by_one_that_can(tmp_path: Path) -> None:
    lb = Echo(tmp_path, workers=1)
    marker = tmp_path / "refuse"
    lb.environment = {"ECHO_REFUSES_WHILE": str(marker)}
    with lb:
        marker.touch()
        os.kill(lb.ask()[0], signal.SIGKILL)
        lb.said("lb: error: worker 1: this plan is refused", times=2)
        marker.unlink()
        assert lb.ask()


def test_a_stopped_supervisor_does_not_disturb(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        lb.signal(signal.SIGSTOP)
        try:
            assert lb.workers() == before
        finally:
            lb.signal(signal.SIGCONT)
        assert lb.command("show version")
        assert lb.workers() == before


def test_when_the_supervisor_dies_workers_serve_to_the_end_and_leave_the_address(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.expected_status = -signal.SIGKILL
    with lb:
        with lb.connect() as sock:
            talk(sock, "who")
            lb.signal(signal.SIGKILL)
            lb.wait()
            wait_until(lb.is_refusing)
            sock.sendall(b"still here\n")
            assert receive_line(sock) == "still here\n"
            with socket.create_server(lb.address()):
                pass
        wait_until(lambda: not lb.group())


def test_without_the_zygote_workers_go_on(tmp_path: Path) -> None:
    with Echo(tmp_path) as lb:
        before = lb.workers()
        (zygote,) = set(lb.group()) - set(before.values()) - {lb.process.pid}
        os.kill(zygote, signal.SIGKILL)
        lb.said("lb: error: the zygote has ended")
        assert lb.workers() == before
        assert lb.command("reload").startswith("Success=0\n--\nlb: error: cannot start the compiler")
        assert lb.workers() == before


def test_descriptors_and_processes_do_not_grow_by_deaths(tmp_path: Path) -> None:
    with Echo(tmp_path, workers=2) as lb:
        descriptors = Path(f"/proc/{lb.process.pid}/fd")
        lb.workers()
        before = len(list(descriptors.iterdir()))
        for death in range(1, 4):
            os.kill(lb.ask()[0], signal.SIGKILL)
            lb.said("was ended by SIGKILL", times=death)
            wait_until(lambda: len(lb.workers()) == 2)
        wait_until(lambda: len(list(descriptors.iterdir())) == before)
        assert len(lb.group()) == 4
