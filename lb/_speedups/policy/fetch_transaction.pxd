# How a stream goes: what a record would say of it now (view.record). Needs PROGRAM_RECORD.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # low byte of op_t.code in FETCHES_TRANSACTION
    FETCH_TXN_STATUS = 1
    FETCH_TXN_SESS_TERM_STATE
    FETCH_TXN_CONN_RETRIES
    FETCH_TXN_REDISPATCHED
    FETCH_TXN_ID32
    FETCH_TXN_TIMER_TOTAL
    FETCH_TXN_TIMER_USER
    FETCH_REQ_TIMER_HDR
    FETCH_REQ_TIMER_IDLE
    FETCH_REQ_TIMER_QUEUE
    FETCH_REQ_TIMER_TQ
    FETCH_RES_TIMER_HDR
    FETCH_RES_TIMER_DATA
    FETCH_BC_TIMER_CONNECT
    FETCH_FC_TIMER_HANDSHAKE
    FETCH_FC_TIMER_TOTAL
    FETCH_BYTES_IN
    FETCH_BYTES_OUT
    FETCH_LAST_RULE_FILE
    FETCH_LAST_RULE_LINE
    FETCH__LOG                   # a variable of log formats, in a format of rules: its LOGOP_* and flags
    FETCHES_TRANSACTION_END

cdef int fetch_transaction(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
