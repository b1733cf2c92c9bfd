"""`lb run` as users start it: real processes, and a check at the end that nothing is left of them."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from kit.deadline import DEADLINE, Late, Words, eventually
from kit.log import LogFile
from kit.settings import Settings
from kit.wire import READ, Address

# What lb says on stderr in a normal life. Anything else fails the test, unless it was announced by `expect_stderr`.
NORMAL = re.compile(r"^lb(\[\d+\])?: .*\b(ready|listening|started|stopping|stopped|draining|drained)\b")
# What is said of servers that tests let die.
NORMAL_OF_SERVERS = re.compile(
    r"^lb: (warning: )?(Backup )?Server \S+ is (UP|DOWN)\b|^lb: error: backend \S+ has no server available!$"
)
# Pipes of splice stay pooled; a worker keeps at most this many descriptors for them.
PIPES_KEPT = 256


class Lb:
    """A running `lb run`."""

    def __init__(self, settings: Settings, directory: Path, *, log: bool = True) -> None:
        """Start it and wait until it is ready.

        Without `log` the configuration's own targets stay; with it the log goes to a file in HAProxy's format. An admin
        socket is added unless the configuration has one.
        """
        self.directory = directory
        self.path = directory / "lb.yaml"
        self.admin_path = str(directory / "admin.sock")
        self._log = LogFile(directory / "access.log")
        self._stderr = directory / "lb.stderr"
        self._expected: list[re.Pattern[str]] = []
        self._keep_log = not log
        self._is_asked = "admin" not in settings.get("global", {})
        self.write(settings)
        ready, told = os.pipe()
        try:
            with self._stderr.open("wb") as err, (directory / "lb.stdout").open("wb") as out:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "lb", "run", "-f", str(self.path), "--ready-fd", str(told)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    pass_fds=[told],
                    env={**os.environ, "LB_DEBUG_CONFIG": "1"},
                )
            os.close(told)
            told = -1
            message = self._wait_ready(ready)
        finally:
            os.close(ready)
            if told >= 0:
                os.close(told)
        self.addresses: dict[str, list[Address]] = {
            name: [_address(text) for text in texts] for name, texts in message["listeners"].items()
        }
        self.http_address: str = message["http"] or ""
        self._at_rest = {pid: descriptors_of(pid) for pid in self.workers()}

    def write(self, settings: Settings) -> None:
        """Write the configuration file; a reload reads it."""
        process: dict[str, Any] = {"admin": {"path": self.admin_path}, **settings.get("global", {})}
        if not self._keep_log:
            process["log"] = [{"to": str(self._log.path), "format": "haproxy"}]
        self.path.write_text(json.dumps({**settings, "global": process}, indent=1))

    def _wait_ready(self, ready: int) -> dict[str, Any]:
        line = bytearray()
        while not line.endswith(b"\n"):
            if not select.select([ready], [], [], DEADLINE)[0]:
                self.process.kill()
                self.process.wait(DEADLINE)
                raise Late(f"lb is not ready: {self.stderr()}")
            data = os.read(ready, READ)
            if not data:
                code = self.process.wait(DEADLINE)
                raise AssertionError(f"lb ended with {code} before it was ready: {self.stderr()}")
            line += data
        message: dict[str, Any] = json.loads(line)
        return message

    # ---- looking at it

    def stderr(self) -> str:
        """Return what it said on stderr."""
        return self._stderr.read_text(errors="backslashreplace")

    def stdout(self) -> str:
        """Return what it said on stdout."""
        return (self.directory / "lb.stdout").read_text(errors="backslashreplace")

    def expect_stderr(self, pattern: str) -> None:
        """Allow lines that match; each pattern must be met by the end."""
        self._expected.append(re.compile(pattern))

    def log_lines(self) -> list[str]:
        """Return the access log so far."""
        return self._log.lines()

    def processes(self) -> list[int]:
        """Return the process ids of everything below `lb run`."""
        found: list[int] = []
        todo = [self.process.pid]
        while todo:
            for child in children_of(todo.pop()):
                found.append(child)
                todo.append(child)
        return found

    def workers(self) -> list[int]:
        """Return the process ids of the workers; they are known by their names."""
        return [pid for pid in self.processes() if name_of(pid).startswith("lb worker")]

    def admin(self, command: str) -> str:
        """Send one command to the admin socket and return the answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(self.admin_path)
            sock.sendall(command.encode() + b"\n")
            answer = bytearray()
            while data := sock.recv(READ):
                answer += data
        return answer.decode()

    def live(self) -> dict[str, int]:
        """Return the pools of all workers that have objects out, with their number."""
        used: list[tuple[str, str]] = []

        def are_told() -> bool:  # a worker that has just begun has told none
            used[:] = re.findall(r"- Pool (\S+) \(.*?, (\d+) used", self.admin("show pools"))
            return bool(used)

        eventually(are_told, "pools in 'show pools'")
        return {name: int(number) for name, number in used if number != "0"}

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def rest(self) -> None:
        """Take the present workers as those that must come back to as many descriptors: others have died."""
        descriptors = next(iter(self._at_rest.values()))
        self._at_rest = dict.fromkeys(self.workers(), descriptors)

    # ---- the end

    def settle(self) -> None:
        """Wait until the workers hold no more sockets than when they were ready, and no pooled object."""
        if self.process.poll() is not None:
            return  # the test has ended it; stop() looks at how
        for pid, rest in self._at_rest.items():
            eventually(
                lambda pid=pid, rest=rest: descriptors_of(pid)["socket"] <= rest["socket"],
                f"worker {pid} to close its connections; at rest {dict(rest)}",
            )
            now = descriptors_of(pid)
            assert now["pipe"] <= rest["pipe"] + PIPES_KEPT, f"worker {pid} holds pipes: {dict(now)}"
            other = {kind: n for kind, n in now.items() if kind not in ("socket", "pipe") and n > rest[kind]}
            assert not other, f"worker {pid} leaked descriptors: {other}"
        if self._is_asked:
            eventually(lambda: not self.live(), Words(lambda: f"no pooled object; there are {self.live()}"))

    def stop(self, number: signal.Signals = signal.SIGTERM, code: int = 0) -> None:
        """End it by a signal; fail for a wrong exit code, a process left over, or a stray line on stderr."""
        processes = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.wait_exit(code, processes)

    def wait_exit(self, code: int, processes: list[int]) -> None:
        """Wait for its end and check what it leaves."""
        try:
            ended = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            for pid in [self.process.pid, *self.processes()]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait(DEADLINE)
            raise Late(f"lb does not stop: {self.stderr()}") from None
        stray = []
        met: set[re.Pattern[str]] = set()
        for line in self.stderr().splitlines():
            matching = [pattern for pattern in self._expected if pattern.search(line)]
            met.update(matching)
            if not matching and not NORMAL.search(line) and not NORMAL_OF_SERVERS.search(line):
                stray.append(line)
        assert ended == code, f"exit code {ended}, expected {code}: {self.stderr()}"
        left = [pid for pid in processes if _is_alive(pid)]
        assert not left, f"processes left behind: {left}"
        assert not stray, "stray lines on stderr:\n" + "\n".join(stray)
        missing = [pattern.pattern for pattern in self._expected if pattern not in met]
        assert not missing, f"stderr lacks {missing}:\n{self.stderr()}"


class DaemonPlane:
    """Runs tests on `lb run`."""

    name = "daemon"
    bulk = 10 << 20
    is_lb = True

    def start(self, settings: Settings, directory: Path) -> Lb:
        """Start `lb run`."""
        return Lb(settings, directory)


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
    return found


def name_of(pid: int) -> str:
    """Return the name a process has given itself; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descriptors_of(pid: int) -> Counter[str]:
    """Count a process's descriptors by kind: socket, pipe, anon_inode:[eventpoll], or a path."""
    found: Counter[str] = Counter()
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for number in numbers:
        try:
            what = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
        kind, colon, _inode = what.partition(":[")
        found[kind if colon else what] += 1
    return found


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _address(text: str) -> Address:
    if text.startswith("abns"):
        return text
    if text.startswith("unix@"):
        return text.removeprefix("unix@")
    if text.startswith("/"):
        return text
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
