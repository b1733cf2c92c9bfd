"""What is wrong with the logs of a configuration whose shape is right."""

from collections.abc import Iterator

from msgspec import UNSET

from lb.config.captures import slots_of
from lb.config.diagnostic import Finding, Path, line_text
from lb.config.logformat import NAMED, FormatError, Program, json_program, program
from lb.config.logs import TARGETS_MAX, own_targets, severity
from lb.config.sampling import SampleError, parse_sample
from lb.config.suggestion import nearest
from lb.language.expression import Names
from lb.model import Configuration, Frontend, Log
from lb.model.address import AddressError, parse_journald, parse_syslog
from lb.model.frontend import FrontendLog
from lb.model.keywords import UNBUILT_WORDS
from lb.model.process import ErrorLog

_TARGETS = (
    "write stdout, stderr, the absolute path of a file, journald, 'udp:127.0.0.1:514', 'tcp:127.0.0.1:601' or "
    "'unix:/dev/log'"
)


def review_logs(configuration: Configuration, names: Names) -> Iterator[Finding]:
    """Yield what is wrong; `names` are those that expressions may have."""
    targets = 0
    process = configuration.global_
    for index, log in enumerate(process.log):
        targets += 1
        yield from _log(("global", "log", index), "global", log, names)
    if process.error_log is not UNSET:
        for index, each in enumerate(process.error_log):
            at: Path = ("global", "error_log", index)
            if isinstance(each, str):
                yield from _target(at, at, "global", ErrorLog(to=each))
            else:
                yield from _target(at, (*at, "to"), "global", each)
    for name, frontend in configuration.frontends.items():
        path: Path = ("frontends", name)
        own = own_targets(frontend)
        if own is not None:
            targets += len(own)
            inside = (*path, "log", "targets") if isinstance(frontend.log, FrontendLog) else (*path, "log")
            for index, log in enumerate(own):
                yield from _log((*inside, index), f"frontend '{name}'", log, names)
        yield from _frontend(path, f"frontend '{name}'", frontend, process.log if own is None else own, names)
    if targets > TARGETS_MAX:
        message = f"{targets} log targets are given; at most {TARGETS_MAX} are possible"
        yield Finding(("global", "log"), "global", message, "let frontends share targets")


def _frontend(path: Path, subject: str, frontend: Frontend, logs: tuple[Log, ...], names: Names) -> Iterator[Finding]:
    if frontend.log is False:
        if frontend.log_format is not UNSET:
            message = "'log_format' has no meaning with 'log: false'"
            yield Finding((*path, "log_format"), subject, message, "remove one of them", at_key=True)
        return
    if frontend.log_format is not UNSET:
        at = (*path, "log_format")
        try:
            made = program(_named(frontend.log_format), names, slots_of(frontend))
        except FormatError as error:
            yield Finding(at, subject, f"log_format '{line_text(frontend.log_format)}' {error}", error.hint)
        else:
            yield from _needs_http(at, subject, frontend, made, "take the variable out")
        if all(log.format == "json" and log.log_format is UNSET for log in logs):
            message = "'log_format' changes no record: every target of this frontend is written as JSON"
            yield Finding(at, subject, message, "write 'format: haproxy' at a target", at_key=True)
    if frontend.mode != "http":
        for log in logs:
            if log.log_format is UNSET:
                continue
            try:
                made = program(_named(log.log_format), names, slots_of(frontend))
            except FormatError:
                continue  # it is told where the target stands
            hint = "give it a 'log' of its own" if own_targets(frontend) is None else "take the variable out"
            yield from _needs_http((*path, "log"), subject, frontend, made, hint)


def _needs_http(path: Path, subject: str, frontend: Frontend, made: Program, hint: str) -> Iterator[Finding]:
    if frontend.mode == "udp" and made.looks:
        message = "is of mode udp, and its log format has an expression, which looks at a stream"
        yield Finding(path, subject, message, hint)
    elif frontend.mode != "http" and made.http_only:
        message = f"is of mode {frontend.mode}, and its log format has '%{made.http_only}', which needs mode http"
        yield Finding(path, subject, message, hint)


def _named(text: str) -> str:
    """Return a format; refuse what was meant as the name of one."""
    if "%" not in text and text not in NAMED:
        near = nearest(text, (*NAMED, "httplog", "tcplog")) or ""
        near = near.removesuffix("log")
        raise FormatError("has no variable", f"did you mean '{near}'?" if near else "write '%ci', or http, tcp, clf")
    return text


def _log(path: Path, subject: str, log: Log, names: Names) -> Iterator[Finding]:
    yield from _target(path, (*path, "to"), subject, log)
    if log.log_format is not UNSET:
        at = (*path, "log_format")
        if log.fields is not UNSET:
            yield Finding(at, subject, "'log.log_format' and 'log.fields' exclude each other", "keep one", at_key=True)
        try:
            program(_named(log.log_format), names)
        except FormatError as error:
            yield Finding(at, subject, f"log_format '{line_text(log.log_format)}' {error}", error.hint)
    if log.fields is not UNSET:
        at = (*path, "fields")
        if log.format != "json":
            yield Finding(at, subject, "'log.fields' needs 'format: json'", "remove it", at_key=True)
        if not log.fields:
            yield Finding(at, subject, "'log.fields' is empty", "write '[time, status, target]'")
        for index, field in enumerate(log.fields):
            if not isinstance(field, str) and len(field) != 1:
                message = f"'log.fields' has a mapping of {len(field)} keys"
                yield Finding((*at, index), subject, message, "write '{name: what}'")
        try:
            json_program(log.fields, names)
        except FormatError as error:
            yield Finding(at, subject, f"'log.fields' {error}", error.hint)
    if log.sample is not UNSET:
        try:
            parse_sample(log.sample)
        except SampleError as error:
            yield Finding((*path, "sample"), subject, f"'log.sample': '{line_text(log.sample)}' {error}")
    if min(severity(log.severity, "info"), 3) > severity(log.level, "debug"):
        message = f"log target '{line_text(log.to)}' gets no record: all are less grave than 'level: {log.level}'"
        yield Finding((*path, "level"), subject, message, "err lets failures pass, info all")


def _target(path: Path, at: Path, subject: str, log: Log | ErrorLog) -> Iterator[Finding]:
    to = log.to
    try:
        takes_messages = parse_journald(to) is not None
        takes_header = parse_syslog(to) is not None
    except AddressError as error:
        yield Finding(at, subject, f"log target '{line_text(to)}' {error}")
        return
    label = "error_log" if isinstance(log, ErrorLog) else "log"
    for word in ("syslog", "facility", "severity", "tag", "min_level"):
        if getattr(log, word, UNSET) is UNSET or takes_header or (takes_messages and word != "syslog"):
            continue
        # Severities of lines in a file are not shown, but they decide what passes `level`.
        if word == "severity" and getattr(log, "level", UNSET) is not UNSET:
            continue
        message = f"'{label}.{word}' is for syslog servers, not for '{line_text(to)}'"
        yield Finding((*path, word), subject, message, "remove it", at_key=True)
    if takes_messages or takes_header or to in ("stdout", "stderr"):
        return
    if to.startswith("/") and "\0" not in to and not to.endswith("/"):
        return
    scheme = to.partition("@")[0].partition(":")[0]
    if scheme in UNBUILT_WORDS["log target"]:
        yield Finding(
            at,
            subject,
            f"log target '{line_text(to)}' is known but not built yet",
            "built: stdout, stderr, the absolute path of a file, journald, udp:, tcp:, unix:",
        )
        return
    near = nearest(to, ("stdout", "stderr", "journald"))
    hint = f"did you mean '{near}'?" if near else _TARGETS
    if to == "syslog":
        hint = "write 'unix:/dev/log'"
    elif scheme in ("udp", "tcp", "unix"):
        hint = f"write '{scheme}:{line_text(to[len(scheme) + 1 :])}'"
    yield Finding(at, subject, f"unknown log target '{line_text(to)}'", hint)
