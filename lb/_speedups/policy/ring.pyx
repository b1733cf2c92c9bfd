from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport qsort

from lb._speedups.policy.hash cimport hash_avalanche, hash_mix


cdef enum:
    POSITIONS = 4096             # HAProxy's SRV_EWGHT_RANGE: points a server can have


cdef int order(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t *> a)[0]
    cdef uint64_t y = (<const uint64_t *> b)[0]
    return (x > y) - (x < y)


cdef uint64_t ring_fill(
    uint64_t *points, const uint32_t *weights, const uint64_t *identities, uint32_t n
) noexcept nogil:
    cdef uint64_t length = 0
    cdef uint32_t i, k, place
    for i in range(n):
        for k in range(weights[i] * RING_SCALE):
            if identities == NULL:
                place = hash_avalanche((i + 1) * POSITIONS + k)
            else:
                place = <uint32_t> hash_mix(identities[i] + k)
            # Of two points on one place the earlier member's comes first.
            points[length] = <uint64_t> place << 32 | i
            length += 1
    qsort(points, length, sizeof(uint64_t), order)
    return length
