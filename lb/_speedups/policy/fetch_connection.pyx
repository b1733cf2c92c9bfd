from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from lb._speedups.policy.fetch cimport (
    FETCH_DST, FETCH_DST_PORT, FETCH_SO_ID, FETCH_SO_NAME, FETCH_SRC, FETCH_SRC_PORT,
)
from lb._speedups.policy.plan cimport plan_listener
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, address_t, sample_int, sample_plan_text,
)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6


cdef int address_of(const address_t *a, sample_t *s) noexcept nogil:
    if a.family == AF_INET:
        s.type = SAMPLE_IPV4
        memcpy(s.address, a.bytes, 4)
        return SAMPLE_FOUND
    if a.family == AF_INET6:
        s.type = SAMPLE_IPV6
        memcpy(s.address, a.bytes, 16)
        return SAMPLE_FOUND
    return SAMPLE_NONE


cdef int port_of(const address_t *a, sample_t *s) noexcept nogil:
    if a.family != AF_INET and a.family != AF_INET6:
        return SAMPLE_NONE
    return sample_int(s, a.port)


cdef int fetch_connection(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef uint32_t i
    if code == FETCH_SRC:
        return address_of(&c.view.source, s)
    if code == FETCH_SRC_PORT:
        return port_of(&c.view.source, s)
    if code == FETCH_DST:
        return address_of(&c.view.destination, s)
    if code == FETCH_DST_PORT:
        return port_of(&c.view.destination, s)
    if code == FETCH_SO_NAME or code == FETCH_SO_ID:
        for i in range(c.view.plan.nlisteners):
            if plan_listener(c.view.plan, i).oid == c.view.listener_oid:
                if code == FETCH_SO_ID:
                    return sample_int(s, c.view.listener_oid)
                return sample_plan_text(c, plan_listener(c.view.plan, i).name, s)
        return SAMPLE_NONE
    return SAMPLE_NONE
