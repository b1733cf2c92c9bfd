"""`lb explain` says what the running lb does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

pytestmark = pytest.mark.ours


def explain(file: Path, *words: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-P", "-m", "lb", "explain", "-f", str(file), "--json", *words]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def test_it_names_the_server_that_answers(daemon: Stage) -> None:
    names = [f"s{n}" for n in range(5)]
    servers = [{"name": name, "address": daemon.server(reply(name.encode())).text} for name in names]
    settings: Settings = {
        "version": 1,
        "global": {"workers": 1},
        "frontends": {
            "web": {
                "bind": [LOOPBACK],
                "routes": [
                    {"match": {"path": "/split"}, "to": {"users": 1, "paths": 1}, "sticky": {"cookie": "c"}},
                    {"match": {"path": "/u/{id}"}, "to": "users"},
                ],
                "default_backend": "paths",
            }
        },
        "backends": {
            "users": {
                "balance": {"algorithm": "hash", "key": "req.hdr(x-user)", "type": "consistent"},
                "servers": servers,
            },
            "paths": {"balance": {"algorithm": "uri", "hash": "xxh3"}, "servers": servers},
        },
    }
    daemon.start(settings)
    file = daemon.directory / "explained.yaml"
    file.write_text(yaml.safe_dump(settings))
    client = daemon.client()
    for n in range(4):
        status, said = explain(file, "-H", f"x-user: {n}", f"http://lb.test/u/{n}")
        assert (status, said["backend"]) == (0, "users")
        assert client.get(f"/u/{n}", f"x-user: {n}").body.decode() == said["server"]
        status, said = explain(file, f"http://lb.test/p/{n}?a=b")
        assert (status, said["backend"], said["route"]) == (0, "paths", "default_backend")
        assert client.get(f"/p/{n}?a=b").body.decode() == said["server"]
        cookie = f"cookie: c={n:016x}"
        status, said = explain(file, "-H", cookie, "-H", "x-user: 1", "http://lb.test/split")
        assert client.get("/split", cookie, "x-user: 1").body.decode() == said["server"]


def test_it_says_why_nothing_answers(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    file.write_text(
        """\
version: 1
frontends:
  web:
    bind: [":8080"]
    routes:
      - {name: read, match: {host: a.test, path: "/o/{id}", method: GET}, to: app}
      - {match: {host: a.test, path: "/o/{id}", headers: {x-a: "1"}, query: {v: "2"}}, to: app}
      - {match: {host: r.test}, redirect: {scheme: https, code: 301}}
      - {match: {host: p.test}, reply: {status: 403, body: no}}
      - {match: {host: s.test}, to: {app: 3, other: 1}}
  raw: {mode: tcp, bind: [":9000"], default_backend: db}
backends:
  app: {servers: ["10.0.0.1:80", "10.0.0.2:80"]}
  other: {servers: ["10.0.0.3:80"]}
  db: {servers: ["10.0.0.4:80"]}
"""
    )
    status, said = explain(file, "POST", "http://a.test:8080/o/7")
    assert status == 1
    assert said["status"] == 405
    assert said["listener"] == ":8080"
    assert said["passed"] == ["2 (lb.yaml:7): header 'x-a' is not '1'", "1 'read' (lb.yaml:6): method"]
    assert said["reason"] == "no route takes the method; allowed: GET, HEAD"
    status, said = explain(file, "http://b.test:8080/o/7")
    assert (status, said["status"], said["reason"]) == (1, 404, "no route matches")
    status, said = explain(file, "http://a.test:8080/o/7")
    assert (status, said["route"], said["servers"]) == (0, "1 'read' (lb.yaml:6)", ["10.0.0.1:80", "10.0.0.2:80"])
    assert said["how"] == "in turn"
    status, said = explain(file, "http://r.test:8080/x")
    assert (status, said["status"], said["how"]) == (0, 301, "redirect to https://host + path")
    status, said = explain(file, "http://p.test:8080/x")
    assert (status, said["status"], said["how"]) == (0, 403, "reply of 2 bytes")
    status, said = explain(file, "http://s.test:8080/x")
    assert (status, said["shares"], said.get("backend")) == (0, {"app": 3, "other": 1}, None)
    status, said = explain(file, "http://s.test:9000/")
    assert (status, said["frontend"], said["server"]) == (0, "raw", "10.0.0.4:80")
    status, said = explain(file, "http://s.test/")
    assert said["note"] == "no listener has port 80; this is the only frontend of mode http"
    status, said = explain(file, "--frontend", "raw", "http://s.test/")
    assert said["backend"] == "db"
    status, said = explain(file, "-H", "a b", "http://a.test:8080/")
    assert (status, said["status"]) == (1, 400)


def test_it_runs_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "lb.yaml"
    file.write_text(
        """\
version: 1
frontends:
  web:
    bind: [":8080"]
    rules:
      - {deny: 429, if: "{ path_beg /admin } !{ src 10.0.0.0/8 }"}
      - {set_path: "/v1%[path]", if: "{ path_beg /old }"}
      - {use_backend: other, if: "{ req.hdr(x-beta) 1 } { nbsrv(other) ge 1 }"}
      - {redirect: {scheme: https}, if: "{ path /secure }"}
      - {set_path: "%[query]", if: "{ path /bad }"}
    routes: [{match: {path: /v1/*}, to: app}]
    default_backend: other
backends:
  app: {servers: ["10.0.0.1:80"]}
  other: {servers: ["10.0.0.3:80"], rules: [{reject: true, if: "{ path /gone }"}]}
"""
    )
    status, said = explain(file, "http://a.test:8080/admin/x")
    assert (status, said["status"], said["reason"]) == (1, 429, "a rule ends it")
    assert said["rules"] == ["rule 1 of frontend 'web' (lb.yaml:6): deny 429"]
    status, said = explain(file, "--source", "10.1.1.1", "http://a.test:8080/admin/x")
    assert (status, said["backend"]) == (0, "other")
    status, said = explain(file, "http://a.test:8080/old")
    assert (status, said["backend"], said["rules"]) == (0, "app", ["the target becomes /v1/old"])
    status, said = explain(file, "-H", "x-beta: 1", "http://a.test:8080/v1/x")
    assert (status, said["backend"]) == (0, "other")
    assert said["rules"] == ["rule 3 of frontend 'web' (lb.yaml:8): use_backend other"]
    status, said = explain(file, "http://a.test:8080/secure")
    assert (status, said["status"], said["rules"]) == (0, 302, ["rule 4 of frontend 'web' (lb.yaml:9): redirect 302"])
    status, said = explain(file, "http://a.test:8080/bad?x")
    assert (status, said["status"]) == (1, 500)
    assert said["rules"][-1] == "rule 5 of frontend 'web' (lb.yaml:10): an edit that is not possible"
    status, said = explain(file, "http://a.test:8080/gone")
    assert (status, said["rules"]) == (1, ["rule 1 of backend 'other' (lb.yaml:15): reject"])
    status, said = explain(file, "http://a.test:8080/x/../admin")
    assert (status, said["status"], said["reason"]) == (1, 400, "the path has dot segments")


def test_people_get_lines(tmp_path: Path) -> None:
    conf = Path(__file__).resolve().parents[3] / "conf" / "canary.yaml"
    command = [sys.executable, "-P", "-m", "lb", "explain", "-c", str(conf), "localhost:8080/api/x"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "     request: GET localhost:8080/api/x",
        "    listener: :8080",
        "    frontend: web",
        "       route: 2 (canary.yaml:15)",
        "      shares: api 90%, api-canary 10%",
        "         how: one of the shares, drawn by weight",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["http:///x"], "'http:///x' is not a URL"),
        (["http://a:b/"], "is not a URL"),
        (["--source", "x", "http://a/"], "'x' is not an address"),
        (["--frontend", "x", "http://a/"], "there is no frontend 'x'"),
    ],
)
def test_a_question_that_is_none_is_one_line(words: list[str], line: str) -> None:
    conf = Path(__file__).resolve().parents[3] / "conf" / "canary.yaml"
    command = [sys.executable, "-P", "-m", "lb", "explain", "-f", str(conf), *words]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert line in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_monitor_and_datagrams_have_no_route(tmp_path: Path) -> None:
    """A monitor answers by itself; datagrams are no requests, so all that counts is the frontend's backend."""
    file = tmp_path / "lb.yaml"
    settings: Settings = {
        "version": 1,
        "frontends": {
            "web": {
                "bind": [":8080"],
                "monitor": "/alive",
                "rules": [{"deny": 403, "if": "{ path /alive }"}],
                "default_backend": "app",
            },
            "dns": {"mode": "udp", "bind": [":53"], "default_backend": "dns"},
        },
        "backends": {"app": {"servers": ["10.0.0.1:80"]}, "dns": {"mode": "udp", "servers": ["10.0.0.2:53"]}},
    }
    file.write_text(yaml.safe_dump(settings))
    status, said = explain(file, "http://lb.test:8080/alive")
    assert (status, said["status"], "backend" in said) == (0, 200, False)
    assert "monitor" in str(said["how"])
    assert explain(file, "http://lb.test:53/")[1]["backend"] == "dns"


def test_it_names_the_limits_that_a_request_must_keep() -> None:
    example = Path(__file__).resolve().parents[3] / "conf/rate-limits.yaml"
    _, said = explain(example, "POST", "http://a.test:8080/login")
    assert said["limits"] == ["per_client: 600/1m by src", "logins: 10/m by src"]
    _, said = explain(example, "http://a.test:8080/v1/x")
    assert said["limits"] == ["per_client: 600/1m by src", "per_key: 5000/h by req.hdr(x-api-key)"]
    _, said = explain(example, "http://a.test:8080/reports/1")
    assert said["limits"] == ["per_client: 600/1m by src", "reports: 1/10s by req.cook(session), in shadow mode"]
