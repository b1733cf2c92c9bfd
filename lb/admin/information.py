"""`show info`: what concerns the whole process, under HAProxy's names.

HAProxy-only notions that a tool insists on have the value that is true of lb: there is one process as its tools see it,
and it reads `Name: HAProxy` because haproxyadmin and others refuse any other name.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import lb
from lb.admin.process import Process
from lb.supervisor.limits import maxconn_possible

RELEASE_DATE = "2026/11/22"


def lines(process: Process) -> Iterator[str]:
    """Yield `Name: value` lines. No value contains a colon: Datadog's check splits at every one."""
    for name, value in fields(process).items():
        yield f"{name}: {value}\n"


def fields(process: Process) -> dict[str, int | str]:
    """Return names and values in HAProxy's order."""
    generation = process.generation
    assert generation is not None
    part = generation.part
    mapping = process.mapping
    fronts = [mapping.counters(generation.oid(frontend.object)) for frontend in part.frontends]
    possible = maxconn_possible(process.descriptor_limit, part) * max(1, part.workers)
    uptime = max(0, int(time.time() - process.started))
    connections = sum(front["cur"] for front in fronts)
    return {
        "Name": "HAProxy",
        "Version": lb.__version__,
        "Release_date": RELEASE_DATE,
        "Nbthread": part.workers,
        "Nbproc": 1,
        "Process_num": 1,
        "Pid": mapping.supervisor,
        "Uptime": uptime_text(uptime),
        "Uptime_sec": uptime,
        "Memmax_MB": 0,
        "Ulimit-n": process.descriptor_limit,
        "Maxsock": process.descriptor_limit,
        "Maxconn": part.maxconn or possible,
        "Hard_maxconn": part.maxconn or possible,
        "CurrConns": connections,
        "CumConns": sum(front["conn_total"] for front in fronts),
        "CumReq": sum(front["req_total"] for front in fronts),
        "Maxpipes": 0,
        "PipesUsed": 0,
        "PipesFree": 0,
        "ConnRate": process.rates.connections.now,
        "ConnRateLimit": 0,
        "MaxConnRate": process.rates.connections.maximum,
        "Tasks": connections,
        "Run_queue": 0,
        "Idle_pct": process.rates.idle_percent,
        "node": socket.gethostname().replace(":", "_"),
        "Stopping": int(process.is_stopping),
        "Jobs": connections + len(part.binds),
        "Listeners": len(part.binds),
        "DroppedLogs": sum(front["log_dropped"] for front in fronts),
        "TotalBytesOut": sum(front["bytes_out"] for front in fronts),
        "Build info": lb.__version__,
        "Start_time_sec": int(process.started),
    }


def uptime_text(seconds: int) -> str:
    """Return a time as HAProxy writes it: `0d 0h00m04s`."""
    return f"{seconds // 86400}d {seconds // 3600 % 24}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
