"""What a log record costs, to its worker and to the supervisor: `python -m bench.micro.log`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.micro.timing import report
from lb._speedups.face.logdrain import LogDrain
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.micro_log import Line, Producer
from lb._speedups.face.plan import build
from lb.config import compile  # noqa: A004
from lb.config.logformat import FIELDS

SECONDS = 3


def thread_ns() -> int:
    """CPU nanoseconds of the log thread so far."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text() == "lb-log\n":
            return int((task / "schedstat").read_text().split()[0])
    raise RuntimeError("there is no log thread")


def produce(producer: Producer, rate: int) -> None:
    """Write `rate` records a second, a batch each millisecond."""
    begin = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - begin) < SECONDS:
        due = int(passed * rate)
        producer.write(due - sent)
        sent = due
        time.sleep(0.001)


def drain(name: str, target: str, rate: int) -> None:
    mapping = Mapping.create()
    mapping.reserve(1)
    producer = Producer(mapping, 1, Line("json").text())
    thread = LogDrain(mapping, [target])
    thread.flush()
    pid = os.fork()
    if pid == 0:
        produce(producer, rate)
        os._exit(0)
    before = thread_ns()
    os.waitpid(pid, 0)
    thread.flush()
    used = thread_ns() - before
    stats = thread.stats()
    thread.stop()
    lost = stats["refused"] + stats["dropped"]
    print(
        f"drain to {name}, {rate}/s".ljust(40),
        f"{used / stats['records']:10.1f} ns a record ({used / SECONDS / 1e7:.2f} % of a core, {lost} lost)",
    )


def image_of(log: dict[str, object]) -> bytes:
    """A plan image whose only log is this one."""
    compiled = compile(
        {
            "version": 1,
            "global": {"log": [{"to": "stdout", **log}]},
            "frontends": {"web": {"bind": [":80"], "default_backend": "app"}},
            "backends": {"app": {"servers": ["10.0.0.1:80"]}},
        }
    )
    return build(1, compiled.rows, list(range(1, len(compiled.objects) + 1)), [64])


def main() -> None:
    for form in ("http", "tcp", "json"):
        line = Line(form)  # type: ignore[arg-type]
        report(f"{form} line of {len(line.text())} bytes", line.write)
    programs: dict[str, dict[str, object]] = {
        "http by a log_format": {"log_format": "http"},
        "json by fields": {"fields": list(FIELDS)},
    }
    for name, log in programs.items():
        line = Line("program", image_of(log))
        report(f"{name}, {len(line.text())} bytes", line.write)
    mapping = Mapping.create()
    mapping.reserve(1)
    producer = Producer(mapping, 1, Line("json").text())
    report("record through a ring", producer.pass_through)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for rate in (50_000, 5_000):
            drain("file", f"{folder}/access.log", rate)
    # The pipe is this process' own stdout, so its lines go to stderr's place for a while.
    sys.stdout.flush()
    kept = os.dup(1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        assert reader.stdin is not None
        thread_out = os.dup(reader.stdin.fileno())
        reader.stdin.close()
        os.dup2(thread_out, 1)
        os.close(thread_out)
        sys.stdout = os.fdopen(kept, "w", closefd=False)
        drain("pipe", "stdout", 50_000)
        sys.stdout.flush()
        os.dup2(kept, 1)


if __name__ == "__main__":
    main()
