"""Users and passwords: who is asked, who gets in, and that nobody waits for another's password to be checked."""

from __future__ import annotations

import base64
import ctypes
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.client import Client
from kit.message import ask, reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/auth.yaml"
SETTINGS = {
    "md5": b"$1$abcdefgh$",
    "sha256": b"$5$rounds=1000$saltsalt$",
    "sha512": b"$6$rounds=1000$saltsalt$",
    "bcrypt": b"$2b$04$abcdefghijklmnopqrstuu",
    "yescrypt": b"$y$j75$saltsaltsalt$",
}


def hashed(setting: bytes, password: str = "secret") -> str:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(password.encode(), setting)
    assert isinstance(made, bytes)
    return made.decode()


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def started(stage: Stage, users: Settings, rules: list[Settings], app: Settings | None = None, **lists: Any) -> Server:
    server = stage.server(reply(b"in"))
    stage.start(
        {
            "version": 1,
            "userlists": {"staff": {"users": users, **lists}},
            "frontends": {"web": {"bind": [{"address": LOOPBACK}], "rules": rules, "default_backend": "app"}},
            "backends": {"app": {"servers": [server.text], **(app or {})}},
        }
    )
    return server


ASK: list[Settings] = [{"auth": True, "unless": "{ http_auth(staff) }"}]


def test_who_has_no_password_is_asked(stage: Stage) -> None:
    server = started(
        stage, {"a": {"insecure_password": "x"}}, [{"auth": 'the "realm" \\', "unless": "{ http_auth(staff) }"}]
    )
    client = stage.client()
    answer = client.get("/")
    assert (answer.status, answer.value("www-authenticate")) == (401, b'Basic realm="the \\"realm\\" \\\\"')
    assert not server.requests
    assert client.get("/", basic("a", "x")).body == b"in"
    for wrong in ("A", "a "), ("a", "X"), ("a", ""), ("a", "xx"), ("b", "x"), ("", ""), ("a", "x\0"):
        assert client.get("/", basic(*wrong)).status == 401
    for field in ("Basic", "Basic !!!", "Basic YQ==", "Bearer eA==", "Digest " + basic("a", "x").rpartition(" ")[2]):
        assert client.get("/", f"Authorization: {field}").status == 401
    assert client.get("/", basic("a", "x").replace("Basic", "bAsIC  ")).status == 200


@pytest.mark.parametrize("method", SETTINGS)
def test_every_method_of_libcrypt(stage: Stage, method: str) -> None:
    started(stage, {"alice": hashed(SETTINGS[method])}, ASK)
    client = stage.client()
    for _ in range(3):
        assert client.get("/", basic("alice", "secret")).status == 200
        assert client.get("/", basic("alice", "Secret")).status == 401
        assert client.get("/", basic("bob", "secret")).status == 401


def test_many_ask_at_once(stage: Stage) -> None:
    users = {f"u{i}": hashed(SETTINGS["sha512"], f"p{i}") for i in range(4)}
    started(stage, users, ASK)
    clients = [stage.client() for _ in range(16)]
    for number, client in enumerate(clients):
        client.send(ask("/", basic(f"u{number % 4}", f"p{number % 4 if number < 12 else 'x'}")))
    assert [client.response().status for client in clients] == [200] * 12 + [401] * 4


def test_a_client_that_leaves_is_not_waited_for(stage: Stage) -> None:
    started(stage, {"a": hashed(b"$6$rounds=100000$saltsalt$")}, ASK)
    for _ in range(4):
        client = stage.client()
        client.send(ask("/", basic("a", "wrong")))
        client.close()
    assert stage.client().get("/", basic("a", "secret")).status == 200


def test_nobody_waits_for_another_ones_password(stage: Stage) -> None:
    # Half a second of hashing on the thread of the worker's own; others go on meanwhile.
    rules = [{"auth": True, "if": "{ path_beg /secret } !{ http_auth(staff) }"}]
    started(stage, {"a": hashed(b"$6$rounds=500000$saltsalt$")}, rules)
    slow, quick = stage.client(), stage.client()
    slow.send(ask("/secret", basic("a", "secret")))
    done = threading.Event()
    threading.Thread(target=lambda: (slow.response(), done.set()), daemon=True).start()
    asked = 0
    while not done.is_set():
        assert quick.get("/").status == 200
        asked += 1
    assert asked > 5  # where it was hashed between two requests, there would be two


def test_guesses_find_no_room(stage: Stage) -> None:
    started(stage, {"a": hashed(b"$6$rounds=200000$saltsalt$")}, ASK)
    clients = [stage.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(ask("/", basic("a", f"guess {number}")))
    statuses = [client.response().status for client in clients]
    assert set(statuses) == {401, 503}  # some were checked; nobody was told that he is wrong who was not
    assert statuses.count(401) >= 8


def test_groups_users_and_kinds(stage: Stage) -> None:
    rules: list[Settings] = [
        {"set_header": ["x-said", "%[http_auth_type]:%[http_auth_user]:%[http_auth_pass]:%[http_auth_bearer]"]},
        {"set_header": ["x-token", "%[http_auth_bearer(x-key)]"]},
        {"deny": 403, "if": "{ path /ops } !{ http_auth_group(staff) ops }"},
        {"deny": 404, "if": "{ path /both } !{ http_auth_group(staff) ops readers }"},
        {"deny": 410, "if": "{ path /name } !{ http_auth_group(staff) -m str bob }"},
    ]
    users = {"alice": {"password": hashed(SETTINGS["md5"]), "groups": ["ops"]}, "bob": {"insecure_password": "b:c"}}
    server = started(stage, users, rules, groups={"readers": ["bob"]})
    client = stage.client()
    alice, bob = basic("alice", "secret"), basic("bob", "b:c")
    got = [[client.get(path, who).status for path in ("/ops", "/both", "/name")] for who in (alice, bob)]
    assert got == [[200, 200, 410], [403, 200, 200]]
    assert [client.get(path).status for path in ("/ops", "/both", "/name")] == [403, 404, 410]
    del server.requests[:]
    client.get("/", bob)
    client.get("/", "Authorization: Bearer  abc.def", "X-Key: bearer k")
    client.get("/")
    seen = [(each.value("x-said"), each.value("x-token")) for each in server.requests]
    assert seen == [(b"Basic:bob:b:c:", b""), (b"Bearer:::abc.def", b"k"), (b":::", b"")]


def test_a_backend_asks_too(stage: Stage) -> None:
    started(stage, {"a": hashed(SETTINGS["sha256"])}, [], {"rules": ASK})
    client = stage.client()
    assert client.get("/").value("www-authenticate") == b'Basic realm="app"'
    assert client.get("/", basic("a", "secret"), method="POST", body=b"x" * 1000).status == 200


@pytest.mark.ours
def test_the_example_does_what_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    server = daemon.server(reply(b"in"))
    settings["backends"]["app"]["servers"] = [server.text]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    daemon.start({**settings, "global": {"workers": 1}})
    client: Client = daemon.client()
    assert client.get("/").value("www-authenticate") == b'Basic realm="Staff only"'
    assert client.get("/api/x", "Authorization: Bearer k-4711").status == 200
    assert client.get("/api/x", "Authorization: Bearer k-4712").status == 401
    alice, bob = basic("alice", "wonderland"), basic("bob", "builder")
    assert [client.get("/admin/x", who).status for who in (alice, bob)] == [200, 403]
    del server.requests[:]
    assert client.get("/", bob).status == 200
    (request,) = server.requests
    assert (request.value("x-user"), request.value("authorization")) == (b"bob", None)
