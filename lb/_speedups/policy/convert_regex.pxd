# Converters of a family: regular expressions. See convert.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_regex(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
