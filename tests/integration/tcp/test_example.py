"""conf/l4.yaml, driven: each of its ports leads to its own servers, and bytes pass as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from kit.client import Client
from kit.server import echoing
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/l4.yaml"


@pytest.mark.ours
def test_the_example_relays_as_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    database = daemon.server(echoing)
    (postgres,) = settings["backends"]["postgres"]["servers"]
    assert postgres == "10.0.0.11:5432"
    settings["backends"]["postgres"]["servers"] = [database.text]
    caches = {each["name"]: daemon.server(echoing) for each in settings["backends"]["redis"]["servers"]}
    for each in settings["backends"]["redis"]["servers"]:
        each["address"] = caches[each["name"]].text
    for frontend in settings["frontends"].values():
        frontend["bind"] = [LOOPBACK]
    daemon.start({**settings, "global": {"workers": 2}})

    def talk(client: Client, data: bytes) -> None:
        client.send(data)
        assert client.read_exactly(len(data)) == data
        client.half_close()
        assert client.read_to_end() == b""

    talk(daemon.client("postgres"), bytes(range(256)) * 300)
    for _ in range(8):
        talk(daemon.client("redis"), b"PING\r\n")
    records = daemon.records(9)
    assert {each.state for each in records} == {"--"}
    assert Counter((each.frontend, each.server) for each in records if each.frontend == "redis") == {
        ("redis", "a"): 6,
        ("redis", "b"): 2,
    }
