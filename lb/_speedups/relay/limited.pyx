from libc.stdint cimport uint32_t
from libc.string cimport memcpy, strlen

from lb._speedups.policy.limit cimport (
    LIMIT_FIELD_MAX, LIMIT_LEGACY, LIMIT_STANDARD, limits_take, plan_limit, plan_limit_t,
)
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.proto.message cimport NAME_OTHER, message_add
from lb._speedups.relay.rules cimport rules_look


cdef bint limited_take(stream_t *st, limit_list_t first, limit_list_t second) noexcept nogil:
    rules_look(st)
    return limits_take(&st.engine.eval, first, second, &st.limited)


cdef size_t put_number(char *p, uint32_t n) noexcept nogil:
    cdef char digits[10]
    cdef int at = 10
    while True:
        at -= 1
        digits[at] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            break
    memcpy(p, digits + at, <size_t> (10 - at))
    return <size_t> (10 - at)


cdef void add_number(message_t *m, const char *name, uint32_t n) noexcept nogil:
    cdef char value[10]
    message_add(m, NAME_OTHER, name, strlen(name), value, put_number(value, n))


cdef void limited_fields(stream_t *st, message_t *m) noexcept nogil:
    cdef const plan_limit_t *limit = plan_limit(st.plan.plan, st.limited.shown - 1)
    cdef const char *policy = plan_text(st.plan.plan, limit.policy)
    cdef char value[LIMIT_FIELD_MAX]
    cdef size_t n
    if st.limited.refused:
        add_number(m, b"Retry-After", st.limited.wait_s)
    if limit.flags & LIMIT_STANDARD:
        message_add(m, NAME_OTHER, b"RateLimit-Policy", 16, policy, limit.policy.len)
        # Its name in quotes is the first part of the policy.
        n = limit.name.len + 2
        memcpy(value, policy, n)
        memcpy(value + n, b";r=", 3)
        n += 3
        n += put_number(value + n, st.limited.left)
        memcpy(value + n, b";t=", 3)
        n += 3
        n += put_number(value + n, st.limited.wait_s)
        message_add(m, NAME_OTHER, b"RateLimit", 9, value, n)
    if limit.flags & LIMIT_LEGACY:
        add_number(m, b"X-RateLimit-Limit", limit.quota)
        add_number(m, b"X-RateLimit-Remaining", st.limited.left)
        add_number(m, b"X-RateLimit-Reset", st.limited.wait_s)
