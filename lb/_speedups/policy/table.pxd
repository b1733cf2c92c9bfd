# Stick tables: counters and marks by a key that strangers choose, exact over all workers, bounded.
#
# A table_t lives in the mapping's arena, known by name. Its entries are spread over shards, each with a robust lock of its
# own, by SipHash-1-3 of the key under a secret of the mapping: nobody outside can choose the place or shard he lands in. A
# shard is an array of entries of fixed size, of at most TABLE_SHARD_MAX: that array is its one truth. The index, the free
# list and the queue of age are derived, and table_rebuild_locked makes them anew, which is done by whoever takes a lock that
# a death has broken. An entry's `state` is written last when it is made, and first when it is given up.
#
# Fresh memory is an empty table: zero means free, and entries from table_shard_t.fresh on were never used. So a table of ten
# million keys is made as fast as its locks are, and each page costs its first use only.
#
# Index. Open addressing, a word of 4 bytes a place: TAG bits of the hash over the number of the entry + 1. Its low tag bits say
# where a word belongs, so that words move up when one goes, without a look at entries. A touch of a key meets three places of
# memory: its shard, its place in the index, its entry; a head of 24 bytes, a short key and its cells share a cache line.
#
# Age. An entry expires `expire_ms` after its last touch; it is then as if it were not there, and is taken away when somebody
# looks for it or needs room. A full shard gives up the entry touched longest ago, or, with TABLE_NOPURGE, refuses new keys.
# The queue of age is a heap of (stamp of a touch, entry), and a touch does not change it: what stands at its root is looked at
# when room is needed, and goes back with its present stamp if it was touched since. After TABLE_FIXES of these in one search
# the oldest of those seen goes.
#
# Holding. A stream that tracks a key holds its entry: it neither expires nor is evicted. Who holds what is said by the ledgers
# (base/ledger.pxd), which are the truth of table_entry_t.refs; conn_cur is that number.
#
# Columns. Each stored thing is one or more cells of an entry: 4 bytes for counts and marks, 8 for bytes and times, a table_rate_t
# for rates. Rates are HAProxy's sliding ones: the events of the current period and of the one before; of the latter as much
# as is left of the current period. A worker that dies while it turns a rate to its next period may lose that period's events.
#
# Cells by key, without holding: table_key (or fetch_key of a sample), table_enter, any of the _locked functions, table_leave.
#
# Limits: TABLE_KEY_MAX bytes of a key, TABLE_ARRAY_MAX cells of a gpc or gpt array. Tables from TABLE_SPREAD entries on have
# several shards and a little more room than their size says, so that all keys fit though they spread unevenly.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.base.ledger cimport ledger_t
from lb._speedups.base.lock cimport lb_lock_t
from lb._speedups.base.mapping cimport mapping_t

cdef enum:
    TABLES_AT = 50176            # tables_t in the mapping's fixed part
    TABLE_NAME = 128             # bytes of a name with its NUL
    TABLE_KEY_WORDS = 32
    TABLE_KEY_MAX = 256
    TABLE_ARRAY_MAX = 100
    TABLE_SHARD_MAX = 16383      # so that the number of an entry + 1 has TABLE_ENTRY_BITS
    TABLE_ENTRY_BITS = 14        # of a word of the index; the rest is its tag
    TABLE_FIXES = 128            # places of the queue of age that a search for room mends at most
    TABLE_SPREAD = 4096
    TABLE_SIZE_MAX = 16777216

cdef enum table_key_type:        # table_t.key_type
    TABLE_IP = 1
    TABLE_IPV6
    TABLE_INTEGER
    TABLE_STRING
    TABLE_BINARY

cdef enum:                       # table_t.flags
    TABLE_NOPURGE = 1 << 0

cdef enum table_store:           # in HAProxy's order, which is that of `show table`
    STORE_SERVER_ID = 0
    STORE_GPT0
    STORE_GPC0
    STORE_GPC0_RATE
    STORE_CONN_CNT
    STORE_CONN_RATE
    STORE_CONN_CUR
    STORE_SESS_CNT
    STORE_SESS_RATE
    STORE_HTTP_REQ_CNT
    STORE_HTTP_REQ_RATE
    STORE_HTTP_ERR_CNT
    STORE_HTTP_ERR_RATE
    STORE_BYTES_IN_CNT
    STORE_BYTES_IN_RATE
    STORE_BYTES_OUT_CNT
    STORE_BYTES_OUT_RATE
    STORE_GPC1
    STORE_GPC1_RATE
    STORE_HTTP_FAIL_CNT
    STORE_HTTP_FAIL_RATE
    STORE_GPT                    # array
    STORE_GPC                    # array
    STORE_GPC_RATE               # array
    STORE_ARRIVAL                # rate limits only (limit.pxd): when the key owes nothing any more, ns of CLOCK_MONOTONIC
    STORE_REFUSED                # rate limits only: requests refused
    STORE_GLITCH_CNT
    STORE_GLITCH_RATE
    STORES

cdef enum:                       # what a holder is: these are counted of it
    COUNT_CONNECTION = 1 << 0    # conn_cnt, conn_rate
    COUNT_SESSION = 1 << 1       # sess_cnt, sess_rate
    COUNT_REQUEST = 1 << 2       # http_req_cnt, http_req_rate
    COUNT_GLITCH = 1 << 3        # glitch_cnt, glitch_rate

ctypedef struct table_rate_t:
    uint64_t tick_ms             # begin of the current period
    uint32_t current             # events in it; stops at 2^32 - 1
    uint32_t previous            # events in the period before

ctypedef struct table_column_t:
    uint16_t at                  # bytes from the entry to its first cell; 0 = not stored
    uint16_t cells               # 1, or the length of the array
    uint32_t pad
    uint64_t period_ms           # of a rate, else 0

cdef enum:                       # table_entry_t.state
    ENTRY_FREE = 0
    ENTRY_USED

ctypedef struct table_entry_t:   # under its shard's lock; its key and its cells follow
    uint64_t touched_ms          # last time it was touched
    uint32_t stamp               # number of that touch in its shard: the order of age
    uint32_t hash                # low bits of the key's
    uint32_t refs                # derived: places of ledgers that name it; of a free entry the next free one + 1
    uint16_t key_len             # bytes of the key; the rest of its words is zero
    uint8_t state                # ENTRY_*; written last
    uint8_t queued               # derived: the queue of age has a place of it
    uint64_t key[1]              # table_t.key_words of them

ctypedef struct table_shard_t:   # under lock
    lb_lock_t lock
    uint64_t evicted             # entries given up for others
    uint64_t refused             # keys there was no room for
    uint32_t fresh               # entries from here on were never used; written before one is
    uint32_t stamps              # derived: touches so far
    uint32_t used                # derived: entries in use
    uint32_t free                # derived: first free entry below `fresh` + 1
    uint32_t queued              # derived: places of the queue of age in use
    uint8_t pad[28]              # to two cache lines

ctypedef struct table_t:
    # immutable
    uint64_t self_at             # place of this struct in the mapping
    uint64_t bytes               # of the whole region
    uint64_t shards_at           # bytes from this struct to table_shard_t[shards]
    uint64_t index_at            # to uint32_t[shards][places]: tag and entry + 1; 0 = empty
    uint64_t queue_at            # to uint64_t[shards][shard_size]: stamp and entry, a heap
    uint64_t entries_at          # to the entries, shard by shard
    uint64_t expire_ms           # 0 = never
    uint64_t secret[2]
    uint32_t size                # entries as configured
    uint32_t shards              # a power of two
    uint32_t shard_size          # entries of a shard
    uint32_t places              # of a shard's index, a power of two
    uint32_t stride              # bytes of an entry
    uint32_t key_size            # bytes of the longest key
    uint32_t key_words           # the same in words
    uint8_t key_type             # TABLE_*
    uint8_t flags                # TABLE_NOPURGE
    uint8_t pad[2]
    table_column_t columns[STORES]
    char name[TABLE_NAME]
    # supervisor
    uint64_t next_at             # next table of the mapping, 0 = the last
    uint64_t generation          # last generation that names it

ctypedef struct tables_t:        # supervisor
    uint64_t first_at            # place of the first table, 0 = none
    uint64_t secret[2]           # of all tables

# What a table is to be.
ctypedef struct table_spec_t:
    const char *name
    size_t name_len
    uint32_t size
    uint32_t key_size            # of strings and binaries; else 0
    uint8_t key_type
    uint8_t flags
    uint64_t expire_ms
    uint16_t cells[STORES]       # 0 = not stored
    uint64_t periods[STORES]     # of rates

cdef enum:
    TABLE_TRACKS = 3             # keys a stream can track

# One of them.
ctypedef struct track_t:
    uint32_t place               # in the worker's ledger, 0 = none
    uint32_t number              # of the stream among the requests of the key, as it was counted; 0 = it is no request

# A key as a table wants it.
ctypedef struct table_key_t:
    uint64_t hash
    uint32_t shard
    uint32_t len
    uint64_t words[TABLE_KEY_WORDS]

cdef inline table_t *table_at(mapping_t *m, uint64_t at) noexcept nogil:
    return <table_t *> (<char *> m + at)

cdef inline tables_t *tables_of(mapping_t *m) noexcept nogil:
    return <tables_t *> (<char *> m + TABLES_AT)

cdef inline table_shard_t *table_shard(const table_t *t, uint32_t shard) noexcept nogil:
    return (<table_shard_t *> (<char *> t + t.shards_at)) + shard

cdef inline table_entry_t *table_entry(const table_t *t, uint32_t shard, uint32_t i) noexcept nogil:
    return <table_entry_t *> (<char *> t + t.entries_at + (<uint64_t> shard * t.shard_size + i) * t.stride)

cdef inline bint table_stores(const table_t *t, uint32_t store) noexcept nogil:
    return t.columns[store].at != 0

# Supervisor. Bytes a table takes in the arena, for messages.
cdef uint64_t table_bytes(const table_spec_t *spec) noexcept nogil

# Supervisor. An empty table with memory, not yet in the list of the mapping's; its place, or 0 with errno (ENOSPC: no room).
cdef uint64_t table_make(mapping_t *m, const table_spec_t *spec) noexcept nogil

# Supervisor. Whether a table is what the spec says (its size and expire aside).
cdef bint table_agrees(const table_t *t, const table_spec_t *spec) noexcept nogil

# Supervisor. Copy what is in another table that agrees with it, a few entries per lock, so that nobody waits for long;
# nobody else knows `t` yet. Holders are not copied. 0, or -1 with errno (ENOMEM).
cdef int table_copy(mapping_t *m, table_t *t, table_t *from_) noexcept nogil

# Supervisor. The youngest table of this name, or NULL.
cdef table_t *table_named(mapping_t *m, const char *name, size_t len) noexcept nogil

# Supervisor. Give back a table that no worker was told of.
cdef void table_unmake(mapping_t *m, table_t *t) noexcept nogil

# Supervisor. Give back what no generation in use names and nobody holds.
cdef void tables_collect(mapping_t *m) noexcept nogil

# Supervisor, after worker `slot` has ended: what it held is given back.
cdef void tables_bury(mapping_t *m, uint32_t slot, uint64_t now_ms) noexcept nogil

# A key of n bytes: longer ones are cut, binary ones filled up with zeros, as HAProxy does it.
cdef void table_key(const table_t *t, table_key_t *key, const char *p, size_t n) noexcept nogil

# Take the shard's lock and find the entry, with `create` make it if it is not there (then it is touched in any case). NULL,
# and the lock is not taken: there is none, or no room. Otherwise table_leave gives the lock.
cdef table_entry_t *table_enter(
    mapping_t *m, table_t *t, const table_key_t *key, uint64_t now_ms, bint create
) noexcept nogil

cdef void table_leave(table_t *t, uint32_t shard) noexcept nogil

# Hold the entry of a key, which is made if need be, and count what the holder is (COUNT_*, 0 = nothing yet): the place in the
# worker's ledger, 0 = no room. A request gets the number it has among the requests of the key (1 = the first), others 0.
cdef uint32_t table_hold(
    mapping_t *m, table_t *t, ledger_t *ledger, const table_key_t *key, uint64_t now_ms, uint32_t counts, uint32_t *number
) noexcept nogil

# Of what is held: count more of what its holder is, such as the session that a tracked connection has become, or one more
# request of it. The number of the request, 0 without COUNT_REQUEST.
cdef uint32_t table_count(
    mapping_t *m, ledger_t *ledger, uint32_t place, uint32_t counts, uint64_t now_ms
) noexcept nogil

# The same of an entry under its lock.
cdef uint32_t table_count_locked(const table_t *t, table_entry_t *e, uint32_t counts, uint64_t now_ms) noexcept nogil

# Count how a request or a connection ended: its status (0 = none) and its bytes.
cdef void table_result_locked(
    const table_t *t, table_entry_t *e, uint32_t status, uint64_t bytes_in, uint64_t bytes_out, uint64_t now_ms
) noexcept nogil

# It was used now; under its lock.
cdef void table_touch_locked(table_t *t, uint32_t shard, table_entry_t *e, uint64_t now_ms) noexcept nogil

# Lock what is held at this place: its entry, table and shard; NULL with no lock when the lock is lost.
cdef table_entry_t *table_held(
    mapping_t *m, ledger_t *ledger, uint32_t place, table_t **t, uint32_t *shard
) noexcept nogil

# Of what table_held returned: give it back, and the lock too.
cdef void table_release_locked(
    table_t *t, uint32_t shard, table_entry_t *e, ledger_t *ledger, uint32_t place, uint64_t now_ms
) noexcept nogil

cdef void table_release(mapping_t *m, ledger_t *ledger, uint32_t place, uint64_t now_ms) noexcept nogil

# A cell of an entry, under its shard's lock. What is not stored reads as 0 and is not counted; a rate reads as its events
# per period, and `add` is its events.
cdef void table_add_locked(
    const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t n, uint64_t now_ms
) noexcept nogil
cdef void table_set_locked(const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t n) noexcept nogil
cdef uint64_t table_read_locked(
    const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell, uint64_t now_ms
) noexcept nogil

# Events of a rate in the period of its last one.
cdef uint64_t table_current_locked(const table_t *t, table_entry_t *e, uint32_t store, uint32_t cell) noexcept nogil

# Entries in use, without the expired ones, which are taken away, a few per lock.
cdef uint32_t table_used(mapping_t *m, table_t *t, uint64_t now_ms) noexcept nogil

# Entries in use as the shards say it without being asked for their locks, expired ones that nobody met yet included.
cdef uint32_t table_counted(const table_t *t) noexcept nogil

# Whether an entry is there only until somebody looks for it.
cdef inline bint table_is_expired(const table_t *t, const table_entry_t *e, uint64_t now_ms) noexcept nogil:
    return t.expire_ms != 0 and e.refs == 0 and now_ms >= e.touched_ms + t.expire_ms

# Take the lock of a shard, repaired if need be: 0 or -1.
cdef int table_take(mapping_t *m, table_t *t, uint32_t shard) noexcept nogil

# Take away an entry nobody holds; under its shard's lock.
cdef void table_drop_locked(table_t *t, uint32_t shard, table_entry_t *e) noexcept nogil

# Make all that is derived from the entries and the ledgers. Under the lock.
cdef void table_rebuild_locked(mapping_t *m, table_t *t, uint32_t shard) noexcept nogil
