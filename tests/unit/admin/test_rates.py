"""Rates are differences of counters."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from lb.admin.rates import LIMIT, Rate, Rates


def test_a_rate_is_what_came_in_a_second() -> None:
    rate = Rate(100)
    rate.advance(150, 1.0)
    assert (rate.now, rate.maximum) == (50, 50)
    rate.advance(170, 2.0)
    assert (rate.now, rate.maximum) == (10, 50)
    rate.advance(0, 1.0)  # clear counters all
    assert (rate.now, rate.maximum) == (0, 0)


class FakeMapping:
    def __init__(self) -> None:
        self.total = 0
        self.asked = 0

    def counters(self, oid: int) -> dict[str, int]:
        self.asked += 1
        return dict.fromkeys(("conn_total", "sess_total", "req_total"), self.total * oid)


def generation(servers: int = 1) -> Any:
    items = tuple(SimpleNamespace(object=index) for index in range(2, 2 + servers))
    part = SimpleNamespace(frontends=(SimpleNamespace(object=0),), backends=(SimpleNamespace(object=1, servers=items),))
    return SimpleNamespace(part=part, oid=lambda index: index + 1)


def test_every_object_has_its_own() -> None:
    mapping = FakeMapping()
    rates = Rates(mapping)  # type: ignore[arg-type]
    rates.advance(generation(), 1.0)
    mapping.total = 10
    rates.advance(generation(), 1.0)
    assert [rates.of(oid)["req_total"].now for oid in (1, 2, 3)] == [10, 20, 30]
    assert rates.connections.now == 10
    rates.advance(generation(), 1.0)
    assert rates.of(3)["req_total"].maximum == 30
    rates.clear()
    assert rates.of(3)["req_total"].maximum == 0
    assert rates.of(4) == {}


def test_many_objects_are_not_looked_at() -> None:
    mapping = FakeMapping()
    rates = Rates(mapping)  # type: ignore[arg-type]
    rates.advance(generation(LIMIT), 1.0)
    assert mapping.asked == 0


def test_idleness_is_what_the_processor_did_not_spend() -> None:
    rates = Rates(FakeMapping())  # type: ignore[arg-type]
    rates.look_at_workers([os.getpid()], 1.0)
    rates.look_at_workers([os.getpid(), 999_999_999], 1000.0)
    assert rates.idle_percent == 100
    sum(range(3_000_000))
    rates.look_at_workers([os.getpid()], 1e-9)
    assert rates.idle_percent == 0
