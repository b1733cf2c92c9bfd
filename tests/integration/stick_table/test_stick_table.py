"""Stick tables on the way through: tracked keys, limits exact over workers, deaths, reloads, and what `show table` says."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Connection, Server, echoing
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/limits.yaml"


def tracked(server: Server, rules: list[Settings], table: Settings | None = None, workers: int = 1) -> Settings:
    """Return a configuration with one table and these rules."""
    store = ["conn_cur", "http_req_cnt", "http_req_rate(1h)", "http_err_cnt", "bytes_in_cnt", "bytes_out_cnt", "gpc0"]
    return {
        "version": 1,
        "global": {"workers": workers},
        "tables": {"per_ip": {"key": "ip", "size": 1000, "expire": "1h", "store": store, **(table or {})}},
        "frontends": {"web": {"bind": [{"address": LOOPBACK}], "default_backend": "app", "rules": rules}},
        "backends": {"app": {"servers": [server.text]}},
    }


def keeping(connection: Connection) -> None:
    """Read a request and never answer."""
    connection.request()
    connection.wait_end()


TRACK: Settings = {"track": "src", "table": "per_ip"}


def entry(lb: Any, table: str = "per_ip") -> dict[str, int]:
    """Return the values of the one entry of a table."""
    (line,) = lb.admin(f"show table {table}").splitlines()[1:2]
    return {name: int(value) for name, value in re.findall(r" ([a-z_0-9]+)(?:\(\d+\))?=(\d+)", line)}


def test_a_limit_on_the_number_of_requests(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    stage.start(tracked(server, [TRACK, {"deny": 429, "if": "{ sc_http_req_cnt(0) gt 3 }"}]))
    client = stage.client()
    assert [client.get("/").status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert stage.client().get("/").status == 429


def test_keys_of_other_kinds_and_what_fetches_say(stage: Stage) -> None:
    server = stage.server(reply(b"app"))
    said = (
        "%[sc_http_req_cnt(0)] %[sc_conn_cur(0)] %[sc_tracked(1)] %[sc_tracked(2)] %[sc_inc_gpc0(1)] %[sc_get_gpc0(1)] "
        "%[src_http_req_cnt(per_ip)] %[src_get_gpc0(per_ip)] %[sc_http_req_rate(0)] %[sc_trackers(1)]"
    )
    settings = tracked(
        server,
        [
            TRACK,
            {"track": "req.hdr(x-user)", "table": "per_user", "as": 1},
            {"track": "req.hdr(x-none)", "table": "per_user", "as": 2},
            {"return": {"headers": {"x-said": said}}},
        ],
    )
    settings["tables"]["per_user"] = {"key": "string(20)", "size": 10, "store": ["gpc0"]}
    stage.start(settings)
    client = stage.client()
    for user, expected in (
        ("a", b"1 1 1 0 1 1 1 0 1 1"),
        ("a", b"2 1 1 0 2 2 2 0 2 1"),
        ("b", b"3 1 1 0 1 1 3 0 3 1"),
    ):
        assert client.get("/", f"X-User: {user}").value("x-said") == expected


def test_what_a_request_did_is_counted_when_it_has_ended(daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    lb = daemon.start(tracked(server, [TRACK, {"return": 404, "if": "{ path /gone }"}]))
    client = daemon.client()
    client.get("/")
    client.get("/gone")
    eventually(lambda: entry(lb)["use"] == 0, "nobody to hold the entry")
    found = entry(lb)
    assert found["http_req_cnt"] == 2
    assert found["http_err_cnt"] == 1
    assert found["conn_cur"] == 0
    assert found["bytes_in_cnt"] > 2 * len("GET / HTTP/1.1")
    assert found["bytes_out_cnt"] > found["bytes_in_cnt"] // 2
    assert lb.admin("show table") == "# table: per_ip, type: ip, size:1000, used:1\n\n"
    assert "key=127.0.0.1 use=0 exp=" in lb.admin("show table per_ip")
    assert lb.admin("show table other") == "No such table\n\n"


@pytest.mark.parametrize(
    "condition", ["{ sc_http_req_cnt(0) gt 1000 }", "{ sc_inc_gpc0(0) gt 1000 }"], ids=["http_req_cnt", "gpc0"]
)
def test_four_workers_let_exactly_as_many_pass_as_the_limit_says(daemon: Stage, condition: str) -> None:
    server = daemon.server(reply(b"app"))
    lb = daemon.start(
        tracked(server, [TRACK, {"deny": 429, "if": condition}, {"return": 204}], workers=4),
    )
    statuses: list[int] = []

    def ask_often() -> None:
        mine = []
        for _ in range(10):
            client = Client(daemon.address())
            mine += [client.get("/").status for _ in range(15)]
            client.close()
        statuses.extend(mine)

    threads = [threading.Thread(target=ask_often) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(statuses) == 1500
    assert statuses.count(204) == 1000
    assert statuses.count(429) == 500
    eventually(lambda: entry(lb)["conn_cur"] == 0, "nobody to hold the entry")
    assert entry(lb)["http_req_cnt"] == 1500


def test_a_workers_death_gives_back_what_it_held(daemon: Stage) -> None:
    server = daemon.server(keeping)
    lb = daemon.start(tracked(server, [TRACK], workers=2))
    clients = [daemon.client() for _ in range(12)]
    for each in clients:
        each.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    server.wait_requests(12)
    eventually(lambda: entry(lb)["conn_cur"] == 12, "all to be counted")
    before = lb.workers()
    os.kill(before[0], signal.SIGKILL)
    lb.expect_stderr(r"lb: error: worker \d \(pid \d+\) .*")
    eventually(lambda: set(lb.workers()) - set(before), "another worker in its place")
    eventually(lambda: 0 < entry(lb)["conn_cur"] < 12, "the dead worker's part to be given back")
    left = entry(lb)["conn_cur"]
    assert entry(lb)["use"] == left
    lb.rest()
    for each in clients:
        each.close()
    eventually(lambda: entry(lb)["conn_cur"] == 0, "nobody to hold the entry")


@pytest.mark.parametrize("phase", ["connection_rules", "session_rules", "content_rules"])
def test_a_workers_death_gives_back_what_connections_tracked(daemon: Stage, phase: str) -> None:
    server = daemon.server(echoing)
    store = ["conn_cur", "conn_cnt", "sess_cnt", "bytes_in_cnt"]
    settings = tracked(server, [], {"store": store}, workers=2)
    web = {**settings["frontends"]["web"], "mode": "tcp", phase: [TRACK]}
    lb = daemon.start({**settings, "frontends": {"web": web}})
    clients = [daemon.client() for _ in range(12)]
    for each in clients:
        each.send(b"hello")
        assert each.read_exactly(5) == b"hello"
    said = entry(lb)
    assert (said["conn_cur"], said["conn_cnt"], said["sess_cnt"]) == (12, 12, 0 if phase == "content_rules" else 12)
    before = lb.workers()
    os.kill(before[0], signal.SIGKILL)
    lb.expect_stderr(r"lb: error: worker \d \(pid \d+\) .*")
    eventually(lambda: set(lb.workers()) - set(before), "another worker in its place")
    eventually(lambda: 0 < entry(lb)["conn_cur"] < 12, "the dead worker's part to be given back")
    assert entry(lb)["use"] == entry(lb)["conn_cur"]
    lb.rest()
    for each in clients:
        each.close()
    eventually(lambda: entry(lb)["conn_cur"] == 0, "nobody to hold the entry")


def test_a_reload_keeps_entries_and_says_when_it_cannot(tmp_path: Path, daemon: Stage) -> None:
    server = daemon.server(reply(b"app"))
    lb = daemon.start(tracked(server, [TRACK]))
    assert isinstance(lb, Lb)
    daemon.client().get("/")
    eventually(lambda: entry(lb)["use"] == 0, "nobody to hold the entry")
    lb.write(tracked(server, [TRACK], {"size": 2000}))
    assert "Success=1" in lb.admin("reload")
    assert lb.admin("show table").startswith("# table: per_ip, type: ip, size:2000, used:1\n")
    daemon.client().get("/")
    eventually(lambda: entry(lb)["http_req_cnt"] == 2, "the second request")
    lb.write(tracked(server, [TRACK], {"size": 2000, "store": ["gpc0"]}))
    lb.expect_stderr(r"lb: warning: table 'per_ip': its key or what it stores has changed; it starts empty")
    assert "it starts empty" in lb.admin("reload")
    assert lb.admin("show table") == "# table: per_ip, type: ip, size:2000, used:0\n\n"
    lb.write(tracked(server, [TRACK], {"size": "16m", "store": ["gpc_rate(100,1m)"]}))
    lb.expect_stderr(
        r"lb: error: table 'per_ip': 16777216 keys need \d+ MiB, and all tables and balances have 8 GiB .*"
    )
    lb.expect_stderr(r"lb: error: the configuration stays .*|.*")
    assert "Success=0" in lb.admin("reload")
    assert lb.admin("show table") == "# table: per_ip, type: ip, size:2000, used:0\n\n"


def test_the_example_limits_as_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    server = daemon.server(reply(b"app"))
    settings["backends"]["app"]["servers"] = [server.text]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    # One rate in which this test surely stays.
    settings["tables"]["per_ip"]["store"] = ["conn_cur", "http_req_rate(1h)", "http_err_rate(1h)"]
    lb = daemon.start({**settings, "global": {"workers": 2}})
    client = daemon.client()
    assert [client.get("/", "X-Api-Key: k").status for _ in range(100)] == [200] * 100
    assert client.get("/").status == 429
    assert "type: string, size:10240, used:1\n" in lb.admin("show table per_key")
    assert " key=k use=0 " in lb.admin("show table per_key")
    assert [client.get("/").status for _ in range(40)].count(429) == 40
