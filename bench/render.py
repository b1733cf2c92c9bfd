#!/usr/bin/env python3
"""Render docs/benchmarks.md from bench/results: `python -m bench.render`.

No number in that page is typed by hand. `--check` writes nothing and fails when
the page differs from what the results say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import record
from bench.scenarios import SCENARIOS
from bench.stats import median

PAGE = record.ROOT / "docs" / "benchmarks.md"
Result = Mapping[str, Any]

_INTRO = """\
# Benchmarks

Rendered by `python -m bench.render` from `bench/results/`; no number here was typed by hand. To repeat them all:
`make bench`; one scenario: `python -m bench h1`.

How it is measured: the proxy alone on one core; the server (nginx, one worker) and the load generator (wrk) on the
other; all on loopback. Every proxy has one worker or thread, keeps connections to the server alive, adds
X-Forwarded-For and writes an access log: lb and nginx to a file, HAProxy to a unix datagram socket as it does
with `log /dev/log`. Rounds are interleaved (A B C A B C), figures are medians, spread is (largest - smallest) / median.
A run with a socket error or a reply that is not 2xx does not count. CPU is that of the proxy's whole process tree,
lb's supervisor included. The ratio is lb over the better peer: below 1, lb is cheaper.

HAProxy reuses server connections by `http-reuse always` and nginx always does; lb keeps its default, `http_reuse: safe`.
For these loads that is the same, but for the first request of each client if it cannot be sent again, which no row has
many of. Before a later POST (`h1-post`) lb asks the idle connection by one recv() more whether the server has closed it.
With 3 or 1,000 servers (`leastconn-N`, `consistent-N`) each has an address of its own, and one nginx answers for all.
"""


def page(results: Mapping[str, Result]) -> str:
    """Return the whole page."""
    parts = [_INTRO]
    loads = [results[name] for name in SCENARIOS if name in results and name != "idle"]
    if not loads and "idle" not in results and "callgrind" not in results:
        parts.append("No results yet.\n")
    if loads:
        parts += [_cpu(loads), _rate(loads)]
    detailed = [r for r in loads if any("user_us" in peer for peer in r["peers"].values())]
    if detailed:
        parts.append(_user(detailed))
    timed = [r for r in loads if any("p99_us" in peer for peer in r["peers"].values())]
    if timed:
        parts.append(_latency(timed))
    if "callgrind" in results:
        parts.append(_callgrind(results["callgrind"]))
    if "idle" in results:
        parts.append(_idle(results["idle"]))
    if results:
        parts.append(_origin(results))
    return "\n".join(parts)


def _names(results: list[Result]) -> list[str]:
    names: list[str] = []
    for result in results:
        names += [name for name in result["peers"] if name not in names]
    return names


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _what(result: Result) -> str:
    known = SCENARIOS.get(result["scenario"])
    return f"`{result['scenario']}`" + (f": {known.what}" if known else "")


def verdict(ratio: float | None, bar: float) -> str:
    """Say how a figure stands to its bar, in words."""
    if ratio is None:
        return "-"
    if ratio <= bar:
        return "met"
    return f"missed by {(ratio / bar - 1) * 100:.0f} %"


def _cpu(results: list[Result]) -> str:
    names = _names(results)
    rows = []
    for result in results:
        row = [_what(result)]
        for name in names:
            peer = result["peers"].get(name, {"counted": 0})
            if not peer["counted"]:
                row.append("-")
                continue
            lost = 1 - peer.get("log_kept", 1.0)
            loss = f", lost {lost:.0%} of its log" if lost >= 0.005 else ""
            row.append(f"{peer['cpu_us']:.2f} ({peer['cpu_spread']:.0%}{loss})")
        ratio = result["ratios"].get("better peer")
        bar = result["settings"]["bar"]
        row += ["-" if ratio is None else f"{ratio:.2f}", f"{bar:.2f}", verdict(ratio, bar)]
        rows.append(row)
    head = ["scenario", *names, "ratio", "bar", ""]
    return "## CPU microseconds per request (spread)\n\n" + _table(head, rows)


def _rate(results: list[Result]) -> str:
    names = _names(results)
    rows = []
    for result in results:
        row = [f"`{result['scenario']}`"]
        for name in names:
            peer = result["peers"].get(name, {"counted": 0})
            row.append(f"{peer['rps']:,.0f} ({peer['rps_spread']:.0%})" if peer["counted"] else "-")
        rows.append([*row, str(result["settings"]["connections"])])
    note = (
        "Where the proxy is cheap, the server and the load generator on the other core are the limit, "
        "and this table says less than the one above.\n\n"
    )
    return "## Requests per second (spread)\n\n" + note + _table(["scenario", *names, "connections"], rows)


def _user(results: list[Result]) -> str:
    names = _names(results)
    rows = []
    for result in results:
        row = [f"`{result['scenario']}`"]
        for name in names:
            peer = result["peers"].get(name, {})
            row.append(f"{peer['user_us']:.2f} + {peer['kernel_us']:.2f}" if "user_us" in peer else "-")
        rows.append(row)
    return "## User + kernel microseconds per request\n\n" + _table(["scenario", *names], rows)


def _latency(results: list[Result]) -> str:
    names = _names(results)
    rows = []
    for result in results:
        row = [f"`{result['scenario']}`"]
        for name in names:
            peer = result["peers"].get(name, {})
            row.append(f"{peer['p50_us']:.0f} / {peer['p99_us']:.0f}" if "p99_us" in peer else "-")
        rows.append([*row, f"{result['settings']['p99_rate']:,}"])
    return "## Latency at a fixed rate: p50 / p99, microseconds\n\n" + _table(["scenario", *names, "requests/s"], rows)


def _callgrind(result: Result) -> str:
    names = _names([result])
    rows = []
    for scenario in result["settings"]["scenarios"]:
        row = [f"`{scenario}`"]
        for name in names:
            found = result["peers"][name].get(scenario)
            row.append(f"{found['instructions']:,.0f}" if found else "-")
        rows.append(row)
    note = result["settings"].get("note")
    text = f"{note[0].upper()}{note[1:]}.\n\n" if note else ""
    return "## User instructions per request (callgrind)\n\n" + text + _table(["scenario", *names], rows)


def _idle(result: Result) -> str:
    bar = result["settings"]["bar"]
    steps = result["settings"]["steps"]
    rows = [
        [name, f"{peer['bytes']:,}", verdict(peer["bytes"], bar) if name == "lb" else ""]
        for name, peer in result["peers"].items()
    ]
    text = (
        f"Slope of Pss from {steps[0]:,} to {steps[-1]:,} connections that had one reply each; the bar for lb "
        f"is {bar:,.0f} bytes.\n\n"
    )
    return "## Bytes per idle keep-alive connection\n\n" + text + _table(["", "bytes", ""], rows)


def _origin(results: Mapping[str, Result]) -> str:
    rows = []
    for name in [*SCENARIOS, "callgrind"]:
        if name not in results:
            continue
        result = results[name]
        settings, machine = result["settings"], result["machine"]
        rounds = f"{settings['rounds']} x {settings['seconds']} s" if "rounds" in settings else "-"
        strangers = [run["strangers"] for peer in result["peers"].values() for run in peer.get("runs", [])]
        rows.append(
            [
                f"`{name}`",
                result["time"].replace("+00:00", "Z"),
                f"`{result['commit']}`",
                rounds,
                f"{median(strangers):.2f}" if strangers else "-",
                ", ".join(f"{k} {v}" for k, v in result["versions"].items()),
                f"{machine['cores']} x {machine['cpu']}, Linux {machine['kernel']}, {machine['system']}",
            ]
        )
    head = ["scenario", "time", "commit", "runs", "others", "programs", "machine"]
    note = (
        "`others` is how many cores programs outside the benchmark kept busy meanwhile (median); a `+` "
        "behind a commit means that lb's sources had changes on top of it.\n\n"
    )
    return "## Where these come from\n\n" + note + _table(head, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.render", description=__doc__)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)
    text = page(record.load_latest(options.results))
    if options.check:
        if options.page.exists() and options.page.read_text() == text:
            return 0
        print(f"{options.page}: not what the results say; run `python -m bench.render`", file=sys.stderr)
        return 1
    options.page.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
