"""`show stat`: one row per frontend, listener, server and backend, in HAProxy's columns.

The order of the columns is HAProxy's `enum stat_idx_px` and never changes; readers count commas. A field that means
nothing for a row is empty. Counters are of all workers, living and dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from lb._speedups.face.mapping import Mapping
from lb.admin.rates import Rates
from lb.checks.states import BackendState, ServerState, States
from lb.checks.status import Status
from lb.config.part import Backend, Bind, Frontend, Server
from lb.supervisor.generation import Generation

COLUMNS = tuple(
    """
    pxname svname qcur qmax scur smax slim stot bin bout dreq dresp ereq econ eresp wretr wredis status
    weight act bck chkfail chkdown lastchg downtime qlimit pid iid sid throttle lbtot tracked type rate
    rate_lim rate_max check_status check_code check_duration hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx
    hrsp_5xx hrsp_other hanafail req_rate req_rate_max req_tot cli_abrt srv_abrt comp_in comp_out
    comp_byp comp_rsp lastsess last_chk last_agt qtime ctime rtime ttime agent_status agent_code
    agent_duration check_desc agent_desc check_rise check_fall check_health agent_rise agent_fall
    agent_health addr cookie mode algo conn_rate conn_rate_max conn_tot intercepted dcon dses wrew
    connect reuse cache_lookups cache_hits srv_icur src_ilim qtime_max ctime_max rtime_max ttime_max
    eint idle_conn_cur safe_conn_cur used_conn_cur need_conn_est uweight agg_server_status
    agg_server_check_status agg_check_status srid sess_other h1sess h2sess h3sess req_other h1req h2req
    h3req proto priv_idle_cur reqbin reqbout resbin resbout cache_hint_hits
    """.split()  # noqa: SIM905
)

FRONTEND, BACKEND, SERVER, LISTENER = range(4)
"""Values of the column `type`; `show stat <iid> <types> <sid>` takes the sum of 1 << type."""

FIRST_IID = 2  # as HAProxy numbers proxies

Value = int | str
Row = dict[str, Value]


def header() -> str:
    """Return the header line of the CSV."""
    return f"# {','.join(COLUMNS)},-,\n"


def line(row: Row) -> str:
    """Return a row as a line of the CSV."""
    return ",".join(_csv(row.get(column, "")) for column in COLUMNS) + ",-,\n"


def _csv(value: Value) -> str:
    text = str(value)
    if '"' in text or "," in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def rows(
    mapping: Mapping,
    generation: Generation,
    places: Sequence[tuple[Bind, str]],
    *,
    rates: Rates | None = None,
    states: States | None = None,
    iid: int = -1,
    types: int = -1,
    sid: int = -1,
) -> Iterator[Row]:
    """Yield the rows of a generation; each counts at the moment it is asked for. -1 means every one.

    Without `rates` their columns are empty. So are those of what is not built: queues, agents, rules on connections.
    """
    part = generation.part
    found = _Rows(mapping, generation, rates, states)
    listeners: dict[str, list[tuple[Bind, str]]] = {}
    for bind, text in places:
        listeners.setdefault(bind.frontend, []).append((bind, text))
    for number, frontend in enumerate(part.frontends, FIRST_IID):
        if iid not in (-1, number):
            continue
        base: Row = {"pid": 1, "iid": number, "pxname": frontend.name, "mode": frontend.mode}
        if types & 1 << FRONTEND and sid in (-1, 0):
            yield base | found.frontend(frontend)
        if types & 1 << LISTENER:
            for index, (bind, text) in enumerate(listeners.get(frontend.name, ()), 1):
                if sid in (-1, index):
                    yield base | {"sid": index} | found.listener(bind, text)
    for number, backend in enumerate(part.backends, FIRST_IID + len(part.frontends)):
        if iid not in (-1, number):
            continue
        base = {"pid": 1, "iid": number, "pxname": backend.name, "mode": backend.mode}
        if types & 1 << SERVER:
            for index, server in enumerate(backend.servers, 1):
                if sid in (-1, index):
                    yield base | {"sid": index} | found.server(backend, server)
        if types & 1 << BACKEND and sid in (-1, 0):
            yield base | found.backend(backend)


class _Rows:
    def __init__(self, mapping: Mapping, generation: Generation, rates: Rates | None, states: States | None) -> None:
        self._rates = rates
        self._states = states
        self._mapping = mapping
        self._generation = generation

    def _counters(self, index: int) -> dict[str, int]:
        return self._mapping.counters(self._generation.oid(index))

    def _rate(self, index: int, counter: str, column: str) -> Row:
        rate = self._rates.of(self._generation.oid(index)).get(counter) if self._rates else None
        return {column: rate.now, f"{column}_max": rate.maximum} if rate else {}

    def frontend(self, frontend: Frontend) -> Row:
        c = self._counters(frontend.object)
        row: Row = {
            "svname": "FRONTEND",
            "type": FRONTEND,
            "sid": 0,
            "status": "OPEN",
            "scur": c["cur"],
            "smax": c["cur_max"],
            "slim": frontend.maxconn or self._generation.part.maxconn,
            "stot": c["conn_total"],
            "bin": c["bytes_in"],
            "bout": c["bytes_out"],
            "dreq": c["denied_req"],
            "dresp": c["denied_resp"],
            "ereq": c["err_req"],
            "conn_tot": c["conn_total"],
            "dcon": c["denied_conn"],
            "dses": c["denied_sess"],
            "intercepted": c["intercepted"],
            "eint": c["internal_errors"],
        }
        row |= self._rate(frontend.object, "conn_total", "rate")
        row |= self._rate(frontend.object, "conn_total", "conn_rate")
        if frontend.mode == "http":
            row |= self._responses(c) | {"h1req": c["req_total"], "h1sess": c["conn_total"]}
            row |= self._rate(frontend.object, "req_total", "req_rate")
        return row

    def listener(self, bind: Bind, text: str) -> Row:
        c = self._counters(bind.object)
        return {
            "svname": bind.name,
            "type": LISTENER,
            "status": "OPEN",
            "addr": text,
            "proto": "udp" if bind.is_datagram else "unix" if text.startswith("unix@") else "tcp",
            "scur": c["cur"],
            "smax": c["cur_max"],
            "stot": c["conn_total"],
            "bin": c["bytes_in"],
            "bout": c["bytes_out"],
            "dreq": c["denied_req"],
            "dresp": c["denied_resp"],
            "ereq": c["err_req"],
            "conn_tot": c["conn_total"],
            "dcon": c["denied_conn"],
            "dses": c["denied_sess"],
            "eint": c["internal_errors"],
        }

    def _target(self, index: int, c: dict[str, int]) -> Row:
        """Return what a server and a backend have in common."""
        return {
            "scur": c["cur"],
            "smax": c["cur_max"],
            "stot": c["sess_total"],
            "bin": c["bytes_in"],
            "bout": c["bytes_out"],
            "dresp": c["denied_resp"],
            "econ": c["err_conn"],
            "eresp": c["err_resp"],
            "wretr": c["retries"],
            "wredis": c["redispatches"],
            # Without states: what it was when the object came.
            "lastchg": self._generation.age_s(index),
            "lbtot": c["chosen"],
            "cli_abrt": c["client_aborts"],
            "srv_abrt": c["server_aborts"],
            "lastsess": _age(c["last_ms"]),
            "qtime": _mean(c["queue_ms"], c["timed"]),
            "ctime": _mean(c["connect_ms"], c["timed"]),
            "rtime": _mean(c["response_ms"], c["timed"]),
            "ttime": _mean(c["total_ms"], c["timed"]),
            "connect": c["connects"],
            "reuse": c["reuses"],
            "eint": c["internal_errors"],
        }

    def _responses(self, c: dict[str, int]) -> Row:
        """Return what only HTTP has."""
        classes = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
        found: Row = {f"hrsp_{each}": c[f"status_{each}"] for each in classes}
        found["req_tot"] = c["req_total"]
        return found

    def server(self, backend: Backend, server: Server) -> Row:
        c = self._counters(server.object)
        row = self._target(server.object, c) | {
            "svname": server.name,
            "type": SERVER,
            "status": "no check",
            "weight": server.weight,
            "uweight": server.weight,
            "act": int(not server.is_backup),
            "bck": int(server.is_backup),
            "addr": server.address,
            "srv_icur": c["idle"],
            "safe_conn_cur": c["idle"],
            "used_conn_cur": c["cur"],
        }
        state = self._states.server(self._generation.oid(server.object)) if self._states else None
        if state is not None and self._states is not None:
            row |= _health(state, self._states.time())
        row |= self._rate(server.object, "sess_total", "rate")
        return row | self._responses(c) if backend.mode == "http" else row

    def backend(self, backend: Backend) -> Row:
        c = self._counters(backend.object)
        active = sum(server.weight > 0 and not server.is_backup for server in backend.servers)
        backup = sum(server.weight > 0 and server.is_backup for server in backend.servers)
        row = self._target(backend.object, c) | {
            "svname": "BACKEND",
            "type": BACKEND,
            "sid": 0,
            "status": "UP" if active or backup else "DOWN",
            "weight": sum(server.weight for server in backend.servers),
            "uweight": sum(server.weight for server in backend.servers),
            "act": active,
            "bck": backup,
            "dreq": c["denied_req"],
            "algo": backend.algorithm,
            "intercepted": c["intercepted"],
        }
        state = self._states.backend(self._generation.oid(backend.object)) if self._states else None
        if state is not None and self._states is not None:
            row |= _availability(state, self._states.time())
        row |= self._rate(backend.object, "sess_total", "rate")
        return row | self._responses(c) if backend.mode == "http" else row


def _health(server: ServerState, now: float) -> Row:
    row: Row = {
        "status": server.status,
        "lastchg": int(now - server.changed),
        "weight": server.weight,
        "uweight": server.weight,
    }
    if server.tracked is not None:
        row["tracked"] = f"{server.tracked.backend.name}/{server.tracked.name}"
    if server.is_checked or server.observation is not None:
        row |= {"chkdown": server.downs, "downtime": server.downtime(now)}
    if server.observation is not None:
        row["hanafail"] = server.failed_observations
    if server.is_checked:
        row["chkfail"] = server.failed_checks
    # A check in reserve shows while it runs.
    if not server.is_checked and server.is_up:
        return row
    finding, tally = server.finding, server.tally
    row |= {
        "check_status": f"* {finding.status.code}" if server.is_running else finding.status.code,
        "check_desc": finding.status.text,
        "last_chk": finding.info,
        "check_rise": tally.rise,
        "check_fall": tally.fall,
        "check_health": tally.health,
    }
    if finding.status.has_code:
        row["check_code"] = finding.code
    if finding.status is not Status.INI:
        row["check_duration"] = max(0, finding.duration_ms)
    return row


def _availability(backend: BackendState, now: float) -> Row:
    return {
        "status": "UP" if backend.is_up else "DOWN",
        "weight": backend.weight,
        "uweight": backend.weight,
        "act": backend.active,
        "bck": backend.backups,
        "chkdown": backend.downs,
        "lastchg": int(now - backend.changed),
        "downtime": backend.downtime(now),
    }


def _age(last_ms: int) -> int:
    """Return the seconds since a moment of CLOCK_MONOTONIC, -1 when it never was."""
    if last_ms == 0:
        return -1
    # Another process wrote it: it may seem to lie ahead.
    return max(0, time.monotonic_ns() // 1_000_000 - last_ms) // 1000


def _mean(total: int, number: int) -> int:
    return total // number if number else 0
