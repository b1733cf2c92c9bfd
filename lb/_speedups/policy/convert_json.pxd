# JSON and other text with a structure: policy/json.pxd, convert_rfc7239.pyx.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_json(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
