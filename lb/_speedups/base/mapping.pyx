from libc.errno cimport EINVAL, ENOSPC, EPROTO, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport close, ftruncate, getpid, pread, write

from lb._speedups.base.lock cimport (
    LOCK_BROKEN, LOCK_LOST, lock_give, lock_init, lock_repaired, lock_take,
)
from lb._speedups.base.logring cimport logring_init


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)
    uint32_t lb_load_u32(const uint32_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)
    uint64_t lb_load_u64(const uint64_t *p)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)
    void lb_store_relaxed_u64(uint64_t *p, uint64_t value)

cdef extern from "<sys/mman.h>" nogil:
    int memfd_create(const char *name, unsigned int flags)
    void *mmap(void *, size_t, int, int, int, long)
    int munmap(void *, size_t)
    int madvise(void *, size_t, int)
    void *MAP_FAILED
    int MAP_SHARED, MAP_NORESERVE, PROT_READ, PROT_WRITE, MADV_DONTDUMP
    unsigned int MFD_CLOEXEC, MFD_ALLOW_SEALING

cdef extern from "<errno.h>" nogil:
    int *__errno_location()      # an assignment to `errno` itself would make it a name of this module

cdef extern from "<fcntl.h>" nogil:
    int fallocate(int fd, int mode, long offset, long len)
    int fcntl(int fd, int cmd, ...)
    int F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE


cdef enum:
    # Memory is given by the chunk: a system call per 170 objects and worker, not per object.
    CHUNK = 65536
    PAGE = 4096
    ALIGN = 64
    HOLE_KEPT = 65536            # released regions up to this size keep their memory
    NAME_CUT = 86                # bytes of a name that is too long; 1 + 16 + NUL follow
    SHARED_FIELDS = 48           # counters_t as words
    ALL_BYTES = 27690860544      # with the store behind it, see base/store.pxd


# A released region of the arena; its first bytes.
ctypedef struct hole_t:
    uint64_t next                # offset of the next one, 0 = the last
    uint64_t size                # bytes


cdef uint64_t now_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1000 + <uint64_t> now.tv_nsec // 1000000


cdef inline uint32_t *bucket_of(mapping_t *m, uint64_t hash) noexcept nogil:
    return (<uint32_t *> (<char *> m + MAPPING_BUCKETS_AT)) + (hash & (MAPPING_BUCKETS - 1))


# ---- the file ----


cdef mapping_t *map_all(int fd) noexcept nogil:
    cdef void *base = mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
    if base == MAP_FAILED:
        return NULL
    # A core dump would read every hole, and so fill 26 GiB of memory. It is only a wish: a kernel without it
    # refuses.
    madvise(<char *> base + MAPPING_OBJECTS_AT, ALL_BYTES - MAPPING_OBJECTS_AT, MADV_DONTDUMP)
    return <mapping_t *> base


cdef int give_memory(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil:
    return fallocate(<int> m.fd, 0, <long> at, <long> size)


cdef mapping_t *mapping_create(int *fd_out) noexcept nogil:
    cdef mapping_t *m = NULL
    cdef timespec now
    cdef int fd, kept
    # What the layout promises.
    LB_ASSERT(sizeof(worker_t) == 256 and sizeof(object_t) == 256)
    LB_ASSERT(sizeof(counters_t) == SHARED_FIELDS * 8)
    LB_ASSERT(MAPPING_COUNTERS_AT + 65 * sizeof(counters_t) * MAPPING_OBJECTS == MAPPING_BYTES)
    fd = memfd_create("lb", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if fd < 0:
        return NULL
    if (
        ftruncate(fd, ALL_BYTES) == 0
        and fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0
        and fallocate(fd, 0, 0, MAPPING_OBJECTS_AT + CHUNK) == 0
        and fallocate(fd, 0, MAPPING_COUNTERS_AT, CHUNK) == 0
    ):
        m = map_all(fd)
    if m == NULL:
        kept = errno
        close(fd)
        set_errno(kept)
        return NULL
    m.version = MAPPING_VERSION
    m.size = MAPPING_BYTES
    m.start_ms = now_ms()
    clock_gettime(CLOCK_REALTIME, &now)
    m.start_us = <uint64_t> now.tv_sec * 1000000 + <uint64_t> now.tv_nsec // 1000
    m.supervisor = <uint32_t> getpid()
    m.fd = <uint32_t> fd
    lb_store_u32(&m.magic, MAPPING_MAGIC)
    fd_out[0] = fd
    return m


cdef mapping_t *mapping_attach(int fd) noexcept nogil:
    cdef mapping_t header
    cdef ssize_t got = pread(fd, &header, sizeof(header), 0)
    if got < 0:
        return NULL
    if (
        got != sizeof(header) or header.magic != MAPPING_MAGIC or header.version != MAPPING_VERSION
        or header.size != MAPPING_BYTES
    ):
        set_errno(EPROTO)
        return NULL
    return map_all(fd)


cdef void mapping_detach(mapping_t *m) noexcept nogil:
    munmap(m, ALL_BYTES)


cdef void set_errno(int error) noexcept nogil:
    __errno_location()[0] = error


# ---- workers ----


# Slots whose rows can hold something.
cdef inline bint has_rows(mapping_t *m, uint32_t slot) noexcept nogil:
    cdef worker_t *w = mapping_worker(m, slot)
    return w.reserved_memory != 0 or lb_load_u32(&w.state) != WORKER_EMPTY or lb_load_u64(&w.beat_ms) != 0


cdef int mapping_reserve(mapping_t *m, uint32_t slot) noexcept nogil:
    cdef worker_t *w
    cdef uint64_t rows
    if slot < 1 or slot > MAPPING_WORKERS:
        set_errno(EINVAL)
        return -1
    w = mapping_worker(m, slot)
    if w.reserved_memory:
        return 0
    # Up to the end of the chunk in which the last object's row ends: mapping_register goes on from there.
    rows = ((m.objects + 1) * sizeof(counters_t) + CHUNK - 1) & ~<uint64_t> (CHUNK - 1)
    if (
        give_memory(m, MAPPING_COUNTERS_AT + <uint64_t> slot * MAPPING_OBJECTS * sizeof(counters_t), rows) != 0
        or give_memory(m, MAPPING_RINGS_AT + <uint64_t> (slot - 1) * MAPPING_RING, MAPPING_RING) != 0
    ):
        return -1
    logring_init(mapping_ring(m, slot), MAPPING_RING)
    # Last: the log thread looks at the ring from now on.
    lb_store_u32(&w.reserved_memory, 1)
    return 0


cdef void mapping_alarm(mapping_t *m) noexcept nogil:
    cdef uint64_t one = 1
    cdef worker_t *supervisor = mapping_worker(m, 0)
    if supervisor.eventfd != 0:
        write(<int> supervisor.eventfd, &one, sizeof(one))


cdef void mapping_wake(mapping_t *m, uint64_t bits) noexcept nogil:
    cdef uint64_t one = 1
    cdef uint32_t slot
    cdef worker_t *w
    for slot in range(1, MAPPING_WORKERS + 1):
        if not (bits >> (slot - 1)) & 1:
            continue
        w = mapping_worker(m, slot)
        if w.eventfd != 0:
            # It fails only when the counter is full, and then the worker is awake already.
            write(<int> w.eventfd, &one, sizeof(one))


cdef uint64_t mapping_oldest(mapping_t *m) noexcept nogil:
    cdef uint64_t oldest = lb_load_u64(&m.generation)
    cdef uint64_t used
    cdef uint32_t slot
    for slot in range(1, MAPPING_WORKERS + 1):
        # A worker that has none yet will begin with the committed one or a later one.
        used = lb_load_u64(&mapping_worker(m, slot).oldest)
        if used != 0 and used < oldest:
            oldest = used
    return oldest


# ---- names ----


# FNV-1a: names are few and come from our own configuration.
cdef uint64_t hash_of(uint8_t kind, uint32_t parent, const char *name, size_t len) noexcept nogil:
    cdef uint64_t hash = <uint64_t> 0xcbf29ce484222325
    cdef uint64_t prime = <uint64_t> 0x100000001b3
    cdef size_t i
    hash = (hash ^ kind) * prime
    for i in range(4):
        hash = (hash ^ ((parent >> (8 * i)) & 0xff)) * prime
    for i in range(len):
        hash = (hash ^ <uint8_t> name[i]) * prime
    return hash ^ (hash >> 32)


cdef size_t fit_name(char *out, const char *name, size_t len, uint64_t hash) noexcept nogil:
    cdef const char *digits = "0123456789abcdef"
    cdef int i
    if len < MAPPING_NAME:
        memcpy(out, name, len)
        out[len] = 0
        return len
    memcpy(out, name, NAME_CUT)
    out[NAME_CUT] = b"~"
    for i in range(16):
        out[NAME_CUT + 1 + i] = digits[(hash >> (60 - 4 * i)) & 15]
    out[NAME_CUT + 17] = 0
    return NAME_CUT + 17


# Memory for a row that starts a chunk; the one before it brought the rest.
cdef int extend_rows(mapping_t *m, uint32_t oid) noexcept nogil:
    cdef uint64_t start = oid * sizeof(counters_t)
    cdef uint64_t chunk = (start + sizeof(counters_t) - 1) & ~<uint64_t> (CHUNK - 1)
    cdef uint64_t object_at = oid * sizeof(object_t)
    cdef uint32_t slot
    if object_at & (CHUNK - 1) == 0 and give_memory(m, MAPPING_OBJECTS_AT + object_at, CHUNK) != 0:
        return -1
    if chunk < start:
        return 0
    for slot in range(0, MAPPING_WORKERS + 1):
        if slot != 0 and not mapping_worker(m, slot).reserved_memory:
            continue
        if give_memory(
            m, MAPPING_COUNTERS_AT + <uint64_t> slot * MAPPING_OBJECTS * sizeof(counters_t) + chunk, CHUNK
        ) != 0:
            return -1
    return 0


# Nothing counts on this id any more: no generation in use names it and no connection is booked on it.
cdef bint is_forgotten(mapping_t *m, uint32_t oid, uint64_t oldest) noexcept nogil:
    cdef counters_t sum
    if mapping_object(m, oid).generation >= oldest:
        return False
    mapping_sum(m, oid, &sum)
    return sum.cur == 0 and sum.idle == 0


cdef void forget(mapping_t *m, uint32_t oid) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    cdef uint32_t *link = bucket_of(m, o.hash)
    cdef uint32_t slot
    while link[0] != oid:
        link = &mapping_object(m, link[0]).chain
    link[0] = o.chain
    for slot in range(0, MAPPING_WORKERS + 1):
        if slot == 0 or has_rows(m, slot):
            memset(mapping_counters(m, slot, oid), 0, sizeof(counters_t))
    memset(o, 0, sizeof(object_t))
    o.chain = m.free_objects
    m.free_objects = oid


# All ids are given: take back what no generation names. Children first, and a parent only when it has none
# left, for its id is part of their identity.
cdef void collect(mapping_t *m) noexcept nogil:
    cdef uint64_t oldest = mapping_oldest(m)
    cdef uint32_t oid
    cdef object_t *o
    for oid in range(1, <uint32_t> m.objects + 1):
        o = mapping_object(m, oid)
        if o.kind != OBJECT_FREE and o.parent != 0 and is_forgotten(m, oid, oldest):
            forget(m, oid)
    for oid in range(1, <uint32_t> m.objects + 1):
        o = mapping_object(m, oid)
        if o.kind != OBJECT_FREE and o.parent != 0:
            mapping_object(m, o.parent).parents = 1
    for oid in range(1, <uint32_t> m.objects + 1):
        o = mapping_object(m, oid)
        if o.kind != OBJECT_FREE and not o.parents and is_forgotten(m, oid, oldest):
            forget(m, oid)
        else:
            o.parents = 0


cdef uint32_t mapping_register(
    mapping_t *m, uint8_t kind, uint32_t parent, const char *name, size_t len
) noexcept nogil:
    cdef uint64_t hash = hash_of(kind, parent, name, len)
    cdef char fitted[MAPPING_NAME]
    cdef uint32_t *bucket = bucket_of(m, hash)
    cdef uint32_t oid
    cdef object_t *o
    len = fit_name(fitted, name, len, hash)
    oid = bucket[0]
    while oid != 0:
        o = mapping_object(m, oid)
        if o.hash == hash and o.kind == kind and o.parent == parent and memcmp(o.name, fitted, len + 1) == 0:
            o.generation = max(o.generation, lb_load_u64(&m.generation) + 1)
            return oid
        oid = o.chain
    if m.objects + 1 >= MAPPING_OBJECTS and m.free_objects == 0:
        collect(m)
    if m.free_objects != 0:
        oid = m.free_objects
        o = mapping_object(m, oid)
        m.free_objects = o.chain
    elif m.objects + 1 >= MAPPING_OBJECTS:
        set_errno(ENOSPC)
        return 0
    else:
        oid = <uint32_t> m.objects + 1
        if extend_rows(m, oid) != 0:
            return 0
        o = mapping_object(m, oid)
        m.objects += 1
    if lock_init(&o.lock) != 0:
        set_errno(ENOSPC)
        return 0
    o.kind = kind
    o.parent = parent
    o.hash = hash
    o.generation = lb_load_u64(&m.generation) + 1
    memcpy(o.name, fitted, len + 1)
    o.chain = bucket[0]
    bucket[0] = oid
    return oid


# ---- the arena ----


cdef inline hole_t *hole_at(mapping_t *m, uint64_t at) noexcept nogil:
    return <hole_t *> (<char *> m + at)


# Give memory to a part of a hole, all zero. Where it is large its pages are taken away first, so that nobody writes gigabytes;
# not the one of the hole's own words, which must outlive a failure.
cdef int give_zeros(mapping_t *m, uint64_t hole, uint64_t at, uint64_t size) noexcept nogil:
    cdef uint64_t start = (max(at, hole + sizeof(hole_t)) + PAGE - 1) & ~<uint64_t> (PAGE - 1)
    cdef uint64_t end = (at + size) & ~<uint64_t> (PAGE - 1)
    if (
        size <= HOLE_KEPT
        or fallocate(
            <int> m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, <long> start, <long> (end - start)
        ) != 0
    ):
        start = at + size
        end = start
    if give_memory(m, at, size) != 0:
        return -1
    memset(<char *> m + at, 0, start - at)
    memset(<char *> m + end, 0, at + size - end)
    return 0


cdef uint64_t mapping_allocate(mapping_t *m, uint64_t size) noexcept nogil:
    cdef uint64_t *link = &m.arena_holes
    cdef uint64_t at, next_, left
    cdef hole_t *hole
    size = (size + ALIGN - 1) & ~<uint64_t> (ALIGN - 1)
    if size == 0 or size > MAPPING_ARENA:
        set_errno(ENOSPC)
        return 0
    while link[0] != 0:
        hole = hole_at(m, link[0])
        if hole.size >= size:
            # From its end, so that what is left keeps its place in the chain.
            at = link[0] + hole.size - size
            next_ = hole.next
            left = hole.size - size
            if give_zeros(m, link[0], at, size) != 0:
                return 0
            if left == 0:
                link[0] = next_
            else:
                hole.size = left
            return at
        link = &hole.next
    if size > MAPPING_ARENA - m.arena_used:
        set_errno(ENOSPC)
        return 0
    at = MAPPING_ARENA_AT + m.arena_used
    if give_memory(m, at, size) != 0:
        return 0
    m.arena_used += size
    return at


cdef void mapping_release(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil:
    cdef uint64_t *link = &m.arena_holes
    cdef uint64_t before = 0, start, end
    cdef hole_t *hole
    size = (size + ALIGN - 1) & ~<uint64_t> (ALIGN - 1)
    LB_ASSERT(at >= MAPPING_ARENA_AT and at + size <= MAPPING_ARENA_AT + m.arena_used)
    while link[0] != 0 and link[0] < at:
        before = link[0]
        link = &hole_at(m, before).next
    LB_ASSERT(before == 0 or before + hole_at(m, before).size <= at)
    LB_ASSERT(link[0] == 0 or at + size <= link[0])
    hole = hole_at(m, at)
    hole.next = link[0]
    hole.size = size
    link[0] = at
    if hole.next == at + size:
        hole.size += hole_at(m, hole.next).size
        hole.next = hole_at(m, hole.next).next
    if before != 0 and before + hole_at(m, before).size == at:
        hole_at(m, before).size += hole.size
        hole_at(m, before).next = hole.next
        at = before
        hole = hole_at(m, before)
    if hole.size > HOLE_KEPT:
        # Only a saving: when it fails the pages stay.
        start = (at + sizeof(hole_t) + PAGE - 1) & ~<uint64_t> (PAGE - 1)
        end = (at + hole.size) & ~<uint64_t> (PAGE - 1)
        fallocate(
            <int> m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, <long> start, <long> (end - start)
        )


# ---- counters ----


# Whether this word of the row is a sum: neither a gauge, nor a maximum, nor a time.
cdef inline bint is_sum(const counters_t *row, size_t word) noexcept nogil:
    cdef const void *at = <const uint64_t *> row + word
    return at != &row.cur and at != &row.cur_max and at != &row.idle and at != &row.last_ms


cdef void mapping_sum(mapping_t *m, uint32_t oid, counters_t *out) noexcept nogil:
    cdef uint64_t *sums = <uint64_t *> out
    cdef uint64_t *words
    cdef counters_t *row
    cdef uint32_t slot
    cdef uint64_t cur_max = 0, last_ms = 0
    cdef object_t *o = mapping_object(m, oid)
    cdef size_t i
    memset(out, 0, sizeof(counters_t))
    for slot in range(0, MAPPING_WORKERS + 1):
        if slot != 0 and not has_rows(m, slot):
            continue
        row = mapping_counters(m, slot, oid)
        words = <uint64_t *> row
        for i in range(SHARED_FIELDS):
            sums[i] += lb_load_relaxed_u64(&words[i])
        cur_max = max(cur_max, lb_load_relaxed_u64(&row.cur_max))
        last_ms = max(last_ms, lb_load_relaxed_u64(&row.last_ms))
    out.cur_max = max(cur_max, lb_load_relaxed_u64(<uint64_t *> &o.cur_max))
    if out.cur > 0:
        out.cur_max = max(out.cur_max, <uint64_t> out.cur)
    out.last_ms = last_ms


cdef uint64_t mapping_rate(mapping_t *m, uint32_t oid, int which, uint64_t now_ms) noexcept nogil:
    cdef uint32_t second = <uint32_t> (now_ms // 1000)
    cdef uint64_t now = 0, before = 0
    cdef counters_t *row
    cdef rate_t *r
    cdef uint32_t slot
    for slot in range(1, MAPPING_WORKERS + 1):
        if not has_rows(m, slot):
            continue
        row = mapping_counters(m, slot, oid)
        r = &row.sess_rate if which == RATE_SESSIONS else &row.req_rate
        if r.second == second:
            now += r.now
            before += r.before
        elif r.second + 1 == second:
            before += r.now
    return now + before * (1000 - now_ms % 1000) // 1000


cdef void mapping_clear(mapping_t *m, bint all) noexcept nogil:
    cdef counters_t sum
    cdef counters_t *row
    cdef uint64_t *words
    cdef uint64_t *sums = <uint64_t *> &sum
    cdef uint32_t oid, slot
    cdef object_t *o
    cdef size_t i
    for oid in range(1, <uint32_t> m.objects + 1):
        o = mapping_object(m, oid)
        if o.kind == OBJECT_FREE:
            continue
        for slot in range(0, MAPPING_WORKERS + 1):
            if slot != 0 and not has_rows(m, slot):
                continue
            row = mapping_counters(m, slot, oid)
            # A worker that raises it at this moment writes its present value over ours, and is right.
            lb_store_relaxed_u64(&row.cur_max, lb_load_relaxed_u64(<uint64_t *> &row.cur))
        gauge_take(m, o)
        gauge_repair(m, o)
        o.cur_max = o.cur
        lock_give(&o.lock)
        if not all:
            continue
        mapping_sum(m, oid, &sum)
        row = mapping_counters(m, 0, oid)
        words = <uint64_t *> row
        for i in range(SHARED_FIELDS):
            if is_sum(row, i):
                words[i] -= sums[i]


# ---- gauges ----


cdef int64_t mapping_live(mapping_t *m, uint32_t oid) noexcept nogil:
    cdef uint32_t slot
    cdef int64_t cur = 0
    for slot in range(1, MAPPING_WORKERS + 1):
        if has_rows(m, slot):
            cur += mapping_counters(m, slot, oid).cur
    return cur


cdef void gauge_repair(mapping_t *m, object_t *o) noexcept nogil:
    cdef int64_t cur = mapping_live(m, <uint32_t> (o - mapping_object(m, 0)))
    o.cur = cur
    if o.cur_max < cur:
        o.cur_max = cur


cdef inline void gauge_take(mapping_t *m, object_t *o) noexcept nogil:
    cdef int got = lock_take(&o.lock)
    LB_ASSERT(got != LOCK_LOST)
    if UNLIKELY(got == LOCK_BROKEN):
        gauge_repair(m, o)
        lock_repaired(&o.lock)


cdef int gauge_enter(mapping_t *m, uint32_t slot, uint32_t oid) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    cdef counters_t *row = mapping_counters(m, slot, oid)
    cdef uint64_t limit
    gauge_take(m, o)
    LB_KILL_POINT("gauge.locked")
    limit = lb_load_u64(&o.limit)
    if limit != 0 and o.cur >= <int64_t> limit:
        o.waiting |= <uint64_t> 1 << (slot - 1)
        lock_give(&o.lock)
        return -1
    # The row first: it is the truth.
    row.cur += 1
    LB_KILL_POINT("gauge.row")
    o.cur += 1
    if o.cur > o.cur_max:
        o.cur_max = o.cur
    LB_KILL_POINT("gauge.counted")
    lock_give(&o.lock)
    return 0


# Under the lock: who waits and may try again.
cdef inline uint64_t take_waiting(object_t *o) noexcept nogil:
    cdef uint64_t limit = lb_load_u64(&o.limit)
    cdef uint64_t bits = o.waiting
    if bits == 0 or (limit != 0 and o.cur >= <int64_t> limit):
        return 0
    o.waiting = 0
    return bits


cdef uint64_t gauge_leave(mapping_t *m, uint32_t slot, uint32_t oid) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    cdef counters_t *row = mapping_counters(m, slot, oid)
    cdef uint64_t bits
    gauge_take(m, o)
    LB_ASSERT(row.cur > 0)
    row.cur -= 1
    LB_KILL_POINT("gauge.left")
    o.cur -= 1
    bits = take_waiting(o)
    lock_give(&o.lock)
    return bits


cdef uint64_t gauge_limit(mapping_t *m, uint32_t oid, uint64_t limit) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    cdef uint64_t bits
    gauge_take(m, o)
    lb_store_u64(&o.limit, limit)
    bits = take_waiting(o)
    lock_give(&o.lock)
    return bits


cdef uint64_t mapping_bury(mapping_t *m, uint32_t slot) noexcept nogil:
    cdef worker_t *w = mapping_worker(m, slot)
    cdef uint64_t bits = 0
    cdef uint64_t *words
    cdef uint64_t *base_words
    cdef counters_t *row
    cdef counters_t *base
    cdef object_t *o
    cdef uint32_t oid
    cdef size_t i
    for oid in range(1, <uint32_t> m.objects + 1):
        o = mapping_object(m, oid)
        if o.kind == OBJECT_FREE:
            continue
        row = mapping_counters(m, slot, oid)
        base = mapping_counters(m, 0, oid)
        words = <uint64_t *> row
        base_words = <uint64_t *> base
        for i in range(SHARED_FIELDS):
            if is_sum(row, i):
                base_words[i] += words[i]
        base.cur_max = max(base.cur_max, row.cur_max)
        base.last_ms = max(base.last_ms, row.last_ms)
        gauge_take(m, o)
        memset(row, 0, sizeof(counters_t))
        o.waiting &= ~(<uint64_t> 1 << (slot - 1))
        gauge_repair(m, o)
        bits |= take_waiting(o)
        lock_give(&o.lock)
    w.pid = 0
    w.eventfd = 0
    w.connections = 0
    lb_store_u64(&w.generation, 0)
    lb_store_u64(&w.oldest, 0)
    lb_store_u64(&w.beat_ms, 0)
    lb_store_u32(&w.state, WORKER_EMPTY)
    return bits
