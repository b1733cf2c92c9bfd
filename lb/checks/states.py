"""What is known of every server and backend, over generations: the one writer of who is usable.

Results come in here, from checks and from what workers noticed; what follows from them goes out: a server leaves or joins
the balances in the shared mapping (every worker sees that with its next pick), and a line goes to the journal.

A server is *checked* when its configuration says so. One that is not, but observed, has a check in reserve: it is taken out
when connections to it fail in a row, then its check runs until it is well, and ends. Reserves never leave a backend without a
server: the last one stays, whatever happens to it, and when the last one goes otherwise, those that were taken out come
back.

People have the last word: a server in maintenance gets nothing and is not asked, one that drains gets only what belongs to it,
a weight counts from when it is set. A server that tracks another one is what that one is.

A reload keeps what is known of a server under its name, and what people said of it. Where its check has changed, the check
starts again; a weight that was set by hand holds until the configuration has another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, Protocol

from lb._speedups.face.mapping import Mapping
from lb.checks import wording
from lb.checks.administrative import FORCED, INHERITED, Admin, inherited
from lb.checks.finding import Finding
from lb.checks.probe import Done
from lb.checks.schedule import Entry, Schedule
from lb.checks.status import Result, Status
from lb.checks.tally import Tally
from lb.config.part import Check, Observation, Part, Server

WEIGHT_MAX = 256  # that can be set by hand

RETRY_S = 1.0  # to write into the mapping what it had no memory for


class Cancellable(Protocol):
    """A probe on its way."""

    def cancel(self) -> None:
        """End it."""


Health = Literal["up", "stopping", "down"]
Begin = Callable[[Check, Done], Cancellable]
"""Begin a probe as the check says; what it finds is told to `Done`, perhaps before this returns."""


class Journal(Protocol):
    """Who takes the lines."""

    def note(self, line: str) -> None: ...
    def warn(self, line: str) -> None: ...
    def error(self, line: str) -> None: ...


class Generation(Protocol):
    """A configuration with its object ids."""

    part: Part

    def oid(self, index: int) -> int: ...


class BackendState:
    """One backend."""

    def __init__(self, now: float) -> None:
        self.name = ""
        self.servers: list[ServerState] = []
        self.active = 0  # usable servers
        self.backups = 0  # the same that are backups
        self.all_backups = False
        self.was_up = True  # before the configuration that is being taken
        self.changed = now  # when it last lost its last server, or got one again
        self.down_s = 0.0  # without a server, up to `changed`
        self.downs = 0

    @property
    def is_up(self) -> bool:
        """Whether it has a usable server."""
        return self.active + self.backups > 0

    @property
    def weight(self) -> int:
        """The sum of the weights that count now."""
        chosen = [each for each in self.servers if each.is_usable and each.is_backup == (self.active == 0)]
        if self.active == 0 and not self.all_backups:
            chosen = chosen[:1]
        return sum(each.weight for each in chosen)

    def count(self, server: ServerState, difference: int) -> None:
        """Note that a server became usable, or is not any more."""
        if server.is_backup:
            self.backups += difference
        else:
            self.active += difference

    def downtime(self, now: float) -> int:
        """Return the seconds without a server so far."""
        return int(self.down_s + (0 if self.is_up else now - self.changed))


class ServerState:
    """One server."""

    def __init__(self, oid: int, backend: BackendState, now: float) -> None:
        self.oid = oid
        self.backend = backend
        self.name = ""
        self.configured_weight = 0
        self.weight = 0  # as configured, or as it was set since
        self.is_backup = False
        self.admin = Admin.READY
        self.is_stopping = False  # wants no new users
        self.is_check_paused = False  # by hand
        self.tracked: ServerState | None = None
        self.trackers: list[ServerState] = []
        self.check: Check | None = None
        self.observation: Observation | None = None
        self.tally = Tally(1, 1, 1)
        self.is_up = True
        self.changed = now  # when it last went up or down
        self.down_s = 0.0  # down, up to `changed`
        self.downs = 0
        self.failed_checks = 0
        self.failed_observations = 0
        self.finding = Finding(Status.INI)
        self.probe: Cancellable | None = None
        self.next: Entry | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it does anything."""
        return self.is_up and not self.admin.is_maint

    @property
    def weight_in_force(self) -> int:
        """The weight that counts now; 0 while it gets only what belongs to it."""
        return 0 if self.admin.is_drain or self.is_stopping else self.weight

    @property
    def is_usable(self) -> bool:
        """Whether it may get new traffic."""
        return self.is_serving and self.weight_in_force > 0

    @property
    def label(self) -> str:
        """How lines call it."""
        return f"{'Backup ' if self.is_backup else ''}Server {self.backend.name}/{self.name}"

    @property
    def judge(self) -> ServerState:
        """The server whose check speaks for this one."""
        return self if self.tracked is None else self.tracked.judge

    @property
    def is_checked(self) -> bool:
        """Whether its configuration asks for a check."""
        return self.check is not None and not self.check.is_reserve

    @property
    def is_running(self) -> bool:
        """Whether a check is on its way."""
        return self.probe is not None

    @property
    def status(self) -> str:
        """What `show stat` calls it."""
        if self.admin & Admin.INHERITED_MAINT:
            return f"MAINT (via {self.judge.backend.name}/{self.judge.name})"
        if self.admin.is_maint:
            return "MAINT"
        tally = self.judge.tally
        if not self.is_up:
            return "DOWN" if tally.health == 0 else f"DOWN {tally.shown()}"
        is_asked = self.judge.is_checked and not self.judge.is_check_paused
        word = "DRAIN" if self.admin.is_drain else "NOLB" if self.is_stopping else "UP"
        if not is_asked:
            return "no check" if word == "UP" else word
        return word if tally.health == tally.most else f"{word} {tally.shown()}"

    def downtime(self, now: float) -> int:
        """Return the seconds down so far."""
        return int(self.down_s + (0 if self.is_serving else now - self.changed))

    def interval_ms(self) -> int:
        """Return the time to the next check."""
        assert self.check is not None
        if self.tally.health == self.tally.most:
            return self.check.every_ms
        return self.check.down_every_ms if self.tally.health == 0 else self.check.fast_every_ms

    def rest(self) -> None:
        """End its check."""
        if self.next is not None:
            self.next.cancel()
            self.next = None
        if self.probe is not None:
            self.probe.cancel()
            self.probe = None


def first_health(check: Check) -> int:
    """Return the health of a new server."""
    if check.is_reserve:
        return check.rise + check.fall - 1
    return {
        "up": check.rise,
        "fully-up": check.rise + check.fall - 1,
        "down": check.rise - 1,
        "fully-down": 0,
    }[check.initial]


class States:
    """All servers and backends of the generation in force."""

    def __init__(
        self,
        mapping: Mapping,
        schedule: Schedule,
        journal: Journal,
        begin: Begin,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._mapping = mapping
        self._schedule = schedule
        self._journal = journal
        self._begin = begin
        self._draw = draw
        self._spread = 0.0
        self._servers: dict[int, ServerState] = {}
        self._backends: dict[int, BackendState] = {}
        self._unwritten: set[int] = set()

    def server(self, oid: int) -> ServerState | None:
        """Return what is known of a server; None if it has no state."""
        return self._servers.get(oid)

    def backend(self, oid: int) -> BackendState | None:
        """Return what is known of a backend."""
        return self._backends.get(oid)

    def time(self) -> float:
        """Return the clock that states tell times by."""
        return self._schedule.time()

    def close(self) -> None:
        """End every check."""
        for server in self._servers.values():
            server.rest()
        self._servers.clear()

    # ---- generations ---------------------------------------------------------------------------------------

    def prepare(self, generation: Generation) -> None:
        """Before it is in force: see that new servers which begin as down get nothing."""
        for backend in generation.part.backends:
            for server in backend.servers:
                oid = generation.oid(server.object)
                known = self._servers.get(oid)
                if known is None:
                    check = server.check
                    is_ill = check is not None and first_health(check) < check.rise
                    if is_ill or server.is_disabled:
                        self._write(oid, False)
                elif known.configured_weight == server.weight != known.weight_in_force:
                    self._weigh(oid, known.weight_in_force)

    def apply(self, generation: Generation) -> None:
        """Take it as the one in force."""
        part = generation.part
        now = self.time()
        self._spread = part.spread_percent / 100
        before, self._servers = self._servers, {}
        backends: dict[int, BackendState] = {}
        starting: list[ServerState] = []
        for given in part.backends:
            oid = generation.oid(given.object)
            backend = self._backends.get(oid) or BackendState(now)
            backend.was_up = backend.is_up or not backend.servers
            backends[oid] = backend
            backend.name = given.name
            backend.all_backups = given.all_backups
            backend.servers = [self._take(generation, each, backend, before, starting) for each in given.servers]
        self._follow_all(generation)
        for given in part.backends:
            backend = backends[generation.oid(given.object)]
            was_up = backend.was_up
            backend.active = sum(each.is_usable and not each.is_backup for each in backend.servers)
            backend.backups = sum(each.is_usable and each.is_backup for each in backend.servers)
            self._rescue(backend)
            self._note_backend(backend, was_up)
        self._backends = backends
        for gone in before.values():
            gone.rest()
        self._start(starting)

    def _take(
        self,
        generation: Generation,
        given: Server,
        backend: BackendState,
        before: dict[int, ServerState],
        starting: list[ServerState],
    ) -> ServerState:
        oid = generation.oid(given.object)
        server = before.pop(oid, None)
        is_new = server is None
        if server is None:
            server = ServerState(oid, backend, self.time())
        self._servers[oid] = server
        server.backend = backend
        server.name = given.name
        if is_new or server.configured_weight != given.weight:
            server.configured_weight = server.weight = given.weight
            if not is_new:
                self._put(server)  # the balance took over that it drained
        if is_new and given.is_disabled:
            server.admin = Admin.CONFIGURED_MAINT
            self._put(server)
        server.is_backup = given.is_backup
        if is_new or server.observation != given.observation:
            server.observation = given.observation
            self._mapping.observe(oid, given.observation.limit if given.observation else 0)
        check = given.check
        if not is_new and check == server.check:
            return server
        server.rest()
        server.is_check_paused = server.is_stopping = False
        was_checked, server.check = server.is_checked, check
        if check is None:
            # Nobody asks any more, so nobody could say that it is well again.
            server.tally = Tally(1, 1, 1)
            if given.track < 0:
                self._become(server, True, silently=True)
            return server
        server.tally = Tally(check.rise, check.fall, first_health(check))
        if is_new:
            self._become(server, server.tally.is_up, silently=True)
        elif not server.is_up:
            server.tally.health = 0
        elif was_checked or check.is_reserve:
            server.tally.health = server.tally.most
        else:
            server.tally.health = check.rise  # it serves, and nobody has asked it yet
        if (not check.is_reserve or not server.is_up) and not server.admin.is_maint:
            starting.append(server)
        return server

    def _follow_all(self, generation: Generation) -> None:
        """Have those that track another server be what it is; chains end, the compiler has seen to that."""
        by_object = {
            given.object: (self._servers[generation.oid(given.object)], given)
            for backend in generation.part.backends
            for given in backend.servers
        }
        for server, _ in by_object.values():
            server.trackers = []
        for server, given in by_object.values():
            server.tracked = by_object[given.track][0] if given.track >= 0 else None
            if server.tracked is not None:
                server.tracked.trackers.append(server)
            elif server.admin & INHERITED:
                server.admin &= ~INHERITED
                self._put(server)
        for server, _ in by_object.values():
            if server.tracked is None:
                self._have_follow(server)

    def _have_follow(self, server: ServerState) -> None:
        for each in server.trackers:
            each.admin = each.admin & FORCED | inherited(server.admin)
            each.is_stopping = server.is_stopping
            if each.is_up != server.is_up:
                self._become(each, server.is_up, silently=True)
            self._put(each)
            self._have_follow(each)

    def _start(self, servers: list[ServerState]) -> None:
        """Begin checks, as far apart from each other as their intervals allow."""
        for index, server in enumerate(servers):
            assert server.check is not None
            self._due(server, server.check.every_ms * index / len(servers))

    # ---- checks --------------------------------------------------------------------------------------------

    def _due(self, server: ServerState, ms: float) -> None:
        if not self._is_asking(server):
            return
        if server.next is not None:
            server.next.cancel()
        server.next = self._schedule.after(ms / 1000, lambda: self._ask(server))

    def _ask(self, server: ServerState) -> None:
        assert server.check is not None
        server.next = None
        if server.probe is not None:
            return  # brought forward while one is on its way: that one counts
        found: list[Finding] = []
        probe = self._begin(server.check, lambda finding: self._asked(server, finding, found))
        if not found:
            server.probe = probe

    def _asked(self, server: ServerState, finding: Finding, found: list[Finding]) -> None:
        found.append(finding)
        server.probe = None
        self._judge(server, finding)
        check = server.check
        if check is not None and (not check.is_reserve or not server.is_up):
            interval = server.interval_ms()
            self._due(server, interval * (1 + self._spread * (2 * self._draw() - 1)))

    def _is_asking(self, server: ServerState) -> bool:
        return not server.admin.is_maint and not server.is_check_paused

    def _judge(self, server: ServerState, finding: Finding) -> None:
        server.finding = finding
        result = Result.UNKNOWN if finding.is_ours else finding.status.result
        if result is Result.FAILED:
            server.failed_checks += server.tally.failed()
            if server.is_up and server.tally.health == 0:
                self._become(server, False)
        elif result in (Result.PASSED, Result.CONDITIONAL):
            server.tally.passed()
            wants_none = result is Result.CONDITIONAL
            if not server.is_up and server.tally.is_up and not wants_none:
                self._become(server, True)
            elif server.is_up and server.is_stopping != wants_none:
                self._stop(server, wants_none, wording.reason(finding))

    # ---- observation ---------------------------------------------------------------------------------------

    def notice(self) -> None:
        """Look at what workers have noticed."""
        for oid in self._mapping.suspects():
            server = self._servers.get(oid)
            if server is not None and server.observation is not None and server.is_up:
                self._suspect(server, server.observation)

    def _suspect(self, server: ServerState, observation: Observation) -> None:
        failures = self._mapping.failures(server.oid)
        if failures < observation.limit:
            return  # a connection was made meanwhile
        check, tally, backend = server.check, server.tally, server.backend
        assert check is not None
        if check.is_reserve and server.is_usable and backend.active + backend.backups == 1:
            return  # the last one: nobody would be better off
        self._mapping.observe(server.oid, observation.limit)
        server.failed_observations += 1
        reaction = observation.on_error
        if reaction == "sudden-death" and tally.health > tally.rise:
            tally.health = tally.rise + 1
        elif reaction == "mark-down":
            tally.health = tally.rise
        if reaction != "fastinter":
            self._judge(server, Finding(Status.HANA, wording.observed(failures)))
        if check.is_reserve:
            self._due(server, check.every_ms)
        elif check.fast_every_ms < check.every_ms and server.probe is None:
            self._hasten(server, check.fast_every_ms)

    def _hasten(self, server: ServerState, ms: int) -> None:
        if server.next is None or server.next.when > self.time() + ms / 1000:
            self._due(server, ms)

    # ---- up and down ---------------------------------------------------------------------------------------

    def _become(self, server: ServerState, is_up: bool, silently: bool = False, why: str = "", via: str = "") -> None:
        """Take it up or down; `why` is said of it, what was found if that is empty."""
        if server.is_up == is_up:
            return
        backend = server.backend
        was_usable, was_backend_up, was_serving = server.is_usable, backend.is_up, server.is_serving
        server.is_up = is_up
        server.is_stopping = False
        if not is_up and not silently:
            server.downs += 1
        self._note_change(server, was_serving)
        self._put(server)
        if silently:
            return  # whoever calls counts the backend's servers anew
        backend.count(server, server.is_usable - was_usable)
        self._mapping.observe(server.oid, server.observation.limit if server.observation else 0)
        left = self._left(server)
        line = f"{server.label} is {'UP' if is_up else 'DOWN'}{via or why or wording.reason(server.finding)}"
        if is_up:
            self._journal.note(line + left.online())
        else:
            self._journal.warn(line + left.left())
        for each in server.trackers:
            self._become(each, is_up, via=f" via {server.backend.name}/{server.name}")
        if not is_up:
            self._rescue(backend)
        self._note_backend(backend, was_backend_up)

    def _stop(self, server: ServerState, is_stopping: bool, why: str) -> None:
        """Have it take no new users, or take them again."""
        backend = server.backend
        was_usable, was_backend_up = server.is_usable, backend.is_up
        server.is_stopping = is_stopping
        self._put(server)
        backend.count(server, server.is_usable - was_usable)
        word = "stopping" if is_stopping else "UP"
        self._journal.note(f"{server.label} is {word}{why}{self._left(server).online()}")
        for each in server.trackers:
            self._stop(each, is_stopping, f" via {server.backend.name}/{server.name}")
        self._note_backend(backend, was_backend_up)

    def _note_change(self, server: ServerState, was_serving: bool) -> None:
        now = self.time()
        if not was_serving:
            server.down_s += now - server.changed
        server.changed = now

    def _left(self, server: ServerState) -> wording.Left:
        sessions = max(0, self._mapping.counters(server.oid)["cur"])
        return wording.Left(server.backend.active, server.backend.backups, sessions)

    # ---- what people say -----------------------------------------------------------------------------------

    def administer(self, server: ServerState, wanted: Admin) -> None:
        """Put a server into maintenance, let it drain, or have it be ready."""
        self._administer(server, server.admin & INHERITED | wanted, "")

    def _administer(self, server: ServerState, admin: Admin, via: str) -> None:
        before, backend = server.admin, server.backend
        if admin == before:
            return
        was_usable, was_backend_up, was_serving = server.is_usable, backend.is_up, server.is_serving
        server.admin = admin
        if admin.is_maint and not before.is_maint:
            server.rest()
        elif before.is_maint and not admin.is_maint:
            self._come_back(server)
        if server.is_serving != was_serving:
            self._note_change(server, was_serving)
        self._put(server)
        backend.count(server, server.is_usable - was_usable)
        self._say(server, before, was_serving, via)
        for each in server.trackers:
            self._administer(each, each.admin & FORCED | inherited(admin), f" via {server.backend.name}/{server.name}")
        self._note_backend(backend, was_backend_up)

    def _come_back(self, server: ServerState) -> None:
        """Leave maintenance: well until its check says otherwise, or what it tracks is."""
        server.is_stopping = False
        if server.tracked is not None:
            server.is_up = server.tracked.is_up
            return
        server.is_up = True
        if server.check is not None:
            server.tally.health = server.tally.most if server.check.is_reserve else server.check.rise
            if not server.check.is_reserve and not server.is_check_paused:
                self._due(server, 0)

    def _say(self, server: ServerState, before: Admin, was_serving: bool, via: str) -> None:
        admin, note = server.admin, self._journal.note
        if admin.is_maint and not before.is_maint:
            if was_serving:
                self._journal.warn(f"{server.label} is going DOWN for maintenance{via}{self._left(server).left()}")
            else:
                self._journal.warn(f"{server.label} was DOWN and now enters maintenance{via}.")
            return
        word = "UP" if server.is_up else "DOWN"
        if before.is_maint and not admin.is_maint:
            forced = "" if before & Admin.INHERITED_MAINT else "forced "
            note(f"{server.label} is {word}/{'DRAIN' if admin.is_drain else 'READY'} (leaving {forced}maintenance).")
        elif admin.is_drain and not before.is_drain:
            note(f"{server.label} enters drain state{via}{self._left(server).online()}")
        elif before.is_drain and not admin.is_drain:
            note(f"{server.label} is {word} (leaving forced drain).")

    def set_weight(self, server: ServerState, weight: int) -> bool:
        """Give a server another weight; False if its balance knows only the configured one and none."""
        backend = server.backend
        was_usable, was_backend_up, before = server.is_usable, backend.is_up, server.weight
        server.weight = weight
        if not self._weigh(server.oid, weight):
            server.weight = before
            return False
        self._weigh(server.oid, server.weight_in_force)
        backend.count(server, server.is_usable - was_usable)
        self._note_backend(backend, was_backend_up)
        return True

    def set_health(self, server: ServerState, health: Health) -> None:
        """Have a server be up or down as if its check had found that; the next one may find otherwise."""
        said = ", changed from CLI"
        tally = server.tally
        if health == "down":
            tally.health = 0
            self._become(server, False, why=said)
            return
        tally.health = tally.most
        if not server.is_up:
            self._become(server, True, why=said)
        if server.is_stopping != (health == "stopping"):
            self._stop(server, health == "stopping", said)

    def pause_check(self, server: ServerState, is_paused: bool) -> None:
        """Ask it no more, or again; it stays what it is."""
        if server.is_check_paused == is_paused:
            return
        server.is_check_paused = is_paused
        if is_paused:
            server.rest()
        elif not server.admin.is_maint:
            self._due(server, 0)

    def _rescue(self, backend: BackendState) -> None:
        """Take back those that only traffic spoke against, where nobody else is left."""
        if backend.is_up:
            return
        for server in backend.servers:
            if server.check is not None and server.check.is_reserve and not server.is_up and not server.admin.is_maint:
                server.rest()
                server.tally.health = server.tally.most
                server.finding = Finding(Status.INI)
                now = self.time()
                server.is_up = True
                server.down_s += now - server.changed
                server.changed = now
                self._write(server.oid, True)
                backend.count(server, int(server.is_usable))
                self._journal.note(
                    f"Server {backend.name}/{server.name} is UP: backend {backend.name} has no other server left"
                )

    def _note_backend(self, backend: BackendState, was_up: bool) -> None:
        if backend.is_up == was_up:
            return
        now = self.time()
        if was_up:
            backend.downs += 1
            self._journal.error(wording.no_server(backend.name))
        else:
            backend.down_s += now - backend.changed
        backend.changed = now

    def _put(self, server: ServerState) -> None:
        """Have every balance know what a server is now."""
        self._write(server.oid, server.is_serving)
        self._weigh(server.oid, server.weight_in_force)

    def _weigh(self, oid: int, weight: int) -> bool:
        try:
            return self._mapping.set_weight(oid, weight)
        except MemoryError:
            self._try_again(oid)
            return True

    def _write(self, oid: int, is_usable: bool) -> None:
        """Have every balance know. Without memory it is tried again: the state itself is right already."""
        try:
            self._mapping.set_usable(oid, is_usable)
        except MemoryError:
            self._try_again(oid)
        else:
            self._unwritten.discard(oid)

    def _try_again(self, oid: int) -> None:
        if oid not in self._unwritten:
            self._unwritten.add(oid)
            self._journal.error("no memory to change a balance; it is tried again")
        self._schedule.after(RETRY_S, lambda: self._write_again(oid))

    def _write_again(self, oid: int) -> None:
        server = self._servers.get(oid)
        self._unwritten.discard(oid)
        if server is not None:
            self._put(server)
