"""Durations and sizes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.units import DURATION_MAX_MS, DURATION_PATTERN, SIZE_PATTERN, UnitError, duration_ms, size_bytes


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0s", 0), ("1ms", 1), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("24d", DURATION_MAX_MS), ("007s", 7000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


NO_DURATIONS = ["", "5", "s", "5 s", "5S", "-5s", "+5s", "1.5s", "5us", "5s ", " 5s", "5s\n", "\u0663s", "1h30m", "25d"]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(UnitError):
        duration_ms(text)


@given(st.text(st.sampled_from("0123456789smhd \n"), max_size=16))
def test_the_pattern_for_editors_and_the_reader_agree(text: str) -> None:
    try:
        reads = duration_ms(text) >= 0
    except UnitError as error:
        reads = "at most 24d" in str(error)
    assert reads == bool(re.search(DURATION_PATTERN, text))


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("1", 1), ("64k", 65_536), ("3m", 3 << 20), ("007k", 7168)])
def test_a_size_is_a_number_of_bytes_perhaps_with_a_unit(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "k", "1g", "1K", "1 k", "-1", "1.5k", "64kb", "1k\n", "\u0663k"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(UnitError):
        size_bytes(text)


@given(st.text(st.sampled_from("0123456789km \n"), max_size=14))
def test_the_pattern_of_sizes_and_the_reader_agree(text: str) -> None:
    try:
        reads = size_bytes(text) >= 0
    except UnitError:
        reads = False
    assert reads == bool(re.search(SIZE_PATTERN, text))
