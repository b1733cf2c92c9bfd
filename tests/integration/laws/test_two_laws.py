"""The two laws of the design: ordinary requests cost no Python, and the control plane cannot touch traffic."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from kit.client import Client
from kit.deadline import eventually
from kit.inprocess import InProcessPlane
from kit.message import ask
from kit.server import Connection
from kit.stage import Stage
from kit.wire import READ

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUESTS = 10_000
STOPPED_S = 10


def answer_everything(connection: Connection) -> None:
    """Answer as fast as Python can: one piece of bytes for every request that has come whole."""
    rest = b""
    while True:
        data = connection.sock.recv(READ)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\r\n\r\n")
        connection.sock.sendall(ANSWER * len(whole))


def pipeline(client: Client, requests: int) -> None:
    """Send all requests at once and read all answers."""
    sender = threading.Thread(target=client.send, args=(ask("/") * requests,))
    sender.start()
    left = requests * (len(ANSWER))
    while left > 0:
        data = client.sock.recv(READ)
        assert data, "closed early"
        left -= len(data)
    sender.join()
    assert left == 0


class Calls:
    """Counts every call that Python makes in the engine's thread."""

    def __init__(self) -> None:
        self.total = 0
        self.by_name: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.total += 1
            self.by_name[getattr(argument, "__name__", frame.f_code.co_name)] += 1


def test_a_request_that_meets_no_policy_costs_no_python(tmp_path: Path) -> None:
    calls = Calls()
    stage = Stage(InProcessPlane(), tmp_path)
    try:
        server = stage.server(answer_everything)
        threading.setprofile(calls)
        try:
            stage.http(server)
        finally:
            threading.setprofile(None)
        # One request at a time: each wakes the engine twice or more.
        one = stage.client()
        for _ in range(500):
            pipeline(one, 1)
        slow_calls, slow_wakes = calls.total, calls.by_name["poll"]
        # Many at a time: a wake-up carries the requests of many connections.
        threads = [threading.Thread(target=pipeline, args=(stage.client(), REQUESTS // 50)) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fast_calls, fast_wakes = calls.total - slow_calls, calls.by_name["poll"] - slow_wakes
        eventually(lambda: stage.proxy.counters("web")["req_total"] == 500 + REQUESTS, "all requests to be counted")
        # Every Python call belongs to a wake-up (one poll each): the loop's own few, whatever a step carried.
        assert fast_wakes < REQUESTS
        assert fast_calls / fast_wakes <= slow_calls / slow_wakes * 1.5, (calls.by_name, fast_wakes, slow_wakes)
    finally:
        stage.close()


def test_a_stopped_supervisor_slows_no_request(daemon: Stage) -> None:
    server = daemon.server(answer_everything)
    lb = daemon.http(server, workers=2)
    workers = lb.workers()
    clients = [daemon.client() for _ in range(4)]

    def latencies(seconds: float) -> list[float]:
        measured: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for client in clients:
                start = time.perf_counter()
                pipeline(client, 1)
                measured.append(time.perf_counter() - start)
        return measured

    usual = latencies(STOPPED_S / 5)
    os.kill(lb.process.pid, signal.SIGSTOP)
    try:
        stopped = latencies(STOPPED_S)
    finally:
        os.kill(lb.process.pid, signal.SIGCONT)
    # What the machine itself delays, it delays at any time: so the bounds are wide. A supervisor that mattered would
    # hold every request up, or one of them for all of the ten seconds.
    assert statistics.median(stopped) <= statistics.median(usual) * 3 + 0.002
    assert max(stopped) <= max(usual) * 10 + 0.5
    # And the workers are not taken for dead because their judge was away.
    after = latencies(STOPPED_S / 5)
    assert len(after) > 0
    assert lb.workers() == workers
