"""What a reload, a drain and the death of a worker do to idle server connections."""

from __future__ import annotations

import copy
import os
import signal

import pytest
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import ask
from kit.server import Server
from kit.settings import Settings, relay
from kit.stage import Stage

from tests.integration.connections.test_pool import at_once, gate, open_of
from tests.integration.relay.conftest import Still

pytestmark = pytest.mark.ours


def with_pool(still: Still, count: int, **pool: object) -> tuple[Server, Settings]:
    """Leave so many idle connections to one server."""
    server = still.server(gate(count))
    settings = relay("http", server.text, backend={"pool": pool})
    still.start(settings)
    at_once(still, count)
    return server, settings


def changed(settings: Settings, **backend: object) -> Settings:
    settings = copy.deepcopy(settings)
    settings["backends"]["app"] |= backend
    return settings


def idle(still: Still) -> int:
    return still.proxy.counters("app/s1")["idle"]


def test_lower_limits_are_applied_at_once(still: Still) -> None:
    server, settings = with_pool(still, 8)
    eventually(lambda: idle(still) == 8, "eight idle connections")
    still.proxy.reload(changed(settings, pool={"max_idle": 5}))
    eventually(lambda: len(open_of(server)) == 5, "three to be closed")
    settings["global"]["max_idle"] = 2
    still.proxy.reload(settings)
    eventually(lambda: len(open_of(server)) == 2, "three more to be closed")
    still.proxy.reload(changed(settings, pool={"max_idle": 0}))
    server.wait_idle()
    assert idle(still) == 0


def test_higher_limits_too(still: Still) -> None:
    server, settings = with_pool(still, 4, max_idle=1)
    eventually(lambda: len(open_of(server)) == 1, "three to be closed")
    still.proxy.reload(changed(settings, pool={"max_idle": 3}))
    server.requests.clear()
    at_once(still, 4)
    eventually(lambda: len(open_of(server)) == 3, "three to be left")


def test_a_shorter_time_counts_for_those_that_are_there(still: Still) -> None:
    server, settings = with_pool(still, 3)
    still.proxy.reload(changed(settings, pool={"idle_timeout": "50ms"}))
    server.wait_idle()


def test_a_request_limit_counts_what_was_carried(still: Still) -> None:
    server = still.server()
    settings = relay("http", server.text)
    still.start(settings)
    client = still.client()
    for _ in range(5):
        client.get()
    still.proxy.reload(changed(settings, pool={"max_requests": 3}))
    client.get()
    client.get()
    assert [len(c.requests) for c in server.connections] == [6, 1]


@pytest.mark.parametrize(
    "change",
    [{"source": "127.0.0.5"}, {"interface": "lo"}, {"mss": 1200}, {"tcp_keepalive": True}, {"user_timeout": "9s"}],
    ids=lambda change: next(iter(change)),
)
def test_connections_made_in_another_way_are_not_kept(still: Still, change: Settings) -> None:
    server, settings = with_pool(still, 2)
    still.proxy.reload(settings)
    assert still.client().get().body == b"hello"
    assert len(server.connections) == 2
    still.proxy.reload(changed(settings, **change))
    server.wait_idle()
    assert still.client().get().body == b"hello"
    assert len(server.connections) == 3


def test_connections_of_one_client_are_looked_at_too(still: Still) -> None:
    server = still.server()
    settings = relay("http", server.text, backend={"http_reuse": "never"})
    still.start(settings)
    client = still.client()
    client.get()
    still.proxy.reload(settings)
    client.get()
    assert len(server.connections) == 1
    still.proxy.reload(changed(settings, source="127.0.0.5"))
    server.wait_idle()
    assert client.get().body == b"hello"
    assert server.connections[1].peer[0] == "127.0.0.5"


def test_a_client_that_owns_connections_may_leave_in_the_middle(still: Still) -> None:
    def script(connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        connection.request()
        connection.wait_end()

    server = still.server(script)
    other = still.server()
    still.http(server, other, backend={"http_reuse": "never"})
    client = still.client()
    client.get()
    client.get()
    client.send(ask())
    server.wait_requests(2)
    client.close()
    server.wait_idle()
    other.wait_idle()


def test_a_drain_closes_idle_connections(daemon: Stage) -> None:
    server = daemon.server()
    proxy = daemon.http(server)
    assert isinstance(proxy, Lb)
    daemon.client().get()
    assert open_of(server)
    daemon.clients[0].close()
    proxy.stop()
    server.wait_idle()


def test_a_dead_worker_s_connections_are_not_counted_any_more(daemon: Stage) -> None:
    server = daemon.server()
    proxy = daemon.http(server)
    assert isinstance(proxy, Lb)
    daemon.client().get()

    def idle_shown() -> str:
        rows = [line.split(",") for line in proxy.admin("show stat").splitlines()]
        (row,) = [row for row in rows[1:] if row[:2] == ["app", "s1"]]
        return row[rows[0].index("srv_icur")]

    eventually(lambda: idle_shown() == "1", "the idle connection to be shown")
    (before,) = proxy.workers()
    proxy.expect_stderr("worker")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: idle_shown() == "0", "it to be gone")
    server.wait_idle()
    eventually(lambda: len(proxy.workers()) == 1 and proxy.workers() != [before], "another worker")
    proxy.rest()
    assert daemon.client().get().body == b"hello"
