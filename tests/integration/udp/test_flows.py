"""Datagrams that nobody answers: syslog. No sessions; each is balanced alone."""

from __future__ import annotations

import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from kit.datagram_stage import DNS, at, counters, serve, settings
from kit.datagrams import Server, client, echoing, refused_port, silent
from kit.deadline import eventually
from kit.inprocess import InProcess, InProcessPlane
from kit.settings import Settings
from kit.stage import Stage

ONE_WAY = {"udp": {"responses": 0}}


def collectors(stage: Stage, count: int) -> list[Server]:
    return serve(stage, *(Server(silent, name=f"s{i}") for i in range(1, count + 1)))


def lines(servers: list[Server]) -> int:
    return sum(len(each.seen) for each in servers)


def test_lines_go_to_all_servers_in_turn(net: Stage) -> None:
    servers = collectors(net, 3)
    net.start(settings(servers, ONE_WAY))
    with client(at(net)) as c:
        for i in range(300):
            c.send(b"<134>line %d" % i)
            if i % 30 == 29:  # what is in flight stays within the queues
                eventually(lambda i=i: lines(servers) == i + 1, f"{i + 1} lines")
        assert [len(each.seen) for each in servers] == [100, 100, 100]
        assert all(len(each.peers) == 1 for each in servers)
        c.hears_nothing(0.05)
    got = counters(net, "dns")
    assert (got["datagrams_in"], got["datagrams_dropped"], got["conn_total"], got["cur"]) == (300, 0, 0, 0)
    assert got["bytes_in"] == sum(len(data) for each in servers for data, _ in each.seen)
    assert counters(net, "resolvers/s1")["datagrams_in"] == 100
    assert net.proxy.log_lines() == []
    end(net)


def end(stage: Stage) -> None:
    """Close the sockets to the servers: a reload that has others."""
    assert isinstance(stage.proxy, InProcess)
    other = settings(["127.0.0.1:9"])
    stage.proxy.reload(other)


def test_source_keeps_a_machines_lines_together_and_in_order(net: Stage) -> None:
    servers = collectors(net, 3)
    net.start(settings(servers, {**ONE_WAY, "balance": {"algorithm": "source", "type": "consistent"}}))
    for i in range(2, 12):
        with client(at(net), source=f"127.0.0.{i}") as c:
            for n in range(20):
                c.send(b"%d %d" % (i, n))
    eventually(lambda: lines(servers) == 200, "all lines")
    for server in servers:
        machines: dict[bytes, list[int]] = {}
        for data, _ in server.seen:
            machine, number = data.split()
            machines.setdefault(machine, []).append(int(number))
        assert all(numbers == list(range(20)) for numbers in machines.values())
    assert sum(bool(server.seen) for server in servers) > 1
    end(net)


def test_what_a_server_says_goes_to_nobody(net: Stage) -> None:
    server = Server(lambda data: [b"thanks"])
    serve(net, server)
    net.start(settings([server], ONE_WAY))
    with client(at(net)) as c:
        for _ in range(20):
            c.send(b"line")
        server.wait(20)
        eventually(lambda: counters(net, "resolvers/s1")["datagrams_dropped"] == 20, "the drops")
        c.hears_nothing(0.05)
    end(net)


def test_a_refusing_collector_is_avoided(net: Stage) -> None:
    alive = Server(silent, name="s2")
    serve(net, alive)
    net.start(settings([f"127.0.0.1:{refused_port()}", alive.text], ONE_WAY))
    with client(at(net)) as c:
        c.send(b"lost")
        eventually(lambda: counters(net, "resolvers/s1")["err_conn"] == 1, "the refusal")
        for _ in range(30):
            c.send(b"line")
        alive.wait(30)
    assert counters(net, "dns")["datagrams_dropped"] == 0
    end(net)


def test_when_all_collectors_refuse_what_is_lost_is_counted_and_it_goes_on(net: Stage) -> None:
    port = refused_port()
    net.start(settings([f"127.0.0.1:{port}"], ONE_WAY))
    with client(at(net)) as c:
        for _ in range(50):
            c.send(b"line")
        eventually(lambda: counters(net, "dns")["datagrams_in"] == 50, "the lines")
        eventually(lambda: counters(net, "resolvers/s1")["err_conn"] > 0, "a refusal")
        server = Server(silent, port=port)
        serve(net, server)
        c.send(b"now")
        eventually(lambda: (b"now",) in [(data,) for data, _ in server.seen], "the line")
    end(net)


class Calls:
    """Counts the calls that Python makes in the engine's thread."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        self.total += event in ("call", "c_call")


@pytest.mark.parametrize("backend", [ONE_WAY, DNS])
def test_datagrams_cost_no_python(tmp_path: Path, backend: Settings) -> None:
    """Law 1: Python is entered per wake-up. Datagrams that come together are one or a few of these."""
    calls = Calls()
    stage = Stage(InProcessPlane(), tmp_path)
    try:
        server = Server(silent if backend is ONE_WAY else echoing)
        serve(stage, server)
        threading.setprofile(calls)
        try:
            stage.start(settings([server], backend, {"log": False}))
        finally:
            threading.setprofile(None)
        assert isinstance(stage.proxy, InProcess)
        before = calls.total
        clients = [client(at(stage)) for _ in range(100)]
        opened = [each.__enter__() for each in clients]
        for i in range(20):
            with stage.proxy.halted():
                for each in opened:
                    each.send(b"x")
            eventually(lambda i=i: counters(stage, "resolvers/s1")["datagrams_in"] == 100 * (i + 1), "the burst")
            if backend is DNS:
                assert [each.receive() for each in opened] == [b"x"] * 100
        for each in clients:
            each.__exit__(None, None, None)
        used = calls.total - before
        assert used < 2000 * (1 if backend is ONE_WAY else 4), f"{used} calls for 2,000 datagrams"
        if backend is ONE_WAY:
            end(stage)
    finally:
        stage.close()


def test_bounded_sessions_without_answers(net: Stage) -> None:
    """`responses: 0` with `requests`: a client keeps its server for so many datagrams."""
    servers = collectors(net, 2)
    net.start(settings(servers, {"udp": {"responses": 0, "requests": 4}}))
    with client(at(net)) as c:
        for i in range(12):
            c.send(b"%d" % i)
        eventually(lambda: lines(servers) == 12, "the lines")
    assert [int(data) for data, _ in servers[0].seen] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert [int(data) for data, _ in servers[1].seen] == [4, 5, 6, 7]
    assert {each.state for each in net.records(3)} == {"--"}
