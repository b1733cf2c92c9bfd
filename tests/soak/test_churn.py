"""lb under everything at once, for LB_SOAK_SECONDS a scenario: nothing wrong is answered and nothing is left behind."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.churn import Churn, honest, moody
from kit.daemon import DaemonPlane, Lb
from kit.deadline import eventually
from kit.server import Server
from kit.settings import Settings, relay
from kit.stage import Stage

SECONDS = float(os.environ.get("LB_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("LB_SOAK_SEED", "1"))
ROUNDS = 4
# What a worker may grow between the second round and the last: caches fill, allocators round up.
GROWTH = 3 << 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(DaemonPlane(), tmp_path)
    yield stage
    stage.close()


def pss(pid: int) -> int:
    """Return the bytes of memory that are this process's own share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M)[1]) << 10


def stat(lb: Lb) -> dict[tuple[str, str], dict[str, str]]:
    """Return `show stat` by proxy and service name."""
    lines = lb.admin("show stat").removeprefix("# ").strip().splitlines()
    return {(row["pxname"], row["svname"]): row for row in csv.DictReader(lines)}


def check_counters(lb: Lb) -> None:
    """Demand that at rest no gauge is up, and that sums of parts are the whole."""
    rows = stat(lb)
    for name, row in rows.items():
        assert int(row["scur"] or 0) == 0, f"{name} holds {row['scur']}"
    answers = [f"hrsp_{n}xx" for n in range(1, 6)]
    servers = [row for (proxy, name), row in rows.items() if proxy == "app" and name not in ("FRONTEND", "BACKEND")]
    backend = rows["app", "BACKEND"]
    assert int(backend["hrsp_2xx"]) == sum(int(server["hrsp_2xx"]) for server in servers)
    frontend = rows["web", "FRONTEND"]
    assert sum(int(frontend[column]) for column in answers) <= int(frontend["req_tot"])
    assert int(frontend["bin"]) > 0


def test_clients_and_servers_that_misbehave(stage: Stage) -> None:
    """Memory has no slope over rounds, and between rounds nothing is held."""
    servers = [stage.server(honest), stage.server(moody(SEED)), stage.server(moody(SEED + 1))]
    lb = stage.http(*servers, workers=2, timeouts={"http_request": "2s", "client": "2s", "server": "2s"})
    assert isinstance(lb, Lb)
    sizes: list[dict[int, int]] = []
    total = 0
    for i in range(ROUNDS):
        churn = Churn(stage.address, seed=SEED + i, honest=False)
        churn.run(SECONDS / ROUNDS)
        total += churn.outcomes["200"]
        assert churn.outcomes["200"] > 0
        eventually(lambda: stat(lb)["web", "FRONTEND"]["scur"] == "0", "every client to be let go")
        sizes.append({pid: pss(pid) for pid in lb.workers()})
    check_counters(lb)
    assert int(stat(lb)["app", "BACKEND"]["hrsp_2xx"]) >= total
    for pid, size in sizes[-1].items():
        assert size - sizes[1][pid] < GROWTH, f"worker {pid} grows: {[each[pid] >> 10 for each in sizes]} KiB"


def test_servers_that_die_and_come_back(stage: Stage) -> None:
    rng = random.Random(SEED)
    steady = stage.server(honest)
    settings = relay("http", steady.text, *(stage.server(honest).text for _ in range(2)), workers=2)
    lb = stage.start(settings)
    assert isinstance(lb, Lb)
    churn = Churn(stage.address, seed=SEED, honest=True)

    def die_and_come_back() -> None:
        index = rng.randrange(1, 3)
        old = stage.servers[index]
        old.close()
        before = sum(churn.outcomes.values())
        eventually(lambda: sum(churn.outcomes.values()) > before + 20 or churn.failures, "requests to go on")
        stage.servers[index] = Server(honest, address=old.address)
        before = sum(churn.outcomes.values())
        eventually(lambda: sum(churn.outcomes.values()) > before + 20 or churn.failures, "requests to go on")

    churn.run(SECONDS, die_and_come_back)
    assert churn.outcomes["200"] > 100
    assert churn.outcomes["503"] == 0, "one server was always there"
    client = stage.client()
    assert {client.get("/7").status for _ in range(12)} == {200}
    client.close()
    eventually(lambda: stat(lb)["web", "FRONTEND"]["scur"] == "0", "every client to be let go")
    check_counters(lb)


def test_workers_that_die(stage: Stage) -> None:
    """A killed worker takes its own connections with it and nothing else; gauges are repaired."""
    rng = random.Random(SEED)
    lb = stage.http(stage.server(honest), stage.server(honest), workers=3, maxconn=200)
    assert isinstance(lb, Lb)
    lb.expect_stderr(r"worker \d")
    churn = Churn(stage.address, seed=SEED, honest=True)
    deaths = 0

    def kill_one() -> None:
        nonlocal deaths
        workers = lb.workers()
        victim = rng.choice(workers)
        os.kill(victim, signal.SIGKILL)
        deaths += 1
        eventually(lambda: victim not in lb.workers() and len(lb.workers()) >= 3, f"a successor of worker {victim}")
        before = sum(churn.outcomes.values())
        eventually(lambda: sum(churn.outcomes.values()) > before + 20 or churn.failures, "requests to go on")

    churn.run(SECONDS, kill_one)
    assert deaths > 0
    lb.rest()
    client = stage.client()
    assert {client.get("/9").status for _ in range(10)} == {200}
    client.close()
    eventually(lambda: stat(lb)["web", "FRONTEND"]["scur"] == "0", "every client to be let go")
    check_counters(lb)


def test_a_storm_of_reloads(stage: Stage) -> None:
    """Not one request fails while servers, weights and routes change under it, as fast as lb takes it."""
    servers = [stage.server(honest) for _ in range(3)]

    def settings(i: int) -> Settings:
        chosen = [{"address": s.text, "name": f"s{n}", "weight": 1 + (i + n) % 5} for n, s in enumerate(servers, 1)]
        written = relay("http", *chosen[: 2 + i % 2], workers=2)
        if i % 3 == 0:
            written["frontends"]["web"]["routes"] = [{"match": {"path": f"/x{i}/*"}, "to": "app"}]
        return written

    lb = stage.start(settings(0))
    assert isinstance(lb, Lb)
    lb.expect_stderr(r"reload|generation|configuration")
    churn = Churn(stage.address, seed=SEED, honest=True)
    number = 0

    def reload() -> None:
        nonlocal number
        number += 1
        lb.write(settings(number))
        text = lb.admin("reload")
        assert "Success=1" in text, text

    churn.run(SECONDS, reload)
    assert number > 3
    number += number % 2  # reload() adds one
    reload()  # once more, and with all three servers in it: what is configured is what is shown
    assert set(churn.outcomes) == {"200"}, churn.outcomes
    eventually(lambda: stat(lb)["web", "FRONTEND"]["scur"] == "0", "every client to be let go")
    check_counters(lb)
