from collections.abc import Iterable, Iterator

from lb._speedups.face.mapping import Mapping

TABLE_IP: int
TABLE_IPV6: int
TABLE_INTEGER: int
TABLE_STRING: int
TABLE_BINARY: int
TABLE_NOPURGE: int
TABLE_KEY_MAX: int
TABLE_ARRAY_MAX: int
TABLE_SIZE_MAX: int
TABLE_NAME: int
STORE_NAMES: tuple[str, ...]

def table_size(key_type: int, key_size: int, size: int, stores: Iterable[tuple[int, int, int]]) -> int:
    """Return the bytes such a table takes."""

def place_table(
    mapping: Mapping,
    name: bytes,
    key_type: int,
    size: int,
    stores: Iterable[tuple[int, int, int]],
    *,
    key_size: int = ...,
    expire_ms: int = ...,
    nopurge: bool = ...,
    generation: int = ...,
    room: int | None = ...,
) -> tuple[int, str]:
    """Make a table, or keep the one of this name; (its place, "made" | "kept" | "resized" | "emptied").

    `stores` are (number of table_store, cells, ms of the period). Raise OSError: no memory for it (ENOSPC), or `room`, bytes
    that may be taken, is too little (ENOMEM).
    """

def unmake_table(mapping: Mapping, at: int) -> None:
    """Give back a table that was made for a generation that did not come into force."""

def collect_tables(mapping: Mapping) -> None:
    """Give back the tables that no generation in use names and nobody holds."""

def table_places(mapping: Mapping) -> dict[str, int]: ...
def table_information(mapping: Mapping, at: int, now_ms: int | None = ...) -> dict[str, object]: ...
def table_rows(
    mapping: Mapping, at: int, now_ms: int | None = ...
) -> Iterator[tuple[int, bytes, int, int, int, list[int]]]:
    """Yield (address, key, holders, ms to live, shard, values store by store) of each entry."""

def count(
    mapping: Mapping, at: int, key: bytes, store: int, n: int = ..., *, cell: int = ..., now_ms: int | None = ...,
    times: int = ...,
) -> bool: ...  # fmt: skip
def count_numbers(mapping: Mapping, at: int, store: int, begin: int, keys: int, times: int, now_ms: int) -> int:
    """Return how many were refused."""

def put(
    mapping: Mapping, at: int, key: bytes, store: int, n: int, *, cell: int = ..., now_ms: int | None = ...
) -> bool: ...
def read(
    mapping: Mapping, at: int, key: bytes, store: int, *, cell: int = ..., now_ms: int | None = ...
) -> int | None: ...
def table_row(
    mapping: Mapping, at: int, key: bytes, now_ms: int | None = ...
) -> tuple[int, bytes, int, int, int, list[int]] | None:
    """Return what `table_rows` yields of a key. It is not touched."""

def set_cells(
    mapping: Mapping, at: int, key: bytes, values: Iterable[tuple[int, int]], *, now_ms: int | None = ...
) -> bool:
    """Touch an entry, made if need be, and set (store, value); of arrays the first cell, of rates the events of a period
    that begins now. False: no room."""

def clear_shard(mapping: Mapping, at: int, shard: int) -> int:
    """Take away all entries of a shard that nobody holds, a few per lock; how many."""

def drop(mapping: Mapping, at: int, key: bytes, *, now_ms: int | None = ...) -> bool: ...
def make_ledger(mapping: Mapping, slot: int) -> None:
    """Give a worker slot its ledger; again is harmless. Raise OSError: no memory for it."""

def hold(mapping: Mapping, at: int, slot: int, key: bytes, *, now_ms: int | None = ..., counts: int = ...) -> int: ...
def release(mapping: Mapping, slot: int, place: int, *, now_ms: int | None = ...) -> None: ...
def bury_tables(mapping: Mapping, slot: int, now_ms: int | None = ...) -> None:
    """Give back what a worker held that has ended."""
