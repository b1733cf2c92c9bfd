"""HTTP through the real engine while everything around it changes and dies."""

from __future__ import annotations

import http.client
import http.server
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.echo import PATIENCE_S, Echo, wait_until


class Page(http.server.BaseHTTPRequestHandler):
    """Answer with the server's name; `/slow` first waits until the test lets it go."""

    protocol_version = "HTTP/1.1"
    server: Server
    wbufsize = -1  # a response is one segment

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.asked.set()
            self.server.gate.wait(PATIENCE_S)
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.name = name
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.address = f"127.0.0.1:{self.server_port}"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    found = [Server(f"s{number}") for number in range(3)]
    threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in found]
    for thread in threads:
        thread.start()
    yield found
    for each in found:
        each.shutdown()
        each.server_close()
    for thread in threads:
        thread.join()


class Lb(Echo):
    """lb with its real engine before HTTP servers."""

    def __init__(self, directory: Path, servers: list[Server], **changes: object) -> None:
        self.servers = servers
        super().__init__(directory, **changes)

    def arguments(self, ready_fd: int) -> list[str]:
        return ["-P", "-m", "lb", "run", "-f", str(self.file), "--ready-fd", str(ready_fd)]

    def proxies(self) -> dict[str, object]:
        return {
            "frontends": {"web": {"bind": self.binds, "default_backend": "app"}},
            "backends": {"app": {"servers": [{"name": each.name, "address": each.address} for each in self.servers]}},
        }


def get(client: http.client.HTTPConnection, path: str = "/") -> str:
    client.request("GET", path)
    response = client.getresponse()
    body = response.read().decode()
    return body if response.status == 200 else f"{response.status} {body}"


@contextmanager
def clients(lb: Lb, number: int, names: set[str]) -> Iterator[list[str]]:
    """Have clients ask on one kept connection each; yields what went wrong."""
    is_over = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        client = http.client.HTTPConnection(*lb.address(), timeout=PATIENCE_S)
        client.connect()
        own = client.sock
        answered = 0
        try:
            while not answered or not is_over.is_set():
                answer = get(client)
                answered += 1
                if answer not in names:
                    wrong.append(answer)
                elif client.sock is not own:
                    wrong.append("the connection was not kept")
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))
        finally:
            client.close()

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.smoke
def test_reloads_lose_no_request_and_no_connection(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers) as lb:
        with clients(lb, 4, {each.name for each in servers}) as wrong:
            for round_ in range(12):
                lb.servers = servers[: round_ % 3 + 1]
                lb.binds = ["127.0.0.1:0", {"address": "127.0.0.1:0", "name": f"more{round_ % 2}"}]
                assert lb.reload().startswith("Success=1\n"), lb.errors()
        assert wrong == []


def test_new_requests_on_a_kept_connection_go_to_the_new_servers(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers[:1], workers=1) as lb:
        client = http.client.HTTPConnection(*lb.address(), timeout=PATIENCE_S)
        assert get(client) == "s0"
        own = client.sock
        lb.servers = servers[1:2]
        lb.reload()
        assert get(client) == "s1"
        assert client.sock is own
        client.close()


def test_a_request_under_way_ends_with_the_server_it_began_with(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers[:1]) as lb:
        client = http.client.HTTPConnection(*lb.address(), timeout=PATIENCE_S)
        client.request("GET", "/slow")
        assert servers[0].asked.wait(PATIENCE_S)
        lb.servers = servers[1:2]
        assert lb.reload().startswith("Success=1\n")
        servers[0].gate.set()
        assert client.getresponse().read() == b"s0"
        client.close()


def test_a_drain_lets_a_request_under_way_end(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers[:1]) as lb:
        client = http.client.HTTPConnection(*lb.address(), timeout=PATIENCE_S)
        client.request("GET", "/slow")
        assert servers[0].asked.wait(PATIENCE_S)
        lb.signal(signal.SIGTERM)
        wait_until(lb.is_refusing)  # the workers know
        servers[0].gate.set()
        response = client.getresponse()
        assert response.read() == b"s0"
        assert response.getheader("connection") == "close"
        assert lb.wait() == 0
        client.close()


def test_a_worker_has_one_thread(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers, log=[{"to": str(tmp_path / "access.log")}]) as lb:
        with clients(lb, 2, {each.name for each in servers}) as wrong:
            lb.reload()
        assert wrong == []
        for worker in lb.ready["workers"]:
            assert len(os.listdir(f"/proc/{worker}/task")) == 1


def test_killing_a_worker_leaves_gauges_and_successor_right(tmp_path: Path, servers: list[Server]) -> None:
    with Lb(tmp_path, servers, maxconn=1000) as lb:

        def current() -> list[str]:
            rows = [line.split(",") for line in lb.command("show stat").splitlines()]
            return [row[4] for row in rows if row[1:2] != ["svname"] and len(row) > 4]

        with clients(lb, 8, {each.name for each in servers}) as wrong:
            wait_until(lambda: lb.command("show info").count("CurrConns: 8\n"))
            for pid in lb.ready["workers"]:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(wrong) >= 8)
        # Each client lost its connection; one that came back between the two deaths lost it twice, and nothing else happened.
        assert 8 <= len(wrong) <= 16
        lb.said("was ended by SIGKILL", times=2)
        wait_until(lambda: set(current()) == {"0"})
        with clients(lb, 4, {each.name for each in servers}) as wrong:
            wait_until(lambda: lb.command("show info").count("CurrConns: 4\n"))
        assert wrong == []
        wait_until(lambda: set(current()) == {"0"})
