"""The commands of the command line against a running lb, each in a process of its own as users call them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LB = (sys.executable, "-P", "-m", "lb")
PATIENCE_S = 60


def lb(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    done = subprocess.run(
        [*LB, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


class Running:
    """An `lb run` that serves."""

    def __init__(self, file: Path) -> None:
        self.file = file
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [*LB, "run", "-f", str(file), "--ready-fd", str(write)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[write],
        )
        os.close(write)
        with open(read) as ready:
            self.ready: dict[str, Any] = json.loads(ready.readline())

    def end(self) -> tuple[int, str]:
        """Stop it; return its exit status and everything it said."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


def write(file: Path, backend: str, workers: int = 1) -> None:
    file.write_text(
        f"version: 1\nglobal:\n  workers: {workers}\n  admin: {{path: {file.parent}/admin.sock}}\n  log: []\n"
        f'frontends:\n  web: {{mode: tcp, bind: ["127.0.0.1:0"], default_backend: {backend}}}\n'
        f'backends:\n  {backend}: {{servers: ["127.0.0.1:9"]}}\n'
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "lb.yaml"
    write(file, "app")
    made = Running(file)
    yield made
    if made.process.poll() is None:
        made.end()


def test_a_running_lb_is_asked_reloaded_and_stopped(running: Running) -> None:
    file = running.file
    names = [row["svname"] for row in json.loads(lb("stats", "-f", file, "--json").stdout) if row["pxname"] == "app"]
    assert names == ["127.0.0.1:9", "BACKEND"]
    assert lb("ctl", "-f", file, "show", "info").stdout.startswith("Name: HAProxy\n")
    assert lb("stats", "-f", file).stdout.split()[:3] == ["proxy", "name", "state"]

    write(file, "other")
    assert "generation 2" in lb("reload", "-f", file).stdout
    assert {row["pxname"] for row in json.loads(lb("stats", "-f", file, "--json").stdout)} == {"web", "other"}

    write(file, "third", workers=99)
    refused = lb("reload", "-s", file.parent / "admin.sock", status=1)
    assert f"{file}:3: global: 'workers' is 99; 0 to 64 are possible" in refused.stderr.splitlines()
    assert refused.stdout == ""
    assert {row["pxname"] for row in json.loads(lb("stats", "-s", file.parent / "admin.sock", "--json").stdout)} == {
        "web",
        "other",
    }

    status, _ = running.end()
    assert status == 0
    assert "there is none; is lb running?" in lb("reload", "-s", file.parent / "admin.sock", status=1).stderr


def test_a_broken_configuration_starts_nothing_and_names_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    write(file, "app", workers=99)
    file.write_text(file.read_text().replace("mode: tcp", "mode: log"))
    done = lb("run", "-f", file, status=1)
    assert [line for line in done.stderr.splitlines() if line.startswith(str(file))] == [
        f"{file}:3: global: 'workers' is 99; 0 to 64 are possible",
        f"{file}:7: frontend 'web': mode 'log' is known but not built yet; built: http, tcp, udp",
    ]
    assert not (tmp_path / "admin.sock").exists()


def test_a_check_takes_less_than_a_quarter_of_a_second(tmp_path: Path, flavour: str) -> None:
    file = tmp_path / "lb.yaml"
    write(file, "app")
    taken: list[float] = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        lb("check", "-f", file)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of the processor: how long it waits for one depends on who else is here.
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < (1 if flavour == "sanitize" else 0.25)  # what the sanitizers cost is not lb's
