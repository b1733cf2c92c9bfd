# Converters of a family: hashes of bytes (policy/hash.pxd). None of them resists who looks for collisions. See convert.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_hash(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
