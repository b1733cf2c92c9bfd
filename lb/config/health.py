"""Checks and observation: what is wrong with them, what they are in full, and what the supervisor gets of them."""

import re
from collections.abc import Iterator, Mapping

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.part import Check as CheckPart
from lb.config.part import HttpCheck, Observation
from lb.config.part import Step as StepPart
from lb.config.suggestion import nearest
from lb.language.error import LanguageError
from lb.language.regex import check_regex
from lb.model import Backend, Check, Server, Step
from lb.model.address import Address, AddressError, Family, parse_host_address, parse_server
from lb.model.check import Layer
from lb.model.hashkey import TOKEN
from lb.model.naming import check_of, server_name, server_of
from lb.model.units import duration_ms

HTTP_WORDS = ("http", "host", "headers", "body", "status", "header", "string", "regex", "disable_on_404")
"""Keys that only checks of type http have."""

# Sent and compared by the check itself.
OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection")

_REQUEST = re.compile(r"(?:([A-Z]{1,20}) )?(/[!-~]{0,2000})")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")

STEP_KINDS = {
    "send": "send",
    "send_binary": "send",
    "expect": "string",
    "expect_binary": "binary",
    "expect_regex": "regex",
}

CHECK_TIMES = ("every", "fast_every", "down_every", "timeout")

ERROR_LIMIT, ERROR_LIMIT_CHECKED = 3, 10
"""Failed connections in a row: a server without a check has nobody else to find it out; the other number is HAProxy's."""

RESERVE = Check(type="tcp", every="2s", rise=2, fall=3, init_state="up")
"""What brings back a server that has no check of its own and that traffic took out."""


# ---- what is wrong ----


def faults_of_check(path: Path, subject: str, check: Check) -> Iterator[Finding]:
    """Look at a check where it is written: in the section at `path`."""
    if check.address is not UNSET:
        try:
            parse_host_address(check.address)
        except AddressError as error:
            message = f"'check.address': '{line_text(check.address)}' {error}"
            yield Finding((*path, "check", "address"), subject, message)
    if check.http is not UNSET and _REQUEST.fullmatch(check.http) is None:
        message = f"'check.http': '{line_text(check.http)}' is no request"
        yield Finding((*path, "check", "http"), subject, message, "write 'GET /path', or '/path'")
    if check.status is not UNSET and not statuses(check.status):
        message = f"'check.status': '{line_text(str(check.status))}' is no list of statuses"
        yield Finding((*path, "check", "status"), subject, message, "write statuses and ranges, such as '200,300-399'")
    if check.host is not UNSET and _is_bad_value(check.host):
        yield Finding((*path, "check", "host"), subject, f"'check.host': '{line_text(check.host)}' is no host")
    for word, fields in (("headers", check.headers), ("header", check.header)):
        for name, value in {} if fields is UNSET else fields.items():
            at, shown = (*path, "check", word, name), line_text(name)
            if TOKEN.fullmatch(name) is None:
                yield Finding(at, subject, f"'check.{word}': '{shown}' cannot be the name of a header")
            elif word == "headers" and name.lower() in OWN_HEADERS:
                hint = "write 'host'" if name.lower() == "host" else "remove it"
                yield Finding(at, subject, f"'check.headers': '{shown}' is written by the check itself", hint)
            if _is_bad_value(value):
                yield Finding(
                    at, subject, f"'check.{word}.{shown}': '{line_text(value)}' cannot be the value of a header"
                )
    if check.regex is not UNSET:
        try:
            check_regex(check.regex, 0)
        except LanguageError as error:
            yield Finding((*path, "check", "regex"), subject, f"'check.regex': {error}", error.hint)


def faults_of_steps(path: Path, subject: str, check: Check) -> Iterator[Finding]:
    """Look at the steps of a check where they are written."""
    if check.steps is UNSET:
        return
    if not check.steps:
        yield Finding((*path, "check", "steps"), subject, "'check.steps' is empty", "remove it")
    for index, step in enumerate(check.steps):
        at = (*path, "check", "steps", index)
        given = {word: value for word, value in asdict(step).items() if value is not UNSET}
        if len(given) != 1:
            hint = "write one of " + ", ".join(STEP_KINDS)
            yield Finding(at, subject, f"step {index + 1} of 'check.steps' has {len(given)} keys", hint)
            continue
        ((word, text),) = given.items()
        shown = f"'check.steps.{word}': '{line_text(text)}'"
        if word.endswith("binary"):
            try:
                bytes.fromhex(text)
            except ValueError:
                yield Finding(
                    (*at, word), subject, f"{shown} is not hexadecimal", "write pairs of digits, such as 0d0a"
                )
        elif word == "expect_regex":
            try:
                check_regex(text, 0)
            except LanguageError as error:
                yield Finding((*at, word), subject, f"'check.steps.{word}': {error}", error.hint)


def tracked_name(backend: str, server: Server) -> str:
    """Return whom a server tracks, as `backend/server`; nothing if nobody."""
    if server.track is UNSET:
        return ""
    return server.track if "/" in server.track else f"{backend}/{server.track}"


def faults_of_tracking(backends: Mapping[str, Backend]) -> Iterator[Finding]:
    """Look at who tracks whom: each must exist, and chains must end at one that tracks nobody."""
    tracks: dict[str, str] = {}
    places: dict[str, tuple[Path, str]] = {}
    for name, backend in backends.items():
        for index, given in enumerate(backend.servers):
            server = server_of(given)
            try:
                own = f"{name}/{server_name(server, parse_server(server.address))}"
            except AddressError:
                continue  # told where it stands
            places[own] = ("backends", name, "servers", index, "track"), f"server '{own}'"
            tracks[own] = tracked_name(name, server)
            if server.track is not UNSET:
                for word in ("check", "observe"):
                    if getattr(server, word) not in (UNSET, False, "none"):
                        at = (*places[own][0][:-1], word)
                        yield Finding(at, places[own][1], f"'{word}' and 'track' exclude each other", "remove one")
    for own, tracked in tracks.items():
        if not tracked:
            continue
        at, subject = places[own]
        if tracked not in tracks:
            near = nearest(tracked, tracks)
            hint = f"did you mean '{near}'?" if near else "write 'backend/server'"
            yield Finding(at, subject, f"'track': there is no server '{line_text(tracked)}'", hint)
            continue
        seen, end = {own}, tracked
        while end and end not in seen:
            seen.add(end)
            end = tracks.get(end, "")
        if end:
            yield Finding(at, subject, "'track': servers track each other in a circle")


def _is_bad_value(text: str) -> bool:
    return text != text.strip() or not text.isascii() or (text != "" and not text.isprintable())


def statuses(given: int | str) -> list[tuple[int, int]]:
    """Return ranges of statuses; nothing if it is no list of them."""
    found = []
    for each in str(given).split(","):
        part = _RANGE.fullmatch(each.strip())
        if part is None or int(part[2] or part[1]) < int(part[1]):
            return []
        found.append((int(part[1]), int(part[2] or part[1])))
    return found


def stray_words(path: Path, subject: str, check: Check) -> Iterator[Finding]:
    """Tell keys of http in a check that is none; `check` is complete but for what stands elsewhere."""
    if kind_of(check) == "http":
        if check.steps is not UNSET:
            at = (*path, "check", "steps")
            yield Finding(at, subject, "'check.steps' needs a check of type tcp", "remove it, or 'http'", at_key=True)
        return
    for word in HTTP_WORDS:
        if getattr(check, word) is not UNSET:
            at = (*path, "check", word)
            yield Finding(
                at, subject, f"'check.{word}' needs a check of type http", "add 'http: GET /path'", at_key=True
            )


def kind_of(check: Check) -> str:
    """Return the type of a check."""
    if check.type is not UNSET:
        return check.type
    return "tcp" if check.http is UNSET else "http"


def faults_of_server(path: Path, subject: str, server: Server, backend: Backend) -> Iterator[Finding]:
    """Look at the check and the observation of a server together with what it has from its backend."""
    check = server_check(server, backend)
    if check is None:
        own = server.on_error is not UNSET
        reaction = server.on_error if own else backend.on_error
        if reaction not in (UNSET, "mark-down") and (own or backend.check is False):
            at = (*path, "on_error") if own else (*path[:2], "on_error")
            message = f"'on_error: {reaction}' needs a check"
            yield Finding(at, subject, message, "write 'check: true', or 'on_error: mark-down'")
        return
    at = (*path, "check") if isinstance(server.check, Check) else (*path[:2], "check")
    if isinstance(server.check, Check):
        yield from stray_words(path, subject, replace(server.check, type=kind_of(check)))
    try:
        is_unix = parse_server(server.address).family is Family.UNIX
        if check.address is not UNSET:
            to_unix = parse_host_address(check.address).family is Family.UNIX
            if is_unix and not to_unix and check.port is UNSET:
                yield Finding(at, subject, "'check.address' has no port, and the server has none either", "add 'port'")
            is_unix = to_unix
    except AddressError:
        return  # told where it stands
    if is_unix and check.port is not UNSET:
        yield Finding(at, subject, "'check.port' has no meaning for a unix socket", "remove it, or add 'address'")


# ---- in full ----


def server_check(server: Server, backend: Backend) -> Check | None:
    """Return the check of a server, what it says itself over what its backend says; None if it has none."""
    inherited = check_of(backend.check)
    if server.track is not UNSET:
        return None
    if server.check is UNSET:
        return inherited
    own = check_of(server.check)
    if own is None or inherited is None:
        return own
    if own.http is not UNSET and own.type is UNSET:
        own = replace(own, type="http")
    return replace(inherited, **{word: value for word, value in asdict(own).items() if value is not UNSET})


def complete(check: Check) -> Check:
    """Return a check that says everything but what stands elsewhere: the server's address, `timeouts.check`."""
    if kind_of(check) == "http":
        check = replace(
            check,
            type="http",
            http="GET /" if check.http is UNSET else check.http,
            status="200-399" if check.status is UNSET else check.status,
            steps=UNSET,
        )
    else:
        check = replace(check, type="tcp", **dict.fromkeys(HTTP_WORDS, UNSET))
    return replace(
        check,
        every="2s" if check.every is UNSET else check.every,
        rise=2 if check.rise is UNSET else check.rise,
        fall=3 if check.fall is UNSET else check.fall,
        init_state="up" if check.init_state is UNSET else check.init_state,
    )


def backend_check(backend: Backend) -> Check | bool:
    """Return the check of a backend in full, or False."""
    check = check_of(backend.check)
    return False if check is None else complete(check)


def server_health(server: Server, backend: Backend) -> Server:
    """Return a server that says everything of its health."""
    check = server_check(server, backend)
    is_checked, is_tracking = check is not None, server.track is not UNSET
    limit = backend.error_limit if server.error_limit is UNSET else server.error_limit
    reaction = backend.on_error if server.on_error is UNSET else server.on_error
    layer = backend.observe if server.observe is UNSET else server.observe
    # Of datagrams only a check can tell that a server is back.
    usual: Layer = "none" if is_checked or is_tracking or backend.mode == "udp" else "layer4"
    return replace(
        server,
        check=False if check is None else complete(check),
        observe=usual if layer is UNSET or is_tracking else layer,
        error_limit=(ERROR_LIMIT_CHECKED if is_checked else ERROR_LIMIT) if limit is UNSET else limit,
        # Without a check nothing else has a meaning.
        on_error="mark-down" if not is_checked else "fail-check" if reaction is UNSET else reaction,
    )


# ---- for the supervisor ----


def observation_part(server: Server) -> Observation | None:
    """Return what of a server's traffic counts; the server says everything."""
    if server.observe != "layer4":
        return None
    assert isinstance(server.error_limit, int)
    assert isinstance(server.on_error, str)
    return Observation(server.error_limit, server.on_error)


def check_part(server: Server, backend: Backend, address: Address) -> CheckPart | None:
    """Return the check of a server that is at this address; one in reserve if it has none but is observed."""
    is_reserve = not isinstance(server.check, Check)
    if is_reserve and server.observe != "layer4":
        return None
    check = server.check if isinstance(server.check, Check) else RESERVE
    assert isinstance(check.rise, int)
    assert isinstance(check.fall, int)
    assert isinstance(check.init_state, str)
    port = address.port if check.port is UNSET else check.port
    if check.address is not UNSET:
        address = parse_host_address(check.address)
    every_ms = _ms(check.every)
    timeout = backend.timeouts.check if check.timeout is UNSET else check.timeout
    return CheckPart(
        family=address.family.value,
        host=address.host,
        port=0 if address.family is Family.UNIX else port,
        path=address.path,
        every_ms=every_ms,
        fast_every_ms=_ms(check.fast_every) or every_ms,
        down_every_ms=_ms(check.down_every) or every_ms,
        timeout_ms=_ms(timeout) or every_ms,
        rise=check.rise,
        fall=check.fall,
        initial=check.init_state,
        http=_http_part(check, server) if kind_of(check) == "http" else None,
        steps=() if check.steps is UNSET else tuple(map(_step_part, check.steps)),
        is_reserve=is_reserve,
    )


def _step_part(step: Step) -> StepPart:
    ((word, text),) = ((word, text) for word, text in asdict(step).items() if text is not UNSET)
    return StepPart(STEP_KINDS[word], bytes.fromhex(text) if word.endswith("binary") else text.encode())


def _http_part(check: Check, server: Server) -> HttpCheck:
    assert isinstance(check.http, str)
    assert not isinstance(check.status, UnsetType)
    found = _REQUEST.fullmatch(check.http)
    assert found is not None
    # What the server is called where it is configured; a unix socket has no name that fits here.
    host = "localhost" if parse_server(server.address).family is Family.UNIX else server.address
    headers = [("Host", host if check.host is UNSET else check.host)]
    headers += [] if check.headers is UNSET else check.headers.items()
    expected = {} if check.header is UNSET else check.header
    return HttpCheck(
        method=found[1] or "GET",
        target=found[2],
        headers=tuple(headers),
        body="" if check.body is UNSET else check.body,
        statuses=tuple(statuses(check.status)),
        header=tuple((name.lower(), value) for name, value in expected.items()),
        string="" if check.string is UNSET else check.string,
        regex="" if check.regex is UNSET else check.regex,
        is_drained_by_404=check.disable_on_404 is True,
    )


def _ms(text: str | UnsetType) -> int:
    return 0 if text is UNSET else duration_ms(text)
