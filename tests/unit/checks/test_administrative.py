"""What people say of servers: maintenance, draining, weights, tracking. The stage is that of test_states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.checks.administrative import WORDS, Admin, inherited
from lb.checks.finding import Finding
from lb.checks.status import Status
from tests.unit.checks.test_states import BAD, GOOD, Stage, check, reserve

LATER = Finding(Status.L7OKC, "Not Found", 404, duration_ms=0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def say(stage: Stage, name: str, word: str) -> None:
    stage.states.administer(stage.server(name), WORDS[word])


def test_maintenance_takes_everything_and_asks_nothing(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD)
    say(stage, "s1", "maint")
    assert stage.lines == [
        (
            "Server be/s1 is going DOWN for maintenance. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, "
            "0 remaining in queue."
        )
    ]
    assert stage.usable() == {"s2"}
    assert stage.server("s1").status == "MAINT"
    stage.loop.advance(60)
    assert stage.asked == []
    stage.lines.clear()
    say(stage, "s1", "ready")
    assert stage.lines == ["Server be/s1 is UP/READY (leaving forced maintenance)."]
    assert stage.usable() == {"s1", "s2"}
    # Asked at once; the first failure takes it down.
    assert stage.server("s1").status == "UP 1/3"
    stage.loop.advance(0.01)
    stage.answer(BAD)
    assert stage.server("s1").status == "DOWN"
    assert stage.usable() == {"s2"}
    assert int(stage.server("s1").downtime(stage.states.time())) >= 60


def test_a_server_that_is_down_can_enter_it_too(stage: Stage) -> None:
    stage.apply({"check": check(fall=1)}, {})
    stage.results(BAD)
    stage.lines.clear()
    say(stage, "s1", "maint")
    assert stage.lines == ["Server be/s1 was DOWN and now enters maintenance."]
    say(stage, "s1", "maint")
    assert len(stage.lines) == 1


def test_the_last_server_leaves_a_backend_without(stage: Stage) -> None:
    stage.apply({})
    say(stage, "s1", "maint")
    assert stage.lines[-1] == "backend be has no server available!"
    assert not stage.backend.is_up
    say(stage, "s1", "ready")
    assert stage.backend.is_up


def test_a_server_in_maintenance_does_not_come_to_the_rescue(stage: Stage) -> None:
    stage.apply(reserve(), reserve())
    say(stage, "s1", "maint")
    say(stage, "s2", "maint")
    assert stage.usable() == set()
    assert stage.server("s1").status == stage.server("s2").status == "MAINT"


def test_draining_goes_on_being_asked(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD)
    say(stage, "s1", "drain")
    assert stage.lines == [
        "Server be/s1 enters drain state. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
    ]
    assert stage.usable() == {"s2"}
    assert stage.server("s1").status == "DRAIN"
    stage.results(BAD)
    assert stage.server("s1").status == "DRAIN 2/3"
    stage.results(BAD, BAD)
    assert stage.server("s1").status == "DOWN"
    stage.results(GOOD, GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("DRAIN", {"s2"})
    stage.lines.clear()
    say(stage, "s1", "ready")
    assert stage.lines == ["Server be/s1 is UP (leaving forced drain)."]
    assert stage.usable() == {"s1", "s2"}


def test_a_weight_is_set_and_survives_what_does_not_touch_it(stage: Stage) -> None:
    stage.apply({"weight": 10}, {"weight": 10})
    server = stage.server("s1")
    assert stage.states.set_weight(server, 5)
    assert stage.backend.weight == 15
    assert stage.states.set_weight(server, 0)
    assert (stage.usable(), stage.backend.active) == ({"s2"}, 1)
    stage.apply({"weight": 10}, {"weight": 10}, {"weight": 10})
    assert stage.usable() == {"s2", "s3"}
    assert (stage.server("s1").weight, stage.server("s1").configured_weight) == (0, 10)
    # A configuration that has another weight has the last word.
    stage.apply({"weight": 20}, {"weight": 10}, {"weight": 10})
    assert stage.server("s1").weight == 20
    assert stage.usable() == {"s1", "s2", "s3"}


def test_a_reload_keeps_what_was_said(stage: Stage) -> None:
    stage.apply({"weight": 10}, {})
    say(stage, "s1", "drain")
    stage.apply({"weight": 10}, {}, {})
    assert stage.server("s1").status == "DRAIN"
    assert stage.usable() == {"s2", "s3"}
    say(stage, "s1", "maint")
    stage.apply({"weight": 10}, {})
    assert stage.server("s1").status == "MAINT"
    assert stage.usable() == {"s2"}


def test_a_server_may_begin_in_maintenance(stage: Stage) -> None:
    stage.apply({"is_disabled": True, "check": check()}, {})
    assert stage.server("s1").status == "MAINT"
    assert stage.usable() == {"s2"}
    stage.loop.advance(10)
    assert stage.asked == []
    say(stage, "s1", "ready")
    assert stage.usable() == {"s1", "s2"}
    # Only the beginning: a reload does not say it again.
    stage.apply({"is_disabled": True, "check": check()}, {})
    assert stage.usable() == {"s1", "s2"}


def test_health_is_set_until_the_next_check(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD)
    server = stage.server("s1")
    stage.states.set_health(server, "down")
    assert stage.lines == [
        (
            "Server be/s1 is DOWN, changed from CLI. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, "
            "0 remaining in queue."
        )
    ]
    stage.results(GOOD, GOOD)
    assert server.status == "UP"
    stage.lines.clear()
    stage.states.set_health(server, "stopping")
    assert stage.lines == [
        (
            "Server be/s1 is stopping, changed from CLI. 1 active and 0 backup servers online. 0 sessions requeued, "
            "0 total in queue."
        )
    ]
    assert (server.status, stage.usable()) == ("NOLB", {"s2"})
    stage.results(GOOD)
    assert (server.status, stage.usable()) == ("UP", {"s1", "s2"})
    stage.states.set_health(stage.server("s2"), "down")
    assert (stage.server("s2").status, stage.usable()) == ("DOWN", {"s1"})


def test_a_check_that_passes_on_condition_takes_new_users_away(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD, LATER)
    assert stage.lines[-1].startswith(
        'Server be/s1 is stopping, reason: Layer7 check conditionally passed, code: 404, info: "Not Found", check duration: 0ms'
    )
    assert (stage.server("s1").status, stage.usable()) == ("NOLB", {"s2"})
    stage.results(GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("UP", {"s1", "s2"})
    stage.results(BAD, BAD, BAD, LATER, LATER, LATER)
    assert stage.server("s1").status.startswith("DOWN")  # it is not what brings a server up


def test_a_paused_check_leaves_a_server_what_it_is(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD, BAD)
    server = stage.server("s1")
    stage.states.pause_check(server, True)
    assert server.status == "no check"
    stage.loop.advance(60)
    assert stage.asked == []
    stage.states.pause_check(server, False)
    stage.results(BAD, BAD)
    assert server.status == "DOWN"


def test_a_server_is_what_the_one_is_that_it_tracks(stage: Stage) -> None:
    # Objects 2 and 3: s2 tracks s1, s3 tracks s2.
    stage.apply({"check": check(fall=1)}, {"track": 2}, {"track": 3}, {})
    assert stage.server("s2").status == "UP"
    stage.results(BAD)
    assert [line.partition(".")[0] for line in stage.lines] == [
        'Server be/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms',
        "Server be/s2 is DOWN via be/s1",
        "Server be/s3 is DOWN via be/s2",
    ]
    assert stage.usable() == {"s4"}
    stage.results(GOOD, GOOD)
    assert stage.usable() == {"s1", "s2", "s3", "s4"}
    say(stage, "s1", "maint")
    assert [stage.server(name).status for name in ("s1", "s2", "s3")] == [
        "MAINT",
        "MAINT (via be/s1)",
        "MAINT (via be/s1)",
    ]
    # Its own maintenance stays when the other's ends.
    say(stage, "s3", "maint")
    say(stage, "s1", "ready")
    assert stage.usable() == {"s1", "s2", "s4"}
    say(stage, "s3", "ready")
    say(stage, "s1", "drain")
    assert [stage.server(name).status for name in ("s1", "s2", "s3")] == ["DRAIN"] * 3
    assert stage.usable() == {"s4"}
    # Who tracks nobody any more is on its own.
    stage.apply({"check": check(fall=1)}, {"track": 2}, {}, {})
    assert stage.usable() == {"s3", "s4"}


def test_what_is_inherited() -> None:
    assert inherited(Admin.READY) == Admin.READY
    assert inherited(Admin.FORCED_MAINT) == inherited(Admin.INHERITED_MAINT) == Admin.INHERITED_MAINT
    assert inherited(Admin.FORCED_DRAIN | Admin.CONFIGURED_MAINT) == Admin.INHERITED_DRAIN | Admin.INHERITED_MAINT


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["ready", "drain", "maint"]), st.integers(1, 4)),
    st.tuples(st.sampled_from(["good", "bad", "later"]), st.just(1)),
    st.tuples(st.sampled_from(["up", "down", "stopping"]), st.sampled_from([1, 4])),
    st.tuples(st.just("weight"), st.integers(1, 4)),
    st.tuples(st.just("reload"), st.just(1)),
)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), weight=st.integers(0, 3))
def test_counts_balances_and_states_agree_whatever_happens(events: list[tuple[str, int]], weight: int) -> None:
    stage = Stage()
    servers: list[dict[str, Any]] = [{"check": check(fall=2)}, {"track": 2}, {"is_backup": True}, {}]
    stage.apply(*servers)
    stage.answers = None
    for what, number in events:
        server = stage.server(f"s{number}")
        if what in WORDS:
            stage.states.administer(server, WORDS[what])
        elif what in ("up", "down", "stopping"):
            stage.states.set_health(server, what)  # type: ignore[arg-type]
        elif what == "weight":
            stage.states.set_weight(server, weight)
        elif what == "reload":
            stage.apply(*servers)
        else:
            stage.loop.advance(2)
            if stage.asked:
                stage.answer({"good": GOOD, "bad": BAD, "later": LATER}[what])
        each = [stage.server(f"s{n}") for n in range(1, 5)]
        assert stage.backend.active == sum(s.is_usable and not s.is_backup for s in each)
        assert stage.backend.backups == sum(s.is_usable and s.is_backup for s in each)
        usable = {s.name for s in each if s.is_usable and not s.is_backup} or {s.name for s in each if s.is_usable}
        assert stage.usable() == usable
        assert each[1].is_up == each[0].is_up
        assert each[1].admin.is_maint >= each[0].admin.is_maint
        if each[0].admin.is_maint:
            assert stage.asked == []
    stage.mapping.close()
