"""From the stick tables of the model to what the supervisor makes; every mistake a finding."""

import re
from collections.abc import Callable, Mapping

from msgspec import UNSET

from lb.config.diagnostic import Finding, Path
from lb.config.part import TablePart
from lb.config.suggestion import nearest
from lb.model.table import Table
from lb.model.units import UnitError, duration_ms, size_bytes

# Numbers of table_key_type, and bytes of a key when none are given.
KEY_TYPES = {"ip": 1, "ipv6": 2, "integer": 3, "string": 4, "binary": 5}
KEY_SIZE, KEY_MAX = 32, 256
SIZE_MAX = 16_777_216
TABLES_MAX = 1000

# Numbers of table_store.
STORES = {
    "gpc0": 2,
    "gpc0_rate": 3,
    "conn_cnt": 4,
    "conn_rate": 5,
    "conn_cur": 6,
    "http_req_cnt": 9,
    "http_req_rate": 10,
    "http_err_cnt": 11,
    "http_err_rate": 12,
    "bytes_in_cnt": 13,
    "bytes_in_rate": 14,
    "bytes_out_cnt": 15,
    "bytes_out_rate": 16,
    "gpc1": 17,
    "gpc1_rate": 18,
}
UNBUILT_STORES = (
    *("server_id", "server_key", "gpt", "gpt0", "gpc", "gpc_rate", "sess_cnt", "sess_rate"),
    *("http_fail_cnt", "http_fail_rate", "glitch_cnt", "glitch_rate"),
)
_WORD = re.compile(r"([a-z0-9_]+)(?:\(([^()]*)\))?")


def table_parts(tables: Mapping[str, Table], report: Callable[[Finding], None]) -> tuple[TablePart, ...]:
    """Return what the tables are; mistakes are reported."""
    if len(tables) > TABLES_MAX:
        report(
            Finding(("tables",), "configuration", f"{len(tables)} tables are given; at most {TABLES_MAX} are possible")
        )
    return tuple(_Reader(name, table, report).part() for name, table in tables.items())


class _Reader:
    """Reads one table."""

    def __init__(self, name: str, table: Table, report: Callable[[Finding], None]) -> None:
        self.name = name
        self.table = table
        self._report = report

    def _wrong(self, path: Path, message: str, hint: str = "") -> None:
        self._report(Finding(("tables", self.name, *path), f"table '{self.name}'", message, hint))

    def part(self) -> TablePart:
        """Return the table; mistakes are reported."""
        key_type, key_size = self._key()
        return TablePart(
            self.name, key_type, key_size, self._size(), self._expire(), self.table.nopurge, self._stores()
        )

    def _key(self) -> tuple[int, int]:
        text = self.table.key
        found = _WORD.fullmatch(text)
        kind = found[1] if found else text
        if kind not in KEY_TYPES:
            near = nearest(kind, KEY_TYPES)
            hint = f"did you mean '{near}'?" if near else "write ip, ipv6, integer, string or binary"
            self._wrong(("key",), f"unknown key type '{kind}'", hint)
            return 1, 0
        assert found is not None
        if kind not in ("string", "binary"):
            if found[2] is not None:
                self._wrong(("key",), f"'key': '{kind}' takes no length", f"write '{kind}'")
            return KEY_TYPES[kind], 0
        if found[2] is None:
            return KEY_TYPES[kind], KEY_SIZE
        if not found[2].isdecimal() or not 1 <= int(found[2][:9]) <= KEY_MAX:
            self._wrong(("key",), f"'key': '{found[2]}' is not a length from 1 to {KEY_MAX}")
            return KEY_TYPES[kind], KEY_SIZE
        return KEY_TYPES[kind], int(found[2])

    def _size(self) -> int:
        given = self.table.size
        try:
            size = given if isinstance(given, int) else size_bytes(given)
        except UnitError:
            return 1  # which the shape has reported
        if not 1 <= size <= SIZE_MAX:
            self._wrong(("size",), f"'size': {size} keys are not possible", f"from 1 to {SIZE_MAX} are")
            return 1
        return size

    def _expire(self) -> int:
        if self.table.expire is UNSET:
            return 0
        try:
            ms = duration_ms(self.table.expire)
        except UnitError as error:
            self._wrong(("expire",), f"'expire': '{self.table.expire}' {error}")
            return 0
        if ms == 0:
            self._wrong(("expire",), "'expire': 0 keeps nothing", "remove it, and keys stay until there is no room")
        return ms

    def _stores(self) -> tuple[tuple[int, int, int], ...]:
        made: dict[int, tuple[int, int, int]] = {}
        for index, text in enumerate(self.table.store):
            path: Path = ("store", index)
            found = _WORD.fullmatch(text.replace(" ", ""))
            word = found[1] if found else text
            if word in UNBUILT_STORES:
                self._wrong(path, f"'store': '{word}' is known but not built yet")
                continue
            if found is None or word not in STORES:
                near = nearest(word, STORES)
                self._wrong(
                    path, f"'store': unknown word '{word}'", f"did you mean '{near}'?" if near else "see the reference"
                )
                continue
            period = self._period(path, word, found[2])
            if STORES[word] in made:
                self._wrong(path, f"'store': '{word}' is given twice")
            made[STORES[word]] = (STORES[word], 1, period)
        return tuple(made[number] for number in sorted(made))

    def _period(self, path: Path, word: str, text: str | None) -> int:
        if not word.endswith("_rate"):
            if text is not None:
                self._wrong(path, f"'store': '{word}' takes no argument", f"write '{word}'")
            return 0
        if text is None:
            self._wrong(path, f"'store': '{word}' needs a period", f"write '{word}(10s)'")
            return 1
        try:
            ms = duration_ms(text)
        except UnitError as error:
            self._wrong(path, f"'store': '{text}' {error}")
            return 1
        if ms == 0:
            self._wrong(path, f"'store': '{word}' needs a period above 0")
        return ms
