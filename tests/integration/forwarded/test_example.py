"""conf/http.yaml, driven: servers are told what its comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/http.yaml"
CLIENT = "198.51.100.7"
UUID7 = rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.mark.ours
def test_the_example_tells_servers_what_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    for name, backend in settings["backends"].items():
        for i, given in enumerate(backend["servers"]):
            server: Settings = given if isinstance(given, dict) else {"address": given}
            label = server.get("name", f"{name}{i}")
            backend["servers"][i] = {**server, "address": daemon.server(reply(label.encode())).text}
    for frontend in settings["frontends"].values():
        frontend["bind"] = [LOOPBACK]
    settings["defaults"]["trusted_proxies"] += ["127.0.0.1"]
    daemon.start({**settings, "global": {"workers": 2}})

    proxy = daemon.client("site")
    port = proxy.sock.getpeername()[1]
    claims = [f"X-Forwarded-For: 1.2.3.4, {CLIENT}, 10.1.0.9", "X-Forwarded-Proto: https", "Via: 2 cdn"]
    response = proxy.get("/", *claims)
    assert response.body in (b"app1", b"app2", b"app3")
    assert re.fullmatch(UUID7, response.value("x-request-id") or b"")
    assert response.value("via") == b"1.1 edge"
    (request,) = [each for server in daemon.servers for each in server.requests]
    assert request.values("x-forwarded-for") == [f"1.2.3.4, {CLIENT}, 10.1.0.9".encode(), b"127.0.0.1"]
    assert request.value("x-forwarded-proto") == b"https"
    assert request.value("x-forwarded-host") == b"lb.test"
    assert request.value("x-forwarded-port") == str(port).encode()
    assert request.value("x-real-ip") == CLIENT.encode()
    assert request.values("via") == [b"2 cdn", b"1.1 edge"]
    assert request.value("x-request-id") == response.value("x-request-id")

    api = [proxy.get("/", f"X-Forwarded-For: {CLIENT}", host="api.example.com").body for _ in range(5)]
    assert len(set(api)) == 1
    assert proxy.get("/static/a.css").body in (b"static0", b"static1")
    assert proxy.get("/alive").status == 200

    inside = daemon.client("inside")
    before = len([each for server in daemon.servers for each in server.requests])
    assert inside.get("/", *claims, "X-Request-ID: mine", "Forwarded: for=1.1.1.1").body in (b"api0", b"api1")
    asked = [each for server in daemon.servers for each in server.requests]
    assert len(asked) == before + 1
    (request,) = [each for each in asked if each.value("x-request-id") == b"mine"]
    assert request.values("x-forwarded-for") == [b"127.0.0.1"]
    assert request.value("x-forwarded-proto") == b"http"
    assert request.value("forwarded") is None
    records = daemon.records(8)
    assert [record.client.partition(":")[0] for record in records].count(CLIENT) == 6
