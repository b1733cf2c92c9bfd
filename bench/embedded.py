#!/usr/bin/env python3
"""Serve a configuration by `lb.running` until SIGTERM or SIGINT: lb without supervisor and worker processes.

For valgrind, which does not know pidfd_open(2), by which the supervisor waits for its children. The data plane is the
same: one engine, one loop, the log ring and the thread that empties it.

    .venv/bin/python -P bench/embedded.py lb.yaml
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import uvloop

import lb


async def serve(path: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with lb.running(path):
        gc.disable()  # as in a worker
        await ended.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1]))
