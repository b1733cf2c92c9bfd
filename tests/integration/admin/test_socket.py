"""The admin socket to the byte, as HAProxy's tools use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lb import __version__
from tests.kit.echo import PATIENCE_S, Echo, wait_until

HATOP_KEYS = {
    *("Name", "Version", "Release_date", "Nbproc", "Process_num", "Pid", "Uptime", "Maxconn", "CurrConns"),
    *("Maxpipes", "PipesUsed", "Tasks", "Run_queue", "node"),
}


@pytest.fixture(scope="module")
def lb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    with Echo(tmp_path_factory.mktemp("admin")) as running:
        yield running


def exchange(lb: Echo, sent: bytes) -> bytes:
    """Send bytes, close our side, and return all that comes back: as socat, nc and Datadog do."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(lb.admin))
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer


VERSION = __version__.encode()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"show version\n", VERSION + b"\n\n"),
        (b"show version\r\n", VERSION + b"\n\n"),
        (b"show version", VERSION + b"\n\n"),
        (b"show version;show version\n", VERSION + b"\n\n" + VERSION + b"\n\n"),
        (b"show version\nshow version\n", VERSION + b"\n\n"),
        (b"prompt\nshow version\nquit\n", b"\n> " + VERSION + b"\n\n> "),
        (b"prompt\nshow version;show version\n", b"\n> " + VERSION + b"\n\n" + VERSION + b"\n\n> "),
        (b"prompt\n\nquit\n", b"\n> \n> "),
        (b"prompt i\nshow version\nshow version\n", b"\n" + VERSION + b"\n\n" + VERSION + b"\n\n"),
        (b"prompt\nprompt\nshow version\n", b"\n> \n" + b""),
        (b"set timeout cli 60\n", b"\n"),
        (b"set timeout cli x\n", b"Invalid timeout value.\n\n"),
        (b"clear counters all\n", b"\n"),
        (b"quit\n", b""),
        (b"", b""),
    ],
)
def test_terminators(lb: Echo, sent: bytes, answer: bytes) -> None:
    assert exchange(lb, sent) == answer


def test_an_unknown_command_is_answered_with_those_that_exist(lb: Echo) -> None:
    lines = exchange(lb, b"frobnicate\n").decode().splitlines()
    assert lines[0] == "Unknown command: 'frobnicate'. Please enter one of the following commands only:"
    assert (
        "  show stat [<iid> <type> <sid>] [typed|json] [up|no-maint]: report counters for each proxy and server"
        in lines
    )
    assert [line.split()[0] for line in lines[-4:-1]] == ["help", "prompt", "quit"]
    assert lines[-1] == ""
    lines = exchange(lb, b"show foo\n").decode().splitlines()
    assert lines[0] == "Unknown command: 'show', but maybe one of the following ones is a better match:"


def test_help_lists_what_begins_with_a_word(lb: Echo) -> None:
    everything = exchange(lb, b"help\n").decode().splitlines()
    assert everything[0] == "The following commands are valid at this level:"
    names = [line.split(":")[0].strip() for line in everything[1:-4]]
    assert names == sorted(names)
    assert "reload" in names
    some = exchange(lb, b"help show\n").decode().splitlines()
    assert all(line.startswith("  show ") for line in some[1:-4])


def test_show_info_has_what_hatop_wants(lb: Echo) -> None:
    text = exchange(lb, b"show info\n").decode()
    assert text.endswith("\n\n")
    fields = dict(line.split(": ") for line in text.strip().splitlines())  # Datadog: one colon a line
    assert fields.keys() >= HATOP_KEYS
    assert fields["Name"] == "HAProxy"
    assert fields["Pid"] == str(lb.process.pid)
    assert fields["Stopping"] == "0"


def test_datadog_gets_two_blocks(lb: Echo) -> None:
    blocks = exchange(lb, b"show info;show stat\r\n").decode().strip().split("\n\n")
    assert len(blocks) == 2
    assert blocks[1].startswith("# pxname,svname,")


def test_show_stat_has_a_row_for_everything(lb: Echo) -> None:
    text = exchange(lb, b"show stat\n").decode()
    lines = text.removesuffix("\n\n").split("\n")
    assert {line.count(",") for line in lines} == {120}
    assert lines[0].startswith("# ")
    assert all(line.endswith(",-,") for line in lines)
    names = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    assert [(row["pxname"], row["svname"], row["type"], row["iid"], row["sid"]) for row in rows] == [
        ("web", "FRONTEND", "0", "2", "0"),
        ("web", "127.0.0.1:0", "3", "2", "1"),
        ("app", "s1", "2", "3", "1"),
        ("app", "BACKEND", "1", "3", "0"),
    ]
    assert [row["status"] for row in rows] == ["OPEN", "OPEN", "no check", "UP"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("-1 -1 -1", ["FRONTEND", "127.0.0.1:0", "s1", "BACKEND"]),
        ("2 -1 -1", ["FRONTEND", "127.0.0.1:0"]),
        ("-1 1 -1", ["FRONTEND"]),
        ("-1 2 -1", ["BACKEND"]),
        ("-1 6 -1", ["s1", "BACKEND"]),
        ("3 4 1", ["s1"]),
        ("3 4 2", []),
    ],
)
def test_show_stat_filters(lb: Echo, words: str, shown: list[str]) -> None:
    lines = exchange(lb, f"show stat {words}\n".encode()).decode().strip().splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == shown


def test_an_output_format_that_is_not_built_is_refused(lb: Echo) -> None:
    assert exchange(lb, b"show stat float\n") == b"'float' is not built; typed, json, up, no-maint are.\n\n"


def test_pools_of_all_workers_are_added_up(lb: Echo) -> None:
    lb.workers()
    lines = exchange(lb, b"show pools\n").decode().splitlines()
    assert lines[0] == "Dumping pools usage."
    assert lines[1].startswith("  - Pool conn (256 bytes) : ")
    assert lines[1].endswith(", 2 users")
    assert lines[2].startswith("Total: 1 pools, ")


def test_startup_logs_are_those_of_the_start(lb: Echo) -> None:
    logs = exchange(lb, b"show startup-logs\n").decode()
    assert logs == f"lb: ready, 2 workers, generation 1\nlb: listening on {lb.addresses()[0]} (web)\n\n"


def test_a_line_without_end_is_cut_off(lb: Echo) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(lb.admin))
        with pytest.raises(ConnectionError):
            sock.sendall(b"x" * 4_000_000)
    assert lb.command("show version")


def test_connections_are_bounded(lb: Echo) -> None:
    socks = []
    try:
        for _ in range(64):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE_S)
            sock.connect(str(lb.admin))
            sock.sendall(b"prompt\n")
            assert sock.recv(3) == b"\n> "
            socks.append(sock)
        with socket.socket(socket.AF_UNIX) as one_more:
            one_more.settimeout(PATIENCE_S)
            one_more.connect(str(lb.admin))
            # Closed, before or after what we say arrives.
            with suppress(ConnectionError):
                one_more.sendall(b"show version\n")
                assert one_more.recv(1) == b""
    finally:
        for sock in socks:
            sock.close()
    wait_until(lambda: is_served(lb))


def is_served(lb: Echo) -> bool:
    try:
        return lb.command("show version") != ""
    except ConnectionError:
        return False


def test_a_reader_that_takes_nothing_holds_nobody(lb: Echo) -> None:
    with socket.socket(socket.AF_UNIX) as greedy:
        greedy.settimeout(PATIENCE_S)
        greedy.connect(str(lb.admin))
        greedy.sendall(b"prompt i\n")
        greedy.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while sent < 10_000_000:
                sent += greedy.send(b"help;" * 100 + b"help\n")
        assert sent < 10_000_000  # it does not read on while its answers are not taken
        assert lb.command("show version")


@pytest.mark.parametrize(
    ("level", "command", "answer"),
    [
        ("user", "reload", "Permission denied\n"),
        ("user", "clear counters", "Permission denied\n"),
        ("operator", "clear counters", ""),
        ("operator", "clear counters all", "Permission denied\n"),
        ("user", "show version", f"{__version__}\n"),
    ],
)
def test_levels(tmp_path: Path, level: str, command: str, answer: str) -> None:
    lb = Echo(tmp_path, workers=1, admin={"path": str(tmp_path / "admin.sock"), "level": level})
    with lb:
        assert lb.command(command) == answer
        assert ("  reload " in lb.command("help")) is (level == "admin")
