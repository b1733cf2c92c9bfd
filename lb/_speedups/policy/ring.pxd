# The ring of consistent hashing: every member has 16 points for each unit of its weight on a circle of 2^32 places, and
# a key belongs to the nearest point (to the one before it when both are as near), as in HAProxy (lb_chash.c).
#
# A ring is an array of uint64_t in order: place << 32 | index of the member. When a member leaves, its points go and
# all others stay, so only its keys move.
#
# Where the points are: by `identities` (of names: a member that leaves does not move the others, wherever it
# stood), or, with NULL, by position: full_hash((position + 1) * 4096 + n), which is HAProxy's ring for servers without
# `id`.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    RING_SCALE = 16              # points for a unit of weight

# Fill points[sum of weights * RING_SCALE] (weight 0 = takes no part) and return their number.
cdef uint64_t ring_fill(
    uint64_t *points, const uint32_t *weights, const uint64_t *identities, uint32_t n
) noexcept nogil

# Index of the nearest point of `length` > 0 points.
cdef inline uint32_t ring_find(const uint64_t *points, uint32_t length, uint32_t hash) noexcept nogil:
    cdef uint64_t key = <uint64_t> hash << 32
    cdef const uint64_t *base = points
    cdef uint32_t n = length, half, at, prev
    while n > 1:                              # without a branch: where it goes cannot be foretold
        half = n // 2
        base += half * <uint32_t> (base[half - 1] < key)
        n -= half
    at = <uint32_t> (base - points)
    at += base[0] < key
    if at == length:
        at = 0
    prev = at - 1 if at > 0 else length - 1
    if <uint32_t> (hash - <uint32_t> (points[prev] >> 32)) <= <uint32_t> (<uint32_t> (points[at] >> 32) - hash):
        return prev
    return at
