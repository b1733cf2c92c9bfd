# Hash functions for balancing: from a key's bytes to 32 bits.
#
# sdbm, djb2, wt6 and crc32 and the avalanche are HAProxy's, bit for bit, so that a key finds the server it found there.
# None of these four resists a client who looks for collisions; XXH3 neither, but it spreads what is not chosen to collide
# evenly and costs a few ns whatever the length. Of its 64 bits the lower 32 are used.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:                       # functions
    HASH_SDBM = 1
    HASH_DJB2
    HASH_WT6
    HASH_CRC32
    HASH_XXH3

cdef uint32_t hash_sdbm(const char *p, size_t n) noexcept nogil
cdef uint32_t hash_djb2(const char *p, size_t n) noexcept nogil
cdef uint32_t hash_wt6(const char *p, size_t n) noexcept nogil
cdef uint32_t hash_crc32(const char *p, size_t n) noexcept nogil

# XXH3_64bits_withSeed.
cdef uint64_t hash_xxh3_seeded(const char *p, size_t n, uint64_t seed) noexcept nogil

cdef inline uint64_t hash_xxh3(const char *p, size_t n) noexcept nogil:
    return hash_xxh3_seeded(p, n, 0)

cdef uint32_t hash_xxh32(const char *p, size_t n, uint32_t seed) noexcept nogil
cdef uint64_t hash_xxh64(const char *p, size_t n, uint64_t seed) noexcept nogil

# By one of the above.
cdef uint32_t hash_bytes(uint32_t function, const char *p, size_t n) noexcept nogil

# HAProxy's full_hash: Bob Jenkins' 32-bit avalanche and a multiplication.
cdef inline uint32_t hash_avalanche(uint32_t a) noexcept nogil:
    a = (a + <uint32_t> 0x7ed55d16) + (a << 12)
    a = (a ^ <uint32_t> 0xc761c23c) ^ (a >> 19)
    a = (a + <uint32_t> 0x165667b1) + (a << 5)
    a = (a + <uint32_t> 0xd3a2646c) ^ (a << 9)
    a = (a + <uint32_t> 0xfd7046c5) + (a << 3)
    a = (a ^ <uint32_t> 0xb55a4f09) ^ (a >> 16)
    return a * <uint32_t> 3221225473U

# Neighbouring numbers to unrelated ones: splitmix64's finalizer.
cdef inline uint64_t hash_mix(uint64_t a) noexcept nogil:
    a += <uint64_t> 0x9e3779b97f4a7c15
    a = (a ^ (a >> 30)) * <uint64_t> 0xbf58476d1ce4e5b9
    a = (a ^ (a >> 27)) * <uint64_t> 0x94d049bb133111eb
    return a ^ (a >> 31)
