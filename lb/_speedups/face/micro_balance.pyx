"""The door for bench/micro: picks with their ends, repeated in compiled code. Also in the release build, which is timed."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lb._speedups.base.mapping cimport counters_t, mapping_counters
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.balance cimport balance_entries, balance_leave, balance_pick, balance_t
from lb._speedups.policy.hash cimport hash_avalanche, hash_bytes


def churn(Mapping mapping, uint64_t at, uint32_t slot, uint64_t n, uint32_t held):
    cdef balance_t *b = <balance_t *> (<char *> mapping.m + at)
    cdef counters_t *rows = mapping_counters(mapping.m, slot, 0)
    cdef uint32_t *members = <uint32_t *> calloc(held, sizeof(uint32_t))
    cdef uint32_t *indexes = <uint32_t *> calloc(65536, sizeof(uint32_t))
    cdef uint64_t i
    cdef uint32_t oid
    if members == NULL or indexes == NULL:
        free(members)
        free(indexes)
        raise MemoryError
    for i in range(b.size):
        indexes[balance_entries(b)[i].oid] = <uint32_t> i + 1
    with nogil:
        for i in range(n):
            if members[i % held] != 0:
                balance_leave(b, members[i % held] - 1, rows)
            oid = balance_pick(b, 0, True, hash_avalanche(<uint32_t> i), rows)
            members[i % held] = indexes[oid]
        for i in range(held):
            if members[i] != 0:
                balance_leave(b, members[i] - 1, rows)
    free(members)
    free(indexes)


def hash_many(uint32_t function, bytes key, uint64_t n):
    cdef const char *p = key
    cdef size_t size = len(key)
    cdef uint32_t sum = 0
    cdef uint64_t _
    with nogil:
        for _ in range(n):
            sum += hash_bytes(function, p, size)
    return sum
