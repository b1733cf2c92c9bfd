from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp

from lb._speedups.policy.fields cimport bytes_t, cookie_last, field_at
from lb._speedups.policy.hash cimport HASH_XXH3, hash_avalanche, hash_bytes
from lb._speedups.policy.plan cimport (
    KEY_AVALANCHE, KEY_COOKIE, KEY_DOMAIN_ONLY, KEY_FIELD, KEY_LAST_FIELD, KEY_PATH_ONLY, KEY_SOURCE, KEY_URI,
    KEY_WHOLE, plan_text,
)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6


# ---- fields ----


# Of www.example.com only example: from the last dot back to the one before it.
cdef void keep_domain(bytes_t *b) noexcept nogil:
    cdef size_t end = b.n, start
    while end > 0 and b.p[end - 1] != c'.':
        end -= 1
    if end == 0:
        return                                # no dot: all of it
    start = end - 1
    while start > 0 and b.p[start - 1] != c'.':
        start -= 1
    b.p += start
    b.n = end - 1 - start


# ---- the target ----


# depth: up to the slash behind so many segments; len: at most so many bytes.
cdef void find_uri(const plan_key_t *wanted, const message_t *m, bytes_t *out) noexcept nogil:
    cdef uint32_t slashes = 0
    cdef size_t i = 0
    if wanted.flags & KEY_PATH_ONLY:
        # The path and, where there is one, the query behind it.
        out.p = m.block + m.path.at
        out.n = m.target.at + m.target.len - m.path.at if m.path.len else 0
    else:
        out.p = m.block + m.target.at
        out.n = m.target.len
    if wanted.len and out.n > wanted.len:
        out.n = wanted.len
    while i < out.n:
        if out.p[i] == c'/':
            slashes += 1
            if wanted.depth and slashes == <uint32_t> wanted.depth + 1:
                break
        elif out.p[i] == c'?' and not wanted.flags & KEY_WHOLE:
            break
        i += 1
    out.n = i


cdef bint find_param(const message_t *m, const char *name, size_t n, bytes_t *out) noexcept nogil:
    cdef const char *p = m.block + m.query.at
    cdef size_t left = m.query.len
    cdef const char *end
    while left > n:
        end = <const char *> memchr(p, c'&', left)
        if p[n] == c'=' and memcmp(p, name, n) == 0:
            out.p = p + n + 1
            out.n = (<size_t> (end - p) if end != NULL else left) - n - 1
            return True
        if end == NULL:
            break
        left -= <size_t> (end + 1 - p)
        p = end + 1
    return False


# ---- the address ----


# HAProxy takes the words of an address as they are, whatever the function: a network's neighbours spread over the slots.
cdef bint hash_address(uint32_t function, uint16_t family, const uint8_t *address, uint32_t *hash) noexcept nogil:
    cdef uint32_t n = 4 if family == AF_INET else 16 if family == AF_INET6 else 0
    cdef uint32_t i
    if n == 0:
        return False
    if function == HASH_XXH3:
        hash[0] = hash_bytes(function, <const char *> address, n)
        return True
    hash[0] = 0
    for i in range(0, n, 4):
        hash[0] ^= (<uint32_t> address[i] << 24 | <uint32_t> address[i + 1] << 16 | <uint32_t> address[i + 2] << 8
                    | address[i + 3])
    return True


cdef bint hashkey_find(
    const plan_t *p, const plan_key_t *wanted, const message_t *m, uint16_t family, const uint8_t *address,
    uint32_t *hash
) noexcept nogil:
    cdef const char *name = plan_text(p, wanted.name)
    cdef size_t n = wanted.name.len
    cdef bytes_t key
    cdef bint found
    if wanted.source == KEY_SOURCE:
        if not hash_address(wanted.hash, family, address, hash):
            return False
    else:
        if m == NULL:
            return False
        if wanted.source == KEY_URI:
            find_uri(wanted, m, &key)
            found = True
        elif wanted.source == KEY_FIELD:
            found = field_at(m, name, n, False, 1, &key) and key.n > 0
            if found and wanted.flags & KEY_DOMAIN_ONLY:
                keep_domain(&key)
        elif wanted.source == KEY_LAST_FIELD:
            found = field_at(m, name, n, False, -1, &key)
        elif wanted.source == KEY_COOKIE:
            found = cookie_last(m, False, name, n, &key)
        else:
            found = find_param(m, name, n, &key)
        if not found:
            return False
        hash[0] = hash_bytes(wanted.hash, key.p, key.n)
    if wanted.flags & KEY_AVALANCHE:
        hash[0] = hash_avalanche(hash[0])
    return True


cdef bint hashkey_cookie(
    const message_t *m, const char *name, size_t n, const char **value, size_t *len
) noexcept nogil:
    cdef bytes_t out
    if not cookie_last(m, False, name, n, &out):
        return False
    value[0] = out.p
    len[0] = out.n
    return True
