# Expressions, conditions and format strings of a compiled program, evaluated.
from libc.stdint cimport uint32_t

from lb._speedups.policy.program cimport program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # part_t.flags, behind PART_QUOTE
    PART_ESCAPE = 1 << 1         # %{+E}: a backslash before `"`, `\` and `]`

# The sample of an expression. SAMPLE_*.
cdef int expr_run(eval_t *c, const program_t *g, uint32_t expr, sample_t *s) noexcept nogil

# Whether a condition holds: 1, 0, or -1: more must arrive before anybody can tell, or, when eval_t.erred is set then, nobody
# ever can.
cdef int cond_run(eval_t *c, const program_t *g, uint32_t cond) noexcept nogil

# Whether an ACL holds, in the same way. It may be asked within another test.
cdef int acl_holds(eval_t *c, const program_t *g, uint32_t acl) noexcept nogil

# Write a format string to out[0:cap]; its bytes, or -1 when they do not fit. A sample that is not found is empty.
cdef ssize_t format_run(eval_t *c, const program_t *g, uint32_t format, char *out, size_t cap) noexcept nogil
