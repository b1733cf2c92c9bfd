"""Durations."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.units import DURATION_MAX_MS, DURATION_PATTERN, UnitError, duration_ms


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
