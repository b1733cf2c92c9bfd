"""What a plan says about persistence and is none is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lb._speedups.face.plan import build
from lb.config import compile as compile_configuration
from lb.config.persistence import PersistenceRow, StickRow
from lb.config.plan import CompiledPlan

ARENA = 16_842_752  # MAPPING_ARENA_AT


def compiled() -> CompiledPlan:
    return compile_configuration(
        {
            "version": 1,
            "tables": {"t": {"key": "ip", "size": 10, "store": ["server_id"]}},
            "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app"}},
            "backends": {
                "app": {
                    "cookie": {"name": "SRV", "domain": [".a.test"], "max_idle": "30m", "attr": ["SameSite=Lax"]},
                    "stick": [{"on": "src", "table": "t", "unless": "{ path /x }"}],
                    "force_persist": "{ path /f }",
                    "ignore_persist": ["{ path /i }", "{ path /j }"],
                    "redispatch": False,
                    "servers": [{"address": "127.0.0.1:1", "cookie": "a"}],
                }
            },
        }
    )


def image(plan: CompiledPlan, row: PersistenceRow, table_at: int = ARENA) -> bytes:
    backends = [plan.rows.backends[0]._replace(persistence=row)]
    oids = list(range(1, len(plan.objects) + 1))
    return build(1, plan.rows._replace(backends=backends), oids, [ARENA + 4096, table_at])


def row_of(plan: CompiledPlan) -> PersistenceRow:
    row = plan.rows.backends[0].persistence
    assert row is not None
    return row


def test_what_becomes_of_it() -> None:
    plan = compiled()
    row = row_of(plan)
    assert (row.name, row.tail) == (b"SRV", b"; path=/; domain=.a.test; SameSite=Lax")
    assert row.removal == b"=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/; domain=.a.test; SameSite=Lax"
    assert (row.flags, row.max_idle_s, row.max_life_s) == (1 << 0 | 1 << 8, 1800, 0)
    assert [(each.table, each.flags) for each in row.sticks] == [(0, 1 | 2 | 8)]
    assert (len(row.exceptions), row.forces) == (3, 1)
    assert plan.rows.servers[0].cookie == b"a"
    assert image(plan, row)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"flags": 1 | 2},
        {"flags": 2 | 4},
        {"max_idle_s": -1},
        {"forces": 4},
        {"sticks": (StickRow(0, 1, 1000, 0),)},
        {"sticks": (StickRow(0, 1, 0, 1000),)},
        {"sticks": (StickRow(0, 1, 0, 0),) * 33},
        {"exceptions": (StickRow(-1, 0, 0, 1000),), "forces": 0},
    ],
)
def test_rows_that_point_at_nothing_are_refused(spoiled: dict[str, Any]) -> None:
    plan = compiled()
    with pytest.raises(ValueError, match="do not fit together"):
        image(plan, row_of(plan)._replace(**spoiled))


@pytest.mark.parametrize("table_at", [0, ARENA - 64, ARENA + 8, ARENA + (8 << 30)])
def test_tables_stand_in_the_arena(table_at: int) -> None:
    plan = compiled()
    with pytest.raises(ValueError, match="do not fit together"):
        image(plan, row_of(plan), table_at)
