"""Clients come back to their server: by cookies and stick tables, past failures, deaths and reloads."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import Request, Response, reply
from kit.server import Server, answering
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/persistence.yaml"


def named(name: str) -> Any:
    """Return a server that says who it is, and sets what it is told to."""

    def answer(request: Request) -> bytes:
        given = (request.value("x-set") or b"").decode()
        return reply(name.encode(), *([given] if given else []))

    return answering(answer)


def settings(servers: list[Server], backend: Settings, workers: int = 1, **more: Any) -> Settings:
    """Return a configuration with servers s0, s1... whose cookies are c0, c1..."""
    listed: list[Settings] = [{"name": f"s{at}", "address": each.text} for at, each in enumerate(servers)]
    if "cookie" in backend:
        for at, each in enumerate(listed):
            each["cookie"] = f"c{at}"
    return {
        "version": 1,
        "global": {"workers": workers},
        "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app"}},
        "backends": {"app": {"servers": listed, "observe": "none", **backend}},
        **more,
    }


def asked(stage: Stage, user: str) -> bytes:
    """Return which server answers a user who comes by a new connection."""
    client = Client(stage.address())
    try:
        return client.get("/", f"X-User: {user}").body
    finally:
        client.close()


TABLE: Settings = {"tables": {"clients": {"key": "string(20)", "size": 100, "expire": "1h", "store": ["server_id"]}}}


def crowd(stage: Stage, count: int = 3) -> list[Server]:
    return [stage.server(named(f"s{at}")) for at in range(count)]


def cookie_of(answer: Response) -> str:
    """Return the cookie that an answer sets, as a client sends it back."""
    value = answer.value("set-cookie")
    assert value is not None
    return value.decode().partition(";")[0]


def test_a_client_comes_back_by_its_cookie(stage: Stage) -> None:
    servers = crowd(stage)
    stage.start(settings(servers, {"cookie": {"name": "SRV", "indirect": True}}))
    client = stage.client()
    first = client.get("/")
    cookie = cookie_of(first)
    assert first.value("set-cookie") == f"{cookie}; path=/".encode()
    for _ in range(5):
        again = client.get("/", f"Cookie: x=1; {cookie}; y=2")
        assert again.body == first.body
        assert not again.values("set-cookie")
    assert {each.value("cookie") for server in servers for each in server.requests} == {None, b"x=1; y=2"}


def test_a_server_without_a_value_takes_the_cookie_back(stage: Stage) -> None:
    server = stage.server(named("s0"))
    given = settings([server], {"cookie": {"name": "SRV", "domain": [".a.test"]}})
    del given["backends"]["app"]["servers"][0]["cookie"]
    stage.start(given)
    answer = stage.client().get("/", "Cookie: SRV=old")
    assert answer.value("set-cookie") == b"SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/; domain=.a.test"


def test_weight_and_backup_do_not_matter_to_who_was_there(stage: Stage) -> None:
    servers = crowd(stage)
    given = settings(servers, {"cookie": {"name": "SRV"}})
    given["backends"]["app"]["servers"][1]["weight"] = 0
    given["backends"]["app"]["servers"][2]["backup"] = True
    stage.start(given)
    client = stage.client()
    assert {client.get("/").body for _ in range(4)} == {b"s0"}
    assert client.get("/", "Cookie: SRV=c1").body == b"s1"
    assert client.get("/", "Cookie: SRV=c2").body == b"s2"


def test_the_last_retry_goes_to_another_server_and_the_cookie_follows(daemon: Stage) -> None:
    servers = crowd(daemon, 2)
    refused = daemon.refused()
    given = settings(
        servers, {"cookie": {"name": "SRV", "indirect": True}, "retries": 2, "timeouts": {"connect": "100ms"}}
    )
    given["backends"]["app"]["servers"].append({"name": "gone", "address": refused.text, "weight": 0, "cookie": "gone"})
    lb = daemon.start(given)
    client = daemon.client()
    begin = time.monotonic()
    answer = client.get("/", "Cookie: SRV=gone")
    assert answer.status == 200
    assert cookie_of(answer) in ("SRV=c0", "SRV=c1")
    assert time.monotonic() - begin >= 0.1  # one pause before its own server was asked again
    eventually(lb.log_lines, "a record")
    assert re.search(r" --DI \d+/\d+/\d+/\d+/\+2 ", lb.log_lines()[0])


def test_without_redispatch_a_request_goes_to_its_own_server_or_none(stage: Stage) -> None:
    servers = crowd(stage, 1)
    refused = stage.refused()
    given = settings(
        servers,
        {"cookie": {"name": "SRV"}, "redispatch": False, "retries": 1, "timeouts": {"connect": "50ms"}},
    )
    given["backends"]["app"]["servers"].append({"name": "gone", "address": refused.text, "weight": 0, "cookie": "gone"})
    stage.start(given)
    client = stage.client()
    assert client.get("/", "Cookie: SRV=gone").status == 503
    assert client.get("/").status == 200


@pytest.mark.parametrize("word", ["on", "match"])
def test_a_client_comes_back_by_a_stick_table(daemon: Stage, word: str) -> None:
    servers = crowd(daemon, 4)
    key = "req.hdr(x-user)"
    sticks = [{"on": key, "table": "clients"}]
    if word == "match":
        sticks = [
            {"match": key, "table": "clients"},
            {"store_request": key, "table": "clients", "unless": "{ path /not }"},
        ]
    lb = daemon.start(settings(servers, {"stick": sticks}, workers=2, **TABLE))
    assert isinstance(lb, Lb)
    first = {user: asked(daemon, user) for user in "abcdefgh"}
    assert len(set(first.values())) > 1
    for user in "abcdefgh":
        assert [asked(daemon, user) for _ in range(3)] == [first[user]] * 3
    shown = dict(re.findall(r" key=(\w) .* server_id=(\d+)\n", lb.admin("show table clients")))
    assert shown.keys() == first.keys()
    assert len({(first[user], number) for user, number in shown.items()}) == len(set(first.values()))


def test_of_the_answer_the_session_is_remembered(stage: Stage) -> None:
    servers = crowd(stage, 4)
    sticks = [
        {"match": "req.cook(JSESSIONID)", "table": "clients"},
        {"store_response": "res.cook(JSESSIONID)", "table": "clients"},
    ]
    stage.start(settings(servers, {"stick": sticks}, **TABLE))
    client = stage.client()
    homes = {
        session: client.get("/", f"X-Set: Set-Cookie: JSESSIONID={session}; Path=/").body
        for session in ("one", "two", "three")
    }
    assert len(set(homes.values())) == 3
    for _ in range(3):
        for session, home in homes.items():
            assert client.get("/", f"Cookie: JSESSIONID={session}").body == home


def test_a_reload_and_a_death_keep_who_was_where(daemon: Stage) -> None:
    servers = crowd(daemon, 3)
    given = settings(servers, {"stick": [{"on": "req.hdr(x-user)", "table": "clients"}]}, workers=2, **TABLE)
    lb = daemon.start(given)
    assert isinstance(lb, Lb)
    homes = {user: asked(daemon, user) for user in "abcdef"}
    # Other places in the list, other servers beside them: the names stay.
    given["backends"]["app"]["servers"].reverse()
    lb.write(given)
    assert "Success=1" in lb.admin("reload")
    lb.expect_stderr("lb: reloaded, generation 2, ")
    before = lb.workers()
    os.kill(before[0], signal.SIGKILL)
    lb.expect_stderr(r"lb: error: worker \d \(pid \d+\) .*")
    eventually(lambda: set(lb.workers()) - set(before), "another worker in its place")
    lb.rest()
    assert {user: asked(daemon, user) for user in "abcdef"} == homes


def test_two_backends_share_a_table_by_the_names_of_their_servers(stage: Stage) -> None:
    servers = crowd(stage, 3)
    given = settings(servers, {"stick": [{"on": "req.hdr(x-user)", "table": "clients"}]}, **TABLE)
    given["backends"]["other"] = {**given["backends"]["app"], "servers": given["backends"]["app"]["servers"][::-1]}
    given["frontends"]["web"]["routes"] = [{"match": {"path": "/o/*"}, "to": "other"}]
    stage.start(given)
    client = stage.client()
    for user in "abcdef":
        assert client.get("/", f"X-User: {user}").body == client.get("/o/x", f"X-User: {user}").body


def test_the_example_does_what_it_says(daemon: Stage) -> None:
    servers = crowd(daemon, 4)
    given = yaml.safe_load(EXAMPLE.read_text())
    given["global"] = {"workers": 1}
    given["frontends"]["web"]["bind"] = [{"address": LOOPBACK}]
    for at, each in enumerate(given["backends"]["shop"]["servers"]):
        each["address"] = servers[at].text
    given["backends"]["java"]["servers"] = [each.text for each in servers[2:]]
    daemon.start(given)
    client = daemon.client()
    first = client.get("/")
    assert re.fullmatch(
        rb"SRV=[ab]\|[A-Za-z0-9+/]{5}; path=/; HttpOnly; SameSite=Lax", first.value("set-cookie") or b""
    )
    assert client.get("/", f"Cookie: {cookie_of(first)}").body == first.body
    assert not client.get("/static/x", "Cookie: SRV=zz").values("set-cookie")
    java = client.get("/java/x", "X-Set: Set-Cookie: JSESSIONID=j1").body
    assert [client.get("/java/x", "Cookie: JSESSIONID=j1").body for _ in range(3)] == [java] * 3
