"""Responses of a hostile or broken server: 502 before the head went out, a visible cut after it, never another's bytes."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.stage import Stage

pytestmark = pytest.mark.ours

OK = "HTTP/1.1 200 OK\r\n"

BAD_HEADS: dict[str, str] = {
    "closed at once": "",
    "cut in the status line": "HTTP/1.1 20",
    "cut in the head": OK + "Content-Len",
    "not HTTP": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/0.9": "<html>hello</html>",
    "version 2.0": "HTTP/2.0 200 OK\r\n\r\n",
    "version 1.10": "HTTP/1.10 200 OK\r\n\r\n",
    "status of two digits": "HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": "HTTP/1.1 2000 OK\r\n\r\n",
    "status with letters": "HTTP/1.1 2x0 OK\r\n\r\n",
    "status below 100": "HTTP/1.1 099 Odd\r\n\r\n",
    "status plus": "HTTP/1.1 +200 OK\r\n\r\n",
    "two spaces": "HTTP/1.1  200 OK\r\n\r\n",
    "NUL in the reason": "HTTP/1.1 200 O\x00K\r\n\r\n",
    "length minus": OK + "Content-Length: -1\r\n\r\n",
    "length plus": OK + "Content-Length: +5\r\n\r\nhello",
    "length hex": OK + "Content-Length: 0x5\r\n\r\nhello",
    "length empty": OK + "Content-Length:\r\n\r\nhello",
    "length list differs": OK + "Content-Length: 5, 6\r\n\r\nhello",
    "length twice differs": OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length 2^64+5": OK + f"Content-Length: {2**64 + 5}\r\n\r\nhello",
    "coding unknown": OK + "Transfer-Encoding: gzip\r\n\r\nhello",
    "coding twice": OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": OK + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding in 1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": OK + "X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": OK + "X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "bare LF line ends": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "space before colon": OK + "Content-Length : 0\r\n\r\n",
    "no colon": OK + "Oops\r\nContent-Length: 0\r\n\r\n",
    "empty name": OK + ": x\r\nContent-Length: 0\r\n\r\n",
    "fold": OK + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "name outside token": OK + "X(: a\r\nContent-Length: 0\r\n\r\n",
    "too many fields": OK + "".join(f"X-{i}: 1\r\n" for i in range(110)) + "\r\n",
    "head too large": OK + "".join(f"X-{i}: {'v' * 1000}\r\n" for i in range(17)) + "\r\n",
    "interim responses without end": "HTTP/1.1 103 Early Hints\r\n\r\n" * 2000,
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_is_answered_with_502(stage: Stage, name: str) -> None:
    bad = BAD_HEADS[name].encode("latin-1")
    # POST: a response that never begins to a GET on a fresh connection is not retried either, but this leaves no doubt.
    server = stage.server(lambda c: (c.request(), c.send(bad)))
    stage.http(server)
    client = stage.client()
    client.send(ask(method="POST", body=b"x"))
    response = client.response("POST")
    assert response.status == 502
    assert b"X: " not in response.body
    assert len(server.connections) == 1
    server.wait_idle()


BAD_CHUNKS: dict[str, str] = {
    "size bad": "zz\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": "5\r\nhello\r\n10000000000000005\r\n",
    "data not ended": "5\r\nhelloXX0\r\n\r\n",
    "bare LF": "5\nhello\n0\n\n",
    "trailer bad": "5\r\nhello\r\n0\r\nbad\r\n\r\n",
    "cut in a chunk": "5\r\nhel",
    "cut before the last chunk": "5\r\nhello\r\n",
    "cut in the last chunk": "5\r\nhello\r\n0\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_bad_chunk_is_a_visible_cut(stage: Stage, name: str) -> None:
    text = OK + "Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name]
    server = stage.server(lambda c: (c.request(), c.send(text.encode("latin-1"))))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    client.wait_end()
    answer = bytes(client.received)
    # Even its head may be cut, when the client took it slowly.
    assert answer.startswith(b"HTTP/1.1 502") or b"HTTP/1.1 200".startswith(answer[:12])
    if not answer.startswith(b"HTTP/1.1 502"):
        assert not answer.endswith(b"0\r\n\r\n")
    server.wait_idle()


EXCESS: dict[str, bytes] = {
    "behind a length": reply(b"hello") + reply(b"poison"),
    "behind the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    + reply(b"poison"),
    "behind 204": b"HTTP/1.1 204 No Content\r\n\r\n" + reply(b"poison"),
    "behind 304": b"HTTP/1.1 304 Not Modified\r\n\r\npoison",
    "a length on 204": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison",
}


@pytest.mark.parametrize("name", EXCESS)
def test_excess_bytes_are_never_anothers_answer(stage: Stage, name: str) -> None:
    """Response queue poisoning: what a server says too much closes its connection."""
    excess = EXCESS[name]
    server = stage.server(lambda c: (c.request(), c.send(excess if c.number == 0 else reply(b"clean")), c.wait_end()))
    stage.http(server)
    one, two = stage.client(), stage.client()
    assert b"poison" not in one.get().body
    response = two.get()
    assert response.body == b"clean"
    assert len(server.connections) == 2
    assert b"poison" not in one.read_available()


def test_a_body_on_an_answer_to_head_never_reaches_anyone(stage: Stage) -> None:
    poison = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    server = stage.server(lambda c: (c.request(), c.send(poison if c.number == 0 else reply(b"clean")), c.wait_end()))
    stage.http(server)
    client = stage.client()
    assert client.get(method="HEAD").status == 200
    assert client.get().body == b"clean"
    assert len(server.connections) == 2


def test_bytes_on_an_idle_server_connection_close_it(stage: Stage) -> None:
    def script(connection):
        connection.request()
        connection.send(reply(b"first"))
        if connection.number == 0:
            # Only once the first exchange is over for the client, so that these come while the connection is idle.
            server.wait(lambda s: s.told, "the client to have its answer")
            connection.send(reply(b"poison"))
        connection.wait_end()

    server = stage.server()
    server.told = False
    server.script = script
    stage.http(server)
    client = stage.client()
    assert client.get().body == b"first"
    with server._changed:
        server.told = True
        server._changed.notify_all()
    server.wait(lambda s: s.connections[0].closed.is_set(), "the connection to be closed")
    assert client.get().body == b"first"
    assert len(server.connections) == 2
