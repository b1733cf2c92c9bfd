"""conf/connections.yaml, driven: its connections live as its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kit.client import Client
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/connections.yaml"


@pytest.mark.ours
def test_the_example_does_as_it_says(daemon: Stage, tmp_path: Path) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    first, second, legacy = (daemon.server() for _ in range(3))
    pg = daemon.server(lambda c: c.send(c.read_exactly(4)))
    named = {
        "app": [first.text, {**settings["backends"]["app"]["servers"][1], "address": second.text}],
        "legacy": [legacy.text],
        "pg": [pg.text],
    }
    for name, servers in named.items():
        settings["backends"][name]["servers"] = servers
    abstract = f"abns@lb-{tmp_path.name}-{first.address[1]}"
    settings["frontends"]["web"]["bind"] = [{**settings["frontends"]["web"]["bind"][0], "address": LOOPBACK}, abstract]
    settings["frontends"]["db"]["bind"] = [LOOPBACK]
    proxy = daemon.start({**settings, "global": {**settings["global"], "workers": 1}})

    for _ in range(2):
        client = daemon.client()
        assert client.get().body == client.get().body == b"hello"
    assert [len(server.connections) for server in (first, second)] == [1, 1]
    for _ in range(2):
        assert daemon.client().get("/legacy/x").body == b"hello"
    assert len(legacy.connections) == 2
    assert proxy.addresses["web"][1] == abstract
    with Client("\0" + abstract.removeprefix("abns@").ljust(107, "\0")) as client:
        assert client.get().body == b"hello"
    client = daemon.client("db")
    client.send(b"ping")
    assert client.read_exactly(4) == b"ping"
    assert client.read() == b""
    host, port = pg.connections[0].peer
    assert (host, 20000 <= port <= 29999) == ("127.0.0.1", True)
