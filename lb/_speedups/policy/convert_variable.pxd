# Converters that keep or read variables.
from libc.stdint cimport int64_t, uint32_t

from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # low byte of op_t.code in CONVERTERS_VARIABLE
    CONVERT_SET_VAR = 1
    CONVERT_UNSET_VAR
    CONVERT_CONCAT
    CONVERT_STRCMP
    CONVERT_SECURE_MEMCMP
    CONVERT_WHEN
    CONVERT_ADD_ITEM
    CONVERTERS_VARIABLE_END

cdef enum:                       # the first argument of CONVERT_WHEN
    WHEN_ERROR = 1               # the stream failed, as far as one knows now
    WHEN_FORWARDED               # a server has it
    WHEN_NORMAL
    WHEN_PROCESSED               # a server has it, or it was answered here
    WHEN_STOPPING
    WHEN_TOAPPLET                # it was answered here
    WHEN_ACL                     # the ACLs behind it hold

cdef int convert_variable(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# The number that an argument is: an integer, or what a variable holds. 0, or -1: there is none.
cdef int convert_operand(eval_t *c, const program_t *g, const op_t *op, uint32_t k, int64_t *n) noexcept nogil
