"""lb as a process whose workers echo: for tests of everything around the traffic.

`Echo` starts the real supervisor, zygote, compiler and mapping with `echo_engine`, talks to it, and on leaving checks
that it ended as it should: exit status, no process of its group left, nothing on stderr that a test did not take.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

RUN = Path(__file__).with_name("run_echo.py")
PATIENCE_S = 15.0


def wait_until(is_so: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Ask until it is so; fail when it does not become so."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Echo:
    """A running lb with echoing workers."""

    def __init__(self, directory: Path, **changes: object) -> None:
        self.directory = directory
        self.file = directory / "lb.json"
        self.admin = directory / "admin.sock"
        self.error_file = directory / "stderr"
        self.environment: dict[str, str] = {}
        self.binds: list[object] = ["127.0.0.1:0"]
        self.changes: dict[str, object] = {"workers": 2, "grace": "10s", **changes}
        self.expected_status = 0
        self.ready: dict[str, object] = {}
        self.process: subprocess.Popen[bytes]
        self.write()

    def write(self, text: str = "", **changes: object) -> None:
        """Write the configuration: what stands there, with `global` keys changed; or just this text."""
        self.changes |= changes
        configuration = {
            "version": 1,
            "global": {"admin": {"path": str(self.admin)}, "log": [], **self.changes},
            **self.proxies(),
        }
        self.file.write_text(text or json.dumps(configuration))

    def proxies(self) -> dict[str, object]:
        """Return the frontends and backends."""
        return {
            "frontends": {"web": {"mode": "tcp", "bind": self.binds, "default_backend": "app"}},
            "backends": {"app": {"mode": "tcp", "servers": [{"name": "s1", "address": "127.0.0.1:9"}]}},
        }

    # ---- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Echo:
        self.start()
        return self

    def start(self) -> None:
        """Start and wait until it is ready, or has ended."""
        read, write = os.pipe()
        with self.error_file.open("wb") as error_file:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments(write)],
                stdin=subprocess.DEVNULL,
                stdout=error_file,
                stderr=error_file,
                pass_fds=[write, *self._inherited()],
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        os.close(write)
        with open(read, "rb") as ready:
            readable, _, _ = select.select([ready], [], [], PATIENCE_S)
            assert readable, f"not ready: {self.errors()}"
            line = ready.readline()
        self.ready = json.loads(line) if line else {}

    def arguments(self, ready_fd: int) -> list[str]:
        """Return what Python is called with."""
        return [str(RUN), str(self.file), str(ready_fd)]

    def _inherited(self) -> list[int]:
        binds = [bind for bind in self.binds if isinstance(bind, str) and bind.startswith("fd@")]
        return [int(bind[3:]) for bind in binds if bind[3:].isdecimal()]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            status = self.process.wait(PATIENCE_S)
        finally:
            left = self.group()
            if left:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if kind is None:
            assert status == self.expected_status, self.errors()
            assert not left, f"processes left: {left}"

    def group(self) -> list[int]:
        """Return the pids of its process group: all processes that it has ever started."""
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdecimal():
                try:
                    fields = (each / "stat").read_text().rpartition(")")[2].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(fields[2]) == self.process.pid:
                    found.append(int(each.name))
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; return its exit status."""
        return self.process.wait(PATIENCE_S)

    def errors(self) -> str:
        """Return what it has written to stdout and stderr."""
        return self.error_file.read_text()

    def said(self, text: str, times: int = 1) -> None:
        """Wait until it has said this."""
        wait_until(lambda: self.errors().count(text) >= times)

    # ---- talking ---------------------------------------------------------------------------------------------

    def addresses(self, frontend: str = "web") -> list[str]:
        """Return where a frontend listens."""
        listeners = self.ready["listeners"]
        assert isinstance(listeners, dict)
        return list(listeners[frontend])

    def address(self) -> tuple[str, int]:
        """Return where the first bind listens."""
        host, _, port = self.addresses()[0].rpartition(":")
        return host.strip("[]"), int(port)

    def connect(self) -> socket.socket:
        """Return a connection to the first bind."""
        return socket.create_connection(self.address(), timeout=PATIENCE_S)

    def is_refusing(self) -> bool:
        """Whether nobody listens any more."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def ask(self, text: str = "who") -> list[int]:
        """Ask a worker on a connection of its own; return the numbers of its answer."""
        with self.connect() as sock:
            return talk(sock, text)

    def workers(self) -> dict[int, int]:
        """Return slot -> pid of the workers that answer many connections."""
        found = {}
        for _ in range(64):
            pid, slot, _ = self.ask()
            found[slot] = pid
        return found

    def command(self, text: str) -> str:
        """Return the answer of the admin socket, without the empty line after it."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(self.admin))
            sock.sendall(text.encode() + b"\n")
            answer = b""
            while data := sock.recv(65536):
                answer += data
        return answer.decode().removesuffix("\n")

    def reload(self, **changes: object) -> str:
        """Write the configuration with these changes and reload; return what it says."""
        self.write(**changes)
        return self.command("reload")


def talk(sock: socket.socket, text: str) -> list[int]:
    """Send a line; return the numbers of the line that comes back."""
    sock.sendall(text.encode() + b"\n")
    return [int(word) for word in receive_line(sock).split() if word.isdecimal()]


def receive_line(sock: socket.socket) -> str:
    """Return the next line; '' at the end."""
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(4096)
        if not data:
            break
        line += data
    return line.decode()
