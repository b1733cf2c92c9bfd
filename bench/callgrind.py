#!/usr/bin/env python3
"""Count user instructions per request: the figure that repeats.

    python -m bench.callgrind                    lb and its peers, h1
    python -m bench.callgrind h1 tcp --peers lb --requests 2000 --keep /tmp/cg

The proxy runs under valgrind's callgrind. After a warm-up its counters are
dumped around N requests and again around 2N; the difference over N is the cost
of one request, free of connection set-up and of what runs by itself. Only the
process that spends most of its time on the load is counted: a worker. With
`--keep` the profile of the 2N requests stays for callgrind_annotate.

lb runs in one process (bench/embedded.py), because valgrind does not know the
system calls of its supervisor: the same engine and the same loop. Of that
process the main thread is counted; the thread that writes the log is the
supervisor's elsewhere.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import idle, load, record, render
from bench.backend import start_backend
from bench.machine import (
    LOAD_CORE,
    BenchError,
    Process,
    Stage,
    end_on_signals,
    need,
    one_at_a_time,
    pin_self,
    tree_cpu,
)
from bench.proxies import PROXIES, USUAL, LbEmbedded, Proxy, can, start_proxy
from bench.scenarios import SCENARIOS, Scenario

_CLIENTS = 8
_PATIENCE = 300  # seconds; valgrind is about fifty times slower
_NOTE = "lb in one process (lb.running), main thread: valgrind lacks what its supervisor needs"
_COUNTED: dict[str, Proxy] = {**PROXIES, "lb": LbEmbedded()}
_TOTALS = re.compile(r"^(?:summary|totals): (\d+)", re.M)


def parse_totals(text: str) -> int:
    """Return the instructions that a callgrind dump holds."""
    found = _TOTALS.search(text)
    if not found:
        raise BenchError("callgrind: a dump without totals")
    return int(found[1])


def without_open_calls(text: str) -> str:
    """Drop the calls that were under way when the dump began.

    They are written as `calls=0` with the cost of all that ran below them, and
    callgrind_annotate takes that for the caller's own: main() would be 100 %.
    """
    return re.sub(r"^calls=0 .*\n.*\n", "", text, flags=re.M)


def count(name: str, scenario: Scenario, requests: int, keep: Path | None) -> dict[str, Any]:
    """Return instructions per request of the process of proxy `name` that carries the load."""
    limit = idle.fd_limit()
    with Stage() as stage:
        _backend, server = start_backend(stage, limit, scenario.servers)
        wrap = (
            need("valgrind", "apt-get install valgrind"),
            "--tool=callgrind",
            "--trace-children=yes",
            f"--callgrind-out-file={stage.directory}/callgrind.%p",
            "--dump-instr=no",
            "--separate-threads=yes",
        )
        # valgrind keeps descriptors for itself and refuses a process that asks for all.
        process, port = start_proxy(stage, _COUNTED[name], scenario, server, limit - 1000, wrap)
        before = tree_cpu(process.pid)
        _send(scenario, port, requests)
        spent = tree_cpu(process.pid)
        worker = max(spent.ns, key=lambda pid: spent.ns[pid] - before.ns.get(pid, 0))
        once = _counted(stage, process, worker, scenario, port, requests, None)
        twice = _counted(stage, process, worker, scenario, port, 2 * requests, keep)
    return {"instructions": round((twice - once) / requests, 1), "requests": requests}


def _send(scenario: Scenario, port: int, requests: int) -> None:
    if _closes(scenario):
        # h2load does not open a connection for each request.
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for size in pool.map(lambda _: _ask_once(scenario, port), range(requests)):
                if size != scenario.size:
                    raise BenchError(f"callgrind: a reply of {size} bytes, expected {scenario.size}")
        return
    seen = load.h2load_count(scenario, port, requests, _CLIENTS, _PATIENCE)
    if seen.refused or seen.requests != requests:
        raise BenchError(f"callgrind: {seen.requests} of {requests} requests: {seen.refused}")


def _ask_once(scenario: Scenario, port: int) -> int:
    """Ask on a connection of its own; return the size of the reply's body."""
    fields = "".join(f"{header}\r\n" for header in scenario.headers)
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as s:
        s.sendall(f"GET {scenario.path} HTTP/1.1\r\nHost: bench\r\n{fields}\r\n".encode())
        reply = bytearray()
        while piece := s.recv(1 << 16):
            reply += piece
    return len(bytes(reply).partition(b"\r\n\r\n")[2])


def _counted(
    stage: Stage,
    process: Process,
    worker: int,
    scenario: Scenario,
    port: int,
    requests: int,
    keep: Path | None,
) -> int:
    _control(process, worker, "--zero")
    _send(scenario, port, requests)
    main_thread = f"callgrind.{worker}.*-01"
    known = set(stage.directory.glob(main_thread))
    _control(process, worker, "--dump")
    dumps = set(stage.directory.glob(main_thread)) - known
    if len(dumps) != 1:
        raise BenchError(f"callgrind: expected one new dump of process {worker}, found {len(dumps)}")
    dump = dumps.pop()
    text = dump.read_text(errors="replace")
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{process.name}-{scenario.name}.callgrind").write_text(without_open_calls(text))
    return parse_totals(text)


def _control(process: Process, worker: int, order: str) -> None:
    done = subprocess.run(
        ["callgrind_control", order, str(worker)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode != 0 or "Error" in done.stdout + done.stderr:
        raise BenchError(f"callgrind_control {order}: {done.stdout}{done.stderr}\n{process.says()}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.callgrind",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", default=[], metavar="SCENARIO")
    parser.add_argument("--peers", default=",".join(USUAL))
    parser.add_argument("--requests", type=int, default=2000, help="N (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the profiles")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args(argv)
    peers = options.peers.split(",")
    scenarios = options.scenarios or ["h1", "h1-browser", "tcp"]
    usable = [name for name, s in SCENARIOS.items() if s.kind == "load" and s.mode != "udp" and not s.script]
    for given, known in ((peers, list(PROXIES)), (scenarios, usable)):
        for name in given:
            if name not in known:
                parser.error(f"unknown name {name!r}; expected one of {', '.join(known)}")
    end_on_signals()
    pin_self(LOAD_CORE)
    try:
        with one_at_a_time():
            result = record.header(
                "callgrind",
                {name: PROXIES[name].version() for name in peers},
                {"scenarios": scenarios, "requests": options.requests, "note": _NOTE},
            )
            result["peers"] = {name: {} for name in peers}
            for scenario in scenarios:
                for name in peers:
                    if not can(PROXIES[name], SCENARIOS[scenario]):
                        continue
                    found = count(name, SCENARIOS[scenario], options.requests, options.keep)
                    result["peers"][name][scenario] = found
                    print(f"{scenario:12} {name:12} {found['instructions']:10,.0f} instructions a request")
    except BenchError as error:
        print(f"callgrind: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("callgrind: interrupted; everything it started was stopped", file=sys.stderr)
        return 130
    if not options.no_save and set(USUAL) <= set(peers):
        print(f"saved {record.save(result, options.out).name}")
        if options.out == record.RESULTS:
            render.main([])
    return 0


def _closes(scenario: Scenario) -> bool:
    return any("close" in header for header in scenario.headers)


if __name__ == "__main__":
    raise SystemExit(main())
