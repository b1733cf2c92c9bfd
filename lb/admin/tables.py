"""`show table`: stick tables as HAProxy shows them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import STORE_NAMES, table_information, table_rows
from lb.config.limits import STORE_ARRIVAL
from lb.config.tables import KEY_TYPES
from lb.supervisor.generation import Placed

_TYPES = {number: name for name, number in KEY_TYPES.items()}


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
    names = _names(table)
    for _, key, holders, left_ms, _, values in _rows(mapping, table):
        shown: dict[str, int | str] = {"key": _key(table.part.key_type, key), "use": holders, "exp": left_ms}
        yield shown | dict(zip(names, values, strict=True))


def _rows(mapping: Mapping, table: Placed) -> Iterator[tuple[int, bytes, int, int, int, list[int]]]:
    """Yield the entries; of a rate limit with what each key owes now."""
    arrivals = [index for index, (store, *_) in enumerate(table.part.stores) if store == STORE_ARRIVAL]
    for row in table_rows(mapping, table.offset):
        for index in arrivals:
            row[-1][index] = max(0, row[-1][index] - time.monotonic_ns()) // 1_000_000
        yield row


def _names(table: Placed) -> list[str]:
    return [
        f"{STORE_NAMES[store]}({period_ms})" if period_ms else STORE_NAMES[store]
        for store, _, period_ms in table.part.stores
    ]


def lines(mapping: Mapping, table: Placed) -> Iterator[str]:
    """Yield a line for each entry, shard by shard."""
    names = _names(table)
    for address, key, holders, left_ms, _, values in _rows(mapping, table):
        said = "".join(f" {name}={value}" for name, value in zip(names, values, strict=True))
        yield f"0x{address:x}: key={_key(table.part.key_type, key)} use={holders} exp={left_ms} shard=0{said}\n"


def _key(key_type: int, key: bytes) -> str:
    kind = _TYPES[key_type]
    if kind in ("ip", "ipv6"):
        return socket.inet_ntop(socket.AF_INET if kind == "ip" else socket.AF_INET6, key)
    if kind == "integer":
        return str(struct.unpack("=I", key)[0])
    if kind == "binary":
        return key.hex().upper()
    # A line is a line, whatever the client sent.
    return "".join(chr(each) if 33 <= each < 127 and each != 92 else f"\\x{each:02x}" for each in key)
