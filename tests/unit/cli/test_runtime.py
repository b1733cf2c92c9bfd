"""`lb reload`, `lb stats`, `lb ctl`: against a socket that answers like the admin socket."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lb.admin.statistics import COLUMNS
from lb.cli import main

Answer = Callable[[str], str]


class Admin:
    """One connection after the other: a line in, an answer out, closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        self.was_asked = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("r") as lines:
                line = lines.readline().rstrip("\n")
                if line == "stop":
                    return
                with self.was_asked:
                    self.asked.append(line)
                    self.was_asked.notify_all()
                with contextlib.suppress(BrokenPipeError):  # a client that was told to stop does not wait for it
                    connection.sendall(self.answers.get(line, f"Unknown command: '{line}'\n").encode())

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"stop\n")
        self.thread.join()
        self.listener.close()


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path / "admin.sock")
    yield made
    made.close()


def call(*words: object, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, [str(each) for each in words], catch_exceptions=False)


def stat(*rows: dict[str, object]) -> str:
    lines = [",".join(str(row.get(column, "")) for column in COLUMNS) + ",-," for row in rows]
    return "\n".join([f"# {','.join(COLUMNS)},-,", *lines]) + "\n\n"


ROWS = stat(
    {
        "pxname": "web",
        "svname": "FRONTEND",
        "status": "OPEN",
        "scur": 2,
        "slim": 500,
        "stot": 7,
        "bin": 900,
        "bout": 1 << 20,
    },
    {"pxname": "app", "svname": "a", "status": "UP", "scur": 1, "stot": 7, "econ": 1, "eresp": 2, "weight": 5},
    {"pxname": "app", "svname": "BACKEND", "status": "UP", "scur": 1, "stot": 7, "econ": 1, "eresp": 2, "weight": 5},
)


def test_ctl_prints_the_answer_as_it_is(admin: Admin) -> None:
    admin.answers["show info"] = "Name: HAProxy\nVersion: 1\n\n"
    done = call("ctl", "-s", admin.path, "show", "info")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "Name: HAProxy\nVersion: 1\n", "")
    assert admin.asked == ["show info"]


def test_ctl_of_what_nobody_knows_is_an_error(admin: Admin) -> None:
    done = call("ctl", "-s", admin.path, "make", "coffee")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Unknown command: 'make coffee'\n"


def test_ctl_passes_on_what_looks_like_an_option(admin: Admin) -> None:
    admin.answers["show stat -1 4 -1"] = "rows\n\n"
    assert call("ctl", "-s", admin.path, "show", "stat", "-1", "4", "-1").stdout == "rows\n"


def test_reload_says_that_it_worked(admin: Admin) -> None:
    admin.answers["reload"] = "Success=1\n--\nreloaded, generation 2, 40 ms\n\n"
    done = call("reload", "-s", admin.path)
    assert (done.exit_code, done.stdout) == (0, "reloaded, generation 2, 40 ms\n")


def test_a_refused_reload_tells_why_and_ends_with_1(admin: Admin) -> None:
    admin.answers["reload"] = "Success=0\n--\nlb.yaml:3: global: 'workers' is 99; 0 to 64 are possible\n\n"
    done = call("reload", "-s", admin.path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "lb.yaml:3: global: 'workers' is 99; 0 to 64 are possible\n"


@pytest.mark.parametrize("answer", ["Permission denied\n\n", ""])
def test_a_reload_that_is_not_answered_is_an_error(answer: str, admin: Admin) -> None:
    admin.answers["reload"] = answer
    done = call("reload", "-s", admin.path)
    assert done.exit_code == 1
    assert done.stderr.strip()


def test_stats_is_a_table(admin: Admin) -> None:
    admin.answers["show stat"] = ROWS
    lines = call("stats", "-s", admin.path).stdout.splitlines()
    assert lines[0].split() == "proxy name state now limit total in out errors weight".split()  # noqa: SIM905
    assert lines[1].split() == "web FRONTEND OPEN 2 500 7 900 1.0 MiB".split()  # noqa: SIM905
    assert lines[2].split() == "app a UP 1 7 3 5".split()  # noqa: SIM905
    assert len(lines) == 4


def test_stats_as_json_has_every_column_that_means_something(admin: Admin) -> None:
    admin.answers["show stat"] = ROWS
    rows = json.loads(call("stats", "-s", admin.path, "--json").stdout)
    assert rows[1] == {
        "pxname": "app",
        "svname": "a",
        "status": "UP",
        "scur": 1,
        "stot": 7,
        "econ": 1,
        "eresp": 2,
        "weight": 5,
    }


def test_stats_are_watched_until_ctrl_c(admin: Admin) -> None:
    admin.answers["show stat"] = ROWS
    watching = subprocess.Popen(
        [sys.executable, "-P", "-m", "lb", "stats", "-s", str(admin.path), "--watch", "--interval", "0.1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with admin.was_asked:
            assert admin.was_asked.wait_for(lambda: len(admin.asked) >= 4, timeout=60)
        watching.send_signal(signal.SIGINT)
        said, wrong = watching.communicate(timeout=60)
    finally:
        watching.kill()
        watching.communicate()
    assert (watching.returncode, wrong) == (0, "")
    assert "FRONTEND" in said


def test_stats_of_something_else_is_an_error(admin: Admin) -> None:
    admin.answers["show stat"] = "Permission denied\n"
    done = call("stats", "-s", admin.path)
    assert (done.exit_code, done.stderr) == (1, "Permission denied\n")


def test_the_socket_is_found_in_the_environment_or_the_configuration(admin: Admin, tmp_path: Path) -> None:
    admin.answers["show version"] = "9\n\n"
    assert call("ctl", "show", "version", LB_SOCKET=str(admin.path)).stdout == "9\n"
    file = tmp_path / "lb.yaml"
    file.write_text(
        f"version: 1\nglobal: {{admin: {{path: 'unix@{admin.path}'}}}}\n"
        'frontends: {web: {bind: [":80"], default_backend: app}}\nbackends: {app: {servers: ["10.0.0.1:80"]}}\n'
    )
    assert call("ctl", "-f", file, "show", "version").stdout == "9\n"


def test_a_configuration_without_admin_socket_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    file.write_text(
        'version: 1\nfrontends: {web: {bind: [":80"], default_backend: app}}\nbackends: {app: {servers: ["10.0.0.1:80"]}}\n'
    )
    done = call("reload", "-f", file)
    assert done.exit_code == 1
    assert "no admin socket is given" in done.stderr


def test_nobody_there_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    done = call("reload", "-s", path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"admin socket '{path}': there is none; is lb running? say where it is with --socket or -f\n"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert call("reload", "-s", path).stderr == f"admin socket '{path}': nobody listens; lb is not running\n"


def test_a_path_that_is_no_socket_is_called_so(tmp_path: Path) -> None:
    done = call("stats", "-s", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"admin socket '{tmp_path}': is not a socket; ")
