from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.policy.action cimport (
    ACTION_SC_INC_GPC0, ACTION_SC_INC_GPC1, ACTION_SC_SET_GPT, ACTION_SC_SET_GPT0, ACTION_TRACK,
)
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.fetch_table cimport fetch_key
from lb._speedups.policy.look cimport (
    LOOK_GPC, LOOK_GPC0, LOOK_GPC1, LOOK_GPT, LOOK_GPT0, look_count_locked, look_mark_locked,
)
from lb._speedups.policy.program cimport ARG_EXPR, ARG_INT, ARG_TABLE, arg_t
from lb._speedups.policy.rule cimport rule_arg
from lb._speedups.policy.sample cimport SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_SINT, SAMPLE_WAIT, sample_cast, sample_t
from lb._speedups.policy.table cimport (
    COUNT_CONNECTION, COUNT_REQUEST, TABLE_TRACKS, table_at, table_entry_t, table_held, table_hold, table_key_t, table_leave,
    table_t, track_t,
)


# track: hold the entry of a key and count this connection or request there. The first rule that tracks with a number keeps it;
# a key that is not there, or that a full table has no room for, is not tracked.
cdef int track(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *which = rule_arg(c, g, rule, 0, ARG_INT)
    cdef const arg_t *expr = rule_arg(c, g, rule, 1, ARG_EXPR)
    cdef const arg_t *table = rule_arg(c, g, rule, 2, ARG_TABLE)
    cdef track_t *out
    cdef table_t *t
    cdef table_key_t key
    cdef sample_t s
    cdef int r
    if which == NULL or expr == NULL or table == NULL or not 0 <= which.i < TABLE_TRACKS:
        return SAMPLE_NONE
    if c.view.tracks == NULL or c.view.ledger == NULL:
        return SAMPLE_NONE
    out = &c.view.tracks[which.i]
    if out.place != 0:
        return SAMPLE_NONE
    t = table_at(c.view.mapping, <uint64_t> table.i)
    c.changes = False
    r = expr_run(c, g, <uint32_t> expr.i, &s)
    if r == SAMPLE_WAIT or c.changes:
        return SAMPLE_WAIT                    # another key may come
    if r != SAMPLE_FOUND or fetch_key(c, t, &s, &key) != SAMPLE_FOUND:
        return SAMPLE_NONE
    out.place = table_hold(
        c.view.mapping, t, c.view.ledger, &key, c.view.now_ms,
        COUNT_CONNECTION | COUNT_REQUEST if c.view.request != NULL else COUNT_CONNECTION, &out.number
    )
    return SAMPLE_FOUND


# The value of an argument: a number, or an expression that gives one. False: it gives none.
cdef bint value_of(eval_t *c, const program_t *g, const rule_t *rule, uint32_t k, int64_t *value) noexcept nogil:
    cdef const arg_t *arg = rule_arg(c, g, rule, k, ARG_INT)
    cdef sample_t s
    if arg != NULL:
        value[0] = arg.i
        return True
    arg = rule_arg(c, g, rule, k, ARG_EXPR)
    if arg == NULL or expr_run(c, g, <uint32_t> arg.i, &s) != SAMPLE_FOUND:
        return False
    if s.type != SAMPLE_SINT and sample_cast(c, &s, SAMPLE_SINT) != SAMPLE_FOUND:
        return False
    value[0] = s.i
    return True


# The others: change what a tracked entry counts or is marked with. Nothing is tracked, or the table does not store it: nothing
# happens. Args: which of the tracks, number of the cell, value.
cdef void change(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *which = rule_arg(c, g, rule, 0, ARG_INT)
    cdef const arg_t *cell = rule_arg(c, g, rule, 1, ARG_INT)
    cdef uint32_t what = LOOK_GPC
    cdef uint32_t shard, number, place
    cdef int64_t value
    cdef uint64_t now
    cdef table_entry_t *e
    cdef table_t *t
    if which == NULL or cell == NULL or not 0 <= which.i < TABLE_TRACKS or not 0 <= cell.i < 65536:
        return
    if c.view.tracks == NULL or c.view.ledger == NULL:
        return
    place = c.view.tracks[which.i].place
    if place == 0 and c.view.session_tracks != NULL:
        place = c.view.session_tracks[which.i].place
    if place == 0:
        return
    # Before the lock: it may look at tables itself.
    if not value_of(c, g, rule, 2, &value):
        return
    e = table_held(c.view.mapping, c.view.ledger, place, &t, &shard)
    if e == NULL:
        return
    number = <uint32_t> cell.i
    if rule.action == ACTION_SC_SET_GPT or rule.action == ACTION_SC_SET_GPT0:
        what = LOOK_GPT if rule.action == ACTION_SC_SET_GPT else LOOK_GPT0
        look_mark_locked(t, shard, e, what, number, <uint32_t> value, c.view.now_ms)
    else:
        if rule.action == ACTION_SC_INC_GPC0:
            what = LOOK_GPC0
        elif rule.action == ACTION_SC_INC_GPC1:
            what = LOOK_GPC1
        look_count_locked(t, shard, e, what, number, <uint32_t> value, c.view.now_ms, &now)
    table_leave(t, shard)


cdef int action_table(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    if rule.action == ACTION_TRACK:
        return track(c, g, rule)
    change(c, g, rule)
    return SAMPLE_FOUND
