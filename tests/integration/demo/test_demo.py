"""`make run` as its user meets it: what is printed works, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 20.0


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on, below those that the kernel gives out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Demo:
    def __init__(self, directory: Path) -> None:
        text = (ROOT / "conf/demo.yaml").read_text()
        self.ports = free_ports(4)
        for written, port in zip(("8080", "9001", "9002", "9003"), self.ports, strict=True):
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
        path = directory / "demo.yaml"
        path.write_text(text)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lb.demo", "-f", str(path)],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.said = b""

    def read_until(self, text: bytes) -> None:
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE_S
        while text not in self.said:
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            assert ready, f"no {text!r} in {self.said.decode()}"
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, f"ended without {text!r}: {self.said.decode()}"
            self.said += data

    def get(self, target: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=PATIENCE_S)
        try:
            connection.request("GET", target)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def descendants(self) -> set[int]:
        """Return every process below the demo."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, ValueError):
                    continue
        below = {self.process.pid}
        while new := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= new
        return below - {self.process.pid}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    if demo.process.poll() is None:
        demo.process.kill()
    demo.process.communicate(timeout=PATIENCE_S)


@pytest.mark.smoke
def test_the_demo_balances_and_ends_with_nothing_left(demo: Demo) -> None:
    demo.read_until(b"Ctrl-C ends it.")
    assert f"http://127.0.0.1:{demo.ports[0]}/".encode() in demo.said
    answers = [demo.get(f"/{number}") for number in range(6)]
    assert sorted(re.findall(r"server (\w+): GET", "".join(answers))) == ["one", "one", "three", "three", "two", "two"]
    assert all(answer.endswith("from 127.0.0.1\n") for answer in answers)
    below = demo.descendants()
    assert below
    demo.process.send_signal(signal.SIGINT)
    rest, _ = demo.process.communicate(timeout=PATIENCE_S)
    assert demo.process.returncode == 0, (demo.said + rest).decode()
    assert rest.endswith(b"lb demo: stopped\n")
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    assert not list(demo.temporary.iterdir())


def test_a_busy_server_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        path = tmp_path / "demo.yaml"
        path.write_text((ROOT / "conf/demo.yaml").read_text().replace("127.0.0.1:9001", f"127.0.0.1:{port}"))
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "lb.demo", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert ended.returncode == 1
    assert ended.stderr == f"lb demo: 127.0.0.1:{port}: address already in use; end what listens there\n"
