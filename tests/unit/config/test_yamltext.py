"""YAML 1.2 core, out of libyaml's events."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.config import yamltext
from lb.config.marks import ReadError

# YAML 1.2.2, 10.3.2, and what version 1.1 made of the same words.
MEANS: list[tuple[str, object]] = [
    ("", None),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("tRUE", "tRUE"),
    ("false", False),
    ("False", False),
    ("FALSE", False),
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("no", "no"),
    ("y", "y"),
    ("n", "n"),
    ("On", "On"),
    ("0", 0),
    ("7", 7),
    ("-19", -19),
    ("+12", 12),
    ("0777", 777),
    ("0o7", 7),
    ("0o777", 511),
    ("0o8", "0o8"),
    ("-0o7", "-0o7"),
    ("0x3A", 58),
    ("0xg", "0xg"),
    ("0b1", "0b1"),
    ("1_000", "1_000"),
    ("22:22", "22:22"),
    ("1:2:3", "1:2:3"),
    ("0.", 0.0),
    ("-0.0", -0.0),
    (".5", 0.5),
    ("+12e03", 12000.0),
    ("-2E+05", -200000.0),
    ("1e3", 1000.0),
    (".", "."),
    ("e3", "e3"),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("+.INF", math.inf),
    ("inf", "inf"),
    ("2001-12-14", "2001-12-14"),
    ("10.0.0.1:80", "10.0.0.1:80"),
    ("1.2.3", "1.2.3"),
    ("=", "="),
    ("<<", "<<"),
    ("9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize(("text", "meaning"), MEANS)
def test_a_plain_scalar_means_what_the_core_schema_says(text: str, meaning: object) -> None:
    assert yamltext.plain(text) == meaning
    assert type(yamltext.plain(text)) is type(meaning)


def test_not_a_number_is_one() -> None:
    assert math.isnan(yamltext.plain(".nan"))  # type: ignore[arg-type]


@pytest.mark.parametrize("quoted", ['"true"', "'true'", '"7"', '""', "|\n  7\n", ">-\n  true\n"])
def test_quoted_scalars_are_strings(quoted: str) -> None:
    (value,) = yamltext.decode("a: " + quoted).values()  # type: ignore[attr-defined]
    assert isinstance(value, str)


def test_keys_are_always_strings() -> None:
    assert yamltext.decode("443: 1\ntrue: 2\n~: 3\n1.5: 4") == {"443": 1, "true": 2, "~": 3, "1.5": 4}


def test_aliases_share_and_are_counted() -> None:
    text = "a: &a [" + "x, " * 999 + "x]\nb: [" + "*a, " * 98 + "*a]"
    data = yamltext.decode(text)
    assert isinstance(data, dict)
    assert data["b"][0] is data["a"]
    with pytest.raises(ReadError, match="aliases expand to more than"):
        yamltext.decode(text.replace("*a]", "*a, *a]"))


def test_a_billion_laughs_cost_nothing() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 60)]
    with pytest.raises(ReadError, match="aliases expand to more than"):
        yamltext.decode("\n".join(lines))


def test_marks_know_keys_and_values() -> None:
    _, marks = yamltext.read("a:\n  b:\n    c\n  d: [1,\n      2]\n")
    assert marks.line_of(("a",)) == 1
    assert marks.line_of(("a", "b")) == 3
    assert marks.line_of(("a", "b"), at_key=True) == 2
    assert marks.line_of(("a", "d")) == 4
    assert marks.line_of(("a", "d", 1)) == 5
    assert marks.line_of(("a", "missing")) == 1
    assert marks.line_of(("missing",)) == 1


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
    | st.sampled_from([text for text, _ in MEANS]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_what_is_written_reads_back_the_same(tree: object) -> None:
    assert yamltext.decode(yamltext.write(tree)) == tree
