"""A stream holds two buffers and one message at most, however slow its peers are."""

from __future__ import annotations

import threading

import pytest
from kit.deadline import DEADLINE
from kit.inprocess import InProcess
from kit.message import ask, chunked, reply
from kit.stage import Stage

STREAMS = 8


def blocks_a_stream(stage: Stage) -> float:
    """Return how many blocks of 16 KiB a stream holds on average, now."""
    proxy = stage.proxy
    assert isinstance(proxy, InProcess)
    live = {name: pool["live"] for name, pool in proxy.ask(proxy.engine.pools).items()}
    return (live["message"] + live["buffer"] + live["pipe"] * 4) / max(live["stream"], 1)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_while_a_client_reads_slowly(stage: Stage, framing: str) -> None:
    body = b"x" * min(stage.bulk, 1 << 22)
    pieces = [body[i : i + 5000] for i in range(0, len(body), 5000)]
    answer = reply(body) if framing == "length" else (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*pieces))  # fmt: skip
    stage.http(stage.server(answer))
    clients = [stage.client(receive_buffer=4096) for _ in range(STREAMS)]
    for client in clients:
        client.send(ask("/"))
    worst = 0.0
    for _ in range(40):
        for client in clients:
            client.unread(client.read(2000))
        worst = max(worst, blocks_a_stream(stage))
    # A pipe stands for four blocks, of memory that is the kernel's.
    assert worst <= (5 if stage.plane.name == "tcp" and framing == "length" else 3)
    for client in clients:
        assert client.response().body == body


def test_while_a_server_reads_slowly(stage: Stage) -> None:
    body = b"x" * min(stage.bulk, 1 << 22)
    go = threading.Event()

    def script(connection):
        assert go.wait(DEADLINE)
        assert connection.request().body == body
        connection.send(reply(b"done"))

    stage.http(stage.server(script, receive_buffer=4096))
    clients = [stage.client() for _ in range(STREAMS)]
    text = ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(
        *(body[i : i + 5000] for i in range(0, len(body), 5000))
    )
    left = dict.fromkeys(clients, text)
    worst = 0.0
    for round_ in range(20):
        for client in clients:
            left[client] = left[client][client.send_some(left[client]) :]
        worst = max(worst, blocks_a_stream(stage))
        if round_ == 10:
            go.set()
    assert worst <= 3
    senders = [threading.Thread(target=client.send, args=(left[client],)) for client in clients]
    for sender in senders:
        sender.start()
    for client in clients:
        assert client.response("POST").body == b"done"
    for sender in senders:
        sender.join(DEADLINE)
