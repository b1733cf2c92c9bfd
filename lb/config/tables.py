"""From the stick tables of the model to what the supervisor makes; every mistake a finding."""

import re
from collections.abc import Callable, Mapping

from msgspec import UNSET

from lb.config.diagnostic import Finding, Path
from lb.config.part import TablePart
from lb.config.suggestion import nearest
from lb.language.tables import ARRAY_MAX
from lb.model.table import Table
from lb.model.units import UnitError, duration_ms, size_bytes

# Numbers of table_key_type, and bytes of a key when none are given.
KEY_TYPES = {"ip": 1, "ipv6": 2, "integer": 3, "string": 4, "binary": 5}
KEY_SIZE, KEY_MAX = 32, 256
SIZE_MAX = 16_777_216
TABLES_MAX = 1000

# Numbers of table_store.
STORES = {
    "server_id": 0,
    "gpt0": 1,
    "gpc0": 2,
    "gpc0_rate": 3,
    "conn_cnt": 4,
    "conn_rate": 5,
    "conn_cur": 6,
    "sess_cnt": 7,
    "sess_rate": 8,
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
    "http_fail_cnt": 19,
    "http_fail_rate": 20,
    "gpt": 21,
    "gpc": 22,
    "gpc_rate": 23,
}
UNBUILT_STORES = ("server_key", "glitch_cnt", "glitch_rate")
ARRAYS = {"gpt": ("gpt0",), "gpc": ("gpc0", "gpc1"), "gpc_rate": ("gpc0_rate", "gpc1_rate")}
"""Arrays, and what their first cells are called without one."""
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
            given = found[2]
            cells = 1
            if word in ARRAYS:
                cells, given = self._cells(path, word, given)
            period = self._period(path, word, given)
            if STORES[word] in made:
                self._wrong(path, f"'store': '{word}' is given twice")
            made[STORES[word]] = (STORES[word], cells, period)
        for array, others in ARRAYS.items():
            for other in others:
                if STORES[array] in made and STORES[other] in made:
                    self._wrong(
                        ("store",),
                        f"'store': '{other}' is the array '{array}' too",
                        f"remove '{other}'; its fetches stay",
                    )
        return tuple(made[number] for number in sorted(made))

    def _cells(self, path: Path, word: str, text: str | None) -> tuple[int, str | None]:
        """Return the length of an array, and what stands behind it."""
        example = f"{word}(4,10s)" if word.endswith("_rate") else f"{word}(4)"
        number, comma, rest = (text or "").partition(",")
        if not number.isdecimal() or not 1 <= int(number[:9]) <= ARRAY_MAX:
            self._wrong(path, f"'store': '{word}' needs a length from 1 to {ARRAY_MAX}", f"write '{example}'")
            return 1, "1s" if word.endswith("_rate") else None
        return int(number), rest if comma else None

    def _period(self, path: Path, word: str, text: str | None) -> int:
        if not word.endswith("_rate"):
            if text is not None:
                example = f"{word}(4)" if word in ARRAYS else word
                self._wrong(
                    path,
                    f"'store': '{word}' takes no {'second ' if word in ARRAYS else ''}argument",
                    f"write '{example}'",
                )
            return 0
        if text is None:
            example = f"{word}(4,10s)" if word in ARRAYS else f"{word}(10s)"
            self._wrong(path, f"'store': '{word}' needs a period", f"write '{example}'")
            return 1
        try:
            ms = duration_ms(text)
        except UnitError as error:
            self._wrong(path, f"'store': '{text}' {error}")
            return 1
        if ms == 0:
            self._wrong(path, f"'store': '{word}' needs a period above 0")
        return ms
