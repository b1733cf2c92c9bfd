"""What is said about log targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lb.supervisor.logs import SILENCE_S, Complaints

if TYPE_CHECKING:
    from lb._speedups.face.logdrain import TargetStats


def target(to: str, error: str = "") -> TargetStats:
    return {"to": to, "records": 0, "bytes": 0, "dropped": 0, "error": error, "reopen_error": ""}


def test_a_failure_and_its_end_are_told_once() -> None:
    complaints = Complaints()
    assert complaints.news([target("a"), target("b", "Gone")], 100) == [("b", "Gone")]
    assert complaints.news([target("a"), target("b", "Gone")], 200) == []
    assert complaints.news([target("a"), target("b")], 300) == [("b", "")]
    assert complaints.news([target("a"), target("b")], 400) == []


def test_a_target_that_comes_and_goes_is_not_told_of_all_the_time() -> None:
    complaints = Complaints()
    assert complaints.news([target("a", "Gone")], 100) == [("a", "Gone")]
    assert complaints.news([target("a")], 101) == []
    assert complaints.news([target("a", "Gone")], 102) == []
    assert complaints.news([target("a")], 100 + SILENCE_S) == [("a", "")]


def test_a_target_that_was_removed_is_forgotten() -> None:
    complaints = Complaints()
    assert complaints.news([target("a", "Gone")], 100) == [("a", "Gone")]
    assert complaints.news([], 101) == []
    assert complaints.news([target("a", "Gone")], 102) == [("a", "Gone")]
