from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp

from lb._speedups.policy.plan cimport (
    CONDITION_FIELD, TEST_ABSENT, TEST_IS, TEST_PRESENT, plan_text, plan_texts, text_t,
)
from lb._speedups.proto.message cimport message_find


cdef bint is_value(const plan_t *p, const plan_condition_t *c, const char *value, size_t n) noexcept nogil:
    cdef text_t *wanted
    cdef uint32_t i
    for i in range(c.values):
        wanted = plan_texts(p, c.values_at + i)
        if wanted.len == n and memcmp(plan_text(p, wanted[0]), value, n) == 0:
            return True
    return False


cdef bint field_holds(const plan_t *p, const plan_condition_t *c, const message_t *m) noexcept nogil:
    cdef const char *name = plan_text(p, c.name)
    cdef int i = message_find(m, name, c.name.len, 0)
    if c.test != TEST_IS:
        return (i >= 0) == (c.test == TEST_PRESENT)
    while i >= 0:
        if is_value(p, c, m.block + m.fields[i].value_at, m.fields[i].value_len):
            return True
        i = message_find(m, name, c.name.len, <uint32_t> i + 1)
    return False


cdef bint param_holds(const plan_t *p, const plan_condition_t *c, const message_t *m) noexcept nogil:
    cdef const char *name = plan_text(p, c.name)
    cdef const char *at = m.block + m.query.at
    cdef const char *end = at + m.query.len
    cdef const char *stop
    cdef const char *equals
    while at < end:
        stop = <const char *> memchr(at, b'&', <size_t> (end - at))
        if stop == NULL:
            stop = end
        equals = <const char *> memchr(at, b'=', <size_t> (stop - at))
        if equals == NULL:
            equals = stop
        if <size_t> (equals - at) == c.name.len and memcmp(at, name, c.name.len) == 0:
            if c.test != TEST_IS:
                return c.test == TEST_PRESENT
            if equals < stop:
                equals += 1
            if is_value(p, c, equals, <size_t> (stop - equals)):
                return True
        at = stop + 1
    return c.test == TEST_ABSENT


cdef bint condition_holds(const plan_t *p, const plan_condition_t *c, const message_t *m) noexcept nogil:
    if c.kind == CONDITION_FIELD:
        return field_holds(p, c, m)
    return param_holds(p, c, m)
