from libc.stdint cimport int64_t, uint32_t

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.logformat cimport (
    LOGFORMAT_VALUE, LOGOP_CLIENT, LOGOP_LOGGED, LOGOP_RAW, logformat_data_ms, logformat_value,
)
from lb._speedups.policy.logline cimport log_view_t
from lb._speedups.policy.plan cimport MODE_HTTP
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_NONE, SAMPLE_TEXT_MAX, sample_bool, sample_int, sample_plan_text, sample_room, sample_text, SAMPLE_FOUND,
)


# What may not have happened is not found.
cdef inline int happened(int64_t ms, sample_t *s) noexcept nogil:
    return sample_int(s, ms) if ms >= 0 else SAMPLE_NONE


cdef int log_variable(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *kind = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *flags = arg_at(c, g, op, 1, ARG_INT)
    cdef char *room
    cdef size_t n
    if kind == NULL or flags == NULL or not LOGOP_CLIENT <= kind.i <= LOGOP_LOGGED or c.view.line == NULL:
        return SAMPLE_NONE
    room = sample_room(c, SAMPLE_TEXT_MAX)
    if room == NULL:
        return SAMPLE_NONE
    n = logformat_value(
        c.view.line, c.view.record, <uint32_t> kind.i, <uint32_t> flags.i | LOGOP_RAW, SAMPLE_TEXT_MAX - LOGFORMAT_VALUE, room
    )
    c.used -= <uint32_t> (SAMPLE_TEXT_MAX - n)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef int last_file(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    if name == NULL or c.view.last_line == 0:
        return SAMPLE_NONE
    return sample_plan_text(c, name.text, s)


cdef int fetch_transaction(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const log_view_t *v = c.view.record
    cdef char *room
    if code == FETCH_LAST_RULE_LINE:
        return sample_int(s, c.view.last_line) if c.view.last_line != 0 else SAMPLE_NONE
    if code == FETCH_LAST_RULE_FILE:
        return last_file(c, g, op, s)
    if v == NULL:
        return SAMPLE_NONE
    if code == FETCH__LOG:
        return log_variable(c, g, op, s)
    if code == FETCH_TXN_STATUS:
        return sample_int(s, v.status if v.status else -1)
    if code == FETCH_TXN_SESS_TERM_STATE:
        room = sample_room(c, 2)
        if room == NULL:
            return SAMPLE_NONE
        room[0] = v.end_cause
        room[1] = v.end_phase
        sample_text(s, room, 2, 0)
        return SAMPLE_FOUND
    if code == FETCH_TXN_CONN_RETRIES:
        return sample_int(s, v.retries)
    if code == FETCH_TXN_REDISPATCHED:
        return sample_bool(s, v.redispatched)
    if code == FETCH_TXN_ID32:
        return sample_int(s, v.number)
    if code == FETCH_TXN_TIMER_TOTAL or code == FETCH_TXN_TIMER_USER:
        return sample_int(s, v.active_ms)
    if code == FETCH_FC_TIMER_TOTAL:
        return sample_int(s, v.active_ms + (v.idle_ms if v.mode == MODE_HTTP else 0))
    if code == FETCH_REQ_TIMER_HDR:
        return happened(v.request_ms, s)
    if code == FETCH_REQ_TIMER_IDLE:
        return sample_int(s, v.idle_ms)
    if code == FETCH_REQ_TIMER_QUEUE:
        return happened(v.queue_ms, s)
    if code == FETCH_REQ_TIMER_TQ:
        return happened(v.idle_ms + v.request_ms if v.request_ms >= 0 else -1, s)
    if code == FETCH_RES_TIMER_HDR:
        return happened(v.response_ms, s)
    if code == FETCH_RES_TIMER_DATA:
        return happened(logformat_data_ms(v), s)
    if code == FETCH_BC_TIMER_CONNECT:
        return happened(v.connect_ms, s)
    if code == FETCH_FC_TIMER_HANDSHAKE:
        return sample_int(s, 0)
    if code == FETCH_BYTES_IN:
        return sample_int(s, <int64_t> v.bytes_in)
    if code == FETCH_BYTES_OUT:
        return sample_int(s, <int64_t> v.bytes_out)
    return SAMPLE_NONE
