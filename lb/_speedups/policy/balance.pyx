from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.base.lock cimport (
    LOCK_LOST, LOCK_OK, lock_give, lock_init, lock_repaired, lock_take,
)


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)


cdef enum:
    ROUNDROBIN = 1
    LINE = 64


cdef uint64_t head_bytes() noexcept nogil:
    return (sizeof(balance_t) + LINE - 1) & ~<uint64_t> (LINE - 1)


cdef uint64_t balance_bytes(uint32_t size) noexcept nogil:
    return head_bytes() + size * (sizeof(balance_entry_t) + sizeof(uint32_t))


# Whether entry i comes before entry j: deadline (2k + 1) / w, then position.
cdef inline bint is_before(const balance_entry_t *entries, uint32_t i, uint32_t j) noexcept nogil:
    cdef uint64_t a = (2 * entries[i].chosen + 1) * entries[j].weight
    cdef uint64_t b = (2 * entries[j].chosen + 1) * entries[i].weight
    return (a < b) | ((a == b) & (i < j))


# The entry at place `at` may be later than its children: bring it down. The hole goes down to a leaf first,
# along the earlier children, and the entry then up: one that was just chosen nearly always belongs at the
# bottom, and this way costs one comparison a level, not two.
cdef void sift(balance_entry_t *entries, uint32_t *heap, uint32_t size, uint32_t at) noexcept nogil:
    cdef uint32_t entry = heap[at]
    cdef uint32_t top = at
    cdef uint32_t child = 2 * at + 1
    cdef uint32_t parent
    while child + 1 < size:
        child += is_before(entries, heap[child + 1], heap[child])
        heap[at] = heap[child]
        entries[heap[at]].place = at + 1
        at = child
        child = 2 * at + 1
    if child < size:
        heap[at] = heap[child]
        entries[heap[at]].place = at + 1
        at = child
    while at > top:
        parent = (at - 1) // 2
        if not is_before(entries, entry, heap[parent]):
            break
        heap[at] = heap[parent]
        entries[heap[at]].place = at + 1
        at = parent
    heap[at] = entry
    entries[entry].place = at + 1


cdef void balance_rebuild_locked(balance_t *b) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t *heap = balance_heap(b)
    cdef uint32_t i, heaped = 0
    for i in range(b.size):
        entries[i].place = 0
        if entries[i].weight != 0:
            heap[heaped] = i
            heaped += 1
            entries[i].place = heaped
    b.heaped = heaped
    i = heaped // 2
    while i > 0:
        i -= 1
        sift(entries, heap, heaped, i)


# 0, or -1 when the lock is lost.
cdef inline int balance_take(balance_t *b) noexcept nogil:
    cdef int got = lock_take(&b.lock)
    if UNLIKELY(got != LOCK_OK):
        if got == LOCK_LOST:
            return -1
        balance_rebuild_locked(b)
        lock_repaired(&b.lock)
    return 0


cdef uint32_t balance_pick(balance_t *b, uint32_t avoid) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t *heap = balance_heap(b)
    cdef uint32_t at = 0, oid = 0
    if balance_take(b) != 0:
        return 0
    LB_KILL_POINT("balance.locked")
    if b.heaped > 0:
        if avoid != 0 and b.heaped > 1 and entries[heap[0]].oid == avoid:
            # The second of all is one of the first one's children.
            at = 1
            if b.heaped > 2 and is_before(entries, heap[2], heap[1]):
                at = 2
        oid = entries[heap[at]].oid
        entries[heap[at]].chosen += 1
        LB_KILL_POINT("balance.chosen")
        sift(entries, heap, b.heaped, at)
        LB_KILL_POINT("balance.sifted")
    lock_give(&b.lock)
    return oid


# Smallest k with (2k + 1) / weight >= (2 * chosen + 1) / of_weight.
cdef inline uint64_t first_turn(uint32_t weight, uint64_t chosen, uint32_t of_weight) noexcept nogil:
    cdef uint64_t product = (2 * chosen + 1) * weight
    if product <= of_weight:
        return 0
    return (product - of_weight + 2 * <uint64_t> of_weight - 1) // (2 * <uint64_t> of_weight)


# Take over the rotation of `old`, which workers may be using. Its lock is held only to find the present
# virtual time; the members are read after that, and one that is chosen meanwhile is a turn further. All
# deadlines move back by the same whole number of rounds, so that numbers stay small however often this is
# done.
cdef void adopt(balance_t *b, balance_t *old) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef balance_entry_t *others = balance_entries(old)
    cdef balance_entry_t *entry
    cdef uint64_t rounds, chosen, first_chosen
    cdef uint32_t first_weight, i, first, j = 0, _
    cdef int64_t moved
    if balance_take(old) != 0:
        return
    first = balance_heap(old)[0]
    first_weight = others[first].weight if old.heaped > 0 else 0
    first_chosen = others[first].chosen if old.heaped > 0 else 0
    lock_give(&old.lock)
    if first_weight == 0:
        return
    # A round is two units of deadline: each member has its weight of turns in it.
    rounds = (2 * first_chosen + 1) // (2 * <uint64_t> first_weight)
    first_chosen -= rounds * first_weight
    for i in range(b.size):
        entry = &entries[i]
        if entry.weight == 0:
            continue
        # Members mostly keep their order: look on from where the last one was found.
        for _ in range(old.size):
            if others[j].oid == entry.oid:
                break
            j = j + 1 if j + 1 < old.size else 0
        entry.chosen = first_turn(entry.weight, first_chosen, first_weight)
        if others[j].oid != entry.oid or others[j].weight == 0:
            continue
        # (d - V) * w stays: what is left of its own interval, whose length changes with the weight. But never before
        # the present, or virtual time would go back for all the others.
        chosen = lb_load_relaxed_u64(&others[j].chosen) - rounds * others[j].weight
        moved = (<int64_t> (2 * first_chosen + 1)) * (<int64_t> entry.weight - <int64_t> others[j].weight)
        moved = (moved + <int64_t> chosen * 2 * first_weight + first_weight) // (2 * <int64_t> first_weight)
        if moved > <int64_t> entry.chosen:
            entry.chosen = <uint64_t> moved


cdef int balance_init(
    balance_t *b, uint32_t size, const uint32_t *oids, const uint32_t *weights, balance_t *old
) noexcept nogil:
    cdef balance_entry_t *entries
    cdef uint32_t i
    if lock_init(&b.lock) != 0:
        return -1
    b.size = size
    b.algorithm = ROUNDROBIN
    b.entries_at = head_bytes()
    b.heap_at = b.entries_at + size * sizeof(balance_entry_t)
    entries = balance_entries(b)
    for i in range(size):
        entries[i].oid = oids[i]
        entries[i].weight = weights[i]
    if old != NULL:
        adopt(b, old)
    balance_rebuild_locked(b)
    return 0
