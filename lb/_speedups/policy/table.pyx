from libc.errno cimport EINVAL
from libc.string cimport memcmp, memcpy, memset

from lb._speedups.base.ledger cimport held_t, ledger_clear, ledger_give, ledger_of, ledger_take
from lb._speedups.base.lock cimport LOCK_LOST, LOCK_OK, lock_give, lock_init, lock_repaired, lock_take
from lb._speedups.base.mapping cimport (
    MAPPING_WORKERS, mapping_allocate, mapping_oldest, mapping_release, set_errno,
)
from lb._speedups.base.siphash cimport siphash13


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)
    uint32_t lb_load_u32(const uint32_t *p)
    uint64_t lb_load_u64(const uint64_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)
    void lb_store_u64(uint64_t *p, uint64_t value)


cdef enum:
    LINE = 64
    PURGES = 2                   # expired entries that a new one takes away: enough to stay ahead
    BINS = 16                    # of the sort: 2^16 entries and more


cdef inline uint64_t lines(uint64_t bytes) noexcept nogil:
    return (bytes + LINE - 1) & ~<uint64_t> (LINE - 1)


cdef inline uint32_t *buckets_of(const table_t *t, uint32_t shard) noexcept nogil:
    return (<uint32_t *> (<char *> t + t.buckets_at)) + <uint64_t> shard * t.buckets


cdef inline uint32_t *bucket_of(const table_t *t, uint32_t shard, uint64_t hash) noexcept nogil:
    return buckets_of(t, shard) + (hash & (t.buckets - 1))


cdef inline uint32_t index_of(const table_t *t, uint32_t shard, const table_entry_t *e) noexcept nogil:
    return <uint32_t> ((<const char *> e - <const char *> table_entry(t, shard, 0)) // t.stride)


cdef inline bint is_rate(uint32_t store) noexcept nogil:
    return (
        store == STORE_GPC0_RATE or store == STORE_CONN_RATE or store == STORE_SESS_RATE or store == STORE_HTTP_REQ_RATE
        or store == STORE_HTTP_ERR_RATE or store == STORE_BYTES_IN_RATE or store == STORE_BYTES_OUT_RATE
        or store == STORE_GPC1_RATE or store == STORE_GPC_RATE or store == STORE_HTTP_FAIL_RATE
    )


cdef inline bint is_wide(uint32_t store) noexcept nogil:
    return store == STORE_BYTES_IN_CNT or store == STORE_BYTES_OUT_CNT or store == STORE_ARRIVAL


# ---- layout ----


cdef uint32_t key_size_of(const table_spec_t *spec) noexcept nogil:
    if spec.key_type == TABLE_IP or spec.key_type == TABLE_INTEGER:
        return 4
    if spec.key_type == TABLE_IPV6:
        return 16
    return spec.key_size


# Shape the table in `t`, which is no more than a struct so far. Bytes of its region.
cdef uint64_t shape(table_t *t, const table_spec_t *spec) noexcept nogil:
    cdef uint32_t store, at, slack, each
    t.size = spec.size
    t.key_type = spec.key_type
    t.flags = spec.flags
    t.expire_ms = spec.expire_ms
    t.key_size = key_size_of(spec)
    t.key_words = (t.key_size + 7) // 8
    at = sizeof(table_entry_t) + (t.key_words - 1) * 8
    # Cells of 8 and 16 bytes before those of 4, so that all are aligned. conn_cur is `refs` and has none.
    for store in range(STORES):
        if spec.cells[store] != 0 and (is_rate(store) or is_wide(store)):
            t.columns[store].at = <uint16_t> at
            at += spec.cells[store] * (sizeof(table_rate_t) if is_rate(store) else 8)
    for store in range(STORES):
        if spec.cells[store] != 0 and not is_rate(store) and not is_wide(store):
            t.columns[store].at = <uint16_t> at
            if store != STORE_CONN_CUR:
                at += spec.cells[store] * 4
    for store in range(STORES):
        t.columns[store].cells = spec.cells[store]
        t.columns[store].period_ms = spec.periods[store] if is_rate(store) else 0
    t.stride = (at + 7) & ~<uint32_t> 7
    t.shards = 1
    t.shard_size = t.size
    if t.size >= TABLE_SPREAD:
        t.shards = 16
        while t.size // t.shards > TABLE_SHARD_MAX * 3 // 4:
            t.shards *= 2
        # Four standard deviations of how unevenly keys spread.
        each = (t.size + t.shards - 1) // t.shards
        slack = 1
        while slack * slack < each:
            slack += 1
        t.shard_size = each + 4 * slack
    t.buckets = 8
    while t.buckets < t.shard_size:
        t.buckets *= 2
    t.shards_at = lines(sizeof(table_t))
    t.buckets_at = t.shards_at + t.shards * sizeof(table_shard_t)
    t.entries_at = lines(t.buckets_at + <uint64_t> t.shards * t.buckets * sizeof(uint32_t))
    t.bytes = t.entries_at + <uint64_t> t.shards * t.shard_size * t.stride
    return t.bytes


cdef uint64_t table_bytes(const table_spec_t *spec) noexcept nogil:
    cdef table_t t
    memset(&t, 0, sizeof(t))
    return shape(&t, spec)


cdef uint64_t table_make(mapping_t *m, const table_spec_t *spec) noexcept nogil:
    cdef table_t t
    cdef table_t *made
    cdef uint64_t at
    cdef uint32_t shard
    if (
        spec.size < 1 or spec.size > TABLE_SIZE_MAX or not TABLE_IP <= spec.key_type <= TABLE_BINARY
        or key_size_of(spec) < 1 or key_size_of(spec) > TABLE_KEY_MAX or spec.name_len >= TABLE_NAME
    ):
        set_errno(EINVAL)
        return 0
    memset(&t, 0, sizeof(t))
    at = mapping_allocate(m, shape(&t, spec))
    if at == 0:
        return 0
    t.self_at = at
    t.secret[0] = tables_of(m).secret[0]
    t.secret[1] = tables_of(m).secret[1]
    memcpy(t.name, spec.name, spec.name_len)
    made = table_at(m, at)
    made[0] = t
    for shard in range(t.shards):
        if lock_init(&table_shard(made, shard).lock) != 0:
            mapping_release(m, at, t.bytes)
            set_errno(EINVAL)
            return 0
        table_rebuild_locked(m, made, shard)
    return at


cdef bint table_agrees(const table_t *t, const table_spec_t *spec) noexcept nogil:
    cdef uint32_t store
    if t.key_type != spec.key_type or t.key_size != key_size_of(spec):
        return False
    for store in range(STORES):
        if t.columns[store].cells != spec.cells[store]:
            return False
        if is_rate(store) and spec.cells[store] != 0 and t.columns[store].period_ms != spec.periods[store]:
            return False
    return True


# ---- keys ----


# The closing word has the key's own length.
cdef inline uint64_t hash_of(const table_t *t, const uint64_t *words, uint32_t len) noexcept nogil:
    return siphash13(t.secret, words, (len + 7) // 8, <uint64_t> len << 56 | <uint64_t> len)


cdef void table_key(const table_t *t, table_key_t *key, const char *p, size_t n) noexcept nogil:
    if n > t.key_size:
        n = t.key_size
    memset(key.words, 0, t.key_words * 8)
    memcpy(key.words, p, n)
    key.len = <uint32_t> n if t.key_type == TABLE_STRING else t.key_size
    key.hash = hash_of(t, key.words, key.len)
    key.shard = <uint32_t> (key.hash >> 40) & (t.shards - 1)


# ---- chains and age; all under the lock ----


cdef inline void age_add(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint32_t at = index_of(t, shard, e) + 1
    e.newer = 0
    e.older = s.newest
    if s.newest != 0:
        table_entry(t, shard, s.newest - 1).newer = at
    else:
        s.oldest = at
    s.newest = at


cdef inline void age_remove(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    if e.older != 0:
        table_entry(t, shard, e.older - 1).newer = e.newer
    else:
        s.oldest = e.newer
    if e.newer != 0:
        table_entry(t, shard, e.newer - 1).older = e.older
    else:
        s.newest = e.older
    e.older = 0
    e.newer = 0


# It was used now. Of what is held the place in the list is found when it is released.
cdef inline void touch(table_t *t, uint32_t shard, table_entry_t *e, uint64_t now_ms) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    s.stamps += 1
    e.stamp = s.stamps
    # Loops read the clock at different times: what was touched later by one of them is not made older.
    if now_ms > e.touched_ms:
        e.touched_ms = now_ms
    if e.refs == 0 and e.newer != 0:
        age_remove(t, shard, e)
        age_add(t, shard, e)


cdef inline bint is_expired(const table_t *t, const table_entry_t *e, uint64_t now_ms) noexcept nogil:
    return t.expire_ms != 0 and e.refs == 0 and now_ms >= e.touched_ms + t.expire_ms


cdef void table_drop_locked(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint32_t at = index_of(t, shard, e) + 1
    cdef uint32_t *link = bucket_of(t, shard, e.hash)
    LB_ASSERT(e.state == ENTRY_USED and e.refs == 0)
    lb_store_u32(&e.state, ENTRY_FREE)
    LB_KILL_POINT("table.dropping")
    while link[0] != at:
        link = &table_entry(t, shard, link[0] - 1).chain
    link[0] = e.chain
    age_remove(t, shard, e)
    e.chain = s.free
    s.free = at
    s.used -= 1


cdef void table_purge_locked(table_t *t, uint32_t shard, uint64_t now_ms) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef table_entry_t *e
    while s.oldest != 0:
        e = table_entry(t, shard, s.oldest - 1)
        if not is_expired(t, e, now_ms):
            break
        table_drop_locked(t, shard, e)


# A free entry, made free if need be; NULL = no room.
cdef table_entry_t *room_of(table_t *t, uint32_t shard, uint64_t now_ms) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef table_entry_t *e
    cdef int _
    for _ in range(PURGES):
        if s.oldest == 0:
            break
        e = table_entry(t, shard, s.oldest - 1)
        if not is_expired(t, e, now_ms):
            break
        table_drop_locked(t, shard, e)
    if s.free == 0:
        if s.oldest == 0 or t.flags & TABLE_NOPURGE:
            s.refused += 1
            return NULL
        s.evicted += 1
        table_drop_locked(t, shard, table_entry(t, shard, s.oldest - 1))
    return table_entry(t, shard, s.free - 1)


cdef table_entry_t *make_locked(table_t *t, const table_key_t *key, uint64_t now_ms) noexcept nogil:
    cdef uint32_t shard = key.shard
    cdef table_shard_t *s = table_shard(t, shard)
    cdef table_entry_t *e = room_of(t, shard, now_ms)
    cdef uint32_t *bucket
    cdef size_t head
    if e == NULL:
        return NULL
    head = sizeof(table_entry_t) - 8 + t.key_words * 8
    s.stamps += 1
    e.hash = key.hash
    e.touched_ms = now_ms
    e.stamp = s.stamps
    e.key_len = key.len
    memcpy(e.key, key.words, t.key_words * 8)
    memset(<char *> e + head, 0, t.stride - head)
    LB_KILL_POINT("table.making")
    lb_store_u32(&e.state, ENTRY_USED)
    LB_KILL_POINT("table.made")
    s.free = e.chain
    s.used += 1
    e.refs = 0
    bucket = bucket_of(t, shard, key.hash)
    e.chain = bucket[0]
    bucket[0] = index_of(t, shard, e) + 1
    LB_KILL_POINT("table.chained")
    age_add(t, shard, e)
    return e


cdef table_entry_t *find_locked(table_t *t, const table_key_t *key) noexcept nogil:
    cdef uint32_t at = bucket_of(t, key.shard, key.hash)[0]
    cdef table_entry_t *e
    while at != 0:
        e = table_entry(t, key.shard, at - 1)
        if e.hash == key.hash and e.key_len == key.len and memcmp(e.key, key.words, t.key_words * 8) == 0:
            return e
        at = e.chain
    return NULL


# ---- the rebuild ----


# Two lists by `newer`, oldest first, into one.
cdef uint32_t merge(const table_t *t, uint32_t shard, uint32_t a, uint32_t b) noexcept nogil:
    cdef uint32_t first = 0
    cdef uint32_t *tail = &first
    cdef table_entry_t *ea
    cdef table_entry_t *eb
    while a != 0 and b != 0:
        ea = table_entry(t, shard, a - 1)
        eb = table_entry(t, shard, b - 1)
        if ea.stamp <= eb.stamp:
            tail[0] = a
            tail = &ea.newer
            a = ea.newer
        else:
            tail[0] = b
            tail = &eb.newer
            b = eb.newer
    tail[0] = a if a != 0 else b
    return first


# Holders, from the ledgers.
cdef void count_refs_locked(mapping_t *m, table_t *t, uint32_t shard) noexcept nogil:
    cdef ledger_t *ledger
    cdef held_t *held
    cdef uint32_t slot, i
    for slot in range(MAPPING_WORKERS + 1):
        ledger = ledger_of(m, slot)
        if ledger == NULL:
            continue
        for i in range(lb_load_u32(&ledger.used)):
            held = &ledger.held[i]
            # What names this shard is written under its lock only, which is ours.
            if lb_load_u64(&held.object) == t.self_at and held.entry // t.shard_size == shard:
                table_entry(t, shard, held.entry % t.shard_size).refs += 1


cdef void table_rebuild_locked(mapping_t *m, table_t *t, uint32_t shard) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint32_t bins[BINS]
    cdef uint32_t i, at, list_, bin_
    cdef uint32_t *bucket
    cdef table_entry_t *e
    memset(buckets_of(t, shard), 0, t.buckets * sizeof(uint32_t))
    memset(bins, 0, sizeof(bins))
    s.used = 0
    s.free = 0
    s.stamps = 0
    for i in range(t.shard_size):
        table_entry(t, shard, i).refs = 0
    count_refs_locked(m, t, shard)
    for i in range(t.shard_size):
        # From the end, so that the first free entry is the first of all.
        at = t.shard_size - i
        e = table_entry(t, shard, at - 1)
        e.older = 0
        e.newer = 0
        if e.state != ENTRY_USED:
            e.chain = s.free
            s.free = at
            continue
        s.used += 1
        s.stamps = max(s.stamps, e.stamp)
        bucket = bucket_of(t, shard, e.hash)
        e.chain = bucket[0]
        bucket[0] = at
        if e.refs != 0:
            continue
        list_ = at
        bin_ = 0
        while bin_ < BINS - 1 and bins[bin_] != 0:
            list_ = merge(t, shard, bins[bin_], list_)
            bins[bin_] = 0
            bin_ += 1
        bins[bin_] = list_ if bins[bin_] == 0 else merge(t, shard, bins[bin_], list_)
    list_ = 0
    for bin_ in range(BINS):
        list_ = merge(t, shard, bins[bin_], list_)
    s.oldest = list_
    s.newest = 0
    while list_ != 0:
        e = table_entry(t, shard, list_ - 1)
        e.older = s.newest
        s.newest = list_
        list_ = e.newer


cdef int table_take(mapping_t *m, table_t *t, uint32_t shard) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef int got = lock_take(&s.lock)
    if UNLIKELY(got != LOCK_OK):
        if got == LOCK_LOST:
            return -1
        table_rebuild_locked(m, t, shard)
        lock_repaired(&s.lock)
    return 0


# ---- entries ----


cdef table_entry_t *table_enter(
    mapping_t *m, table_t *t, const table_key_t *key, uint64_t now_ms, bint create
) noexcept nogil:
    cdef table_entry_t *e
    if table_take(m, t, key.shard) != 0:
        return NULL
    LB_KILL_POINT("table.locked")
    e = find_locked(t, key)
    if UNLIKELY(e != NULL and is_expired(t, e, now_ms)):
        table_drop_locked(t, key.shard, e)
        e = NULL
    if e != NULL and create:
        touch(t, key.shard, e, now_ms)
    elif e == NULL and create:
        e = make_locked(t, key, now_ms)
    if e == NULL:
        lock_give(&table_shard(t, key.shard).lock)
    return e


cdef void table_leave(table_t *t, uint32_t shard) noexcept nogil:
    lock_give(&table_shard(t, shard).lock)


cdef uint32_t table_hold(
    mapping_t *m, table_t *t, ledger_t *ledger, const table_key_t *key, uint64_t now_ms, uint32_t *number
) noexcept nogil:
    cdef uint32_t place = ledger_take(ledger)
    cdef table_entry_t *e
    cdef held_t *held
    if place == 0:
        return 0
    e = table_enter(m, t, key, now_ms, True)
    if e == NULL:
        ledger_give(ledger, place)
        return 0
    held = &ledger.held[place - 1]
    held.entry = key.shard * t.shard_size + index_of(t, key.shard, e)
    LB_KILL_POINT("table.taking")
    lb_store_u64(&held.object, t.self_at)
    LB_KILL_POINT("table.taken")
    if e.refs == 0:
        age_remove(t, key.shard, e)
    e.refs += 1
    if number != NULL:
        table_add_locked(t, e, STORE_CONN_CNT, 0, 1, now_ms)
        table_add_locked(t, e, STORE_CONN_RATE, 0, 1, now_ms)
        table_add_locked(t, e, STORE_HTTP_REQ_CNT, 0, 1, now_ms)
        table_add_locked(t, e, STORE_HTTP_REQ_RATE, 0, 1, now_ms)
        number[0] = <uint32_t> table_read_locked(t, e, STORE_HTTP_REQ_CNT, 0, now_ms)
    lock_give(&table_shard(t, key.shard).lock)
    return place


cdef table_entry_t *table_held(
    mapping_t *m, ledger_t *ledger, uint32_t place, table_t **t, uint32_t *shard
) noexcept nogil:
    cdef held_t *held = &ledger.held[place - 1]
    t[0] = table_at(m, held.object)
    shard[0] = held.entry // t[0].shard_size
    if table_take(m, t[0], shard[0]) != 0:
        return NULL
    return table_entry(t[0], shard[0], held.entry % t[0].shard_size)


cdef void release_locked(table_t *t, uint32_t shard, table_entry_t *e, held_t *held, uint64_t now_ms) noexcept nogil:
    LB_ASSERT(e.state == ENTRY_USED and e.refs > 0)
    lb_store_u64(&held.object, 0)
    LB_KILL_POINT("table.releasing")
    touch(t, shard, e, now_ms)
    e.refs -= 1
    if e.refs == 0:
        age_add(t, shard, e)


cdef void table_release_locked(
    table_t *t, uint32_t shard, table_entry_t *e, ledger_t *ledger, uint32_t place, uint64_t now_ms
) noexcept nogil:
    release_locked(t, shard, e, &ledger.held[place - 1], now_ms)
    lock_give(&table_shard(t, shard).lock)
    ledger_give(ledger, place)


cdef void table_release(mapping_t *m, ledger_t *ledger, uint32_t place, uint64_t now_ms) noexcept nogil:
    cdef table_t *t
    cdef uint32_t shard
    cdef table_entry_t *e = table_held(m, ledger, place, &t, &shard)
    if e == NULL:
        return
    table_release_locked(t, shard, e, ledger, place, now_ms)


cdef uint32_t table_used(mapping_t *m, table_t *t, uint64_t now_ms) noexcept nogil:
    cdef uint32_t shard, used = 0
    for shard in range(t.shards):
        if table_take(m, t, shard) == 0:
            table_purge_locked(t, shard, now_ms)
            used += table_shard(t, shard).used
            lock_give(&table_shard(t, shard).lock)
    return used


# ---- cells ----


cdef inline char *cell_of(const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, size_t size) noexcept nogil:
    return <char *> e + t.columns[store].at + cell * size


cdef inline uint32_t capped(uint64_t n) noexcept nogil:
    return <uint32_t> min(n, <uint64_t> 0xffffffff)


cdef void rate_add(table_rate_t *r, uint64_t period, uint64_t n, uint64_t now_ms) noexcept nogil:
    if now_ms < r.tick_ms + period:
        r.current = capped(r.current + n)
        return
    # One period on, or, if that one is over too, a new beginning.
    r.previous = r.current if now_ms < r.tick_ms + 2 * period else 0
    LB_KILL_POINT("table.turning")
    r.current = capped(n)
    r.tick_ms = r.tick_ms + period if now_ms < r.tick_ms + 2 * period else now_ms


cdef uint64_t rate_read(const table_rate_t *r, uint64_t period, uint64_t now_ms) noexcept nogil:
    cdef uint64_t current = r.current
    cdef uint64_t past = r.previous
    cdef uint64_t end = r.tick_ms + period
    # Another worker's loop may have read the clock later than this one.
    if now_ms < r.tick_ms:
        now_ms = r.tick_ms
    if now_ms > end:
        # In the period after the current one, or beyond it.
        end += period
        past = current if now_ms <= end else 0
        current = 0
    # As HAProxy does it: the last event of a slow key does not flap between 0 and 1.
    if current == 0 and past <= 1:
        return past
    return current + (past * (end - now_ms) // period if past != 0 else 0)


cdef void table_add_locked(
    const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t n, uint64_t now_ms
) noexcept nogil:
    cdef const table_column_t *column = &t.columns[store]
    if cell >= column.cells or store == STORE_CONN_CUR:
        return
    if column.period_ms != 0:
        rate_add(<table_rate_t *> cell_of(t, e, store, cell, sizeof(table_rate_t)), column.period_ms, n, now_ms)
    elif is_wide(store):
        (<uint64_t *> cell_of(t, e, store, cell, 8))[0] += n
    else:
        (<uint32_t *> cell_of(t, e, store, cell, 4))[0] += <uint32_t> n


cdef void table_set_locked(const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t n) noexcept nogil:
    cdef const table_column_t *column = &t.columns[store]
    if cell >= column.cells or store == STORE_CONN_CUR or column.period_ms != 0:
        return
    if is_wide(store):
        (<uint64_t *> cell_of(t, e, store, cell, 8))[0] = n
    else:
        (<uint32_t *> cell_of(t, e, store, cell, 4))[0] = <uint32_t> n


cdef uint64_t table_read_locked(
    const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t now_ms
) noexcept nogil:
    cdef const table_column_t *column = &t.columns[store]
    if cell >= column.cells:
        return 0
    if store == STORE_CONN_CUR:
        return e.refs
    if column.period_ms != 0:
        return rate_read(<table_rate_t *> cell_of(t, e, store, cell, sizeof(table_rate_t)), column.period_ms, now_ms)
    if is_wide(store):
        return (<uint64_t *> cell_of(t, e, store, cell, 8))[0]
    return (<uint32_t *> cell_of(t, e, store, cell, 4))[0]


# ---- the mapping's tables ----


cdef table_t *table_named(mapping_t *m, const char *name, size_t len) noexcept nogil:
    cdef uint64_t at = tables_of(m).first_at
    cdef table_t *t
    while at != 0:
        t = table_at(m, at)
        if len < TABLE_NAME and memcmp(t.name, name, len) == 0 and t.name[len] == 0:
            return t
        at = t.next_at
    return NULL


cdef void table_copy(mapping_t *m, table_t *t, table_t *from_) noexcept nogil:
    cdef table_key_t key
    cdef table_entry_t *e
    cdef table_entry_t *copy
    cdef uint32_t shard, i, at
    cdef size_t head = sizeof(table_entry_t) - 8 + t.key_words * 8
    for shard in range(from_.shards):
        if table_take(m, from_, shard) != 0:
            continue
        # Those that are held last: they are the ones in use.
        at = table_shard(from_, shard).oldest
        while at != 0:
            e = table_entry(from_, shard, at - 1)
            table_key(t, &key, <const char *> e.key, e.key_len)
            copy = table_enter(m, t, &key, e.touched_ms, True)
            if copy != NULL:
                memcpy(<char *> copy + head, <const char *> e + head, t.stride - head)
                table_leave(t, key.shard)
            at = e.newer
        for i in range(from_.shard_size):
            e = table_entry(from_, shard, i)
            if e.state != ENTRY_USED or e.refs == 0:
                continue
            table_key(t, &key, <const char *> e.key, e.key_len)
            copy = table_enter(m, t, &key, e.touched_ms, True)
            if copy != NULL:
                memcpy(<char *> copy + head, <const char *> e + head, t.stride - head)
                table_leave(t, key.shard)
        lock_give(&table_shard(from_, shard).lock)


# Whether any ledger names a table.
cdef bint is_held(mapping_t *m, uint64_t at) noexcept nogil:
    cdef ledger_t *ledger
    cdef uint32_t slot, i
    for slot in range(MAPPING_WORKERS + 1):
        ledger = ledger_of(m, slot)
        if ledger == NULL:
            continue
        for i in range(lb_load_u32(&ledger.used)):
            if lb_load_u64(&ledger.held[i].object) == at:
                return True
    return False


cdef void table_unmake(mapping_t *m, table_t *t) noexcept nogil:
    cdef uint64_t *link = &tables_of(m).first_at
    while link[0] != t.self_at:
        link = &table_at(m, link[0]).next_at
    link[0] = t.next_at
    mapping_release(m, t.self_at, t.bytes)


cdef void tables_collect(mapping_t *m) noexcept nogil:
    cdef uint64_t *link = &tables_of(m).first_at
    cdef uint64_t oldest = mapping_oldest(m), at
    cdef table_t *t
    while link[0] != 0:
        at = link[0]
        t = table_at(m, at)
        if t.generation < oldest and not is_held(m, at):
            link[0] = t.next_at
            mapping_release(m, at, t.bytes)
        else:
            link = &t.next_at


cdef void tables_bury(mapping_t *m, uint32_t slot, uint64_t now_ms) noexcept nogil:
    cdef ledger_t *ledger = ledger_of(m, slot)
    cdef table_entry_t *e
    cdef table_t *t
    cdef uint32_t i, shard
    if ledger == NULL:
        return
    for i in range(lb_load_u32(&ledger.used)):
        if ledger.held[i].object == 0:
            continue
        e = table_held(m, ledger, i + 1, &t, &shard)
        if e != NULL:
            release_locked(t, shard, e, &ledger.held[i], now_ms)
            lock_give(&table_shard(t, shard).lock)
    ledger_clear(ledger)
