"""`show table`, `set table`, `clear table`: stick tables as HAProxy shows and changes them, with its answers."""

from __future__ import annotations

import ipaddress
import operator
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import (
    STORE_NAMES,
    clear_shard,
    drop,
    set_cells,
    table_information,
    table_row,
    table_rows,
)
from lb.config.limits import STORE_ARRIVAL
from lb.config.tables import KEY_TYPES, STORES
from lb.supervisor.generation import Placed

FILTERS = 4
OPERATORS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "le": operator.le,
    "ge": operator.ge,
    "lt": operator.lt,
    "gt": operator.gt,
}
SORTED = 4096
"""Entries of a table below this many keys are shown in the order of their keys, as HAProxy does it."""

_TYPES = {number: name for name, number in KEY_TYPES.items()}
_NUMBER = re.compile(r"-?[0-9]+")
_LAST = {"gpc": "gpc0", "gpt": "gpt0", "gpc_rate": "gpc0_rate"}
_UNKEYED = {
    "show": "Showing keys from tables",
    "set": "Inserting keys into tables",
    "clear": "Removing keys from tables",
}
_USAGE = {
    "show": 'Optional argument only supports "data.<store_data_type>" <operator> <value> and key <key>\n',
    "set": "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n",
    "clear": 'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>\n',
}

Row = tuple[int, bytes, int, int, int, list[int]]


class Refusal(Exception):
    """What was asked cannot be done; the text is the answer."""


class Filter(NamedTuple):
    """Shows an entry if this cell of it compares so."""

    cell: int
    compare: Callable[[int, int], bool]
    value: int


class Request(NamedTuple):
    """What a command is about: a table, and one of its keys, or filters."""

    table: Placed
    key: bytes | None
    filters: list[Filter]
    rest: Sequence[str]  # words behind the key


def heads(mapping: Mapping, placed: Iterable[Placed]) -> list[dict[str, int | str]]:
    """Return name, type, size and use of tables."""
    return [
        {
            "name": each.part.name,
            "type": _TYPES[each.part.key_type],
            "size": each.part.size,
            "used": _used(mapping, each),
        }
        for each in placed
    ]


def _used(mapping: Mapping, table: Placed) -> int:
    used = table_information(mapping, table.offset)["used"]
    assert isinstance(used, int)
    return used


def head(mapping: Mapping, table: Placed) -> str:
    """Return the line of a table."""
    (said,) = heads(mapping, [table])
    return "# table: {name}, type: {type}, size:{size}, used:{used}\n".format(**said)


def entries(mapping: Mapping, table: Placed) -> Iterator[dict[str, int | str]]:
    """Yield the entries of a table, shard by shard."""
    names = list(_names(table))
    for _, key, holders, left_ms, _, values in _rows(mapping, table):
        shown: dict[str, int | str] = {"key": _shown(table.part.key_type, key), "use": holders, "exp": left_ms}
        yield shown | dict(zip(names, values, strict=True))


def _owing(table: Placed) -> list[int]:
    """Return which values of a row are times; only tables of rate limits have any."""
    return [index for index, (store, *_) in enumerate(table.part.stores) if store == STORE_ARRIVAL]


def _rows(mapping: Mapping, table: Placed) -> Iterator[Row]:
    """Yield the entries; of a rate limit with what each key owes now."""
    arrivals = _owing(table)
    for row in table_rows(mapping, table.offset):
        yield _owed(row, arrivals)


def _owed(row: Row, arrivals: Iterable[int]) -> Row:
    for index in arrivals:
        row[5][index] = max(0, row[5][index] - time.monotonic_ns()) // 1_000_000
    return row


def read(action: str, tables: Iterable[Placed], words: Sequence[str]) -> Request:
    """Read the words behind `show table` and its like; raise Refusal."""
    if not words:
        raise Refusal(_USAGE[action])
    found = [each for each in tables if each.part.name == words[0]]
    if not found:
        raise Refusal("No such table\n")
    table = found[0]
    if len(words) == 1:
        return Request(table, None, [], ())
    if words[1] == "key":
        if len(words) == 2:
            raise Refusal("Key value expected\n")
        return Request(table, _key(action, table, words[2]), [], words[3:])
    if not words[1].startswith("data."):
        raise Refusal(_USAGE[action])
    if action == "set":
        raise Refusal('content-based lookup is only supported with the "show" and "clear" actions\n')
    return Request(table, None, list(_filters(table, words[1:])), ())


def _key(action: str, table: Placed, text: str) -> bytes:
    kind = _TYPES[table.part.key_type]
    try:
        if kind == "ip":
            return ipaddress.IPv4Address(text).packed
        if kind == "ipv6":
            return ipaddress.IPv6Address(text).packed
        if kind == "integer":
            if not text.isascii() or not text.isdigit():
                raise Refusal("Invalid key\n")
            return struct.pack("=I", int(text))
    except (ValueError, struct.error):
        raise Refusal("Invalid key\n") from None
    if kind == "binary":
        raise Refusal(f"{_UNKEYED[action]} of type other than ip, ipv6, string and integer is not supported\n")
    return text.encode("utf-8", "surrogateescape")


def _store(table: Placed, name: str) -> tuple[int, int]:
    """Return a thing that is stored: its number, and which of the values of a row is its first."""
    if name not in STORES and name != "server_key":
        raise Refusal("Unknown data type\n")
    place = 0
    for store, cells, _ in table.part.stores:
        if store == STORES.get(name):
            return store, place
        place += cells
    raise Refusal("Data type not stored in this table\n")


def _number(text: str, otherwise: str) -> int:
    if not _NUMBER.fullmatch(text) or len(text) > 100:
        raise Refusal(otherwise)
    return max(-(2**63), min(2**63 - 1, int(text)))


def _filters(table: Placed, words: Sequence[str]) -> Iterator[Filter]:
    for i in range(0, min(len(words), 3 * FILTERS), 3):
        name, compare, value = [*words[i : i + 3], "", ""][:3]
        try:
            _, cell = _store(table, name[5:])
            if compare not in OPERATORS:
                raise Refusal('Require and operator among "eq", "ne", "le", "ge", "lt", "gt"\n')
            number = _number(value, "Require a valid integer value to compare against\n")
        except Refusal as refusal:
            raise Refusal(f"Filter entry #{i // 3 + 1}: {refusal}") from None
        yield Filter(cell, OPERATORS[compare], number)
    if len(words) > 3 * FILTERS:
        # `show table` and the name are words too.
        raise Refusal(
            f"Detected extra data in filter, {3 * FILTERS + 4}th word of input, after '{words[3 * FILTERS - 1]}'\n"
        )


def _passes(row: Row, filters: Iterable[Filter]) -> bool:
    return all(each.compare(row[5][each.cell], each.value) for each in filters)


def lines(mapping: Mapping, request: Request) -> Iterator[str]:
    """Yield a line for each entry that was asked for; an empty one now and then, so that others come to their turn."""
    table = request.table
    names = list(_names(table))
    if request.key is not None:
        row = table_row(mapping, table.offset, request.key)
        if row is not None:
            yield _line(table, names, _owed(row, _owing(table)))
        return
    rows: Iterable[Row] = _rows(mapping, table)
    if table.part.size < SORTED:
        is_number = _TYPES[table.part.key_type] == "integer"
        rows = sorted(rows, key=lambda row: row[1][::-1] if is_number else row[1])
    for row in rows:
        yield _line(table, names, row) if _passes(row, request.filters) else ""


def clear(mapping: Mapping, request: Request) -> Iterator[None]:
    """Take away the entries that were asked for, but those that are held; raise Refusal. Each step is short."""
    table = request.table
    if request.key is not None:
        if table_row(mapping, table.offset, request.key) and not drop(mapping, table.offset, request.key):
            raise Refusal("Entry currently in use, cannot remove\n")
        return
    if not request.filters:
        shards = table_information(mapping, table.offset)["shards"]
        assert isinstance(shards, int)
        for shard in range(shards):
            clear_shard(mapping, table.offset, shard)
            yield
        return
    for row in table_rows(mapping, table.offset):
        if _passes(row, request.filters):
            drop(mapping, table.offset, row[1])
        yield


def change(mapping: Mapping, request: Request) -> str:
    """Set cells of a key, which is made if need be; nothing is changed if a word is wrong. Raise Refusal."""
    assert request.key is not None
    cells: list[tuple[int, int]] = []
    for i in range(0, len(request.rest), 2):
        name, value = [*request.rest[i : i + 2], ""][:2]
        if not name.startswith("data."):
            raise Refusal('"data.<type>" followed by a value expected\n')
        store, _ = _store(request.table, name[5:])
        cells.append((store, _number(value, "Require a valid integer value to store\n") & 0xFFFFFFFFFFFFFFFF))
        if name == "data.conn_cur":
            raise Refusal("conn_cur is how many hold the key; it cannot be set\n")
    if not set_cells(mapping, request.table.offset, request.key, cells):
        raise Refusal("Unable to allocate a new entry\n")
    return ""


def _names(table: Placed) -> Iterator[str]:
    for store, cells, period_ms in table.part.stores:
        name = STORE_NAMES[store]
        ending = f"({period_ms})" if period_ms else ""
        if name not in _LAST:
            yield f"{name}{ending}"
            continue
        for cell in range(cells):
            yield f"{_LAST[name].replace('0', str(cell))}{ending}"


def _line(table: Placed, names: Sequence[str], row: Row) -> str:
    address, key, holders, left_ms, _, values = row
    said = "".join(f" {name}={value}" for name, value in zip(names, values, strict=True))
    return f"0x{address:x}: key={_shown(table.part.key_type, key)} use={holders} exp={left_ms} shard=0{said}\n"


def _shown(key_type: int, key: bytes) -> str:
    kind = _TYPES[key_type]
    if kind in ("ip", "ipv6"):
        return socket.inet_ntop(socket.AF_INET if kind == "ip" else socket.AF_INET6, key)
    if kind == "integer":
        return str(struct.unpack("=I", key)[0])
    if kind == "binary":
        return key.hex().upper()
    # A line is a line, whatever the client sent.
    return "".join(chr(each) if 33 <= each < 127 and each != 92 else f"\\x{each:02x}" for each in key)
