from libc.errno cimport EINVAL, ENOMEM
from libc.stdlib cimport free, malloc
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

cdef extern from * nogil:
    void __builtin_prefetch(const void *p, int writes)
    void __atomic_store_n(uint8_t *p, uint8_t value, int order)
    int __ATOMIC_RELEASE


cdef enum:
    LINE = 64
    PURGES = 2                   # expired entries that a new one takes away: enough to stay ahead
    PURGE_FIXES = 4              # places of the queue that this mends at most
    SHARD_FULL = 11776           # keys of a shard, so that its index of 16,384 places is at most three quarters full
    ENTRY_MASK = (1 << TABLE_ENTRY_BITS) - 1
    STAMP_MAX = 0xffffffff
    COPIES = 64                  # entries that are copied under one lock
    COPIED = 0x80000000          # stamp of a copy that was touched just now


cdef inline uint64_t lines(uint64_t bytes) noexcept nogil:
    return (bytes + LINE - 1) & ~<uint64_t> (LINE - 1)


cdef inline uint32_t *places_of(const table_t *t, uint32_t shard) noexcept nogil:
    return (<uint32_t *> (<char *> t + t.index_at)) + <uint64_t> shard * t.places


cdef inline uint64_t *queue_of(const table_t *t, uint32_t shard) noexcept nogil:
    return (<uint64_t *> (<char *> t + t.queue_at)) + <uint64_t> shard * t.shard_size


cdef inline uint32_t index_of(const table_t *t, uint32_t shard, const table_entry_t *e) noexcept nogil:
    return <uint32_t> ((<const char *> e - <const char *> table_entry(t, shard, 0)) // t.stride)


cdef inline bint is_rate(uint32_t store) noexcept nogil:
    return (
        store == STORE_GPC0_RATE or store == STORE_CONN_RATE or store == STORE_SESS_RATE or store == STORE_HTTP_REQ_RATE
        or store == STORE_HTTP_ERR_RATE or store == STORE_BYTES_IN_RATE or store == STORE_BYTES_OUT_RATE
        or store == STORE_GPC1_RATE or store == STORE_GPC_RATE or store == STORE_HTTP_FAIL_RATE or store == STORE_GLITCH_RATE
    )


# Cells of 8 bytes.
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
    cdef uint32_t store, at, slack, each, padded
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
    t.stride = max(<uint32_t> 32, (at + 7) & ~<uint32_t> 7)
    # An entry that shares no cache line with another, if that costs no more than a quarter.
    padded = <uint32_t> lines(t.stride)
    if t.stride > 32 and padded - t.stride <= t.stride // 4:
        t.stride = padded
    t.shards = 1
    t.shard_size = t.size
    if t.size >= TABLE_SPREAD:
        t.shards = 16
        while t.size // t.shards > SHARD_FULL:
            t.shards *= 2
        # Four standard deviations of how unevenly keys spread.
        each = (t.size + t.shards - 1) // t.shards
        slack = 1
        while slack * slack < each:
            slack += 1
        t.shard_size = each + 4 * slack
    t.places = 8
    while t.places * 3 < t.shard_size * 4:
        t.places *= 2
    t.shards_at = lines(sizeof(table_t))
    t.index_at = t.shards_at + t.shards * sizeof(table_shard_t)
    t.queue_at = lines(t.index_at + <uint64_t> t.shards * t.places * sizeof(uint32_t))
    t.entries_at = lines(t.queue_at + <uint64_t> t.shards * t.shard_size * sizeof(uint64_t))
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
    # What the next call looks at first.
    __builtin_prefetch(table_shard(t, key.shard), 1)
    __builtin_prefetch(places_of(t, key.shard) + (key.hash & (t.places - 1)), 0)


cdef inline void set_state(table_entry_t *e, uint8_t state) noexcept nogil:
    __atomic_store_n(&e.state, state, __ATOMIC_RELEASE)


# ---- the index; all under the lock ----


# The word of an entry; the bits of its tag that say where it belongs are the lowest.
cdef inline uint32_t word_of(uint32_t hash, uint32_t i) noexcept nogil:
    return hash << TABLE_ENTRY_BITS | (i + 1)


cdef inline uint32_t entry_of(uint32_t word) noexcept nogil:
    return (word & ENTRY_MASK) - 1


cdef inline bint same_words(const uint64_t *a, const uint64_t *b, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if a[i] != b[i]:
            return False
    return True


cdef table_entry_t *find_locked(table_t *t, const table_key_t *key) noexcept nogil:
    cdef const uint32_t *places = places_of(t, key.shard)
    cdef uint32_t mask = t.places - 1
    cdef uint32_t at = <uint32_t> key.hash & mask
    cdef uint32_t tag = <uint32_t> key.hash << TABLE_ENTRY_BITS
    cdef table_entry_t *e
    while places[at] != 0:
        if (places[at] & ~<uint32_t> ENTRY_MASK) == tag:
            e = table_entry(t, key.shard, entry_of(places[at]))
            if (
                LIKELY(e.hash == <uint32_t> key.hash) and e.key_len == key.len and same_words(e.key, key.words, t.key_words)
            ):
                return e
        at = (at + 1) & mask
    return NULL


cdef inline void index_add(table_t *t, uint32_t shard, uint32_t hash, uint32_t i) noexcept nogil:
    cdef uint32_t *places = places_of(t, shard)
    cdef uint32_t at = hash & (t.places - 1)
    while places[at] != 0:
        at = (at + 1) & (t.places - 1)
    places[at] = word_of(hash, i)


cdef void index_remove(table_t *t, uint32_t shard, uint32_t hash, uint32_t i) noexcept nogil:
    cdef uint32_t *places = places_of(t, shard)
    cdef uint32_t mask = t.places - 1
    cdef uint32_t at = hash & mask
    cdef uint32_t word = word_of(hash, i)
    cdef uint32_t next_, home
    while places[at] != word:
        at = (at + 1) & mask
    # Words behind it that a search would not find any more move up.
    next_ = at
    while True:
        next_ = (next_ + 1) & mask
        if places[next_] == 0:
            break
        home = places[next_] >> TABLE_ENTRY_BITS & mask
        if ((next_ - home) & mask) >= ((next_ - at) & mask):
            places[at] = places[next_]
            at = next_
    places[at] = 0


# ---- the queue of age; all under the lock ----


cdef inline uint64_t turn_of(uint32_t stamp, uint32_t i) noexcept nogil:
    return <uint64_t> stamp << 32 | i


cdef void sift_down(uint64_t *queue, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint64_t moved = queue[at]
    cdef uint32_t child = 2 * at + 1
    while child < n:
        if child + 1 < n and queue[child + 1] < queue[child]:
            child += 1
        if moved <= queue[child]:
            break
        queue[at] = queue[child]
        at = child
        child = 2 * at + 1
    queue[at] = moved


cdef inline void queue_add(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint64_t *queue = queue_of(t, shard)
    cdef uint64_t turn = turn_of(e.stamp, index_of(t, shard, e))
    cdef uint32_t at = s.queued
    s.queued += 1
    while at != 0 and queue[(at - 1) // 2] > turn:
        queue[at] = queue[(at - 1) // 2]
        at = (at - 1) // 2
    queue[at] = turn
    e.queued = 1


# The entry touched longest ago that nobody holds, or, after so many places mended, the oldest of those seen; NULL = there is
# none.
cdef table_entry_t *oldest_locked(table_t *t, uint32_t shard, uint32_t fixes) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint64_t *queue = queue_of(t, shard)
    cdef table_entry_t *best = NULL
    cdef table_entry_t *e
    cdef uint32_t i
    while s.queued != 0:
        i = <uint32_t> queue[0]
        e = table_entry(t, shard, i)
        if e.state != ENTRY_USED or e.refs != 0:
            # Whoever makes or releases it queues it again.
            e.queued = 0
            s.queued -= 1
            queue[0] = queue[s.queued]
            sift_down(queue, s.queued, 0)
            continue
        if queue[0] >> 32 == e.stamp:
            return e
        if best == NULL or e.stamp < best.stamp:
            best = e
        if fixes == 0:
            return best
        fixes -= 1
        queue[0] = turn_of(e.stamp, i)
        sift_down(queue, s.queued, 0)
    return NULL


cdef void queue_rebuild(table_t *t, uint32_t shard) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint64_t *queue = queue_of(t, shard)
    cdef table_entry_t *e
    cdef uint32_t i
    s.queued = 0
    for i in range(s.fresh):
        e = table_entry(t, shard, i)
        e.queued = e.state == ENTRY_USED
        if e.queued:
            queue[s.queued] = turn_of(e.stamp, i)
            s.queued += 1
    for i in range(s.queued // 2):
        sift_down(queue, s.queued, s.queued // 2 - 1 - i)


# Stamps have come to their end: number the entries anew, in their order. None becomes larger than it was, so a death inside
# leaves them in order too.
cdef void renumber(table_t *t, uint32_t shard) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint64_t *queue = queue_of(t, shard)
    cdef uint64_t turn
    cdef uint32_t i, n
    queue_rebuild(t, shard)
    n = s.queued
    # A heap taken apart from its root stands in falling order at its end.
    for i in range(n):
        turn = queue[0]
        queue[0] = queue[n - 1 - i]
        sift_down(queue, n - 1 - i, 0)
        queue[n - 1 - i] = turn
    for i in range(n // 2):
        turn = queue[i]
        queue[i] = queue[n - 1 - i]
        queue[n - 1 - i] = turn
    for i in range(n):
        table_entry(t, shard, <uint32_t> queue[i]).stamp = i + 1
        queue[i] = turn_of(i + 1, <uint32_t> queue[i])
    s.stamps = n


# ---- entries come and go; all under the lock ----


cdef void table_touch_locked(table_t *t, uint32_t shard, table_entry_t *e, uint64_t now_ms) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    if UNLIKELY(s.stamps == STAMP_MAX):
        renumber(t, shard)
    s.stamps += 1
    e.stamp = s.stamps
    # Loops read the clock at different times: what was touched later by one of them is not made older.
    if now_ms > e.touched_ms:
        e.touched_ms = now_ms


cdef void table_drop_locked(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef uint32_t i = index_of(t, shard, e)
    LB_ASSERT(e.state == ENTRY_USED and e.refs == 0)
    set_state(e, ENTRY_FREE)
    LB_KILL_POINT("table.dropping")
    index_remove(t, shard, e.hash, i)
    LB_KILL_POINT("table.unindexed")
    # Its place in the queue of age is left to who meets it there.
    e.refs = s.free
    s.free = i + 1
    s.used -= 1


# A free entry, made free if need be; NULL = no room.
cdef table_entry_t *room_of(table_t *t, uint32_t shard, uint64_t now_ms) noexcept nogil:
    cdef table_shard_t *s = table_shard(t, shard)
    cdef table_entry_t *e
    cdef int _
    if t.expire_ms != 0:
        for _ in range(PURGES):
            e = oldest_locked(t, shard, PURGE_FIXES)
            if e == NULL or not table_is_expired(t, e, now_ms):
                break
            table_drop_locked(t, shard, e)
    if s.free == 0 and s.fresh == t.shard_size:
        e = oldest_locked(t, shard, TABLE_FIXES)
        if e == NULL or (t.flags & TABLE_NOPURGE and not table_is_expired(t, e, now_ms)):
            s.refused += 1
            return NULL
        s.evicted += 1
        table_drop_locked(t, shard, e)
    if s.free != 0:
        e = table_entry(t, shard, s.free - 1)
        s.free = e.refs
        return e
    # Before the entry: a rebuild looks at those below `fresh` only.
    lb_store_u32(&s.fresh, s.fresh + 1)
    return table_entry(t, shard, s.fresh - 1)


cdef table_entry_t *make_locked(table_t *t, const table_key_t *key, uint64_t now_ms) noexcept nogil:
    cdef uint32_t shard = key.shard
    cdef table_shard_t *s = table_shard(t, shard)
    cdef table_entry_t *e = room_of(t, shard, now_ms)
    cdef size_t head
    if e == NULL:
        return NULL
    head = sizeof(table_entry_t) - 8 + t.key_words * 8
    e.touched_ms = now_ms
    e.hash = <uint32_t> key.hash
    e.key_len = <uint16_t> key.len
    e.refs = 0
    memcpy(e.key, key.words, t.key_words * 8)
    memset(<char *> e + head, 0, t.stride - head)
    table_touch_locked(t, shard, e, now_ms)
    LB_KILL_POINT("table.making")
    set_state(e, ENTRY_USED)
    LB_KILL_POINT("table.made")
    s.used += 1
    index_add(t, shard, e.hash, index_of(t, shard, e))
    LB_KILL_POINT("table.indexed")
    if not e.queued:
        queue_add(t, shard, e)
    return e


# ---- the rebuild ----


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
    cdef uint32_t i, at
    cdef table_entry_t *e
    memset(places_of(t, shard), 0, t.places * sizeof(uint32_t))
    s.used = 0
    s.free = 0
    s.stamps = 0
    for i in range(s.fresh):
        table_entry(t, shard, i).refs = 0
    count_refs_locked(m, t, shard)
    for i in range(s.fresh):
        # From the end, so that the first free entry is the first of all.
        at = s.fresh - 1 - i
        e = table_entry(t, shard, at)
        if e.state != ENTRY_USED:
            e.refs = s.free
            s.free = at + 1
            continue
        s.used += 1
        s.stamps = max(s.stamps, e.stamp)
        index_add(t, shard, e.hash, at)
    queue_rebuild(t, shard)


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
    if UNLIKELY(e != NULL and table_is_expired(t, e, now_ms)):
        table_drop_locked(t, key.shard, e)
        e = NULL
    if e != NULL and create:
        table_touch_locked(t, key.shard, e, now_ms)
    elif e == NULL and create:
        e = make_locked(t, key, now_ms)
    if e == NULL:
        lock_give(&table_shard(t, key.shard).lock)
    return e


cdef void table_leave(table_t *t, uint32_t shard) noexcept nogil:
    lock_give(&table_shard(t, shard).lock)


cdef uint32_t table_hold(
    mapping_t *m, table_t *t, ledger_t *ledger, const table_key_t *key, uint64_t now_ms, uint32_t counts, uint32_t *number
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
    e.refs += 1
    number[0] = table_count_locked(t, e, counts, now_ms) if counts != 0 else 0
    lock_give(&table_shard(t, key.shard).lock)
    return place


cdef uint32_t table_count(
    mapping_t *m, ledger_t *ledger, uint32_t place, uint32_t counts, uint64_t now_ms
) noexcept nogil:
    cdef table_t *t
    cdef uint32_t shard, number
    cdef table_entry_t *e = table_held(m, ledger, place, &t, &shard)
    if e == NULL:
        return 0
    number = table_count_locked(t, e, counts, now_ms)
    lock_give(&table_shard(t, shard).lock)
    return number


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
    table_touch_locked(t, shard, e, now_ms)
    e.refs -= 1
    if e.refs == 0 and not e.queued:
        queue_add(t, shard, e)


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


# Take away expired entries, as many as one lock may take time for. Whether there may be more.
cdef bint purge_some(table_t *t, uint32_t shard, uint64_t now_ms) noexcept nogil:
    cdef table_entry_t *e
    cdef int _
    for _ in range(COPIES):
        e = oldest_locked(t, shard, PURGE_FIXES)
        if e == NULL:
            return False
        if table_is_expired(t, e, now_ms):
            table_drop_locked(t, shard, e)
        elif queue_of(t, shard)[0] >> 32 == e.stamp:
            return False
    return True


cdef uint32_t table_used(mapping_t *m, table_t *t, uint64_t now_ms) noexcept nogil:
    cdef uint32_t shard, turns, used = 0
    cdef table_shard_t *s
    for shard in range(t.shards):
        s = table_shard(t, shard)
        # Every place of the queue is mended once at most, whatever is touched meanwhile.
        turns = s.queued // COPIES + 1
        while turns != 0 and table_take(m, t, shard) == 0:
            turns -= 1
            if t.expire_ms == 0 or not purge_some(t, shard, now_ms):
                turns = 0
            lock_give(&s.lock)
        used += s.used
    return used


cdef uint32_t table_counted(const table_t *t) noexcept nogil:
    cdef uint32_t shard, used = 0
    for shard in range(t.shards):
        used += lb_load_u32(&table_shard(t, shard).used)
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


cdef uint64_t table_current_locked(const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell) noexcept nogil:
    return (<table_rate_t *> cell_of(t, e, store, cell, sizeof(table_rate_t))).current


# A count and its rate.
cdef inline void count_both(const table_t *t, table_entry_t *e, uint32_t count, uint32_t rate, uint64_t now_ms) noexcept nogil:
    table_add_locked(t, e, count, 0, 1, now_ms)
    table_add_locked(t, e, rate, 0, 1, now_ms)


cdef uint32_t table_count_locked(const table_t *t, table_entry_t *e, uint32_t counts, uint64_t now_ms) noexcept nogil:
    if counts & COUNT_CONNECTION:
        count_both(t, e, STORE_CONN_CNT, STORE_CONN_RATE, now_ms)
    if counts & COUNT_SESSION:
        count_both(t, e, STORE_SESS_CNT, STORE_SESS_RATE, now_ms)
    if counts & COUNT_GLITCH:
        count_both(t, e, STORE_GLITCH_CNT, STORE_GLITCH_RATE, now_ms)
    if not counts & COUNT_REQUEST:
        return 0
    count_both(t, e, STORE_HTTP_REQ_CNT, STORE_HTTP_REQ_RATE, now_ms)
    return <uint32_t> table_read_locked(t, e, STORE_HTTP_REQ_CNT, 0, now_ms)


cdef void table_result_locked(
    const table_t *t, table_entry_t *e, uint32_t status, uint64_t bytes_in, uint64_t bytes_out, uint64_t now_ms
) noexcept nogil:
    if 400 <= status < 500:
        count_both(t, e, STORE_HTTP_ERR_CNT, STORE_HTTP_ERR_RATE, now_ms)
    # As HAProxy: what a server cannot do is no failure of it.
    if 500 <= status < 600 and status != 501 and status != 505:
        count_both(t, e, STORE_HTTP_FAIL_CNT, STORE_HTTP_FAIL_RATE, now_ms)
    table_add_locked(t, e, STORE_BYTES_IN_CNT, 0, bytes_in, now_ms)
    table_add_locked(t, e, STORE_BYTES_IN_RATE, 0, bytes_in, now_ms)
    table_add_locked(t, e, STORE_BYTES_OUT_CNT, 0, bytes_out, now_ms)
    table_add_locked(t, e, STORE_BYTES_OUT_RATE, 0, bytes_out, now_ms)


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


# Put in the copy of an entry; nobody else knows the table. Its stamp says how long ago it was touched, so that the youngest
# stay wherever they come from; what is held is the youngest of all.
cdef void put_in(mapping_t *m, table_t *t, const table_entry_t *from_, uint64_t now_ms) noexcept nogil:
    cdef size_t head = sizeof(table_entry_t) - 8 + t.key_words * 8
    cdef table_key_t key
    cdef table_shard_t *s
    cdef table_entry_t *e
    cdef uint32_t stamp = COPIED
    if from_.refs == 0 and from_.touched_ms < now_ms:
        stamp -= <uint32_t> min(now_ms - from_.touched_ms, <uint64_t> (COPIED - 1))
    table_key(t, &key, <const char *> from_.key, from_.key_len)
    s = table_shard(t, key.shard)
    if s.used == t.shard_size:
        e = oldest_locked(t, key.shard, 0)
        if e == NULL or e.stamp >= stamp:
            return
        table_drop_locked(t, key.shard, e)
    s.stamps = stamp - 1
    e = table_enter(m, t, &key, from_.touched_ms, True)
    if e == NULL:
        return
    memcpy(<char *> e + head, <const char *> from_ + head, t.stride - head)
    table_leave(t, key.shard)


cdef int table_copy(mapping_t *m, table_t *t, table_t *from_) noexcept nogil:
    cdef char *copies = <char *> malloc(<size_t> COPIES * from_.stride)
    cdef uint64_t now_ms = 0
    cdef uint32_t shard, i, n, k
    cdef table_shard_t *s
    cdef table_entry_t *e
    if copies == NULL:
        set_errno(ENOMEM)
        return -1
    for shard in range(from_.shards):
        for i in range(table_shard(from_, shard).fresh):
            now_ms = max(now_ms, table_entry(from_, shard, i).touched_ms)
    for shard in range(from_.shards):
        i = 0
        while True:
            n = 0
            if table_take(m, from_, shard) != 0:
                break
            s = table_shard(from_, shard)
            while i < s.fresh and n < COPIES:
                e = table_entry(from_, shard, i)
                i += 1
                if e.state == ENTRY_USED:
                    memcpy(copies + n * from_.stride, e, from_.stride)
                    n += 1
            lock_give(&s.lock)
            for k in range(n):
                put_in(m, t, <table_entry_t *> (copies + k * from_.stride), now_ms)
            if n < COPIES:
                break
    for shard in range(t.shards):
        table_shard(t, shard).stamps = COPIED
    free(copies)
    return 0


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
