"""Forked children that share a mapping with the test, and may die in the middle of something."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable


def start(run: Callable[[], object]) -> int:
    """Run a function in a forked child and return its pid. It exits 0, or 1 with the traceback on stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int) -> None:
    """Wait for a child that must exit 0."""
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def together(*runs: Callable[[], object]) -> None:
    """Run each in a child of its own, all at once; all must exit 0."""
    pids = [start(run) for run in runs]
    for pid in pids:
        finish(pid)


def die_at(point: str, run: Callable[[], object]) -> None:
    """Run a function in a child that must die at this kill point (debug builds)."""

    def run_to_death() -> None:
        os.environ["LB_KILL_AT"] = point
        run()

    _, status = os.waitpid(start(run_to_death), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"did not reach '{point}'"


def abort_in(run: Callable[[], object]) -> None:
    """Run a function in a child that must abort on an invariant (debug builds)."""

    def run_to_abort() -> None:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
        run()

    _, status = os.waitpid(start(run_to_abort), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGABRT
