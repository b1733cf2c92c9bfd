from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from lb._speedups.base.siphash cimport siphash13


cdef uint64_t keyed_hash(const keyed_t *t, const uint64_t *key) noexcept nogil:
    return siphash13(t.secret, key, KEYED_WORDS, <uint64_t> (8 * KEYED_WORDS) << 56)


cdef int keyed_init(keyed_t *t, uint64_t secret0, uint64_t secret1) noexcept nogil:
    memset(t, 0, sizeof(keyed_t))
    t.buckets = <keyed_node_t **> calloc(KEYED_FIRST, sizeof(keyed_node_t *))
    if t.buckets == NULL:
        return -1
    t.capacity = t.level = t.used = KEYED_FIRST
    t.secret[0] = secret0
    t.secret[1] = secret1
    return 0


cdef void keyed_free(keyed_t *t) noexcept nogil:
    free(t.buckets)
    memset(t, 0, sizeof(keyed_t))


# Buckets below `used - level` have been split in this round.
cdef inline keyed_node_t **bucket(const keyed_t *t, uint64_t hash) noexcept nogil:
    cdef uint64_t i = hash & (2 * t.level - 1)
    return t.buckets + (i if i < t.used else i - t.level)


cdef keyed_node_t *keyed_find(const keyed_t *t, const uint64_t *key, uint64_t hash) noexcept nogil:
    cdef keyed_node_t *n = bucket(t, hash)[0]
    cdef int i
    while n != NULL:
        if n.hash == hash:
            for i in range(KEYED_WORDS):
                if n.key[i] != key[i]:
                    break
            else:
                return n
        n = n.next
    return NULL


# Open one more bucket and split the chain whose nodes may belong there.
cdef void grow(keyed_t *t) noexcept nogil:
    cdef keyed_node_t **more
    cdef keyed_node_t *n
    cdef keyed_node_t *following
    cdef keyed_node_t **into
    cdef uint64_t source = t.used - t.level
    if t.used == t.capacity:
        more = <keyed_node_t **> realloc(t.buckets, 2 * t.capacity * sizeof(keyed_node_t *))
        if more == NULL:
            return
        t.buckets = more
        t.capacity *= 2
    n = t.buckets[source]
    t.buckets[source] = NULL
    t.buckets[t.used] = NULL
    t.used += 1
    while n != NULL:
        following = n.next
        into = bucket(t, n.hash)
        n.next = into[0]
        into[0] = n
        n = following
    if t.used == 2 * t.level:
        t.level = t.used


cdef void keyed_add(keyed_t *t, keyed_node_t *n) noexcept nogil:
    cdef keyed_node_t **into
    if t.count >= t.used:
        grow(t)
    into = bucket(t, n.hash)
    n.next = into[0]
    into[0] = n
    t.count += 1


cdef void keyed_remove(keyed_t *t, keyed_node_t *n) noexcept nogil:
    cdef keyed_node_t **at = bucket(t, n.hash)
    while at[0] != n:
        at = &at[0].next
    at[0] = n.next
    n.next = NULL
    t.count -= 1
