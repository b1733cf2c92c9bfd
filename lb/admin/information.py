"""`show info`: what concerns the whole process, under HAProxy's names.

HAProxy-only notions that a tool insists on have the value that is true of lb: there is one process as its tools see it,
and it reads `Name: HAProxy` because haproxyadmin and others refuse any other name. Limits that lb does not have are 0,
which is how HAProxy writes that there is none.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import lb
from lb._speedups.face.engine import PIPES_MAX
from lb.admin.process import Process
from lb.supervisor.limits import maxconn_possible

RELEASE_DATE = "2026/11/22"


MIB = 1 << 20


@dataclass
class Load:
    """What only the workers know, added up."""

    runnable: int = 0  # connections with work that is known and not done
    tasks: int = 0  # connections and streams
    pipes_used: int = 0
    pipes_free: int = 0
    allocated: int = 0  # bytes in pools, used or kept for use
    used: int = 0
    failed: int = 0  # times that a pool had nothing to give


def load_of(answers: Mapping[int, object]) -> Load:
    """Return the sum of what workers answered to the question "load"."""
    load = Load()
    for answer in answers.values():
        assert isinstance(answer, dict)
        load.runnable += answer["runnable"]
        for name, pool in answer["pools"].items():
            if name == "pipe":
                # Descriptors: what they hold is the kernel's memory.
                load.pipes_used += pool["live"]
                load.pipes_free += pool["cached"]
                continue
            if name in ("link", "stream"):
                load.tasks += pool["live"]
            load.allocated += (pool["live"] + pool["cached"]) * pool["size"]
            load.used += pool["live"] * pool["size"]
            load.failed += pool["failed"]
    return load


def lines(process: Process, load: Load) -> Iterator[str]:
    """Yield `Name: value` lines. No value contains a colon: Datadog's check splits at every one."""
    for name, value in fields(process, load).items():
        yield f"{name}: {value}\n"


def fields(process: Process, load: Load) -> dict[str, int | str]:
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
        "PoolAlloc_MB": load.allocated // MIB,
        "PoolUsed_MB": load.used // MIB,
        "PoolFailed": load.failed,
        "Ulimit-n": process.descriptor_limit,
        "Maxsock": process.descriptor_limit,
        "Maxconn": part.maxconn or possible,
        "Hard_maxconn": part.maxconn or possible,
        "CurrConns": connections,
        "CumConns": sum(front["conn_total"] for front in fronts),
        "CumReq": sum(front["req_total"] for front in fronts),
        "Maxpipes": PIPES_MAX * part.workers,
        "PipesUsed": load.pipes_used,
        "PipesFree": load.pipes_free,
        "ConnRate": process.rates.connections.now,
        "ConnRateLimit": 0,
        "MaxConnRate": process.rates.connections.maximum,
        "Tasks": load.tasks,
        "Run_queue": load.runnable,
        "Idle_pct": process.rates.idle_percent,
        "node": socket.gethostname().replace(":", "_"),
        "Stopping": int(process.is_stopping),
        "Jobs": connections + len(part.binds),
        "Listeners": len(part.binds),
        "DroppedLogs": sum(front["log_dropped"] for front in fronts) + process.dropped_logs,
        "TotalBytesOut": sum(front["bytes_out"] for front in fronts),
        "Build info": lb.__version__,
        "PoolAlloc_bytes": load.allocated,
        "PoolUsed_bytes": load.used,
        "Start_time_sec": int(process.started),
    }


def mirrors(process: Process) -> dict[str, object]:
    """Return what `show mirrors` says: copies of requests by the frontends they come from and the backends they go to."""
    generation = process.generation
    assert generation is not None
    part = generation.part
    targets = {name for frontend in part.frontends for name in frontend.mirrors}

    def counted(name: str, number: int) -> dict[str, object]:
        counters = process.mapping.counters(generation.oid(number))
        return {"name": name, "mirrored": counters["mirrored"], "dropped": counters["mirror_dropped"]}

    return {
        "frontends": [
            {**counted(each.name, each.object), "to": list(each.mirrors)} for each in part.frontends if each.mirrors
        ],
        "backends": [counted(each.name, each.object) for each in part.backends if each.name in targets],
    }


def uptime_text(seconds: int) -> str:
    """Return a time as HAProxy writes it: `0d 0h00m04s`."""
    return f"{seconds // 86400}d {seconds // 3600 % 24}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
