"""Cookies beside HAProxy's: the same requests and answers through both, and byte for byte the same cookies either way.

A request says by `X-Set` and `X-Cache` what the server's answer holds; the answer's body is what the server saw of `Cookie`.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.log import parse
from kit.message import Request, reply
from kit.server import Server, answering
from kit.settings import LOOPBACK, Settings

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

# What HAProxy is told, and what lb.
BACKENDS: list[tuple[str, Settings]] = [
    ("cookie SRV insert", {"cookie": {"name": "SRV"}}),
    (
        "cookie SRV insert indirect nocache httponly secure domain .a.test domain .b.test",
        {
            "cookie": {
                "name": "SRV", "indirect": True, "nocache": True, "httponly": True, "secure": True,
                "domain": [".a.test", ".b.test"],
            }
        },
    ),
    ("cookie SRV insert postonly nocache", {"cookie": {"name": "SRV", "postonly": True, "nocache": True}}),
    ("cookie SRV insert indirect preserve", {"cookie": {"name": "SRV", "indirect": True, "preserve": True}}),
    (
        "cookie SRV insert indirect maxidle 30m maxlife 8h",
        {"cookie": {"name": "SRV", "indirect": True, "max_idle": "30m", "max_life": "8h"}},
    ),
    ("cookie SRV insert maxlife 1h", {"cookie": {"name": "SRV", "max_life": "1h"}}),
    ("cookie SRV insert indirect maxidle 100s", {"cookie": {"name": "SRV", "indirect": True, "max_idle": "100s"}}),
    ("cookie SRV rewrite", {"cookie": {"name": "SRV", "mode": "rewrite"}}),
    ("cookie SRV prefix", {"cookie": {"name": "SRV", "mode": "prefix"}}),
    ("cookie SRV", {"cookie": {"name": "SRV", "mode": "passive"}}),
    ("cookie SRV indirect", {"cookie": {"name": "SRV", "mode": "passive", "indirect": True}}),
    ("cookie SRV insert indirect\n option persist", {"cookie": {"name": "SRV", "indirect": True}, "persist": True}),
    (
        """cookie SRV insert indirect attr SameSite=Lax
 force-persist if { req.hdr(x-force) -m found }
 ignore-persist if { req.hdr(x-ignore) -m found }""",
        {
            "cookie": {"name": "SRV", "indirect": True, "attr": ["SameSite=Lax"]},
            "force_persist": "{ req.hdr(x-force) -m found }",
            "ignore_persist": ["{ req.hdr(x-ignore) -m found }"],
        },
    ),
]  # fmt: skip


def dates(*ago_s: int) -> str:
    return "".join("|" + digits((int(time.time()) - each) // 4) for each in ago_s)


def digits(number: int) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return "".join(alphabet[number >> 6 * each & 63] for each in (4, 3, 2, 1, 0))


COOKIES: list[list[str]] = [
    [],
    ["SRV=a"],
    ["SRV=b"],
    ["SRV=c"],
    ["SRV=zz"],
    ["SRV="],
    ["SRV"],
    ["x=1; SRV=b; y=2"],
    ["SRV=b; y=2"],
    ["x=1; SRV=b"],
    ["x=1;SRV=b;y=2"],
    ["x=1 ;  SRV = b ;   y=2"],
    ["  x = 1;y= 2 "],
    ["SRV=b~app"],
    ["SRV=zz~app"],
    ["SRV=~app"],
    ["SRV=b~"],
    ["x=1; SRV=a~v~w; z"],
    ["SRV=b; SRV=a"],
    ["SRV=c; SRV=b"],
    ["SRVX=b; XSRV=a"],
    ["SRV=b|Xc8bV"],
    ["SRV=b|Xc8b"],
    ["SRV=b|!!!!!|?"],
    ["SRV=|Xc8bV"],
    ["$Version=1; SRV=b; $Path=/; y=2"],
    ["$Version=1; x=1; SRV=b; $Path=/"],
    ['q="a;b"; SRV=b; r="\\";"'],
    ['SRV="b"'],
    ["SRV=b", "SRV=a"],
    ["x=1", "SRV=b", "y=2"],
    [";;SRV=b"],
    ["SRV=b;;"],
    ["a=1,SRV=b"],
    ["SRV=b,a=1"],
    ["=x; SRV=b"],
    ["x; SRV=b; y"],
    ["SRV=b; x; SRV=a; y=2"],
]
DATED = [
    (60,),
    (200,),
    (3600 * 9,),
    (60, 60),
    (60, 7200),
    (60, 3600 * 9),
    (3600, 7200),
    (-60, 60),
    (-90000, 60),
    (60, -90000),
]
SET: list[list[str]] = [
    [],
    ["SRV=foo; path=/"],
    ["x=1", "SRV=foo", "y=2"],
    ["SRV = foo ; Secure; Expires=Thu, 01-Jan-2037 00:00:01 GMT"],
    ["srv=foo", "SRV"],
    ["SRV=; Max-Age=0"],
    ['SRV="q;r"; Secure'],
]


class Case(NamedTuple):
    """One request."""

    method: str
    cookies: list[str]
    set: list[str]
    more: tuple[str, ...] = ()


def cases() -> list[Case]:
    """Return what every backend is asked."""
    found = [Case("GET", each, SET[number % 2]) for number, each in enumerate(COOKIES)]
    found += [Case("GET", each, SET[1 - number % 2]) for number, each in enumerate(COOKIES)]
    found += [
        Case("GET", cookie, given) for given in SET[2:] for cookie in ([], ["SRV=a"], ["SRV=b"], ["SRV=c"], ["SRV=d"])
    ]
    found += [Case("POST", cookie, given) for given in SET[:2] for cookie in ([], ["SRV=b"])]
    for status in (200, 302, 404, 500):
        for caching in ("", "max-age=60", "private", "public", "no-cache, max-age=5", "max-age=0", "s-maxage=9", "e"):
            found.append(Case("GET", ["SRV=zz"], [], (f"X-Status: {status}", f"X-Cache: {caching}")))
    for each in DATED:
        found += [Case("GET", [f"SRV=b{dates(*each)}"], []), Case("GET", [f"x=1; SRV=a{dates(*each)}; y"], SET[1])]
    for word in ("X-Force", "X-Ignore"):
        found += [
            Case("GET", cookie, given, (f"{word}: 1",)) for cookie in ([], ["SRV=b"], ["SRV=c"]) for given in SET[:2]
        ]
    return found


class Seen(NamedTuple):
    """What came of it."""

    status: int
    server: bytes | None
    reached: Any  # the Cookie fields that the server saw
    set: list[bytes]
    cached: list[bytes]
    state: str


def script(name: str) -> Any:
    """Return what a server does."""

    def answer(request: Request) -> bytes:
        fields = [f"X-Server: {name}"]
        fields += [f"Set-Cookie: {each}" for each in json.loads((request.value("x-set") or b"[]").decode())]
        caching = (request.value("x-cache") or b"").decode()
        if caching:
            fields.append('ETag: "1"' if caching == "e" else f"Cache-Control: {caching}")
        body = json.dumps([each.decode() for each in request.values("cookie")]).encode()
        return reply(body, *fields, status=int(request.value("x-status") or 200))

    return answering(answer)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """Four servers, of which `c` is never asked while it is down."""
    made = {name: Server(script(name)) for name in "abcd"}
    yield made
    for each in made.values():
        each.close()


@pytest.fixture(scope="module")
def lb(servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lb]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    down = {"type": "tcp", "port": port, "address": "127.0.0.1", "every": "1h", "init_state": "fully-down"}
    listed: list[Settings] = [
        {"name": name, "address": each.text, **({} if name == "d" else {"cookie": name})}
        for name, each in servers.items()
    ]
    listed[2]["check"] = down
    running = Lb(
        {
            "version": 1,
            "global": {"workers": 1},
            "frontends": {
                "web": {
                    "bind": [{"address": LOOPBACK}],
                    "routes": [{"match": {"path": f"/{at}"}, "to": f"b{at}"} for at in range(len(BACKENDS))],
                }
            },
            "backends": {
                f"b{at}": {"balance": "source", "servers": listed, "retries": 0, **given}
                for at, (_, given) in enumerate(BACKENDS)
            },
        },
        tmp_path_factory.mktemp("lb"),
    )
    yield running
    running.stop()


class Haproxy:
    """A running HAProxy."""

    def __init__(self, servers: dict[str, Server], folder: Path) -> None:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        self.address = listening.getsockname()
        self.log = folder / "log"
        text = (
            "global\n log stdout format raw local0\n nbthread 1\ndefaults\n log global\n mode http\n option httplog\n"
        )
        text += " timeout connect 5s\n timeout client 30s\n timeout server 30s\n retries 0\n"
        text += f"frontend web\n bind fd@{listening.fileno()}\n"
        for at in range(len(BACKENDS)):
            text += f" use_backend b{at} if {{ path /{at} }}\n"
        for at, (given, _) in enumerate(BACKENDS):
            text += f"backend b{at}\n balance source\n {given}\n"
            for name, each in servers.items():
                text += f" server {name} {each.text}" + ("" if name == "d" else f" cookie {name}")
                text += " disabled\n" if name == "c" else "\n"
        (folder / "cfg").write_text(text)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(folder / "cfg")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[listening.fileno()],
            )  # fmt: skip
        listening.close()

    def log_lines(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "] web b" in line]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def haproxy(servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Haproxy]:
    running = Haproxy(servers, tmp_path_factory.mktemp("haproxy"))
    yield running
    running.stop()


def ask(client: Client, proxy: Any, at: int, case: Case) -> Seen:
    """Send a request and return what became of it."""
    before = len(proxy.log_lines())
    fields = [f"Cookie: {each}" for each in case.cookies] + [f"X-Set: {json.dumps(case.set)}", *case.more]
    answer = client.get(f"/{at}", *fields, method=case.method, body=b"" if case.method == "POST" else None)
    eventually(lambda: len(proxy.log_lines()) > before, "a record")
    return Seen(
        answer.status,
        answer.value("x-server"),
        json.loads(answer.body) if answer.value("x-server") else None,
        answer.values("set-cookie"),
        answer.values("cache-control"),
        parse(proxy.log_lines()[before]).state + re.search(r" \S\S(\S\S) \d+/\d", proxy.log_lines()[before])[1],  # type: ignore[index]
    )


def alike(ours: Seen, theirs: Seen) -> bool:
    """Whether both are the same, dates to a few seconds."""

    def plain(seen: Seen) -> Seen:
        return seen._replace(set=[re.sub(rb"\|[A-Za-z0-9+/]{5}", rb"|date", each) for each in seen.set])

    def moments(seen: Seen) -> list[int]:
        found = [each for text in seen.set for each in re.findall(rb"\|([A-Za-z0-9+/]{5})", text)]
        return [int.from_bytes(base64.b64decode(b"A" * 3 + each), "big") for each in found]

    return plain(ours) == plain(theirs) and all(
        abs(one - other) <= 2 for one, other in zip(moments(ours), moments(theirs), strict=True)
    )


@pytest.mark.parametrize("at", range(len(BACKENDS)), ids=[text.replace("\n", ";") for text, _ in BACKENDS])
def test_cookies_are_haproxys(lb: Lb, haproxy: Haproxy, at: int) -> None:
    ours, theirs = Client(lb.addresses["web"][0]), Client(haproxy.address)
    differ: list[tuple[Case, Seen, Seen]] = []
    for case in cases():
        mine, expected = ask(ours, lb, at, case), ask(theirs, haproxy, at, case)
        if not alike(mine, expected):
            differ.append((case, mine, expected))
    ours.close()
    theirs.close()
    assert not differ, "\n".join(f"{case}\n  lb      {mine}\n  haproxy {other}" for case, mine, other in differ[:8])
