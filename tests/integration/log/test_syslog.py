"""Access records at syslog servers, through the real processes; and headers beside HAProxy's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.server import Server, answering
from kit.settings import Settings, relay

import lb.config
from lb._speedups.face.logdrain import LogDrain, Syslog
from lb._speedups.face.mapping import Mapping
from lb._speedups.face.testing_log import Ring
from lb.supervisor.logs import targets_of

ROOT = Path(__file__).resolve().parents[3]
HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
LINE = re.compile(
    rb"127\.0\.0\.1:\d+ \[\S+\] web app/s1 \d+/\d+/\d+/\d+/\d+ 200 \d+ - - ---- \S+ 0/0 \"GET (\S+) HTTP/1\.1\""
)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(answering())
    yield server
    server.close()


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE)
        yield sock


def place(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def logging(server: Server, *targets: dict[str, Any]) -> Settings:
    settings = relay("http", server.text)
    settings["global"]["log"] = list(targets)
    return settings


@contextlib.contextmanager
def running(settings: Settings, directory: Path) -> Iterator[Lb]:
    lb = Lb(settings, directory, log=False)
    try:
        yield lb
    finally:
        lb.stop()


def ask(lb: Lb, *targets: str) -> None:
    with contextlib.closing(Client(lb.addresses["web"][0])) as client:
        for target in targets:
            assert client.get(target).status == 200


def dropped(lb: Lb) -> int:
    found = re.search(r"^DroppedLogs: (\d+)$", lb.admin("show info"), re.MULTILINE)
    assert found
    return int(found[1])


def test_each_server_gets_its_own_header_and_the_pid_that_was_started(
    server: Server, collector: socket.socket, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind(str(tmp_path / "dev-log"))
        for sock in (unix, tcp):
            sock.settimeout(DEADLINE)
        settings = logging(
            server,
            {"to": f"unix:{tmp_path}/dev-log", "format": "haproxy", "facility": "daemon"},
            {"to": f"udp:{place(collector)}", "format": "haproxy", "severity": "notice", "tag": "edge"},
            {"to": f"tcp:{place(tcp)}", "syslog": "rfc5424", "facility": "local7"},
        )
        with running(settings, tmp_path) as lb:
            pid = lb.process.pid
            connection, _ = tcp.accept()
            connection.settimeout(DEADLINE)
            ask(lb, "/a")
            header, _, line = unix.recv(65536).partition(b": ")
            assert re.fullmatch(rb"<30>\w{3} [ 123]\d \d\d:\d\d:\d\d lb\[%d\]" % pid, header)
            assert LINE.fullmatch(line)
            header, _, line = collector.recv(65536).partition(b": ")
            assert re.fullmatch(rb"<133>\w{3} [ 123]\d \d\d:\d\d:\d\d \S+ edge\[%d\]" % pid, header)
            assert LINE.fullmatch(line)
            with connection, connection.makefile("rb") as stream:
                digits = b""
                while not digits.endswith(b" "):
                    digits += stream.read(1)
                message = stream.read(int(digits))
        header, _, line = message.partition(b" - - ")
        assert re.fullmatch(rb"<190>1 \S+T\S+ \S+ lb %d" % pid, header)
        assert json.loads(line)["target"] == "/a"


def test_a_server_that_is_away_costs_records_and_no_request(
    server: Server, collector: socket.socket, tmp_path: Path
) -> None:
    away = f"udp:{place(collector)}"
    kept = collector.getsockname()
    collector.close()
    with running(logging(server, {"to": away, "format": "haproxy"}), tmp_path) as lb:
        lb.expect_stderr(
            f"log '{away}': (connection refused; records wait|takes records again|[0-9]+ records? dropped)"
        )
        # The kernel tells with a later datagram that nobody took the one before.
        eventually(lambda: ask(lb, "/x", "/y") or dropped(lb) > 0, "a dropped record in `show info`")
        eventually(lambda: ask(lb, "/x") or "connection refused" in lb.stderr(), "a line about it")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as returned:
            returned.bind(kept)
            returned.settimeout(DEADLINE)
            ask(lb, "/back")
            targets = [b""]
            while targets[-1] != b"/back":
                found = LINE.search(returned.recv(65536))
                assert found
                targets.append(found[1])


def test_a_reload_moves_records_to_another_server(server: Server, collector: socket.socket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.bind(str(tmp_path / "dev-log"))
        unix.settimeout(DEADLINE)
        with running(logging(server, {"to": f"udp:{place(collector)}"}), tmp_path) as lb:
            ask(lb, "/first")
            assert b'"/first"' in collector.recv(65536)
            lb.write(logging(server, {"to": f"unix:{tmp_path}/dev-log", "tag": "second"}))
            lb.expect_stderr("reloaded, generation 2")
            lb.admin("reload")
            ask(lb, "/second")
            message = unix.recv(65536)
            assert b" second[%d]: " % lb.process.pid in message
            assert b'"/second"' in message
            # There is nothing to open again.
            lb.expect_stderr("log files reopened")
            lb.send_signal(signal.SIGUSR1)
            eventually(lambda: "log files reopened" in lb.stderr(), "SIGUSR1 to be obeyed")


def test_the_example_leads_where_it_says() -> None:
    compiled = lb.config.compile(str(ROOT / "conf/syslog.yaml"))
    assert targets_of(compiled.part) == [
        Syslog("unix:/dev/log", "local", 16 * 8 + 6, "lb"),
        Syslog("udp:192.0.2.10:514", "rfc3164", 17 * 8 + 6, "lb"),
        Syslog("tcp:192.0.2.11:601", "rfc5424", 16 * 8 + 5, "edge-1"),
    ]


# ---- HAProxy ----------------------------------------------------------------------------------------------

HAPROXY_CONFIG = """
global
  log 127.0.0.1:{port} format {form} daemon
  log-send-hostname {host}
  log-tag edge-1
defaults
  timeout client 10s
  timeout server 10s
  timeout connect 10s
  log global
frontend web
  mode http
  option httplog
  bind fd@{listener}
  http-request return status 200
"""


def without_changing(message: bytes) -> bytes:
    """Write the figures of a header, which differ, as zeros of the same width."""
    header = re.match(rb"<\d+>(1 \S+T\S+|\w{3} [ 123]\d \d\d:\d\d:\d\d) ", message)
    assert header, message
    clock = re.sub(rb"[0-9]", b"0", re.sub(rb"^\w{3} [ 123]", b"Mmm 0", header[1]))
    return re.sub(rb"(edge-1[ \[])\d+", rb"\g<1>0", message[: header.start(1)] + clock + message[header.end(1) :])


@pytest.mark.parametrize("form", ["local", "rfc3164", "rfc5424"])
def test_a_header_is_haproxys(form: str, collector: socket.socket, tmp_path: Path) -> None:
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    host = socket.gethostname()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file = tmp_path / "haproxy.cfg"
        port = collector.getsockname()[1]
        # There `local` becomes rfc3164 when a host name is asked for.
        text = HAPROXY_CONFIG.format(port=port, form=form, host=host, listener=listener.fileno())
        file.write_text(text.replace(f"  log-send-hostname {host}\n", "") if form == "local" else text)
        process = subprocess.Popen(
            [HAPROXY, "-f", str(file), "-db"],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with socket.create_connection(listener.getsockname(), timeout=DEADLINE) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            theirs = collector.recv(65536)
        finally:
            process.terminate()
            process.wait()
    at = theirs.index(b"127.0.0.1:")
    mapping = Mapping.create()
    mapping.reserve(1)
    drain = LogDrain(mapping, [Syslog(f"udp:127.0.0.1:{port}", form, 30, "edge-1")])  # type: ignore[arg-type]
    try:
        assert Ring(mapping, 1).write(theirs[at:].rstrip(b"\n"))
        ours = collector.recv(65536)
    finally:
        drain.stop()
        mapping.close()
    # HAProxy ends a datagram with a line feed.
    assert without_changing(ours) + b"\n" == without_changing(theirs)


def test_a_rule_sets_the_severity(server: Server, collector: socket.socket, tmp_path: Path) -> None:
    settings = logging(
        server,
        {"to": f"udp:{place(collector)}", "format": "haproxy", "level": "warning", "min_level": "crit"},
    )
    levels = ["debug", "emerg", "crit", "err", "warning", "notice"]
    settings["frontends"]["web"]["rules"] = [{"set_log_level": level, "if": f"{{ path /{level} }}"} for level in levels]
    with running(settings, tmp_path) as lb:
        ask(lb, *(f"/{level}" for level in levels), "/none")
        found = [collector.recv(4096) for _ in range(4)]
    # Facility local0 is 128; a target takes what is grave enough, and is told nothing graver than its `min_level`.
    said = [(int(each[1 : each.index(b">")]) - 128, re.search(rb"GET /(\w+)", each)[1]) for each in found]  # type: ignore[index]
    assert said == [(2, b"emerg"), (2, b"crit"), (3, b"err"), (4, b"warning")]
