"""How streams end, as the log and the counters tell it: each end has one termination state."""

from __future__ import annotations

import pytest
from kit.message import ask, reply
from kit.server import Connection
from kit.stage import Stage


@pytest.mark.ours
@pytest.mark.smoke
def test_a_normal_exchange(stage: Stage) -> None:
    stage.http(stage.server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
    client = stage.client()
    client.get("/path?query")
    record = stage.record()
    assert (record.state, record.status, record.request) == ("--", 200, "GET /path?query HTTP/1.1")
    assert (record.frontend, record.backend, record.server) == ("web", "app", "s1")
    assert record.bytes == len(client.received)
    assert min(record.timers) >= 0
    assert record.client == f"{client.local[0]}:{client.local[1]}"
    assert record.retries == 0


def test_every_request_of_a_connection_has_a_record(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    client.send(b"".join(ask(f"/{i}") for i in range(10)))
    for _ in range(10):
        client.response()
    records = stage.records(10)
    assert [record.request for record in records] == [f"GET /{i} HTTP/1.1" for i in range(10)]
    assert len({record.client for record in records}) == 1


@pytest.mark.ours
def test_a_client_that_leaves_before_the_answer(stage: Stage) -> None:
    server = stage.server(lambda c: (c.head(), c.wait_end()))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    server.wait_requests(1)
    client.reset()
    record = stage.record()
    assert (record.state, record.status) == ("CH", -1)


def test_a_client_that_leaves_in_the_answer(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.wait_end()

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask())
    client.head()
    client.reset()
    record = stage.record()
    assert (record.state, record.status) == ("CD", 200)


def test_a_server_that_leaves_before_the_answer(stage: Stage) -> None:
    stage.http(stage.server(lambda c: c.request()))
    assert stage.client().get(method="POST", body=b"x").status == 502
    record = stage.record()
    assert (record.state, record.status) == ("SH", 502)


def test_a_server_that_leaves_in_the_answer(stage: Stage) -> None:
    server = stage.server(lambda c: (c.request(), c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")))
    stage.http(server)
    client = stage.client()
    client.send(ask())
    client.wait_end()
    record = stage.record()
    assert (record.state, record.status) == ("SD", 200)


@pytest.mark.ours
def test_a_server_that_answers_nonsense(stage: Stage) -> None:
    stage.http(stage.server(lambda c: (c.request(), c.send(b"nonsense\r\n\r\n"))))
    assert stage.client().get(method="POST", body=b"x").status == 502
    record = stage.record()
    assert (record.state, record.status) == ("PH", 502)


def test_no_server_to_connect_to(stage: Stage) -> None:
    stage.http(stage.refused().text, retries=0)
    stage.client().get()
    record = stage.record()
    assert (record.state, record.status, record.timers[2]) == ("SC", 503, -1)


def test_a_bad_request(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    client.wait_end()
    record = stage.record()
    assert (record.state, record.status, record.server) == ("PR", 400, "<NOSRV>")
    assert record.timers[0] == -1 or record.request == "<BADREQ>"


def test_a_client_that_leaves_in_its_head(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    client.send(b"GET / HT")
    client.half_close()
    client.wait_end()
    assert stage.record().state == "CR"


def test_an_upgrade(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.head_only()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello")

    stage.http(stage.server(script))
    client = stage.client()
    client.send(ask("/", "Connection: Upgrade", "Upgrade: test"))
    client.head(upgrade="test")
    assert client.read_to_end() == b"hello"
    client.close()
    record = stage.record()
    assert (record.state, record.status) == ("--", 101)


def test_what_the_client_sent_cannot_break_a_line(stage: Stage) -> None:
    stage.http(stage.server())
    client = stage.client()
    client.send(b'GET /"quoted"%0a HTTP/1.1\r\nHost: lb.test\r\n\r\n')
    client.response()
    record = stage.record()
    assert "\n" not in record.line
    assert record.request.startswith("GET /")


@pytest.mark.ours
def test_counters_agree_with_what_was_done(stage: Stage) -> None:
    server = stage.server(lambda c: [c.send(reply(b"x" * 100)) for _ in iter(c.request, None)])
    proxy = stage.http(server)
    client = stage.client()
    for _ in range(5):
        client.get()
    client.send(b"BAD\r\n\r\n")
    client.wait_end()
    stage.records(6)
    frontend, backend, one = (proxy.counters(name) for name in ("web", "app", "app/s1"))
    assert (frontend["conn_total"], frontend["req_total"], frontend["status_2xx"], frontend["status_4xx"]) == (
        1,
        6,
        5,
        1,
    )
    assert frontend["err_req"] == 1
    assert (backend["req_total"] or backend["sess_total"], backend["status_2xx"]) == (5, 5)
    assert (one["conn_total"], one["reuses"], one["status_2xx"], one["chosen"]) == (1, 4, 5, 5)
    assert frontend["bytes_out"] == len(client.received)
    client.close()
