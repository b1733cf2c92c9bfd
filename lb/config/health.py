"""Checks and observation: what is wrong with them, what they are in full, and what the supervisor gets of them."""

from collections.abc import Iterator

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from lb.config.diagnostic import Finding, Path, line_text
from lb.config.part import Check as CheckPart
from lb.config.part import Observation
from lb.model import Backend, Check, Server
from lb.model.address import Address, AddressError, Family, parse_host_address, parse_server
from lb.model.naming import check_of
from lb.model.units import duration_ms

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
    if server.check is UNSET:
        return inherited
    own = check_of(server.check)
    if own is None or inherited is None:
        return own
    return replace(inherited, **{word: value for word, value in asdict(own).items() if value is not UNSET})


def complete(check: Check) -> Check:
    """Return a check that says everything but what stands elsewhere: the server's address, `timeouts.check`."""
    return replace(
        check,
        type="tcp" if check.type is UNSET else check.type,
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
    is_checked = check is not None
    limit = backend.error_limit if server.error_limit is UNSET else server.error_limit
    reaction = backend.on_error if server.on_error is UNSET else server.on_error
    layer = backend.observe if server.observe is UNSET else server.observe
    return replace(
        server,
        check=False if check is None else complete(check),
        observe=("none" if is_checked else "layer4") if layer is UNSET else layer,
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
        is_reserve=is_reserve,
    )


def _ms(text: str | UnsetType) -> int:
    return 0 if text is UNSET else duration_ms(text)
