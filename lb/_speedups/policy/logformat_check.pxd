# Whether the log formats of a plan are sound. (Apart from logformat.pxd, whose functions take what holds the plan: plan.pyx
# cimports this one.)
from lb._speedups.policy.plan cimport plan_log_t, plan_t

# Whether the ops of `log` are known and fit into a line; their texts and the program must have been checked. 0 or -1.
cdef int logformat_check(const plan_t *p, const plan_log_t *log) noexcept nogil
