"""The statistics page: one dense table per proxy that answers who is sick. No script; HAProxy's words and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from lb.admin.statistics import BACKEND, FRONTEND, LISTENER, Row, Value

REFRESH_S = 5

_STYLE = """
body { font: 13px/1.35 system-ui, sans-serif; margin: 1.2em; color: #222; background: #fff }
h1 { font-size: 1.3em } h2 { font-size: 1.1em; margin: 1.2em 0 .3em }
table { border-collapse: collapse; width: 100% } th, td { border: 1px solid #d5d5d5; padding: .15em .45em; text-align: right }
th { background: #eef0f3; font-weight: 600 } td:first-child, th:first-child, td.text { text-align: left }
tr.frontend td, tr.backend td { background: #f6f7f9; font-weight: 600 } tr.up td { background: #e8f6e6 }
tr.down td { background: #fbdcd9 } tr.change td { background: #fdf3d0 } tr.off td { background: #dfe6f2 }
dl { display: flex; flex-wrap: wrap; gap: .2em 1.6em } dt { color: #666 } dd { margin: 0 } dl div { display: flex; gap: .4em }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16181b } th { background: #262a30 } th, td { border-color: #383c42 }
  tr.frontend td, tr.backend td { background: #1f2327 } tr.up td { background: #17331a } tr.down td { background: #4a1d1a }
  tr.change td { background: #443a14 } tr.off td { background: #222c40 } dt { color: #999 }
}
"""

_COLUMNS = (
    ("now", "scur", "Sessions now"),
    ("max", "smax", "Most sessions at a time"),
    ("limit", "slim", "Limit of sessions"),
    ("total", "stot", "Sessions since the start"),
    ("rate", "rate", "Sessions during the last second"),
    ("requests", "req_tot", "Requests since the start"),
    ("in", "bin", "Bytes from clients"),
    ("out", "bout", "Bytes to clients"),
    ("1xx", "hrsp_1xx", "Responses by class of status"),
    ("2xx", "hrsp_2xx", ""),
    ("3xx", "hrsp_3xx", ""),
    ("4xx", "hrsp_4xx", ""),
    ("5xx", "hrsp_5xx", ""),
    ("denied", "dreq", "Requests that rules refused"),
    ("bad", "ereq", "Requests that could not be read"),
    ("conn. err.", "econ", "Connections to servers that failed"),
    ("resp. err.", "eresp", "Responses that could not be read or broke off"),
    ("retries", "wretr", "Connection attempts that followed a failed one"),
    ("redisp.", "wredis", "Requests sent to another server than chosen"),
    ("ms", "ttime", "Mean time of a request, ms"),
    ("weight", "weight", "Effective weight"),
    ("down", "chkdown", "Times it went down"),
    ("downtime", "downtime", "Seconds it has been down"),
    ("last check", "last_check", "What the last check found"),
)


def pieces(fields: dict[str, int | str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the page; `fields` are those of `show info`, `rows` those of `show stat`."""
    node = escape(str(fields["node"]))
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        f"<title>lb on {node}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>lb {escape(str(fields['Version']))} on {node}</h1>\n<dl>"
    )
    for title, name in (
        ("up for", "Uptime"),
        ("workers", "Nbthread"),
        ("connections", "CurrConns"),
        ("of at most", "Maxconn"),
        ("a second", "ConnRate"),
        ("requests so far", "CumReq"),
        ("idle, percent", "Idle_pct"),
        ("pid", "Pid"),
    ):
        yield f"<div><dt>{title}</dt><dd>{escape(str(fields[name]))}</dd></div>"
    yield '</dl>\n<p><a href="/;csv">CSV</a> <a href="/api/stat">JSON</a> <a href="/metrics">metrics</a></p>\n'
    heads = "".join(f'<th title="{escape(title)}">{name}</th>' for name, _, title in _COLUMNS)
    for proxy, mine in groupby(rows, key=lambda row: (row["iid"], row["pxname"], row["mode"])):
        yield f"<h2>{escape(str(proxy[1]))} ({escape(str(proxy[2]))})</h2>\n<table><tr><th></th><th>state</th>{heads}</tr>\n"
        for row in mine:
            yield _row(row)
        yield "</table>\n"
    yield "</body></html>\n"


def _row(row: Row) -> str:
    name = escape(str(row["svname"]))
    if "addr" in row:
        name = f'<span title="{escape(str(row["addr"]))}">{name}</span>'
    if row.get("bck") and row["type"] not in (FRONTEND, BACKEND):
        name += " (backup)"
    cells = "".join(f"<td>{_cell(column, row)}</td>" for _, column, _ in _COLUMNS)
    return f'<tr class="{_kind(row)}"><td>{name}</td><td class="text">{escape(str(row["status"]))}</td>{cells}</tr>\n'


def _cell(column: str, row: Row) -> str:
    if column == "last_check":
        if "check_status" not in row:
            return ""
        took = f" in {row['check_duration']} ms" if "check_duration" in row else ""
        return escape(f"{row['check_status']}{took}")
    value: Value = row.get(column, "")
    return f"{value:,}" if isinstance(value, int) else escape(value)


def _kind(row: Row) -> str:
    """Return what the colour of a row says."""
    if row["type"] == FRONTEND:
        return "frontend"
    status = str(row["status"])
    if status.startswith("DOWN"):
        return "down"
    if row["type"] == BACKEND:
        return "backend"
    if status.startswith(("MAINT", "DRAIN", "NOLB")):
        return "off"
    if "/" in status:
        return "change"
    return "up" if row["type"] == LISTENER or status == "UP" else ""
