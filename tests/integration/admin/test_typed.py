"""`show stat` and `show info`, typed and as JSON, beside HAProxy's: each value has its place, tags and type."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kit.daemon import Lb
from kit.deadline import DEADLINE, eventually
from kit.settings import relay
from kit.stage import Stage

CONFIGURATION = """
global
    stats socket {path} level admin
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend web
    bind unix@{path}.web name one
    option socket-stats
    default_backend app
backend app
    server s1 127.0.0.1:{port} check
    server s2 127.0.0.1:{port} backup
"""


def exchange(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(path)
        sock.sendall(command.encode() + b"\n")
        answer = bytearray()
        while data := sock.recv(65536):
            answer += data
    return answer.decode()


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run HAProxy with one frontend and one backend; yield the path of its socket."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.fail("haproxy is not installed; .ci/run installs it")
    folder = tmp_path_factory.mktemp("haproxy")
    path = str(folder / "sock")
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        (folder / "cfg").write_text(CONFIGURATION.format(path=path, port=server.getsockname()[1]))
        process = subprocess.Popen([program, "-db", "-f", str(folder / "cfg")], stderr=subprocess.DEVNULL)
        try:

            def is_checked() -> bool:
                return Path(path).exists() and "L4OK" in exchange(path, "show stat")

            eventually(is_checked, "HAProxy has checked its server")
            yield path
        finally:
            process.terminate()
            process.wait(DEADLINE)


@pytest.fixture
def lb(daemon: Stage) -> Lb:
    address = daemon.server().text
    made = relay("http", address, {"address": address, "backup": True}, backend={"check": {"every": "100ms"}})
    made["frontends"]["web"]["bind"] = [{"address": "127.0.0.1:0", "name": "one"}]
    running = daemon.start(made)
    assert isinstance(running, Lb)
    eventually(lambda: running.admin("show stat").count("L4OK") == 2, "servers are checked")
    return running


def kinds(text: str) -> dict[str, str]:
    """Return tags and type by object and name; the places of two versions are not the same at the end of the list."""
    found = {}
    for line in text.strip().splitlines():
        place, _, rest = line.partition(":")
        tags, form, _ = rest.split(":", 2)
        *head, name, process = place.split(".")
        kind = head[0] if len(head) > 1 else ""
        assert process == "1"
        found[f"{kind}.{name}"] = f"{tags}:{form}"
    return found


@pytest.mark.parametrize("command", ["show stat typed", "show info typed"])
def test_values_have_haproxys_tags_and_types(haproxy: str, lb: Lb, command: str) -> None:
    theirs, ours = kinds(exchange(haproxy, command)), kinds(lb.admin(command))
    both = ours.keys() & theirs.keys()
    assert {key: ours[key] for key in both} == {key: theirs[key] for key in both}
    assert len(both) > (100 if "stat" in command else 30)


def test_places_are_those_of_the_csv(lb: Lb) -> None:
    header, *rows = lb.admin("show stat").strip().splitlines()
    names = header.removeprefix("# ").split(",")
    shown: dict[tuple[str, ...], dict[int, str]] = {}
    for line in lb.admin("show stat typed").strip().splitlines():
        place, _, _, value = line.split(":", 3)
        letter, iid, sid, pos, name, _ = place.split(".")
        assert names[int(pos)] == name
        shown.setdefault((letter, iid, sid), {})[int(pos)] = value
    assert len(shown) == len(rows) == 5
    moving = {names.index(name) for name in ("lastchg", "downtime", "lastsess", "last_chk")}
    for row, values in zip(rows, shown.values(), strict=True):
        for pos, value in enumerate(row.split(",")[: names.index("-")]):
            if pos not in moving:
                assert values.get(pos, "") == value, names[pos]


def shape(value: Any) -> Any:
    """Return what a value is made of: keys in their order, not what they hold."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items() if key != "value"]
    return type(value).__name__


@pytest.mark.parametrize("command", ["show stat json", "show info json"])
def test_json_is_built_as_haproxys(haproxy: str, lb: Lb, command: str) -> None:
    theirs, ours = exchange(haproxy, command), lb.admin(command)
    assert ours.endswith("]\n\n")
    assert theirs.endswith("]\n\n")

    def items(text: str) -> dict[tuple[str, str], Any]:
        made = json.loads(text)
        flat = [each for row in made for each in row] if "stat" in command else made
        return {(each.get("objType", ""), each["field"]["name"]): each for each in flat}

    mine, other = items(ours), items(theirs)
    both = mine.keys() & other.keys()
    assert len(both) > (100 if "stat" in command else 30)
    for key in both:
        assert shape(mine[key]) == shape(other[key])
        assert mine[key]["tags"] == other[key]["tags"]
        assert mine[key]["value"]["type"] == other[key]["value"]["type"]
        assert type(mine[key]["value"]["value"]) is type(other[key]["value"]["value"])
    assert '": ' not in ours.replace('": "', "")


def test_filters_leave_servers_out(daemon: Stage) -> None:
    dead, live = daemon.refused(), daemon.server()
    check = {"every": "50ms", "fall": 1}
    running = daemon.start(relay("tcp", dead.text, live.text, backend={"check": check}))
    assert isinstance(running, Lb)
    eventually(lambda: "DOWN" in running.admin("show stat"), "a server is down")

    def names(command: str) -> list[str]:
        return [row.split(",")[1] for row in running.admin(command).strip().splitlines()[1:]]

    assert names("show stat") == names("show stat no-maint") == ["FRONTEND", "127.0.0.1:0", "s1", "s2", "BACKEND"]
    assert names("show stat up") == ["FRONTEND", "127.0.0.1:0", "s2", "BACKEND"]
    assert names("show stat -1 4 -1 up") == ["s2"]
    assert running.admin("show stat -1 4 -1 up typed").startswith("S.3.2.0.pxname.1:KNS:str:app\n")
