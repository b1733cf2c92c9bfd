"""conf/balancing.yaml, driven: each of its backends chooses as its comment says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from kit.message import reply
from kit.settings import LOOPBACK, Settings
from kit.stage import Stage

EXAMPLE = Path(__file__).resolve().parents[3] / "conf/balancing.yaml"


@pytest.mark.ours
def test_the_example_balances_as_it_says(daemon: Stage) -> None:
    settings: Settings = yaml.safe_load(EXAMPLE.read_text())
    for name, backend in settings["backends"].items():
        for i, given in enumerate(backend["servers"]):
            server: Settings = given if isinstance(given, dict) else {"address": given}
            label = server.get("name", f"{name}{i}")
            backend["servers"][i] = {**server, "address": daemon.server(reply(label.encode())).text}
    settings["frontends"]["web"]["bind"] = [LOOPBACK]
    daemon.start({**settings, "global": {"workers": 2}})
    client = daemon.client()

    def ask(target: str, *fields: str) -> str:
        return client.get(target, *fields).body.decode()

    assert {ask("/") for _ in range(8)} == {"big", "small"}
    assert {ask("/api/x") for _ in range(40)} == {"api0", "api1"}
    users = {n: ask("/users/me", f"X-User: {n}") for n in range(40)}
    assert set(users.values()) == {"users0", "users1"}
    assert all(ask("/users/me", f"X-User: {n}") == server for n, server in users.items())
    files = Counter(ask(f"/static/{n}.css") for n in range(40))
    assert set(files) == {"cache0", "cache1"}
    assert len({ask("/static/a.css"), ask("/static/a.css?v=2"), ask("/static/a.css?v=3")}) == 1
