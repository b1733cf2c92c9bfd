"""Maps and ACL files in a running lb: read, changed by rules, seen by all workers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.client import Client
from kit.daemon import Lb
from kit.deadline import eventually
from kit.message import reply
from kit.server import Server
from kit.settings import LOOPBACK
from kit.stage import Stage

CONF = Path(__file__).resolve().parents[3] / "conf"
pytestmark = pytest.mark.ours


def test_the_example_looks_things_up_and_changes_them(daemon: Stage) -> None:
    settings: dict[str, Any] = yaml.safe_load((CONF / "maps.yaml").read_text())
    servers: dict[str, Server] = {}
    for name, backend in settings["backends"].items():
        servers[name] = daemon.server(reply(name.encode()))
        backend["servers"] = [{"name": f"{name}1", "address": servers[name].text}]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    settings["global"] = {"workers": 2}
    shutil.copytree(CONF / "maps", daemon.directory / "maps")
    daemon.start(settings)
    client, other = daemon.client(), daemon.client()
    assert client.get("/", host="SHOP.example.com:80").body == b"shop"
    assert client.get("/", host="api.example.com").body == b"api"
    assert servers["api"].requests[-1].value("x-place") == b"elsewhere"
    assert client.get("/move?host=new.example.com&to=shop", host="x").status == 200
    for each in (client, other):
        assert each.get("/", host="new.example.com").body == b"shop"
    assert client.get("/", host="x", method="POST", body=b"x" * 2000).status == 200
    big = daemon.client()
    big.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n")
    assert big.response("POST").status == 413

    assert client.get("/.git/config", host="x").status == 403
    for each in (client, other):
        assert each.get("/", host="x").status == 403
    # Who is shut out can still be pardoned: the rule stands before the one that denies.
    assert other.get("/pardon?address=127.0.0.1", host="x").status == 200
    assert client.get("/", host="x").status == 200


SETTINGS: dict[str, Any] = {
    "version": 1,
    "global": {"workers": 2},
    "frontends": {
        "web": {
            "bind": [LOOPBACK],
            "acls": {"known": "path -f known.acl"},
            "rules": [
                {"set_map": ["m.map", "%[req.hdr(key)]", "%[req.hdr(value)]"], "if": "{ path /set }"},
                {"del_map": ["m.map", "%[req.hdr(key)]"], "if": "{ path /del }"},
                {"add_acl": ["known.acl", "%[req.hdr(key)]"], "if": "{ path /add }"},
                {"del_acl": ["known.acl", "%[req.hdr(key)]"], "if": "{ path /drop }"},
                {"return": {"body": "%[req.hdr(key),map(m.map,none)]"}, "unless": "known"},
                {"return": {"status": 202, "body": "known"}},
            ],
        }
    },
}


def started(daemon: Stage, content: str = "a 1\n") -> Lb:
    (daemon.directory / "m.map").write_text(content)
    (daemon.directory / "known.acl").write_text("")
    proxy = daemon.start(SETTINGS)
    assert isinstance(proxy, Lb)
    return proxy


def told(client: Client, path: str, key: str, value: str = "") -> str:
    answer = client.get(path, f"Key: {key}", *([f"Value: {value}"] if value else []))
    return answer.body.decode()


def test_rules_change_maps_for_all_workers(daemon: Stage) -> None:
    started(daemon)
    clients = [daemon.client() for _ in range(8)]  # of either worker
    assert {told(each, "/", "a") for each in clients} == {"1"}
    assert told(clients[0], "/set", "a", "two words") == "two words"
    assert {told(each, "/", "a") for each in clients} == {"two words"}
    told(clients[1], "/set", "new", "x")
    assert {told(each, "/", "new") for each in clients} == {"x"}
    told(clients[2], "/del", "a")
    assert {told(each, "/", "a") for each in clients} == {"none"}
    told(clients[3], "/add", "/page")
    assert {told(each, "/page", "a") for each in clients} == {"known"}
    told(clients[4], "/drop", "/page")
    assert {told(each, "/page", "a") for each in clients} == {"none"}


def test_a_reload_reads_the_files_again(daemon: Stage) -> None:
    lb = started(daemon)
    client = daemon.client()
    told(client, "/set", "a", "2")
    (daemon.directory / "m.map").write_text("a 3\nb 4\n")
    assert told(client, "/", "a") == "2"
    assert lb.admin("reload").startswith("Success=1")
    eventually(lambda: told(daemon.client(), "/", "a") == "3", "the file is read")
    assert told(client, "/", "b") == "4"
    # A file that cannot be used changes nothing.
    (daemon.directory / "m.map").unlink()
    lb.expect_stderr("'m.map' cannot be read: no such file")
    lb.expect_stderr("reload failed")
    lb.expect_stderr("reloaded, generation 2")
    assert lb.admin("reload").startswith("Success=0")
    assert told(client, "/", "a") == "3"


def test_a_map_grows_as_rules_fill_it(daemon: Stage) -> None:
    started(daemon)
    clients = [daemon.client() for _ in range(4)]
    count = 3000
    for number in range(count):
        told(clients[number % 4], "/set", f"k{number}", f"v{number}")
    assert [told(clients[n % 4], "/", f"k{n}") for n in range(0, count, 97)] == [f"v{n}" for n in range(0, count, 97)]


def test_a_worker_that_dies_in_the_middle_of_a_change_spoils_nothing(
    daemon: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = tmp_path / "once"
    monkeypatch.setenv("LB_KILL_AT", f"reference.indexed@{trigger}")
    lb = started(daemon)
    trigger.touch()
    lb.expect_stderr("was killed|worker \\d \\(pid")
    victim = daemon.client()
    victim.send(b"GET /set HTTP/1.1\r\nHost: x\r\nKey: new\r\nValue: 1\r\n\r\n")
    eventually(lambda: not trigger.exists(), "the worker dies")
    eventually(lambda: len(lb.workers()) == 2, "the worker is replaced")
    client = daemon.client()
    assert told(client, "/", "new") == "none"
    assert told(client, "/set", "new", "2") == "2"
    assert told(client, "/del", "a") == "none"
