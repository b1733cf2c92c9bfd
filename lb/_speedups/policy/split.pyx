from libc.string cimport memcpy

from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.hashkey cimport hashkey_cookie, hashkey_find
from lb._speedups.policy.plan cimport KEY_NONE, plan_share, plan_share_t, plan_text


cdef extern from "<math.h>" nogil:
    double log(double)


cdef int digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


# Just as it was written: whatever else a client sends is no point.
cdef bint read_point(const char *p, size_t n, uint64_t *point) noexcept nogil:
    cdef uint64_t made = 0
    cdef size_t i
    cdef int value
    if n != SPLIT_COOKIE_LEN:
        return False
    for i in range(n):
        value = digit(p[i])
        if value < 0:
            return False
        made = made << 4 | <uint64_t> value
    point[0] = made
    return True


cdef int split_point(
    const plan_t *p, const plan_split_t *split, const message_t *m, uint16_t family, const uint8_t *address,
    uint64_t drawn, uint64_t *point
) noexcept nogil:
    cdef const char *value
    cdef size_t n
    cdef uint32_t hash
    point[0] = drawn
    if split.key.source != KEY_NONE:
        if not hashkey_find(p, &split.key, m, family, address, &hash):
            return SPLIT_DRAWN
        point[0] = hash
        return SPLIT_KEY
    if split.cookie.len and m != NULL:
        if hashkey_cookie(m, plan_text(p, split.cookie), split.cookie.len, &value, &n) and read_point(value, n, point):
            return SPLIT_KNOWN
        return SPLIT_NEW
    return SPLIT_DRAWN


cdef uint32_t split_backend(const plan_t *p, const plan_split_t *split, uint64_t point) noexcept nogil:
    cdef const plan_share_t *share = plan_share(p, split.shares_at)
    cdef uint32_t best = share.backend
    cdef double least = -1
    cdef double score
    cdef uint32_t i
    for i in range(split.shares):
        share = plan_share(p, split.shares_at + i)
        if share.weight == 0:
            continue
        # 53 bits and a half: never 0, never 1.
        score = -log((<double> (hash_mix(point ^ share.identity) >> 11) + 0.5) * (1.0 / 9007199254740992.0)) / share.weight
        if least < 0 or score < least:
            least = score
            best = share.backend
    return best


cdef size_t split_cookie(
    const plan_t *p, const plan_split_t *split, uint64_t point, char *out, size_t cap
) noexcept nogil:
    cdef const char *digits = b"0123456789abcdef"
    cdef size_t n = split.cookie.len
    cdef int i
    if n + 1 + SPLIT_COOKIE_LEN + split.attributes.len > cap:
        return 0
    memcpy(out, plan_text(p, split.cookie), n)
    out[n] = c'='
    n += 1
    for i in range(SPLIT_COOKIE_LEN):
        out[n] = digits[(point >> (60 - 4 * i)) & 15]
        n += 1
    memcpy(out + n, plan_text(p, split.attributes), split.attributes.len)
    return n + split.attributes.len
