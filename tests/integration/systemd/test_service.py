"""lb as systemd runs it: what it tells, and sockets that it is given. systemd's part is played here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lb.supervisor.workers import now_ms
from tests.kit.echo import PATIENCE_S, Echo, talk

ACTIVATE = Path(__file__).parents[2] / "kit/activate.py"


class Manager:
    """The socket that systemd listens on, and what came."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.sock.settimeout(PATIENCE_S)

    def hear(self) -> dict[str, str]:
        """Return the next message but food for the watchdog."""
        while (message := self.sock.recv(4096)) == b"WATCHDOG=1":
            pass
        return dict(line.split("=", 1) for line in message.decode().split("\n"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path)
    yield found
    found.sock.close()


def notifying(directory: Path, manager: Manager, **changes: object) -> Echo:
    lb = Echo(directory, **changes)
    lb.environment = {"NOTIFY_SOCKET": str(manager.path)}
    return lb


def test_a_life_is_told(tmp_path: Path, manager: Manager) -> None:
    with notifying(tmp_path, manager) as lb:
        assert manager.hear() == {"READY": "1", "STATUS": "ready, 2 workers, generation 1"}
        before_us = now_ms() * 1000
        lb.write(workers=1)
        lb.signal(signal.SIGHUP)
        reloading = manager.hear()
        assert before_us <= int(reloading.pop("MONOTONIC_USEC")) <= (now_ms() + 1) * 1000
        assert reloading == {"RELOADING": "1", "STATUS": "reloading"}
        assert manager.hear() == {"READY": "1", "STATUS": "ready, 1 worker, generation 2"}
        lb.signal(signal.SIGTERM)
        assert manager.hear() == {
            "STOPPING": "1",
            "STATUS": "draining, up to 10 s",
            "EXTEND_TIMEOUT_USEC": "20000000",
        }
        assert lb.wait() == 0


def test_a_reload_that_fails_is_over_too_and_says_why(tmp_path: Path, manager: Manager) -> None:
    with notifying(tmp_path, manager) as lb:
        manager.hear()
        lb.write("version: 2")
        lb.signal(signal.SIGHUP)
        assert manager.hear()["RELOADING"] == "1"
        told = manager.hear()
        assert told["READY"] == "1"
        assert told["STATUS"].startswith(f"reload failed, generation 1 goes on: {lb.file}:1: ")


def test_a_start_that_fails_leaves_its_reason(tmp_path: Path, manager: Manager) -> None:
    lb = notifying(tmp_path, manager)
    lb.binds = ["192.0.2.1:80"]
    lb.write()
    lb.expected_status = 1
    with lb:
        assert lb.wait() == 1
    (line,) = lb.errors().splitlines()
    assert manager.hear() == {"STATUS": line}


def test_what_keeps_lb_from_starting_at_all_is_told_too(tmp_path: Path, manager: Manager) -> None:
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
    program += "from lb.supervisor.run import main; sys.exit(main('x'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path)},
    )
    assert done.returncode == 1
    assert manager.hear() == {"STATUS": done.stderr.removeprefix("lb: error: ").rstrip("\n")}


def test_the_watchdog_is_fed(tmp_path: Path, manager: Manager) -> None:
    lb = notifying(tmp_path, manager)
    lb.environment["WATCHDOG_USEC"] = "2000000"
    with lb:
        manager.hear()
        assert [manager.sock.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3


def test_children_are_not_told_of_the_service_manager(tmp_path: Path, manager: Manager) -> None:
    with notifying(tmp_path, manager) as lb:
        for pid in lb.workers().values():
            held = set()
            for each in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # it has just been closed
                    held.add(os.readlink(each))
            sockets = Path("/proc/net/unix").read_text().splitlines()
            ours = {f"socket:[{line.split()[6]}]" for line in sockets if line.endswith(str(manager.path))}
            assert ours
            assert not ours & held


class Activated(Echo):
    """lb with sockets that systemd holds."""

    names = ""
    passed: tuple[socket.socket, ...] = ()

    def arguments(self, ready_fd: int) -> list[str]:
        descriptors = [str(each.fileno()) for each in self.passed]
        # Ours may not have a number that becomes a passed socket's.
        return [str(ACTIVATE), self.names, *descriptors, "--", sys.executable, *super().arguments(ready_fd)]

    def _inherited(self) -> list[int]:
        return [each.fileno() for each in self.passed]


def test_sockets_are_taken_by_name(tmp_path: Path) -> None:
    one = socket.create_server(("127.0.0.1", 0))
    two = socket.create_server(("::1", 0), family=socket.AF_INET6)
    other = socket.create_server(("127.0.0.1", 0))
    with one, two, other:
        lb = Activated(tmp_path)
        lb.names, lb.passed = "web:web:api", (one, two, other)
        lb.binds = ["fd@web", "fd@api"]
        lb.write()
        with lb:
            places = [f"127.0.0.1:{one.getsockname()[1]}", f"[::1]:{two.getsockname()[1]}"]
            assert lb.addresses() == [*places, f"127.0.0.1:{other.getsockname()[1]}"]
            for listener in lb.passed:
                with closing(socket.create_connection(listener.getsockname()[:2], timeout=PATIENCE_S)) as sock:
                    assert talk(sock, "who")[2] == 1
            rows = lb.command("show stat -1 8 -1")
            assert f'"{", ".join(places)}"' in rows
            assert [line.split(",")[1] for line in rows.splitlines()[1:]] == ["fd:web", "fd:api"]


def test_what_waited_before_the_start_and_what_comes_after_the_end_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        lb = Activated(tmp_path)
        lb.names, lb.passed = "web", (held,)
        lb.binds = ["fd@web"]
        lb.write()
        for _ in range(2):
            with closing(socket.create_connection(held.getsockname(), timeout=PATIENCE_S)) as early, lb:
                assert talk(early, "who")[2] == 1
                lb.signal(signal.SIGTERM)
                early.close()
                assert lb.wait() == 0


def test_a_socket_that_no_bind_takes_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as api:
        lb = Activated(tmp_path)
        lb.names, lb.passed = "web:api", (web, api)
        lb.binds = ["fd@web"]
        lb.write()
        with lb:
            lb.said(
                "lb: warning: socket 'api' was passed to lb and no bind takes it; write 'fd@api', or remove it from its unit\n"
            )
            lb.binds = ["fd@web", "fd@api"]
            assert lb.reload().startswith("Success=1\n--\nlb: reloaded")


def test_a_name_that_systemd_did_not_pass_is_an_error(tmp_path: Path) -> None:
    lb = Echo(tmp_path)
    lb.binds = ["fd@web"]
    lb.write()
    lb.expected_status = 1
    with lb:
        assert lb.wait() == 1
    assert lb.errors() == (
        "lb: error: frontend 'web': cannot listen on 'fd@web': systemd has passed no socket; "
        "start the socket unit that has it (FileDescriptorName=)\n"
    )
