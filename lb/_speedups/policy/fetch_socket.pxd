# Fetches of a family: what is known of connections alone: addresses, PROXY headers, the kernel's TCP_INFO. See fetch.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int fetch_socket(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
