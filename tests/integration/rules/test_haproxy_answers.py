"""Answers, redirects, users and choices beside HAProxy's: the same rules, and what a client sees of them is the same."""

from __future__ import annotations

import base64
import ctypes
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.client import Client
from kit.deadline import DEADLINE
from kit.inprocess import InProcess
from kit.message import ask, reply
from kit.server import Server, answering
from kit.settings import LOOPBACK

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

WHOLE = b"HTTP/1.1 403 Not Today\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\nX-Page: 403\r\n\r\n<h1>not today</h1>\n"
FILES = {"403.http": WHOLE, "page.html": b"<p>100%\n", "lf.txt": b"path=%[path] 100%%\n"}

# What HAProxy's line says behind `http-request`, and ours.
ANSWERS: list[tuple[str, dict[str, Any]]] = [
    ("deny", {"deny": True}),
    ("deny deny_status 403 errorfile {403.http}", {"deny": {"errorfile": "{403.http}"}}),
    (
        "deny deny_status 429 content-type text/plain string no hdr Retry-After 5 hdr X-P %[path]",
        {
            "deny": {
                "status": 429,
                "content_type": "text/plain",
                "string": "no",
                "headers": {"Retry-After": "5", "X-P": "%[path]"},
            }
        },
    ),
    (
        "deny deny_status 410 content-type text/plain lf-string '%[path] 100%%'",
        {"deny": {"status": 410, "content_type": "text/plain", "body": "%[path] 100%%"}},
    ),
    (
        "return status 200 content-type text/html file {page.html}",
        {"return": {"content_type": "text/html", "file": "{page.html}"}},
    ),
    (
        "return status 404 content-type text/plain lf-file {lf.txt}",
        {"return": {"status": 404, "content_type": "text/plain", "lf_file": "{lf.txt}"}},
    ),
    ("return errorfile {403.http}", {"return": {"errorfile": "{403.http}"}}),
    ("return status 403 errorfiles site", {"return": {"status": 403, "errorfiles": "site"}}),
    ("return status 403 default-errorfiles", {"return": {"status": 403, "default_errorfiles": True}}),
    ("return status 204", {"return": 204}),
    ("redirect location /there?a=%[path]", {"redirect": {"location": "/there?a=%[path]"}}),
    (
        "redirect location %[urlp(nobody)] ignore-empty",
        {"redirect": {"location": "%[urlp(nobody)]", "ignore_empty": True}},
    ),
    ("redirect prefix https://x.test code 301", {"redirect": {"prefix": "https://x.test", "code": 301}}),
    (
        "redirect prefix /p drop-query append-slash",
        {"redirect": {"prefix": "/p", "drop_query": True, "append_slash": True}},
    ),
    ("redirect prefix /p drop-query", {"redirect": {"prefix": "/p", "drop_query": True}}),
    ("redirect scheme https set-cookie SEEN=1", {"redirect": {"scheme": "https", "set_cookie": "SEEN=1"}}),
    ("redirect location / clear-cookie SEEN=", {"redirect": {"location": "/", "clear_cookie": "SEEN="}}),
    ("auth realm Staff", {"auth": "Staff"}),
    ('auth realm "a b"', {"auth": "a b"}),
    ("early-hint Link %[path]", {"early_hint": ["Link", "%[path]"]}),
]
COMPARED = (
    "cache-control",
    "content-type",
    "x-page",
    "x-p",
    "retry-after",
    "location",
    "set-cookie",
    "www-authenticate",
)


def hashed(setting: bytes) -> str:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(b"secret", setting)
    assert isinstance(made, bytes)
    return made.decode()


USERS = {
    "plain": {"insecure_password": "pw", "groups": ["g1"]},
    "md5": {"password": hashed(b"$1$abcdefgh$"), "groups": ["g1", "g2"]},
    "sha256": {"password": hashed(b"$5$rounds=1000$saltsalt$"), "groups": ["g2"]},
    "sha512": {"password": hashed(b"$6$rounds=1000$saltsalt$")},
}
CONDITIONS = ["http_auth(l)", "http_auth_group(l) g1", "http_auth_group(l) g2", "http_auth_group(l) g1 g2"]
SAID = "%[http_auth_type]|%[http_auth_user]|%[http_auth_pass]|%[http_auth_bearer]|%[http_auth_bearer(x-key)]"


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


CREDENTIALS = [
    (),
    (basic("plain", "pw"),),
    (basic("plain", "pX"),),
    (basic("plain", ""),),
    (basic("nobody", "pw"),),
    (basic("", ""),),
    *((basic(user, password),) for user in ("md5", "sha256", "sha512") for password in ("secret", "Secret")),
    ("Authorization: Basic",),
    ("Authorization: Basic cGxhaW4=",),
    ("Authorization: Basic %%%",),
    ("Authorization: basic   " + basic("plain", "pw").rpartition(" ")[2],),
    ("Authorization: Bearer a.b.c",),
    ("Authorization: Bearer   x",),
    ("Authorization: Digest x",),
    ("Authorization: Bearer a", "X-Key: bearer k"),
    ("X-Key: Basic eA==",),
    (basic("plain", "pw"), basic("md5", "secret")),
]


class Peer:
    """HAProxy with all rules."""

    def __init__(self, directory: Path, servers: dict[str, Server]) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.address = sock.getsockname()
        lines = ["userlist l", " group g1", " group g2"]
        for name, user in USERS.items():
            kind = "password" if "password" in user else "insecure-password"
            groups = user.get("groups")
            lines.append(
                f" user {name} {kind} {user.get('password') or user['insecure_password']}"
                + (f" groups {','.join(groups)}" if groups else "")
            )
        lines += ["http-errors site", f" errorfile 403 {directory}/403.http"]
        lines += ["defaults", " mode http", *(f" timeout {each} 30s" for each in ("client", "server", "connect"))]
        lines += ["frontend web", f" bind fd@{sock.fileno()}", f" errorfile 403 {directory}/403.http"]
        for number, (given, _) in enumerate(ANSWERS):
            line = given
            for name in FILES:
                line = line.replace(f"{{{name}}}", f"{directory}/{name}")
            lines.append(f" http-request {line} if {{ path /{number} }}")
        lines.append(f" http-request return status 200 content-type text/plain lf-string '{SAID}' if {{ path /said }}")
        for number, condition in enumerate(CONDITIONS):
            lines.append(f" http-request return status 202 if {{ path /c{number} }} {{ {condition} }}")
        lines.append(" http-request return status 204 if { path_beg /c }")
        lines += [" use_backend %[urlp(to)] if { urlp(to) -m found }", " default_backend one"]
        lines += ["backend one", f" server a {servers['a'].text}", f" server b {servers['b'].text}"]
        lines += [" use-server a if { urlp(server) a }", " use-server b if { urlp(server) b }"]
        lines += ["backend two", f" server a {servers['b'].text}"]
        config = directory / "peer.cfg"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "peer.stderr").open("wb") as err:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=err, pass_fds=[sock.fileno()]
            )
        sock.close()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE)


def settings(directory: Path, servers: dict[str, Server]) -> dict[str, Any]:
    """Return lb's configuration with all rules."""

    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: placed(each) for key, each in value.items()}
        if isinstance(value, str):
            for name in FILES:
                value = value.replace(f"{{{name}}}", f"{directory}/{name}")
        return value

    rules: list[dict[str, Any]] = [{**placed(rule), "if": f"{{ path /{i} }}"} for i, (_, rule) in enumerate(ANSWERS)]
    rules.append({"return": {"content_type": "text/plain", "body": SAID}, "if": "{ path /said }"})
    rules += [{"return": 202, "if": f"{{ path /c{i} }} {{ {each} }}"} for i, each in enumerate(CONDITIONS)]
    rules.append({"return": 204, "if": "{ path_beg /c }"})
    rules.append({"use_backend": "%[urlp(to)]", "if": "{ urlp(to) -m found }"})
    page = f"{directory}/403.http"
    return {
        "version": 1,
        "userlists": {"l": {"users": USERS}},
        "http_errors": {"site": {"403": page}},
        "frontends": {
            "web": {
                "bind": [{"address": LOOPBACK}],
                "dot_segments": "keep",
                "errors": {"403": page},
                "rules": rules,
                "default_backend": "one",
            }
        },
        "backends": {
            "one": {
                "rules": [{"use_server": each, "if": f"{{ urlp(server) {each} }}"} for each in "ab"],
                "servers": [{"name": name, "address": servers[name].text} for name in "ab"],
            },
            "two": {"servers": [{"name": "a", "address": servers["b"].text}]},
        },
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    """A client of lb and one of HAProxy."""
    directory = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    servers = {name: Server(answering(reply(name.encode()))) for name in "ab"}
    ours = InProcess(settings(directory, servers), tmp_path_factory.mktemp("lb"))
    peer = Peer(directory, servers)
    clients = [Client(ours.addresses["web"][0]), Client(peer.address)]
    yield clients
    for client in clients:
        client.close()
    peer.stop()
    for server in servers.values():
        server.close()
    ours.settle()
    ours.stop()


def seen(client: Client, target: str, *fields: str, method: str = "GET") -> list[Any]:
    """Ask on a connection of its own, which HAProxy closes with every error; return what is compared."""
    client = Client(client.sock.getpeername())
    client.send(ask(target, *fields, method=method, host="h.test"))
    answer = client.response(method)
    client.close()
    hints = [(each.status, each.value("link")) for each in answer.informational]
    reason = answer.reason if answer.value("x-page") else b""
    body = answer.body if answer.status in (200, 202, 204) or answer.value("x-page") or answer.value("x-p") else b""
    return [answer.status, reason, body, hints, *((name, answer.values(name)) for name in COMPARED)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=[line.split(" hdr")[0] for line, _ in ANSWERS])
def test_answers(pair: list[Client], number: int, method: str) -> None:
    for query in ("", "?a=1&b"):
        ours, theirs = (seen(client, f"/{number}{query}", method=method) for client in pair)
        assert _comparable(ours, number) == _comparable(theirs, number)


def _comparable(answer: list[Any], number: int) -> list[Any]:
    """Leave out what each says in its own words: caches and type of an answer that no page makes."""
    line = ANSWERS[number][0]
    own = line.startswith(("auth", "redirect"))
    return [
        each
        for each in answer
        if not (own and isinstance(each, tuple) and each[0] in ("cache-control", "content-type"))
    ]


@pytest.mark.parametrize("fields", CREDENTIALS, ids=[" ".join(each)[:40] or "none" for each in CREDENTIALS])
def test_users(pair: list[Client], fields: tuple[str, ...]) -> None:
    for target in ("/said", *(f"/c{i}" for i in range(len(CONDITIONS)))):
        ours, theirs = (seen(client, target, *fields) for client in pair)
        assert ours == theirs, target


@pytest.mark.parametrize(
    "query", ["to=two", "to=one&server=b", "server=a", "server=b", "to=nobody&server=a", "to=&server=b"]
)
def test_choices(pair: list[Client], query: str) -> None:
    ours, theirs = (seen(client, f"/x?{query}") for client in pair)
    assert ours[:3] == theirs[:3]
