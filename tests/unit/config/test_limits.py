"""Rate limits of a configuration: how rates are written, what is refused, what they become."""

from __future__ import annotations

from typing import Any

import pytest

from lb._speedups.face.tables import STORE_NAMES
from lb.config import ConfigError
from lb.config import compile as compile_configuration
from lb.config.limits import KEY_SIZE, STORE_ARRIVAL, STORE_REFUSED, TABLE_IPV6, TABLE_STRING, Rate, parse_rate
from lb.model.units import UnitError


def settings(limit: object, **frontend: object) -> dict[str, Any]:
    return {
        "version": 1,
        "limits": {"api": limit},
        "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app", **frontend}},
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/1m", Rate(100, 60_000)),
        ("10/s", Rate(10, 1000)),
        ("5000/h", Rate(5000, 3_600_000)),
        ("1/2d", Rate(1, 172_800_000)),
        ("1000/1ms", Rate(1000, 1)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("100", "is not a rate"),
        ("100/", "is not a rate"),
        ("/1m", "is not a rate"),
        ("1.5/s", "is not a rate"),
        ("0/s", "lets nothing pass"),
        ("5/0s", "lets nothing pass"),
        ("1000001/1h", "at most 1000000"),
        ("1001/1ms", "above 1000000 requests a second"),
        ("1/25d", "at most 24d"),
    ],
)
def test_rates_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(UnitError, match=problem):
        parse_rate(text)


def test_an_interval_is_never_too_short_and_a_policy_never_too_generous() -> None:
    assert Rate(3, 1000).interval_ns == 333_333_334
    assert Rate(100, 60_000).quota == (100, 60)
    assert Rate(7, 1500).quota == (9, 2)  # 9.33 in 2 s
    assert Rate(5, 250).quota == (20, 1)


def test_what_becomes_of_a_limit() -> None:
    plan = compile_configuration(settings({"rate": "100/1m", "burst": 20}, limits=["api"]))
    (row,), (table,), (part,) = plan.rows.limits, plan.part.tables, plan.part.limits
    assert (row.name, row.policy, row.interval_ns, row.burst) == (b"api", b'"api";q=100;w=60', 600_000_000, 20)
    assert plan.rows.frontends[0].limits == (0,)
    assert (table.name, table.key_type, table.size) == ("limit:api", TABLE_IPV6, 102_400)
    assert table.expire_ms == 20 * 600 + 1000
    assert table.stores == ((STORE_ARRIVAL, 1, 0), (STORE_REFUSED, 1, 0))
    assert (part.rate, part.burst, part.by, part.used_by) == ("100/1m", 20, "src", ("frontend 'web'",))
    assert plan.objects[part.object] == ("limit", 0, "api")


def test_the_private_stores_have_the_numbers_of_the_data_plane() -> None:
    assert STORE_NAMES.index("owed_ms") == STORE_ARRIVAL
    assert STORE_NAMES.index("refused") == STORE_REFUSED


def test_other_keys_are_strings() -> None:
    plan = compile_configuration(settings({"rate": "1/s", "by": "req.hdr(x-key)", "size": 5, "expire": "1h"}))
    (table,) = plan.part.tables
    assert (table.key_type, table.key_size, table.size, table.expire_ms) == (TABLE_STRING, KEY_SIZE, 5, 3_600_000)


@pytest.mark.parametrize(
    ("limit", "frontend", "problem"),
    [
        ({"rate": "many"}, {}, "limit 'api': 'rate': 'many' is not a rate"),
        ({"rate": "1/s", "by": "nothing"}, {}, "limit 'api': 'by': unknown fetch 'nothing'"),
        ({"rate": "1/s", "by": "status"}, {}, "looks at a response"),
        ({"rate": "1/1d", "burst": 30}, {}, "a burst of 30 comes back in more than 24 days"),
        ({"rate": "1/1h", "expire": "1m"}, {}, "'expire': 1m is less than the 3600s in which a burst comes back"),
        ({"rate": "1/s", "size": 0}, {}, "'size'"),
        ({"rate": "1/s", "size": "100m"}, {}, "keys are not possible"),
        ({"rate": "1/s", "burst": 0}, {}, "'burst'"),
        ({"rate": "1/s", "mode": "dry"}, {}, "unknown mode 'dry'; known: enforce, shadow"),
        ({"rate": "1/s"}, {"limits": ["app"]}, "unknown limit 'app'; did you mean 'api'"),
        ({"rate": "1/s"}, {"limits": ["api"] * 9}, "9 limits are named; at most 8 are possible"),
        ({"rate": "1/s"}, {"limits": ["api"], "mode": "tcp"}, "'limits' needs mode http"),
        ({"rate": "1/s"}, {"routes": [{"match": {}, "to": "app", "limits": ["x"]}]}, "unknown limit 'x'"),
    ],
)
def test_what_is_refused(limit: object, frontend: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compile_configuration(settings(limit, **frontend))
    assert problem in str(refused.value)
