# Converters table_* and in_table: what a stick table has of the key that is converted. Numbers are those of policy/look.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_table(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
