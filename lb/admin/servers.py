"""What the admin socket does with servers: their states and weights, in HAProxy's words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import cast

from lb.admin.process import Process
from lb.admin.statistics import FIRST_IID
from lb.checks.administrative import WORDS, Admin
from lb.checks.states import WEIGHT_MAX, Health, ServerState
from lb.checks.status import Result
from lb.supervisor.generation import Generation

NO_NAME = "Require 'backend/server'.\n"
NO_BACKEND = "No such backend.\n"
NO_SERVER = "No such server.\n"
STATE_VERSION = "1\n"
STATE_HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"
)

# Bits of srv_check_state.
_RUNNING, _CONFIGURED, _ENABLED, _PAUSED = 1, 2, 4, 8


def find(process: Process, name: str) -> tuple[ServerState | None, str]:
    """Return the server called `backend/server`, or what to answer instead."""
    backend_name, slash, server_name = name.partition("/")
    if not slash or not backend_name or not server_name:
        return None, NO_NAME
    generation = process.generation
    assert generation is not None
    for backend in generation.part.backends:
        if backend.name == backend_name:
            for server in backend.servers:
                if server.name == server_name:
                    return process.states.server(generation.oid(server.object)), ""
            return None, NO_SERVER
    return None, NO_BACKEND


def administer(process: Process, arguments: Sequence[str], wanted: Admin) -> str:
    """`enable server`, `disable server`."""
    server, refusal = find(process, arguments[0] if arguments else "")
    if server is None:
        return refusal
    process.states.administer(server, wanted)
    return ""


def pause_check(process: Process, arguments: Sequence[str], is_paused: bool) -> str:
    """`disable health`, `enable health`."""
    server, refusal = find(process, arguments[0] if arguments else "")
    if server is None:
        return refusal
    if not server.is_checked:
        return "" if is_paused else "Health check was not configured on this server, cannot enable.\n"
    process.states.pause_check(server, is_paused)
    return ""


def get_weight(process: Process, arguments: Sequence[str]) -> str:
    """`get weight`."""
    server, refusal = find(process, arguments[0] if arguments else "")
    return refusal if server is None else f"{server.weight} (initial {server.configured_weight})\n"


def set_weight(process: Process, arguments: Sequence[str]) -> str:
    """`set weight`."""
    server, refusal = find(process, arguments[0] if arguments else "")
    if server is None:
        return refusal
    return _weight(process, server, arguments[1] if len(arguments) > 1 else "")


def _weight(process: Process, server: ServerState, text: str) -> str:
    if not text:
        return "Require <weight> or <weight%>.\n"
    found = re.match(r"[+-]?[0-9]+", text)
    if found is None:
        return "Empty weight string empty or preceded by garbage"
    number, rest = int(found[0]), text[found.end() :]
    if rest not in ("", "%"):
        return "Trailing garbage in weight string"
    if rest:
        if number < 0:
            return "Relative weight must be positive.\n"
        number = min(WEIGHT_MAX, server.configured_weight * number // 100)
    elif not 0 <= number <= WEIGHT_MAX:
        return "Absolute weight can only be between 0 and 256 inclusive.\n"
    if not process.states.set_weight(server, number):
        return "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
    return ""


def set_server(process: Process, arguments: Sequence[str]) -> str:
    """`set server <backend>/<server> state|weight|health ...`."""
    server, refusal = find(process, arguments[0] if arguments else "")
    if server is None:
        return refusal
    word, *values = [*arguments[1:], ""]
    value = values[0] if values else ""
    if word == "weight":
        return _weight(process, server, value)
    if word == "state":
        if value not in WORDS:
            return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"
        process.states.administer(server, WORDS[value])
        return ""
    if word == "health":
        if server.tracked is not None:
            return "cannot change health on a tracking server.\n"
        if value not in ("up", "stopping", "down"):
            return "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n"
        process.states.set_health(server, cast("Health", value))
        return ""
    if word in ("addr", "agent", "agent-addr", "agent-port", "agent-send", "check-addr", "check-port", "fqdn", "ssl"):
        return f"'set server {word}' is not built; state, weight and health are.\n"
    return "usage: set server <backend>/<server> state | weight | health\n"


def states(process: Process, arguments: Sequence[str]) -> Iterator[str]:
    """Yield `show servers state [<backend>]`."""
    generation = process.generation
    assert generation is not None
    if arguments and arguments[0] not in [each.name for each in generation.part.backends]:
        yield "Can't find backend.\n"
        return
    yield STATE_VERSION + STATE_HEADER
    for iid, backend in enumerate(generation.part.backends, FIRST_IID + len(generation.part.frontends)):
        if arguments and arguments[0] != backend.name:
            continue
        for sid, given in enumerate(backend.servers, 1):
            server = process.states.server(generation.oid(given.object))
            if server is not None:
                yield f"{iid} {backend.name} {sid} " + _state(server, given.address, process.states.time())


def _state(server: ServerState, address: str, now: float) -> str:
    host, port = _host_and_port(address)
    operational = 0 if not server.is_serving else 3 if server.is_stopping else 2
    status = server.finding.status
    number, result, check = 1, Result.UNKNOWN, 0
    health = 2 if server.is_up and server.tracked is None else 0
    if server.is_checked:
        number, result, health = status.number, status.result, server.tally.health
        check = _CONFIGURED | (0 if server.is_check_paused else _ENABLED) | (_PAUSED if server.admin.is_maint else 0)
        check |= _RUNNING if server.is_running else 0
    if server.admin.is_maint:
        health = 0
    return (
        f"{server.name} {host} {operational} {int(server.admin)} {server.weight} {server.configured_weight} "
        f"{int(now - server.changed)} {number} {int(result)} {health} {check} 0 0 0 - {port} - 0 0 - - 0\n"
    )


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        return address, 0  # a unix socket


def backends(generation: Generation) -> str:
    """Return `show backend`."""
    return "# name\n" + "".join(f"{each.name}\n" for each in generation.part.backends)
