"""How many idle server connections are kept, and how long."""

from __future__ import annotations

import gc
import resource
import socket
import time
from pathlib import Path

import pytest
from kit.client import Client
from kit.deadline import eventually
from kit.message import ask, reply
from kit.server import Connection, Script, Server
from kit.settings import Settings, relay
from kit.stage import Stage

from tests.integration.relay.conftest import Still

pytestmark = pytest.mark.ours


def open_of(server: Server) -> list[Connection]:
    return [connection for connection in server.connections if not connection.closed.is_set()]


def gate(count: int) -> Script:
    """Answer when this many connections have a request each, so that each needs one of its own; then always."""

    def script(connection: Connection) -> None:
        while True:
            connection.request()
            connection.server.wait(lambda s: len(s.requests) >= count, f"waits for {count} requests")
            connection.send(reply(b"hello"))

    return script


def at_once(stage: Stage, count: int, **options: str) -> list[Client]:
    """Send as many requests at the same time, one a client, and take the answers."""
    clients = [stage.client(**options) for _ in range(count)]
    for client in clients:
        client.send(ask())
    for client in clients:
        assert client.response().body == b"hello"
    return clients


def pooled(stage: Stage, count: int, pool: Settings, **options: object) -> Server:
    server = stage.server(gate(count))
    stage.http(server, backend={"pool": pool}, **options)
    at_once(stage, count)
    return server


def test_no_more_than_max_idle_are_kept(stage: Stage) -> None:
    server = pooled(stage, 8, {"max_idle": 3})
    eventually(lambda: len(open_of(server)) == 3, "three connections to be left")
    assert stage.client().get().body == b"hello"
    assert len(server.connections) == 8


def test_with_max_idle_0_none_is_kept(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"pool": {"max_idle": 0}})
    client = stage.client()
    for _ in range(3):
        assert client.get().body == b"hello"
    server.wait_idle()
    assert len(server.connections) == 3


def test_those_used_last_are_kept(stage: Stage) -> None:
    server = stage.server(gate(3))
    stage.http(server, backend={"pool": {"max_idle": 1}})
    at_once(stage, 3)
    eventually(lambda: len(open_of(server)) == 1, "one to be left")
    (left,) = open_of(server)
    before = len(left.requests)
    stage.client().get()
    assert len(left.requests) == before + 1


def test_an_idle_connection_is_closed_in_time(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"pool": {"idle_timeout": "300ms"}})
    client = stage.client()
    client.get()
    begin = time.monotonic()
    server.wait_idle()
    assert time.monotonic() - begin > 0.2
    client.get()
    assert len(server.connections) == 2


def test_a_connection_carries_max_requests(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"pool": {"max_requests": 3}})
    client = stage.client()
    for _ in range(7):
        client.get()
    assert [len(c.requests) for c in server.connections] == [3, 3, 1]
    # Its server is told with the last.
    assert [r.values("connection") for r in server.requests] == [[], [], [b"close"]] * 2 + [[]]


def test_a_connection_that_is_old_carries_no_more(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"pool": {"max_age": "400ms"}})
    client = stage.client()
    client.get()
    # Used all the time, so it is its age that ends it, at a request or while it rests.
    eventually(lambda: client.get().status == 200 and len(server.connections) > 1, "another connection")
    server.wait(lambda s: s.connections[0].closed.is_set(), "the first to be closed")
    assert len(server.connections[0].requests) > 1


def test_servers_may_say_otherwise(stage: Stage) -> None:
    one, other = stage.server(), stage.server()
    stage.http({"address": one.text, "pool": {"max_requests": 1}}, other, backend={"pool": {"max_requests": 3}})
    client = stage.client()
    for _ in range(6):
        client.get()
    assert [len(s.connections) for s in (one, other)] == [3, 1]


def test_the_limit_of_all_servers_takes_the_oldest(stage: Stage) -> None:
    servers = [stage.server() for _ in range(4)]
    settings = relay("http", *(s.text for s in servers))
    settings["global"]["max_idle"] = 2
    stage.start(settings)
    client = stage.client()
    for _ in range(4):
        client.get()
    eventually(lambda: sum(len(open_of(s)) for s in servers) == 2, "two connections to be left")
    assert [len(open_of(s)) for s in servers] == [0, 0, 1, 1]


def test_idle_connections_are_at_most_a_quarter_of_the_descriptors(stage: Stage) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = stage.server(gate(60))
    resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
    try:
        stage.http(server)  # the engine asks for the limit now
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    at_once(stage, 60)
    eventually(lambda: len(open_of(server)) == 40, "a quarter of 160 to be left")


def descriptors() -> set[int]:
    """Return the numbers in use; looking through /proc takes one more while it looks."""
    listed = {int(each.name) for each in Path("/proc/self/fd").iterdir()}
    return {each for each in listed if Path(f"/proc/self/fd/{each}").exists()}


def test_an_idle_connection_makes_room_for_a_new_one(still: Still) -> None:
    """Without a free descriptor, the connection that has rested longest is closed, and the request goes on."""
    old = still.server()
    # Accepted by hand below: a thread's accept() would meet the limit too.
    new = socket.create_server(("127.0.0.1", 0))
    still.defer(new.close)
    settings = relay("http", old.text)
    settings["frontends"]["web"]["routes"] = [{"match": {"path": "/new"}, "to": "other"}]
    settings["backends"]["other"] = {"servers": [{"name": "new", "address": f"127.0.0.1:{new.getsockname()[1]}"}]}
    still.start(settings)
    client = still.client()
    client.get()
    client.send(ask("/new")[:-2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # garbage with descriptors would make room later
    taken = descriptors()
    try:
        # Every number below the limit is taken.
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), hard))
        client.send(b"\r\n")
        old.wait(lambda s: s.connections[0].closed.is_set(), "the idle connection to be closed")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sock, _ = new.accept()
    with sock:
        sock.recv(4096)
        sock.sendall(reply(b"new"))
        assert client.response().body == b"new"
    assert still.proxy.counters("other/new")["connects"] == 1
    assert still.proxy.counters("other/new")["err_conn"] == 0


def test_workers_divide_a_limit(daemon: Stage) -> None:
    """Three for four workers: one each for three of them."""
    server = daemon.server(gate(24))
    daemon.http(server, backend={"pool": {"max_idle": 3}}, workers=4)
    at_once(daemon, 24)
    eventually(lambda: len(open_of(server)) <= 3, "at most three to be left")
    for _ in range(20):
        assert daemon.client().get().body == b"hello"
    eventually(lambda: len(open_of(server)) <= 3, "at most three to be left")
