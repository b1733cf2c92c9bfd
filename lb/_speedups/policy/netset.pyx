from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.plan cimport NETSET_UNIX, net4_t, net6_t, netset_t, plan_array_fits, plan_t


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX


cdef extern from "<endian.h>" nogil:
    uint32_t be32toh(uint32_t x)
    uint64_t be64toh(uint64_t x)


cdef inline const net4_t *ranges4(const plan_t *p, const netset_t *s) noexcept nogil:
    return <const net4_t *> (<const char *> p + s.at)


cdef inline const net6_t *ranges6(const plan_t *p, const netset_t *s) noexcept nogil:
    return <const net6_t *> (<const char *> p + s.at + s.v4 * sizeof(net4_t))


# In both searches `low` ends as the number of ranges that begin at or before the address; only the last of them can hold it.

cdef bint has4(const net4_t *ranges, uint32_t n, uint32_t a) noexcept nogil:
    cdef uint32_t low = 0, half
    while n:
        half = n >> 1
        if ranges[low + half].first <= a:
            low += half + 1
            n -= half + 1
        else:
            n = half
    return low != 0 and a <= ranges[low - 1].last


cdef inline bint at_most(uint64_t a_high, uint64_t a_low, uint64_t b_high, uint64_t b_low) noexcept nogil:
    return a_high < b_high or (a_high == b_high and a_low <= b_low)


cdef bint has6(const net6_t *ranges, uint32_t n, uint64_t high, uint64_t low_word) noexcept nogil:
    cdef uint32_t low = 0, half
    while n:
        half = n >> 1
        if at_most(ranges[low + half].first_high, ranges[low + half].first_low, high, low_word):
            low += half + 1
            n -= half + 1
        else:
            n = half
    return low != 0 and at_most(high, low_word, ranges[low - 1].last_high, ranges[low - 1].last_low)


cdef bint netset_has(const plan_t *p, const netset_t *s, uint16_t family, const uint8_t *address) noexcept nogil:
    cdef uint32_t v4
    cdef uint64_t high, low
    if family == AF_INET:
        memcpy(&v4, address, 4)
        return has4(ranges4(p, s), s.v4, be32toh(v4))
    if family == AF_INET6:
        memcpy(&high, address, 8)
        memcpy(&low, address + 8, 8)
        high = be64toh(high)
        low = be64toh(low)
        if high == 0 and low >> 32 == 0xffff:
            return has4(ranges4(p, s), s.v4, <uint32_t> low)
        return has6(ranges6(p, s), s.v6, high, low)
    return family == AF_UNIX and (s.flags & NETSET_UNIX) != 0


cdef int netset_check(const plan_t *p, const netset_t *s) noexcept nogil:
    cdef const net4_t *v4
    cdef const net6_t *v6
    cdef uint32_t i
    if s.flags & ~<uint32_t> NETSET_UNIX:
        return -1
    if s.v4 == 0 and s.v6 == 0:
        return 0
    if (not plan_array_fits(p, s.at, s.v4, sizeof(net4_t))
            or not plan_array_fits(p, <uint64_t> s.at + <uint64_t> s.v4 * sizeof(net4_t), s.v6, sizeof(net6_t))):
        return -1
    v4 = ranges4(p, s)
    for i in range(s.v4):
        if v4[i].first > v4[i].last or (i != 0 and v4[i].first <= v4[i - 1].last):
            return -1
    v6 = ranges6(p, s)
    for i in range(s.v6):
        if not at_most(v6[i].first_high, v6[i].first_low, v6[i].last_high, v6[i].last_low):
            return -1
        if i != 0 and at_most(v6[i].first_high, v6[i].first_low, v6[i - 1].last_high, v6[i - 1].last_low):
            return -1
    return 0
