"""From the rate limits of the model to rows of the plan and to stick tables; every mistake a finding."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.part import TablePart
from lb.config.suggestion import nearest
from lb.config.tables import SIZE_MAX, TABLES_MAX
from lb.language.catalog import Needs, Type
from lb.language.error import LanguageError
from lb.language.expression import Expression, Names, parse
from lb.language.program import Program
from lb.model import Configuration, Limit
from lb.model.limit import LIMITS_MAX
from lb.model.units import DURATION_MAX_MS, UnitError, duration_ms, size_bytes

# Numbers of policy/limit.pxd and policy/table.pxd.
LIMIT_SHADOW = 1 << 0
LIMIT_STANDARD = 1 << 1
LIMIT_LEGACY = 1 << 2
KEY_SIZE = 64
TABLE_IPV6, TABLE_STRING = 2, 4
STORE_ARRIVAL, STORE_REFUSED = 24, 25

TABLE_PREFIX = "limit:"
COUNT_MAX = 1_000_000
PER_SECOND_MAX = 1_000_000

_RATE = re.compile(r"([0-9]{1,9})/([0-9]{0,9}(?:ms|s|m|h|d))")
# Workers look at their clocks once a step: an entry is kept a little longer than its key owes anything.
_LAG_MS = 1000

Report = Callable[[Finding], None]


class LimitRow(NamedTuple):
    """One plan_limit_t."""

    object: int
    name: bytes
    policy: bytes
    table: int  # index among all tables
    interval_ns: int
    burst: int
    quota: int
    window_s: int
    expr: int
    flags: int


class Rate(NamedTuple):
    """So many requests in a period."""

    requests: int
    period_ms: int

    @property
    def interval_ns(self) -> int:
        """Return what a request owes, never less than its share of the period."""
        return -(-self.period_ms * 1_000_000 // self.requests)

    @property
    def quota(self) -> tuple[int, int]:
        """Return requests and whole seconds for RateLimit-Policy, never more than the rate allows."""
        window_s = math.ceil(self.period_ms / 1000)
        return self.requests * window_s * 1000 // self.period_ms, window_s


class Compiled(NamedTuple):
    """A limit but for the numbers that its place among others gives it."""

    rate: Rate
    burst: int
    key: Expression
    table: TablePart
    flags: int

    def policy(self, name: str) -> bytes:
        """Return its member of RateLimit-Policy."""
        quota, window_s = self.rate.quota
        return f'"{name}";q={quota};w={window_s}'.encode()


def parse_rate(text: str) -> Rate:
    """Parse `100/1m` or `10/s`. Raise UnitError."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise UnitError("is not a rate; write requests, '/' and a period, such as '100/1m'")
    period = found[2] if found[2][0].isdigit() else f"1{found[2]}"
    rate = Rate(int(found[1]), duration_ms(period))
    if rate.requests == 0 or rate.period_ms == 0:
        raise UnitError("lets nothing pass; write numbers above 0, or a rule that denies")
    if rate.requests > COUNT_MAX:
        raise UnitError(f"counts {rate.requests} requests; at most {COUNT_MAX} are possible")
    if rate.requests * 1000 > PER_SECOND_MAX * rate.period_ms:
        raise UnitError(f"is above {PER_SECOND_MAX} requests a second")
    return rate


class LimitCompiler:
    """Compiles the limits of a configuration."""

    def __init__(self, configuration: Configuration, names: Names, report: Report) -> None:
        self.names = names
        self.numbers = {name: index for index, name in enumerate(configuration.limits)}
        self._report = report
        self.limits = [self._limit(name, each) for name, each in configuration.limits.items()]
        if len(configuration.tables) + len(configuration.limits) > TABLES_MAX:
            total = len(configuration.tables) + len(configuration.limits)
            report(
                Finding(("limits",), "configuration", f"{total} limits and tables; at most {TABLES_MAX} are possible")
            )
        self._uses(configuration)

    def tables(self) -> tuple[TablePart, ...]:
        """Return the stick tables that they need, in their order."""
        return tuple(each.table for each in self.limits)

    def rows(self, program: Program, objects: list[int], first_table: int) -> list[LimitRow]:
        """Return the rows of the plan; their keys are taken up into the program."""
        return [
            LimitRow(
                objects[index],
                name.encode(),
                each.policy(name),
                first_table + index,
                each.rate.interval_ns,
                each.burst,
                *each.rate.quota,
                program.expression(each.key),
                each.flags,
            )
            for index, (name, each) in enumerate(zip(self.numbers, self.limits, strict=True))
        ]

    def list_of(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the numbers of limits, each once."""
        return tuple(dict.fromkeys(self.numbers[name] for name in names))

    # What is wrong

    def _wrong(self, name: str, path: Path, message: str, hint: str = "") -> None:
        self._report(Finding(("limits", name, *path), f"limit '{name}'", message, hint))

    def _limit(self, name: str, limit: Limit) -> Compiled:
        rate = Rate(1, 1000)
        try:
            rate = parse_rate(limit.rate)
        except UnitError as error:
            self._wrong(name, ("rate",), f"'rate': '{line_text(limit.rate)}' {error}")
        burst = rate.requests if limit.burst is UNSET else limit.burst
        owed_ms = -(-burst * rate.interval_ns // 1_000_000)
        if owed_ms > DURATION_MAX_MS:
            days = DURATION_MAX_MS // 86_400_000
            self._wrong(name, ("burst",), f"a burst of {burst} comes back in more than {days} days")
            burst, owed_ms = 1, 1
        key = self._key(name, limit.by)
        is_address = key.type in (Type.ADDR, Type.IPV4, Type.IPV6)
        flags = LIMIT_SHADOW if limit.mode == "shadow" else 0
        flags |= 0 if limit.headers == "none" else LIMIT_STANDARD
        flags |= LIMIT_LEGACY if limit.headers == "legacy" else 0
        table = TablePart(
            f"{TABLE_PREFIX}{name}",
            TABLE_IPV6 if is_address else TABLE_STRING,
            0 if is_address else KEY_SIZE,
            self._size(name, limit),
            self._expire(name, limit, owed_ms),
            False,
            ((STORE_ARRIVAL, 1, 0), (STORE_REFUSED, 1, 0)),
        )
        return Compiled(rate, burst, key, table, flags)

    def _key(self, name: str, text: str) -> Expression:
        try:
            key = parse(text, self.names)
        except LanguageError as error:
            self._wrong(name, ("by",), f"'by': {error}", error.hint)
            return parse("src", self.names)
        if key.needs is Needs.RESPONSE:
            self._wrong(name, ("by",), "'by': looks at a response, and requests are limited before there is one")
        return key

    def _size(self, name: str, limit: Limit) -> int:
        try:
            size = limit.size if isinstance(limit.size, int) else size_bytes(limit.size)
        except UnitError:
            return 1  # which the shape has reported
        if not 1 <= size <= SIZE_MAX:
            self._wrong(name, ("size",), f"'size': {size} keys are not possible", f"from 1 to {SIZE_MAX} are")
            return 1
        return size

    def _expire(self, name: str, limit: Limit, owed_ms: int) -> int:
        if limit.expire is UNSET:
            return owed_ms + _LAG_MS
        try:
            ms = duration_ms(limit.expire)
        except UnitError as error:
            self._wrong(name, ("expire",), f"'expire': '{line_text(limit.expire)}' {error}")
            return owed_ms
        if ms < owed_ms:
            self._wrong(
                name,
                ("expire",),
                f"'expire': {limit.expire} is less than the {math.ceil(owed_ms / 1000)}s in which a burst comes back",
                "leave it out: who stays away for so long would get all requests at once",
            )
        return ms

    def _uses(self, configuration: Configuration) -> None:
        for name, frontend in configuration.frontends.items():
            path: Path = ("frontends", name, "limits")
            self._list(path, f"frontend '{name}'", frontend.limits)
            for index, route in enumerate(frontend.routes):
                path = ("frontends", name, "routes", index, "limits")
                self._list(path, f"frontend '{name}'", route.limits)
        for name, backend in configuration.backends.items():
            path = ("backends", name, "limits")
            self._list(path, f"backend '{name}'", backend.limits)

    def _list(self, path: Path, subject: str, names: tuple[str, ...]) -> None:
        if len(names) > LIMITS_MAX:
            self._report(Finding(path, subject, f"{len(names)} limits are named; at most {LIMITS_MAX} are possible"))
        for index, name in enumerate(names):
            if name not in self.numbers:
                near = nearest(name, self.numbers)
                hint = f"did you mean '{near}'?" if near else "define it under 'limits'"
                self._report(Finding((*path, index), subject, f"unknown limit '{line_text(name)}'", hint))


def users_of(configuration: Configuration, name: str) -> tuple[str, ...]:
    """Return who names a limit, in the order of the file."""
    found: list[str] = []
    for frontend, each in configuration.frontends.items():
        if name in each.limits:
            found.append(f"frontend '{frontend}'")
        for index, route in enumerate(each.routes):
            if name in route.limits:
                label = f"route {index + 1}" if route.name is UNSET else f"route '{route.name}'"
                found.append(f"{label} of frontend '{frontend}'")
    found += [f"backend '{backend}'" for backend, each in configuration.backends.items() if name in each.limits]
    return tuple(found)
