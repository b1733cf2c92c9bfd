"""conf/checks.yaml, driven: servers die, and are left alone as its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kit.daemon import Lb
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage
from kit.stat import becomes

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/checks.yaml"


@pytest.mark.ours
def test_the_example_leaves_dead_servers_alone(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    servers = {}
    for backend in settings["backends"].values():
        for each in backend["servers"]:
            servers[each["name"]] = daemon.server(reply(each["name"].encode()))
            each["address"] = servers[each["name"]].text
    other = daemon.refused()
    settings["backends"]["app"]["servers"][1]["check"]["port"] = other.address[1]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    lb = daemon.start({**settings, "global": {"workers": 2}})
    assert isinstance(lb, Lb)
    client = daemon.client()

    def ask(target: str) -> set[bytes]:
        return {client.get(target).body for _ in range(8)}

    becomes(lb, "a", status="UP")
    becomes(lb, "b", status="DOWN")
    assert ask("/") == {b"a"}
    servers["a"].close()
    becomes(lb, "a", status="DOWN")
    assert ask("/") == {b"spare"}
    assert ask("/api/") == {b"c", b"d"}
    servers["c"].close()
    assert ask("/api/") == {b"d"}
    becomes(lb, "c", backend="api", status="DOWN")
