"""conf/rules.yaml, driven: each of its rules does what its line says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.server import Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/rules.yaml"
STAFF = "192.168.7.7"
SECURE = "X-Forwarded-Proto: https"


def started(daemon: Stage) -> Server:
    """Start the example before one server for each backend; return that of `app`. The client is its trusted proxy."""
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    servers: dict[str, Server] = {}
    for name, backend in settings["backends"].items():
        servers[name] = daemon.server(reply(name.encode(), "Server: secret/1.0"))
        backend["servers"] = [{"name": f"{name}1", "address": servers[name].text}]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    settings["defaults"]["trusted_proxies"] += ["127.0.0.1"]
    daemon.start({**settings, "global": {"workers": 2}})
    return servers["app"]


@pytest.mark.ours
def test_the_example_rules_as_it_says(daemon: Stage) -> None:
    server = started(daemon)
    client = daemon.client()
    staff = f"X-Forwarded-For: {STAFF}"

    for hidden in ("/admin", "/admin/users", "/old.BAK", "/dump.sql"):
        assert client.get(hidden, SECURE).status == 403
    assert client.get("/admin/users", SECURE, staff).body == b"app"
    assert client.get("/admin/../admin/", SECURE).status == 400  # where rules look at paths, dot segments are refused

    moved = client.get("/shop?a=b")
    assert (moved.status, moved.value("location")) == (301, b"https://lb.test/shop?a=b")
    assert client.get("/.well-known/acme").body == b"app"

    assert client.get("/whoami", SECURE, "X-Forwarded-For: 198.51.100.7").body == b"you are 198.51.100.7\n"

    del server.requests[:]
    answer = client.get("/orders/7?x=y", SECURE, "X-Debug: 1", "X-Client: forged", "X-Forwarded-For: 198.51.100.7")
    assert (answer.body, answer.value("server")) == (b"app", None)
    assert answer.value("strict-transport-security") == b"max-age=31536000"
    (request,) = server.requests
    assert request.target == "/v2/orders/7?x=y"
    assert request.values("x-client") == [b"198.51.100.7"]
    assert request.value("x-debug") is None
    assert client.get("/x", SECURE, staff, "X-Debug: 1").body == b"app"
    assert server.requests[-1].value("x-debug") == b"1"

    tried = client.get("/", SECURE, "Cookie: a=b; beta=1")
    assert (tried.body, tried.value("x-served-by")) == (b"beta", b"beta/beta1")
    assert client.get("/next/", SECURE, staff).body == b"beta"
    assert client.get("/next/", SECURE).body == b"app"

    assert client.get("/", SECURE, method="POST", body=b"x" * 1_000_001).status == 413


@pytest.mark.ours
def test_a_servers_own_trouble_stays_inside(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    server = daemon.server(reply(b"stack trace", status=500))
    for backend in settings["backends"].values():
        backend["servers"] = [server.text]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    daemon.start({**settings, "global": {"workers": 1}})
    answer = daemon.client().get("/.well-known/x")
    assert (answer.status, answer.body) == (502, b"please try again\n")
    assert daemon.record().state == "LH"
