"""The load of the scenario `udp`: `bench/udpload.c`, compiled when it is needed, as server and as clients."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

from bench.load import Load
from bench.machine import LOAD_CORE, BenchError, Process, Stage, free_port, need

SOURCE = Path(__file__).with_name("udpload.c")
ANSWER = 64  # bytes; as in udpload.c


def program(folder: Path) -> Path:
    """Return the compiled load generator."""
    made = folder / "udpload"
    if not made.exists():
        gcc = need("gcc", "apt-get install gcc libc6-dev")
        done = subprocess.run(
            [gcc, "-O2", "-o", str(made), str(SOURCE)], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise BenchError(f"udpload: {done.stderr[-500:]}")
    return made


def start_server(stage: Stage) -> tuple[Process, int]:
    """Start the server on core 1; return it and its port."""
    port = free_port()
    process = stage.start("backend", [str(program(stage.directory)), "serve", str(port)], LOAD_CORE)
    wait_for_answer(process, port, 10)
    return process, port


def wait_for_answer(process: Process, port: int, patience: float) -> None:
    """Wait until a datagram to this port is answered."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not process.is_running():
            raise BenchError(f"{process.name}: ended while starting\n{process.says()}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            sock.connect(("127.0.0.1", port))
            try:
                sock.send(b"are you there".ljust(40))
                if len(sock.recv(512)) == ANSWER:
                    return
            except OSError:
                time.sleep(0.02)
    raise BenchError(f"{process.name}: no answer within {patience:g} s\n{process.says()}")


_REPORT = re.compile(r"(\d+) answered (\d+) lost (\d+) wrong ([\d.]+) s")


def parse(text: str) -> Load:
    """Read the clients' report."""
    found = _REPORT.search(text)
    if not found:
        raise BenchError(f"udpload: no totals in its output:\n{text[-500:]}")
    answered, lost = int(found[1]), int(found[2])
    refused = f"{lost} queries were lost" if lost else "" if answered else "no query was answered"
    return Load(answered, float(found[4]), refused)


def drive(stage: Stage, connections: int, port: int, seconds: int) -> Load:
    """Ask for `seconds` from as many sockets; each waits for its answer before it asks again."""
    argv = [str(program(stage.directory)), "ask", str(port), str(connections), str(seconds * 1000)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise BenchError(f"udpload: {done.stderr[-500:]}")
    return parse(done.stdout)
