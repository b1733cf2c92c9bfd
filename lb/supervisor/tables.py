"""Stick tables in the mapping: made before a plan that names them, kept by name, given back when nobody can ask them."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import collect_tables, make_ledger, place_table, table_size, unmake_table
from lb.config.part import TablePart
from lb.supervisor.generation import NoRoom, Placed

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the bytes that can be taken before the kernel would kill for them: of the machine, and of the control group."""
    free = 1 << 62
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        most = (_CGROUP / "memory.max").read_text().strip()
        if most != "max":
            free = min(free, int(most) - int((_CGROUP / "memory.current").read_text()))
    except OSError:
        pass  # an older kernel, or another hierarchy: what fallocate says is all that is known
    return max(free, 0)


def place(mapping: Mapping, parts: Sequence[TablePart], workers: int, generation: int) -> list[Placed]:
    """Give every table its place, and the workers what they need to hold entries. Raise NoRoom."""
    placed: list[Placed] = []
    try:
        for part in parts:
            offset, outcome = place_table(
                mapping,
                part.name.encode(),
                part.key_type,
                part.size,
                part.stores,
                key_size=part.key_size,
                expire_ms=part.expire_ms,
                nopurge=part.nopurge,
                generation=generation,
                room=free_memory(),
            )
            placed.append(Placed(part, offset, outcome))
        if parts:
            for slot in range(1, max(1, workers) + 1):
                make_ledger(mapping, slot)
    except OSError as error:
        undo(mapping, placed)
        if len(placed) == len(parts):
            raise NoRoom(f"no room in the shared mapping for what workers track: {error.strerror}") from error
        part = parts[len(placed)]
        needed = table_size(part.key_type, part.key_size, part.size, part.stores)
        limit = "all tables and balances have 8 GiB together"
        if error.errno == errno.ENOMEM:
            limit = f"the machine has {free_memory() >> 20} MiB free"
        raise NoRoom(
            f"table '{part.name}': {part.size} keys need {(needed + 0xFFFFF) >> 20} MiB, and {limit}; lower 'size' or store "
            f"less ({error.strerror})"
        ) from error
    return placed


def undo(mapping: Mapping, placed: Sequence[Placed]) -> None:
    """Give back what was made for a generation that did not come into force."""
    for each in placed:
        if each.outcome != "kept":
            unmake_table(mapping, each.offset)


def collect(mapping: Mapping) -> None:
    """Give back tables that no generation in use names."""
    collect_tables(mapping)


def remarks(placed: Sequence[Placed]) -> list[str]:
    """Return what the log says of them."""
    return [
        f"table '{each.part.name}': its key or what it stores has changed; it starts empty"
        for each in placed
        if each.outcome == "emptied"
    ]
