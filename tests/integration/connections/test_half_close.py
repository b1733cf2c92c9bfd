"""`half_close: false` in mode tcp: the first end of a direction ends both."""

from __future__ import annotations

import pytest
from kit.server import Connection
from kit.stage import Stage

pytestmark = pytest.mark.ours

WHOLE: dict[str, object] = {"frontend": {"half_close": False}}


def test_the_server_s_end_ends_both(stage: Stage) -> None:
    body = b"x" * 300_000

    def script(connection: Connection) -> None:
        connection.read_exactly(2)
        connection.send(body)

    server = stage.server(script)
    stage.tcp(server, **WHOLE)
    client = stage.client()
    client.send(b"go")
    assert client.read_to_end() == body
    # Nobody waits for the client's end.
    record = stage.record()
    assert (record.state, record.bytes) == ("--", len(body))


def test_the_client_s_end_ends_both(stage: Stage) -> None:
    ended = []

    def script(connection: Connection) -> None:
        while data := connection.read():
            ended.append(data)

    server = stage.server(script)
    stage.tcp(server, **WHOLE)
    client = stage.client()
    client.send(b"bye")
    client.half_close()
    server.wait(lambda s: s.connections and s.connections[0].closed.is_set(), "the server's connection to end")
    assert b"".join(ended) == b"bye"
    assert client.read() == b""
    assert stage.record().state == "--"


def test_everything_sent_before_the_end_arrives(stage: Stage) -> None:
    """Also to a receiver that is slower than the one who has ended."""
    body = bytes(range(256)) * (stage.bulk // 1024)
    got = bytearray()

    def script(connection: Connection) -> None:
        while data := connection.read():
            got.extend(data)

    server = stage.server(script, receive_buffer=4096)
    stage.tcp(server, **WHOLE)
    client = stage.client()
    client.send(body)
    client.half_close()
    server.wait(lambda s: s.connections and s.connections[0].closed.is_set(), "the server's connection to end")
    assert bytes(got) == body
