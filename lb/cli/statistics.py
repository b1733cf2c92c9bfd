"""`lb stats`: `show stat` as a table, as JSON, or live."""

import csv
import time
from typing import TYPE_CHECKING

import click

from lb.cli import fail
from lb.cli.runtime import ask

if TYPE_CHECKING:
    from rich.table import Table

# Heading, columns of `show stat` that are added up, whether they are bytes.
COLUMNS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("now", ("scur",), False),
    ("most", ("smax",), False),
    ("limit", ("slim",), False),
    ("total", ("stot",), False),
    ("requests", ("req_tot",), False),
    ("in", ("bin",), True),
    ("out", ("bout",), True),
    ("4xx", ("hrsp_4xx",), False),
    ("5xx", ("hrsp_5xx",), False),
    ("errors", ("ereq", "econ", "eresp"), False),
    ("retries", ("wretr",), False),
    ("weight", ("weight",), False),
)

COLOURS = {
    "OPEN": "green",
    "UP": "green",
    "DOWN": "red",
    "MAINT": "yellow",
    "DRAIN": "yellow",
    "FULL": "yellow",
    "STOP": "red",
}

Row = dict[str, str]


def read(path: str) -> list[Row]:
    """Ask for `show stat` and return its rows by column name."""
    answer = ask(path, "show stat").strip("\n")
    if not answer.startswith("# "):
        fail(answer or "lb ended the connection without an answer")
    lines = csv.reader(answer.removeprefix("# ").splitlines())
    names = next(lines)
    return [
        {name: value for name, value in zip(names, row, strict=False) if name not in ("", "-")} for row in lines if row
    ]


def as_json(rows: list[Row]) -> str:
    """Return rows as JSON: numbers as numbers, empty fields left out."""
    import orjson

    made = [
        {name: int(value) if value.lstrip("-").isdecimal() else value for name, value in row.items() if value}
        for row in rows
    ]
    return orjson.dumps(made, option=orjson.OPT_INDENT_2).decode()


def table(rows: list[Row]) -> "Table":
    """Return rows as a table, frontends first, then each backend below its servers."""
    from rich.table import Table

    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("proxy")
    made.add_column("name")
    made.add_column("state")
    shown = [each for each in COLUMNS if any(_sum(row, each[1]) is not None for row in rows)]
    for heading, _, _ in shown:
        made.add_column(heading, justify="right")
    for row in rows:
        state = row.get("status", "")
        colour = COLOURS.get(state.partition(" ")[0], "")
        cells = [row.get("pxname", ""), row.get("svname", ""), f"[{colour}]{state}[/]" if colour else state]
        made.add_row(*cells, *(_cell(_sum(row, names), is_bytes) for _, names, is_bytes in shown))
    return made


def show(path: str) -> None:
    """Print the table once; on a pipe without colours, as wide as it needs to be."""
    from rich.console import Console

    made = table(read(path))
    console = Console()
    if console.is_terminal:
        console.print(made)
        return
    wide = Console(width=400)
    with wide.capture() as captured:
        wide.print(made)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def watch(path: str, interval_s: float) -> None:
    """Print the table again and again until Ctrl-C."""
    from rich.live import Live

    try:
        with Live(table(read(path)), auto_refresh=False) as live:
            while True:
                time.sleep(interval_s)
                live.update(table(read(path)), refresh=True)
    except KeyboardInterrupt:
        click.echo()


def _sum(row: Row, names: tuple[str, ...]) -> int | None:
    numbers = [int(row[name]) for name in names if row.get(name, "").lstrip("-").isdecimal()]
    # Limits of 0 are none.
    return sum(numbers) if numbers and not (names == ("slim",) and numbers == [0]) else None


def _cell(number: int | None, is_bytes: bool) -> str:
    if number is None:
        return ""
    if not is_bytes or number < 10_000:
        return str(number)
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
