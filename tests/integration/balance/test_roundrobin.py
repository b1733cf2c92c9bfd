"""roundrobin: in turn, in exact proportion to weights, over any number of workers."""

from __future__ import annotations

from collections import Counter

import pytest
from kit.message import reply
from kit.server import Server
from kit.stage import Stage, weighted


def named(stage: Stage, *names: str) -> list[Server]:
    """Start servers that answer with their names."""
    return [stage.server(reply(name.encode())) for name in names]


def ask_many(stage: Stage, count: int, connections: int = 1) -> list[str]:
    """Send requests over so many connections in turn, and return who answered."""
    clients = [stage.client() for _ in range(connections)]
    return [clients[i % connections].get().body.decode() for i in range(count)]


@pytest.mark.smoke
def test_servers_take_turns(stage: Stage) -> None:
    stage.http(*named(stage, "a", "b", "c"))
    answers = ask_many(stage, 12)
    assert sorted(answers[:3]) == ["a", "b", "c"]
    assert answers[:3] * 4 == answers


@pytest.mark.parametrize("weights", [(1, 2, 3), (5, 1, 1), (10, 7), (256, 1)])
def test_weights_are_exact_over_a_round(stage: Stage, weights: tuple[int, ...]) -> None:
    servers = named(stage, *"abc"[: len(weights)])
    stage.http(*(weighted(server, weight) for server, weight in zip(servers, weights, strict=True)))
    counted = Counter(ask_many(stage, sum(weights)))
    assert [counted[name] for name in "abc"[: len(weights)]] == list(weights)


def test_weights_are_spread_out_and_not_in_runs(stage: Stage) -> None:
    a, b = named(stage, "a", "b")
    stage.http(weighted(a, 2), weighted(b, 1))
    answers = "".join(ask_many(stage, 30))
    assert "aaa" not in answers
    assert "bb" not in answers


def test_weight_zero_gets_nothing(stage: Stage) -> None:
    a, b = named(stage, "a", "b")
    stage.http(weighted(a, 1), weighted(b, 0))
    assert set(ask_many(stage, 10)) == {"a"}
    assert not b.connections


def test_turns_go_by_requests_and_not_by_connections(stage: Stage) -> None:
    stage.http(*named(stage, "a", "b"))
    answers = ask_many(stage, 20, connections=5)
    assert Counter(answers) == {"a": 10, "b": 10}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_weights_are_exact_over_workers(daemon: Stage, workers: int) -> None:
    """Connections are spread over workers by the kernel; turns are common to all."""
    a, b, c = named(daemon, "a", "b", "c")
    daemon.http(weighted(a, 1), weighted(b, 2), weighted(c, 3), workers=workers)
    assert Counter(ask_many(daemon, 60, connections=20)) == {"a": 10, "b": 20, "c": 30}


@pytest.mark.parametrize("workers", [2, 4])
def test_tcp_connections_are_shared_exactly_over_workers(daemon: Stage, workers: int) -> None:
    servers = [daemon.server(lambda c, n=name: c.send(n)) for name in (b"a", b"b")]
    daemon.tcp(*servers, workers=workers)
    assert Counter(daemon.client().read_to_end() for _ in range(40)) == {b"a": 20, b"b": 20}
