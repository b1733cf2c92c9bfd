"""The logs of a configuration: targets with their numbers, and what each frontend writes to which."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from msgspec import UNSET

from lb.config.captures import slots_of
from lb.config.logformat import Op, Program, json_program, program
from lb.config.part import Log
from lb.config.sampling import parse_sample
from lb.language.expression import Expression, Names
from lb.model import Backend, Configuration, Frontend
from lb.model import Log as LogModel
from lb.model.address import parse_journald, parse_syslog
from lb.model.frontend import FrontendLog
from lb.model.process import ErrorLog, Facility, Severity

# Numbers of plan.pxd.
LOG_HAPROXY, LOG_JSON, LOG_PROGRAM = 1, 2, 3
LOG_SKIP_NORMAL = 1 << 0
LOG_SKIP_ERRORS = 1 << 1
LOG_NUMBERED = 1 << 2
LOG_LOOKS = 1 << 3
LOGS_NO_NORMAL = 1 << 0
LOGS_NO_NULL = 1 << 1
LOGS_SEPARATE = 1 << 2
LOGS_ENDS = 1 << 3
LOG_ERROR = 3
TARGETS_MAX = 128


class LogRow(NamedTuple):
    """One plan_log_t: a line of one sort for one target."""

    target: int
    format: int
    flags: int = 0
    error_level: int = LOG_ERROR
    ops: tuple[Op, ...] = ()
    room: int = 0
    sample_size: int = 0
    sample: bytes = b""
    least: int = 7  # of severities that rules set: what the target takes
    gravest: int = 0


class FrontendLogs(NamedTuple):
    """What a frontend writes."""

    flags: int  # LOGS_*
    at: int  # of its first row
    rows: int


class Logs:
    """Gathers targets and rows, frontend by frontend; equal ones are kept once."""

    def __init__(self, configuration: Configuration, names: Names, number: Callable[[Expression], int]) -> None:
        """Begin; `number` takes an expression up into the plan and returns its number."""
        self._names = names
        self._number_of = number
        self.targets: list[Log] = []
        self.rows: list[LogRow] = []
        self.errors = tuple(_error_target(each) for each in error_logs(configuration))
        self._known: dict[tuple[LogRow, ...], int] = {}
        self._models = configuration.global_.log
        self._is_set = any(map(sets_severity, configuration.backends.values()))
        self._global = [self._number(each) for each in self._models]

    def _number(self, log: LogModel) -> int:
        self.targets.append(target_of(log))
        return len(self.targets) - 1

    def frontend(self, frontend: Frontend) -> FrontendLogs:
        """Give a frontend its rows."""
        said = frontend.log
        if said is False:
            return FrontendLogs(0, 0, 0)
        given = own_targets(frontend)
        models = self._models if given is None else given
        numbers = self._global if given is None else [self._number(each) for each in given]
        options = said if isinstance(said, FrontendLog) else FrontendLog()
        flags = 0 if options.normal else LOGS_NO_NORMAL
        flags |= 0 if options.null else LOGS_NO_NULL
        flags |= LOGS_SEPARATE if options.separate_errors else 0
        rows = []
        for number, log in zip(numbers, models, strict=True):
            made = _program(log, frontend, self._names)
            flags |= LOGS_ENDS if made is not None and made.wants_ends else 0
            row = _row(number, log, made, options.separate_errors, self._is_set or sets_severity(frontend))
            if row is not None and made is not None and made.looks:
                row = row._replace(ops=made.numbered(self._number_of), flags=row.flags | LOG_LOOKS)
            if row is not None:
                rows.append(row)
        key = tuple(rows)
        at = self._known.get(key)
        if at is None:
            at = self._known[key] = len(self.rows)
            self.rows += rows
        return FrontendLogs(flags, at, len(rows))


def sets_severity(proxy: Frontend | Backend) -> bool:
    """Return whether a rule sets the severity of records."""
    return any(each.set_log_level is not UNSET for each in (*proxy.rules, *proxy.response_rules))


def own_targets(frontend: Frontend) -> tuple[LogModel, ...] | None:
    """Return the targets of a frontend that has its own."""
    said = frontend.log
    if isinstance(said, FrontendLog):
        return None if said.targets is UNSET else said.targets
    return None if isinstance(said, bool) else said


def error_logs(configuration: Configuration) -> tuple[ErrorLog, ...]:
    """Return the long forms of the targets of lb's own lines."""
    given = configuration.global_.error_log
    return tuple(
        ErrorLog(to=each) if isinstance(each, str) else each for each in (("stderr",) if given is UNSET else given)
    )


def _program(log: LogModel, frontend: Frontend, names: Names) -> Program | None:
    slots = slots_of(frontend)
    if log.fields is not UNSET:
        return json_program(log.fields, names, slots)
    if log.log_format is not UNSET:
        return program(log.log_format, names, slots)
    if log.format == "haproxy" and frontend.log_format is not UNSET:
        return program(frontend.log_format, names, slots)
    if log.format == "haproxy" and frontend.mode == "http" and slots != (0, 0):
        return program("http", names, slots)
    return None


def _row(number: int, log: LogModel, made: Program | None, separate: bool, is_set: bool) -> LogRow | None:
    """Return what a frontend writes to a target; None when no record of it has the severity, and no rule sets one (`is_set`)."""
    flags = LOG_NUMBERED if made is not None and made.wants_id else 0
    normal = severity(log.severity, "info")
    grave = max(LOG_ERROR, severity(log.min_level, "emerg")) if separate else normal
    least = severity(log.level, "debug")
    flags |= LOG_SKIP_NORMAL if normal > least else 0
    flags |= LOG_SKIP_ERRORS if (LOG_ERROR if separate else normal) > least else 0
    if flags & LOG_SKIP_NORMAL and flags & LOG_SKIP_ERRORS and not is_set:
        return None
    size, bits = (0, b"") if log.sample is UNSET else parse_sample(log.sample)
    if made is None:
        form = LOG_JSON if log.format == "json" and log.log_format is UNSET else LOG_HAPROXY
        return LogRow(number, form, flags, grave, (), 0, size, bits, least, severity(log.min_level, "emerg"))
    ops, room = () if made.looks else made.numbered(lambda _: 0), made.room
    return LogRow(number, LOG_PROGRAM, flags, grave, ops, room, size, bits, least, severity(log.min_level, "emerg"))


def severity(given: object, otherwise: str) -> int:
    """Return the number of a severity: 0 is the gravest."""
    return get_args(Severity).index(otherwise if given is UNSET else given)


def target_of(log: LogModel) -> Log:
    """Return a target of records as the supervisor knows it."""
    level = max(severity(log.severity, "info"), severity(log.min_level, "emerg"))
    return _target(log, "local0", level)


def _error_target(log: ErrorLog) -> Log:
    made = _target(log, "daemon", severity(UNSET, "notice"))
    return Log(made.to, made.syslog, made.priority, made.tag, severity(log.level, "debug"))


def _target(log: LogModel | ErrorLog, facility: str, level: int) -> Log:
    tag = "lb" if log.tag is UNSET else log.tag
    given = facility if log.facility is UNSET else log.facility
    priority = 8 * get_args(Facility).index(given) + level
    journal = parse_journald(log.to)
    if journal is not None:
        return Log(f"journald:{journal}", "journald", priority, tag)
    found = parse_syslog(log.to)
    if found is None:
        return Log(log.to)
    transport, address = found
    otherwise: Literal["local", "rfc3164"] = "local" if transport == "unix" else "rfc3164"
    syslog = otherwise if log.syslog is UNSET else log.syslog
    return Log(f"{transport}:{address.path or address}", syslog, priority, tag)
