"""Counting: against a slow model that looks at the whole history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lb.checks.tally import Tally


class History:
    """What a server is after these results, told from the results alone."""

    def __init__(self, rise: int, fall: int, is_up: bool) -> None:
        self.rise, self.fall, self.is_up = rise, fall, is_up
        self.row = 0  # results in a row that speak against what the server is

    def add(self, passed: bool) -> None:
        self.row = 0 if passed == self.is_up else self.row + 1
        if self.row == (self.fall if self.is_up else self.rise):
            self.is_up, self.row = not self.is_up, 0

    @property
    def shown(self) -> str:
        if self.is_up:
            return f"{self.fall - self.row}/{self.fall}"
        return f"{self.row}/{self.rise}"


@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.lists(st.booleans(), max_size=60))
def test_results_in_a_row_decide(rise: int, fall: int, is_up: bool, results: list[bool]) -> None:
    tally = Tally(rise, fall, rise + fall - 1 if is_up else 0)
    history = History(rise, fall, is_up)
    for passed in results:
        if passed:
            tally.passed()
        else:
            assert tally.failed() == (history.is_up or history.row > 0)
        history.add(passed)
        assert (tally.is_up, tally.shown()) == (history.is_up, history.shown)
        assert 0 <= tally.health <= tally.most


def test_a_new_server_goes_down_with_its_first_failure() -> None:
    tally = Tally(2, 3, 2)
    assert tally.is_up
    assert tally.shown() == "1/3"
    tally.failed()
    assert tally.health == 0


def test_a_new_server_is_well_after_its_first_success() -> None:
    tally = Tally(2, 3, 2)
    tally.passed()
    assert tally.health == tally.most == 4
