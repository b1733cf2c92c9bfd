"""conf/minimal.yaml, driven: two servers take turns, and records go to stdout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/minimal.yaml"


@pytest.mark.ours
def test_the_least_configuration_balances(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    assert len(settings["backends"]["app"]["servers"]) == 2
    settings["backends"]["app"]["servers"] = [daemon.server(reply(name)).text for name in (b"one", b"two")]
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    daemon.start(settings)
    client = daemon.client()
    assert Counter(client.get().body for _ in range(6)) == {b"one": 3, b"two": 3}
    assert [each.status for each in daemon.records(6)] == [200] * 6
