"""`show table`: stick tables as HAProxy shows them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import STORE_NAMES, table_information, table_rows
from lb.config.tables import KEY_TYPES
from lb.supervisor.generation import Placed

_TYPES = {number: name for name, number in KEY_TYPES.items()}


def head(mapping: Mapping, table: Placed) -> str:
    """Return the line of a table."""
    used = table_information(mapping, table.offset)["used"]
    part = table.part
    return f"# table: {part.name}, type: {_TYPES[part.key_type]}, size:{part.size}, used:{used}\n"


def lines(mapping: Mapping, table: Placed) -> Iterator[str]:
    """Yield a line for each entry, shard by shard."""
    names = [
        f"{STORE_NAMES[store]}({period_ms})" if period_ms else STORE_NAMES[store]
        for store, _, period_ms in table.part.stores
    ]
    for address, key, holders, left_ms, _, values in table_rows(mapping, table.offset):
        said = "".join(f" {name}={value}" for name, value in zip(names, values, strict=True))
        yield f"0x{address:x}: key={_key(table.part.key_type, key)} use={holders} exp={left_ms} shard=0{said}\n"


def _key(key_type: int, key: bytes) -> str:
    kind = _TYPES[key_type]
    if kind in ("ip", "ipv6"):
        return str(ipaddress.ip_address(key))
    if kind == "integer":
        return str(struct.unpack("=I", key)[0])
    if kind == "binary":
        return key.hex().upper()
    # A line is a line, whatever the client sent.
    return "".join(chr(each) if 33 <= each < 127 and each != 92 else f"\\x{each:02x}" for each in key)
