#!/usr/bin/env python3
"""Measure lb beside its peers.

    python -m bench                              the full programme (`make bench`)
    python -m bench h1 tcp --rounds 5 --seconds 3 --peers lb,haproxy,nginx
    bench/run.py h1 --peers lb --rounds 2        a quick look while working

Every proxy runs alone on the first core, the server and the load generator on
the second, all on loopback. The rounds go A B C A B C. The first figure is CPU
microseconds per request over the whole process tree of the proxy; it does not
depend on which side saturates. Runs with errors are kept in the file and do not
count. Results are saved when they can be quoted: all proxies, at least 5 rounds
of 3 s (`--save` saves anyway, `--no-save` never).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as bench/run.py: the package is the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import datagrams, idle, load, record, render
from bench.backend import start_backend
from bench.machine import (
    LOAD_CORE,
    BenchError,
    Cpu,
    Process,
    Stage,
    end_on_signals,
    machine_busy,
    one_at_a_time,
    pin_self,
)
from bench.proxies import PROXIES, USUAL, can, start_proxy
from bench.scenarios import SCENARIOS, Scenario
from bench.stats import median, percentile, slope

USER_SHARE_SECONDS = 20
P99_RATE = 4000  # requests/s
QUOTABLE_ROUNDS = 5
QUOTABLE_SECONDS = 3
ALL_LOGGED = 0.999


def main(argv: list[str] | None = None) -> int:
    options = _arguments(argv)
    end_on_signals()
    pin_self(LOAD_CORE)
    failed = False
    try:
        with one_at_a_time():
            for name in options.scenarios:
                result = run_scenario(SCENARIOS[name], options)
                failed |= not all(peer["counted"] for peer in result["peers"].values())
                if options.save:
                    print(f"  saved {record.save(result, options.out).name}")
                    if options.out == record.RESULTS:
                        render.main([])
                else:
                    print(f"  not saved ({options.why_not_saved})")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; everything it started was stopped", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help="any of: " + ", ".join(SCENARIOS) + " (default: all, with user share and p99 "
        "for those that have a bar on them)",
    )
    parser.add_argument("--rounds", type=int, default=QUOTABLE_ROUNDS)
    parser.add_argument("--seconds", type=int, default=QUOTABLE_SECONDS, help="of each run")
    parser.add_argument("--peers", default=",".join(USUAL), help="default: %(default)s")
    parser.add_argument("--connections", type=int, help="instead of the scenario's number")
    parser.add_argument(
        "--user-share",
        action="store_true",
        help=f"one run more of {USER_SHARE_SECONDS} s each, split in user and kernel time",
    )
    parser.add_argument(
        "--p99",
        type=int,
        nargs="?",
        const=P99_RATE,
        metavar="RATE",
        help="latency at RATE requests/s (default %(const)s)",
    )
    parser.add_argument("--save", action="store_true", help="save what could not be quoted")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args(argv)

    options.detail = not options.scenarios  # the full programme
    options.scenarios = options.scenarios or list(SCENARIOS)
    options.peers = [name for name in options.peers.split(",") if name]
    for given, known, what in (
        (options.scenarios, SCENARIOS, "scenario"),
        (options.peers, PROXIES, "peer"),
    ):
        for name in given:
            if name not in known:
                parser.error(f"unknown {what} {name!r}; expected one of {', '.join(known)}")
    if options.rounds < 1 or not 1 <= options.seconds <= 60 or not options.peers:
        parser.error("expected at least one peer and one round, and 1 to 60 seconds")
    options.why_not_saved = ""
    if options.no_save:
        options.why_not_saved = "--no-save"
    elif not options.save:
        missing = [name for name in USUAL if name not in options.peers]
        if missing:
            options.why_not_saved = f"a figure to quote needs {', '.join(missing)} in the same run"
        elif options.rounds < QUOTABLE_ROUNDS or options.seconds < QUOTABLE_SECONDS:
            options.why_not_saved = f"a figure to quote needs {QUOTABLE_ROUNDS} rounds of {QUOTABLE_SECONDS} s"
    options.save = not options.why_not_saved
    return options


def run_scenario(scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one scenario with all peers; print and return the result."""
    print(f"{scenario.name}: {scenario.what}")
    if options.connections:
        scenario = _with_connections(scenario, options.connections)
    if scenario.kind == "idle":
        return _run_idle(scenario, options)
    return _run_load(scenario, options)


def _with_connections(scenario: Scenario, connections: int) -> Scenario:
    return Scenario(**{**vars(scenario), "connections": connections})


def _versions(peers: list[str]) -> dict[str, str]:
    versions = {name: PROXIES[name].version() for name in peers}
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    versions["wrk"] = (wrk.stdout + wrk.stderr).split()[1]
    return versions


@dataclass
class Entrant:
    """A proxy in one scenario and what was seen of it."""

    name: str
    process: Process
    port: int
    runs: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    sent: int = 0  # requests answered since it started


def _run_load(scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    result = record.header(
        scenario.name,
        _versions(options.peers),
        {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "connections": scenario.connections,
            "order": "interleaved",
            "bar": scenario.bar,
        },
    )
    fds = idle.fd_limit()
    with Stage() as stage:
        if scenario.mode == "udp":
            _backend, server = datagrams.start_server(stage)
        else:
            _backend, server = start_backend(stage, fds, scenario.servers)
        names = [name for name in options.peers if can(PROXIES[name], scenario)]
        entrants = [Entrant(name, *start_proxy(stage, PROXIES[name], scenario, server, fds)) for name in names]
        for entrant in entrants:
            _one_run(stage, scenario, entrant, 1)  # warms pools and caches
        for _ in range(options.rounds):
            for entrant in entrants:
                entrant.runs.append(_one_run(stage, scenario, entrant, options.seconds))
        if options.user_share or (options.detail and scenario.detail):
            for entrant in entrants:
                entrant.details.update(_user_share(stage, scenario, entrant))
        rate = options.p99 or (P99_RATE if options.detail and scenario.detail else 0)
        if rate:
            result["settings"]["p99_rate"] = rate
            _latency(stage, scenario, entrants, rate, options)
        if scenario.mode == "http":  # in TCP mode a record is a connection, not a request
            _count_log_records(stage, entrants)
    result["peers"] = {e.name: {**record.summary(e.runs), **e.details, "runs": e.runs} for e in entrants}
    result["ratios"] = record.ratios(
        {name: peer["cpu_us"] for name, peer in result["peers"].items() if peer["counted"]}
    )
    _print_load(result)
    return result


def _one_run(stage: Stage, scenario: Scenario, entrant: Entrant, seconds: int) -> dict[str, Any]:
    busy, stolen = machine_busy()
    ours = stage.busy_ns()
    before = entrant.process.cpu()
    if scenario.mode == "udp":
        seen = datagrams.drive(stage, scenario.connections, entrant.port, seconds)
    else:
        seen = load.wrk(scenario, entrant.port, seconds)
    after = entrant.process.cpu()
    ours = stage.busy_ns() - ours
    busy_after, stolen_after = machine_busy()
    entrant.sent += seen.requests
    strangers = max(0.0, busy_after - busy - ours / 1e9) / seen.seconds
    return {
        "requests": seen.requests,
        "seconds": seen.seconds,
        "rps": round(seen.rps, 1),
        "cpu_us": round(after.since(before) / 1000 / max(1, seen.requests), 3),
        # Cores that other programs kept busy meanwhile, and the host took away:
        # says how far to trust the run.
        "strangers": round(strangers, 3),
        "stolen": round((stolen_after - stolen) / seen.seconds, 3),
        "refused": _why_refused(seen, entrant.process, before, after),
    }


def _why_refused(seen: load.Load, process: Process, before: Cpu, after: Cpu) -> str:
    if not process.is_running():
        raise BenchError(f"{process.name}: ended under load\n{process.says()}")
    lost = after.lost(before)
    if lost:
        return f"a process of the proxy ended during the run: {lost}; {seen.refused}".rstrip("; ")
    return seen.refused


def _user_share(stage: Stage, scenario: Scenario, entrant: Entrant) -> dict[str, Any]:
    """Split CPU into user and kernel time over a run long enough for a 250 Hz clock."""
    before = entrant.process.cpu()
    run = _one_run(stage, scenario, entrant, USER_SHARE_SECONDS)
    after = entrant.process.cpu()
    user = after.user_ticks - before.user_ticks
    total = user + after.kernel_ticks - before.kernel_ticks
    if run["refused"] or not total:
        return {"user_refused": run["refused"] or "no clock tick fell on the proxy"}
    share = user / total
    return {
        "user_share": round(share, 4),
        "user_us": round(run["cpu_us"] * share, 3),
        "kernel_us": round(run["cpu_us"] * (1 - share), 3),
    }


def _latency(stage: Stage, scenario: Scenario, entrants: list[Entrant], rate: int, options: argparse.Namespace) -> None:
    """Add p50 and p99 at `rate`: the median over up to 3 interleaved rounds."""
    if scenario.mode == "udp" or scenario.script or any("close" in header for header in scenario.headers):
        for entrant in entrants:
            entrant.details["p99_refused"] = "h2load keeps its connections, asks one thing, and knows only TCP"
        return
    seen: dict[str, list[tuple[float, float, float]]] = {entrant.name: [] for entrant in entrants}
    for _ in range(min(3, options.rounds)):
        for entrant in entrants:
            totals, latencies = load.h2load_rate(scenario, entrant.port, options.seconds, rate, stage.directory)
            entrant.sent += totals.requests
            if totals.refused or not latencies:
                entrant.details["p99_refused"] = totals.refused or "no reply"
                continue
            p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
            seen[entrant.name].append((p50, p99, totals.requests / options.seconds))
    for entrant in entrants:
        found = seen[entrant.name]
        if found:
            entrant.details["p50_us"] = median([p50 for p50, _, _ in found])
            entrant.details["p99_us"] = median([p99 for _, p99, _ in found])
            entrant.details["p99_reached_rps"] = round(median([rps for _, _, rps in found]), 1)


def _count_log_records(stage: Stage, entrants: list[Entrant]) -> None:
    """Stop the proxies and note which share of their access log they wrote.

    A proxy that drops records under load would look cheap.
    """
    for process in reversed(stage.processes):
        process.stop()
    for entrant in entrants:
        records = PROXIES[entrant.name].log_records(stage.directory / entrant.name)
        entrant.details["log_kept"] = min(1.0, round(records / max(1, entrant.sent), 4))


def _run_idle(scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    limit = idle.fd_limit()
    steps = idle.steps_within(limit)
    result = record.header(scenario.name, _versions(options.peers), {"steps": steps, "bar": scenario.bar})
    result["peers"] = {}
    # One proxy at a time, freshly started: memory is not noisy as time is.
    for name in options.peers:
        with Stage() as stage:
            _backend, server = start_backend(stage, limit)
            process, port = start_proxy(stage, PROXIES[name], scenario, server, limit)
            points = idle.measure(process, port, steps)
        result["peers"][name] = {
            "counted": 1,
            "bytes": round(slope([(float(n), float(pss)) for n, pss in points])),
            "points": points,
        }
        print(f"  {name:12} {result['peers'][name]['bytes']:6} bytes a connection")
    result["ratios"] = record.ratios({name: peer["bytes"] for name, peer in result["peers"].items()})
    return result


def _print_load(result: dict[str, Any]) -> None:
    for name, peer in result["peers"].items():
        refused = [run["refused"] for run in peer["runs"] if run["refused"]]
        if not peer["counted"]:
            print(f"  {name:12} no run counts: {refused[0]}")
            continue
        line = (
            f"  {name:12} {peer['cpu_us']:9.2f} us CPU a request (spread {peer['cpu_spread']:.1%})"
            f"  {peer['rps']:9.0f} requests/s (spread {peer['rps_spread']:.1%})"
        )
        if "user_us" in peer:
            line += f"  user {peer['user_us']:.2f} us ({peer['user_share']:.0%})"
        if "p99_us" in peer:
            line += f"  p50 {peer['p50_us']:.0f} us, p99 {peer['p99_us']:.0f} us"
        print(line)
        if peer.get("log_kept", 1.0) < ALL_LOGGED:
            print(f"           wrote only {peer['log_kept']:.1%} of its access log: its figures are flattered")
        if refused:
            print(f"           {len(refused)} runs do not count: {refused[0]}")
    strangers = median([run["strangers"] for peer in result["peers"].values() for run in peer["runs"]])
    if strangers > 0.05:
        print(f"  note: other programs used {strangers:.2f} cores meanwhile; expect noise")
    for name, ratio in result["ratios"].items():
        bar = f" (bar {result['settings']['bar']})" if name == "better peer" else ""
        print(f"  lb / {name}: {ratio:.3f}{bar}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    raise SystemExit(main())
