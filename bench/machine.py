"""Processes on this machine: start pinned, account, stop.

Every process belongs to a `Stage`. A stage stops what it started, by pid and in
reverse order, however its block ends; SIGTERM to the benchmark ends the block
too, and should the benchmark be killed outright the kernel signals its children
(PR_SET_PDEATHSIG). CPU time comes from `schedstat`, in nanoseconds, summed over
a process, its threads and its descendants.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

# The proxy alone on the first core; server, load and the benchmark on the second.
# With a single core all share it: figures still come, but they disturb each other.
_CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE = _CORES[0]
LOAD_CORE = _CORES[1] if len(_CORES) > 1 else _CORES[0]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """What stops a benchmark, with the way out in the text."""


def need(program: str, hint: str) -> str:
    """Return the path of `program`, or say how to get it."""
    found = shutil.which(program)
    if not found:
        raise BenchError(f"{program}: not found; {hint}")
    return found


def free_port() -> int:
    """Return a free loopback port below the ephemeral range.

    Below, because a proxy under test opens thousands of ephemeral ports, and one
    of those could take the number between this look and the bind.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = random.randrange(10240, max(low, 10241 + 1000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no free port below the ephemeral range after 200 tries")


def pin_self(core: int) -> None:
    """Pin the benchmark itself, so that it never runs beside the proxy."""
    os.sched_setaffinity(0, {core})


def descendants(pid: int) -> list[int]:
    """Return `pid` and every live descendant."""
    found = [pid]
    for parent in found:
        for task in _list(f"/proc/{parent}/task"):
            text = _read(f"/proc/{parent}/task/{task}/children")
            found.extend(int(child) for child in text.split())
    return found


@dataclass(frozen=True)
class Cpu:
    """CPU of a process tree since its start; subtract two for a window."""

    ns: dict[int, int]  # pid -> nanoseconds on a CPU, all its threads
    user_ticks: int
    kernel_ticks: int

    def since(self, earlier: Cpu) -> int:
        return sum(ns - earlier.ns.get(pid, 0) for pid, ns in self.ns.items())

    def lost(self, earlier: Cpu) -> list[int]:
        """Return pids whose time vanished with them."""
        return sorted(set(earlier.ns) - set(self.ns))


def tree_cpu(pid: int) -> Cpu:
    """Read the CPU of `pid` and its descendants."""
    ns: dict[int, int] = {}
    user = kernel = 0
    for member in descendants(pid):
        stat = _read(f"/proc/{member}/stat")
        if not stat:
            continue
        fields = stat.rpartition(")")[2].split()
        user += int(fields[11])
        kernel += int(fields[12])
        ns[member] = sum(
            int(text.split()[0])
            for task in _list(f"/proc/{member}/task")
            if (text := _read(f"/proc/{member}/task/{task}/schedstat"))
        )
    return Cpu(ns, user, kernel)


def tree_pss(pid: int) -> int:
    """Return the proportional set size of a process tree, in bytes."""
    total = 0
    for member in descendants(pid):
        for line in _read(f"/proc/{member}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def machine_busy() -> tuple[float, float]:
    """Return seconds of CPU spent by everything, and seconds stolen by the host."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [int(x) for x in _read("/proc/stat").splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / tick, steal / tick


def _read(path: str) -> str:
    try:
        with open(path) as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended between the listing and the reading


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []


class Process:
    """A child pinned to a core, its output kept in a file for the error text."""

    def __init__(
        self,
        name: str,
        argv: list[str],
        core: int,
        directory: Path,
        stop_signal: int = signal.SIGTERM,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.stop_signal = stop_signal
        self.output = directory / f"{name}.out"
        with self.output.open("wb") as out:
            self.child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(env or {})},
                # Ctrl-C goes to the benchmark alone, which stops the rest in order.
                start_new_session=True,
                preexec_fn=_prepare(core),  # noqa: PLW1509 - the benchmark has one thread
            )
        self.pid = self.child.pid

    def cpu(self) -> Cpu:
        return tree_cpu(self.pid)

    def says(self, lines: int = 8) -> str:
        text = self.output.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in text[-lines:])

    def is_running(self) -> bool:
        return self.child.poll() is None

    def stop(self, patience: float = 5.0) -> None:
        """Stop the process by its signal, then whatever is left of its tree."""
        if not self.is_running():
            return
        tree = {pid: _born(pid) for pid in descendants(self.pid)[1:]}
        self.child.send_signal(self.stop_signal)
        try:
            self.child.wait(patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pid, born in tree.items():
            # The time of birth tells a survivor from a stranger with its number.
            if born and _born(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _born(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; empty when it is gone."""
    stat = _read(f"/proc/{pid}/stat")
    return stat.rpartition(")")[2].split()[19] if stat else ""


def _prepare(core: int) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {core})

    return prepare


class Stage:
    """A scratch directory and the processes that live while its block runs."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self._directory = tempfile.TemporaryDirectory(prefix="lb-bench-")
        self.directory = Path(self._directory.name)
        # nginx and HAProxy workers may change user; they still must get in.
        self.directory.chmod(0o755)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self.processes):
            process.stop()
        self._directory.cleanup()

    def folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        return folder

    def start(
        self,
        name: str,
        argv: list[str],
        core: int,
        stop_signal: int = signal.SIGTERM,
        env: dict[str, str] | None = None,
    ) -> Process:
        process = Process(name, argv, core, self.folder(name), stop_signal, env)
        self.processes.append(process)
        return process

    def busy_ns(self) -> int:
        """CPU of everything on the stage and of the benchmark itself."""
        own = time.process_time_ns()
        ended = os.times()
        spent = int((ended.children_user + ended.children_system) * 1e9)
        return own + spent + sum(sum(p.cpu().ns.values()) for p in self.processes)


def wait_for_reply(process: Process, port: int, path: str, size: int, patience: float) -> None:
    """Wait until `process` answers 200 with `size` bytes on `port`."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + patience
    last = "no connection yet"
    while time.monotonic() < deadline:
        if not process.is_running():
            raise BenchError(
                f"{process.name}: ended with code {process.child.returncode} while starting\n" + process.says()
            )
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=patience) as s:
                s.sendall(request)
                reply = bytearray()
                while piece := s.recv(1 << 16):
                    reply += piece
        except OSError as error:
            last = str(error)
            time.sleep(0.02)
            continue
        head, _, body = bytes(reply).partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status == [b"200"] and len(body) == size:
            return
        last = f"answered {head[:40]!r} and {len(body)} bytes of body, expected 200 and {size}"
        time.sleep(0.02)
    raise BenchError(f"{process.name}: not ready after {patience:g} s: {last}\n{process.says()}")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one benchmark run on a machine: two would measure each other."""
    path = Path(tempfile.gettempdir()) / "lb-bench.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another benchmark runs on this machine; waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def end_on_signals() -> None:
    """Make Ctrl-C, SIGTERM and SIGHUP unwind the stack, so that stages stop their processes.

    Ctrl-C is asked for by name: a shell starts background jobs with SIGINT ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
