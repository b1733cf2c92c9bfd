"""Servers' lives: results go in, usability and lines come out. Time is told to go on, probes are answered by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.clock import FakeLoop

from lb._speedups.face.mapping import OBJECT_BACKEND, OBJECT_PROCESS, OBJECT_SERVER, Mapping
from lb.checks.finding import Finding
from lb.checks.probe import Done
from lb.checks.schedule import Schedule
from lb.checks.states import States
from lb.checks.status import Status
from lb.config.part import Backend, Check, Observation, Part, Server

GOOD = Finding(Status.L4OK, "", duration_ms=0)
BAD = Finding(Status.L4CON, "Connection refused", duration_ms=0)


def check(every_ms: int = 2000, **options: Any) -> Check:
    made = {
        "fast_every_ms": every_ms,
        "down_every_ms": every_ms,
        "timeout_ms": every_ms,
        "rise": 2,
        "fall": 3,
        **options,
    }
    return Check("ipv4", "127.0.0.1", 80, "", every_ms, **made)


def reserve(**options: Any) -> dict[str, Any]:
    return {"check": check(is_reserve=True, **options), "observation": Observation(3, "mark-down")}


class Asked:
    """A probe that waits for its answer."""

    def __init__(self, stage: Stage, given: Check, done: Done) -> None:
        self.stage, self.check, self.done = stage, given, done

    def cancel(self) -> None:
        self.stage.asked.remove(self)


class Stage:
    """States on a mapping, with everything around them played."""

    def __init__(self) -> None:
        self.loop = FakeLoop(1000.0)
        self.mapping = Mapping.create()
        self.lines: list[str] = []
        self.asked: list[Asked] = []
        self.answers: Finding | None = None
        self.states = States(self.mapping, Schedule(self.loop), self, self.begin, draw=lambda: 0.5)
        self.balance = 0
        self.oids: dict[str, int] = {}
        self.generation = 0

    # a journal
    def note(self, line: str) -> None:
        self.lines.append(line)

    warn = error = note

    def begin(self, given: Check, done: Done) -> Asked:
        asked = Asked(self, given, done)
        if self.answers is not None:
            done(self.answers)
        else:
            self.asked.append(asked)
        return asked

    def answer(self, finding: Finding) -> None:
        """Answer the only probe on its way."""
        (asked,) = self.asked
        self.asked.clear()
        asked.done(finding)

    def results(self, *findings: Finding, every: float = 2.0) -> None:
        """Let so many checks of the only checked server come in."""
        for finding in findings:
            if not self.asked:
                self.loop.advance(every)
            self.answer(finding)

    def apply(self, *servers: dict[str, Any], **options: Any) -> None:
        """Put a configuration with these servers in force: one backend, `be`."""
        self.generation += 1
        process = self.mapping.register(OBJECT_PROCESS, 0, "lb")
        backend = self.mapping.register(OBJECT_BACKEND, process, "be")
        made = [{"name": f"s{n}", "weight": 1, **given} for n, given in enumerate(servers, 1)]
        oids = [process, backend, *(self.mapping.register(OBJECT_SERVER, backend, f"be/{s['name']}") for s in made)]
        self.oids = {"be": backend, **{s["name"]: oid for s, oid in zip(made, oids[2:], strict=True)}}
        shown = tuple(Server(object=n, address="127.0.0.1:80", **s) for n, s in enumerate(made, 2))
        self.balance = self.mapping.balance(
            oids[2:], [s["weight"] for s in made], self.balance, backups=[s.get("is_backup", False) for s in made]
        )
        part = Part(1, 0, 0, None, (), (), (), (Backend(1, "be", "http", "roundrobin", shown, **options),))
        given = type("Generation", (), {"part": part, "oid": lambda _, index: oids[index]})()
        self.states.prepare(given)
        self.states.apply(given)

    def usable(self) -> set[str]:
        """Return who gets traffic."""
        names = {oid: name for name, oid in self.oids.items()}
        found = {self.mapping.pick(self.balance) for _ in range(2 * len(names))}
        return {names[oid] for oid in found if oid}

    def server(self, name: str) -> Any:
        return self.states.server(self.oids[name])

    @property
    def backend(self) -> Any:
        return self.states.backend(self.oids["be"])

    def fail(self, name: str, times: int = 3) -> None:
        """Let connections fail."""
        for _ in range(times):
            self.mapping.count_failure(self.oids[name])
        self.states.notice()


@pytest.fixture
def stage() -> Stage:
    return Stage()


# ---- checks ----


def test_a_dead_server_leaves_with_its_first_check_and_comes_back_with_the_second(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    assert stage.server("s1").status == "UP 1/3"
    stage.loop.advance(0)
    stage.answer(BAD)
    assert stage.usable() == {"s2"}
    assert stage.server("s1").status == "DOWN"
    stage.results(GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("DOWN 1/2", {"s2"})
    stage.results(GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("UP", {"s1", "s2"})
    assert stage.lines == [
        (
            'Server be/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. '
            "1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
        ),
        (
            "Server be/s1 is UP, reason: Layer4 check passed, check duration: 0ms. "
            "2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
        ),
    ]


def test_a_server_that_is_well_takes_as_many_failures_as_fall_says(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD, BAD)
    assert stage.server("s1").status == "UP 2/3"
    stage.results(BAD)
    assert stage.server("s1").status == "UP 1/3"
    stage.results(GOOD)
    assert stage.server("s1").status == "UP"
    stage.results(BAD, BAD, BAD)
    assert stage.server("s1").status == "DOWN"
    server = stage.server("s1")
    assert (server.failed_checks, server.downs) == (5, 1)
    stage.results(BAD)
    assert (server.failed_checks, server.downs) == (5, 1)


@pytest.mark.parametrize(
    ("initial", "status", "findings", "after"),
    [
        ("fully-up", "UP", [BAD, BAD], "UP 1/3"),
        ("fully-up", "UP", [BAD, BAD, BAD], "DOWN"),
        ("up", "UP 1/3", [BAD], "DOWN"),
        ("down", "DOWN 1/2", [GOOD], "UP"),
        ("down", "DOWN 1/2", [BAD], "DOWN"),
        ("fully-down", "DOWN", [GOOD], "DOWN 1/2"),
        ("fully-down", "DOWN", [GOOD, GOOD], "UP"),
    ],
)
def test_the_first_state(stage: Stage, initial: str, status: str, findings: list[Finding], after: str) -> None:
    stage.apply({"check": check(initial=initial)}, {})
    assert stage.server("s1").status == status
    assert ("s1" in stage.usable()) == status.startswith("UP")
    stage.results(*findings)
    assert stage.server("s1").status == after
    assert ("s1" in stage.usable()) == after.startswith("UP")


def test_the_last_server_that_goes_is_an_alert_and_the_backend_is_down(stage: Stage) -> None:
    stage.apply({"check": check()})
    stage.results(BAD)
    assert stage.usable() == set()
    assert stage.lines[-1] == "backend be has no server available!"
    assert (stage.backend.is_up, stage.backend.downs, stage.backend.weight) == (False, 1, 0)
    stage.loop.advance(1)
    assert stage.backend.downtime(stage.states.time()) == 1
    stage.results(GOOD, GOOD)
    assert (stage.backend.is_up, stage.backend.downs, stage.backend.weight) == (True, 1, 1)
    assert len(stage.lines) == 3
    down = stage.backend.downtime(stage.states.time())
    stage.loop.advance(60)
    assert stage.backend.downtime(stage.states.time()) == down


def test_backups_take_over_and_the_line_says_so(stage: Stage) -> None:
    stage.apply({"check": check()}, {"is_backup": True, "weight": 7}, {"is_backup": True, "weight": 5})
    assert stage.backend.weight == 1
    stage.results(BAD)
    assert stage.usable() == {"s2"}
    assert "0 active and 2 backup servers left. Running on backup. 0 sessions active" in stage.lines[0]
    assert stage.backend.weight == 7
    assert len(stage.lines) == 1


def test_a_backup_is_called_one(stage: Stage) -> None:
    stage.apply({}, {"check": check(), "is_backup": True})
    stage.results(BAD)
    assert stage.lines[0].startswith("Backup Server be/s2 is DOWN, reason: ")


def test_with_all_backups_their_weights_add_up(stage: Stage) -> None:
    backups = [{"is_backup": True, "weight": 7}, {"is_backup": True, "weight": 5}]
    stage.apply({"check": check()}, *backups, all_backups=True)
    stage.results(BAD)
    assert stage.backend.weight == 12


def test_intervals_are_those_of_the_state(stage: Stage) -> None:
    stage.apply({"check": check(5000, fast_every_ms=700, down_every_ms=9000)}, {})
    stage.loop.advance(0)

    def wait() -> float:
        return round(stage.loop.armed[0] - stage.loop.now, 6)

    waits = []
    for finding in (GOOD, BAD, BAD, BAD, GOOD, GOOD):
        stage.answer(finding)
        waits.append(wait())
        stage.loop.advance(waits[-1] + 1e-6)
    assert waits == [5, 0.7, 0.7, 9, 0.7, 5]


def test_a_socket_error_of_our_own_says_nothing_of_the_server(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(GOOD, *[Finding(Status.SOCKERR, "Too many open files", duration_ms=0, is_ours=True)] * 5)
    assert stage.server("s1").status == "UP"
    assert stage.server("s1").finding.status is Status.SOCKERR
    assert stage.lines == []


def test_first_checks_are_spread_over_the_interval(stage: Stage) -> None:
    stage.apply(*[{"check": check(2000)} for _ in range(10)])
    stage.loop.advance(0.999)
    assert len(stage.asked) == 5
    stage.loop.advance(1)
    assert len(stage.asked) == 10


def test_no_check_begins_while_one_is_on_its_way(stage: Stage) -> None:
    stage.apply({"check": check(100)}, {})
    stage.loop.advance(60)
    assert len(stage.asked) == 1
    assert stage.server("s1").is_running
    stage.answer(GOOD)
    assert not stage.server("s1").is_running


def test_a_check_may_be_answered_at_once(stage: Stage) -> None:
    stage.answers = BAD
    stage.apply({"check": check()}, {})
    stage.loop.advance(0)
    assert stage.server("s1").status == "DOWN"
    stage.answers = GOOD
    stage.loop.advance(4)
    assert stage.server("s1").status == "UP"


# ---- reloads ----


def test_a_server_that_is_down_stays_down_over_a_reload_and_its_check_goes_on(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(BAD, GOOD)
    stage.loop.advance(1)
    stage.apply({"check": check()}, {"weight": 3})
    assert (stage.server("s1").status, stage.usable()) == ("DOWN 1/2", {"s2"})
    stage.loop.advance(0.999)
    assert stage.asked == []
    stage.loop.advance(0.001)
    stage.answer(GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("UP", {"s1", "s2"})


def test_a_changed_check_begins_anew_with_what_the_server_is(stage: Stage) -> None:
    stage.apply({"check": check()}, {"check": check(9000)})
    stage.loop.advance(0)
    stage.answer(BAD)
    stage.apply({"check": check(rise=1)}, {"check": check(9000)})
    assert stage.server("s1").status == "DOWN"
    stage.loop.advance(0)
    stage.answer(GOOD)
    assert stage.server("s1").status == "UP"
    stage.apply({"check": check(fall=1)}, {"check": check(9000)})
    assert stage.server("s1").status == "UP"


def test_a_removed_servers_check_ends(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.loop.advance(0)
    assert len(stage.asked) == 1
    stage.apply({"name": "s2"})
    assert stage.asked == []
    stage.loop.advance(60)
    assert stage.asked == []


def test_a_removed_and_a_new_server_of_the_same_name_have_nothing_in_common(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(BAD)
    stage.apply({"name": "s2"})
    stage.apply({"check": check()}, {})
    assert (stage.server("s1").status, stage.usable()) == ("UP 1/3", {"s1", "s2"})


def test_without_its_check_a_server_is_up_again(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(BAD)
    stage.apply({}, {})
    assert (stage.server("s1").status, stage.usable()) == ("no check", {"s1", "s2"})
    stage.loop.advance(60)
    assert stage.asked == []


def test_a_server_that_gets_a_check_serves_until_it_fails(stage: Stage) -> None:
    stage.apply({}, {})
    stage.apply({"check": check(initial="down")}, {})
    assert (stage.server("s1").status, stage.usable()) == ("UP 1/3", {"s1", "s2"})
    stage.results(BAD)
    assert stage.usable() == {"s2"}


def test_a_reload_that_leaves_no_server_is_an_alert(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    stage.results(BAD)
    stage.apply({"check": check()})
    assert stage.usable() == set()
    assert stage.lines[-1] == "backend be has no server available!"


# ---- observation ----


def test_failures_in_a_row_take_a_server_out_until_a_probe_passes(stage: Stage) -> None:
    stage.apply(reserve(), reserve())
    stage.loop.advance(60)
    assert stage.asked == []
    stage.fail("s1", 2)
    assert stage.usable() == {"s1", "s2"}
    stage.fail("s1", 1)
    assert (stage.server("s1").status, stage.usable()) == ("DOWN", {"s2"})
    assert stage.lines == [
        (
            'Server be/s1 is DOWN, reason: Health analyze, info: "Detected 3 consecutive errors, last one was: '
            'L4 unsuccessful connection". 1 active and 0 backup servers left. '
            "0 sessions active, 0 requeued, 0 remaining in queue."
        )
    ]
    stage.results(BAD, GOOD, GOOD)
    assert (stage.server("s1").status, stage.usable()) == ("no check", {"s1", "s2"})
    stage.loop.advance(60)
    assert stage.asked == []
    assert stage.server("s1").failed_observations == 1


def test_the_last_server_is_never_taken_out_by_what_traffic_shows(stage: Stage) -> None:
    stage.apply(reserve(), reserve(), reserve())
    stage.fail("s1")
    stage.fail("s2")
    stage.fail("s3", 30)
    assert stage.usable() == {"s3"}
    assert "no server available" not in "".join(stage.lines)


def test_a_backup_is_somebody_else(stage: Stage) -> None:
    stage.apply(reserve(), {**reserve(), "is_backup": True})
    stage.fail("s1")
    assert stage.usable() == {"s2"}


def test_when_the_last_one_goes_otherwise_those_that_were_taken_out_come_back(stage: Stage) -> None:
    stage.apply(reserve(), {"check": check()})
    stage.loop.advance(0)
    stage.fail("s1")
    assert stage.usable() == {"s2"}
    stage.answer(BAD)
    assert stage.usable() == {"s1"}
    assert stage.lines[-1] == "Server be/s1 is UP: backend be has no other server left"
    assert stage.backend.is_up
    assert stage.backend.downs == 0


def test_a_reload_that_removes_the_others_brings_back_who_was_taken_out(stage: Stage) -> None:
    stage.apply(reserve(), reserve())
    stage.fail("s1")
    stage.apply(reserve())
    assert stage.usable() == {"s1"}


def test_a_success_meanwhile_clears_a_suspect(stage: Stage) -> None:
    stage.apply(reserve(), reserve())
    for _ in range(3):
        stage.mapping.count_failure(stage.oids["s1"])
    stage.mapping.count_success(stage.oids["s1"])
    stage.states.notice()
    assert stage.usable() == {"s1", "s2"}


def test_a_server_that_is_no_longer_observed_is_left_alone(stage: Stage) -> None:
    stage.apply(reserve(), reserve())
    stage.apply({}, {})
    stage.fail("s1", 30)
    assert stage.usable() == {"s1", "s2"}


def observed(on_error: str, **options: Any) -> dict[str, Any]:
    return {"check": check(5000, fast_every_ms=500, **options), "observation": Observation(3, on_error)}


@pytest.mark.parametrize(
    ("on_error", "status", "wait"),
    [
        ("fastinter", "UP", 0.5),
        ("fail-check", "UP 2/3", 0.5),
        ("sudden-death", "UP 1/3", 0.5),
        ("mark-down", "DOWN", 0.5),
    ],
)
def test_what_too_many_failures_do_to_a_checked_server(stage: Stage, on_error: str, status: str, wait: float) -> None:
    stage.apply(observed(on_error), {})
    stage.loop.advance(0)
    stage.answer(GOOD)
    stage.fail("s1")
    assert stage.server("s1").status == status
    assert round(stage.loop.armed[0] - stage.loop.now, 6) == wait
    assert stage.server("s1").failed_observations == 1


def test_a_checked_servers_last_one_goes_by_observation_too(stage: Stage) -> None:
    stage.apply(observed("mark-down"))
    stage.loop.advance(0)
    stage.answer(GOOD)
    stage.fail("s1")
    assert stage.usable() == set()


def test_a_balance_without_memory_is_written_later(stage: Stage) -> None:
    stage.apply({"check": check()}, {})
    real, fails = stage.mapping.set_usable, [True]

    class Short:
        """A mapping that is short of memory once."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stage.mapping, name)

        def set_usable(self, oid: int, usable: bool) -> None:
            if fails.pop() if fails else False:
                raise MemoryError
            real(oid, usable)

    stage.states._mapping = Short()  # type: ignore[assignment]
    stage.loop.advance(0)
    stage.answer(BAD)
    assert stage.usable() == {"s1", "s2"}
    assert stage.lines[0] == "no memory to change a balance; it is tried again"
    stage.loop.advance(1)
    assert stage.usable() == {"s2"}


# ---- everything at once ----

ACTS = st.lists(
    st.tuples(st.sampled_from(["good", "bad", "traffic", "reload", "drop"]), st.integers(1, 4)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_whatever_happens_states_counts_and_balance_agree(acts: list[tuple[str, int]]) -> None:
    stage = Stage()
    kinds: dict[int, dict[str, Any]] = {1: {"check": check()}, 2: reserve(), 3: {**reserve(), "is_backup": True}, 4: {}}
    present = {1, 2, 3, 4}

    def apply() -> None:
        stage.asked.clear()
        stage.apply(*({"name": f"s{n}", **kinds[n]} for n in sorted(present)))

    apply()
    for what, n in acts:
        if what in ("good", "bad"):
            stage.loop.advance(2)
            for asked in list(stage.asked):
                stage.asked.remove(asked)
                asked.done(GOOD if what == "good" else BAD)
        elif what == "traffic" and n in present:
            stage.fail(f"s{n}")
        elif what == "drop" and present - {n}:
            present.discard(n)
            stage.loop.advance(2)
            for asked in list(stage.asked):
                stage.asked.remove(asked)
                asked.done(GOOD)
            apply()
        elif what == "reload":
            present.add(n)
            stage.loop.advance(2)
            for asked in list(stage.asked):
                stage.asked.remove(asked)
                asked.done(GOOD)
            apply()
        states = [stage.server(f"s{n}") for n in sorted(present)]
        up = {each.name for each in states if each.is_usable}
        active = {each.name for each in states if each.is_usable and not each.is_backup}
        assert stage.usable() == (active or up)
        assert (stage.backend.active, stage.backend.active + stage.backend.backups) == (len(active), len(up))
        if present - {1}:
            assert stage.backend.is_up, "only a check may take the last server away"
        for each in states:
            asks = each.next is not None or each.probe is not None
            assert asks == (each.check is not None and (each.is_checked or not each.is_up))
