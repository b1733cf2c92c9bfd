"""Several streams on one connection: the relay knows a side only through its codec's table."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from kit.deadline import eventually, wait_for
from kit.message import Truncated, ask, reply
from kit.mux import (
    CANCEL,
    CREDIT,
    DATA,
    END,
    HEAD,
    LAST_ID,
    NONE,
    PROTOCOL,
    REFUSED,
    RESET,
    STREAMS,
    WINDOW,
    MuxClient,
    Stream,
    StreamReset,
    echo,
    frame,
    head_payload,
    request_fields,
    response_fields,
    serving,
    streams_of,
)  # fmt: skip
from kit.server import Connection, Server, answering
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.wire import Reset

import lb

IS_RELEASE = "release" in Path(lb.__file__).parts
MUX: Settings = {"debug": {"codec": "mux"}}
FRONTEND: Settings = {"bind": [{"address": LOOPBACK, **MUX}]}

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(IS_RELEASE, reason="the codec is built into debug builds only"),
]


def mux(server: Server) -> Settings:
    """Write a server that speaks mux."""
    return {"address": server.text, **MUX}


def mux_client(stage: Stage) -> MuxClient:
    """Connect one."""
    client = MuxClient(stage.address())
    stage.clients.append(client)  # type: ignore[arg-type]
    return client


def noise(size: int, seed: int = 1) -> bytes:
    """Make bytes that no repeated buffer would forgive."""
    return random.Random(seed).randbytes(size)


def size_for(stage: Stage, size: int) -> int:
    """Bytes of a large body: each 100 of them are a round trip."""
    return size if stage.plane.name == "tcp" else size // 10


def echo_h1(connection: Connection) -> None:
    """Answer each request with its body."""
    while True:
        connection.send(reply(connection.request().body))


# ---- from one side to the other


def test_an_h1_client_is_served_by_a_mux_server(stage: Stage) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server))
    client = stage.client()
    for size in (0, 1, 99, 100, 101, 250, 251, size_for(stage, 50_000)):
        body = noise(size)
        assert client.get("/a?b=c", method="POST", body=body).body == body
    assert len(server.connections) == 1
    assert stage.proxy.counters("app/s1")["reuses"] == 7


def test_a_mux_client_is_served_by_an_h1_server(stage: Stage) -> None:
    server = stage.server(echo_h1)
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    for size in (0, 1, 99, 100, 101, 250, 251, size_for(stage, 50_000)):
        body = noise(size)
        assert client.post("/", body).response().body == body
        assert client.post("/", body, length=False).response().body == body
    assert [r.value("transfer-encoding") for r in server.requests[-2:]] == [None, b"chunked"]


def test_a_mux_client_is_served_by_a_mux_server(stage: Stage) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    body = noise(size_for(stage, 50_000))
    assert client.post("/", body).response().body == body
    assert client.get().status == 200


def test_heads_keep_their_meaning(stage: Stage) -> None:
    heads = []

    def answer(stream: Stream) -> None:
        heads.append(stream.next_head())
        stream.body()
        stream.send_head(response_fields(103, [(b"link", b"</a>")]))
        stream.respond(b"x", 201, [(b"x-a", b"1"), (b"x-a", b"2")])

    server = stage.server(serving(answer))
    stage.http(mux(server), frontend={"forwarded_for": True})
    client = stage.client()
    client.send(
        ask("/p?q", "X-Own: Value", "Connection: x-hop", "X-Hop: 1", "TE: trailers", method="POST", body=b"abc")
    )
    response = client.response("POST")
    assert response.status == 201
    assert [each.status for each in response.informational] == [103]
    assert response.values("x-a") == [b"1", b"2"]
    assert response.value("content-length") == b"1"
    assert heads == [[(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"lb.test"), (b":path", b"/p?q"),
                      (b"content-length", b"3"), (b"x-own", b"Value"), (b"x-forwarded-for", b"127.0.0.1")]]  # fmt: skip


def test_a_mux_head_becomes_a_good_h1_head(stage: Stage) -> None:
    server = stage.server(answering(reply(b"", "X-B: 2", status=404)))
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    stream = client.begin("/p?q", more=[(b"x-a", b"1"), (b"host", b"LB.test")])
    response = stream.response()
    assert (response.status, response.value("x-b"), response.value("content-length")) == (404, b"2", b"0")
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/p?q")
    assert sorted(request.fields) == [(b"host", b"LB.test"), (b"x-a", b"1")]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_response_without_a_body_ends_with_its_head(stage: Stage, method: str) -> None:
    status = 200 if method == "HEAD" else 304
    head = f"HTTP/1.1 {status} OK\r\nContent-Length: 500\r\n\r\n".encode()
    server = stage.server(answering(head))
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    for _ in range(2):
        response = client.begin(method=method).response()
        assert (response.status, response.body, response.value("content-length")) == (status, b"", b"500")
    assert len(server.connections) == 1


def test_a_response_without_a_length_is_chunked_for_h1(stage: Stage) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.respond(b"some", length=False)

    stage.http(mux(stage.server(serving(answer))))
    client = stage.client()
    response = client.get()
    assert (response.value("transfer-encoding"), response.body) == (b"chunked", b"some")
    client.send(ask("/", version="1.0"))
    assert client.response().body == b"some"
    client.expect_end()


def test_a_response_that_ends_with_its_head_has_length_zero_for_h1(stage: Stage) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.send_head(response_fields(200), end=True)

    stage.http(mux(stage.server(serving(answer))))
    client = stage.client()
    for _ in range(2):
        assert client.get().value("content-length") == b"0"


# ---- several at once


def test_streams_are_interleaved(stage: Stage) -> None:
    """Three bodies both ways at the same time, on one connection each side."""
    server = stage.server(serving(echo))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    assert client.get().status == 200  # the server connection is there
    bodies = [noise(size_for(stage, 20_000) + i, i) for i in range(STREAMS)]
    streams = [client.post("/", body) for body in bodies]
    assert [stream.response().body for stream in streams] == bodies
    assert len(server.connections) == 1


def test_a_stream_that_nobody_reads_does_not_hold_the_others(stage: Stage) -> None:
    body = noise(size_for(stage, 10_000))
    server = stage.server(serving(lambda s: (s.next_head(), s.respond(body))))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    stalled = [client.begin(f"/{i}") for i in range(2)]
    for stream in stalled:
        stream.hold()
        stream.next_head()
        client.mux.wait(lambda stream=stream: len(stream.data) == 100, "all that its credit allows")
    assert client.get("/free").body == body
    assert [len(stream.data) for stream in stalled] == [100, 100]
    for stream in stalled:
        stream.held = False
        assert stream.body() == body


def test_a_server_that_does_not_read_one_stream_goes_on_with_others(stage: Stage) -> None:
    go = threading.Event()

    def answer(stream: Stream) -> None:
        (_, path) = stream.next_head()[3]
        if path == b"/slow":
            stream.hold()
            wait_for(go, "the word")
            stream.held = False
            stream.mux.give(stream, 0)
        stream.respond(stream.body())

    server = stage.server(serving(answer))
    stage.http(mux(server), backend={"http_reuse": "always"})
    first = stage.client()
    first.get()
    body = noise(size_for(stage, 5_000))
    slow = stage.client()
    slow.send(ask("/slow", method="POST", body=body))
    eventually(lambda: any(len(s.data) == 100 for s in streams_of(server)), "a stalled stream")
    for _ in range(3):
        assert first.get("/fast", method="POST", body=body).body == body
    go.set()
    assert slow.response("POST").body == body
    assert len(server.connections) == 1


def test_streams_share_a_connection_fairly(stage: Stage) -> None:
    """While three long answers go on, none gets far ahead of another."""
    size = size_for(stage, 30_000)
    server = stage.server(serving(lambda s: (s.next_head(), s.respond(b"x" * size))))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    client.get()
    streams = [client.begin() for _ in range(STREAMS)]
    got = [0] * STREAMS
    for stream in streams:
        stream.next_head()
    for _ in range(size // 1000):  # each is read only as far as the others
        for i, stream in enumerate(streams):
            while got[i] < min(got) + 300 and got[i] < size:
                got[i] += len(stream.some_body())
    assert min(got) > size // 10
    assert [got[i] + len(stream.body()) for i, stream in enumerate(streams)] == [size] * STREAMS


def test_a_fourth_stream_is_refused(stage: Stage) -> None:
    held = stage.server(serving(lambda s: (s.next_head(), s.wait_over())))
    stage.http(mux(held), frontend=FRONTEND)
    client = mux_client(stage)
    streams = [client.begin(method="POST", end=False) for _ in range(STREAMS + 1)]
    assert streams[-1].wait_reset() == REFUSED
    eventually(lambda: len(streams_of(held)) == STREAMS, "the others at the server")
    streams[0].reset()
    again = client.begin(method="POST", end=False)
    eventually(lambda: len(streams_of(held)) == STREAMS + 1, "the stream in its place")
    for stream in [*streams[1:STREAMS], again]:
        stream.reset()


def test_a_busy_server_connection_is_not_waited_for(stage: Stage) -> None:
    go = threading.Event()
    server = stage.server(serving(lambda s: (s.next_head(), wait_for(go, "the word"), s.respond(b"x"))))
    stage.http(mux(server))
    clients = [stage.client() for _ in range(7)]
    for client in clients:
        client.send(ask())
    eventually(lambda: len(streams_of(server)) == 7, "all requests at the server")
    go.set()
    assert [client.response().body for client in clients] == [b"x"] * 7


def test_a_connection_is_replaced_when_its_ids_are_used_up(stage: Stage) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server))
    client = stage.client()
    for _ in range(LAST_ID + 5):
        assert client.get().status == 200
    first, second = server.connections
    assert (len(first.mux.streams), len(second.mux.streams)) == (LAST_ID, 5)
    wait_for(first.closed, "the end of the first connection")


# ---- ends before their time


def test_a_client_that_resets_cancels_its_server_stream_only(stage: Stage) -> None:
    codes = []

    def answer(stream: Stream) -> None:
        (_, path) = stream.next_head()[3]
        if path == b"/gone":
            stream.wait_over()
            codes.append(stream.wait_reset())
        else:
            stream.respond(stream.body())

    server = stage.server(serving(answer))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    client.get()
    gone = client.begin("/gone")
    eventually(lambda: len(streams_of(server)) == 2, "the request at the server")
    gone.reset()
    eventually(lambda: codes == [CANCEL], "the cancelled stream")
    assert client.get().status == 200
    assert len(server.connections) == 1
    # In whatever order they end: an answer may have been read before all of its frames are known to have left.
    assert sorted(record.state for record in stage.records(3)) == ["--", "--", "CH"]


def test_an_h1_client_that_leaves_cancels_its_server_stream(stage: Stage) -> None:
    codes = []
    server = stage.server(serving(lambda s: (s.next_head(), codes.append(s.wait_reset()))))
    stage.http(mux(server))
    client = stage.client()
    client.send(ask())
    eventually(lambda: streams_of(server), "the request")
    client.close()
    eventually(lambda: codes == [CANCEL], "the cancelled stream")


def test_a_mux_client_that_leaves_takes_all_its_streams_along(stage: Stage) -> None:
    server = stage.server(lambda c: (c.request(), c.wait_end()))
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    for i in range(STREAMS):
        client.begin(f"/{i}")
    server.wait_requests(STREAMS)
    client.shut()
    server.wait_idle()
    assert {record.state for record in stage.records(STREAMS)} == {"CH"}


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_a_server_that_refuses_a_stream_is_asked_again_elsewhere(stage: Stage, is_idempotent: bool) -> None:
    refused = []

    def answer(stream: Stream) -> None:
        (_, path) = stream.next_head()[3]
        if path == b"/refuse" and not refused:
            refused.append(stream.number)
            stream.reset(REFUSED)
        else:
            stream.respond(b"served")

    stage.http(mux(stage.server(serving(answer))))
    client = stage.client()
    client.get()
    response = client.get("/refuse", method="GET" if is_idempotent else "POST", body=None if is_idempotent else b"")
    assert (response.status == 200) == is_idempotent
    assert refused == [2]


def test_a_server_that_resets_is_answered_with_502(stage: Stage) -> None:
    server = stage.server(serving(lambda s: (s.next_head(), s.reset(CANCEL))))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    for _ in range(2):
        assert client.get().status == 502
    assert len(server.connections) == 1
    assert {record.state for record in stage.records(2)} == {"SH"}


def test_a_reset_in_the_middle_of_an_answer_is_seen(stage: Stage) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.send_head(response_fields(200))
        stream.send_data(b"half")
        stream.reset(CANCEL)

    server = stage.server(serving(answer))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    stream = client.begin()
    with pytest.raises(StreamReset):
        stream.response()
    assert {record.state for record in stage.records(1)} == {"SD"}


def test_an_h1_server_that_breaks_off_resets_the_stream_only(stage: Stage) -> None:
    def answer(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    stage.http(stage.server(answer), frontend=FRONTEND)
    client = mux_client(stage)
    for _ in range(2):
        stream = client.begin()
        stream.next_head()
        with pytest.raises(StreamReset):
            stream.body()


def test_an_early_answer_ends_the_request(stage: Stage) -> None:
    """The answer is complete while the body still comes: the client gets it, then is told to stop."""
    server = stage.server(serving(lambda s: (s.next_head(), s.respond(b"enough", 413), s.reset(NONE))))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    stream = client.post("/", noise(100_000))
    response = stream.response()
    assert (response.status, response.body) == (413, b"enough")
    assert stream.wait_reset() == NONE
    assert client.begin().response().status == 413


def test_an_early_answer_of_a_mux_server_reaches_an_h1_client(stage: Stage) -> None:
    server = stage.server(serving(lambda s: (s.next_head(), s.respond(b"enough", 413), s.reset(NONE))))
    stage.http(mux(server))
    client = stage.client()
    client.send(ask("/", "Content-Length: 100000", method="POST") + b"x" * 10_000)
    assert client.response("POST").body == b"enough"


def test_a_connection_that_a_server_closes_is_noticed_by_all_streams(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        if connection.number:
            serving(echo)(connection)
            return
        seen = []
        go = threading.Event()

        def answer(stream: Stream) -> None:
            stream.next_head()
            seen.append(stream)
            if len(seen) == 1:
                stream.respond(b"x")
            elif len(seen) == 4:
                go.set()
                connection.sock.shutdown(2)

        serving(answer)(connection)

    server = stage.server(script)
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    assert client.get().body == b"x"
    streams = [client.begin() for _ in range(STREAMS)]
    assert [stream.response().status for stream in streams] == [200] * STREAMS  # each was sent again
    eventually(lambda: stage.proxy.counters("app/s1")["cur"] == 0, "the end of every stream")


# ---- timeouts


def test_a_stalled_stream_times_out_alone(stage: Stage) -> None:
    body = noise(1000)
    server = stage.server(serving(lambda s: (s.next_head(), s.respond(body))))
    stage.http(mux(server), frontend=FRONTEND, timeouts={"client": "300ms"})
    client = mux_client(stage)
    stalled = client.begin()
    stalled.hold()
    stalled.next_head()
    for _ in range(20):
        assert client.get().body == body
    assert stalled.wait_reset() == CANCEL
    assert client.get().body == body
    assert sorted(record.state for record in stage.records(22)) == ["--"] * 21 + ["cD"]


def test_a_silent_server_stream_times_out_alone(stage: Stage) -> None:
    def answer(stream: Stream) -> None:
        (_, path) = stream.next_head()[3]
        if path == b"/silent":
            stream.wait_reset()
        else:
            stream.respond(b"x")

    server = stage.server(serving(answer))
    stage.http(mux(server), frontend=FRONTEND, timeouts={"server": "300ms"})
    client = mux_client(stage)
    client.get()
    silent = client.begin("/silent")
    for _ in range(20):
        assert client.get().body == b"x"
    assert silent.response().status == 504
    assert len(server.connections) == 1


def test_an_idle_client_connection_is_closed(stage: Stage) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server), frontend=FRONTEND, timeouts={"http_keep_alive": "100ms"})
    client = mux_client(stage)
    client.get()
    client.mux.wait(lambda: client.mux.lost, "the end of an idle connection")


def test_a_frame_that_does_not_come_whole_ends_its_connection(stage: Stage) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server), frontend=FRONTEND, timeouts={"http_request": "100ms"})
    client = mux_client(stage)
    client.mux.send(frame(HEAD, 1, b"x" * 100)[:50])
    client.mux.wait(lambda: client.mux.lost, "the end of the connection")


# ---- what is refused


BAD_HEADS = {
    "no_method": (400, [(b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]),
    "no_path": (400, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a")]),
    "no_scheme": (400, [(b":method", b"GET"), (b":authority", b"a"), (b":path", b"/")]),
    "other_scheme": (400, [(b":method", b"GET"), (b":scheme", b"ftp"), (b":authority", b"a"), (b":path", b"/")]),
    "no_authority": (400, [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]),
    "bad_authority": (400, request_fields(authority="a b")),
    "two_paths": (400, [*request_fields(), (b":path", b"/")]),
    "bad_method": (400, request_fields(method="G T")),
    "long_method": (501, request_fields(method="G" * 33)),
    "connect": (405, request_fields(method="CONNECT")),
    "path_without_slash": (400, request_fields("x")),
    "path_with_a_space": (400, request_fields("/a b")),
    "star_get": (400, request_fields("*")),
    "long_path": (414, request_fields("/" + "a" * 8192)),
    "pseudo_behind_field": (400, [*request_fields()[:3], (b"x", b"1"), (b":path", b"/")]),
    "unknown_pseudo": (400, [(b":other", b"1"), *request_fields()]),
    "status_in_request": (400, [(b":status", b"200"), *request_fields()]),
    "other_host": (400, request_fields(more=[(b"host", b"other")])),
    "two_hosts": (400, request_fields(more=[(b"host", b"lb.test"), (b"host", b"lb.test")])),
    "upper_case": (400, request_fields(more=[(b"X-A", b"1")])),
    "no_token": (400, request_fields(more=[(b"x a", b"1")])),
    "empty_name": (400, request_fields(more=[(b"", b"1")])),
    "line_feed": (400, request_fields(more=[(b"x", b"1\r\nx: 2")])),
    "nul": (400, request_fields(more=[(b"x", b"1\0")])),
    "white_space": (400, request_fields(more=[(b"x", b" 1")])),
    "connection": (400, request_fields(more=[(b"connection", b"close")])),
    "transfer_encoding": (400, request_fields(more=[(b"transfer-encoding", b"chunked")])),
    "upgrade": (400, request_fields(more=[(b"upgrade", b"websocket")])),
    "te": (400, request_fields(more=[(b"te", b"gzip")])),
    "two_lengths": (400, request_fields(more=[(b"content-length", b"0"), (b"content-length", b"0")])),
    "bad_length": (400, request_fields(more=[(b"content-length", b"+1")])),
    "length_and_end": (400, request_fields(more=[(b"content-length", b"1")])),
    "expect": (417, request_fields(more=[(b"expect", b"money")])),
    "many_fields": (431, request_fields(more=[(b"x", b"1")] * 102)),
    "large_head": (431, request_fields(more=[(b"x", b"1" * 15_000), (b"y", b"1" * 1000)])),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_request_head_is_refused_and_the_connection_goes_on(stage: Stage, name: str) -> None:
    server = stage.server(serving(echo))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    status, fields = BAD_HEADS[name]
    stream = client.open()
    stream.send_head(fields, end=True)
    assert stream.response().status == status
    assert client.get().status == 200
    assert len(streams_of(server)) == 1


BAD_ANSWERS = {
    "no_status": [(b"x", b"1")],
    "bad_status": [(b":status", b"20")],
    "status_600": [(b":status", b"600")],
    "switching": [(b":status", b"101")],
    "request_pseudo": [(b":status", b"200"), (b":path", b"/")],
    "upper_case": [(b":status", b"200"), (b"X-A", b"1")],
    "line_feed": [(b":status", b"200"), (b"x", b"1\r\nx: 2")],
    "connection": [(b":status", b"200"), (b"connection", b"close")],
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_response_head_is_a_502(stage: Stage, name: str) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.send_head(BAD_ANSWERS[name])

    server = stage.server(serving(answer))
    stage.http(mux(server))
    assert stage.client().get().status == 502
    (record,) = stage.records(1)
    assert record.state == "PH"


@pytest.mark.parametrize("body", [b"", b"1234", b"123456"], ids=["none", "short", "long"])
def test_a_request_body_of_another_length_than_announced_is_refused(stage: Stage, body: bytes) -> None:
    server = stage.server(lambda c: (c.head(), c.wait_end()))
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    stream = client.begin(method="POST", end=False, more=[(b"content-length", b"5")])
    if body:
        stream.send_data(body)
    stream.send_end()
    assert stream.response().status == 400
    assert stage.record().state[0] == "P"


@pytest.mark.parametrize("body", [b"1234", b"123456"], ids=["short", "long"])
def test_a_response_body_of_another_length_than_announced_is_cut(stage: Stage, body: bytes) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.send_head(response_fields(200, [(b"content-length", b"5")]))
        stream.send_data(body)
        stream.send_end()

    stage.http(mux(stage.server(serving(answer))))
    client = stage.client()
    client.send(ask())
    with pytest.raises((Reset, Truncated)):
        client.response()


VIOLATIONS = {
    "unknown_frame": (frame(9, 1), PROTOCOL),
    "data_of_no_stream": (frame(DATA, 7, b"x"), PROTOCOL),
    "stream_zero": (frame(HEAD, 0, head_payload(request_fields(), True)), PROTOCOL),
    "end_with_payload": (frame(HEAD, 1, head_payload(request_fields(), False)) + frame(END, 1, b"x"), PROTOCOL),
    "data_behind_end": (frame(HEAD, 1, head_payload(request_fields("/hold"), True)) + frame(DATA, 1, b"x"), PROTOCOL),
    "second_head": (frame(HEAD, 1, head_payload(request_fields("/hold"), False)) * 2, PROTOCOL),
    "falling_id": (frame(HEAD, 5, head_payload(request_fields("/hold"), True))
                   + frame(HEAD, 4, head_payload(request_fields("/hold"), True)), PROTOCOL),
    "broken_pairs": (frame(HEAD, 1, b"\1\7:method\0\3GE"), PROTOCOL),
    "empty_head": (frame(HEAD, 1), PROTOCOL),
    "too_much_data": (frame(HEAD, 1, head_payload(request_fields("/hold", "POST"), False))
                      + frame(DATA, 1, b"x" * 101), CREDIT),
    "too_much_credit": (frame(WINDOW, 0, b"\xff\xff"), CREDIT),
    "long_frame": (frame(DATA, 1, b"")[:2] + b"\xff\xff", PROTOCOL),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_client_that_breaks_the_protocol_is_told_and_cut_off(stage: Stage, name: str) -> None:
    server = stage.server(lambda c: (c.head(), c.wait_end()))
    stage.http(server, frontend=FRONTEND)
    client = mux_client(stage)
    data, code = VIOLATIONS[name]
    for number in range(1, 6):  # what the proxy says of streams that this client never opened by itself
        client.mux.streams[number] = Stream(client.mux, number)
    client.mux.send(data)
    client.mux.wait(lambda: client.mux.lost, "the end of the connection")
    assert client.mux.goaway is not None
    assert client.mux.goaway[1] == code


def test_a_server_that_breaks_the_protocol_loses_its_connection(stage: Stage) -> None:
    def answer(stream: Stream) -> None:
        stream.next_head()
        stream.mux.send(frame(DATA, 99, b"x"))

    server = stage.server(serving(answer))
    stage.http(mux(server))
    assert stage.client().get().status == 502
    wait_for(server.connections[0].closed, "the end of the connection")


def test_resets_without_end_do_not_fill_memory(stage: Stage) -> None:
    """Answers that a client does not read are bounded: it is cut off."""
    stage.http(stage.server(echo_h1), frontend=FRONTEND)
    client = mux_client(stage)
    fields = head_payload([(b":method", b"G T")], True)
    for number in range(1, LAST_ID + 1):
        client.mux.streams[number] = Stream(client.mux, number)
        try:
            client.mux.send(frame(HEAD, number, fields) + frame(RESET, number, b"\4"))
        except Reset:
            break
    client.shut()


def test_the_going_away_of_a_server_lets_its_streams_end(stage: Stage) -> None:
    go = threading.Event()

    def answer(stream: Stream) -> None:
        (_, path) = stream.next_head()[3]
        if path == b"/last":
            stream.mux.send(frame(6, 0, bytes((stream.number, NONE))))
            wait_for(go, "the word")
        stream.respond(b"x")

    server = stage.server(serving(answer))
    stage.http(mux(server), frontend=FRONTEND)
    client = mux_client(stage)
    client.get()
    last = client.begin("/last")
    eventually(lambda: len(streams_of(server)) == 2, "the request at the server")
    while len(server.connections) < 2:
        assert client.get("/other").body == b"x"
    go.set()
    assert last.response().body == b"x"
    wait_for(server.connections[0].closed, "the end of the first connection")
