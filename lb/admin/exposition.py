"""`/metrics`: the counters as Prometheus reads them, under the names and labels of HAProxy's exporter.

A family is one name with its kind and what it means; its samples come from a column of `show stat` or a field of `show info`.
What lb has no value for is left out, and so is a column that means nothing for a row. Names of lb's own begin with `lb_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lb.admin.process import Process
from lb.admin.statistics import BACKEND, FRONTEND, LISTENER, SERVER, Row, Value
from lb.checks.status import Status
from lb.supervisor.generation import Generation

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"

SCOPES = ("global", "frontend", "listener", "backend", "server", "sticktable")


class Family(NamedTuple):
    """A metric without its labels."""

    name: str
    kind: str  # "gauge", "counter"
    column: str
    text: str
    divisor: int = 1


Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float | int]


def _families(prefix: str, table: str) -> tuple[Family, ...]:
    """Read one family a line: name, column (`/1000` behind it divides), what it is.

    A name in `_total` is a counter, unless `(gauge)` says that it is not.
    """
    made = []
    for line in filter(None, map(str.strip, table.splitlines())):
        name, column, text = line.split(None, 2)
        column, _, divisor = column.partition("/")
        kind = "counter" if name.endswith("_total") else "gauge"
        if text.startswith("(gauge) "):
            kind, text = "gauge", text.removeprefix("(gauge) ")
        made.append(Family(prefix + name, kind, column, text, int(divisor or 1)))
    return tuple(made)


PROCESS = _families(
    "haproxy_process_",
    """
    nbthread Nbthread Number of worker processes.
    nbproc Nbproc Always 1: the workers are one process to whoever looks from outside.
    relative_process_id Process_num Always 1.
    uptime_seconds Uptime_sec Seconds since the start.
    pool_failures_total PoolFailed Times that a memory pool had nothing to give.
    max_fds Ulimit-n Most file descriptors of a process.
    max_sockets Maxsock Most sockets of a process.
    max_connections Maxconn Most client connections of all workers.
    hard_max_connections Hard_maxconn Most client connections that are possible.
    current_connections CurrConns Client connections now.
    connections_total CumConns Client connections since the start.
    requests_total CumReq Requests since the start.
    max_pipes Maxpipes Most pipes for moving bytes within the kernel.
    pipes_used_total PipesUsed (gauge) Pipes that hold bytes now.
    pipes_free_total PipesFree (gauge) Pipes kept for use.
    current_connection_rate ConnRate Client connections during the last second.
    limit_connection_rate ConnRateLimit Limit of that; 0 is none.
    max_connection_rate MaxConnRate Most client connections during a second.
    current_tasks Tasks Connections and streams now.
    current_run_queue Run_queue Connections with work not yet done.
    idle_time_percent Idle_pct Idle time of the workers during the last second, percent.
    stopping Stopping 1 while lb drains.
    jobs Jobs Connections and listeners.
    listeners Listeners Listeners.
    dropped_logs_total DroppedLogs Log records that were dropped.
    bytes_out_total TotalBytesOut Bytes sent to clients.
    pool_allocated_bytes PoolAlloc_bytes Bytes in memory pools.
    pool_used_bytes PoolUsed_bytes Bytes of them in use.
    start_time_seconds Start_time_sec When lb started, seconds since 1970.
    """,
)

_ALL = """
    current_sessions scur Connections or requests now.
    max_sessions smax Most of them at a time.
    sessions_total stot All of them since the start.
    bytes_in_total bin Bytes from clients.
    bytes_out_total bout Bytes to clients.
    responses_denied_total dresp Responses that rules refused.
    internal_errors_total eint Failures of lb itself.
    """

_CLIENTS = """
    limit_sessions slim Most connections that are possible.
    requests_denied_total dreq Requests that rules refused.
    request_errors_total ereq Requests that could not be read.
    """

_SERVERS = """
    connection_errors_total econ Connections to servers that failed.
    response_errors_total eresp Responses that could not be read or broke off.
    retry_warnings_total wretr Connection attempts that followed a failed one.
    redispatch_warnings_total wredis Requests sent to another server than chosen.
    weight weight Effective weight.
    check_up_down_total chkdown Times it went down.
    check_last_change_seconds lastchg Seconds since its state last changed.
    downtime_seconds_total downtime Seconds it has been down.
    loadbalanced_total lbtot Times it was chosen.
    max_session_rate rate_max Most sessions during a second.
    client_aborts_total cli_abrt Transfers that the client ended.
    server_aborts_total srv_abrt Transfers that the server ended.
    last_session_seconds lastsess Seconds since the last session; -1 is never.
    queue_time_average_seconds qtime/1000 Mean time in queues.
    connect_time_average_seconds ctime/1000 Mean time to connect.
    response_time_average_seconds rtime/1000 Mean time until the response's head.
    total_time_average_seconds ttime/1000 Mean time of all together.
    connection_attempts_total connect Connections tried.
    connection_reuses_total reuse Requests on connections that were there.
    uweight uweight Weight as configured.
    """

FRONTENDS = _families(
    "haproxy_frontend_",
    _ALL
    + _CLIENTS
    + """
    max_session_rate rate_max Most connections during a second.
    http_requests_rate_max req_rate_max Most requests during a second.
    http_requests_total req_tot Requests.
    connections_rate_max conn_rate_max Most connections during a second.
    connections_total conn_tot Connections.
    intercepted_requests_total intercepted Requests that lb answered itself.
    """,
)
LISTENERS = _families("haproxy_listener_", _ALL + _CLIENTS)
BACKENDS = _families(
    "haproxy_backend_",
    _ALL
    + _SERVERS
    + """
    requests_denied_total dreq Requests that rules refused.
    active_servers act Active servers that are up.
    backup_servers bck Backup servers that are up.
    http_requests_total req_tot Requests.
    """,
)
SERVERS = _families(
    "haproxy_server_",
    _ALL
    + _SERVERS
    + """
    active act 1 for an active server.
    backup bck 1 for a backup server.
    check_failures_total chkfail Checks that failed while it was up.
    check_code check_code Code of the last check.
    check_duration_seconds check_duration/1000 How long the last check took.
    idle_connections_current srv_icur Idle connections kept.
    safe_idle_connections_current safe_conn_cur Idle connections kept.
    used_connections_current used_conn_cur Connections in use.
    """,
)

_BY_TYPE = {
    FRONTEND: ("frontend", FRONTENDS, ("DOWN", "UP")),
    LISTENER: ("listener", LISTENERS, ("DOWN", "UP", "WAITING")),
    BACKEND: ("backend", BACKENDS, ("DOWN", "UP")),
    SERVER: ("server", SERVERS, ("DOWN", "UP", "MAINT", "DRAIN", "NOLB")),
}
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")


class Writer:
    """Writes families in one of the two formats."""

    def __init__(self, *, is_open: bool) -> None:
        self._is_open = is_open

    def family(self, name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
        """Yield the lines of a family, nothing if it has no samples. `name` is the sample's."""
        title = name.removesuffix("_total") if self._is_open and kind == "counter" else name
        is_first = True
        for labels, value in samples:
            if is_first:
                is_first = False
                yield f"# HELP {title} {_escaped(text, quote=False)}\n# TYPE {title} {kind}\n"
            said = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels)
            yield f"{name}{{{said}}} {value}\n" if said else f"{name} {value}\n"

    def end(self) -> str:
        """Return what ends the text."""
        return "# EOF\n" if self._is_open else ""


def _escaped(text: str, *, quote: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def process(writer: Writer, fields: dict[str, int | str]) -> Iterator[str]:
    """Yield what concerns the whole process; `fields` are those of `show info`."""
    for family in PROCESS:
        value = fields[family.column]
        assert isinstance(value, int)
        yield from writer.family(family.name, family.kind, family.text, [((), value)])
    node, version = str(fields["node"]), str(fields["Version"])
    yield from writer.family("haproxy_process_node", "gauge", "The machine's name.", [((("node", node),), 1)])
    yield from writer.family(
        "haproxy_process_build_info", "gauge", "The version that runs.", [((("version", version),), 1)]
    )


def proxies(writer: Writer, rows: Sequence[Row], scopes: Iterable[str]) -> Iterator[str]:
    """Yield the families of frontends, listeners, backends and servers; `rows` are those of `show stat`."""
    for kind, (scope, families, states) in _BY_TYPE.items():
        if scope not in scopes:
            continue
        mine = [(_labels(row), row) for row in rows if row["type"] == kind]
        for family in families:
            yield from writer.family(family.name, family.kind, family.text, _samples(family, mine))
        name = f"haproxy_{scope}_"
        yield from writer.family(
            name + "status",
            "gauge",
            "Its state: 1 at the one it is in.",
            (
                ((*labels, ("state", each)), int(each == _state(row["status"])))
                for labels, row in mine
                for each in states
            ),
        )
        yield from writer.family(
            name + "http_responses_total",
            "counter",
            "Responses by class of status.",
            (
                ((*labels, ("code", each)), row[f"hrsp_{each}"])  # type: ignore[misc]
                for labels, row in mine
                if "hrsp_1xx" in row
                for each in CLASSES
            ),
        )
        if kind == SERVER:
            codes = [each.code for each in Status]
            yield from writer.family(
                name + "check_status",
                "gauge",
                "What the last check found: 1 at that.",
                (
                    ((*labels, ("state", each)), int(each == str(row["check_status"]).removeprefix("* ")))
                    for labels, row in mine
                    if "check_status" in row
                    for each in codes
                ),
            )


def own(writer: Writer, generation: Generation, process: Process) -> Iterator[str]:
    """Yield what HAProxy has no name for."""
    mapping = process.mapping
    frontends = [
        ((("proxy", each.name),), mapping.counters(generation.oid(each.object))) for each in generation.part.frontends
    ]
    for name, kind, value, text in (
        ("lb_generation", "gauge", generation.number, "Number of the configuration in force."),
        ("lb_reloads_total", "counter", process.reloads, "Reloads that were asked for."),
    ):
        yield from writer.family(name, kind, text, [((), value)])
    for name, counter, text in (
        ("lb_frontend_mirrored_total", "mirrored", "Requests of which a copy was sent."),
        ("lb_frontend_mirror_dropped_total", "mirror_dropped", "Requests of which no copy was sent for lack of room."),
        ("lb_frontend_log_dropped_total", "log_dropped", "Log records for which there was no room."),
    ):
        yield from writer.family(name, "counter", text, ((labels, each[counter]) for labels, each in frontends))


def stick_tables(writer: Writer, heads: Sequence[dict[str, int | str]]) -> Iterator[str]:
    """Yield sizes of stick tables."""
    for name, text in (("size", "Keys there is room for."), ("used", "Keys in it.")):
        samples: list[Sample] = [
            ((("name", str(head["name"])), ("type", str(head["type"]))), int(head[name])) for head in heads
        ]
        yield from writer.family(f"haproxy_sticktable_{name}", "gauge", text, samples)


def _samples(family: Family, rows: Iterable[tuple[Labels, Row]]) -> Iterator[Sample]:
    for labels, row in rows:
        value = row.get(family.column, "")
        if isinstance(value, int):
            yield labels, value if family.divisor == 1 else value / family.divisor


def _labels(row: Row) -> Labels:
    proxy = ("proxy", str(row["pxname"]))
    if row["type"] == SERVER:
        return proxy, ("server", str(row["svname"]))
    return (proxy, ("listener", str(row["svname"]))) if row["type"] == LISTENER else (proxy,)


def _state(status: Value) -> str:
    """Return the state that a word of `show stat` stands for."""
    word = str(status).split(" ")[0]
    return {"OPEN": "UP", "no": "UP"}.get(word, word)
