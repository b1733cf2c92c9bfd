from libc.stdint cimport int64_t

from lb._speedups.policy.convert cimport (
    CONVERT_ADD, CONVERT_AND, CONVERT_BOOL, CONVERT_CPL, CONVERT_DIV, CONVERT_EVEN, CONVERT_MOD, CONVERT_MUL,
    CONVERT_NEG, CONVERT_NOT, CONVERT_ODD, CONVERT_OR, CONVERT_SUB, CONVERT_XOR,
)
from lb._speedups.policy.convert_variable cimport convert_operand
from lb._speedups.policy.sample cimport SAMPLE_NONE, sample_bool, sample_int


cdef extern from *:
    """
    /* Saturating, as HAProxy's arith_add and arith_mul. */
    static inline int64_t lb_add_saturated(int64_t a, int64_t b)
    {
        int64_t out;
        if (!__builtin_add_overflow(a, b, &out))
            return out;
        return a < 0 ? INT64_MIN : INT64_MAX;
    }
    static inline int64_t lb_mul_saturated(int64_t a, int64_t b)
    {
        int64_t out;
        if (!__builtin_mul_overflow(a, b, &out))
            return out;
        return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
    }
    """
    int64_t lb_add_saturated(int64_t a, int64_t b) noexcept nogil
    int64_t lb_mul_saturated(int64_t a, int64_t b) noexcept nogil
    const int64_t INT64_MIN
    const int64_t INT64_MAX


cdef int64_t negated(int64_t n) noexcept nogil:
    return INT64_MAX if n == INT64_MIN else -n


cdef int convert_number(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef int64_t n = 0
    if code == CONVERT_NOT:
        return sample_bool(s, s.i == 0)
    if code == CONVERT_BOOL:
        return sample_bool(s, s.i != 0)
    if code == CONVERT_ODD or code == CONVERT_EVEN:
        return sample_bool(s, (s.i & 1) == (code == CONVERT_ODD))
    if code == CONVERT_NEG:
        return sample_int(s, negated(s.i))
    if code == CONVERT_CPL:
        return sample_int(s, ~s.i)
    if convert_operand(c, g, op, 0, &n) != 0:
        return SAMPLE_NONE
    if code == CONVERT_ADD:
        return sample_int(s, lb_add_saturated(s.i, n))
    if code == CONVERT_SUB:
        # HAProxy adds the negated number, but for the least one, which has no negation.
        if n == INT64_MIN:
            return sample_int(s, s.i - n if s.i < 0 else INT64_MAX)
        return sample_int(s, lb_add_saturated(s.i, -n))
    if code == CONVERT_MUL:
        return sample_int(s, lb_mul_saturated(s.i, n))
    if code == CONVERT_DIV:
        if n == 0:
            return sample_int(s, INT64_MAX)
        return sample_int(s, INT64_MAX if n == -1 and s.i == INT64_MIN else s.i // n)
    if code == CONVERT_MOD:
        return sample_int(s, 0 if n == 0 or n == -1 else s.i % n)
    if code == CONVERT_AND:
        return sample_int(s, s.i & n)
    if code == CONVERT_OR:
        return sample_int(s, s.i | n)
    if code == CONVERT_XOR:
        return sample_int(s, s.i ^ n)
    return SAMPLE_NONE
