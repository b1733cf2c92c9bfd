"""Bodies both ways: every framing, every size, and what bounds them."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest
from kit.deadline import eventually, wait_for
from kit.message import Ended, Truncated, ask, chunked, reply
from kit.server import Connection
from kit.stage import Stage
from kit.wire import Reset

SIZES = [0, 1, 15, 16, 4095, 16383, 16384, 16385, 65536, 200_000]


def noise(size: int, seed: int = 1) -> bytes:
    """Make bytes that no compressor, cache or repeated buffer would forgive."""
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length_arrives_whole_both_ways(stage: Stage, size: int) -> None:
    body = noise(size)
    server = stage.server(lambda c: _repeat(c, lambda r: reply(r.body[::-1])))
    stage.http(server)
    client = stage.client()
    for _ in range(2):
        assert client.get(method="POST", body=body).body == body[::-1]


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body_arrives_whole_both_ways(stage: Stage, size: int) -> None:
    body = noise(size)
    pieces = [body[i : i + 7001] for i in range(0, size, 7001)]

    def answer(request):
        assert request.body == body
        return reply(b"", "Transfer-Encoding: chunked", length=False) + chunked(*pieces)

    server = stage.server(lambda c: _repeat(c, answer))
    stage.http(server)
    client = stage.client()
    for _ in range(2):
        client.send(ask("/", "Transfer-Encoding: chunked", method="PUT") + chunked(*pieces))
        assert client.response("PUT").body == body
    assert len(server.connections) == 1


@pytest.mark.smoke
def test_a_response_that_ends_with_the_connection_arrives_whole(stage: Stage) -> None:
    body = noise(100_000)
    server = stage.server(lambda c: (c.request(), c.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)))
    stage.http(server)
    client = stage.client()
    for _ in range(2):
        client.send(ask("/", "Connection: close"))
        response = client.response()
        assert response.body == body
        client.expect_end()
        client = stage.client()


def test_a_response_that_ends_with_the_connection_is_delimited_for_the_client(stage: Stage) -> None:
    server = stage.server(lambda c: (c.request(), c.send(b"HTTP/1.1 200 OK\r\n\r\nbody")))
    stage.http(server)
    client = stage.client()
    response = client.get()
    assert response.body == b"body"
    if response.value("transfer-encoding") is None:
        client.expect_end()
    else:
        assert client.get().body == b"body"


@pytest.mark.smoke
def test_large_bodies_keep_every_byte(stage: Stage) -> None:
    size = stage.bulk
    up, down = noise(size, 2), noise(size, 3)
    server = stage.server(
        lambda c: _repeat(c, lambda r: reply(down, f"X-Digest: {hashlib.sha256(r.body).hexdigest()}"))
    )
    stage.http(server)
    client = stage.client()
    sender = threading.Thread(target=client.send, args=(ask(method="POST", body=up),))
    sender.start()
    response = client.response("POST")
    sender.join()
    assert response.value("x-digest") == hashlib.sha256(up).hexdigest().encode()
    assert hashlib.sha256(response.body).digest() == hashlib.sha256(down).digest()


def test_large_chunked_bodies_keep_every_byte(stage: Stage) -> None:
    rng = random.Random(4)
    up = noise(stage.bulk // 4, 5)
    pieces = []
    at = 0
    while at < len(up):
        size = rng.choice([1, 2, 100, 4096, 16384, 70_000])
        pieces.append(up[at : at + size])
        at += size

    def echo(connection: Connection) -> None:
        connection.head()
        connection.send(reply(b"", "Transfer-Encoding: chunked", length=False))
        data = bytearray()
        while piece := connection.some_body():
            data += piece
        connection.send(chunked(*(bytes(data[i : i + 5000]) for i in range(0, len(data), 5000))))

    stage.http(stage.server(echo))
    client = stage.client()
    sender = threading.Thread(
        target=client.send, args=(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces),)
    )
    sender.start()
    response = client.response("POST")
    sender.join()
    assert response.body == up


def test_a_response_body_flows_before_it_is_complete(stage: Stage) -> None:
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"first", "Transfer-Encoding: chunked", length=False)[:-5] + b"5\r\nfirst\r\n")
        wait_for(go, "the client to have the first piece")
        connection.send(b"6\r\nsecond\r\n0\r\n\r\n")

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask())
    client.head()
    assert client.some_body(5) == b"first"
    go.set()
    assert client.body() == b"second"


def test_a_request_body_flows_before_it_is_complete(stage: Stage) -> None:
    seen = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        assert connection.some_body(5) == b"first"
        seen.set()
        assert connection.body() == b"second"
        connection.send(reply(b"ok"))

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", "Content-Length: 11", method="POST") + b"first")
    wait_for(seen, "the server to see the first piece")
    client.send(b"second")
    assert client.response("POST").body == b"ok"


def test_both_bodies_flow_at_the_same_time(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.send(reply(b"", "Transfer-Encoding: chunked", length=False))
        while piece := connection.some_body():
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST"))
    client.head()
    for i in range(20):
        client.send(b"4\r\n%04d\r\n" % i)
        back = b""
        while len(back) < 4:
            back += client.some_body()
        assert back == b"%04d" % i
    client.send(b"0\r\n\r\n")
    assert client.body() == b""


def test_a_slow_reader_holds_the_server_back(stage: Stage) -> None:
    """What lb holds for a client that does not read is bounded: the server cannot send it all."""
    size = 64 << 20
    stuck = threading.Event()
    sent = []

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = bytes(1 << 20)
        total = 0
        # The proxy may take some more a little later: it is full when a second look a moment later finds no room.
        while connection.writable(0.3):
            total += connection.send_some(block)
            assert total < size, "everything was taken from the server, nothing was read by the client"
        sent.append(total)
        stuck.set()
        connection.wait_end()

    server = stage.server(script)
    stage.http(server)
    client = stage.client(receive_buffer=4096)
    client.send(ask())
    client.head()
    wait_for(stuck, "the server to be held back")
    # Socket buffers of the kernel grow to 4 + 6 MiB on each side; what lb itself holds is small beside them.
    assert sent[0] < 32 << 20
    client.reset()
    server.wait_idle()


def test_a_slow_server_holds_the_client_back(stage: Stage) -> None:
    size = 64 << 20
    go = threading.Event()

    def script(connection: Connection) -> None:
        connection.head()
        wait_for(go, "the client to be held back")

    stage.http(stage.server(script, receive_buffer=4096))
    client = stage.client()
    client.send(ask("/", f"Content-Length: {size}", method="POST"))
    total = 0
    while client.writable(0.3):
        total += client.send_some(bytes(1 << 20))
        assert total < size, "everything was taken from the client, nothing was read by the server"
    assert total < 32 << 20
    client.reset()
    go.set()


@pytest.mark.smoke
def test_a_cut_response_stays_visible(stage: Stage) -> None:
    server = stage.server(lambda c: (c.request(), c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!")))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    with pytest.raises((Truncated, Ended, Reset)):
        client.response()
    assert b"HTTP/1.1 502" not in client.received


def test_a_cut_chunked_response_stays_visible(stage: Stage) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = stage.server(lambda c: (c.request(), c.send(head + b"5\r\nhello\r\n")))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    with pytest.raises((Truncated, Ended, Reset)):
        client.response()
    assert not client.received.endswith(b"0\r\n\r\n")


def test_a_cut_request_is_not_completed_for_the_server(stage: Stage) -> None:
    ended = []

    def script(connection: Connection) -> None:
        connection.head()
        try:
            connection.body()
        except (Truncated, Reset) as e:
            ended.append(e)

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
    server.wait_requests(1)
    client.close()
    server.wait_idle()
    assert len(ended) == 1


def test_a_client_that_leaves_cancels_its_request(stage: Stage) -> None:
    server = stage.server(lambda c: (c.request(), c.wait_end()))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    server.wait_requests(1)
    client.reset()
    server.wait_idle()


def test_a_client_that_leaves_in_the_middle_of_the_answer_cancels_it(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(Reset):
            connection.send_pieces(iter(lambda: bytes(100_000), None))

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    client.send(ask())
    client.head()
    client.some_body()
    client.close()
    server.wait_idle()


def test_the_next_stream_gets_nothing_of_a_cancelled_one(stage: Stage) -> None:
    """A server connection with an answer still to come is never used again."""

    def script(connection: Connection) -> None:
        request = connection.request()
        if request.target == "/slow":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsecret")
            connection.wait_end()
        else:
            connection.send(reply(b"clean"))

    server = stage.server(script)
    stage.http(server)
    client = stage.client()
    client.send(ask("/slow"))
    client.head()
    client.reset()
    eventually(server.connections[0].closed.is_set, "the server connection to be closed")
    assert stage.client().get("/fast").body == b"clean"
    assert len(server.connections) == 2


def _repeat(connection: Connection, answer) -> None:
    while True:
        connection.send(answer(connection.request()))
