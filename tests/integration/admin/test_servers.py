"""Servers by hand, over the admin socket: what HAProxy answers and logs, lb answers and logs; and traffic follows."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.server import Server
from kit.settings import relay
from kit.stage import Stage

from tests.integration.admin.test_typed import exchange

CONFIGURATION = """
global
    stats socket {path} level admin
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend web
    bind unix@{path}.web
    default_backend app
backend app
    server s1 127.0.0.1:{port} check inter 200ms
    server s2 127.0.0.1:{port} weight 10
    server s3 127.0.0.1:{port} track app/s1
backend st
    balance source
    server t1 127.0.0.1:{port} weight 10
"""

SCRIPT = """
disable server app/s1
enable server app/s1
set server app/s1 state drain
set server app/s1 state drain
set server app/s1 state ready
set server app/s1 state maint
set server app/s1 state ready
set weight app/s2 50%
get weight app/s2
set weight app/s2 0
get weight app/s2
set weight app/s2 300
set weight app/s2 x
set weight app/s2 -5%
set weight app/s2 5x
set weight app/s2
set weight app/s2 100%
set weight app/s2 1000%
get weight app/s2
set weight st/t1 5
set weight st/t1 0
set weight st/t1 10
set server app/s2 weight 20
get weight app/s2
get weight app/none
get weight none/s1
get weight app
get weight
disable server app/none
disable server none/s1
disable server app
disable server
set server app/s1 state foo
set server app/s1 state
set server app/s2 health down
set server app/s2 health up
set server app/s1 health xx
disable server app/s3
enable server app/s3
set server app/s3 state drain
set server app/s3 state ready
disable health app/s1
enable health app/s1
enable health app/s2
show backend
show servers state none
""".strip().splitlines()


@pytest.fixture
def port() -> Iterator[int]:
    """Serve a port that takes connections and ends them."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as server:

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)


class Said:
    """Lines on stderr, as far as they tell of servers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0

    def news(self) -> list[str]:
        found = re.findall(
            r"(?:Backup )?(?:Server \S+/\S+ .*|backend \S+ has no server available!)", self._path.read_text()
        )
        new, self._seen = found[self._seen :], len(found)
        return [re.sub(r"check duration: \d+ms|'", "", line) for line in new]


def state_of(csv: str) -> dict[str, tuple[str, str, str, str]]:
    """Return status, weight, and active and backup servers of what `show stat` shows."""
    header, *rows = csv.strip().splitlines()
    names = header.removeprefix("# ").split(",")
    found = {}
    for line in rows:
        row = dict(zip(names, line.split(","), strict=False))
        if row["type"] in "12":
            # How far a check is, is a matter of moments.
            status = re.sub(r" \d+/\d+$", "", row["status"])
            active = row["act"] + row["bck"] if row["type"] == "1" else ""
            found[f"{row['pxname']}/{row['svname']}"] = (status, row["weight"], active, row["tracked"])
    return found


def test_a_conversation_goes_as_with_haproxy(daemon: Stage, port: int, tmp_path: Path) -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program is not None, "haproxy is not installed; .ci/run installs it"
    path, stderr = str(tmp_path / "sock"), tmp_path / "haproxy.stderr"
    (tmp_path / "cfg").write_text(CONFIGURATION.format(path=path, port=port))
    address = f"127.0.0.1:{port}"
    lb = daemon.start(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {"web": {"bind": [{"address": "127.0.0.1:0"}], "default_backend": "app"}},
            "backends": {
                "app": {
                    "servers": [
                        {"name": "s1", "address": address, "check": {"every": "200ms"}},
                        {"name": "s2", "address": address, "weight": 10},
                        {"name": "s3", "address": address, "track": "s1"},
                    ]
                },
                "st": {"balance": "source", "servers": [{"name": "t1", "address": address, "weight": 10}]},
            },
        }
    )
    assert isinstance(lb, Lb)
    lb.expect_stderr(r"Server (app|st)/|backend st has no server|backend 'st': no frontend uses it")
    with stderr.open("w") as out:
        process = subprocess.Popen([program, "-db", "-f", str(tmp_path / "cfg")], stderr=out)
    try:
        eventually(
            lambda: Path(path).exists() and "L4OK" in exchange(path, "show stat"), "HAProxy has checked its server"
        )
        eventually(lambda: "L4OK" in lb.admin("show stat"), "lb has checked its server")
        theirs, ours = Said(stderr), Said(lb.directory / "lb.stderr")
        theirs.news()
        ours.news()
        for command in SCRIPT:
            assert lb.admin(command) == exchange(path, command), command
            eventually(
                lambda: state_of(lb.admin("show stat")) == state_of(exchange(path, "show stat")),
                f"equal states: {command}",
            )
            mine, other = ours.news(), theirs.news()
            assert mine == other, command
    finally:
        process.terminate()
        process.wait(DEADLINE)


def columns(text: str, *names: str) -> list[tuple[str, ...]]:
    version, header, *rows = text.strip().splitlines()
    assert version == "1"
    at = [header.removeprefix("# ").split().index(name) for name in names]
    assert all(len(row.split()) == 25 for row in rows)
    return [tuple(row.split()[each] for each in at) for row in rows]


def answering(name: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name)


def ask(lb: Lb, times: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(times):
        with closing(socket.create_connection(lb.addresses["web"][0], DEADLINE)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := connection.recv(4096):
                answer += data
        found[answer.rpartition(b"\r\n")[2].decode()] += 1
    return found


def servers(daemon: Stage, *names: bytes) -> list[Server]:
    return [daemon.server(answering(name)) for name in names]


def test_traffic_follows(daemon: Stage) -> None:
    one, two = servers(daemon, b"one", b"two")
    lb = daemon.start(relay("http", one.text, two.text, workers=2))
    assert isinstance(lb, Lb)
    lb.expect_stderr("Server app/")
    assert ask(lb, 10) == {"one": 5, "two": 5}
    assert lb.admin("disable server app/s1") == "\n"
    assert ask(lb, 10) == {"two": 10}
    assert lb.admin("enable server app/s1") == "\n"
    assert lb.admin("set server app/s1 state drain") == "\n"
    assert ask(lb, 10) == {"two": 10}
    assert columns(lb.admin("show servers state app"), "srv_name", "srv_op_state", "srv_admin_state") == [
        ("s1", "2", "8"),
        ("s2", "2", "0"),
    ]
    assert lb.admin("set server app/s1 state ready") == "\n"
    assert lb.admin("set weight app/s1 4") == "\n"
    found = ask(lb, 50)
    assert abs(found["one"] - 40) <= 1
    # Others see the level of the socket only; what is not built says so.
    assert "is not built" in lb.admin("set server app/s1 addr 127.0.0.2")


def test_what_was_said_outlives_a_reload_and_a_worker(daemon: Stage) -> None:
    one, two = servers(daemon, b"one", b"two")
    settings = relay("http", one.text, two.text)
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)
    lb.expect_stderr("Server app/s1 enters drain state")
    lb.expect_stderr("reloaded, generation 2")
    lb.admin("set server app/s1 state drain")
    lb.write({**settings, "defaults": {"retries": 1}})
    assert "Success=1" in lb.admin("reload")
    assert ask(lb, 6) == {"two": 6}
    assert columns(lb.admin("show servers state"), "srv_admin_state", "srv_uweight", "srv_iweight") == [
        ("8", "1", "1"),
        ("0", "1", "1"),
    ]


def test_a_server_that_says_404_gets_no_new_users(daemon: Stage) -> None:
    state = {"answer": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none"}

    def serve(connection: object) -> None:
        request = connection.request()  # type: ignore[attr-defined]
        is_check = request.target == "/health"
        connection.send(state["answer"] if is_check else answering(b"one"))  # type: ignore[attr-defined]

    one, two = daemon.server(serve), daemon.server(answering(b"two"))
    check = {"http": "GET /health", "every": "50ms", "disable_on_404": True}
    lb = daemon.start(relay("http", {"address": one.text, "check": check}, two.text))
    assert isinstance(lb, Lb)
    lb.expect_stderr("Server app/s1 is (stopping|UP), reason: ")
    eventually(lambda: "L7OK" in lb.admin("show stat"), "a check")
    state["answer"] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    eventually(lambda: "NOLB" in lb.admin("show stat"), "the server is stopping")
    assert ask(lb, 6) == {"two": 6}
    state["answer"] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none"
    eventually(lambda: "NOLB" not in lb.admin("show stat"), "the server is back")
    assert set(ask(lb, 6)) == {"one", "two"}
