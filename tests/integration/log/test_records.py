"""Records from the worker that writes them to the file that keeps them, through the real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.echo import PATIENCE_S, wait_until


def serve(listener: socket.socket) -> None:
    """Answer every request on every connection with `ok`."""

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


class Lb:
    """`lb run` with one frontend, whose log goes to a file as JSON and to stdout as HAProxy's lines."""

    def __init__(self, directory: Path, server: tuple[str, int]) -> None:
        self.log = directory / "access.log"
        self.stdout = directory / "stdout"
        self.stderr = directory / "stderr"
        self.configuration: dict[str, Any] = {
            "version": 1,
            "global": {
                "workers": 1,
                "log": [{"to": str(self.log), "format": "json"}, {"to": "stdout", "format": "haproxy"}],
            },
            "frontends": {"web": {"mode": "http", "bind": ["127.0.0.1:0"], "default_backend": "app"}},
            "backends": {"app": {"servers": [{"name": "one", "address": f"{server[0]}:{server[1]}"}]}},
        }
        self.file = directory / "lb.json"
        self.file.write_text(json.dumps(self.configuration))
        read, write = os.pipe()
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lb", "run", "-f", str(self.file), "--ready-fd", str(write)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[write],
            )
        os.close(write)
        with open(read, "rb") as ready:
            assert select.select([ready], [], [], PATIENCE_S)[0], self.stderr.read_text()
            address = json.loads(ready.readline())["listeners"]["web"][0]
        self.address = ("127.0.0.1", int(address.rpartition(":")[2]))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def ask(self, request: bytes) -> bytes:
        """Send a request that ends the connection; return the answer."""
        with self.connect() as client:
            client.sendall(request)
            answer = b""
            while data := client.recv(65536):
                answer += data
        return answer

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_records(self, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.log.read_bytes().splitlines()) >= count)
        return self.records()

    def worker(self) -> int:
        """Return the pid of the worker."""
        for each in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(each.name)
                _, name, rest = re.split(r"[()]", (each / "stat").read_text())
                if name.startswith("lb worker") and int(rest.split()[1]) == self.process.pid:
                    return pid
        raise AssertionError("no worker")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.stderr.read_text()


@pytest.fixture
def lb(tmp_path: Path) -> Iterator[Lb]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        lb = Lb(tmp_path, server.getsockname())
        try:
            yield lb
            lb.end()
        finally:
            if lb.process.poll() is None:
                lb.process.kill()
                lb.process.wait()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


GET = b"GET /%b HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"


@pytest.mark.smoke
def test_a_request_is_one_record_at_each_target(lb: Lb) -> None:
    assert lb.ask(GET % b"a?b=1").endswith(b"ok")
    (record,) = lb.wait_records(1)
    assert (record["method"], record["target"], record["host"], record["status"]) == (
        "GET",
        "/a?b=1",
        "example.com",
        200,
    )
    assert (record["frontend"], record["backend"], record["server"]) == ("web", "app", "one")
    assert (record["client"], record["termination"], record["reason"]) == ("127.0.0.1", "--", None)
    wait_until(lb.stdout.read_text)
    assert re.fullmatch(
        r"127\.0\.0\.1:\d+ \[\S+\] web app/one \d+/\d+/\d+/\d+/\d+ 200 \d+ - - ---- "
        r'\d+/\d+/\d+/\d+/0 0/0 "GET /a\?b=1 HTTP/1\.1"\n',
        lb.stdout.read_text(),
    )


def test_the_id_on_an_error_page_is_in_the_log(lb: Lb) -> None:
    page = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAccept: application/json\r\n\r\n")
    (record,) = lb.wait_records(1)
    assert record["status"] == 400
    assert record["termination"] == "PR"
    assert record["reason"]
    assert record["request_id"].encode() in page


def test_rotation_under_load_keeps_every_record_once(lb: Lb, tmp_path: Path) -> None:
    sent = 0
    moved: list[Path] = []
    with lb.connect() as client:
        for turn in range(5):
            for _ in range(40):
                client.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % sent)
                sent += 1
                answer = b""
                while not answer.endswith(b"ok"):
                    answer += client.recv(65536)
            moved.append(tmp_path / f"access.{turn}")
            lb.log.rename(moved[-1])
            lb.process.send_signal(signal.SIGUSR1)
            wait_until(lb.log.exists)
    lb.end()
    text = "".join(path.read_text() for path in [*moved, lb.log])
    targets = [json.loads(line)["target"] for line in text.splitlines()]
    assert targets == [f"/{number}" for number in range(sent)]
    assert lb.stderr.read_text().count("log files reopened") == 5


def test_a_stopped_supervisor_delays_records_and_nothing_else(lb: Lb) -> None:
    lb.process.send_signal(signal.SIGSTOP)
    for number in range(50):
        assert lb.ask(GET % b"%d" % number).endswith(b"ok")
    lb.process.send_signal(signal.SIGCONT)
    assert [record["target"] for record in lb.wait_records(50)] == [f"/{number}" for number in range(50)]


def test_what_a_killed_worker_has_logged_arrives(lb: Lb) -> None:
    lb.process.send_signal(signal.SIGSTOP)
    for number in range(50):
        assert lb.ask(GET % b"%d" % number).endswith(b"ok")
    os.kill(lb.worker(), signal.SIGKILL)
    lb.process.send_signal(signal.SIGCONT)
    records = lb.wait_records(50)
    assert [record["target"] for record in records] == [f"/{number}" for number in range(50)]
    # The next worker of the slot goes on in the same ring.
    assert lb.ask(GET % b"next").endswith(b"ok")
    assert lb.wait_records(51)[50]["target"] == "/next"


def test_the_last_records_are_written_before_it_ends(lb: Lb) -> None:
    for number in range(20):
        lb.ask(GET % b"%d" % number)
    lb.end()
    assert len(lb.records()) == 20


def test_a_reload_changes_targets_without_losing_a_record(lb: Lb, tmp_path: Path) -> None:
    lb.ask(GET % b"before")
    lb.wait_records(1)
    other = tmp_path / "other.log"
    lb.configuration["global"]["log"] = [{"to": str(other), "format": "json"}]
    lb.file.write_text(json.dumps(lb.configuration))
    lb.process.send_signal(signal.SIGHUP)

    def goes_there() -> bool:
        lb.ask(GET % b"probe")
        return other.exists() and b"probe" in other.read_bytes()

    wait_until(goes_there)
    lb.end()
    targets = [json.loads(line)["target"] for path in (lb.log, other) for line in path.read_text().splitlines()]
    assert targets[0] == "/before"
    assert set(targets[1:]) == {"/probe"}
