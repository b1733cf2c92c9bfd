"""Shares of several backends: who falls into which, and who moves when they change."""

from __future__ import annotations

import math
from collections import Counter
from http.cookies import SimpleCookie
from typing import Any

import pytest
from kit.client import Client
from kit.message import Response, reply
from kit.server import silent
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours


def shared(stage: Stage, shares: dict[str, int], sticky: Settings | None = None, **frontend: Any) -> Settings:
    """Write a frontend whose default is these shares; the servers stay the same for all settings of a stage."""
    for name in ("stable", "canary", "third")[len(stage.servers) :]:
        stage.server(reply(name.encode()))
    web: Settings = {"bind": [{"address": LOOPBACK, "name": "web"}], "default_backend": shares, **frontend}
    if sticky:
        web["sticky"] = sticky
    servers = dict(zip(("stable", "canary", "third"), stage.servers, strict=True))
    backends = {name: {"servers": [server.text]} for name, server in servers.items()}
    return {"version": 1, "global": {"workers": 1}, "frontends": {"web": web}, "backends": backends}


def users(client: Client, count: int) -> dict[str, tuple[str, str]]:
    """Let so many users come for the first time; return by name their cookie and where they fell."""
    found = {}
    for number in range(count):
        answer = client.get()
        (cookie,) = answer.values("Set-Cookie")
        found[f"u{number}"] = cookie.decode().partition(";")[0], answer.body.decode()
    return found


def test_requests_are_dealt_by_weight(stage: Stage) -> None:
    stage.start(shared(stage, {"stable": 80, "canary": 20, "third": 0}))
    client = stage.client()
    found = Counter(client.get().body.decode() for _ in range(1000))
    # Five standard deviations of a binomial distribution.
    assert found.keys() == {"stable", "canary"}
    assert abs(found["canary"] - 200) < 5 * math.sqrt(1000 * 0.2 * 0.8)


def test_a_cookie_keeps_a_client_where_it_is(stage: Stage) -> None:
    stage.start(shared(stage, {"stable": 50, "canary": 50}, {"cookie": "lb_split", "max_age": "30d", "secure": True}))
    client = stage.client()
    answer = client.get()
    (text,) = answer.values("Set-Cookie")
    cookie = SimpleCookie(text.decode())["lb_split"]
    assert len(cookie.value) == 16
    assert int(cookie.value, 16) >= 0
    assert cookie["path"] == "/"
    assert cookie["max-age"] == "2592000"
    assert cookie["httponly"] is True
    assert cookie["secure"] is True
    assert cookie["samesite"] == "Lax"
    home = answer.body
    for fields in (f"Cookie: lb_split={cookie.value}", f"cookie: a=b;lb_split={cookie.value} ; c=d"):
        for _ in range(20):
            again = client.get("/", fields)
            assert again.body == home
            assert again.values("Set-Cookie") == []


@pytest.mark.parametrize("wrong", ["", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "g" * 16, "canary"])
def test_what_is_no_point_gets_a_new_one(stage: Stage, wrong: str) -> None:
    stage.start(shared(stage, {"stable": 50, "canary": 50}, {"cookie": "lb_split"}))
    assert len(stage.client().get("/", f"Cookie: lb_split={wrong}").values("Set-Cookie")) == 1


def test_who_is_on_the_canary_stays_while_it_grows(stage: Stage) -> None:
    sticky: Settings = {"cookie": "lb_split"}
    proxy: Any = stage.start(shared(stage, {"stable": 90, "canary": 10}, sticky))
    client = stage.client()
    known = users(client, 300)
    before = {name for name, (_, home) in known.items() if home == "canary"}
    for weights in ((80, 20), (50, 50), (90, 10), (95, 5), (0, 10), (90, 10)):
        proxy.reload(shared(stage, {"stable": weights[0], "canary": weights[1]}, sticky))
        now = {name for name, (cookie, _) in known.items() if client.get("/", f"Cookie: {cookie}").body == b"canary"}
        # One set lies within the other: nobody moves against the change, and what was there before comes back exactly.
        ratio = weights[1] / sum(weights)
        assert now == before if ratio == 0.1 else now >= before if ratio > 0.1 else now <= before
        assert abs(len(now) - 300 * ratio) <= 5 * math.sqrt(300 * ratio * (1 - ratio)) + 1


def test_an_error_or_an_answer_of_lb_brings_no_cookie(stage: Stage) -> None:
    settings = shared(stage, {"stable": 1}, {"cookie": "lb_split"})
    settings["backends"]["stable"] = {"servers": [stage.refused().text], "retries": 0}
    settings["frontends"]["web"]["routes"] = [{"match": {"path": "/r"}, "redirect": {"location": "/"}}]
    stage.start(settings)
    client = stage.client()
    for path, status in (("/", 503), ("/r", 302)):
        answer = client.get(path)
        assert (answer.status, answer.values("Set-Cookie")) == (status, [])


def test_the_cookies_of_the_server_stay(stage: Stage) -> None:
    settings = shared(stage, {"stable": 1}, {"cookie": "lb_split"})
    server = stage.server(reply(b"x", "Set-Cookie: a=b", "Set-Cookie: c=d"))
    settings["backends"]["stable"] = {"servers": [server.text]}
    stage.start(settings)
    values = stage.client().get().values("Set-Cookie")
    assert values[:2] == [b"a=b", b"c=d"]
    assert len(values) == 3


def test_a_header_keeps_a_user_and_an_address_a_client(stage: Stage) -> None:
    route: Settings = {"match": {"path": "/mine"}, "to": {"stable": 1, "canary": 1}, "sticky": {"by": "source"}}
    stage.start(shared(stage, {"stable": 1, "canary": 1}, {"by": "req.hdr(X-User)"}, routes=[route]))
    client = stage.client()

    def ask(user: str) -> str:
        answer: Response = client.get("/", f"x-user: {user}")
        assert answer.values("Set-Cookie") == []
        return answer.body.decode()

    homes = {f"u{number}": ask(f"u{number}") for number in range(60)}
    assert set(homes.values()) == {"stable", "canary"}
    assert all(ask(user) == home for user, home in homes.items())
    assert len({client.get("/mine").body for _ in range(20)}) == 1
    # Who brings no key is dealt at random.
    assert len({client.get("/").body for _ in range(60)}) == 2


def test_tcp_connections_are_dealt_too(stage: Stage) -> None:
    settings = shared(stage, {"stable": 1, "canary": 1}, mode="tcp")
    stage.start(settings)
    homes = Counter(stage.client().get().body for _ in range(60))
    assert set(homes) == {b"stable", b"canary"}


def test_tcp_clients_stay_by_their_address(stage: Stage) -> None:
    stage.start(shared(stage, {"stable": 1, "canary": 1}, {"by": "source"}, mode="tcp"))
    assert len({stage.client().get().body for _ in range(20)}) == 1


def test_a_route_has_timeouts_and_retries_of_its_own(stage: Stage) -> None:
    hung = stage.server(silent)
    settings = shared(stage, {"third": 1})
    settings["backends"]["third"] = {"servers": [hung.text], "timeouts": {"server": "20s"}}
    settings["backends"]["gone"] = {"servers": [stage.refused().text, stage.refused().text]}
    settings["frontends"]["web"]["routes"] = [
        {"match": {"path": "/slow"}, "to": "third", "timeouts": {"server": "200ms"}},
        {"match": {"path": "/gone"}, "to": "gone", "retries": 1},
    ]
    stage.start(settings)
    client = stage.client()
    assert client.get("/slow").status == 504
    assert client.get("/gone").status == 503
    first, second = stage.records(2)
    assert (first.state, second.state, second.retries) == ("sH", "SC", 1)
