# Keyed table: nodes by a key that strangers choose, under a secret hash; and lists of nodes by age.
#
# Keys are KEYED_WORDS words (the caller pads with zeros). Whoever chooses the keys, as clients choose their ports, must not
# be able to choose the chain they land in: the hash is SipHash-1-3 under a key of 128 random bits per table.
#
# Growth. The buckets are a linear hash: when nodes outnumber them, one more bucket is opened and one chain is split. So
# no insertion ever moves more than a chain, and lookups stay O(1). It does not shrink; keyed_free gives all back.
#
# Age. A node also stands in one keyed_age_t, oldest first, for as long as its owner wants, in a table or not: this is how
# the least recently used one is found when there is no room for another.
#
# Nodes are intrusive and the owner's memory. Owner: one worker. Compared with a slow oracle in tests/unit/base.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    KEYED_WORDS = 6
    KEYED_FIRST = 64             # buckets of an empty table, a power of two

ctypedef struct keyed_node_t:
    keyed_node_t *next           # its chain
    keyed_node_t *older          # its age list
    keyed_node_t *newer
    void *owner                  # whose node it is
    uint64_t hash
    uint64_t key[KEYED_WORDS]

ctypedef struct keyed_age_t:
    keyed_node_t *oldest
    keyed_node_t *newest
    uint64_t count

ctypedef struct keyed_t:
    keyed_node_t **buckets       # chains
    uint64_t capacity            # of the memory: a power of two
    uint64_t level               # buckets of the last full round, a power of two
    uint64_t used                # buckets open: level <= used < 2 * level
    uint64_t count               # nodes
    uint64_t secret[2]

# 0, or -1 without memory.
cdef int keyed_init(keyed_t *t, uint64_t secret0, uint64_t secret1) noexcept nogil

# The nodes are the owner's to end.
cdef void keyed_free(keyed_t *t) noexcept nogil

cdef uint64_t keyed_hash(const keyed_t *t, const uint64_t *key) noexcept nogil

# NULL = not there.
cdef keyed_node_t *keyed_find(const keyed_t *t, const uint64_t *key, uint64_t hash) noexcept nogil

# n.key and n.hash are set, and the key is not there. Never fails: without memory chains grow longer instead.
cdef void keyed_add(keyed_t *t, keyed_node_t *n) noexcept nogil

# It is there.
cdef void keyed_remove(keyed_t *t, keyed_node_t *n) noexcept nogil

cdef inline void keyed_age_add(keyed_age_t *a, keyed_node_t *n) noexcept nogil:
    n.newer = NULL
    n.older = a.newest
    if a.newest != NULL:
        a.newest.newer = n
    else:
        a.oldest = n
    a.newest = n
    a.count += 1

cdef inline void keyed_age_remove(keyed_age_t *a, keyed_node_t *n) noexcept nogil:
    if n.older != NULL:
        n.older.newer = n.newer
    else:
        a.oldest = n.newer
    if n.newer != NULL:
        n.newer.older = n.older
    else:
        a.newest = n.older
    a.count -= 1

# It was used: the youngest now.
cdef inline void keyed_age_touch(keyed_age_t *a, keyed_node_t *n) noexcept nogil:
    if a.newest != n:
        keyed_age_remove(a, n)
        keyed_age_add(a, n)
