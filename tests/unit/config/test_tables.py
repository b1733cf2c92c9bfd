from __future__ import annotations

from typing import Any

import pytest

from lb._speedups.face.tables import STORE_NAMES
from lb.config import ConfigError
from lb.config import compile as compile_configuration
from lb.config.tables import KEY_TYPES, STORES, UNBUILT_STORES


def settings(table: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "tables": {"per_ip": table},
        "frontends": {"web": {"bind": ["127.0.0.1:0"], "default_backend": "app", "rules": list(rules)}},
        "backends": {"app": {"servers": ["127.0.0.1:1"]}},
    }


def refused(table: dict[str, Any], *rules: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        compile_configuration(settings(table, *rules))
    return str(caught.value)


GOOD = {"key": "ip", "size": "1k", "store": ["conn_cur", "http_req_rate(10s)", "gpc0"]}


def test_numbers_are_those_of_the_data_plane() -> None:
    assert {name: STORE_NAMES.index(name) for name in STORES} == STORES
    assert not set(STORES) & set(UNBUILT_STORES)
    assert list(KEY_TYPES.values()) == [1, 2, 3, 4, 5]


def test_a_table_is_read() -> None:
    (part,) = compile_configuration(
        settings({**GOOD, "key": "string(9)", "expire": "10m", "nopurge": True})
    ).part.tables
    assert (part.name, part.key_type, part.key_size, part.size) == ("per_ip", 4, 9, 1024)
    assert (part.expire_ms, part.nopurge) == (600_000, True)
    assert part.stores == ((2, 1, 0), (6, 1, 0), (10, 1, 10_000))
    (part,) = compile_configuration(settings({"key": "binary", "size": 7})).part.tables
    assert (part.key_size, part.size, part.expire_ms, part.stores) == (32, 7, 0, ())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"key": "ipp"}, "unknown key type 'ipp'; did you mean 'ip'?"),
        ({"key": "ip(4)"}, "'ip' takes no length"),
        ({"key": "string(300)"}, "'300' is not a length from 1 to 256"),
        ({"size": "0"}, "0 keys are not possible"),
        ({"size": "17m"}, "from 1 to 16777216 are"),
        ({"size": "x"}, "'x' is not a size"),
        ({"expire": "0s"}, "0 keeps nothing"),
        ({"store": ["http_req_rat(1s)"]}, "unknown word 'http_req_rat'; did you mean 'http_req_rate'?"),
        ({"store": ["http_req_rate"]}, "'http_req_rate' needs a period; write 'http_req_rate(10s)'"),
        ({"store": ["http_req_rate(10)"]}, "'10' has no unit"),
        ({"store": ["conn_cur(1s)"]}, "'conn_cur' takes no argument"),
        ({"store": ["gpc0", "gpc0"]}, "'gpc0' is given twice"),
        ({"store": ["server_id"]}, "'server_id' is known but not built yet"),
    ],
)
def test_mistakes_are_told(wrong: dict[str, Any], said: str) -> None:
    assert said in refused({**GOOD, **wrong})


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"track": "src"}, "'track' needs a table"),
        ({"track": "src", "table": "per_iq"}, "unknown table 'per_iq'; did you mean 'per_ip'?"),
        ({"track": "status", "table": "per_ip"}, "looks at a response"),
        ({"track": "srk", "table": "per_ip"}, "unknown fetch 'srk'"),
        ({"deny": 429, "as": 1}, "'as' belongs to 'track'"),
        ({"deny": 429, "if": "{ sc_get_gpc0(3) gt 1 }"}, "3 is out of range"),
        ({"deny": 429, "if": "{ src_get_gpc0(x) gt 1 }"}, "unknown table 'x'"),
        ({"deny": 429, "if": "{ sc_sess_rate(0) gt 1 }"}, "known but not built yet"),
    ],
)
def test_mistakes_of_rules_are_told(rule: dict[str, Any], said: str) -> None:
    assert said in refused(GOOD, rule)
