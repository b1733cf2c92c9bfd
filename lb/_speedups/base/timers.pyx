from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memset


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)
    int __builtin_ctzll(unsigned long long)


cdef enum:
    BITS0 = 8                    # log2 of TIMERS_SLOTS0
    BITS = 6                     # log2 of TIMERS_SLOTS
    TOP = BITS0 + (TIMERS_LEVELS - 2) * BITS    # shift of the highest level


# Bits of a tick below the slot number of this level.
cdef inline int shift_of(int level) noexcept nogil:
    return 0 if level == 0 else BITS0 + (level - 1) * BITS


cdef inline void ring_init(lb_timer_t *head) noexcept nogil:
    head.next = head
    head.prev = head


cdef inline void ring_append(lb_timer_t *head, lb_timer_t *n) noexcept nogil:
    n.next = head
    n.prev = head.prev
    head.prev.next = n
    head.prev = n


# Move all of ring `source` behind the last node of ring `head`.
cdef inline void ring_splice(lb_timer_t *head, lb_timer_t *source) noexcept nogil:
    if source.next == source:
        return
    source.next.prev = head.prev
    head.prev.next = source.next
    source.prev.next = head
    head.prev = source.prev
    ring_init(source)


# If `head` is a slot of the wheel, note that it is empty. It may also be a ring of due nodes.
cdef inline void mark_empty(timers_t *t, lb_timer_t *head) noexcept nogil:
    cdef uintptr_t slot = <uintptr_t> head - <uintptr_t> &t.slots0[0]
    if slot < sizeof(t.slots0):
        slot //= sizeof(lb_timer_t)
        t.bits0[slot >> 6] &= ~(<uint64_t> 1 << (slot & 63))
        return
    slot = <uintptr_t> head - <uintptr_t> &t.slots[0][0]
    if slot < sizeof(t.slots):
        slot //= sizeof(lb_timer_t)
        t.bits[slot >> BITS] &= ~(<uint64_t> 1 << (slot & (TIMERS_SLOTS - 1)))


cdef inline void ring_remove(timers_t *t, lb_timer_t *n) noexcept nogil:
    cdef lb_timer_t *next = n.next
    n.prev.next = next
    next.prev = n.prev
    if next.next == next:
        mark_empty(t, next)
    n.next = NULL
    n.prev = NULL


cdef void timers_init(timers_t *t, uint64_t now_ms) noexcept nogil:
    cdef int level, i
    memset(t, 0, sizeof(timers_t))
    t.now_ms = now_ms
    ring_init(&t.due)
    for i in range(TIMERS_SLOTS0):
        ring_init(&t.slots0[i])
    for level in range(TIMERS_LEVELS):
        for i in range(TIMERS_SLOTS):
            ring_init(&t.slots[level][i])


cdef void timer_init(
    lb_timer_t *n, void (*fire)(void *, lb_timer_t *) noexcept nogil, void *owner
) noexcept nogil:
    n.next = NULL
    n.prev = NULL
    n.expire_ms = TIMERS_NEVER
    n.queued_ms = 0
    n.fire = fire
    n.owner = owner


# Put an unqueued node where its deadline belongs. A node stands on the level of the highest slot number in
# which its tick differs from now: the present slot of a level is always empty, all occupied ones lie ahead of
# it (on the highest level, which is a circle, up to 63 slots), and the lowest level that has any holds the
# earliest.
cdef void place(timers_t *t, lb_timer_t *n) noexcept nogil:
    cdef uint64_t tick = n.expire_ms
    cdef uint64_t differs
    cdef int level, slot
    if tick <= t.now_ms:
        n.queued_ms = t.now_ms
        ring_append(&t.due, n)
        return
    if UNLIKELY((tick >> TOP) - (t.now_ms >> TOP) >= TIMERS_SLOTS):
        # Beyond the wheel's 8 years: looked at again as late as it can say.
        tick = ((t.now_ms >> TOP) + TIMERS_SLOTS - 1) << TOP
    differs = tick ^ t.now_ms
    n.queued_ms = tick
    if differs < TIMERS_SLOTS0:
        slot = tick & (TIMERS_SLOTS0 - 1)
        ring_append(&t.slots0[slot], n)
        t.bits0[slot >> 6] |= <uint64_t> 1 << (slot & 63)
        return
    level = (63 - __builtin_clzll(differs) - BITS0) // BITS + 1
    if UNLIKELY(level >= TIMERS_LEVELS):
        level = TIMERS_LEVELS - 1
    slot = (tick >> shift_of(level)) & (TIMERS_SLOTS - 1)
    ring_append(&t.slots[level][slot], n)
    t.bits[level] |= <uint64_t> 1 << slot


cdef void timer_link(timers_t *t, lb_timer_t *n) noexcept nogil:
    if UNLIKELY(n.expire_ms == TIMERS_NEVER):
        timer_unlink(t, n)
        return
    if n.next != NULL:
        ring_remove(t, n)
    else:
        t.count += 1
    place(t, n)


cdef void timer_unlink(timers_t *t, lb_timer_t *n) noexcept nogil:
    if n.next == NULL:
        return
    ring_remove(t, n)
    LB_ASSERT(t.count > 0)
    t.count -= 1


# The tick at which the earliest occupied slot begins and its ring, TIMERS_NEVER when the wheel is empty.
cdef uint64_t earliest(const timers_t *t, int *level_out, int *slot_out) noexcept nogil:
    cdef int level, i
    cdef uint64_t slot, bits
    for i in range(4):
        if t.bits0[i]:
            slot = i * 64 + __builtin_ctzll(t.bits0[i])
            level_out[0] = 0
            slot_out[0] = <int> slot
            return (t.now_ms & ~<uint64_t> (TIMERS_SLOTS0 - 1)) | slot
    for level in range(1, TIMERS_LEVELS - 1):
        if t.bits[level]:
            slot = __builtin_ctzll(t.bits[level])
            level_out[0] = level
            slot_out[0] = <int> slot
            return ((t.now_ms >> shift_of(level + 1)) << shift_of(level + 1)) | (slot << shift_of(level))
    bits = t.bits[TIMERS_LEVELS - 1]
    if bits == 0:
        return TIMERS_NEVER
    slot = t.now_ms >> TOP
    # Turned so that bit 0 is the present slot.
    i = <int> (slot & (TIMERS_SLOTS - 1))
    bits = (bits >> i) | (bits << ((TIMERS_SLOTS - i) & (TIMERS_SLOTS - 1)))
    slot += __builtin_ctzll(bits)
    level_out[0] = TIMERS_LEVELS - 1
    slot_out[0] = <int> (slot & (TIMERS_SLOTS - 1))
    return slot << TOP


# Go to `now_ms`, from occupied slot to occupied slot, and collect in t.due whatever comes up. Nothing fires
# here, so the wheel never changes under a callback's feet.
cdef void advance(timers_t *t, uint64_t now_ms) noexcept nogil:
    cdef uint64_t tick
    cdef int level, slot
    cdef lb_timer_t ring
    cdef lb_timer_t *n
    cdef lb_timer_t *next
    level = slot = 0
    while True:
        tick = earliest(t, &level, &slot)
        if tick > now_ms:
            break
        LB_ASSERT(tick > t.now_ms)
        t.now_ms = tick
        if level == 0:
            t.bits0[slot >> 6] &= ~(<uint64_t> 1 << (slot & 63))
            ring_splice(&t.due, &t.slots0[slot])
            continue
        t.bits[level] &= ~(<uint64_t> 1 << slot)
        ring_init(&ring)
        ring_splice(&ring, &t.slots[level][slot])
        n = ring.next
        while n != &ring:
            next = n.next
            n.next = NULL
            if n.expire_ms == TIMERS_NEVER:
                t.count -= 1
            else:
                place(t, n)
            n = next
    t.now_ms = now_ms


cdef int timers_run(timers_t *t, uint64_t now_ms, int limit) noexcept nogil:
    cdef lb_timer_t ring
    cdef lb_timer_t *n
    cdef int fired = 0
    if now_ms > t.now_ms:
        advance(t, now_ms)
    if t.due.next == &t.due:
        return 0
    # What callbacks make due from here on waits for the next run: a timer that sets itself to now cannot hold
    # us.
    ring_init(&ring)
    ring_splice(&ring, &t.due)
    while ring.next != &ring:
        n = ring.next
        if n.expire_ms <= t.now_ms:
            if fired == limit:
                # The rest stays ahead of what has become due meanwhile.
                ring_splice(&ring, &t.due)
                ring_splice(&t.due, &ring)
                break
            ring_remove(t, n)
            t.count -= 1
            n.expire_ms = TIMERS_NEVER
            fired += 1
            n.fire(n.owner, n)
        else:
            ring_remove(t, n)
            if n.expire_ms == TIMERS_NEVER:
                t.count -= 1
            else:
                place(t, n)
    return fired


cdef uint64_t timers_next(timers_t *t) noexcept nogil:
    cdef int level, slot
    if t.due.next != &t.due:
        return t.now_ms
    return earliest(t, &level, &slot)
