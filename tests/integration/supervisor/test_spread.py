"""Connections are spread evenly over workers, whatever they come in by and whatever has happened before."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.daemon import Lb, descriptors_of
from kit.deadline import DEADLINE, eventually
from kit.message import ask
from kit.settings import LOOPBACK, Settings, relay
from kit.stage import Stage
from kit.wire import family_of

pytestmark = pytest.mark.ours


def start(stage: Stage, bind: str, workers: int = 4) -> Lb:
    """Start lb with a frontend that answers everything itself and keeps connections."""
    proxy = stage.start(settings(bind, workers))
    assert isinstance(proxy, Lb)
    return proxy


def settings(bind: str, workers: int) -> Settings:
    """Write its configuration."""
    made = relay("http", "127.0.0.1:1", workers=workers, timeouts={"http_keep_alive": "5m", "http_request": "5m"})
    web = made["frontends"]["web"]
    web["bind"] = [{"address": bind, "name": "bind"}]
    web["routes"] = [{"match": {"path": "/nowhere"}, "to": "app"}]
    del web["default_backend"]
    return made


@contextlib.contextmanager
def connected(lb: Lb, count: int, burst: int) -> Iterator[None]:
    """Hold so many connections, made in bursts; each has had one request."""
    with contextlib.ExitStack() as held:
        address = lb.addresses["web"][0]
        left = count
        while left:
            made = []
            for _ in range(min(burst, left)):
                sock = held.enter_context(socket.socket(family_of(address)))
                sock.settimeout(DEADLINE)
                eventually(lambda sock=sock: sock.connect_ex(address) != 11, "room in the queue")
                sock.sendall(ask("/"))
                made.append(sock)
            for sock in made:
                assert sock.recv(4096).startswith(b"HTTP/1.1 404 ")
            left -= len(made)
        yield


def sockets(lb: Lb) -> dict[int, int]:
    """Return how many sockets each worker holds."""
    return {pid: descriptors_of(pid)["socket"] for pid in lb.workers()}


def check_even(before: dict[int, int], after: dict[int, int], count: int, tolerance: float) -> None:
    """Demand that each worker got its share."""
    got = {pid: held - before[pid] for pid, held in after.items()}
    assert sum(got.values()) == count
    mean = count / len(got)
    assert all(abs(each - mean) <= tolerance * mean for each in got.values()), got


def test_ten_thousand_connections(daemon: Stage) -> None:
    count = 10_000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < count + 200:
        pytest.skip(f"ulimit -n is below {count + 200}")
    lb = start(daemon, LOOPBACK)
    before = sockets(lb)
    with connected(lb, count, 100):
        # The kernel chooses by a hash: 10 % are 5.8 standard deviations.
        check_even(before, sockets(lb), count, 0.10)


@pytest.mark.parametrize("burst", [1, 64, 500])
def test_a_socket_that_all_workers_share(daemon: Stage, tmp_path: Path, burst: int) -> None:
    lb = start(daemon, f"unix@{tmp_path}/web.sock")
    before = sockets(lb)
    with connected(lb, 2000, burst):
        check_even(before, sockets(lb), 2000, 0.10)


def test_a_new_worker_catches_up_on_a_shared_socket(daemon: Stage, tmp_path: Path) -> None:
    lb = start(daemon, f"unix@{tmp_path}/web.sock", workers=2)
    lb.expect_stderr("worker .* ended by SIGKILL")
    before = sockets(lb)
    with connected(lb, 400, 20):
        check_even(before, sockets(lb), 400, 0.15)
        dead = lb.workers()[0]
        os.kill(dead, signal.SIGKILL)
        eventually(lambda: dead not in lb.workers() and len(lb.workers()) == 2, "another worker")
        (new,) = set(lb.workers()) - set(before)
        eventually(lambda: sockets(lb)[new] == before[dead], "the new worker to listen")
        rest = sockets(lb)
        with connected(lb, 200, 20):
            got = {pid: held - rest[pid] for pid, held in sockets(lb).items()}
            assert got[new] > 150, got
    lb.rest()


def test_a_stopped_worker_is_not_waited_for(daemon: Stage, tmp_path: Path) -> None:
    lb = start(daemon, f"unix@{tmp_path}/web.sock", workers=2)
    stopped = lb.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        with connected(lb, 300, 1):
            pass
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_after_a_reload_with_fewer_workers_and_with_more(daemon: Stage) -> None:
    lb = start(daemon, LOOPBACK, workers=3)
    lb.expect_stderr("reloaded, generation")
    for workers in (2, 3, 1, 4):
        lb.write(settings(LOOPBACK, workers))
        assert lb.admin("reload").startswith("Success=1")
        eventually(lambda workers=workers: len(lb.workers()) == workers, f"{workers} workers")
        before = sockets(lb)
        with connected(lb, 2000, 50):
            # 15 % of 500 are 3.9 standard deviations, of 1,000 they are 6.7.
            check_even(before, sockets(lb), 2000, 0.16)
        eventually(lambda before=before: sockets(lb) == before, "the end of the connections")
    lb.rest()
