"""Load generators: run one on core 1, read what it printed.

wrk drives a proxy as fast as it goes; h2load at a fixed rate, for latency, and
with an exact number of requests, for counting instructions.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import LOAD_CORE, BenchError, need
from bench.scenarios import Scenario


@dataclass(frozen=True)
class Load:
    """What a load generator saw."""

    requests: int
    seconds: float
    refused: str = ""  # why the run does not count; empty when it does

    @property
    def rps(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


_REQUESTS = re.compile(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", re.M)
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_wrk(text: str) -> Load:
    """Read wrk's report."""
    found = _REQUESTS.search(text)
    if not found:
        raise BenchError(f"wrk: no line of totals in its output:\n{text[-500:]}")
    reasons = []
    errors = _ERRORS.search(text)
    if errors:
        kinds = zip(("connect", "read", "write", "timeout"), errors.groups(), strict=True)
        bad = [f"{kind} {n}" for kind, n in kinds if int(n)]
        if bad:
            reasons.append("socket errors: " + ", ".join(bad))
    status = _STATUS.search(text)
    if status and int(status[1]):
        reasons.append(f"{status[1]} replies without 2xx")
    requests = int(found[1])
    if not requests:
        reasons.append("no request was answered")
    return Load(requests, float(found[2]) * _SECONDS[found[3]], "; ".join(reasons))


_H2LOAD_REQUESTS = re.compile(
    r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, "
    r"(\d+) errored, (\d+) timeout"
)
_H2LOAD_STATUS = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
_H2LOAD_TIME = re.compile(r"finished in ([\d.]+)(us|ms|s|m|h),")


def parse_h2load(text: str) -> Load:
    """Read h2load's report."""
    totals = _H2LOAD_REQUESTS.search(text)
    took = _H2LOAD_TIME.search(text)
    status = _H2LOAD_STATUS.search(text)
    if not totals or not took or not status:
        raise BenchError(f"h2load: no totals in its output:\n{text[-500:]}")
    reasons = []
    if any(int(n) for n in totals.groups()[2:]):
        reasons.append(f"{totals[3]} failed, {totals[4]} errored, {totals[5]} timed out")
    odd = sum(int(n) for n in status.groups()[1:])
    if odd:
        reasons.append(f"{odd} replies without 2xx")
    if not int(totals[2]):
        reasons.append("no request was answered")
    return Load(int(totals[2]), float(took[1]) * _SECONDS[took[2]], "; ".join(reasons))


def parse_h2load_log(text: str) -> list[int]:
    """Return the latencies in microseconds of h2load's --log-file."""
    return [int(line.split("\t")[2]) for line in text.splitlines() if line]


def wrk(scenario: Scenario, port: int, seconds: int) -> Load:
    """Drive `port` for `seconds` with the connections and headers of `scenario`."""
    argv = [need("wrk", "apt-get install wrk"), "-t", "1", "-c", str(scenario.connections)]
    argv += ["-d", f"{seconds}s", "--timeout", "5s"]
    for header in scenario.headers:
        argv += ["-H", header]
    if scenario.script:
        argv += ["-s", str(Path(__file__).with_name(scenario.script))]
    return parse_wrk(_run([*argv, f"http://127.0.0.1:{port}{scenario.path}"], seconds + 30))


def h2load_rate(scenario: Scenario, port: int, seconds: int, rate: int, folder: Path) -> tuple[Load, list[int]]:
    """Ask `rate` requests per second in all; return the totals and each latency in us."""
    # h2load's clients all fire at the same moment, so that many clients would
    # measure how fast a burst drains; one client does at most 1000 a second.
    clients = max(1, -(-rate // 500))
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    argv = _h2load(scenario, clients)
    argv += ["-D", str(seconds), "--rps", str(rate / clients), "--log-file", str(log)]
    text = _run([*argv, f"http://127.0.0.1:{port}{scenario.path}"], seconds + 30)
    return parse_h2load(text), parse_h2load_log(log.read_text())


def h2load_count(scenario: Scenario, port: int, requests: int, clients: int, patience: int) -> Load:
    """Send exactly `requests` requests over `clients` connections."""
    argv = [*_h2load(scenario, clients), "-n", str(requests)]
    return parse_h2load(_run([*argv, f"http://127.0.0.1:{port}{scenario.path}"], patience))


def _h2load(scenario: Scenario, clients: int) -> list[str]:
    argv = [need("h2load", "apt-get install nghttp2-client"), "--h1", "-t", "1"]
    argv += ["-c", str(clients), "-m", "1"]
    for header in scenario.headers:
        argv += ["-H", header]
    return argv


def _run(argv: list[str], patience: int) -> str:
    command = ["taskset", "-c", str(LOAD_CORE), *argv]
    try:
        # subprocess.run kills the child when the wait ends early, Ctrl-C included.
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{argv[0]}: not done after {patience} s") from error
    if done.returncode != 0:
        raise BenchError(f"{argv[0]}: ended with code {done.returncode}:\n{done.stderr[-500:]}")
    return done.stdout
