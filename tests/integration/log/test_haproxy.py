"""lb's log lines beside those of Debian's HAProxy: what it writes, lb writes byte for byte."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lb._speedups.face.testing_log import Lines

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")

CONFIG = """
global
  log {socket} len 8192 format raw local0
defaults
  timeout client 10s
  timeout server 10s
  timeout connect 10s
  log global
frontend web
  mode http
  option httplog
  bind fd@{web4}
  bind fd@{web6}
  bind fd@{web_unix}
  use_backend none if {{ path /none }}
  default_backend app
frontend db
  mode tcp
  option tcplog
  bind fd@{db}
  default_backend store
backend app
  mode http
  http-request return status 200 if {{ path /me }}
  server a 127.0.0.1:{server}
backend none
  mode http
backend store
  mode tcp
  server a 127.0.0.1:{server}
"""

START = (
    r"(?P<client>.+):(?P<port>\d+) \[(?P<date>.+)\.(?P<ms>\d\d\d)\] (?P<frontend>\w+) (?P<backend>\w+)/(?P<server>\S+) "
)
COUNTS = (
    r"(?P<actconn>\d+)/(?P<feconn>\d+)/(?P<beconn>\d+)/(?P<srvconn>\d+)/(?P<redispatched>\+?)(?P<retries>\d+) "
    r"(?P<srvqueue>\d+)/(?P<bequeue>\d+)"
)
HTTP = (
    START + r"(?P<request_ms>-?\d+)/(?P<queue_ms>-?\d+)/(?P<connect_ms>-?\d+)/(?P<response_ms>-?\d+)/(?P<active_ms>\d+) "
    r"(?P<status>-?\d+) (?P<bytes_out>\d+) - - (?P<termination>..)-- "
    + COUNTS + r' "(?P<request>.*)"'
)  # fmt: skip
TCP = (
    START
    + r"(?P<queue_ms>-?\d+)/(?P<connect_ms>-?\d+)/(?P<active_ms>\d+) (?P<bytes_out>\d+) (?P<termination>..) "
    + COUNTS
)
TEXTS = {"client", "date", "ms", "frontend", "backend", "server", "redispatched", "termination", "request"}


def ours(form: str, line: str, sent: bytes) -> str:
    """Read HAProxy's line into the fields of a view, and let lb write it."""
    match = re.fullmatch(HTTP if form == "http" else TCP, line)
    assert match, line
    found = match.groupdict()
    fields: dict[str, object] = {name: int(text) for name, text in found.items() if name not in TEXTS}
    if fields.get("status") == -1:
        fields["status"] = 0
    for name in ("frontend", "backend", "server", "termination"):
        fields[name] = found[name]
    if found["server"] == "<NOSRV>":
        fields["server"] = ""
    client = found["client"]
    fields["family"] = socket.AF_UNIX if client == "unix" else socket.AF_INET6 if ":" in client else socket.AF_INET
    fields["address"] = client
    fields["redispatched"] = found["redispatched"] == "+"
    second = int(time.mktime(time.strptime(found["date"], "%d/%b/%Y:%H:%M:%S")))
    fields["accept_us"] = second * 1_000_000 + int(found["ms"]) * 1000
    if form == "http":
        fields["has_request"] = found["request"] != "<BADREQ>"
        if fields["has_request"]:
            # From what was sent, not from what was logged: escaping is compared too.
            fields["method"], fields["target"], version = sent.split(b"\r\n")[0].split(b" ")
            fields["http10"] = version == b"HTTP/1.0"
    return Lines().line("http" if form == "http" else "tcp", **fields).decode("ascii")


def answer_all(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


Ask = Callable[[str, bytes], str]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Send bytes to a listener of HAProxy and return the line it logs."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    folder = tmp_path_factory.mktemp("haproxy")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        log.bind(str(folder / "log"))
        log.settimeout(10)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        # What HAProxy cannot take yet waits in these, so nobody has to wait for HAProxy.
        listeners = {
            "web4": socket.create_server(("127.0.0.1", 0)),
            "web6": socket.create_server(("::1", 0), family=socket.AF_INET6),
            "web_unix": socket.socket(socket.AF_UNIX),
            "db": socket.create_server(("127.0.0.1", 0)),
        }
        for each in listeners.values():
            stack.enter_context(each)
        listeners["web_unix"].bind(str(folder / "web"))
        listeners["web_unix"].listen()
        config = folder / "haproxy.cfg"
        config.write_text(
            CONFIG.format(
                socket=folder / "log",
                server=server.getsockname()[1],
                **{name: each.fileno() for name, each in listeners.items()},
            )
        )
        thread = threading.Thread(target=answer_all, args=(server,))
        thread.start()
        errors = stack.enter_context(open(folder / "stderr", "wb"))
        process = subprocess.Popen(
            [HAPROXY, "-f", str(config), "-db"],
            pass_fds=[each.fileno() for each in listeners.values()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )

        def send(to: str, data: bytes) -> str:
            with socket.socket(listeners[to].family) as client:
                client.settimeout(10)
                client.connect(listeners[to].getsockname())
                client.sendall(data)
                while client.recv(65536):
                    pass
            while True:
                try:
                    line = log.recv(65536).decode().rstrip("\n")
                except TimeoutError:
                    pytest.fail(f"no log line: {Path(folder, 'stderr').read_text()}")
                if re.match(r"\S+:\d+ \[", line):
                    return line

        try:
            yield send
        finally:
            process.terminate()
            process.wait()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("to", "request_bytes"),
    [
        ("web4", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ("web4", b"GET /a?b=c&d=%20 HTTP/1.0\r\nHost: x\r\n\r\n"),
        ("web4", b'GET /a"b{}|\\^[]<> HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
        ("web4", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ("web4", b"GET http://x/abs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ("web4", b"GET /me HTTP/1.0\r\nHost: x\r\n\r\n"),  # answered by HAProxy itself
        ("web4", b"GET /none HTTP/1.0\r\nHost: x\r\n\r\n"),  # no server
        ("web4", b"nonsense\r\n\r\n"),
        ("web4", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("web4", b"GET /" + b"x" * 900 + b" HTTP/1.0\r\nHost: x\r\n\r\n"),
        ("web6", b"GET /six HTTP/1.0\r\nHost: x\r\n\r\n"),
        ("web_unix", b"GET /unix HTTP/1.0\r\nHost: x\r\n\r\n"),
    ],
)
def test_an_http_line_is_haproxys(ask: Ask, to: str, request_bytes: bytes) -> None:
    line = ask(to, request_bytes)
    assert ours("http", line, request_bytes) == line


@pytest.mark.parametrize("data", [b"hello", b"\x00\xff"])
def test_a_tcp_line_is_haproxys(ask: Ask, data: bytes) -> None:
    line = ask("db", data)
    assert ours("tcp", line, data) == line
