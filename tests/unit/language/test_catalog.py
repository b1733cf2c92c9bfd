"""The tables of the language and the numbers of the data plane are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lb.config.actions.number import Action
from lb.language import catalog, condition, expression, format, pattern, regex  # noqa: A004
from lb.language.tables import LOOKS, UNBUILT
from lb.language.unbuilt import UNBUILT_CONVERTERS, UNBUILT_FETCHES

POLICY = Path(__file__).parents[3] / "lb" / "_speedups" / "policy"


def enums(file: str, prefix: str) -> list[dict[str, int]]:
    """Read the enums of a .pxd whose names begin with `prefix`, each with the values C would give."""
    found: list[dict[str, int]] = []
    text = (POLICY / file).read_text()
    for block in re.findall(r"^cdef enum[^:\n]*:[^\n]*\n((?:    .*\n)+)", text, re.M):
        value = -1
        names: dict[str, int] = {}
        for line in block.splitlines():
            match = re.match(r"    ([A-Z0-9_]+)(?: = ([^#]+))?", line)
            assert match is not None, line
            value = value + 1 if match[2] is None else eval(match[2], {"__builtins__": {}})
            names[match[1]] = value
        if all(name.startswith(prefix) for name in names):
            found.append(names)
    return found


def constant(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())


LOOKING = {catalog.TRACKED, catalog.SOURCE}
"""Families of fetches whose numbers are those of policy/look.pxd."""


@pytest.mark.parametrize(
    ("files", "prefix", "word", "table"),
    [
        (
            "fetch*.pxd",
            "FETCHES_",
            "FETCH_",
            {each.name: each.code for each in catalog.FETCHES.values() if each.code >> 8 not in LOOKING},
        ),
        (
            "convert*.pxd",
            "CONVERTERS_",
            "CONVERT_",
            {
                each.name: each.code
                for each in catalog.CONVERTERS.values()
                if each.code >> 8 != catalog.TABLE_CONVERTERS
            },
        ),
    ],
)
def test_codes(files: str, prefix: str, word: str, table: dict[str, int]) -> None:
    # An enum of codes ends with <its family>_END, in whatever module it stands.
    (families,) = enums("program.pxd", prefix)
    theirs = {
        name.removeprefix(word): families[list(family)[-1].removesuffix("_END")] << 8 | value
        for path in POLICY.glob(files)
        for family in enums(path.name, word[:-1])
        for name, value in family.items()
        if name.startswith(word)  # and does not end its family
    }
    assert {constant(name): code for name, code in table.items()} == theirs


def test_looks_at_tables() -> None:
    (numbers,) = enums("look.pxd", "LOOK")
    assert {f"LOOK_{each.constant}": each.number for each in LOOKS} | {"LOOKS": len(LOOKS) + 1} == numbers
    for look in LOOKS:
        if look.constant in UNBUILT:
            assert {look.tracked, look.source} <= UNBUILT_FETCHES
            assert look.converter in UNBUILT_CONVERTERS
            continue
        for name, family in ((look.tracked, catalog.TRACKED), (look.source, catalog.SOURCE)):
            assert not name or catalog.FETCHES[name].code == family << 8 | look.number
        assert not look.tracked or catalog.FETCHES[look.tracked.replace("sc_", "sc2_")].code == (
            catalog.FETCHES[look.tracked].code
        )
        assert (
            not look.converter or catalog.CONVERTERS[look.converter].code == catalog.TABLE_CONVERTERS << 8 | look.number
        )


def only(file: str, prefix: str) -> dict[str, int]:
    (names,) = enums(file, prefix)
    return names


def test_types_matches_arguments_and_actions() -> None:
    types = next(each for each in enums("sample.pxd", "SAMPLE_") if "SAMPLE_IPV4" in each)
    assert {f"SAMPLE_{each.name}": each.value for each in catalog.Type} | {"SAMPLE_TYPES": 9} == types
    matches = only("program.pxd", "MATCH_")
    assert {f"MATCH_{each.name}": each.value for each in catalog.Match} | {"MATCH_METHODS": 14} == matches
    args = only("program.pxd", "ARG_")
    del args["ARG_END"]
    assert {name: getattr(expression, name) for name in args} == args
    families, *members = enums("action.pxd", "ACTION")
    assert {f"ACTION_{each.name}": each.value for each in Action} == {
        name: value for names in members for name, value in names.items() if name.startswith("ACTION_")
    }
    assert {each >> 8 for each in Action} <= set(families.values())
    terms = only("program.pxd", "TERM_")
    assert terms == {"TERM_NOT": condition.TERM_NOT, "TERM_OR": condition.TERM_OR}
    parts = next(each for each in enums("program.pxd", "PART_") if "PART_TEXT" in each)
    assert parts == {"PART_TEXT": format.PART_TEXT, "PART_EXPR": format.PART_EXPR}
    assert only("program.pxd", "SET_") == {"SET_IGNORE_CASE": pattern.SET_IGNORE_CASE}
    flags = next(each for each in enums("regex.pxd", "REGEX_") if "REGEX_FLAGS" in each)
    assert flags == {"REGEX_IGNORE_CASE": regex.IGNORE_CASE, "REGEX_FLAGS": 1}
    limits = next(each for each in enums("regex.pxd", "REGEX_") if "REGEX_PATTERN_MAX" in each)
    assert limits["REGEX_PATTERN_MAX"] == regex.PATTERN_MAX


def test_what_is_built_is_not_called_unbuilt() -> None:
    assert not UNBUILT_FETCHES & {*catalog.FETCHES, *catalog.ALIASES}
    assert not UNBUILT_CONVERTERS & set(catalog.CONVERTERS)


def test_aliases_lead_somewhere() -> None:
    assert set(catalog.ALIASES.values()) <= set(catalog.FETCHES)
