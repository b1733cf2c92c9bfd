"""The door through which unit tests reach the keyed table. Not in the release build."""

from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

from lb._speedups.base.keyed cimport (
    KEYED_WORDS, keyed_add, keyed_age_add, keyed_age_remove, keyed_age_t, keyed_age_touch, keyed_find, keyed_free, keyed_hash,
    keyed_init, keyed_node_t, keyed_remove, keyed_t,
)


cdef class Keyed:
    cdef keyed_t table
    cdef keyed_age_t ages

    def __cinit__(self, uint64_t secret0, uint64_t secret1):
        if keyed_init(&self.table, secret0, secret1) != 0:
            raise MemoryError

    def __dealloc__(self):
        cdef keyed_node_t *n = self.ages.oldest
        cdef keyed_node_t *following
        while n is not NULL:
            following = n.newer
            free(n)
            n = following
        keyed_free(&self.table)

    cdef uint64_t load(self, key, uint64_t *words) except? 0:
        for i in range(KEYED_WORDS):
            words[i] = key[i]
        return keyed_hash(&self.table, words)

    def hash(self, key):
        cdef uint64_t words[KEYED_WORDS]
        return self.load(key, words)

    def find(self, key):
        cdef uint64_t words[KEYED_WORDS]
        cdef uint64_t hash = self.load(key, words)
        return <uintptr_t> keyed_find(&self.table, words, hash)

    def add(self, key):
        cdef keyed_node_t *n = <keyed_node_t *> calloc(1, sizeof(keyed_node_t))
        if n is NULL:
            raise MemoryError
        n.hash = self.load(key, n.key)
        keyed_add(&self.table, n)
        keyed_age_add(&self.ages, n)
        return <uintptr_t> n

    def touch(self, uintptr_t node):
        keyed_age_touch(&self.ages, <keyed_node_t *> node)

    def remove(self, uintptr_t node):
        cdef keyed_node_t *n = <keyed_node_t *> node
        keyed_remove(&self.table, n)
        keyed_age_remove(&self.ages, n)
        free(n)

    def ages_in_order(self):
        cdef keyed_node_t *n = self.ages.oldest
        found = []
        while n is not NULL:
            found.append(<uintptr_t> n)
            n = n.newer
        return found

    def counts(self):
        return {
            "count": self.table.count, "aged": self.ages.count, "buckets": self.table.used, "capacity": self.table.capacity,
        }

    def longest(self):
        cdef keyed_node_t *n
        cdef uint64_t i
        longest = 0
        for i in range(self.table.used):
            n = self.table.buckets[i]
            length = 0
            while n is not NULL:
                length += 1
                n = n.next
            longest = max(longest, length)
        return longest
