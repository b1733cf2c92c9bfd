from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.fetch_table cimport fetch_key
from lb._speedups.policy.look cimport (
    LOOK_EXPIRE, LOOK_IDLE, LOOK_IN_TABLE, look_is_numbered, look_locked, look_makes,
)
from lb._speedups.policy.program cimport ARG_INT, ARG_TABLE, arg_t
from lb._speedups.policy.sample cimport SAMPLE_FOUND, SAMPLE_NONE, sample_bool, sample_int
from lb._speedups.policy.table cimport table_at, table_enter, table_entry_t, table_key_t, table_leave, table_t


# A key that is not there: zero of everything, but for ages what the second argument says, or nothing.
cdef int missing(eval_t *c, const program_t *g, const op_t *op, uint32_t look, sample_t *s) noexcept nogil:
    cdef const arg_t *otherwise
    if look == LOOK_IN_TABLE:
        return sample_bool(s, False)
    if look != LOOK_IDLE and look != LOOK_EXPIRE:
        return sample_int(s, 0)
    otherwise = arg_at(c, g, op, 1, ARG_INT)
    return sample_int(s, otherwise.i) if otherwise != NULL else SAMPLE_NONE


cdef int convert_table(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef uint32_t look = op.code & 255
    cdef uint32_t first = look_is_numbered(look)
    cdef const arg_t *number = arg_at(c, g, op, 0, ARG_INT) if first else NULL
    cdef const arg_t *table = arg_at(c, g, op, first, ARG_TABLE)
    cdef int64_t cell = number.i if number != NULL else 0
    cdef table_entry_t *e
    cdef table_key_t key
    cdef table_t *t
    cdef int r
    if table == NULL or c.view.mapping == NULL or not 0 <= cell < 65536:
        return SAMPLE_NONE
    t = table_at(c.view.mapping, <uint64_t> table.i)
    if fetch_key(c, t, s, &key) != SAMPLE_FOUND:
        return SAMPLE_NONE
    e = table_enter(c.view.mapping, t, &key, c.view.now_ms, look_makes(look))
    if e == NULL:
        return missing(c, g, op, look, s)
    r = look_locked(t, key.shard, e, look, <uint32_t> cell, c.view.now_ms, s)
    table_leave(t, key.shard)
    return r
