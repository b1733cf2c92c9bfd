"""What goes to the service manager, and what comes from it."""

from __future__ import annotations

import errno
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lb.supervisor import notify
from lb.supervisor.journal import Journal
from lb.supervisor.notify import Notifier, from_environment, passed_sockets


class Manager:
    """A service manager's socket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self.sock.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self.sock.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.sock.close()


@pytest.fixture
def journal() -> Journal:
    return Journal(io.StringIO())


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_what_happens_is_told(kind: str, tmp_path: Path, journal: Journal) -> None:
    manager = Manager(str(tmp_path / "notify") if kind == "path" else f"@lb-test-{os.getpid()}")
    notifier = Notifier(journal, manager.name)
    notifier.ready("all is well")
    notifier.reloading()
    notifier.stopping("draining", 1.5)
    ready, reloading, stopping = manager.heard()
    assert ready == "READY=1\nSTATUS=all is well"
    first, time, status = reloading.split("\n")
    assert (first, status) == ("RELOADING=1", "STATUS=reloading")
    assert time.removeprefix("MONOTONIC_USEC=").isdecimal()
    assert stopping == "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=1500000"
    notifier.close()
    manager.sock.close()


def test_a_status_is_one_line(manager: Manager, journal: Journal) -> None:
    notifier = Notifier(journal, manager.name)
    notifier.status("broken:\nREADY=1")
    assert manager.heard() == ["STATUS=broken: READY=1"]
    notifier.close()


def test_without_a_manager_nothing_is_said(journal: Journal) -> None:
    notifier = Notifier(journal)
    notifier.ready("fine")
    notifier.tick(True)
    notifier.close()
    assert journal.text() == ""


def test_the_watchdog_is_fed_in_time_and_only_while_all_is_well(
    manager: Manager, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(notify.time, "monotonic", lambda: now)
    notifier = Notifier(journal, manager.name, 8.0)
    fed = []
    for second in range(12):
        notifier.tick(second not in (4, 5))
        fed += [second] * len(manager.heard())
        now += 1.0
    assert fed == [0, 2, 6, 8, 10]
    notifier.close()


def test_a_manager_that_does_not_read_holds_nobody_and_misses_nothing(manager: Manager, journal: Journal) -> None:
    notifier = Notifier(journal, manager.name)
    sent = 0
    while not notifier._waiting:
        notifier.status(str(sent))
        sent += 1
    notifier.status(str(sent))
    heard = manager.heard()
    notifier.tick(True)
    heard += manager.heard()
    assert heard == [f"STATUS={number}" for number in range(sent + 1)]
    notifier.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [("/nowhere/notify", "no such file or directory"), ("vsock:2:1234", "'vsock:2:1234' is no unix socket")],
)
def test_a_manager_that_cannot_be_reached_is_told_once(address: str, reason: str, journal: Journal) -> None:
    notifier = Notifier(journal, address, 1.0)
    notifier.ready("fine")
    notifier.tick(True)
    assert journal.text() == (f"lb: warning: NOTIFY_SOCKET: {reason}; the service manager will not know how lb is\n")


def test_the_environment_is_read_and_emptied(
    manager: Manager, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for watched, feeds in ((str(os.getpid()), True), ("", True), ("1", False)):
        monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.setenv("WATCHDOG_PID", watched)
        notifier = from_environment(journal)
        notifier.tick(True)
        assert manager.heard() == ["WATCHDOG=1"] * feeds
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
        notifier.close()


@pytest.mark.parametrize(
    ("pid", "number", "names", "found"),
    [
        (None, "2", "web:api", {"web": [3], "api": [4]}),
        (None, "3", "web:web:api", {"web": [3, 4], "api": [5]}),
        (None, "2", "web", {"web": [3], "unknown": [4]}),
        (None, "1", "", {"unknown": [3]}),
        ("1", "1", "web", {}),
        ("", "1", "web", {}),
        (None, "x", "web", {}),
        (None, "0", "", {}),
    ],
)
def test_passed_sockets_have_names(
    pid: str | None, number: str, names: str, found: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid is None else pid)
    monkeypatch.setenv("LISTEN_FDS", number)
    monkeypatch.setenv("LISTEN_FDNAMES", names)
    assert passed_sockets() == found
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()


def test_a_socket_that_cannot_be_had_keeps_nobody_from_starting(
    manager: Manager, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> socket.socket:
        raise OSError(errno.EMFILE, "?")

    monkeypatch.setattr(notify.socket, "socket", refuse)
    Notifier(journal, manager.name).ready("fine")
    assert journal.text().startswith("lb: warning: NOTIFY_SOCKET: too many open files; ")
