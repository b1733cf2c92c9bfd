"""Stick tables beside a slow, obvious model of one, under random operations and rebuilds."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lb._speedups.face.mapping import Mapping
from lb._speedups.face.tables import (
    STORE_NAMES,
    TABLE_STRING,
    bury_tables,
    count,
    drop,
    hold,
    make_ledger,
    place_table,
    put,
    read,
    release,
    table_rows,
)
from lb._speedups.face.testing_tables import check, spoil, wind

GPC0 = STORE_NAMES.index("gpc0")
CONN_CUR = STORE_NAMES.index("conn_cur")
RATE = STORE_NAMES.index("http_req_rate")
PERIOD = 1000

KEYS = strategies.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"", b"longer-key"])


@dataclass
class Rate:
    tick: int = 0
    current: int = 0
    previous: int = 0

    def add(self, n: int, now: int) -> None:
        if now - self.tick >= PERIOD:
            self.previous, self.current, self.tick = self.current, 0, self.tick + PERIOD
            if now - self.tick >= PERIOD:
                self.previous, self.tick = 0, now
        self.current += n

    def read(self, now: int) -> int:
        current, past = self.current, self.previous
        remain = self.tick + PERIOD - now
        if remain < 0:
            remain += PERIOD
            past = current if remain >= 0 else 0
            current = 0
        if not current and past <= 1:
            return past
        return (past * remain + current * PERIOD) // PERIOD


@dataclass
class Entry:
    touched: int
    gpc0: int = 0
    holders: list[int] = field(default_factory=list)
    rate: Rate = field(default_factory=Rate)


class Tables(RuleBasedStateMachine):
    """Entries in the order of their last touch: a dict does it."""

    @initialize(
        size=strategies.integers(1, 6),
        expire=strategies.sampled_from([0, 1500, 5000]),
        nopurge=strategies.booleans(),
    )
    def begin(self, size: int, expire: int, nopurge: bool) -> None:
        self.mapping = Mapping.create()
        make_ledger(self.mapping, 1)
        make_ledger(self.mapping, 2)
        stores = ((GPC0, 1, 0), (CONN_CUR, 1, 0), (RATE, 1, PERIOD))
        self.at, _ = place_table(
            self.mapping, b"t", TABLE_STRING, size, stores, key_size=10, expire_ms=expire, nopurge=nopurge
        )
        self.size, self.expire, self.nopurge = size, expire, nopurge
        self.now = 1_000_000
        self.model: dict[bytes, Entry] = {}
        self.held: list[tuple[int, int, bytes]] = []

    def teardown(self) -> None:
        if hasattr(self, "mapping"):
            self.mapping.close()

    def is_expired(self, entry: Entry) -> bool:
        return bool(self.expire) and not entry.holders and self.now >= entry.touched + self.expire

    def enter(self, key: bytes) -> Entry | None:
        entry = self.model.pop(key, None)
        if entry is not None and self.is_expired(entry):
            entry = None
        if entry is None:
            free = [each for each, found in self.model.items() if not found.holders]
            gone = [each for each in free if self.is_expired(self.model[each])]
            if len(self.model) >= self.size:
                if gone:
                    del self.model[gone[0]]
                elif free and not self.nopurge:
                    del self.model[free[0]]
                else:
                    return None
            entry = Entry(self.now)
        entry.touched = self.now
        self.model[key] = entry
        return entry

    @rule(ms=strategies.sampled_from([0, 1, 400, 999, 1000, 1001, 1999, 2500, 9000]))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule(key=KEYS, n=strategies.integers(1, 5))
    def counting(self, key: bytes, n: int) -> None:
        entry = self.enter(key)
        assert count(self.mapping, self.at, key, GPC0, n, now_ms=self.now) == (entry is not None)
        if entry is not None:
            entry.gpc0 += n

    @rule(key=KEYS, n=strategies.integers(1, 9))
    def rating(self, key: bytes, n: int) -> None:
        entry = self.enter(key)
        assert count(self.mapping, self.at, key, RATE, n, now_ms=self.now) == (entry is not None)
        if entry is not None:
            entry.rate.add(n, self.now)

    @rule(key=KEYS, n=strategies.integers(0, 5))
    def setting(self, key: bytes, n: int) -> None:
        entry = self.enter(key)
        assert put(self.mapping, self.at, key, GPC0, n, now_ms=self.now) == (entry is not None)
        if entry is not None:
            entry.gpc0 = n

    @rule(key=KEYS, slot=strategies.integers(1, 2))
    def holding(self, key: bytes, slot: int) -> None:
        entry = self.enter(key)
        place = hold(self.mapping, self.at, slot, key, now_ms=self.now)
        assert (place != 0) == (entry is not None)
        if entry is not None:
            entry.holders.append(slot)
            self.held.append((slot, place, key))

    @rule(which=strategies.integers(0, 50))
    def releasing(self, which: int) -> None:
        if self.held:
            slot, place, key = self.held.pop(which % len(self.held))
            release(self.mapping, slot, place, now_ms=self.now)
            self.let_go(slot, key)

    def let_go(self, slot: int, key: bytes) -> None:
        entry = self.model.pop(key)
        entry.holders.remove(slot)
        entry.touched = self.now
        self.model[key] = entry

    @rule(slot=strategies.integers(1, 2))
    def dying(self, slot: int) -> None:
        bury_tables(self.mapping, slot, self.now)
        for each in sorted(each for each in self.held if each[0] == slot):
            self.let_go(slot, each[2])
        self.held = [each for each in self.held if each[0] != slot]

    @rule(key=KEYS)
    def dropping(self, key: bytes) -> None:
        entry = self.model.get(key)
        is_there = entry is not None and not entry.holders and not self.is_expired(entry)
        assert drop(self.mapping, self.at, key, now_ms=self.now) == is_there
        if is_there or (entry is not None and self.is_expired(entry)):
            del self.model[key]

    @rule()
    def rebuilding(self) -> None:
        spoil(self.mapping, self.at)

    @rule(left=strategies.integers(0, 3))
    def winding(self, left: int) -> None:
        wind(self.mapping, self.at, 0xFFFFFFFF - left)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "mapping"):
            return
        check(self.mapping, self.at)
        for key, entry in list(self.model.items()):
            if self.is_expired(entry):
                assert read(self.mapping, self.at, key, GPC0, now_ms=self.now) is None
                del self.model[key]
                continue
            assert read(self.mapping, self.at, key, GPC0, now_ms=self.now) == entry.gpc0
            assert read(self.mapping, self.at, key, CONN_CUR, now_ms=self.now) == len(entry.holders)
            assert read(self.mapping, self.at, key, RATE, now_ms=self.now) == entry.rate.read(self.now)
        assert {row[1] for row in table_rows(self.mapping, self.at, self.now)} == set(self.model)


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
