"""Lines of the admin socket, and how values are written."""

from __future__ import annotations

import pytest

from lb.admin.information import uptime_text
from lb.admin.server import WORDS, split
from lb.admin.statistics import COLUMNS, header, line


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("show info", [["show", "info"]]),
        ("  show \t info  ", [["show", "info"]]),
        ("show info;show stat", [["show", "info"], ["show", "stat"]]),
        ("show info; show stat;", [["show", "info"], ["show", "stat"], []]),
        ("", [[]]),
        (r"echo a\;b", [["echo", "a;b"]]),
        (r"echo a\ b", [["echo", "a b"]]),
        (r"echo a\\b", [["echo", "a\\b"]]),
        ("x " * 100, [["x"] * WORDS]),
    ],
)
def test_a_line_is_commands_of_words(text: str, commands: list[list[str]]) -> None:
    assert split(text) == commands


def test_the_columns_stand_where_haproxy_has_them() -> None:
    assert len(COLUMNS) == 119
    places = {"pxname": 0, "svname": 1, "status": 17, "type": 32, "rate": 33, "addr": 73, "mode": 75, "eint": 94}
    assert {name: COLUMNS.index(name) for name in places} == places
    assert COLUMNS[103] == "srid"
    assert COLUMNS[118] == "cache_hint_hits"
    assert header().startswith("# pxname,svname,qcur,")
    assert header().endswith(",cache_hint_hits,-,\n")


def test_only_values_that_need_it_are_quoted() -> None:
    written = line({"pxname": 'a,"b"', "svname": "plain", "scur": 3})
    assert written.startswith('"a,""b""",plain,,,3,')
    assert written.endswith(",-,\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0d 0h00m00s"), (4, "0d 0h00m04s"), (93_784, "1d 2h03m04s"), (10 * 86_400, "10d 0h00m00s")],
)
def test_uptime_reads_as_haproxys(seconds: int, text: str) -> None:
    assert uptime_text(seconds) == text
