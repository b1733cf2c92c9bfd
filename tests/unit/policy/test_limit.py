"""Rate limits: what a death in the middle leaves behind, and limits of a plan that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from kit.fork import die_at

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.micro_limit import Limiter
from lb._speedups.face.plan import build
from lb._speedups.face.tables import table_information
from lb._speedups.face.testing_tables import check
from lb.config import compile as compile_configuration
from lb.config.plan import CompiledPlan
from lb.supervisor import tables
from lb.supervisor.generation import number

NOW = 5_000_000


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    made = Mapping.create()
    yield made
    made.close()


def compiled(limits: dict[str, Any]) -> CompiledPlan:
    return compile_configuration(
        {
            "version": 1,
            "limits": limits,
            "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app", "limits": list(limits)}},
            "backends": {"app": {"servers": ["127.0.0.1:1"]}},
        }
    )


def limiter(mapping: Mapping, plan: CompiledPlan) -> tuple[Limiter, list[int]]:
    numbering = asyncio.run(number(mapping, plan.objects, plan.balances, None))
    places = [each.offset for each in tables.place(mapping, plan.part.tables, 1, 1)]
    made = Limiter(build(1, plan.rows, numbering.oids, [*numbering.offsets, *places]), mapping)
    made.set_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "192.0.2.1")
    return made, places


@pytest.mark.parametrize(
    ("point", "left"), [("table.locked", 9), ("table.made", 9), ("limit.asked", 9), ("limit.moved", 8)]
)
def test_after_a_death_all_limits_go_on(mapping: Mapping, point: str, left: int) -> None:
    lb, places = limiter(mapping, compiled({"a": {"rate": "10/1h"}, "b": {"rate": "10/1h"}, "c": {"rate": "90/1h"}}))
    die_at(point, lambda: lb.take(NOW))
    # Who died may have moved the first of them; he has moved none twice.
    passed, _, least, _, _ = lb.take(NOW)
    assert (passed, least) == (1, left)
    for place in places:
        check(mapping, place)
        assert table_information(mapping, place, NOW)["used"] == 1


def test_a_key_is_kept_as_long_as_it_owes_something(mapping: Mapping) -> None:
    lb, (place,) = limiter(mapping, compiled({"a": {"rate": "10/10s", "burst": 4}}))
    lb.take(NOW)
    # A burst of four comes back in four seconds.
    assert table_information(mapping, place, NOW + 4_999)["used"] == 1
    assert table_information(mapping, place, NOW + 5_000)["used"] == 0


def test_a_full_table_forgets_who_came_longest_ago(mapping: Mapping) -> None:
    lb, _ = limiter(mapping, compiled({"a": {"rate": "1/1h", "size": 2}}))

    def takes(address: str) -> int:
        lb.set_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", address)
        return lb.take(NOW)[0]

    assert [takes(f"192.0.2.{each}") for each in (1, 2, 1, 2, 3)] == [1, 1, 0, 0, 1]
    assert [takes(f"192.0.2.{each}") for each in (2, 3, 1)] == [0, 0, 1]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"interval_ns": 0},
        {"burst": 0},
        {"burst": 10_000_001},
        {"interval_ns": 1 << 61, "burst": 2},
        {"expr": 1000},
        {"policy": b"x" * 161},
    ],
)
def test_limits_that_are_none_are_refused(mapping: Mapping, spoiled: dict[str, Any]) -> None:
    plan = compiled({"a": {"rate": "10/1h"}})
    plan.rows.limits[0] = plan.rows.limits[0]._replace(**spoiled)
    with pytest.raises(ValueError, match="do not fit together"):
        limiter(mapping, plan)


def test_lists_name_limits_that_are_there(mapping: Mapping) -> None:
    plan = compiled({"a": {"rate": "10/1h"}})
    for limits in ((1,), (0,) * 9):
        frontends = [plan.rows.frontends[0]._replace(limits=limits)]
        with pytest.raises(ValueError, match="do not fit together"):
            limiter(
                mapping, CompiledPlan(plan.objects, plan.balances, plan.part, plan.rows._replace(frontends=frontends))
            )
