from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.io.sys cimport AF_INET, AF_INET6
from lb._speedups.policy.fetch cimport (
    FETCH_SC_BYTES_IN_RATE, FETCH_SC_BYTES_OUT_RATE, FETCH_SC_CLR_GPC0, FETCH_SC_CLR_GPC1, FETCH_SC_CONN_CNT,
    FETCH_SC_CONN_CUR, FETCH_SC_CONN_RATE, FETCH_SC_GET_GPC0, FETCH_SC_GET_GPC1, FETCH_SC_GPC0_RATE, FETCH_SC_GPC1_RATE,
    FETCH_SC_HTTP_ERR_CNT, FETCH_SC_HTTP_ERR_RATE, FETCH_SC_HTTP_REQ_CNT, FETCH_SC_HTTP_REQ_RATE, FETCH_SC_INC_GPC0,
    FETCH_SC_INC_GPC1, FETCH_SC_KBYTES_IN, FETCH_SC_KBYTES_OUT, FETCH_SC_TRACKED, FETCH_SC_TRACKERS,
)
from lb._speedups.policy.program cimport ARG_INT, ARG_TABLE, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, SAMPLE_SINT, SAMPLE_STR, sample_bool, sample_cast,
    sample_int,
)
from lb._speedups.policy.table cimport (
    STORE_BYTES_IN_CNT, STORE_BYTES_IN_RATE, STORE_BYTES_OUT_CNT, STORE_BYTES_OUT_RATE, STORE_CONN_CNT, STORE_CONN_CUR,
    STORE_CONN_RATE, STORE_GPC0, STORE_GPC0_RATE, STORE_GPC1, STORE_GPC1_RATE, STORE_HTTP_ERR_CNT, STORE_HTTP_ERR_RATE,
    STORE_HTTP_REQ_CNT, STORE_HTTP_REQ_RATE, STORES, TABLE_BINARY, TABLE_INTEGER, TABLE_IP, TABLE_IPV6, TABLE_TRACKS,
    table_add_locked, table_at, table_enter, table_entry_t, table_held, table_key, table_leave, table_read_locked,
    table_set_locked, table_stores, track_t,
)


# What a fetch looks at. Both families have the same numbers.
cdef uint32_t store_of(unsigned int number) noexcept nogil:
    if number == FETCH_SC_CONN_CNT:
        return STORE_CONN_CNT
    if number == FETCH_SC_CONN_CUR:
        return STORE_CONN_CUR
    if number == FETCH_SC_CONN_RATE:
        return STORE_CONN_RATE
    if number == FETCH_SC_HTTP_REQ_CNT:
        return STORE_HTTP_REQ_CNT
    if number == FETCH_SC_HTTP_REQ_RATE:
        return STORE_HTTP_REQ_RATE
    if number == FETCH_SC_HTTP_ERR_CNT:
        return STORE_HTTP_ERR_CNT
    if number == FETCH_SC_HTTP_ERR_RATE:
        return STORE_HTTP_ERR_RATE
    if number == FETCH_SC_BYTES_IN_RATE:
        return STORE_BYTES_IN_RATE
    if number == FETCH_SC_BYTES_OUT_RATE:
        return STORE_BYTES_OUT_RATE
    if number == FETCH_SC_KBYTES_IN:
        return STORE_BYTES_IN_CNT
    if number == FETCH_SC_KBYTES_OUT:
        return STORE_BYTES_OUT_CNT
    if number == FETCH_SC_GET_GPC0:
        return STORE_GPC0
    if number == FETCH_SC_GET_GPC1:
        return STORE_GPC1
    if number == FETCH_SC_GPC0_RATE:
        return STORE_GPC0_RATE
    if number == FETCH_SC_GPC1_RATE:
        return STORE_GPC1_RATE
    if number == FETCH_SC_INC_GPC0:
        return STORE_GPC0
    if number == FETCH_SC_INC_GPC1:
        return STORE_GPC1
    if number == FETCH_SC_CLR_GPC0:
        return STORE_GPC0
    if number == FETCH_SC_CLR_GPC1:
        return STORE_GPC1
    return STORES


cdef inline const arg_t *arg_at(const eval_t *c, const program_t *g, const op_t *op, uint32_t k, uint8_t kind) noexcept nogil:
    cdef const arg_t *arg
    if k >= op.nargs:
        return NULL
    arg = (<const arg_t *> (<const char *> c.view.plan + g.args_at)) + op.args + k
    return arg if arg.kind == kind else NULL


cdef int fetch_key(eval_t *c, const table_t *t, sample_t *s, table_key_t *key) noexcept nogil:
    cdef uint8_t type_ = SAMPLE_STR
    cdef uint32_t number
    if t.key_type == TABLE_IP:
        type_ = SAMPLE_IPV4
    elif t.key_type == TABLE_IPV6:
        type_ = SAMPLE_IPV6
    elif t.key_type == TABLE_INTEGER:
        type_ = SAMPLE_SINT
    elif t.key_type == TABLE_BINARY:
        type_ = SAMPLE_BIN
    if s.type != type_ and sample_cast(c, s, type_) != SAMPLE_FOUND:
        return SAMPLE_NONE
    if type_ == SAMPLE_IPV4 or type_ == SAMPLE_IPV6:
        table_key(t, key, <const char *> s.address, 4 if type_ == SAMPLE_IPV4 else 16)
    elif type_ == SAMPLE_SINT:
        number = <uint32_t> s.i
        table_key(t, key, <const char *> &number, sizeof(number))
    else:
        table_key(t, key, s.p, s.len)
    return SAMPLE_FOUND


# One cell of an entry, under its lock; those that count return what is there now, clr what was there before.
cdef int look_locked(
    const eval_t *c, const table_t *t, table_entry_t *e, unsigned int number, sample_t *s
) noexcept nogil:
    cdef uint32_t store = store_of(number)
    cdef uint64_t now = c.view.now_ms
    cdef uint64_t value
    if number == FETCH_SC_TRACKERS:
        return sample_int(s, e.refs)
    if store >= STORES or not table_stores(t, store):
        return SAMPLE_NONE
    if number == FETCH_SC_INC_GPC0 or number == FETCH_SC_INC_GPC1:
        table_add_locked(t, e, store, 0, 1, now)
        table_add_locked(t, e, STORE_GPC0_RATE if store == STORE_GPC0 else STORE_GPC1_RATE, 0, 1, now)
    value = table_read_locked(t, e, store, 0, now)
    if number == FETCH_SC_CLR_GPC0 or number == FETCH_SC_CLR_GPC1:
        table_set_locked(t, e, store, 0, 0)
    if number == FETCH_SC_KBYTES_IN or number == FETCH_SC_KBYTES_OUT:
        value >>= 10
    return sample_int(s, <int64_t> value)


# The same of the entry of a key; a key that is not there has zero of everything, and gets an entry only to be counted.
cdef int look_up(
    eval_t *c, table_t *t, const table_key_t *key, unsigned int number, sample_t *s
) noexcept nogil:
    cdef bint create = number == FETCH_SC_INC_GPC0 or number == FETCH_SC_INC_GPC1
    cdef table_entry_t *e = table_enter(c.view.mapping, t, key, c.view.now_ms, create)
    cdef int r
    if e == NULL:
        if number == FETCH_SC_TRACKERS or table_stores(t, store_of(number)):
            return sample_int(s, 0)
        return SAMPLE_NONE
    r = look_locked(c, t, e, number, s)
    table_leave(t, key.shard)
    return r


cdef int fetch_tracked(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int number = op.code & 255
    cdef const arg_t *which = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *other = arg_at(c, g, op, 1, ARG_TABLE)
    cdef const track_t *track
    cdef table_entry_t *e
    cdef table_t *t
    cdef table_t *second
    cdef table_key_t key
    cdef uint32_t shard
    cdef int r
    if which == NULL or not 0 <= which.i < TABLE_TRACKS or c.view.tracks == NULL:
        return SAMPLE_NONE
    track = &c.view.tracks[which.i]
    if number == FETCH_SC_TRACKED and other == NULL:
        return sample_bool(s, track.place != 0)
    if track.place == 0:
        return sample_bool(s, False) if number == FETCH_SC_TRACKED else SAMPLE_NONE
    e = table_held(c.view.mapping, c.view.ledger, track.place, &t, &shard)
    if e == NULL:
        return SAMPLE_NONE
    if other == NULL or <uint64_t> other.i == t.self_at:
        if number == FETCH_SC_TRACKED:
            r = sample_bool(s, True)
        elif number == FETCH_SC_HTTP_REQ_CNT and table_stores(t, STORE_HTTP_REQ_CNT):
            # The number of this request, and not of those that came while its rules ran: so a limit lets pass as many
            # as it says, whatever the number of workers.
            r = sample_int(s, track.number)
        else:
            r = look_locked(c, t, e, number, s)
        table_leave(t, shard)
        return r
    # The same key in another table.
    second = table_at(c.view.mapping, <uint64_t> other.i)
    if number == FETCH_SC_TRACKED or second.key_type != t.key_type:
        table_leave(t, shard)
        return sample_bool(s, False) if number == FETCH_SC_TRACKED else SAMPLE_NONE
    table_key(second, &key, <const char *> e.key, e.key_len)
    table_leave(t, shard)
    return look_up(c, second, &key, number, s)


cdef int fetch_source(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_TABLE)
    cdef table_key_t key
    cdef sample_t address
    cdef table_t *t
    if arg == NULL or c.view.mapping == NULL:
        return SAMPLE_NONE
    t = table_at(c.view.mapping, <uint64_t> arg.i)
    address.flags = 0
    if c.view.source.family == AF_INET:
        address.type = SAMPLE_IPV4
    elif c.view.source.family == AF_INET6:
        address.type = SAMPLE_IPV6
    else:
        return SAMPLE_NONE
    memcpy(address.address, c.view.source.bytes, 16)
    if fetch_key(c, t, &address, &key) != SAMPLE_FOUND:
        return SAMPLE_NONE
    return look_up(c, t, &key, op.code & 255, s)
