from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.io.sys cimport AF_INET, AF_INET6
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.look cimport (
    LOOK_HTTP_REQ_CNT, LOOK_TRACKED, LOOK_UPDT_CONN_CNT, look_is_numbered, look_locked, look_makes,
)
from lb._speedups.policy.program cimport ARG_INT, ARG_TABLE, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, SAMPLE_SINT, SAMPLE_STR, sample_bool, sample_cast,
    sample_int,
)
from lb._speedups.policy.table cimport (
    STORE_HTTP_REQ_CNT, TABLE_BINARY, TABLE_INTEGER, TABLE_IP, TABLE_IPV6, TABLE_TRACKS, table_at, table_counted, table_enter,
    table_entry_t, table_held, table_key, table_leave, table_stores, track_t,
)


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


# The number of a cell, which looks at arrays have as their first argument: -1 = it is not there.
cdef inline int64_t cell_of(const eval_t *c, const program_t *g, const op_t *op) noexcept nogil:
    cdef const arg_t *arg
    if not look_is_numbered(op.code & 255):
        return 0
    arg = arg_at(c, g, op, 0, ARG_INT)
    return arg.i if arg != NULL and 0 <= arg.i < 65536 else -1


# Look at the entry of a key. One that is not there has zero of everything; only those that count make it, if they may.
cdef int look_up(
    eval_t *c, table_t *t, const table_key_t *key, uint32_t look, uint32_t cell, bint make, sample_t *s
) noexcept nogil:
    cdef table_entry_t *e = table_enter(c.view.mapping, t, key, c.view.now_ms, make and look_makes(look))
    cdef int r
    if e == NULL:
        return sample_int(s, 0) if look != LOOK_UPDT_CONN_CNT else SAMPLE_NONE
    r = look_locked(t, key.shard, e, look, cell, c.view.now_ms, s)
    table_leave(t, key.shard)
    return r


cdef int fetch_tracked(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef uint32_t look = op.code & 255
    cdef uint32_t first = look_is_numbered(look)
    cdef int64_t cell = cell_of(c, g, op)
    cdef const arg_t *which = arg_at(c, g, op, first, ARG_INT)
    cdef const arg_t *other = arg_at(c, g, op, first + 1, ARG_TABLE)
    cdef const track_t *track
    cdef table_entry_t *e
    cdef table_t *t
    cdef table_t *second
    cdef table_key_t key
    cdef uint32_t shard
    cdef int r
    if which == NULL or not 0 <= which.i < TABLE_TRACKS or c.view.tracks == NULL or cell < 0:
        return SAMPLE_NONE
    track = &c.view.tracks[which.i]
    if track.place == 0 and c.view.session_tracks != NULL:
        track = &c.view.session_tracks[which.i]    # what the stream does not track itself, its connection may
    if look == LOOK_TRACKED:
        return sample_bool(s, track.place != 0)
    if track.place == 0:
        return SAMPLE_NONE
    e = table_held(c.view.mapping, c.view.ledger, track.place, &t, &shard)
    if e == NULL:
        return SAMPLE_NONE
    if other == NULL or <uint64_t> other.i == t.self_at:
        if look == LOOK_HTTP_REQ_CNT and track.number != 0 and table_stores(t, STORE_HTTP_REQ_CNT):
            # The number of this request, and not of those that came while its rules ran: so a limit lets pass as many
            # as it says, whatever the number of workers.
            r = sample_int(s, track.number)
        else:
            r = look_locked(t, shard, e, look, <uint32_t> cell, c.view.now_ms, s)
        table_leave(t, shard)
        return r
    # The same key in another table, which is not made for it.
    second = table_at(c.view.mapping, <uint64_t> other.i)
    if second.key_type != t.key_type:
        table_leave(t, shard)
        return sample_int(s, 0)
    table_key(second, &key, <const char *> e.key, e.key_len)
    table_leave(t, shard)
    return look_up(c, second, &key, look, <uint32_t> cell, False, s)


cdef int fetch_source(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef uint32_t look = op.code & 255
    cdef int64_t cell = cell_of(c, g, op)
    cdef const arg_t *arg = arg_at(c, g, op, look_is_numbered(look), ARG_TABLE)
    cdef table_key_t key
    cdef sample_t address
    cdef table_t *t
    if arg == NULL or c.view.mapping == NULL or cell < 0:
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
    return look_up(c, t, &key, look, <uint32_t> cell, True, s)


cdef int fetch_table(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_TABLE)
    cdef table_t *t
    cdef uint32_t used
    if arg == NULL or c.view.mapping == NULL:
        return SAMPLE_NONE
    t = table_at(c.view.mapping, <uint64_t> arg.i)
    used = table_counted(t)
    if (op.code & 255) == FETCH_TABLE_CNT:
        return sample_int(s, used)
    return sample_int(s, t.size - used if t.size > used else 0)
