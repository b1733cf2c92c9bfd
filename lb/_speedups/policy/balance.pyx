from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lb._speedups.base.lock cimport LOCK_LOST, LOCK_OK, lock_give, lock_init, lock_repaired, lock_take
from lb._speedups.base.mapping cimport (
    counters_t, mapping_allocate, mapping_live, mapping_release, mapping_t, set_errno,
)
from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.maglev cimport MAGLEV_MEMBERS, MAGLEV_SIZE, maglev_fill
from lb._speedups.policy.ring cimport RING_SCALE, ring_fill, ring_find
from lb._speedups.policy.slots cimport slots_divisor, slots_fill


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)
    uint32_t lb_load_relaxed_u32(const uint32_t *p)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)


cdef enum:
    LINE = 64
    NOBODY = 0xffffffff


cdef inline uint64_t lines(uint64_t bytes) noexcept nogil:
    return (bytes + LINE - 1) & ~<uint64_t> (LINE - 1)


cdef inline balance_t *balance_at(mapping_t *m, uint64_t at) noexcept nogil:
    return <balance_t *> (<char *> m + at)


cdef inline void *table_at(balance_t *b, uint32_t which) noexcept nogil:
    return <char *> b + b.tables_at + which * b.table_bytes


cdef inline bint needs_loads(const balance_t *b) noexcept nogil:
    return b.algorithm == BALANCE_LEASTCONN or b.algorithm == BALANCE_RANDOM or b.bound != 0


# ---- the heap ----


# Whether entry i comes before entry j.
cdef inline bint is_before(const balance_entry_t *entries, uint32_t i, uint32_t j) noexcept nogil:
    cdef uint64_t a = entries[i].num * entries[j].weight
    cdef uint64_t b = entries[j].num * entries[i].weight
    return (a < b) | ((a == b) & (entries[i].tie < entries[j].tie))


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


# The entry at place `at` may also be earlier than its parents: bring it where it belongs.
cdef void move(balance_entry_t *entries, uint32_t *heap, uint32_t size, uint32_t at) noexcept nogil:
    cdef uint32_t entry = heap[at]
    cdef uint32_t parent
    if at == 0 or not is_before(entries, entry, heap[(at - 1) // 2]):
        sift(entries, heap, size, at)
        return
    while at > 0:
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
    cdef uint32_t i, heaped = 0, total = 0
    for i in range(b.size):
        entries[i].place = 0
        entries[i].before = total
        if b.algorithm == BALANCE_LEASTCONN:
            entries[i].num = entries[i].load
        else:
            entries[i].tie = i
        if entries[i].weight != 0:
            heap[heaped] = i
            heaped += 1
            total += entries[i].weight
            entries[i].place = heaped
    b.heaped = heaped
    b.total = total
    i = heaped // 2
    while i > 0:
        i -= 1
        sift(entries, heap, heaped, i)


# Loads from the rows of the living.
cdef void count_locked(mapping_t *m, balance_t *b) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef int64_t load
    cdef uint32_t i
    b.loads = 0
    for i in range(b.size):
        load = mapping_live(m, entries[i].oid)
        entries[i].load = <uint32_t> load if load > 0 else 0
        b.loads += entries[i].load


cdef void balance_repair_locked(mapping_t *m, balance_gate_t *gate) noexcept nogil:
    cdef uint64_t at = gate.oldest_at
    cdef balance_t *b
    while at != 0:
        b = balance_at(m, at)
        if gate.counts != 0:
            count_locked(m, b)
        balance_rebuild_locked(b)
        at = b.newer_at


# 0, or -1 when the lock is lost.
cdef inline int gate_take(mapping_t *m, balance_gate_t *gate) noexcept nogil:
    cdef int got = lock_take(&gate.lock)
    if UNLIKELY(got != LOCK_OK):
        if got == LOCK_LOST:
            return -1
        balance_repair_locked(m, gate)
        lock_repaired(&gate.lock)
    return 0


# ---- loads ----


# Ties have run out of numbers: begin anew. Once in 2^32 changes.
cdef void renumber_locked(balance_t *b) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t i
    for i in range(b.size):
        entries[i].tie = i
    b.moves = b.size
    balance_rebuild_locked(b)


# One connection more (delta 1) or less (-1) on entry i: the row, then this balance and all newer ones.
cdef void book_locked(balance_t *b, uint32_t i, counters_t *rows, int delta) noexcept nogil:
    cdef balance_entry_t *e = &balance_entries(b)[i]
    cdef balance_member_t *member
    rows[e.oid].cur += delta
    LB_KILL_POINT("balance.row")
    while True:
        # Before the first recount a load may be one too small: see balance_recount.
        if LIKELY(delta > 0 or e.load > 0):
            e.load += <uint32_t> delta
            b.loads += <uint64_t> <int64_t> delta
        if b.algorithm == BALANCE_LEASTCONN:
            if UNLIKELY(b.moves == NOBODY):
                renumber_locked(b)
            b.moves += 1
            e.num = e.load
            e.tie = b.moves
            if e.place != 0:
                move(balance_entries(b), balance_heap(b), b.heaped, e.place - 1)
        if LIKELY(b.newer_at == 0):
            break
        member = &balance_members(b)[i]
        if member.newer_at == 0:
            break
        i = member.newer
        b = balance_at(balance_mapping(b), member.newer_at)
        e = &balance_entries(b)[i]
    LB_KILL_POINT("balance.booked")


cdef void balance_leave(balance_t *b, uint32_t index, counters_t *rows) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    if lb_load_relaxed_u32(&gate.counts) == 0:
        rows[balance_entries(b)[index].oid].cur -= 1
        return
    if gate_take(balance_mapping(b), gate) != 0:
        return
    LB_KILL_POINT("balance.leaving")
    book_locked(b, index, rows, -1)
    lock_give(&gate.lock)


cdef void balance_recount(balance_t *b) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    cdef mapping_t *m = balance_mapping(b)
    if gate.counts == 0 or gate_take(m, gate) != 0:
        return
    balance_repair_locked(m, gate)
    lock_give(&gate.lock)


cdef void balance_recount_all(mapping_t *m) noexcept nogil:
    cdef balance_gate_t *gate
    cdef uint64_t at = m.gates
    while at != 0:
        gate = <balance_gate_t *> (<char *> m + at)
        if gate.counts != 0 and gate_take(m, gate) == 0:
            balance_repair_locked(m, gate)
            lock_give(&gate.lock)
        at = gate.next_at


# ---- picks: each returns an entry, the heap is not empty ----


# The first of the heap, or the second when the first is to be avoided.
cdef inline uint32_t first_of(balance_t *b, uint32_t avoid) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t *heap = balance_heap(b)
    cdef uint32_t at = 0
    if avoid != 0 and b.heaped > 1 and entries[heap[0]].oid == avoid:
        # The second of all is one of the first one's children.
        at = 1
        if b.heaped > 2 and is_before(entries, heap[2], heap[1]):
            at = 2
    return at


cdef inline uint32_t next_turn(balance_t *b, uint32_t avoid) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t at = first_of(b, avoid)
    cdef uint32_t entry = balance_heap(b)[at]
    entries[entry].num += 2
    LB_KILL_POINT("balance.chosen")
    sift(entries, balance_heap(b), b.heaped, at)
    LB_KILL_POINT("balance.sifted")
    return entry


cdef uint32_t next_slot(balance_t *b, uint32_t avoid) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef const uint32_t *slots = <const uint32_t *> table_at(b, b.in_use)
    cdef uint32_t entry = 0, _
    for _ in range(b.length):
        if b.cursor >= b.length:
            b.cursor = 0
        entry = slots[b.cursor]
        b.cursor += 1
        if avoid == 0 or entries[entry].oid != avoid:
            break
    return entry


cdef uint32_t slot_of(balance_t *b, uint32_t avoid, uint32_t hash) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef const uint32_t *slots = <const uint32_t *> table_at(b, b.in_use)
    cdef uint32_t at = hash % b.length
    cdef uint32_t first = slots[at], _
    if LIKELY(avoid == 0 or entries[first].oid != avoid):
        return first
    for _ in range(b.length):
        at = at + 1 if at + 1 < b.length else 0
        if entries[slots[at]].oid != avoid:
            return slots[at]
    return first


# Of `slots` connections that may be open in all, a member's part by weight, as HAProxy rounds it; never none.
cdef inline bint has_room(const balance_t *b, const balance_entry_t *e, uint64_t each, uint64_t rest) noexcept nogil:
    cdef uint64_t scaled = <uint64_t> e.weight * RING_SCALE
    cdef uint64_t before = <uint64_t> e.before * RING_SCALE
    cdef uint64_t total = <uint64_t> b.total * RING_SCALE
    cdef uint64_t part = scaled * each + (before + scaled) * rest // total - before * rest // total
    return e.load < (part if part != 0 else 1)


cdef uint32_t point_of(balance_t *b, uint32_t avoid, uint32_t hash) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef const uint64_t *points = <const uint64_t *> table_at(b, b.in_use)
    cdef uint32_t at = ring_find(points, b.length, hash)
    cdef uint32_t first = <uint32_t> points[at]
    cdef uint32_t entry = first, _
    cdef uint64_t room, each = 0, rest = 0
    if b.bound != 0:
        room = ((b.loads + 1) * b.bound + 99) // 100
        each = room // (<uint64_t> b.total * RING_SCALE)
        rest = room % (<uint64_t> b.total * RING_SCALE)
    elif LIKELY(avoid == 0):
        return first
    for _ in range(b.length):
        if entries[entry].oid != avoid and (b.bound == 0 or has_room(b, &entries[entry], each, rest)):
            return entry
        at = at + 1 if at + 1 < b.length else 0
        entry = <uint32_t> points[at]
    return first


# The first member whose sum of weights is beyond the number drawn.
cdef inline uint32_t drawn(balance_t *b, const uint64_t *sums, uint32_t avoid) noexcept nogil:
    cdef uint64_t number
    cdef uint32_t low = 0, high = b.length - 1, middle
    b.random += 1
    number = (hash_mix(b.random) >> 32) * b.total >> 32
    while low < high:
        middle = (low + high) // 2
        if sums[middle] >> 32 > number:
            high = middle
        else:
            low = middle + 1
    if UNLIKELY(avoid != 0) and balance_entries(b)[<uint32_t> sums[low]].oid == avoid:
        low = low + 1 if low + 1 < b.length else 0
    return <uint32_t> sums[low]


cdef uint32_t least_drawn(balance_t *b, uint32_t avoid) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef const uint64_t *sums = <const uint64_t *> table_at(b, b.in_use)
    cdef uint32_t best = drawn(b, sums, avoid)
    cdef uint32_t other, _
    for _ in range(1, b.draws):
        other = drawn(b, sums, avoid)
        # Of equals the later: what HAProxy does.
        if <uint64_t> entries[other].load * entries[best].weight <= <uint64_t> entries[best].load * entries[other].weight:
            best = other
    return best


cdef uint32_t balance_pick(
    balance_t *b, uint32_t avoid, bint keyed, uint32_t hash, counters_t *rows
) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    cdef uint32_t entry, oid = 0
    if gate_take(balance_mapping(b), gate) != 0:
        return 0
    LB_KILL_POINT("balance.locked")
    if b.heaped > 0:
        if b.algorithm == BALANCE_ROUNDROBIN:
            entry = next_turn(b, avoid)
        elif b.algorithm == BALANCE_LEASTCONN:
            entry = balance_heap(b)[first_of(b, avoid)]
        elif b.algorithm == BALANCE_RANDOM:
            entry = least_drawn(b, avoid)
        elif b.algorithm == BALANCE_STATIC_RR:
            entry = next_slot(b, avoid)
        elif not keyed:
            entry = next_turn(b, avoid)
        elif b.table == TABLE_RING:
            entry = point_of(b, avoid, hash)
        else:
            entry = slot_of(b, avoid, hash)
        oid = balance_entries(b)[entry].oid
        if rows != NULL:
            if gate.counts != 0:
                book_locked(b, entry, rows, 1)
            else:
                rows[oid].cur += 1
    lock_give(&gate.lock)
    return oid


cdef bint balance_take(balance_t *b, uint32_t index, bint even_down, counters_t *rows) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    cdef bint taken
    if index >= b.size or gate_take(balance_mapping(b), gate) != 0:
        return False
    taken = even_down or not balance_members(b)[index].flags & BALANCE_DOWN
    if taken:
        if gate.counts != 0:
            book_locked(b, index, rows, 1)
        else:
            rows[balance_entries(b)[index].oid].cur += 1
    lock_give(&gate.lock)
    return taken


# ---- who is usable, and the tables: supervisor ----


# The weights that count now: those of the members that are up, or of backups.
cdef void weigh(balance_t *b, uint32_t *weights) noexcept nogil:
    cdef balance_member_t *members = balance_members(b)
    cdef bint none = True
    cdef uint32_t i
    for i in range(b.size):
        weights[i] = 0
        if members[i].flags == 0 and members[i].weight != 0:
            weights[i] = members[i].weight
            none = False
    if not none:
        return
    for i in range(b.size):
        if members[i].flags == BALANCE_BACKUP and members[i].weight != 0:
            weights[i] = members[i].weight
            if not b.flags & BALANCE_ALL_BACKUPS:
                return


# Make the table that is not in use for these weights. Its length, or -1 without memory.
cdef int64_t fill(balance_t *b, const uint32_t *weights) noexcept nogil:
    cdef void *table = table_at(b, 1 - b.in_use)
    cdef balance_member_t *members = balance_members(b)
    cdef uint64_t *identities = NULL
    cdef uint32_t *all_weights
    cdef uint64_t *sums
    cdef uint64_t sum = 0
    cdef int64_t length = 0
    cdef uint32_t i
    if b.table == TABLE_SUMS:
        sums = <uint64_t *> table
        for i in range(b.size):
            if weights[i] != 0:
                sum += weights[i]
                sums[length] = sum << 32 | i
                length += 1
        return length
    if b.table == TABLE_SLOTS:
        all_weights = <uint32_t *> calloc(b.size, sizeof(uint32_t))
        if all_weights == NULL:
            return -1
        for i in range(b.size):
            all_weights[i] = members[i].weight
        length = slots_fill(<uint32_t *> table, weights, b.size, slots_divisor(all_weights, b.size))
        free(all_weights)
        return length
    if b.table == TABLE_NONE:
        return 0
    if not b.flags & BALANCE_POSITIONS:
        identities = <uint64_t *> calloc(b.size, sizeof(uint64_t))
        if identities == NULL:
            return -1
        for i in range(b.size):
            identities[i] = members[i].identity
    if b.table == TABLE_RING:
        length = <int64_t> ring_fill(<uint64_t *> table, weights, identities, b.size)
    else:
        length = maglev_fill(<uint32_t *> table, weights, identities, b.size)
        if length == 1:
            length = MAGLEV_SIZE
    free(identities)
    return length


# Entries that one table may need: the usable are either some without BALANCE_BACKUP, or backups.
cdef uint64_t table_bytes(const balance_spec_t *spec) noexcept nogil:
    cdef uint64_t active = 0, backup = 0, most
    cdef uint32_t i
    for i in range(spec.size):
        if spec.backups != NULL and spec.backups[i]:
            backup += spec.weights[i]
        else:
            active += spec.weights[i]
    most = max(active, backup)
    if spec.table == TABLE_SUMS:
        return spec.size * sizeof(uint64_t)
    if spec.table == TABLE_SLOTS:
        most = most // slots_divisor(spec.weights, spec.size)
        return most * sizeof(uint32_t) if most <= BALANCE_TABLE_MAX else 0
    if spec.table == TABLE_RING:
        most *= RING_SCALE
        return most * sizeof(uint64_t) if most <= BALANCE_TABLE_MAX else 0
    return MAGLEV_SIZE * sizeof(uint32_t) if spec.size <= MAGLEV_MEMBERS else 0


# Smallest k with (2k + 1) / weight >= num / of_weight.
cdef inline uint64_t first_turn(uint32_t weight, uint64_t num, uint32_t of_weight) noexcept nogil:
    cdef uint64_t product = num * weight
    if product <= of_weight:
        return 0
    return (product - of_weight + 2 * <uint64_t> of_weight - 1) // (2 * <uint64_t> of_weight)


# The deadline of a member whose weight changes: (d - V) * w stays, what is left of its own interval, but never before `turn`,
# the first one that it could have, or virtual time would go back for all the others.
cdef inline uint64_t moved_turn(const balance_entry_t *entry, uint32_t weight, uint64_t turn, uint64_t first_chosen,
                                uint32_t first_weight, uint64_t chosen) noexcept nogil:
    cdef int64_t moved = (<int64_t> (2 * first_chosen + 1)) * (<int64_t> weight - <int64_t> entry.weight)
    moved = (moved + <int64_t> chosen * 2 * first_weight + first_weight) // (2 * <int64_t> first_weight)
    return 2 * (<uint64_t> moved if moved > <int64_t> turn else turn) + 1


# These weights count from now on, with the table made for them. Whoever becomes usable joins the rotation at the present
# virtual time.
cdef void apply_locked(balance_t *b, const uint32_t *weights, int64_t length) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t i, now_weight = 0
    cdef uint64_t now = 0, turn
    if b.heaped > 0 and b.algorithm != BALANCE_LEASTCONN:
        now = entries[balance_heap(b)[0]].num
        now_weight = entries[balance_heap(b)[0]].weight
    for i in range(b.size):
        if weights[i] != 0 and now_weight != 0 and weights[i] != entries[i].weight:
            turn = first_turn(weights[i], now, now_weight)
            if entries[i].weight != 0:
                entries[i].num = moved_turn(&entries[i], weights[i], turn, now // 2, now_weight, entries[i].num // 2)
            # Its own turn holds if it is one that it could have now.
            elif entries[i].num < 2 * turn + 1 or entries[i].num > 2 * turn + 3:
                entries[i].num = 2 * turn + 1
        entries[i].weight = weights[i]
    b.in_use = 1 - b.in_use
    b.length = <uint32_t> length
    balance_rebuild_locked(b)


# Look at the members' flags again. 0, or -1 without memory.
cdef int refresh(balance_t *b) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    cdef uint32_t *weights = <uint32_t *> calloc(b.size, sizeof(uint32_t))
    cdef int64_t length
    if weights == NULL:
        return -1
    weigh(b, weights)
    length = fill(b, weights)
    if length >= 0 and gate_take(balance_mapping(b), gate) == 0:
        apply_locked(b, weights, length)
        lock_give(&gate.lock)
    free(weights)
    return 0 if length >= 0 else -1


# The member of this oid at or behind a balance of a gate (`b` NULL: of the first gate on); NULL when there is no more. `b` is
# its balance.
cdef balance_member_t *next_member(mapping_t *m, uint32_t oid, balance_t **b) noexcept nogil:
    cdef uint64_t at = m.gates, balance = 0
    cdef uint32_t i
    if b[0] != NULL:
        at = balance_gate(b[0]).next_at
        balance = b[0].newer_at
    while at != 0 or balance != 0:
        if balance == 0:
            balance = (<balance_gate_t *> (<char *> m + at)).oldest_at
            at = (<balance_gate_t *> (<char *> m + at)).next_at
        while balance != 0:
            b[0] = balance_at(m, balance)
            for i in range(b[0].size):
                if balance_entries(b[0])[i].oid == oid:
                    return &balance_members(b[0])[i]
            balance = b[0].newer_at
    return NULL


cdef int balance_set_usable(mapping_t *m, uint32_t oid, bint usable) noexcept nogil:
    cdef balance_t *b = NULL
    cdef balance_member_t *member = next_member(m, oid, &b)
    cdef uint32_t flags
    cdef int failed = 0
    while member != NULL:
        flags = member.flags & ~<uint32_t> BALANCE_DOWN
        if not usable:
            flags |= BALANCE_DOWN
        if flags != member.flags:
            member.flags = flags
            failed |= refresh(b)
        member = next_member(m, oid, &b)
    return failed


# Whether the table of a balance has room when a member has this weight.
cdef bint weight_fits(balance_t *b, const balance_member_t *member, uint32_t weight) noexcept nogil:
    cdef balance_member_t *members = balance_members(b)
    cdef uint64_t sum = weight
    cdef uint32_t i
    if b.table == TABLE_SLOTS:
        return False                          # their number is made for the weights that there were
    if b.table != TABLE_RING:
        return True
    for i in range(b.size):
        if &members[i] != member and (members[i].flags ^ member.flags) & BALANCE_BACKUP == 0:
            sum += members[i].weight
    return sum * RING_SCALE * sizeof(uint64_t) <= b.table_bytes


cdef int balance_set_weight(mapping_t *m, uint32_t oid, uint32_t weight) noexcept nogil:
    cdef balance_t *b = NULL
    cdef balance_member_t *member = next_member(m, oid, &b)
    cdef uint32_t flags
    cdef int failed = 0
    while member != NULL and weight != 0:
        if weight != member.weight and not weight_fits(b, member, weight):
            return BALANCE_FIXED
        member = next_member(m, oid, &b)
    b = NULL
    member = next_member(m, oid, &b)
    while member != NULL:
        flags = member.flags & ~<uint32_t> BALANCE_DRAIN
        if weight == 0:
            flags |= BALANCE_DRAIN
        if flags != member.flags or (weight != 0 and weight != member.weight):
            member.flags = flags
            if weight != 0:
                member.weight = weight
            failed |= refresh(b)
        member = next_member(m, oid, &b)
    return failed


# ---- making and releasing: supervisor ----


# Take over the rotation of `old`, which workers may be using. The lock is held only to find the present
# virtual time; the members are read after that, and one that is chosen meanwhile is a turn further. All
# deadlines move back by the same whole number of rounds, so that numbers stay small however often this is
# done.
cdef void adopt(balance_t *b, balance_t *old) noexcept nogil:
    cdef balance_entry_t *entries = balance_entries(b)
    cdef balance_entry_t *others = balance_entries(old)
    cdef balance_entry_t *entry
    cdef balance_gate_t *gate = balance_gate(old)
    cdef uint64_t rounds, chosen, first_chosen, turn
    cdef uint32_t first_weight, i, first, j = 0, _
    if gate_take(balance_mapping(old), gate) != 0:
        return
    first = balance_heap(old)[0]
    first_weight = others[first].weight if old.heaped > 0 else 0
    first_chosen = others[first].num // 2 if old.heaped > 0 else 0
    lock_give(&gate.lock)
    b.cursor = old.cursor
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
        turn = first_turn(entry.weight, 2 * first_chosen + 1, first_weight)
        entry.num = 2 * turn + 1
        if others[j].oid != entry.oid or others[j].weight == 0:
            continue
        chosen = lb_load_relaxed_u64(&others[j].num) // 2 - rounds * others[j].weight
        entry.num = moved_turn(&others[j], entry.weight, turn, first_chosen, first_weight, chosen)


# The members of `old` that b has too: who is down stays down, who drains drains.
cdef void stay_down(balance_t *b, balance_t *old) noexcept nogil:
    cdef uint32_t i, j = 0, _
    for i in range(b.size):
        for _ in range(old.size):
            if balance_entries(old)[j].oid == balance_entries(b)[i].oid:
                balance_members(b)[i].flags |= balance_members(old)[j].flags & <uint32_t> (BALANCE_DOWN | BALANCE_DRAIN)
                break
            j = j + 1 if j + 1 < old.size else 0


cdef uint64_t gate_make(mapping_t *m) noexcept nogil:
    cdef uint64_t at = mapping_allocate(m, sizeof(balance_gate_t))
    cdef balance_gate_t *gate
    if at == 0:
        return 0
    gate = <balance_gate_t *> (<char *> m + at)
    if lock_init(&gate.lock) != 0:
        mapping_release(m, at, sizeof(balance_gate_t))
        return 0
    gate.next_at = m.gates
    m.gates = at
    return at


cdef void gate_release(mapping_t *m, uint64_t at) noexcept nogil:
    cdef uint64_t *link = &m.gates
    while link[0] != at:
        link = &(<balance_gate_t *> (<char *> m + link[0])).next_at
    link[0] = (<balance_gate_t *> (<char *> m + at)).next_at
    mapping_release(m, at, sizeof(balance_gate_t))


# Members of `older` that are in no newer balance yet and in b: their bookings go on to b.
cdef void lead_locked(balance_t *older, balance_t *b) noexcept nogil:
    cdef balance_member_t *member
    cdef uint32_t i, j = 0, _
    for i in range(older.size):
        member = &balance_members(older)[i]
        if member.newer_at != 0:
            continue
        # Members mostly keep their order.
        for _ in range(b.size):
            if balance_entries(b)[j].oid == balance_entries(older)[i].oid:
                member.newer_at = b.self_at
                member.newer = j
                break
            j = j + 1 if j + 1 < b.size else 0


# Bookings of `older` do not go through b any more.
cdef void skip_locked(balance_t *older, balance_t *b) noexcept nogil:
    cdef balance_member_t *member
    cdef balance_member_t *there
    cdef uint32_t i
    for i in range(older.size):
        member = &balance_members(older)[i]
        if member.newer_at == b.self_at:
            there = &balance_members(b)[member.newer]
            member.newer_at = there.newer_at
            member.newer = there.newer


# Behind the newest balance of its gate.
cdef void link(mapping_t *m, balance_t *b) noexcept nogil:
    cdef balance_gate_t *gate = balance_gate(b)
    cdef balance_t *last = NULL
    cdef uint64_t at = gate.oldest_at
    # From here on workers book under the lock; balance_recount waits until all have seen it.
    if needs_loads(b):
        lb_store_u32(&gate.counts, gate.counts + 1)
    if gate_take(m, gate) != 0:
        return
    while at != 0:
        last = balance_at(m, at)
        lead_locked(last, b)
        at = last.newer_at
    if last != NULL:
        b.older_at = last.self_at
        last.newer_at = b.self_at
    else:
        gate.oldest_at = b.self_at
    if gate.counts != 0:
        count_locked(m, b)
    balance_rebuild_locked(b)
    lock_give(&gate.lock)


cdef uint64_t balance_make(mapping_t *m, const balance_spec_t *spec, uint64_t old_at) noexcept nogil:
    cdef uint64_t each = 0, bytes, at, gate_at
    cdef uint64_t entries_at, members_at, heap_at, tables_at
    cdef uint32_t *weights
    cdef balance_t *b
    cdef balance_t *old = NULL
    cdef uint32_t i
    cdef int64_t length
    if spec.table != TABLE_NONE:
        each = lines(table_bytes(spec))
        if each == 0:
            # All weights may be 0: then there is simply nothing to put into a table.
            for i in range(spec.size):
                each |= spec.weights[i]
            if each != 0:
                set_errno(EINVAL)
                return 0
    entries_at = lines(sizeof(balance_t))
    heap_at = entries_at + lines(spec.size * sizeof(balance_entry_t))
    members_at = heap_at + lines(spec.size * sizeof(uint32_t))
    tables_at = members_at + lines(spec.size * sizeof(balance_member_t))
    bytes = tables_at + 2 * each
    gate_at = balance_at(m, old_at).gate_at if old_at != 0 else gate_make(m)
    if gate_at == 0:
        return 0
    at = mapping_allocate(m, bytes)
    weights = <uint32_t *> calloc(spec.size, sizeof(uint32_t)) if at != 0 else NULL
    if weights == NULL:
        if at != 0:
            mapping_release(m, at, bytes)
        if old_at == 0:
            gate_release(m, gate_at)
        return 0
    b = balance_at(m, at)
    b.self_at = at
    b.gate_at = gate_at
    b.entries_at = entries_at
    b.heap_at = heap_at
    b.members_at = members_at
    b.tables_at = tables_at
    b.table_bytes = each
    b.bytes = bytes
    b.size = spec.size
    b.algorithm = spec.algorithm
    b.table = spec.table
    b.flags = spec.flags
    b.draws = spec.draws
    b.bound = spec.bound
    b.random = spec.seed
    b.moves = spec.size
    for i in range(spec.size):
        balance_entries(b)[i].oid = spec.oids[i]
        balance_entries(b)[i].num = 1
        balance_entries(b)[i].tie = i
        balance_members(b)[i].weight = spec.weights[i]
        balance_members(b)[i].identity = spec.identities[i] if spec.identities != NULL else 0
        if spec.backups != NULL and spec.backups[i]:
            balance_members(b)[i].flags = BALANCE_BACKUP
    if old_at != 0:
        old = balance_at(m, old_at)
        stay_down(b, old)
    weigh(b, weights)
    length = fill(b, weights)
    if length < 0:
        free(weights)
        mapping_release(m, at, bytes)
        if old_at == 0:
            gate_release(m, gate_at)
        return 0
    apply_locked(b, weights, length)          # nobody else knows it yet
    free(weights)
    if old != NULL and old.algorithm != BALANCE_LEASTCONN and b.algorithm != BALANCE_LEASTCONN:
        adopt(b, old)
    link(m, b)
    return at


cdef void balance_release(mapping_t *m, uint64_t at) noexcept nogil:
    cdef balance_t *b = balance_at(m, at)
    cdef balance_gate_t *gate = balance_gate(b)
    cdef uint64_t gate_at = b.gate_at
    cdef uint64_t older_at = b.older_at
    if gate_take(m, gate) != 0:
        return
    while older_at != 0:
        skip_locked(balance_at(m, older_at), b)
        older_at = balance_at(m, older_at).older_at
    if b.older_at != 0:
        balance_at(m, b.older_at).newer_at = b.newer_at
    else:
        gate.oldest_at = b.newer_at
    if b.newer_at != 0:
        balance_at(m, b.newer_at).older_at = b.older_at
    if needs_loads(b):
        lb_store_u32(&gate.counts, gate.counts - 1)
    lock_give(&gate.lock)
    mapping_release(m, at, b.bytes)
    if gate.oldest_at == 0:
        gate_release(m, gate_at)
