from lb._speedups.base.mapping cimport mapping_allocate


cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition)
    void lb_store_u32(uint32_t *p, uint32_t value)
    void lb_store_u64(uint64_t *p, uint64_t value)


cdef int ledger_make(mapping_t *m, uint32_t slot) noexcept nogil:
    cdef uint64_t *at = (<uint64_t *> (<char *> m + LEDGERS_AT)) + slot
    cdef uint64_t made
    LB_ASSERT(slot <= MAPPING_WORKERS)
    if at[0] != 0:
        return 0
    made = mapping_allocate(m, sizeof(ledger_t) + (LEDGER_PLACES - 1) * sizeof(held_t))
    if made == 0:
        return -1
    lb_store_u64(at, made)
    return 0


cdef uint32_t ledger_take(ledger_t *l) noexcept nogil:
    cdef uint32_t place = l.free
    if place != 0:
        l.free = l.held[place - 1].next
    elif l.used < LEDGER_PLACES:
        place = l.used + 1
        # Before the place is written: who adds up the ledgers must not stop short of it.
        lb_store_u32(&l.used, place)
    else:
        return 0
    l.count += 1
    return place


cdef void ledger_give(ledger_t *l, uint32_t place) noexcept nogil:
    LB_ASSERT(1 <= place <= l.used and l.held[place - 1].object == 0)
    l.held[place - 1].next = l.free
    l.free = place
    l.count -= 1


cdef void ledger_clear(ledger_t *l) noexcept nogil:
    l.free = 0
    l.count = 0
    lb_store_u32(&l.used, 0)
