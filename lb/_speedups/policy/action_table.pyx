from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.fetch_table cimport fetch_key
from lb._speedups.policy.program cimport ARG_EXPR, ARG_INT, ARG_TABLE, arg_t
from lb._speedups.policy.rule cimport rule_arg
from lb._speedups.policy.sample cimport SAMPLE_FOUND, sample_t
from lb._speedups.policy.table cimport TABLE_TRACKS, table_at, table_hold, table_key_t, table_t, track_t


# track: hold the entry of a key and count this request there. The first rule that tracks with a number keeps it; a key that
# is not there, or that a full table has no room for, is not tracked.
cdef void action_table(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *which = rule_arg(c, g, rule, 0, ARG_INT)
    cdef const arg_t *expr = rule_arg(c, g, rule, 1, ARG_EXPR)
    cdef const arg_t *table = rule_arg(c, g, rule, 2, ARG_TABLE)
    cdef track_t *out
    cdef table_t *t
    cdef table_key_t key
    cdef sample_t s
    if which == NULL or expr == NULL or table == NULL or not 0 <= which.i < TABLE_TRACKS:
        return
    if c.view.tracks == NULL or c.view.ledger == NULL:
        return
    out = &c.view.tracks[which.i]
    if out.place != 0:
        return
    t = table_at(c.view.mapping, <uint64_t> table.i)
    if expr_run(c, g, <uint32_t> expr.i, &s) != SAMPLE_FOUND or fetch_key(c, t, &s, &key) != SAMPLE_FOUND:
        return
    out.place = table_hold(c.view.mapping, t, c.view.ledger, &key, c.view.now_ms, &out.number)
