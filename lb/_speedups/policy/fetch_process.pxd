# Fetches of a family: the process, and settings and rates of proxies and servers. See fetch.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int fetch_process(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
