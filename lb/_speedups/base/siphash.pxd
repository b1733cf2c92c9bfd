# SipHash-1-3 of whole words: a hash that nobody can steer who does not know the secret of 128 bits.
from libc.stdint cimport uint32_t, uint64_t


cdef inline uint64_t siphash_rotate(uint64_t x, int by) noexcept nogil:
    return (x << by) | (x >> (64 - by))


cdef inline void siphash_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[1] = siphash_rotate(v[1], 13) ^ v[0]
    v[0] = siphash_rotate(v[0], 32)
    v[2] += v[3]
    v[3] = siphash_rotate(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = siphash_rotate(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = siphash_rotate(v[1], 17) ^ v[2]
    v[2] = siphash_rotate(v[2], 32)


# `last` is the closing word: the length in its top byte, as SipHash has it, and whatever else must tell keys apart.
cdef inline uint64_t siphash13(const uint64_t *secret, const uint64_t *words, uint32_t n, uint64_t last) noexcept nogil:
    cdef uint64_t v[4]
    cdef uint32_t i, _i
    v[0] = secret[0] ^ <uint64_t> 0x736f6d6570736575ULL
    v[1] = secret[1] ^ <uint64_t> 0x646f72616e646f6dULL
    v[2] = secret[0] ^ <uint64_t> 0x6c7967656e657261ULL
    v[3] = secret[1] ^ <uint64_t> 0x7465646279746573ULL
    for i in range(n):
        v[3] ^= words[i]
        siphash_round(v)
        v[0] ^= words[i]
    v[3] ^= last
    siphash_round(v)
    v[0] ^= last
    v[2] ^= 0xff
    for _i in range(3):
        siphash_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
