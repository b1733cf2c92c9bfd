"""The door through which unit tests reach pools, timers and what the mapping's own door hides. Not in the release build."""

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from lb._speedups.base.lock cimport (
    LOCK_BROKEN, LOCK_LOST, LOCK_OK, lb_lock_t, lock_give, lock_init, lock_repaired, lock_take,
)
from lb._speedups.base.mapping cimport (
    counters_t, mapping_allocate, mapping_counters, mapping_object, mapping_release,
    mapping_worker,
)
from lb._speedups.base.pool cimport pool_drain, pool_give, pool_init, pool_t, pool_take
from lb._speedups.base.timers cimport (
    TIMERS_NEVER, lb_timer_t, timer_clear, timer_init, timer_set, timer_unlink, timers_init,
    timers_next, timers_run, timers_t,
)
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.balance cimport (
    BALANCE_LEASTCONN, TABLE_MAGLEV, TABLE_SLOTS, balance_entries, balance_entry_t, balance_heap, balance_rebuild_locked, balance_t,
)

from lb._speedups.policy.hash cimport hash_avalanche, hash_bytes, hash_xxh3


NEVER = <uint64_t> TIMERS_NEVER


cdef class Pool:
    cdef pool_t pool

    def __cinit__(self, size, keep):
        pool_init(&self.pool, b"test", size, keep)

    def __dealloc__(self):
        pool_drain(&self.pool)

    def take(self):
        return <uintptr_t> pool_take(&self.pool)

    def give(self, uintptr_t address):
        pool_give(&self.pool, <void *> address)

    def drain(self):
        pool_drain(&self.pool)

    def fail_every(self, n):
        self.pool.fail_every = n
        self.pool.fail_count = 0

    def fill(self, uintptr_t address, int byte):
        memset(<void *> address, byte, self.pool.size)

    def write(self, uintptr_t address, size_t at, int byte):
        (<char *> address)[at] = byte

    def read(self, uintptr_t address):
        return (<char *> address)[:self.pool.size]

    def counts(self):
        cdef pool_t *p = &self.pool
        return {
            "size": p.size,
            "live": p.live,
            "peak": p.peak,
            "cached": p.cached,
            "taken": p.taken,
            "failed": p.failed,
        }


cdef enum:
    ACTIONS = 4                  # what a timer does when it fires
    ACT_SET = 1
    ACT_CLEAR = 2
    ACT_UNLINK = 3

ctypedef struct action_t:
    uint32_t verb                # ACT_*, 0 = nothing
    uint32_t target              # number of the timer
    uint64_t value               # ACT_SET: ms from the wheel's present

ctypedef struct node_t:
    lb_timer_t timer
    action_t actions[ACTIONS]

ctypedef struct wheel_t:
    timers_t timers
    node_t *nodes
    uint32_t *fired              # numbers in order
    uint32_t size
    uint32_t nfired
    uint32_t room


cdef void node_fire(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef wheel_t *w = <wheel_t *> owner
    cdef node_t *node = <node_t *> timer
    cdef lb_timer_t *target
    cdef int i
    if w.nfired < w.room:
        w.fired[w.nfired] = <uint32_t> (node - w.nodes)
    w.nfired += 1
    for i in range(ACTIONS):
        target = &w.nodes[node.actions[i].target].timer
        if node.actions[i].verb == ACT_SET:
            timer_set(&w.timers, target, w.timers.now_ms + node.actions[i].value)
        elif node.actions[i].verb == ACT_CLEAR:
            timer_clear(target)
        elif node.actions[i].verb == ACT_UNLINK:
            timer_unlink(&w.timers, target)
            target.expire_ms = TIMERS_NEVER


cdef class Timers:
    cdef wheel_t *w

    def __cinit__(self, size, now_ms):
        self.w = <wheel_t *> calloc(1, sizeof(wheel_t))
        if self.w == NULL:
            raise MemoryError
        self.w.size = size
        self.w.room = 65536
        self.w.nodes = <node_t *> calloc(size, sizeof(node_t))
        self.w.fired = <uint32_t *> calloc(self.w.room, sizeof(uint32_t))
        if self.w.nodes == NULL or self.w.fired == NULL:
            raise MemoryError
        timers_init(&self.w.timers, now_ms)
        for i in range(size):
            timer_init(&self.w.nodes[i].timer, node_fire, self.w)

    def __dealloc__(self):
        if self.w != NULL:
            free(self.w.nodes)
            free(self.w.fired)
            free(self.w)

    cdef node_t *node(self, i) except NULL:
        cdef uint32_t number = i
        if number >= self.w.size:
            raise IndexError(i)
        return &self.w.nodes[number]

    def set(self, i, uint64_t expire_ms):
        timer_set(&self.w.timers, &self.node(i).timer, expire_ms)

    def clear(self, i):
        timer_clear(&self.node(i).timer)

    def unlink(self, i):
        timer_unlink(&self.w.timers, &self.node(i).timer)
        self.node(i).timer.expire_ms = TIMERS_NEVER

    def on_fire(self, i, actions):
        cdef node_t *node = self.node(i)
        memset(node.actions, 0, sizeof(node.actions))
        verbs = {"set": ACT_SET, "clear": ACT_CLEAR, "unlink": ACT_UNLINK}
        for at, (verb, target, value) in enumerate(actions):
            if at >= ACTIONS:
                raise ValueError(f"more than {ACTIONS} actions")
            self.node(target)
            node.actions[at].verb = verbs[verb]
            node.actions[at].target = target
            node.actions[at].value = value

    def run(self, uint64_t now_ms, int limit=1 << 30):
        cdef int fired
        self.w.nfired = 0
        with nogil:
            fired = timers_run(&self.w.timers, now_ms, limit)
        if fired != <int> self.w.nfired:
            raise AssertionError(f"timers_run says {fired}, {self.w.nfired} fired")
        return [self.w.fired[i] for i in range(min(self.w.nfired, self.w.room))]

    def next(self):
        return timers_next(&self.w.timers)

    def expire(self, i):
        return self.node(i).timer.expire_ms

    def is_queued(self, i):
        return self.node(i).timer.next != NULL

    @property
    def now(self):
        return self.w.timers.now_ms

    @property
    def count(self):
        return self.w.timers.count

    def check(self):
        """Raise AssertionError unless rings, bit maps and the count agree."""
        cdef timers_t *t = &self.w.timers
        cdef uint64_t seen = 0, here
        cdef int level, slot
        for slot in range(256):
            here = ring_length(&t.slots0[slot])
            if (here != 0) != ((t.bits0[slot >> 6] >> (slot & 63)) & 1):
                raise AssertionError(f"level 0 slot {slot}: {here} nodes, bit differs")
            seen += here
        for level in range(6):
            for slot in range(64):
                here = ring_length(&t.slots[level][slot])
                if (here != 0) != ((t.bits[level] >> slot) & 1):
                    raise AssertionError(f"level {level} slot {slot}: {here} nodes, bit differs")
                seen += here
        seen += ring_length(&t.due)
        if seen != t.count:
            raise AssertionError(f"{seen} nodes in rings, count is {t.count}")


cdef uint64_t ring_length(lb_timer_t *head) noexcept nogil:
    cdef lb_timer_t *n = head.next
    cdef uint64_t length = 0
    while n != head:
        if n.next.prev != n:
            return <uint64_t> -1
        length += 1
        n = n.next
    return length


# ---- mapping and balance ----


def set_worker_generation(Mapping mapping, uint32_t slot, uint64_t generation):
    mapping_worker(mapping.m, slot).generation = generation
    mapping_worker(mapping.m, slot).oldest = generation


def count(Mapping mapping, uint32_t slot, uint32_t oid, **fields):
    cdef counters_t *row = mapping_counters(mapping.m, slot, oid)
    for name, n in fields.items():
        if name == "cur":
            row.cur += n
        elif name == "cur_max":
            row.cur_max += n
        elif name == "req_total":
            row.req_total += n
        elif name == "bytes_in":
            row.bytes_in += n
        elif name == "idle":
            row.idle += n
        elif name == "last_ms":
            row.last_ms += n
        elif name == "log_dropped":
            row.log_dropped += n
        else:
            raise KeyError(name)


def spoil_gauge(Mapping mapping, uint32_t oid, value):
    mapping_object(mapping.m, oid).cur = value


def waiting(Mapping mapping, uint32_t oid):
    return mapping_object(mapping.m, oid).waiting


BROKEN = LOCK_BROKEN
LOST = LOCK_LOST
OK = LOCK_OK


cdef class Lock:
    cdef Mapping mapping
    cdef lb_lock_t *lock

    def __cinit__(self, Mapping mapping):
        cdef uint64_t at = mapping_allocate(mapping.m, sizeof(lb_lock_t))
        self.mapping = mapping
        self.lock = <lb_lock_t *> (<char *> mapping.m + at)
        if at == 0 or lock_init(self.lock) != 0:
            raise OSError("no lock")

    def take(self):
        cdef int got
        with nogil:
            got = lock_take(self.lock)
        return got

    def repaired(self):
        lock_repaired(self.lock)

    def give(self):
        lock_give(self.lock)


def allocate(Mapping mapping, uint64_t size):
    return mapping_allocate(mapping.m, size)


def release(Mapping mapping, uint64_t at, uint64_t size):
    mapping_release(mapping.m, at, size)


def is_zero(Mapping mapping, uint64_t at, uint64_t size):
    cdef const char *bytes = <const char *> mapping.m + at
    cdef uint64_t i
    for i in range(size):
        if bytes[i]:
            return False
    return True


def fill(Mapping mapping, uint64_t at, uint64_t size, int byte):
    memset(<char *> mapping.m + at, byte, size)


cdef balance_t *balance_of(Mapping mapping, uint64_t at):
    return <balance_t *> (<char *> mapping.m + at)


def spoil_heap(Mapping mapping, uint64_t at):
    """Overwrite all that is derived."""
    cdef balance_t *b = balance_of(mapping, at)
    cdef uint32_t i
    for i in range(b.size):
        balance_heap(b)[i] = 0xdddddddd
        balance_entries(b)[i].place = 0xdddddddd
    b.heaped = 0xdddddddd


def rebuild(Mapping mapping, uint64_t at):
    balance_rebuild_locked(balance_of(mapping, at))


def check_heap(Mapping mapping, uint64_t at):
    """Raise AssertionError unless the heap is one, of exactly the usable members."""
    cdef balance_t *b = balance_of(mapping, at)
    cdef balance_entry_t *entries = balance_entries(b)
    cdef uint32_t *heap = balance_heap(b)
    cdef uint32_t i, usable = 0
    for i in range(b.size):
        usable += entries[i].weight != 0
        if entries[i].weight == 0 and entries[i].place != 0:
            raise AssertionError(f"member {i} has weight 0 and place {entries[i].place}")
        if entries[i].weight != 0 and heap[entries[i].place - 1] != i:
            raise AssertionError(f"member {i} is not at its place {entries[i].place}")
        if b.algorithm == BALANCE_LEASTCONN and entries[i].num != entries[i].load:
            raise AssertionError(f"member {i} has load {entries[i].load} and stands for {entries[i].num}")
    if usable != b.heaped:
        raise AssertionError(f"{usable} usable members, {b.heaped} in the heap")

    def key(at):
        entry = entries[heap[<uint32_t> at]]
        return entry.num, entry.weight, entry.tie

    for i in range(1, b.heaped):
        num, weight, tie = key(i)
        parent_num, parent_weight, parent_tie = key((i - 1) // 2)
        if (num * parent_weight, tie) < (parent_num * weight, parent_tie):
            raise AssertionError(f"place {i} is before its parent")


def spoil_loads(Mapping mapping, uint64_t at):
    """Overwrite the loads, which are derived from the rows."""
    cdef balance_t *b = balance_of(mapping, at)
    cdef uint32_t i
    for i in range(b.size):
        balance_entries(b)[i].load = 0xdddddddd
    b.loads = 0xdddddddd


def table(Mapping mapping, uint64_t at):
    """Return the table in use: member indexes by slot, (place, index) by point, (sum, index) by member."""
    cdef balance_t *b = balance_of(mapping, at)
    cdef const char *p = <char *> b + b.tables_at + b.in_use * b.table_bytes
    cdef uint64_t entry
    cdef uint32_t i
    if b.table in (TABLE_SLOTS, TABLE_MAGLEV):
        return [(<const uint32_t *> p)[i] for i in range(b.length)]
    found = []
    for i in range(b.length):
        entry = (<const uint64_t *> p)[i]
        found.append((entry >> 32, entry & 0xffffffff))
    return found


def set_moves(Mapping mapping, uint64_t at, uint32_t moves):
    """Say how many changes of loads there were."""
    balance_of(mapping, at).moves = moves


def hash_of(uint32_t function, bytes key):
    return hash_bytes(function, key, len(key))


def xxh3_of(bytes key):
    return hash_xxh3(key, len(key))


def avalanche_of(uint32_t number):
    return hash_avalanche(number)
