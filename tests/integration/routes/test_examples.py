"""conf/routes.yaml, canary.yaml and many-routes.yaml, driven by real processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

CONF = Path(__file__).resolve().parents[3] / "conf"

pytestmark = pytest.mark.ours


def example(daemon: Stage, name: str, frontend: str) -> Settings:
    """Read an example and put scripted servers, which answer with their backend's name, where its own are."""
    settings: Settings = yaml.safe_load((CONF / name).read_text())
    for backend, given in settings["backends"].items():
        given["servers"] = [daemon.server(reply(backend.encode())).text]
    web = settings["frontends"].pop(frontend)
    web["bind"] = [LOOPBACK]
    for route in web.get("routes", []):
        if "file" in route.get("reply", {}):
            route["reply"]["file"] = str(CONF / route["reply"]["file"])
    return {**settings, "global": {"workers": 2}, "frontends": {"web": web}}


def test_the_routes_example_routes_as_it_says(daemon: Stage) -> None:
    daemon.start(example(daemon, "routes.yaml", "edge"))
    client = daemon.client()

    def ask(host: str, target: str, *fields: str, method: str = "GET") -> str:
        answer = client.get(target, *fields, host=host, method=method, body=None if method == "GET" else b"")
        location = answer.value("Location")
        return f"{answer.status} {location.decode()}" if location else answer.body.decode()

    api = "api.example.com"
    assert ask(api, "/") == "api"
    assert ask("a.b.tenants.example.com", "/") == "tenants"
    assert ask("example.com", "/x?y=z") == "301 https://www.example.com/x?y=z"
    assert ask(api, "/v1/orders/7/lines") == "orders"
    assert ask(api, "/v1/orders/7/invoice") == "invoices"
    assert ask(api, "/v1/orders/7") == "replicas"
    assert ask(api, "/v1/orders/7", method="DELETE") == "orders"
    assert ask("x", "/static/a.css") == ask("y", "/favicon.ico") == "static"
    assert ask("x", "/v1/a", "X-Beta: 1") == ask("x", "/v1/a?version=next") == "beta"
    assert ask("x", "/v1/a?version=old") == "site"
    assert ask("x", "/shop/hat") == "308 /v2/shop/hat"
    assert ask("x", "/robots.txt").startswith("User-agent: *\n")
    assert ask("x", "/internal/x") == "not from here\n"
    assert "Back soon" in ask("closed.example.com", "/")
    assert ask("x", "/") == "site"


def test_the_canary_example_keeps_its_users(daemon: Stage) -> None:
    settings = example(daemon, "canary.yaml", "web")
    lb = daemon.start(settings)
    client = daemon.client()
    cookies = []
    for _ in range(200):
        (value,) = client.get().values("Set-Cookie")
        cookies.append(value.decode().partition(";")[0])

    def canaries() -> set[str]:
        return {cookie for cookie in cookies if client.get("/", f"Cookie: {cookie}").body == b"app-canary"}

    assert client.get("/", "x-canary: always").body == b"app-canary"
    users = {n: client.get("/api/x", f"x-user: u{n}").body for n in range(100)}
    assert Counter(users.values()).keys() == {b"api", b"api-canary"}
    before = canaries()
    # Other percentages, and a reload: of those who were there nobody leaves, and some come.
    settings["frontends"]["web"]["default_backend"] = {"app": 60, "app-canary": 40}
    lb.expect_stderr("lb: reloaded, generation 2")  # type: ignore[attr-defined]
    lb.write(settings)  # type: ignore[attr-defined]
    assert "Success=1" in lb.admin("reload")  # type: ignore[attr-defined]
    after = canaries()
    assert before < after
    assert {n: client.get("/api/x", f"x-user: u{n}").body for n in range(100)} == users


def test_the_many_routes_example_routes_as_it_says(daemon: Stage) -> None:
    daemon.start(example(daemon, "many-routes.yaml", "shop"))
    client = daemon.client()

    def ask(host: str, target: str, method: str = "GET") -> str:
        return client.get(target, host=host, method=method, body=None if method == "GET" else b"").body.decode()

    for n in range(1, 25):
        host = f"t{n:02d}.shop.example"
        assert ask(host, "/") == f"pool{n % 3 + 1}"
        assert ask(host, "/v1/orders/1") == "orders"
        assert ask(host, f"/v1/carts/{n}/checkout", "POST") == "checkout"
        assert ask(host, f"/v1/carts/{n}/checkout") == f"pool{n % 3 + 1}"
    assert ask("t99.shop.example", "/") == "there is no such shop\n"
    assert ask("elsewhere", "/") == "pool1"
