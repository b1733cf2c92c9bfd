"""Copies of requests for another backend: what they are, and that nothing that happens to one shows in the original."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kit.chained import Chained
from kit.deadline import DEADLINE, eventually
from kit.inprocess import InProcess
from kit.message import Request, ask, chunked, reply
from kit.server import Connection, Script, Server, answering, once, silent
from kit.settings import Settings, relay
from kit.stage import Stage

pytestmark = pytest.mark.ours


def mirrored(app: str, *shadows: str, frontend: Settings | None = None, shadow: Settings | None = None,
             timeouts: Settings | None = None, retries: int | None = None, **mirror: Any) -> Settings:  # fmt: skip
    """Write a frontend `web` with a backend `app`, whose requests are copied for a backend `shadow`."""
    options = {"mirror": {"to": "shadow", **mirror}, **(frontend or {})}
    settings = relay("http", app, frontend=options, timeouts=timeouts, retries=retries)
    servers = [{"name": f"m{i}", "address": address} for i, address in enumerate(shadows, 1)]
    settings["backends"]["shadow"] = {"servers": servers, **(shadow or {})}
    return settings


def start(stage: Stage, script: Script | bytes | None = None, app: Script | bytes | None = None,
          **options: Any) -> tuple[Server, Server]:  # fmt: skip
    """Start lb between a server of the original and one of the copies; return both."""
    real, shadow = stage.server(app), stage.server(script)
    stage.start(mirrored(real.text, shadow.text, **options))
    return real, shadow


def counters_of(stage: Stage, name: str = "shadow") -> dict[str, int]:
    """Return the counters of a frontend or backend."""
    assert isinstance(stage.proxy, InProcess | Chained)
    return stage.proxy.counters(name)


def counted(stage: Stage, name: str = "shadow") -> tuple[int, int]:
    """Return how many copies were sent, and how many were not."""
    counters = counters_of(stage, name)
    return counters["mirrored"], counters["mirror_dropped"]


class Recording:
    """A script that answers, and keeps whole requests."""

    def __init__(self, answer: bytes = reply(b"shadow")) -> None:
        self.requests: list[Request] = []
        self.answer = answer

    def __call__(self, connection: Connection) -> None:
        while True:
            self.requests.append(connection.request())
            connection.send(self.answer)

    def wait(self, count: int) -> list[Request]:
        """Wait until this many have come; fail if there are more."""
        eventually(lambda: len(self.requests) >= count, f"{count} copies")
        assert len(self.requests) == count
        return self.requests


def test_a_copy_is_the_request_with_a_mark(stage: Stage) -> None:
    copies = Recording()
    real, _ = start(stage, copies, frontend={"forwarded_for": True})
    response = stage.client().get("/a?b=c", "X-One: 1", "Cookie: a=b", "Connection: x-hop", "X-Hop: gone")
    assert (response.status, response.body) == (200, b"hello")
    (copy,) = copies.wait(1)
    (original,) = real.requests
    assert original.value("x-mirrored") is None
    fields = [(name.lower(), value) for name, value in copy.fields]
    assert fields == [*((name.lower(), value) for name, value in original.fields), (b"x-mirrored", b"1")]
    assert (copy.method, copy.target, copy.version) == ("GET", "/a?b=c", b"1.1")
    assert counted(stage) == counted(stage, "web") == (1, 0)


@pytest.mark.parametrize("size", [0, 1, 16_375, 16_376, 16_377, 40_000, 65_536])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_is_copied_whole(stage: Stage, framing: str, size: int) -> None:
    copies = Recording()
    start(stage, copies)
    body = bytes(i * 7 % 251 for i in range(size))
    client = stage.client()
    if framing == "length":
        client.send(ask("/", method="POST", body=body))
    else:
        pieces = [body[i : i + 5000] for i in range(0, size, 5000)]
        client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces))
    assert client.response("POST").body == b"hello"
    (copy,) = copies.wait(1)
    assert copy.body == body
    assert copy.value("content-length") == (b"%d" % size if framing == "length" else None)
    # The connection is good for the next one.
    assert client.get().body == b"hello"
    copies.wait(2)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_body_is_not_copied(stage: Stage, framing: str) -> None:
    copies = Recording()
    real, shadow = start(stage, copies, max_body="10k")
    client = stage.client()
    for size in (10_240, 10_241, 200_000):
        body = b"x" * size
        if framing == "length":
            client.send(ask("/", method="POST", body=body))
        else:
            client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(body))
        assert client.response("POST").body == b"hello"
        assert real.requests[-1].body == body
    (copy,) = copies.wait(1)
    assert len(copy.body) == 10_240
    assert counted(stage) == (1, 2)
    assert len(shadow.connections) == 1


def test_a_body_that_comes_slowly_is_copied_when_it_is_whole(stage: Stage) -> None:
    copies = Recording()
    start(stage, copies)
    client = stage.client()
    client.send(ask("/", "Content-Length: 9", method="POST") + b"one")
    stage.servers[0].wait_requests(1)
    client.send(b"two")
    assert stage.client().get("/other").body == b"hello"
    assert [request.target for request in copies.wait(1)] == ["/other"]
    client.send(b"end")
    assert client.response("POST").body == b"hello"
    assert copies.wait(2)[1].body == b"onetwoend"


def test_none_and_all_are_exact_and_the_rest_is_by_chance(stage: Stage) -> None:
    copies = Recording()
    real, shadow = stage.server(), stage.server(copies)
    settings = mirrored(real.text, shadow.text, percent=0)
    half = {"bind": [{"address": "127.0.0.1:0"}], "default_backend": "app", "mirror": {"to": "shadow", "percent": 50}}
    settings["frontends"]["half"] = half
    stage.start(settings)
    client = stage.client()
    for _ in range(50):
        client.get()
    assert counted(stage, "web") == (0, 0)
    client = stage.client("half")
    for _ in range(200):
        client.get()
    sent, dropped = counted(stage, "half")
    assert dropped == 0
    assert 40 < sent < 160  # eight standard deviations
    copies.wait(sent)


def test_requests_in_a_pipeline_are_all_copied_and_answered_in_order(stage: Stage) -> None:
    copies = Recording()
    start(stage, copies, app=answering(lambda request: reply(request.target.encode())))
    client = stage.client()
    bodies = [b"x" * (i * 997 % 20_000) for i in range(30)]
    text = b"".join(ask(f"/{i}", method="PUT", body=body) for i, body in enumerate(bodies))
    sender = threading.Thread(target=client.send, args=(text,))
    sender.start()
    for i in range(30):
        assert client.response("PUT").body == b"/%d" % i
    sender.join(DEADLINE)
    copies.wait(30)
    assert {request.target: request.body for request in copies.requests} == {
        f"/{i}": body for i, body in enumerate(bodies)
    }


def half_an_answer(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.reset()


def interim_heads(connection: Connection) -> None:
    while True:
        connection.request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5 + reply(b"x" * 100_000))


def never_read(connection: Connection) -> None:
    connection.wait_end()


BAD: dict[str, Script] = {
    "answers with garbage": once(b"\0\1\2 is no answer\r\n\r\n"),
    "wants another protocol": once(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    "answers with half": half_an_answer,
    "resets": lambda connection: connection.reset(),
    "closes": lambda connection: None,
    "says much": interim_heads,
    "refuses all": answering(reply(b"no", status=500, reason="No")),
    "never answers": silent,
}


@pytest.mark.parametrize("what", BAD)
def test_whatever_a_mirror_does_the_original_is_answered(stage: Stage, what: str) -> None:
    start(stage, BAD[what], app=answering(lambda request: reply(request.body or request.target.encode())))
    client = stage.client()
    for i in range(20):
        body = b"y" * (i * 1800)
        response = client.get(f"/{i}", method="POST", body=body)
        assert (response.status, response.body) == (200, body or b"/0")
    sent, dropped = counted(stage)
    assert (sent, dropped) == (20, 0)
    eventually(lambda: counters_of(stage, "web")["req_total"] == 20, "the count of the requests")
    assert counters_of(stage, "web")["status_2xx"] == 20


@pytest.mark.h1_only
@pytest.mark.parametrize("what", ["refuses", "drops"])
def test_a_mirror_that_cannot_be_reached_costs_nothing(stage: Stage, what: str) -> None:
    gone = stage.refused() if what == "refuses" else stage.black_hole()
    real = stage.server()
    stage.start(mirrored(real.text, gone.text, timeouts={"connect": "300ms"}))
    client = stage.client()
    for _ in range(10):
        assert client.get("/", method="POST", body=b"x" * 20_000).body == b"hello"
    eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copies")
    counters = counters_of(stage)
    assert (counters["mirrored"], counters["err_conn"], counters["retries"]) == (10, 10, 0)
    assert counters_of(stage, "web")["err_conn"] == 0


def test_a_mirror_that_does_not_read_costs_nothing(stage: Stage) -> None:
    real, shadow = stage.server(), stage.server(never_read, receive_buffer=4096)
    stage.start(mirrored(real.text, shadow.text, timeout="1s", max_body="1m"))
    client = stage.client()
    body = b"x" * min(stage.bulk, 1 << 20)
    for _ in range(3):
        assert client.get("/", method="POST", body=body).body == b"hello"
        assert real.requests[-1].body == body
    assert counted(stage) == (3, 0)
    # They are cut when their time is over.
    eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copies")


def test_no_more_than_so_many_copies_are_under_way(stage: Stage) -> None:
    _, shadow = start(stage, silent, max_copies=5)
    client = stage.client()
    for _ in range(40):
        assert client.get().body == b"hello"
    assert counted(stage) == (5, 35)
    assert counters_of(stage)["cur"] == 5
    shadow.close()
    eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copies")


def test_places_of_copies_are_given_back(stage: Stage) -> None:
    copies = Recording()
    start(stage, copies, max_copies=1)
    client = stage.client()
    for i in range(1, 11):
        assert client.get().body == b"hello"
        copies.wait(i)
        eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copy")
    assert counted(stage) == (10, 0)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_that_is_cut_leaves_no_copy(stage: Stage, framing: str, how: str) -> None:
    copies = Recording()
    start(stage, copies)
    client = stage.client()
    if framing == "length":
        client.send(ask("/", "Content-Length: 30000", method="POST") + b"x" * 20_000)
    else:
        client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"x" * 20_000, last=b""))
    stage.servers[0].wait_requests(1)
    client.close() if how == "close" else client.reset()
    eventually(lambda: counted(stage) == (0, 1), "the copy to be given up")
    assert stage.client().get("/whole").body == b"hello"
    assert [request.target for request in copies.wait(1)] == ["/whole"]


def test_a_request_that_is_no_request_leaves_no_copy(stage: Stage) -> None:
    copies = Recording()
    start(stage, copies)
    client = stage.client()
    client.send(ask("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\nxyz\r\n")
    assert client.response("POST").status == 400
    assert stage.client().get("/whole").body == b"hello"
    assert [request.target for request in copies.wait(1)] == ["/whole"]
    eventually(lambda: counted(stage) == (1, 1), "one copy to be given up")


def test_what_is_answered_before_it_was_whole_leaves_no_copy(stage: Stage) -> None:
    def early(connection: Connection) -> None:
        connection.head()
        connection.send(reply(b"enough", "Connection: close"))
        connection.wait_end()

    copies = Recording()
    start(stage, copies, app=early)
    client = stage.client()
    client.send(ask("/", "Content-Length: 30000", method="POST") + b"x" * 1000)
    assert client.response("POST").body == b"enough"
    eventually(lambda: counted(stage) == (0, 1), "the copy to be given up")
    assert copies.requests == []


@pytest.mark.h1_only
def test_what_lb_answers_itself_leaves_no_copy(stage: Stage) -> None:
    copies = Recording()
    shadow = stage.server(copies)
    stage.start(mirrored(stage.refused().text, shadow.text, retries=0))
    assert stage.client().get().status == 503
    eventually(lambda: counted(stage) == (0, 1), "the copy to be given up")
    assert copies.requests == []


@pytest.mark.h1_only
def test_an_upgrade_is_not_copied(stage: Stage) -> None:
    def switch(connection: Connection) -> None:
        connection.head_only()
        connection.send(b"HTTP/1.1 101 X\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
        connection.send(connection.read_exactly(4))

    copies = Recording()
    start(stage, copies, app=switch)
    client = stage.client()
    client.send(ask("/", "Upgrade: echo", "Connection: upgrade"))
    assert client.head(upgrade="echo").status == 101
    client.send(b"ping")
    assert client.read_exactly(4) == b"ping"
    assert counted(stage) == (0, 0)


def test_a_copy_does_not_ask_before_its_body(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        assert connection.head().value("expect") == b"100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.body()
        connection.send(reply(b"done"))

    copies = Recording()
    real, _ = start(stage, copies, app=script)
    client = stage.client()
    client.send(ask("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    real.wait_requests(1)
    client.send(b"hello")
    assert client.response("POST").body == b"done"
    (copy,) = copies.wait(1)
    assert (copy.value("expect"), copy.body) == (None, b"hello")


def test_a_copy_is_not_copied_again(stage: Stage) -> None:
    copies = Recording()
    start(stage, copies)
    assert stage.client().get("/", "x-mirrored: 1").body == b"hello"
    assert stage.client().get("/new").body == b"hello"
    assert [request.target for request in copies.wait(1)] == ["/new"]


@pytest.mark.h1_only
def test_a_request_that_is_sent_again_is_copied_once(stage: Stage) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(reply(b"first"))
        if connection.number == 0:
            connection.request()  # reads, and closes without an answer
            return
        connection.request()
        connection.send(reply(b"again"))

    copies = Recording()
    real, _ = start(stage, copies, app=script)
    client = stage.client()
    assert client.get("/1").body == b"first"
    copies.wait(1)  # two copies on their way at once may arrive in either order
    response = client.get("/2", method="PUT")
    assert (response.status, response.body) == (200, b"first")
    assert [request.target for request in real.requests] == ["/1", "/2", "/2"]
    assert [(request.target, request.body) for request in copies.wait(2)] == [("/1", b""), ("/2", b"")]


@pytest.mark.h1_only
def test_copies_have_balancing_and_connections_of_their_own(stage: Stage) -> None:
    first, second = Recording(), Recording()
    real = stage.server()
    shadows = [stage.server(first), stage.server(second)]
    stage.start(mirrored(real.text, *(each.text for each in shadows)))
    client = stage.client()
    for i in range(1, 21):
        client.get()
        eventually(lambda i=i: len(first.requests) + len(second.requests) == i, "the copy")
        eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copy")
    assert (len(first.requests), len(second.requests)) == (10, 10)
    counters = counters_of(stage)
    assert (counters["chosen"], counters["connects"], counters["reuses"]) == (20, 2, 18)
    assert counters["status_2xx"] == 20
    assert (counters["status_5xx"], counters["server_aborts"], counters["err_resp"]) == (0, 0, 0)
    assert len(stage.records(20)) == 20
    web = counters_of(stage, "web")
    assert (web["req_total"], web["sess_total"], web["status_2xx"]) == (20, 20, 20)


def test_a_route_says_otherwise_than_its_frontend(stage: Stage) -> None:
    first, second = Recording(), Recording()
    real, one, two = stage.server(), stage.server(first), stage.server(second)
    settings = mirrored(real.text, one.text)
    settings["backends"]["other"] = {"servers": [two.text]}
    settings["frontends"]["web"]["routes"] = [
        {"match": {"path": "/other/*"}, "to": "app", "mirror": {"to": "other"}},
        {"match": {"path": "/none/*"}, "to": "app", "mirror": {"to": "other", "percent": 0}},
        {"match": {"path": "/shares/*"}, "to": {"app": 1}},
        {"match": {"path": "/reply"}, "reply": {"status": 204}},
    ]
    stage.start(settings)
    client = stage.client()
    for target in ("/a", "/other/b", "/none/c", "/shares/d", "/reply", "/e"):
        assert client.get(target).status == (204 if target == "/reply" else 200)
    assert sorted(request.target for request in first.wait(3)) == ["/a", "/e", "/shares/d"]
    assert [request.target for request in second.wait(1)] == ["/other/b"]
    assert (counted(stage), counted(stage, "other"), counted(stage, "web")) == ((3, 0), (1, 0), (4, 0))


def test_a_silent_copy_is_cut_when_its_time_is_over(stage: Stage) -> None:
    _, shadow = start(stage, silent, timeout="200ms")
    assert stage.client().get().body == b"hello"
    eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copy")
    eventually(lambda: shadow.connections and shadow.connections[0].closed.is_set(), "the end of its connection")
    counters = counters_of(stage)
    assert (counters["server_aborts"], counters["req_total"]) == (1, 1)


def test_an_answer_without_end_is_cut_when_the_copys_time_is_over(stage: Stage) -> None:
    def stream(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.send(b"data: x\n\n" * 100)

    start(stage, stream, timeout="200ms")
    client = stage.client()
    assert client.get().body == b"hello"
    assert client.get().body == b"hello"
    eventually(lambda: counters_of(stage)["cur"] == 0, "the end of the copies")
    assert counters_of(stage)["server_aborts"] == 2
