"""Rate limits on the way through: what passes, what answers say, logs, counters, reloads, deaths, and four workers."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from kit.client import Client, Response
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/rate-limits.yaml"


def limited(server: Server, given: Settings, workers: int = 1, **frontend: Any) -> Settings:
    """Return a configuration with these limits, all of them on the frontend unless it says otherwise."""
    return {
        "version": 1,
        "global": {"workers": workers},
        "limits": given,
        "frontends": {
            "web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", "limits": list(given), **frontend}
        },
        "backends": {"app": {"servers": [server.text]}},
    }


def shown(lb: Any, name: str) -> dict[str, Any]:
    """Return what `show limits` says of one."""
    (found,) = [each for each in json.loads(lb.admin("show limits")) if each["name"] == name]
    return dict(found)


def field(answer: Response, name: str) -> bytes:
    """Return a field that must be there, once."""
    value = answer.value(name)
    assert value is not None, f"no {name}"
    return value


def fields(answer: Response) -> tuple[bytes, bytes]:
    return field(answer, "ratelimit-policy"), field(answer, "ratelimit")


def left(answer: Response) -> int:
    """Return how many requests an answer says are left."""
    return int(field(answer, "ratelimit").split(b";")[1].removeprefix(b"r="))


def test_more_than_the_burst_is_refused_and_told_when_to_come_again(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(limited(server, {"api": {"rate": "2/1h"}}))
    client = stage.client()
    for more in (b"1", b"0"):
        answer = client.get("/")
        assert answer.status == 200
        assert fields(answer) == (b'"api";q=2;w=3600', b'"api";r=' + more + b";t=1800")
        assert not answer.values("retry-after")
    answer = client.get("/")
    assert answer.status == 429
    assert fields(answer) == (b'"api";q=2;w=3600', b'"api";r=0;t=1800')
    assert answer.value("retry-after") == b"1800"
    problem = json.loads(answer.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["status"], problem["violated-policies"]) == (429, ["api"])
    # The connection lives, and people get text.
    assert client.get("/", "Accept: text/html").body.startswith(b"429 Too Many Requests\n")
    assert len(server.requests) == 2


def test_what_came_back_passes_again(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(limited(server, {"api": {"rate": "1/300ms"}}))
    client = stage.client()
    assert client.get("/").status == 200
    assert client.get("/").status == 429
    eventually(lambda: client.get("/").status == 200, "the request to come back")


def test_keys_headers_and_who_has_none(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    limits = {
        "key": {"rate": "1/1h", "by": "req.hdr(x-key)", "headers": "legacy"},
        "quiet": {"rate": "50/1h", "headers": "none"},
    }
    stage.start(limited(server, limits))
    client = stage.client()
    assert client.get("/", "X-Key: a").status == 200
    assert client.get("/", "X-Key: b").status == 200
    refused = client.get("/", "X-Key: a")
    assert refused.status == 429
    assert refused.value("x-ratelimit-limit") == b"1"
    assert refused.value("x-ratelimit-remaining") == b"0"
    assert refused.value("x-ratelimit-reset") == refused.value("retry-after")
    # To leave the header out does not help: the address stands for it.
    assert [client.get("/").status for _ in range(2)] == [200, 429]


def test_a_limit_that_says_nothing_refuses_all_the_same(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(limited(server, {"quiet": {"rate": "1/1h", "headers": "none"}}))
    client = stage.client()
    assert not client.get("/").values("ratelimit")
    refused = client.get("/")
    assert refused.status == 429
    assert not refused.values("ratelimit")
    assert 3590 <= int(field(refused, "retry-after")) <= 3600


def test_several_limits_count_together_or_not_at_all(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    limits = {"wide": {"rate": "3/1h"}, "narrow": {"rate": "1/1h", "by": "path"}}
    stage.start(limited(server, limits))
    client = stage.client()
    first = client.get("/a")
    assert fields(first)[1].startswith(b'"narrow";r=0')  # the one with least left
    for _ in range(5):
        refused = client.get("/a")
        assert refused.status == 429
        assert fields(refused)[1].startswith(b'"narrow";r=0')
    # What was refused has taken nothing of `wide`.
    assert [client.get(path).status for path in ("/b", "/c", "/d")] == [200, 200, 429]


def test_routes_and_backends_have_limits_of_their_own(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    settings = limited(
        server,
        {name: {"rate": f"{count}/1h"} for name, count in (("route", 2), ("backend", 5), ("answer", 1))},
        limits=[],
        routes=[
            {"match": {"path": "/a/*"}, "to": "app", "limits": ["route"]},
            {"match": {"path": "/r/*"}, "reply": {"status": 200}, "limits": ["answer"]},
        ],
    )
    settings["backends"]["app"]["limits"] = ["backend", "route"]
    stage.start(settings)
    client = stage.client()
    # A limit that is named twice counts once.
    assert [client.get("/a/x").status for _ in range(3)] == [200, 200, 429]
    assert [client.get("/r/x").status for _ in range(2)] == [200, 429]
    assert fields(client.get("/a/x"))[1].startswith(b'"route";r=0')
    assert len(server.requests) == 2


def test_a_frontends_limit_stands_before_its_rules(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(limited(server, {"all": {"rate": "2/1h"}}, rules=[{"deny": 403}]))
    client = stage.client()
    # So who is denied cannot try for ever.
    assert [client.get("/").status for _ in range(3)] == [403, 403, 429]


def test_a_request_that_is_sent_again_counts_once_and_its_copy_not_at_all(stage: Stage) -> None:
    def stale(connection: Connection) -> None:
        """Answer once, and break at the second request."""
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.request()

    server = stage.server(stale)
    copies = stage.server(reply(b""))
    settings = limited(server, {"all": {"rate": "10/1h"}}, mirror={"to": "copies"}, limits=[])
    settings["backends"]["app"]["limits"] = ["all"]
    settings["backends"]["copies"] = {"servers": [copies.text], "limits": ["all"]}
    stage.start(settings)
    client = stage.client()
    assert [left(client.get("/")) for _ in range(4)] == [9, 8, 7, 6]
    copies.wait_requests(4)
    assert left(client.get("/")) == 5


def test_shadow_mode_counts_and_logs_and_refuses_nothing(tmp_path: Path, daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    log = tmp_path / "limits.json"
    settings = limited(server, {"soft": {"rate": "1/1h", "mode": "shadow"}, "hard": {"rate": "3/1h"}})
    whole, chosen = tmp_path / "whole.json", ["status", "limit", "limit_shadow"]
    settings["frontends"]["web"]["log"] = [
        {"to": str(log), "format": "json", "fields": chosen},
        {"to": str(whole), "format": "json"},
    ]
    lb = daemon.start(settings)
    client = daemon.client()
    assert [client.get("/").status for _ in range(4)] == [200, 200, 200, 429]
    assert fields(client.get("/"))[0].startswith(b'"hard"')
    soft, hard = shown(lb, "soft"), shown(lb, "hard")
    assert (soft["passed"], soft["refused"], soft["would_refuse"]) == (1, 0, 4)
    assert (hard["passed"], hard["refused"], hard["would_refuse"]) == (3, 2, 0)
    assert soft["used_by"] == ["frontend 'web'"]
    eventually(lambda: whole.read_text().count("\n") == log.read_text().count("\n") == 5, "five records")
    assert all(json.loads(line).keys() >= set(chosen) for line in whole.read_text().splitlines())
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"status": 200, "limit": None, "limit_shadow": None},
        {"status": 200, "limit": None, "limit_shadow": "soft"},
        {"status": 200, "limit": None, "limit_shadow": "soft"},
        {"status": 429, "limit": "hard", "limit_shadow": "soft"},
        {"status": 429, "limit": "hard", "limit_shadow": "soft"},
    ]
    # Operators see the keys.
    assert "# table: limit:hard, type: ipv6, size:102400, used:1\n" in lb.admin("show table")
    assert " key=::ffff:127.0.0.1 use=0 " in lb.admin("show table limit:hard")
    assert " refused=2\n" in lb.admin("show table limit:hard")


def test_a_reload_keeps_what_is_owed(daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    settings = limited(server, {"all": {"rate": "2/1h"}})
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)

    def reload(limit: Settings) -> str:
        settings["limits"]["all"] = limit
        lb.write(settings)
        said = lb.admin("reload")
        assert "Success=1" in said
        return said

    client = daemon.client()
    assert [client.get("/").status for _ in range(3)] == [200, 200, 429]
    reload({"rate": "2/1h", "headers": "none"})
    assert client.get("/").status == 429
    # A higher rate: a whole period was used up, and comes back as fast as the new rate says.
    reload({"rate": "36000/1h"})
    eventually(lambda: client.get("/").status == 200, "the first request to come back")
    lb.expect_stderr("lb: reloaded, generation [234], ")
    lb.expect_stderr("lb: warning: table 'limit:all': its key or what it stores has changed; it starts empty")
    assert "table 'limit:all'" in reload({"rate": "2/1h", "by": "path"})
    assert [client.get("/").status for _ in range(3)] == [200, 200, 429]


def test_four_workers_let_pass_what_burst_and_rate_allow(daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    settings = limited(server, {"all": {"rate": "500/1s", "burst": 300}}, workers=4, rules=[{"return": 204}])
    lb = daemon.start(settings)
    statuses: list[int] = []
    begin = time.monotonic()

    def ask_often() -> None:
        clients = [Client(daemon.address()) for _ in range(20)]
        mine = [each.get("/").status for _ in range(10) for each in clients]
        for each in clients:
            each.close()
        statuses.extend(mine)

    threads = [threading.Thread(target=ask_often) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    elapsed = time.monotonic() - begin
    passed = statuses.count(204)
    assert len(statuses) == 2000
    assert passed + statuses.count(429) == 2000
    assert 300 <= passed <= 300 + 500 * elapsed
    found = shown(lb, "all")
    assert (found["passed"], found["refused"]) == (passed, 2000 - passed)


def test_the_example_does_what_it_says(daemon: Stage) -> None:
    app, api = daemon.server(reply(b"app")), daemon.server(reply(b"api"))
    settings = yaml.safe_load(EXAMPLE.read_text())
    settings["global"] = {"workers": 2}
    settings["frontends"]["web"]["bind"] = [{"address": LOOPBACK}]
    settings["backends"]["app"]["servers"] = [app.text]
    settings["backends"]["api"]["servers"] = [api.text]
    lb = daemon.start(settings)
    assert isinstance(lb, Lb)
    client = daemon.client()
    assert [client.get("/login", method="POST").status for _ in range(6)] == [200] * 5 + [429]
    assert [client.get("/reports/1", "Cookie: session=s").status for _ in range(3)] == [200] * 3
    assert client.get("/v1/x", "X-Api-Key: k").value("x-ratelimit-remaining") is not None
    assert shown(lb, "reports")["would_refuse"] == 2
    assert shown(lb, "logins")["refused"] == 1
    assert shown(lb, "per_client")["passed"] == 10
    # What a worker counted outlives it.
    before = lb.workers()
    for each in before:
        os.kill(each, signal.SIGKILL)
    lb.expect_stderr(r"lb: error: worker \d \(pid \d+\) .*")
    eventually(lambda: len(set(lb.workers()) - set(before)) == 2, "other workers")
    lb.rest()
    assert daemon.client().get("/login", method="POST").status == 429
    assert shown(lb, "logins") | {"used_by": None} == shown(lb, "logins") | {"refused": 2, "used_by": None}
