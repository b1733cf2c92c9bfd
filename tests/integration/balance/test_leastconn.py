"""leastconn, random and backups with real connections, over workers and over their deaths."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server
from kit.settings import relay
from kit.stage import Stage, weighted


def greeting(stage: Stage, *names: str) -> list[Server]:
    """Start TCP servers that say their name and keep the connection."""

    def greet(connection: Connection, name: str) -> None:
        connection.send(name.encode())
        connection.read_to_end()

    return [stage.server(partial(greet, name=name)) for name in names]


def hello(stage: Stage) -> tuple[Client, str]:
    """Connect; return the connection, which stays open, and who answered."""
    client = stage.client()
    return client, client.read(1).decode()


def test_the_server_with_the_fewest_connections_is_next(stage: Stage) -> None:
    stage.tcp(*greeting(stage, "a", "b", "c"), backend={"balance": "leastconn"})
    open_ = [hello(stage) for _ in range(9)]
    assert Counter(name for _, name in open_) == {"a": 3, "b": 3, "c": 3}
    for client, name in open_:
        if name == "b":
            client.close()
    eventually(lambda: Counter(hello_again(stage))["b"] >= 2, "connections to b")


def hello_again(stage: Stage) -> list[str]:
    """Return who answers three more connections, which end at once."""
    found = [hello(stage) for _ in range(3)]
    for client, _ in found:
        client.close()
    return [name for _, name in found]


def test_weights_are_shares_of_connections(stage: Stage) -> None:
    a, b = greeting(stage, "a", "b")
    stage.tcp(weighted(a, 1), weighted(b, 3), backend={"balance": "leastconn"})
    assert Counter(hello(stage)[1] for _ in range(12)) == {"a": 3, "b": 9}


def test_short_requests_take_turns(stage: Stage) -> None:
    stage.http(*(stage.server(reply(name.encode())) for name in "abc"), backend={"balance": "leastconn"})
    client = stage.client()
    answers = [client.get().body for _ in range(9)]
    assert answers == answers[:3] * 3
    assert len(set(answers)) == 3


@pytest.mark.ours
def test_connections_are_counted_over_workers_and_their_deaths(daemon: Stage) -> None:
    daemon.tcp(*greeting(daemon, "a", "b", "c"), backend={"balance": "leastconn"}, workers=4)
    assert isinstance(daemon.proxy, Lb)
    daemon.proxy.expect_stderr(r"lb: error: worker \d+ \(pid \d+\) was ended by SIGKILL")
    held = [hello(daemon) for _ in range(24)]
    assert Counter(name for _, name in held) == {"a": 8, "b": 8, "c": 8}
    workers = daemon.proxy.workers()
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: set(daemon.proxy.workers()) - set(workers), "another worker in its place")
    alive = Counter(name for client, name in held if not has_ended(client))
    # What the dead one held is nobody's any more: new connections fill the gaps exactly.
    total = sum(alive.values())
    fresh = Counter(hello(daemon)[1] for _ in range(3 * max(alive.values()) - total))
    assert alive + fresh == dict.fromkeys("abc", max(alive.values()))


def has_ended(client: Client) -> bool:
    """Whether the other side has closed or reset."""
    client.sock.setblocking(False)
    try:
        return client.sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.sock.setblocking(True)


def test_random_uses_every_server(stage: Stage) -> None:
    stage.tcp(*greeting(stage, "a", "b", "c"), backend={"balance": {"algorithm": "random", "draws": 3}})
    counted = Counter(hello(stage)[1] for _ in range(60))
    assert set(counted) == set("abc")
    # The best of three drawn is never far from the fewest.
    assert max(counted.values()) - min(counted.values()) <= 12


@pytest.mark.parametrize("balance", ["roundrobin", "static-rr", "leastconn", "random", "source", "uri"])
def test_backups_wait_until_nobody_else_is_usable(stage: Stage, balance: str) -> None:
    a, b, c = (stage.server(reply(name)) for name in (b"a", b"b", b"c"))
    backend = {"balance": balance}
    stage.http(
        weighted(a, 1), {"address": b.text, "backup": True}, {"address": c.text, "backup": True}, backend=backend
    )
    client = stage.client()
    assert {client.get(f"/{i}").body for i in range(8)} == {b"a"}


@pytest.mark.parametrize(("all_backups", "found"), [(False, {b"b"}), (True, {b"b", b"c"})])
def test_the_first_backup_or_all_of_them(stage: Stage, all_backups: bool, found: set[bytes]) -> None:
    a, b, c = (stage.server(reply(name)) for name in (b"a", b"b", b"c"))
    stage.http(
        weighted(a, 0),
        {"address": b.text, "backup": True},
        {"address": c.text, "backup": True},
        backend={"allbackups": all_backups},
    )
    client = stage.client()
    assert {client.get().body for _ in range(8)} == found


@pytest.mark.ours
def test_connections_count_over_reloads(daemon: Stage) -> None:
    """From roundrobin to leastconn with one more server: who has the fewest connections gets the next ones."""
    a, b, c = greeting(daemon, "a", "b", "c")
    before = relay("tcp", weighted(a, 1, "a"), weighted(b, 1, "b"), workers=2)
    lb = daemon.start(before)
    assert isinstance(lb, Lb)
    held = [hello(daemon) for _ in range(8)]
    assert Counter(name for _, name in held) == {"a": 4, "b": 4}
    servers = (weighted(a, 1, "a"), weighted(b, 1, "b"), weighted(c, 1, "c"))
    lb.expect_stderr(r"lb: reloaded, generation 2, \d+ ms")
    lb.write(relay("tcp", *servers, workers=2, backend={"balance": "leastconn"}))
    assert lb.admin("reload").startswith("Success=1")
    assert {hello(daemon)[1] for _ in range(4)} == {"c"}
    # The old generation's connections end: their servers are next.
    for client, name in held:
        if name == "b":
            client.close()
    eventually(lambda: hello_again(daemon).count("b") == 3, "the ends of the connections to b")
