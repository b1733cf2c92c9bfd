"""Copies while lb reloads, drains and stops; over multiplexed connections; and what they hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.inprocess import InProcess, InProcessPlane
from kit.message import ask, reply
from kit.mux import MuxClient, Stream, serving
from kit.server import Connection, answering, silent
from kit.settings import LOOPBACK, Settings, relay
from kit.stage import Stage

import lb

IS_RELEASE = "release" in Path(lb.__file__).parts
MUX: Settings = {"debug": {"codec": "mux"}}

pytestmark = pytest.mark.ours


def mirrored(app: str, shadow: str | Settings, workers: int = 1, timeouts: Settings | None = None,
             **mirror: Any) -> Settings:  # fmt: skip
    """Write a frontend `web` with a backend `app`, whose requests are copied for a backend `shadow`."""
    frontend = {"mirror": {"to": "shadow", **mirror}}
    settings = relay("http", app, frontend=frontend, workers=workers, timeouts=timeouts)
    settings["backends"]["shadow"] = {"servers": [shadow]}
    return settings


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Stage]:
    """A stage whose engine can be asked: the plain transport, in this process."""
    stage = Stage(InProcessPlane(), tmp_path)
    yield stage
    stage.close()


def engine_of(stage: Stage) -> InProcess:
    """Return the engine."""
    assert isinstance(stage.proxy, InProcess)
    return stage.proxy


def test_a_copy_goes_on_over_a_reload_that_takes_its_backend_away(still: Stage) -> None:
    def slow(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        assert connection.read() == b""  # whoever writes it, the connection is not kept

    real, shadow = still.server(), still.server(slow)
    still.start(mirrored(real.text, shadow.text))
    proxy = engine_of(still)
    client = still.client()
    assert client.get().body == b"hello"
    shadow.wait_requests(1)
    proxy.reload(relay("http", real.text))
    assert client.get().body == b"hello"
    assert proxy.counters("shadow")["cur"] == 1
    shadow.connections[0].send(b"half")
    eventually(lambda: proxy.counters("shadow")["cur"] == 0, "the end of the copy")
    assert (proxy.counters("shadow")["status_2xx"], proxy.counters("shadow")["mirrored"]) == (1, 1)
    proxy.reload(mirrored(real.text, shadow.text, percent=0))
    assert client.get().body == b"hello"
    assert proxy.counters("shadow")["mirrored"] == 1


def test_a_body_that_is_gathered_over_a_reload_is_copied(still: Stage) -> None:
    real, shadow, other = still.server(), still.server(), still.server()
    still.start(mirrored(real.text, shadow.text))
    client = still.client()
    client.send(ask("/", "Content-Length: 30000", method="POST") + b"x" * 20_000)
    real.wait_requests(1)
    settings = mirrored(real.text, other.text)
    settings["frontends"]["web"]["mirror"]["to"] = "other"
    settings["backends"]["other"] = settings["backends"].pop("shadow")
    engine_of(still).reload(settings)
    client.send(b"y" * 10_000)
    assert client.response("POST").body == b"hello"
    shadow.wait(lambda s: s.requests and s.requests[0].body, "waits for the copy")
    assert shadow.requests[0].body == b"x" * 20_000 + b"y" * 10_000
    assert client.get().body == b"hello"
    other.wait_requests(1)


def test_a_drain_does_not_wait_for_copies(still: Stage) -> None:
    real, shadow = still.server(), still.server(silent)
    still.start(mirrored(real.text, shadow.text))
    proxy = engine_of(still)
    client = still.client()
    for _ in range(5):
        client.get()
    assert proxy.counters("shadow")["cur"] == 5
    proxy.ask(proxy.engine.drain)
    client.wait_end()
    eventually(lambda: not proxy.ask(proxy.engine.connections), "the end of the drain")
    assert proxy.counters("shadow")["cur"] == 5
    # The stage closes the engine, and its pools must be empty then.


def test_a_closed_engine_leaves_nothing_of_what_was_gathered(still: Stage) -> None:
    real, shadow = still.server(), still.server(silent)
    proxy = still.plane.start(mirrored(real.text, shadow.text), still.directory)
    assert isinstance(proxy, InProcess)
    with Client(proxy.addresses["web"][0]) as client:
        client.send(ask("/", "Content-Length: 60000", method="POST") + b"x" * 50_000)
        eventually(lambda: proxy.live().get("buffer", 0) >= 4, "a gathered body")
        proxy.stop()  # fails for an object that a pool still counts


def test_memory_is_bounded(still: Stage) -> None:
    real, shadow = still.server(), still.server(lambda c: c.wait_end(), receive_buffer=4096)
    still.start(mirrored(real.text, shadow.text, max_body="256k", max_copies=4))
    client = still.client()
    worst = {"buffer": 0, "message": 0, "mirror": 0, "stream": 0}
    for _ in range(50):
        assert client.get("/", method="POST", body=b"x" * 200_000).body == b"hello"
        for name, count in engine_of(still).live().items():
            if name in worst:
                worst[name] = max(worst[name], count)
    assert worst["mirror"] == 4
    # 13 buffers for 200,000 bytes, one for what a connection did not take; the original's own two.
    assert worst["buffer"] <= 4 * 14 + 2
    assert worst["message"] <= 4 * 2 + 2
    assert worst["stream"] <= 5


@pytest.mark.h1_only
@pytest.mark.skipif(IS_RELEASE, reason="the codec is built into debug builds only")
@pytest.mark.parametrize("where", ["clients", "servers", "everywhere", "one server"])
def test_copies_over_multiplexed_connections(stage: Stage, where: str) -> None:
    copies: dict[bytes, bytes] = {}

    def answer(stream: Stream) -> None:
        fields = dict(stream.next_head())
        body = stream.body()
        if fields.get(b"x-mirrored"):
            copies[fields[b":path"]] = body
        stream.respond(body)

    def answer_h1(connection: Connection) -> None:
        while True:
            request = connection.request()
            if request.value("x-mirrored"):
                copies[request.target.encode()] = request.body
            connection.send(reply(request.body))

    hop: Settings = {} if where == "clients" else MUX
    servers = [stage.server(answer_h1 if where == "clients" else serving(answer)) for _ in range(2)]
    # `one server`: original and copy may share a connection.
    app, shadow = ({"address": servers[i].text, **hop} for i in (0, 0 if where == "one server" else 1))
    settings = mirrored("", shadow)
    settings["backends"]["app"]["servers"] = [app]
    if where != "servers":
        settings["frontends"]["web"]["bind"] = [{"address": LOOPBACK, **MUX}]
    stage.start(settings)
    # One of known length is whole before its END comes, and may be answered by then.
    bodies = [b"%d" % i * (i * 300) for i in range(15)]
    if where == "servers":
        client = stage.client()
        for i, body in enumerate(bodies):
            assert client.get(f"/{i}", method="POST", body=body).body == body
    else:
        mux = MuxClient(stage.address())
        stage.clients.append(mux)  # type: ignore[arg-type]
        for i in range(0, 15, 3):
            streams = [mux.post(f"/{j}", bodies[j], length=j % 2 == 0) for j in range(i, i + 3)]
            assert [stream.response().body for stream in streams] == bodies[i : i + 3]
    proxy = engine_of(stage)
    eventually(lambda: proxy.counters("shadow")["status_2xx"] == 15, "the end of the copies")
    assert (proxy.counters("shadow")["mirrored"], proxy.counters("shadow")["mirror_dropped"]) == (15, 0)
    assert copies == {b"/%d" % i: body for i, body in enumerate(bodies)}


@pytest.mark.h1_only
@pytest.mark.skipif(IS_RELEASE, reason="the codec is built into debug builds only")
def test_a_reset_stream_leaves_no_copy(stage: Stage) -> None:
    real, shadow = stage.server(), stage.server()
    settings = mirrored(real.text, shadow.text)
    settings["frontends"]["web"]["bind"] = [{"address": LOOPBACK, **MUX}]
    stage.start(settings)
    mux = MuxClient(stage.address())
    stage.clients.append(mux)  # type: ignore[arg-type]
    stream = mux.begin("/cut", method="POST", end=False)
    stream.send_data(b"x" * 500)
    real.wait_requests(1)
    stream.reset()
    proxy = engine_of(stage)
    eventually(lambda: proxy.counters("shadow")["mirror_dropped"] == 1, "the copy to be given up")
    assert mux.get("/whole").body == b"hello"
    assert [request.target for request in shadow.wait_requests(1)] == ["/whole"]


SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def server_process() -> Iterator[tuple[int, str]]:
    """Run a server as a process of its own; yield its process id and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    try:
        yield process.pid, f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait(DEADLINE)
        process.stdout.close()


@pytest.mark.smoke
def test_thousands_of_requests_pass_while_the_mirror_is_stopped(daemon: Stage) -> None:
    with server_process() as (pid, address):
        real = daemon.server(answering(lambda request: reply(request.target.encode())))
        timeouts = {"connect": "200ms"}
        daemon.start(mirrored(real.text, address, workers=2, timeouts=timeouts, max_copies=20, timeout="500ms"))
        proxy = daemon.proxy
        assert isinstance(proxy, Lb)

        def mirrors() -> dict[str, int]:
            said = json.loads(proxy.admin("show mirrors"))
            assert [each["name"] for each in said["frontends"]] == ["web"]
            assert said["frontends"][0]["to"] == ["shadow"]
            (shadow,) = said["backends"]
            assert isinstance(shadow, dict)
            assert all(shadow[key] == said["frontends"][0][key] for key in ("mirrored", "dropped"))
            return shadow

        clients = [daemon.client() for _ in range(8)]
        body = b"x" * 3000
        for client in clients:
            assert client.get("/first", method="POST", body=body).body == b"/first"
        eventually(lambda: mirrors()["mirrored"] == 8, "eight copies")
        os.kill(pid, signal.SIGSTOP)
        try:
            for batch in range(50):
                for client in clients:
                    client.send(b"".join(ask(f"/{batch}/{i}", method="POST", body=body) for i in range(10)))
                for client in clients:
                    for i in range(10):
                        assert client.response("POST").body == b"/%d/%d" % (batch, i)
        finally:
            os.kill(pid, signal.SIGCONT)
        said = mirrors()
        assert said["mirrored"] + said["dropped"] == 4008
        assert said["dropped"] > 0
        assert len(real.requests) == 4008
        # It is alive again, and gets copies again.
        eventually(lambda: "shadow,BACKEND,,,0," in proxy.admin("show stat"), "the end of the copies")
        before = mirrors()["mirrored"]
        assert clients[0].get("/last", method="POST", body=body).body == b"/last"
        eventually(lambda: mirrors()["mirrored"] == before + 1, "one more copy")
