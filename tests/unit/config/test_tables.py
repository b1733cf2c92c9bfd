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
    arrays = ["gpc_rate(3, 1m)", "gpc(100)", "gpt(1)", "server_id", "sess_rate(1s)", "http_fail_cnt"]
    (part,) = compile_configuration(settings({"key": "ipv6", "size": 7, "store": arrays})).part.tables
    assert part.stores == ((0, 1, 0), (8, 1, 1000), (19, 1, 0), (21, 1, 0), (22, 100, 0), (23, 3, 60_000))


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
        ({"store": ["server_key"]}, "'server_key' is known but not built yet"),
        ({"store": ["gpc"]}, "'gpc' needs a length from 1 to 100; write 'gpc(4)'"),
        ({"store": ["gpt(101)"]}, "'gpt' needs a length from 1 to 100; write 'gpt(4)'"),
        ({"store": ["gpt(2,1s)"]}, "'gpt' takes no second argument; write 'gpt(4)'"),
        ({"store": ["gpc_rate(2)"]}, "'gpc_rate' needs a period; write 'gpc_rate(4,10s)'"),
        ({"store": ["gpc_rate(0,1s)"]}, "'gpc_rate' needs a length from 1 to 100; write 'gpc_rate(4,10s)'"),
        ({"store": ["gpc(2)", "gpc1"]}, "'gpc1' is the array 'gpc' too; remove 'gpc1'; its fetches stay"),
        ({"store": ["gpt(2)", "gpt0"]}, "'gpt0' is the array 'gpt' too"),
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
        ({"deny": 429, "if": "{ sc_glitch_rate(0) gt 1 }"}, "known but not built yet"),
        ({"deny": 429, "if": "{ sc_get_gpc(0) gt 1 }"}, "'sc_get_gpc' needs 2 arguments: int, int, [table]"),
        ({"deny": 429, "if": "{ sc1_get_gpc(0,1) gt 1 }"}, "unknown table '1'"),
        ({"deny": 429, "if": "{ src,table_gpc(100,per_ip) gt 1 }"}, "100 is out of range"),
        ({"deny": 429, "if": "{ src,table_idle gt 1 }"}, "'table_idle' needs 1 argument: table, [int]"),
        ({"sc_inc_gpc": [0]}, "'sc_inc_gpc' takes [number, track]"),
        ({"sc_inc_gpc": [100, 0]}, "'100' is no number; write a number from 0 to 99"),
        ({"sc_inc_gpc": [0, 3]}, "'3' is no track; write a number from 0 to 2"),
        ({"sc_inc_gpc0": 3}, "'rules.sc_inc_gpc0' is 3; 0 to 2 are possible"),
        ({"sc_set_gpt0": ["x", 1]}, "'x' is no track; write a number from 0 to 2"),
        ({"sc_set_gpt0": [0, -1]}, "-1 is out of range; from 0 to 4294967295"),
        ({"sc_set_gpt0": [0, "nosuch"]}, "unknown fetch 'nosuch'"),
        ({"sc_set_gpt": [0, 0, "status"]}, "looks at a response"),
        ({"sc_add_gpc": [0, 0, "always_true,iif(a,b)"], "as": 1}, "'as' belongs to 'track'"),
    ],
)
def test_mistakes_of_rules_are_told(rule: dict[str, Any], said: str) -> None:
    assert said in refused(GOOD, rule)
