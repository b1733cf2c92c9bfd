"""The HTTP admin, over real sockets: what Prometheus, Telegraf, load balancers above and people ask it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.server import Connection
from kit.settings import Settings, relay
from kit.stage import Stage
from prometheus_client import parser as plain
from prometheus_client.openmetrics import parser as openmetrics

from lb.admin.statistics import COLUMNS

TOKEN = "correct horse battery staple"


def answer(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def settings(server: str, token: Path | None = None, **more: Any) -> Settings:
    made = relay("http", server, **more)
    made["global"]["http"] = {"address": "127.0.0.1:0"}
    if token is not None:
        token.write_text(TOKEN + "\n")
        made["global"]["http"]["token"] = f"file:{token}"
    return made


def ask(
    lb: Lb, target: str, method: str = "GET", headers: dict[str, str] | None = None, at: str = ""
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(at or lb.http_address, timeout=DEADLINE)
    with closing(connection):
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode()


def visit(lb: Lb) -> None:
    with closing(http.client.HTTPConnection(*lb.addresses["web"][0], timeout=DEADLINE)) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"


def samples(text: str, *, is_open: bool = False) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = (openmetrics if is_open else plain).text_string_to_metric_families(text)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


@pytest.mark.parametrize("is_open", [False, True])
def test_metrics_have_the_names_and_values_of_haproxy(daemon: Stage, is_open: bool) -> None:
    lb = daemon.start(settings(daemon.server(answer).text, workers=2))
    assert isinstance(lb, Lb)
    for _ in range(3):
        visit(lb)
    # A request is counted a moment after its answer.
    eventually(lambda: ",3," in lb.admin("show stat"), "three requests")
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"} if is_open else {}
    status, said, text = ask(lb, "/metrics", headers=headers)
    assert status == 200
    assert said["content-type"].startswith("application/openmetrics-text" if is_open else "text/plain; version=0.0.4")
    found = samples(text, is_open=is_open)
    web, s1 = (("proxy", "web"),), (("proxy", "app"), ("server", "s1"))
    assert found["haproxy_frontend_http_requests_total", web] == 3
    assert found["haproxy_frontend_http_responses_total", (("code", "2xx"), *web)] == 3
    assert found["haproxy_frontend_status", (*web, ("state", "UP"))] == 1
    assert found["haproxy_frontend_status", (*web, ("state", "DOWN"))] == 0
    assert found["haproxy_server_sessions_total", s1] == 3
    assert found["haproxy_server_status", (*s1, ("state", "UP"))] == 1
    assert found["haproxy_backend_active_servers", (("proxy", "app"),)] == 1
    assert found["haproxy_process_nbthread", ()] == 2
    assert found["haproxy_process_requests_total", ()] == 3
    assert found["lb_generation", ()] == 1
    assert 0 <= found["haproxy_server_total_time_average_seconds", s1] < 10


def test_scopes_choose_families(daemon: Stage) -> None:
    made = settings(daemon.server(answer).text)
    made["tables"] = {"seen": {"key": "ip", "size": "1k", "expire": "1m", "store": ["http_req_cnt"]}}
    lb = daemon.start(made)
    assert isinstance(lb, Lb)
    names = {name for name, _ in samples(ask(lb, "/metrics?scope=backend&scope=sticktable")[2])}
    assert {name.split("_")[1] for name in names} == {"backend", "sticktable"}
    assert (
        samples(ask(lb, "/metrics?scope=sticktable")[2])["haproxy_sticktable_size", (("name", "seen"), ("type", "ip"))]
        == 1024
    )
    status, _, text = ask(lb, "/metrics?scope=servers")
    assert (status, "unknown scope 'servers'" in text) == (400, True)


def test_health_follows_the_process_and_readiness_its_workers(daemon: Stage) -> None:
    lb = daemon.start(settings(daemon.server(answer).text))
    assert isinstance(lb, Lb)
    assert ask(lb, "/healthz")[0] == 200
    assert json.loads(ask(lb, "/readyz")[2]) == {"status": "ready", "generation": 1}
    (worker,) = lb.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        eventually(lambda: ask(lb, "/readyz")[0] == 503, "not ready while the worker is stopped")
        assert ask(lb, "/healthz")[0] == 200
    finally:
        os.kill(worker, signal.SIGCONT)
    eventually(lambda: ask(lb, "/readyz")[0] == 200, "ready again")


def test_readers_of_haproxys_page_find_what_they_look_for(daemon: Stage) -> None:
    lb = daemon.start(settings(daemon.server(answer).text))
    assert isinstance(lb, Lb)
    for target in ("/;csv", "/haproxy?stats;csv", "/stats;csv"):
        status, headers, text = ask(lb, target)
        lines = text.splitlines()
        assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert lines[0] == lb.admin("show stat").splitlines()[0]
        assert [line.split(",")[:2] for line in lines[1:]] == [
            ["web", "FRONTEND"],
            ["web", "127.0.0.1:0"],
            ["app", "s1"],
            ["app", "BACKEND"],
        ]
        assert {len(line.split(",")) for line in lines} == {len(COLUMNS) + 3 - 1}
    status, headers, page = ask(lb, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["content-security-policy"]
    for word in ("web (http)", "app (http)", "FRONTEND", "BACKEND", ">s1<", "no check"):
        assert word in page
    rows = json.loads(ask(lb, "/api/stat")[2])
    assert [row["svname"] for row in rows] == ["FRONTEND", "127.0.0.1:0", "s1", "BACKEND"]
    assert json.loads(ask(lb, "/api/info")[2])["Nbthread"] == 1
    assert ask(lb, "/api/mirrors")[0] == ask(lb, "/api/udp")[0] == ask(lb, "/api/logs")[0] == 200
    status, headers, text = ask(lb, "/nothing")
    assert (status, headers["content-type"], json.loads(text)["status"]) == (404, "application/problem+json", 404)
    assert ask(lb, "/metrics", "POST")[0] == 403


def test_changes_need_the_token(daemon: Stage, tmp_path: Path) -> None:
    server = daemon.server(answer).text
    lb = daemon.start(settings(server, tmp_path / "token"))
    assert isinstance(lb, Lb)
    right = {"Authorization": f"Bearer {TOKEN}"}
    for wrong in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff"},
        {"Cookie": TOKEN},
    ):
        status, headers, text = ask(lb, "/api/reload", "POST", wrong)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in text
    assert json.loads(ask(lb, "/readyz")[2])["generation"] == 1
    lb.expect_stderr("reloaded, generation 2")
    status, _, text = ask(lb, "/api/reload", "POST", right)
    assert (status, json.loads(text)["success"]) == (200, True)
    assert json.loads(ask(lb, "/readyz")[2])["generation"] == 2
    visit(lb)
    eventually(lambda: json.loads(ask(lb, "/api/info")[2])["CumReq"] == 1, "a request")
    assert ask(lb, "/api/clear_counters?all=1", "POST", right)[0] == 200
    assert json.loads(ask(lb, "/api/info")[2])["CumReq"] == 0
    # What does not compile changes nothing, and says why.
    lb.expect_stderr("unknown keyword 'nonsense'")
    lb.expect_stderr("reload failed")
    lb.write({**settings(server, tmp_path / "token"), "nonsense": 1})
    status, _, text = ask(lb, "/api/reload", "POST", right)
    assert (status, json.loads(text)["success"]) == (422, False)
    assert any("nonsense" in line for line in json.loads(text)["log"])


def test_without_a_token_nothing_can_be_changed(daemon: Stage) -> None:
    lb = daemon.start(settings(daemon.server(answer).text))
    assert isinstance(lb, Lb)
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": ""}):
        status, _, text = ask(lb, "/api/reload", "POST", headers)
        assert (status, "no token is configured" in text) == (403, True)


def test_entries_of_tables_need_the_token(daemon: Stage, tmp_path: Path) -> None:
    made = settings(daemon.server(answer).text, tmp_path / "token")
    made["tables"] = {"seen": {"key": "ip", "size": "1k", "expire": "1m", "store": ["http_req_cnt"]}}
    made["frontends"]["web"]["rules"] = [{"track": "src", "table": "seen"}]
    lb = daemon.start(made)
    assert isinstance(lb, Lb)
    visit(lb)
    assert json.loads(ask(lb, "/api/tables")[2]) == [{"name": "seen", "type": "ip", "size": 1024, "used": 1}]
    assert ask(lb, "/api/tables/seen")[0] == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    (entry,) = json.loads(ask(lb, "/api/tables/seen", headers=right)[2])
    assert (entry["key"], entry["http_req_cnt"]) == ("127.0.0.1", 1)
    assert ask(lb, "/api/tables/unseen", headers=right)[0] == 404


def test_a_reload_moves_it_and_answers_who_asked(daemon: Stage, tmp_path: Path) -> None:
    server = daemon.server(answer).text
    lb = daemon.start(settings(server, tmp_path / "token"))
    assert isinstance(lb, Lb)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = settings(server, tmp_path / "token")
    made["global"]["http"]["address"] = f"127.0.0.1:{port}"
    lb.write(made)
    lb.expect_stderr("reloaded, generation 2")
    status, _, _ = ask(lb, "/api/reload", "POST", {"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert ask(lb, "/healthz", at=f"127.0.0.1:{port}")[0] == 200

    def is_closed() -> bool:
        try:
            ask(lb, "/healthz")
        except OSError:
            return True
        return False

    eventually(is_closed, "the old address is closed")


def test_an_address_in_use_refuses_the_reload(daemon: Stage) -> None:
    server = daemon.server(answer).text
    lb = daemon.start(relay("http", server))
    assert isinstance(lb, Lb)
    lb.expect_stderr("http.address '127.0.0.1' port [0-9]+: address in use")
    lb.expect_stderr("reload failed")
    made = settings(server)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        made["global"]["http"]["address"] = f"127.0.0.1:{taken.getsockname()[1]}"
        lb.write(made)
        assert "Success=0" in lb.admin("reload")
    visit(lb)


def test_events_tell_what_happens(daemon: Stage, tmp_path: Path) -> None:
    lb = daemon.start(settings(daemon.server(answer).text, tmp_path / "token"))
    assert isinstance(lb, Lb)
    host, _, port = lb.http_address.partition(":")
    with closing(socket.create_connection((host, int(port)), DEADLINE)) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while b"event: rates" not in seen:
            seen += connection.recv(65536)
        assert b"text/event-stream" in seen
        assert b'"name":"web"' in seen
        lb.expect_stderr("reloaded, generation 2")
        assert ask(lb, "/api/reload", "POST", {"Authorization": f"Bearer {TOKEN}"})[0] == 200
        while b"generation 2" not in seen:
            data = connection.recv(65536)
            assert data
            seen += data
        assert b"event: log" in seen
