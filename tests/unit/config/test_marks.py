"""Lines: what our scanners of JSON and TOML say, against texts in which every value is written once and can be searched."""

from __future__ import annotations

import json
import random
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.config import jsontext, tomltext, yamltext
from lb.config.marks import Mark

KEYS = ["a", "b-c", "d_e", "f g", "h.i", 'j"k', "l#m", "n[o]", "{p}", "q=r", "\u00fc", "x'y", ""]
trees = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        st.just(0),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


def numbered(tree: Any, counter: list[int]) -> Any:
    """Return the tree with a number of its own in place of every leaf."""
    if isinstance(tree, dict):
        return {key: numbered(inner, counter) for key, inner in tree.items()}
    if isinstance(tree, list):
        return [numbered(inner, counter) for inner in tree]
    counter[0] += 1
    return counter[0]


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], int]]:
    """Return the path and number of every leaf."""
    if isinstance(tree, dict):
        return [each for key, inner in tree.items() for each in leaves(inner, (*path, key))]
    if isinstance(tree, list):
        return [each for index, inner in enumerate(tree) for each in leaves(inner, (*path, index))]
    return [(path, tree)]


def check(text: str, tree: Any, marks: Mark) -> None:
    for path, number in leaves(tree):
        line = text.count("\n", 0, text.index(str(number))) + 1
        assert marks.line_of(path) == line, (path, number)


def noise(dice: random.Random) -> str:
    """Return white space and comments that TOML takes between lines."""
    return dice.choice(["", "", "\n", "# a = [1\n", '  # ] } "\n', "\t\n"])


def key(dice: random.Random, name: str) -> str:
    if name and all(char in "abcdefghijklmnopqrstuvwxyz-_" for char in name) and dice.random() < 0.7:
        return name
    return json.dumps(name) if "'" in name or dice.random() < 0.5 else f"'{name}'"


def inline(dice: random.Random, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key(dice, name)} = {inline(dice, inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        between = dice.choice([", ", ",\n", " ,  # comment ]\n"])
        return (
            "["
            + noise(dice)
            + between.join(inline(dice, inner) for inner in value)
            + dice.choice(["", ",", "\n"])
            + "]"
        )
    return dice.choice(
        ["{}", '"{}"', "'{}'", '"""{}"""', "'''{}'''", '"\\"] {}"', "'''\n{}'''", '"""\n{}\\\n  "" x"""']
    ).format(value)


def toml(dice: random.Random, tree: dict[str, Any], prefix: str = "") -> str:
    """Return a tree as TOML, each part in one of the ways there are."""
    plain, tables = "", ""
    for name, value in tree.items():
        spelled = key(dice, name)
        if isinstance(value, dict) and dice.random() < 0.6:
            tables += (
                noise(dice)
                + f"[{prefix}{spelled}]"
                + dice.choice(["\n", "  # [x]\n"])
                + toml(dice, value, f"{prefix}{spelled}.")
            )
        elif isinstance(value, list) and all(isinstance(each, dict) for each in value) and dice.random() < 0.6:
            for each in value:
                tables += noise(dice) + f"[[{prefix}{spelled}]]\n" + toml(dice, each, f"{prefix}{spelled}.")
        elif isinstance(value, dict) and len(value) == 1 and dice.random() < 0.5:
            ((below, inner),) = value.items()
            plain += f"{spelled} . {key(dice, below)} = {inline(dice, inner)}\n" + noise(dice)
        else:
            plain += f"{spelled} ={dice.choice(['', ' '])}{inline(dice, value)}\n" + noise(dice)
    return plain + tables


@settings(max_examples=250, deadline=None)
@given(trees, st.randoms(use_true_random=False))
def test_toml(tree: dict[str, Any], dice: random.Random) -> None:
    numbers = numbered(tree, [1000])
    text = toml(dice, numbers)
    tomllib.loads(text)
    lines = []
    for path, number in leaves(numbers):
        begin = text.rindex("=", 0, text.index(str(number)))
        lines.append((path, text.count("\n", 0, begin) + 1, text.count("\n", 0, text.index(str(number))) + 1))
    marks = tomltext.marks(text)
    for path, first, last in lines:
        # A value in three quotes begins a line before its number.
        assert first <= marks.line_of(path) <= last


@settings(max_examples=150, deadline=None)
@given(trees, st.sampled_from([None, 0, 1]))
def test_json(tree: dict[str, Any], indent: int | None) -> None:
    numbers = numbered(tree, [1000])
    text = json.dumps(numbers, indent=indent)
    check(text, numbers, jsontext.marks(text))


@settings(max_examples=150, deadline=None)
@given(trees)
def test_yaml(tree: dict[str, Any]) -> None:
    numbers = numbered(tree, [1000])
    text = yamltext.write(numbers)
    data, marks = yamltext.read(text)
    assert data == numbers
    check(text, numbers, marks)


@settings(max_examples=250, deadline=None)
@given(st.text(st.sampled_from("{}[]\",:\\ \n1ae\u00fc$#-'=.&*!|>%@`?~"), max_size=40) | st.text(max_size=20))
@pytest.mark.parametrize("reader", [jsontext, tomltext, yamltext], ids=lambda module: module.__name__)
def test_any_text_is_read_or_told(reader: Any, text: str) -> None:
    from lb.config.marks import ReadError

    try:
        data = reader.decode(text)
    except ReadError as error:
        lines = [each.line for each in error.problems]
        told = all(each.message and 1 <= each.line <= text.count("\n") + 1 for each in error.problems)
        assert (bool(lines), told) == (True, True)
        return
    assert repr(reader.read(text)[0]) == repr(data)
