"""Bytes both ways, and the ends of connections kept apart."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest
from kit.client import Client
from kit.deadline import wait_for
from kit.server import Connection, echoing
from kit.stage import Stage
from kit.wire import Reset


@pytest.mark.smoke
def test_what_goes_in_comes_back(stage: Stage) -> None:
    stage.tcp(stage.server(echoing))
    client = stage.client()
    for size in (1, 2, 100, 4096, 16384, 16385, 100_000):
        data = random.Random(size).randbytes(size)
        client.send(data)
        assert client.read_exactly(size) == data
    client.half_close()
    assert client.read_to_end() == b""


def test_a_server_may_speak_first(stage: Stage) -> None:
    stage.tcp(stage.server(lambda c: (c.send(b"220 ready\r\n"), c.wait_end())))
    client = stage.client()
    assert client.read_exactly(11) == b"220 ready\r\n"


def test_a_connection_is_a_connection(stage: Stage) -> None:
    """Nothing is pooled: a client's end is the server's end, and the next client gets another connection."""
    server = stage.server(echoing)
    stage.tcp(server)
    for i in range(5):
        client = stage.client()
        client.send(b"x")
        client.read_exactly(1)
        client.close()
        server.wait(lambda s, i=i: len(s.connections) == i + 1 and s.connections[i].closed.is_set(), "the end")


def test_the_clients_end_leaves_the_other_way_open(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        assert connection.read_to_end() == b"question"
        connection.send(b"answer" * 1000)

    stage.tcp(stage.server(script))
    client = stage.client()
    client.send(b"question")
    client.half_close()
    assert client.read_to_end() == b"answer" * 1000


def test_the_servers_end_leaves_the_other_way_open(stage: Stage) -> None:
    seen = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(b"bye")
        connection.half_close()
        assert connection.read_to_end() == b"still talking" * 1000
        seen.set()

    stage.tcp(stage.server(script))
    client = stage.client()
    assert client.read_to_end() == b"bye"
    client.send(b"still talking" * 1000)
    client.half_close()
    wait_for(seen, "the server to read the rest")


def test_an_empty_connection_ends_cleanly(stage: Stage) -> None:
    server = stage.server(echoing)
    stage.tcp(server)
    client = stage.client()
    client.half_close()
    assert client.read_to_end() == b""


@pytest.mark.smoke
def test_large_transfers_keep_every_byte_both_ways(stage: Stage) -> None:
    up = random.Random(1).randbytes(stage.bulk)
    down = random.Random(2).randbytes(stage.bulk)
    digests = []

    def script(connection: Connection) -> None:
        sender = threading.Thread(target=lambda: (connection.send(down), connection.half_close()))
        sender.start()
        digests.append(hashlib.sha256(connection.read_to_end()).digest())
        sender.join()

    server = stage.server(script)
    stage.tcp(server)
    client = stage.client()
    sender = threading.Thread(target=lambda: (client.send(up), client.half_close()))
    sender.start()
    assert hashlib.sha256(client.read_to_end()).digest() == hashlib.sha256(down).digest()
    sender.join()
    server.wait_idle()
    assert digests == [hashlib.sha256(up).digest()]


def test_many_connections_at_once_stay_apart(stage: Stage) -> None:
    stage.tcp(stage.server(echoing))
    clients = [stage.client() for _ in range(30)]
    sizes = [1 + 997 * i for i in range(len(clients))]
    for i, client in enumerate(clients):
        client.send(random.Random(i).randbytes(sizes[i]))
    for i, client in reversed(list(enumerate(clients))):
        assert client.read_exactly(sizes[i]) == random.Random(i).randbytes(sizes[i])


def test_a_reader_that_stops_holds_the_sender_back_and_loses_nothing(stage: Stage) -> None:
    size = 64 << 20
    sent = 0
    go = threading.Event()
    digest = hashlib.sha256()

    def script(connection: Connection) -> None:
        wait_for(go, "the client to be held back")
        while data := connection.read():
            digest.update(data)

    server = stage.server(script, receive_buffer=4096)
    stage.tcp(server)
    client = stage.client()
    block = random.Random(3).randbytes(1 << 20)
    ours = hashlib.sha256()
    while client.writable(0.3):
        taken = client.send_some(block)
        ours.update(block[:taken])
        sent += taken
        assert sent < size, "everything was taken, nothing was read"
    assert sent < 32 << 20
    go.set()
    client.half_close()
    server.wait_idle()
    assert digest.digest() == ours.digest()


def test_a_reset_of_the_client_reaches_the_server(stage: Stage) -> None:
    ends: list[str] = []

    def script(connection: Connection) -> None:
        connection.send(connection.read_exactly(1))
        try:
            connection.read_to_end()
            ends.append("end")
        except Reset:
            ends.append("reset")

    server = stage.server(script)
    stage.tcp(server)
    client = stage.client()
    client.send(b"x")
    client.read_exactly(1)
    client.reset()
    server.wait_idle()
    assert len(ends) == 1


def test_a_reset_of_the_server_reaches_the_client(stage: Stage) -> None:
    stage.tcp(stage.server(lambda c: (c.read_exactly(1), c.reset())))
    client = stage.client()
    client.send(b"x")
    client.expect_end()


def test_a_reset_while_bytes_are_on_their_way_ends_both(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        try:
            connection.send(bytes(50 << 20))
        except Reset:
            return
        raise AssertionError("everything was taken, nobody was there")

    server = stage.server(script)
    stage.tcp(server)
    client = stage.client()
    client.read_exactly(100_000)
    client.reset()
    server.wait_idle()


def test_a_server_that_refuses_ends_the_connection(stage: Stage) -> None:
    stage.tcp(stage.refused().text, retries=0)
    client = stage.client()
    client.expect_end()


def test_another_server_takes_over_when_one_refuses(stage: Stage) -> None:
    server = stage.server(echoing)
    stage.tcp(stage.refused().text, server)
    for _ in range(4):
        client = stage.client()
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"


def test_unix_sockets_serve_on_both_sides(stage: Stage) -> None:
    path = str(stage.directory / "server.sock")
    server = stage.server(echoing, address=path)
    stage.tcp({"address": f"unix@{path}"})
    client = stage.client()
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"
    assert server.connections


def test_ipv6_serves_on_both_sides(stage: Stage) -> None:
    server = stage.server(echoing, address=("::1", 0))
    stage.tcp(server, frontend={"bind": [{"address": "[::1]:0"}]})
    client = Client(stage.address())
    stage.clients.append(client)
    client.send(b"hello")
    assert client.read_exactly(5) == b"hello"


def test_the_log_counts_what_was_carried(stage: Stage) -> None:
    stage.tcp(stage.server(lambda c: (c.read_exactly(5), c.send(b"x" * 1000))))
    client = stage.client()
    client.send(b"hello")
    assert len(client.read_to_end()) == 1000
    client.close()
    record = stage.record()
    assert (record.frontend, record.backend, record.server) == ("web", "app", "s1")
    assert (record.state, record.bytes) == ("--", 1000)
    assert len(record.timers) == 3
    assert min(record.timers) >= 0
