from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lb._speedups.policy.convert cimport (
    CONVERT_CRC32, CONVERT_CRC32C, CONVERT_DJB2, CONVERT_SDBM, CONVERT_WT6, CONVERT_XXH3,
    CONVERT_XXH32, CONVERT_XXH64,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.hash cimport (
    hash_avalanche, hash_crc32, hash_djb2, hash_sdbm, hash_wt6, hash_xxh3_seeded, hash_xxh32, hash_xxh64,
)
from lb._speedups.policy.program cimport ARG_INT, arg_t
from lb._speedups.policy.sample cimport SAMPLE_NONE, sample_int


# Castagnoli's polynomial (RFC 3720, appendix B.4), bit by bit: rules hash short values.
cdef uint32_t crc32c(const char *p, size_t n) noexcept nogil:
    cdef uint32_t crc = 0xffffffff
    cdef size_t i
    cdef int _bit
    for i in range(n):
        crc ^= <uint8_t> p[i]
        for _bit in range(8):
            crc = crc >> 1 ^ (<uint32_t> 0x82f63b78 if crc & 1 else 0)
    return ~crc


# With an argument that is not 0 the hash is mixed once more: what HAProxy's hash-type calls avalanche. That of the xxh functions
# is their seed.
cdef int convert_hash(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_INT)
    cdef int64_t given = arg.i if arg != NULL else 0
    cdef uint32_t h
    if code == CONVERT_XXH3:
        return sample_int(s, <int64_t> hash_xxh3_seeded(s.p, s.len, <uint64_t> given))
    if code == CONVERT_XXH64:
        return sample_int(s, <int64_t> hash_xxh64(s.p, s.len, <uint64_t> given))
    if code == CONVERT_XXH32:
        return sample_int(s, hash_xxh32(s.p, s.len, <uint32_t> given))
    if code == CONVERT_DJB2:
        h = hash_djb2(s.p, s.len)
    elif code == CONVERT_SDBM:
        h = hash_sdbm(s.p, s.len)
    elif code == CONVERT_WT6:
        h = hash_wt6(s.p, s.len)
    elif code == CONVERT_CRC32:
        h = hash_crc32(s.p, s.len)
    elif code == CONVERT_CRC32C:
        h = crc32c(s.p, s.len)
    else:
        return SAMPLE_NONE
    return sample_int(s, hash_avalanche(h) if given != 0 else h)
