"""Where server connections come from: address, ports, interface; and options of their sockets."""

from __future__ import annotations

import socket
import struct

import pytest
from kit.message import ask, reply
from kit.server import Connection, Server
from kit.stage import Stage

from tests.integration.connections.descriptors import sockets_of
from tests.integration.relay.conftest import Still

pytestmark = pytest.mark.ours

SOURCE = "127.0.0.77"


def free_ports(count: int) -> int:
    """Return the first of so many ports in a row of SOURCE that nobody uses, below those the kernel chooses from."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])
    for first in range(lowest - 50 * count, 5000, -count):
        held: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                sock = socket.socket()
                held.append(sock)
                sock.bind((SOURCE, port))
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
        return first
    raise AssertionError("no free ports")


def held_open(count: int) -> object:
    """Answer when this many connections have a request each."""

    def script(connection: Connection) -> None:
        while True:
            connection.request()
            connection.server.wait(lambda s: len(s.requests) >= count, f"waits for {count} requests")
            connection.send(reply(b"hello"))

    return script


def peers(server: Server) -> list[tuple[str, int]]:
    return [connection.peer for connection in server.connections]


@pytest.mark.smoke
def test_connections_come_from_the_source(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"source": SOURCE})
    assert stage.client().get().body == b"hello"
    assert [host for host, _ in peers(server)] == [SOURCE]


def test_a_server_may_have_a_source_of_its_own(stage: Stage) -> None:
    one, other = stage.server(), stage.server()
    stage.http({"address": one.text, "source": "127.0.0.78"}, other, backend={"source": SOURCE})
    client = stage.client()
    client.get()
    client.get()
    assert (peers(one)[0][0], peers(other)[0][0]) == ("127.0.0.78", SOURCE)


def test_tcp_connections_too(stage: Stage) -> None:
    server = stage.server(lambda c: c.send(c.read_exactly(4)))
    stage.tcp(server, backend={"source": SOURCE})
    client = stage.client()
    client.send(b"ping")
    assert client.read_exactly(4) == b"ping"
    assert peers(server)[0][0] == SOURCE


def test_an_ipv6_source(stage: Stage) -> None:
    server = stage.server(address=("::1", 0))
    first = free_ports(4)
    stage.http(server, backend={"source": f"[::1]:{first}-{first + 3}"})
    assert stage.client().get().body == b"hello"
    host, port = server.connections[0].peer[:2]
    assert (host, first <= port <= first + 3) == ("::1", True)


def test_ports_are_of_the_range_and_each_is_used_once(stage: Stage) -> None:
    first = free_ports(8)
    server = stage.server(held_open(8))
    stage.http(server, backend={"source": f"{SOURCE}:{first}-{first + 7}"})
    clients = [stage.client() for _ in range(8)]
    for client in clients:
        client.send(ask())
    for client in clients:
        assert client.response().body == b"hello"
    assert sorted(port for _, port in peers(server)) == list(range(first, first + 8))


def test_a_range_that_is_used_up_is_a_failed_connection(stage: Stage) -> None:
    """And a port that is free again is used again."""
    first = free_ports(2)
    server = stage.server(held_open(2))
    stage.http(server, backend={"source": f"{SOURCE}:{first}-{first + 1}", "pool": {"max_idle": 0}}, retries=0)
    clients = [stage.client() for _ in range(3)]
    clients[0].send(ask())
    server.wait_requests(1)
    # The third finds no port; the second then lets all go on.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free = ({first, first + 1} - {port for _, port in peers(server)}).pop()
        taken.bind((SOURCE, free))
        taken.connect(server.address)
        assert clients[2].get().status == 503
        # Closed with a reset: a pair of addresses in TIME_WAIT is not given out for a second.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    clients[1].send(ask())
    for client in clients[:2]:
        assert client.response().body == b"hello"
    assert {port for _, port in peers(server)} == {first, first + 1}


def test_a_port_in_use_toward_another_server_is_used(stage: Stage) -> None:
    first = free_ports(1)
    one, other = stage.server(held_open(1)), stage.server(held_open(1))
    stage.http(one, other, backend={"source": f"{SOURCE}:{first}"})
    client = stage.client()
    assert client.get().body == client.get().body == b"hello"
    assert peers(one) == peers(other) == [(SOURCE, first)]


def test_workers_share_a_range(daemon: Stage) -> None:
    first = free_ports(16)
    server = daemon.server(held_open(16))
    daemon.http(server, backend={"source": f"{SOURCE}:{first}-{first + 15}"}, workers=3)
    clients = [daemon.client() for _ in range(16)]
    for client in clients:
        client.send(ask())
    for client in clients:
        assert client.response().body == b"hello"
    assert sorted(port for _, port in peers(server)) == list(range(first, first + 16))


def test_an_address_that_is_not_ours_is_a_failed_connection(stage: Stage) -> None:
    """Not one from another address: who asks for a source relies on it."""
    server = stage.server()
    stage.http(server, backend={"source": "192.0.2.1"}, retries=0)
    assert stage.client().get().status == 503
    assert server.connections == []
    assert stage.record().state == "SC"


def test_an_interface(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"interface": "lo"})
    assert stage.client().get().body == b"hello"


def test_an_interface_that_is_not_there_is_a_failed_connection(stage: Stage) -> None:
    server = stage.server()
    stage.http(server, backend={"interface": "nosuch0"}, retries=0)
    assert stage.client().get().status == 503
    assert server.connections == []


def test_options_are_those_of_the_socket(still: Still) -> None:
    server, plain = still.server(), still.server()
    still.http(
        {
            "address": server.text,
            "mss": 1200,
            "user_timeout": "12s",
            "interface": "lo",
            "tcp_keepalive": {"idle": "61s", "interval": "11s", "count": 7},
        },
        plain,
    )
    client = still.client()
    client.get()
    client.get()
    with sockets_of(server.address) as (sock,):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1200
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [61, 11, 7]
    with sockets_of(plain.address) as (sock,):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 1200
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_fast_open_serves_requests(stage: Stage) -> None:
    """Whether the kernel has a cookie of the server or not."""
    server = stage.server()
    stage.http(server, backend={"tfo": True, "pool": {"max_idle": 0}})
    for _ in range(3):
        client = stage.client()
        assert client.get().body == b"hello"
        assert client.get(method="POST", body=b"x" * 20_000).body == b"hello"
    assert len(server.connections) == 6


def test_fast_open_to_a_server_that_refuses_goes_to_another(stage: Stage) -> None:
    server = stage.server()
    stage.http(stage.refused().text, server, backend={"tfo": True})
    client = stage.client()
    for _ in range(4):
        assert client.get().body == b"hello"


def test_fast_open_to_a_server_that_has_gone_goes_to_another(stage: Stage) -> None:
    """The kernel has its cookie, so the request is on its way before anybody refuses it."""
    gone, server = stage.server(), stage.server()
    stage.http(gone, server, backend={"tfo": True, "pool": {"max_idle": 0}})
    client = stage.client()
    for _ in range(4):
        assert client.get().body == b"hello"
    gone.close()
    for _ in range(4):
        assert client.get().body == b"hello"
    assert len(server.requests) == 6
