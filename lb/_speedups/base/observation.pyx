from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.base.mapping cimport (
    MAPPING_OBJECTS, MAPPING_SUSPECTS_AT, mapping_alarm, mapping_object, mapping_t, object_t,
)

cdef extern from "lb.h" nogil:
    uint32_t lb_load_relaxed_u32(const uint32_t *p)
    void lb_store_relaxed_u32(uint32_t *p, uint32_t value)
    uint32_t lb_fetch_add_u32(uint32_t *p, uint32_t n)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)
    uint64_t lb_fetch_or_u64(uint64_t *p, uint64_t bits)
    uint64_t lb_fetch_and_u64(uint64_t *p, uint64_t bits)


cdef inline uint64_t *words(mapping_t *m) noexcept nogil:
    return <uint64_t *> (<char *> m + MAPPING_SUSPECTS_AT)


cdef void observation_bad(mapping_t *m, uint32_t oid) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    cdef uint32_t limit = lb_load_relaxed_u32(&o.failure_limit)
    cdef uint64_t bit = <uint64_t> 1 << (oid % 64)
    if limit == 0 or (lb_fetch_add_u32(&o.failures, 1) + 1) % limit != 0:
        return
    lb_fetch_or_u64(words(m) + oid // 64, bit)
    # Also where the bit was set already: whoever set it may have died before its alarm.
    mapping_alarm(m)


cdef void observation_limit(mapping_t *m, uint32_t oid, uint32_t limit) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    lb_store_relaxed_u32(&o.failure_limit, limit)
    lb_store_relaxed_u32(&o.failures, 0)


cdef uint32_t observation_take(mapping_t *m, uint32_t *oids, uint32_t max) noexcept nogil:
    cdef uint64_t *word
    cdef uint64_t bit
    cdef uint32_t i, j, found = 0
    for i in range(MAPPING_OBJECTS // 64):
        word = words(m) + i
        if lb_load_relaxed_u64(word) == 0:
            continue
        for j in range(64):
            bit = <uint64_t> 1 << j
            if lb_load_relaxed_u64(word) & bit == 0:
                continue
            if found == max:
                return found
            lb_fetch_and_u64(word, ~bit)
            oids[found] = 64 * i + j
            found += 1
    return found
