from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from lb._speedups.policy.convert cimport CONVERT_HOST_ONLY, CONVERT_IPMASK, CONVERT_PORT_ONLY
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_NET, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, sample_cast, sample_int, sample_room, sample_text,
)


cdef int ipmask(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *mask
    cdef const uint8_t *bytes_
    cdef uint32_t i, n
    if s.type == SAMPLE_IPV6 and s.address[0] == 0:
        sample_cast(c, s, SAMPLE_IPV4)        # an IPv4-mapped address gets the mask of its kind, one of 6to4 does not
    n = 4 if s.type == SAMPLE_IPV4 else 16
    mask = arg_at(c, g, op, 0 if n == 4 else 1, ARG_NET)
    if (s.type != SAMPLE_IPV4 and s.type != SAMPLE_IPV6) or mask == NULL or mask.text.len != n:
        return SAMPLE_NONE
    bytes_ = <const uint8_t *> plan_text(c.view.plan, mask.text)
    for i in range(n):
        s.address[i] &= bytes_[i]
    return SAMPLE_FOUND


# Bytes before the colon of a port: the last colon, if no bracket is behind it. Else all.
cdef uint32_t host_end(const sample_t *s) noexcept nogil:
    cdef uint32_t i = s.len
    while i > 0 and s.p[i - 1] != c']':
        i -= 1
        if s.p[i] == c':':
            return i
    return s.len


# What stands behind the colon, as HAProxy reads it (strl2uic): 32 bits that wrap, of any bytes.
cdef uint32_t port_of(const sample_t *s) noexcept nogil:
    cdef uint32_t port = 0
    cdef uint32_t i
    for i in range(host_end(s) + 1, s.len):
        port = port * 10 + <uint8_t> s.p[i] - 48
    return port


cdef int host_only(eval_t *c, sample_t *s) noexcept nogil:
    cdef uint32_t n = host_end(s)
    cdef char *room = sample_room(c, n)
    cdef uint32_t i
    if room == NULL:
        return SAMPLE_NONE
    memcpy(room, s.p, n)
    for i in range(n):
        if c'A' <= room[i] <= c'Z':
            room[i] += 32
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef int convert_net(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == CONVERT_IPMASK:
        return ipmask(c, g, op, s)
    if code == CONVERT_HOST_ONLY:
        return host_only(c, s)
    if code == CONVERT_PORT_ONLY:
        return sample_int(s, port_of(s))
    return SAMPLE_NONE
