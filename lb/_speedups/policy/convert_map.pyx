from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_REFERENCE, ARG_TEXT, arg_t
from lb._speedups.policy.reference cimport (
    RECORD_VALUED, image_t, image_value, record_key, record_t, reference_find, reference_read_integer, value_t, value_text,
)
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, sample_int, sample_read_address, sample_text,
)


cdef extern from "lb.h" nogil:
    uint32_t lb_load_u32(const uint32_t *p)


# What a value is turned into: the converters of a match stand in this order.
cdef enum output:
    OUTPUT_TEXT = 0
    OUTPUT_INTEGER
    OUTPUT_ADDRESS
    OUTPUT_KEY


cdef inline unsigned int output_of(const op_t *op) noexcept nogil:
    return ((op.code & 255) - 1) & 3


cdef int read_text(const char *p, size_t n, unsigned int output, sample_t *s) noexcept nogil:
    cdef int64_t number
    if output == OUTPUT_INTEGER:
        return sample_int(s, number) if reference_read_integer(p, n, &number) else SAMPLE_NONE
    if output == OUTPUT_ADDRESS:
        s.flags = 0
        return SAMPLE_FOUND if sample_read_address(p, n, s) == 0 else SAMPLE_NONE
    sample_text(s, p, n, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int otherwise(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 1, ARG_INT)
    if arg != NULL:
        return sample_int(s, arg.i)
    arg = arg_at(c, g, op, 1, ARG_TEXT)
    if arg == NULL:
        return SAMPLE_NONE
    return read_text(plan_text(c.view.plan, arg.text), arg.text.len, output_of(op), s)


cdef int convert_map(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *place = arg_at(c, g, op, 0, ARG_REFERENCE)
    cdef const image_t *image
    cdef const record_t *r
    cdef const value_t *v
    if place == NULL:
        return SAMPLE_NONE
    r = reference_find(c, c.view.mapping, <uint64_t> place.i, s, False, &image)
    if r == NULL:
        return otherwise(c, g, op, s)
    if output_of(op) == OUTPUT_KEY:
        return read_text(record_key(image, r), r.key_len, OUTPUT_KEY, s)
    if not r.flags & RECORD_VALUED:            # `add acl` on a map
        return sample_int(s, 1)
    v = image_value(image, lb_load_u32(&r.value))
    return read_text(value_text(v), v.len, output_of(op), s)
