"""Random clients, modes, limits and reloads: what is counted as idle is what is open, and no answer is lost."""

from __future__ import annotations

import random

import pytest
from kit.client import Client
from kit.deadline import eventually
from kit.inprocess import InProcess
from kit.settings import Settings, relay
from kit.stage import Stage

from tests.integration.connections.test_pool import open_of

pytestmark = pytest.mark.ours


def some_backend(dice: random.Random) -> Settings:
    """Draw how connections are shared and limited."""
    pool: Settings = {}
    if dice.random() < 0.5:
        pool["max_idle"] = dice.randrange(5)
    if dice.random() < 0.3:
        pool["max_requests"] = dice.randint(1, 4)
    if dice.random() < 0.2:
        pool["max_age"] = "20ms"
    if dice.random() < 0.2:
        pool["idle_timeout"] = "20ms"
    return {"http_reuse": dice.choice(["never", "safe", "aggressive", "always"]), "pool": pool}


@pytest.mark.parametrize("seed", range(4))
def test_counts_agree_after_a_storm(stage: Stage, seed: int) -> None:
    dice = random.Random(seed)
    servers = [stage.server() for _ in range(3)]
    settings = relay("http", *(server.text for server in servers), backend=some_backend(dice))
    proxy = stage.start(settings)
    assert isinstance(proxy, InProcess)
    clients: list[Client] = []
    for _ in range(150):
        if len(clients) < 6 or dice.random() < 0.1:
            clients.append(stage.client())
        client = dice.choice(clients)
        if dice.random() < 0.3:
            assert client.get(method="POST", body=b"x" * dice.randrange(5000)).body == b"hello"
        else:
            assert client.get().body == b"hello"
        if dice.random() < 0.15:
            clients.remove(client)
            client.close()
        if dice.random() < 0.05:
            settings["backends"]["app"] |= some_backend(dice)
            settings["global"].pop("max_idle", None)
            if dice.random() < 0.3:
                settings["global"]["max_idle"] = dice.randint(1, 6)
            proxy.reload(settings)

    def agree() -> bool:
        counted = [proxy.counters(f"app/s{number}")["idle"] for number in (1, 2, 3)]
        return counted == [len(open_of(server)) for server in servers]

    eventually(agree, "idle connections to be those that are open")
    most = settings["global"].get("max_idle", 1000)
    assert sum(len(open_of(server)) for server in servers) <= most
