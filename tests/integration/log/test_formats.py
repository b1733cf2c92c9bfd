"""Custom log formats beside Debian's HAProxy: both run with the same formats, get the same requests and write the same lines.

What differs by its nature (times, ports of the kernel's choice) is masked digit by digit, so that even there signs and widths in
hexadecimal are compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")

# Both write the same.
SAME = re.findall(
    r"\w+",
    "ci fi si f ft b s ST CC CS ts tsc ac fc bc sc rc sq bq r HM HP HPO HQ HU HV H lc hr hrl hs hsl Th",
)
# Digits differ. HAProxy counts what it keeps of a head, not what came, and not at all what a server that is gone does not take.
MASKED = re.findall(r"\w+", "U cp fp bp sp bi t tr T Tl Ts trg trl ms TR Tw Tc Tr Ta Tt Td Ti Tq Tu B rt pid ID")
TCP_ONLY = {"CC", "CS", "Ta", "Ti", "Tq", "Tr", "TR", "HM", "HP", "HPO", "HQ", "HU", "HV", "r", "tr", "trg", "trl"}

FLAGS = ("", "{+Q}", "{-M}", "{+X}", "{+E}", "{+Q,+E}", "{+Q,-M}", "{+X,+Q}")
WHOLE = [
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r",
    "  two  blanks   and %hr %hs  between %% signs %{+Q}o %f %{-Q}f %b %s %hr ",
    '%{+Q}o %{-Q}ci - - [%trg] %r %ST "" "" %ms %ft %b %s %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl',
    "%{+E}o{%HM}[%HU]%%]%HP%{-E}HU<%HQ>#;'",
    "%{+X}o%ci-%Ts-%{-X}lc",
]

# What a frontend captures and keeps, in HAProxy's words and ours.
THEIR_CAPTURES = """
 capture request header Host len 3
 capture request header X-A len 40
 declare capture request len 10
 capture response header Content-Length len 8
 capture response header X-None len 8
 http-request set-var(txn.path) url
 http-request set-var(req.gone) int(1)
 http-request set-var-fmt(txn.made) "<%ci %HM %[url] %f %{+X}pid>"
 http-request capture method len 2
 http-request capture req.hdr(host) id 2
"""
OUR_CAPTURES = {
    "captures": {
        "request": [{"header": "host", "len": 3}, {"header": "x-a", "len": 40}, {"len": 10}],
        "response": [{"header": "content-length", "len": 8}, {"header": "x-none", "len": 8}],
    },
    "rules": [
        {"set_var": ["txn.path", "url"]},
        {"set_var": ["req.gone", "int(1)"]},
        {"set_var_fmt": ["txn.made", "<%ci %HM %[url] %f %{+X}pid>"]},
        {"capture": {"expression": "method", "len": 2}},
        {"capture": {"expression": "req.hdr(host)", "id": 2}},
    ],
}
CAPTURING = [
    *(f"%{flags}hr %{flags}hs {each} %{flags}hrl %{flags}hsl" for flags in FLAGS[:4] for each in ("", "-")),
    "%[var(txn.path)] %{+Q}[var(txn.path)] %[var(txn.none)] %{+Q}[var(txn.none)] %{-M}[var(txn.none)] %[var(req.gone)]",
    "%[src] %[int(5)] %[str(a b),upper] %{+Q}[fe_name] %[be_name] %{+Q}o %[src] %{-Q}[int(7),add(1)] %[always_true]",
    "%[capture.req.hdr(0)] %[capture.req.hdr(1)] %[capture.req.hdr(2)] %[capture.req.hdr(3)] %[capture.req.hdr(9)]",
    "%[capture.res.hdr(0)] %[capture.res.hdr(1)] %{+Q}[capture.res.hdr(1)] %[capture.req.method] %[capture.req.ver]",
    "%ci %{+Q}[capture.req.uri] %[capture.res.ver] %HM %ST %b/%s %ts",
    "pid=%[var(txn.made)]",
]

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /a/b?c=d&e=%20f?g HTTP/1.0\r\nHost: x\r\n\r\n",
    b'POST /a"b{}|\\^[]<>#x?q]\\ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc',
    b"GET http://x/abs?u HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b'GET /c?x HTTP/1.1\r\nHost: example\r\nX-A: one {two|three} \\ "q" #\xe4\r\nX-A: last, of it {}|\r\nConnection: close\r\n\r\n',
    b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"nonsense\r\n\r\n",
]


def formats(mode: str) -> list[str]:
    names = [name for name in (*SAME, *MASKED) if mode == "http" or name not in TCP_ONLY]
    # Two halves: a record has to hold what each variable may need.
    halves = (names[::2], names[1::2])
    made = ["|".join(f"{name}=%{flags}{name}" for name in half) for flags in FLAGS for half in halves]
    return [*made, *WHOLE, *CAPTURING] if mode == "http" else made


def masked(line: str) -> str:
    """Replace what differs by nature."""
    line = re.sub(r"\[\d\d/\w{3}/\d{4}:[^\]]*\]", "[date]", line)
    line = re.sub(r"(127\.0\.0\.1):\d+", r"\1:port", line)
    line = re.sub(r"(?<= )-?\d+/-?\d+/-?\d+/-?\d+/\d+ (?=-?\d+ - - )", _timers, line)
    line = re.sub(r'(?<="" "" )\d{3} ', "ms ", line)
    line = re.sub(r"-[0-9A-F]{8}-", "-seconds-", line)

    def mask(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in MASKED:
            return found[0]
        if name == "ID":
            return name  # each has its own, and HAProxy none for what it could not read
        # A number that is there, whatever its length; a month is one too.
        return name + "=" + re.sub(r"[A-Z][a-z]{2}|[0-9A-F]+", "0", value)

    return re.sub(r"(\w+)=([^|]*)", mask, line)


def _timers(found: re.Match[str]) -> str:
    return re.sub(r"\d+", "0", found[0].replace("-1", "none"))


def different(ours: str, theirs: str) -> list[tuple[str, str]]:
    """Return the variables in which two lines differ."""
    pairs = zip(masked(ours).split("|"), masked(theirs).split("|"), strict=True)
    return [(one, other) for one, other in pairs if one != other]


def answer_all(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data or (data.startswith(b"POST") and not data.endswith(b"abc")):
                    more = connection.recv(65536)
                    if not more:
                        break
                    data += more
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")


def ask(address: Any, request: bytes) -> None:
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection(address[:2], timeout=DEADLINE) as client,
    ):
        client.sendall(request)
        while client.recv(65536):
            pass


class Pair:
    """lb and HAProxy with the same frontends."""

    def __init__(self, directory: Path, mode: str, server: int, gone: int, stack: contextlib.ExitStack) -> None:
        assert HAPROXY is not None
        self.formats = formats(mode)
        frontends: dict[str, Any] = {}
        config = [
            "global\n log stdout len 8192 format raw local0\n nbthread 1",
            "defaults\n log global\n timeout client 10s\n timeout server 10s\n timeout connect 10s\n retries 0",
            f"backend app\n mode {mode}\n server a 127.0.0.1:{server}",
            f"backend gone\n mode {mode}\n server b 127.0.0.1:{gone}",
        ]
        self.listeners: dict[str, socket.socket] = {}
        for number, text in enumerate(self.formats):
            for backend in ("app", "gone"):
                name = f"f{number}-{backend}"
                line = f"{name} {text}"
                sock = self.listeners[name] = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                quoted = line.replace("\\", "\\\\").replace('"', '\\"')
                config.append(
                    f"frontend {name}\n mode {mode}\n bind fd@{sock.fileno()}\n default_backend {backend}\n"
                    f' log-format "{quoted}"\n unique-id-format %{{+X}}o%pid-%rt'
                    + (THEIR_CAPTURES if text in CAPTURING else "")
                )
                frontends[name] = {
                    "mode": mode,
                    "bind": ["127.0.0.1:0"],
                    "default_backend": backend,
                    "log_format": line.replace("\\", "\\\\"),
                    **(OUR_CAPTURES if text in CAPTURING else {}),
                }
        file = directory / "haproxy.cfg"
        file.write_text("\n".join(config) + "\n")
        self.theirs = directory / "haproxy.log"
        with self.theirs.open("wb") as out, (directory / "haproxy.err").open("wb") as err:
            self.process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[each.fileno() for each in self.listeners.values()],
            )
        stack.callback(self.process.wait)
        stack.callback(self.process.terminate)
        settings = {
            "version": 1,
            "global": {"workers": 1},
            "defaults": {"retries": 0},
            "frontends": frontends,
            "backends": {
                "app": {"servers": [{"name": "a", "address": f"127.0.0.1:{server}"}]},
                "gone": {"servers": [{"name": "b", "address": f"127.0.0.1:{gone}"}]},
            },
        }
        self.lb = Lb(settings, directory)
        stack.callback(self.lb.stop)

    def lines(self) -> tuple[list[str], list[str]]:
        theirs = [
            each for each in self.theirs.read_bytes().decode("ascii").split("\n")[:-1] if re.match(r"f\d+-", each)
        ]
        return self.lb.log_lines(), theirs

    def ask(self, name: str, request: bytes) -> tuple[str, str]:
        """Let both serve a request; return their lines."""
        before = [len(each) for each in self.lines()]
        ask(self.lb.addresses[name][0], request)
        ask(self.listeners[name].getsockname(), request)
        eventually(lambda: all(len(a) > b for a, b in zip(self.lines(), before, strict=True)), f"lines of {name}")
        ours, theirs = self.lines()
        return ours[-1], theirs[-1]


@pytest.fixture(scope="module", params=["http", "tcp"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=answer_all, args=(server,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown, socket.SHUT_RDWR)
        # Bound and not listening: every connection is refused.
        gone = stack.enter_context(socket.socket())
        gone.bind(("127.0.0.1", 0))
        directory = tmp_path_factory.mktemp(request.param)
        yield Pair(directory, request.param, server.getsockname()[1], gone.getsockname()[1], stack)


@pytest.mark.parametrize("request_bytes", REQUESTS, ids=range(len(REQUESTS)))
def test_every_format_is_haproxys(pair: Pair, request_bytes: bytes) -> None:
    for number, text in enumerate(pair.formats):
        ours, theirs = pair.ask(f"f{number}-app", request_bytes)
        assert different(ours, theirs) == [], text


def test_every_format_of_a_server_that_is_gone_is_haproxys(pair: Pair) -> None:
    for number, text in enumerate(pair.formats):
        ours, theirs = pair.ask(f"f{number}-gone", REQUESTS[0])
        # Of a connection that never was, HAProxy shows 0.0.0.0; lb shows that there is none.
        found = [each for each in different(ours, theirs) if not re.search(r"(^| )b[ip]=", each[1])]
        assert found == [], text
