"""Stick tables for Python: made and kept by the supervisor, shown on the admin socket, tried by tests and benches."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from lb._speedups.base.ledger cimport ledger_make, ledger_of, ledger_t
from lb._speedups.base.mapping cimport MAPPING_ARENA, MAPPING_ARENA_AT, MAPPING_WORKERS, mapping_t
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.table cimport (
    ENTRY_USED, STORES, TABLE_ARRAY_MAX, TABLE_BINARY, TABLE_INTEGER, TABLE_IP, TABLE_IPV6, TABLE_KEY_MAX, TABLE_NAME,
    TABLE_NOPURGE, TABLE_SIZE_MAX, TABLE_STRING, table_add_locked, table_agrees, table_at, table_bytes, table_copy,
    table_drop_locked, table_enter, table_entry, table_entry_t, table_hold, table_key, table_key_t, table_leave, table_make,
    table_is_expired, table_named, table_rate_t, table_read_locked, table_release, table_set_locked, table_shard, table_spec_t,
    table_stores, table_t, table_take, table_unmake, table_used, tables_bury, tables_collect, tables_of,
)

import os
from time import monotonic_ns

cdef enum:
    COPIES = 64                  # entries that are copied under one lock


globals().update(
    TABLE_IP=TABLE_IP,
    TABLE_IPV6=TABLE_IPV6,
    TABLE_INTEGER=TABLE_INTEGER,
    TABLE_STRING=TABLE_STRING,
    TABLE_BINARY=TABLE_BINARY,
    TABLE_NOPURGE=TABLE_NOPURGE,
    TABLE_KEY_MAX=TABLE_KEY_MAX,
    TABLE_ARRAY_MAX=TABLE_ARRAY_MAX,
    TABLE_SIZE_MAX=TABLE_SIZE_MAX,
    TABLE_NAME=TABLE_NAME,
)

# Names by table_store, as `show table` has them.
STORE_NAMES = (
    "server_id", "gpt0", "gpc0", "gpc0_rate", "conn_cnt", "conn_rate", "conn_cur", "sess_cnt", "sess_rate", "http_req_cnt",
    "http_req_rate", "http_err_cnt", "http_err_rate", "bytes_in_cnt", "bytes_in_rate", "bytes_out_cnt", "bytes_out_rate",
    "gpc1", "gpc1_rate", "http_fail_cnt", "http_fail_rate", "gpt", "gpc", "gpc_rate", "owed_ms", "refused", "glitch_cnt",
    "glitch_rate",
)


cdef mapping_t *mapping_in(Mapping mapping) except NULL:
    if mapping.m == NULL:
        raise ValueError("the mapping is closed")
    return mapping.m


cdef table_t *table_in(Mapping mapping, uint64_t at) except NULL:
    cdef mapping_t *m = mapping_in(mapping)
    if at < MAPPING_ARENA_AT or at >= MAPPING_ARENA_AT + m.arena_used or at % 64:
        raise ValueError(f"no table at {at}")
    return table_at(m, at)


cdef ledger_t *ledger_in(Mapping mapping, uint32_t slot) except NULL:
    cdef ledger_t *ledger
    if slot > MAPPING_WORKERS:
        raise IndexError(slot)
    ledger = ledger_of(mapping_in(mapping), slot)
    if ledger == NULL:
        raise ValueError(f"worker {slot} has no ledger")
    return ledger


cdef uint64_t moment(now_ms):
    return monotonic_ns() // 1_000_000 if now_ms is None else now_ms


cdef int fill_spec(
    table_spec_t *spec, bytes name, key_type, key_size, size, expire_ms, bint nopurge, stores
) except -1:
    memset(spec, 0, sizeof(table_spec_t))
    spec.name = name
    spec.name_len = len(name)
    spec.key_type = key_type
    spec.key_size = key_size
    spec.size = size
    spec.expire_ms = expire_ms
    spec.flags = TABLE_NOPURGE if nopurge else 0
    for store, cells, period_ms in stores:
        if not 0 <= store < STORES or not 1 <= cells <= TABLE_ARRAY_MAX:
            raise ValueError(f"store {store} with {cells} cells")
        spec.cells[<uint32_t> store] = cells
        spec.periods[<uint32_t> store] = period_ms
    return 0


def table_size(key_type, key_size, size, stores):
    cdef table_spec_t spec
    fill_spec(&spec, b"", key_type, key_size, size, 0, False, stores)
    return table_bytes(&spec)


def place_table(
    Mapping mapping, bytes name, key_type, size, stores, *, key_size=0, expire_ms=0, bint nopurge=False, generation=1,
    room=None,
):
    cdef mapping_t *m = mapping_in(mapping)
    cdef table_spec_t spec
    cdef table_t *old
    cdef table_t *t
    cdef uint64_t at, needed
    cdef int failed
    fill_spec(&spec, name, key_type, key_size, size, expire_ms, nopurge, stores)
    if tables_of(m).secret[0] == 0:
        tables_of(m).secret[0] = int.from_bytes(os.urandom(8), "little") | 1
        tables_of(m).secret[1] = int.from_bytes(os.urandom(8), "little")
    old = table_named(m, name, len(name))
    if (
        old != NULL and table_agrees(old, &spec) and old.size == spec.size and old.expire_ms == spec.expire_ms
        and old.flags == spec.flags
    ):
        old.generation = max(<uint64_t> generation, old.generation)
        return old.self_at, "kept"
    # What the arena has no room for at all is said by table_make.
    needed = table_bytes(&spec)
    if room is not None and needed > room and needed <= <uint64_t> MAPPING_ARENA:
        raise OSError(ENOMEM, os.strerror(ENOMEM))
    at = table_make(m, &spec)
    if at == 0:
        PyErr_SetFromErrno(OSError)
    t = table_at(m, at)
    t.generation = generation
    outcome = "made"
    if old != NULL:
        outcome = "emptied"
        if table_agrees(old, &spec):
            with nogil:
                failed = table_copy(m, t, old)
            if failed:
                PyErr_SetFromErrno(OSError)
            outcome = "resized"
    t.next_at = tables_of(m).first_at
    tables_of(m).first_at = at
    return at, outcome


def unmake_table(Mapping mapping, uint64_t at):
    table_unmake(mapping_in(mapping), table_in(mapping, at))


def collect_tables(Mapping mapping):
    tables_collect(mapping_in(mapping))


def table_places(Mapping mapping):
    cdef mapping_t *m = mapping_in(mapping)
    cdef uint64_t at = tables_of(m).first_at
    found = {}
    while at != 0:
        t = table_at(m, at)
        found.setdefault(t.name.decode("utf-8", "surrogateescape"), at)
        at = t.next_at
    return found


def table_information(Mapping mapping, uint64_t at, now_ms=None):
    cdef table_t *t = table_in(mapping, at)
    cdef uint64_t evicted = 0, refused = 0
    cdef uint32_t i, store
    for i in range(t.shards):
        evicted += table_shard(t, i).evicted
        refused += table_shard(t, i).refused
    return {
        "name": t.name.decode("utf-8", "surrogateescape"),
        "key_type": t.key_type,
        "size": t.size,
        "room": t.shards * t.shard_size,
        "used": table_used(mapping.m, t, moment(now_ms)),
        "bytes": t.bytes,
        "shards": t.shards,
        "stride": t.stride,
        "evicted": evicted,
        "refused": refused,
        "stores": [(store, t.columns[store].cells, t.columns[store].period_ms) for store in range(STORES)
                   if table_stores(t, store)],
    }


# Copies of entries of a shard that are there, from the i-th on: their number; `i` becomes where the next ones begin. As many as
# one lock may take time for.
cdef uint32_t copy_entries(
    mapping_t *m, table_t *t, uint32_t shard, uint64_t now_ms, uint32_t *i, char *copies, uint32_t *numbers, bint *more
) noexcept nogil:
    cdef table_entry_t *e
    cdef uint32_t n = 0, looked = 0
    more[0] = False
    if table_take(m, t, shard) != 0:
        return 0
    while i[0] < table_shard(t, shard).fresh:
        if n == COPIES or looked == 8 * COPIES:
            more[0] = True
            break
        e = table_entry(t, shard, i[0])
        if e.state == ENTRY_USED and not table_is_expired(t, e, now_ms):
            memcpy(copies + n * t.stride, e, t.stride)
            numbers[n] = i[0]
            n += 1
        i[0] += 1
        looked += 1
    table_leave(t, shard)
    return n


def table_rows(Mapping mapping, uint64_t at, now_ms=None):
    cdef table_t *t = table_in(mapping, at)
    cdef uint64_t now = moment(now_ms)
    cdef uint32_t numbers[COPIES]
    cdef uint32_t shard, i, n, k
    cdef bint more = True
    copies = bytearray(COPIES * t.stride)
    for shard in range(t.shards):
        i = 0
        more = True
        while more:
            rows = []
            n = copy_entries(mapping.m, t, shard, now, &i, copies, numbers, &more)
            for k in range(n):
                rows.append(row_of(t, shard, numbers[k], <table_entry_t *> (<char *> copies + k * t.stride), now))
            yield from rows


cdef object row_of(table_t *t, uint32_t shard, uint32_t i, table_entry_t *e, uint64_t now):
    cdef uint32_t store, cell
    cdef uint64_t left = 0
    if t.expire_ms != 0 and e.touched_ms + t.expire_ms > now:
        left = e.touched_ms + t.expire_ms - now
    return (
        <uint64_t> table_entry(t, shard, i), (<const char *> e.key)[:e.key_len], e.refs, left, shard,
        [table_read_locked(t, e, store, cell, now) for store in range(STORES) for cell in range(t.columns[store].cells)],
    )


cdef int key_in(const table_t *t, table_key_t *key, bytes given) except -1:
    table_key(t, key, given, len(given))
    return 0


def count(Mapping mapping, uint64_t at, bytes key, uint32_t store, uint64_t n=1, *, uint32_t cell=0, now_ms=None,
          uint64_t times=1):
    """Touch the entry so often and count each time; False: no room."""
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e = NULL
    cdef table_key_t k
    cdef uint64_t now = moment(now_ms), _i
    cdef const char *p = key
    cdef size_t size = len(key)
    with nogil:
        for _i in range(times):
            table_key(t, &k, p, size)
            e = table_enter(mapping.m, t, &k, now, True)
            if e == NULL:
                break
            table_add_locked(t, e, store, cell, n, now)
            table_leave(t, k.shard)
    return e != NULL


def count_numbers(Mapping mapping, uint64_t at, uint32_t store, uint64_t begin, uint64_t keys, uint64_t times, now_ms):
    """Touch and count so often the entries of the integers from `begin` on, one after the other by a stride."""
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    cdef uint64_t now = now_ms, i, refused = 0
    cdef uint32_t number
    with nogil:
        for i in range(times):
            number = <uint32_t> (begin + (i * 2654435761ULL) % keys)
            table_key(t, &k, <const char *> &number, 4)
            e = table_enter(mapping.m, t, &k, now, True)
            if e == NULL:
                refused += 1
                continue
            table_add_locked(t, e, store, 0, 1, now)
            table_leave(t, k.shard)
    return refused


def put(Mapping mapping, uint64_t at, bytes key, uint32_t store, uint64_t n, *, uint32_t cell=0, now_ms=None):
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    key_in(t, &k, key)
    e = table_enter(mapping.m, t, &k, moment(now_ms), True)
    if e == NULL:
        return False
    table_set_locked(t, e, store, cell, n)
    table_leave(t, k.shard)
    return True


def read(Mapping mapping, uint64_t at, bytes key, uint32_t store, *, uint32_t cell=0, now_ms=None):
    """Return a cell of an entry; None: there is no such entry. It is not touched."""
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    cdef uint64_t now = moment(now_ms), value
    key_in(t, &k, key)
    e = table_enter(mapping.m, t, &k, now, False)
    if e == NULL:
        return None
    value = table_read_locked(t, e, store, cell, now)
    table_leave(t, k.shard)
    return value


def table_row(Mapping mapping, uint64_t at, bytes key, now_ms=None):
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    cdef uint64_t now = moment(now_ms)
    cdef uint32_t i
    copy = bytearray(t.stride)
    key_in(t, &k, key)
    e = table_enter(mapping.m, t, &k, now, False)
    if e == NULL:
        return None
    memcpy(<char *> copy, e, t.stride)
    i = <uint32_t> ((<char *> e - <char *> table_entry(t, k.shard, 0)) // t.stride)
    table_leave(t, k.shard)
    return row_of(t, k.shard, i, <table_entry_t *> <char *> copy, now)


def set_cells(Mapping mapping, uint64_t at, bytes key, values, *, now_ms=None):
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    cdef uint64_t now = moment(now_ms)
    cdef uint32_t stores[STORES]
    cdef uint64_t numbers[STORES]
    cdef table_rate_t *rate
    cdef uint32_t n = 0, i
    for store, value in values:
        if not 0 <= store < STORES or n == STORES:
            raise ValueError(f"store {store}")
        stores[n] = store
        numbers[n] = value
        n += 1
    key_in(t, &k, key)
    e = table_enter(mapping.m, t, &k, now, True)
    if e == NULL:
        return False
    for i in range(n):
        if t.columns[stores[i]].period_ms:
            rate = <table_rate_t *> (<char *> e + t.columns[stores[i]].at)
            rate.previous = 0
            rate.current = <uint32_t> numbers[i]
            rate.tick_ms = now
        else:
            table_set_locked(t, e, stores[i], 0, numbers[i])
    table_leave(t, k.shard)
    return True


def clear_shard(Mapping mapping, uint64_t at, uint32_t shard):
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef uint32_t i = 0, _looked, cleared = 0
    if shard >= t.shards:
        raise IndexError(shard)
    while i < table_shard(t, shard).fresh:
        if table_take(mapping.m, t, shard) != 0:
            break
        for _looked in range(COPIES):
            if i == table_shard(t, shard).fresh:
                break
            e = table_entry(t, shard, i)
            if e.state == ENTRY_USED and e.refs == 0:
                table_drop_locked(t, shard, e)
                cleared += 1
            i += 1
        table_leave(t, shard)
    return cleared


def drop(Mapping mapping, uint64_t at, bytes key, *, now_ms=None):
    """Take an entry away; False: it is not there, or held."""
    cdef table_t *t = table_in(mapping, at)
    cdef table_entry_t *e
    cdef table_key_t k
    key_in(t, &k, key)
    e = table_enter(mapping.m, t, &k, moment(now_ms), False)
    if e == NULL:
        return False
    dropped = e.refs == 0
    if dropped:
        table_drop_locked(t, k.shard, e)
    table_leave(t, k.shard)
    return dropped


def make_ledger(Mapping mapping, uint32_t slot):
    if not 0 <= slot <= MAPPING_WORKERS:
        raise IndexError(slot)
    if ledger_make(mapping_in(mapping), slot) != 0:
        PyErr_SetFromErrno(OSError)


def hold(Mapping mapping, uint64_t at, uint32_t slot, bytes key, *, now_ms=None, uint32_t counts=0):
    """Hold an entry for a worker; the place in its ledger, 0 = no room."""
    cdef table_t *t = table_in(mapping, at)
    cdef table_key_t k
    cdef uint32_t number
    key_in(t, &k, key)
    return table_hold(mapping.m, t, ledger_in(mapping, slot), &k, moment(now_ms), counts, &number)


def release(Mapping mapping, uint32_t slot, uint32_t place, *, now_ms=None):
    cdef ledger_t *ledger = ledger_in(mapping, slot)
    if not 1 <= place <= ledger.used or ledger.held[place - 1].object == 0:
        raise ValueError(f"worker {slot} holds nothing at {place}")
    table_release(mapping.m, ledger, place, moment(now_ms))


def bury_tables(Mapping mapping, uint32_t slot, now_ms=None):
    cdef uint64_t now = moment(now_ms)
    tables_bury(mapping_in(mapping), slot, now)
