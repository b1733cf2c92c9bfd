from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.logformat cimport (
    LOGFORMAT_OPEN_MIN, LOGOP_COUNT, LOGOP_EXPRESSION, LOGOP_FLAGS, logformat_is_open, logformat_width,
)
from lb._speedups.policy.logline cimport LOGLINE_CAP
from lb._speedups.policy.plan cimport LOG_LOOKS, log_op_t, plan_log_op
from lb._speedups.policy.program cimport program_of


cdef int logformat_check(const plan_t *p, const plan_log_t *log) noexcept nogil:
    cdef uint64_t size = 0
    cdef uint32_t i
    cdef const log_op_t *op
    for i in range(log.ops):
        op = plan_log_op(p, log.ops_at + i)
        if op.kind >= LOGOP_COUNT or op.flags & ~LOGOP_FLAGS:
            return -1
        if op.kind == LOGOP_EXPRESSION and (p.program_at == 0 or op.number >= program_of(p).exprs):
            return -1
        if op.kind >= LOGOP_EXPRESSION and not log.flags & LOG_LOOKS:
            return -1
        size += op.text.len + logformat_width(op)
        if logformat_is_open(op):
            if log.room < LOGFORMAT_OPEN_MIN:
                return -1
            size += log.room
    return 0 if size <= LOGLINE_CAP else -1
