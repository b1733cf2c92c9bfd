from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from lb._speedups.base.mapping cimport (
    MAPPING_ARENA_AT, MAPPING_WORKERS, OBJECT_BACKEND, OBJECT_FREE,
    OBJECT_FRONTEND, OBJECT_LISTENER, OBJECT_PROCESS, OBJECT_SERVER, WORKER_DEAD, WORKER_DRAINING,
    WORKER_EMPTY, WORKER_RUNNING, WORKER_STARTING, counters_t, gauge_enter, gauge_leave, gauge_limit,
    mapping_attach, mapping_bury, mapping_clear, mapping_counters, mapping_create,
    mapping_detach, mapping_object, mapping_oldest, mapping_register, mapping_reserve, mapping_sum,
    mapping_t, mapping_wake, mapping_worker, object_t, worker_t,
)
from lb._speedups.base.observation cimport (
    observation_bad, observation_good, observation_limit, observation_take,
)
from lb._speedups.policy.balance cimport (
    BALANCE_ALL_BACKUPS, BALANCE_FIXED, BALANCE_HASH, BALANCE_LEASTCONN, BALANCE_POSITIONS, BALANCE_RANDOM, BALANCE_ROUNDROBIN,
    BALANCE_STATIC_RR, TABLE_MAGLEV, TABLE_NONE, TABLE_RING, TABLE_SLOTS, TABLE_SUMS, balance_entries,
    balance_entry_t, balance_leave, balance_make, balance_pick, balance_recount, balance_recount_all,
    balance_release, balance_set_usable, balance_set_weight, balance_spec_t, balance_t,
)
from lb._speedups.policy.limit cimport OBJECT_LIMIT


cdef extern from "lb.h" nogil:
    uint32_t lb_load_u32(const uint32_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)
    uint64_t lb_load_u64(const uint64_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)


# For Python, the names of base/mapping.pxd and policy/balance.pxd.
globals().update(
    MAPPING_WORKERS=MAPPING_WORKERS,
    OBJECT_PROCESS=OBJECT_PROCESS,
    OBJECT_FRONTEND=OBJECT_FRONTEND,
    OBJECT_LISTENER=OBJECT_LISTENER,
    OBJECT_BACKEND=OBJECT_BACKEND,
    OBJECT_SERVER=OBJECT_SERVER,
    OBJECT_LIMIT=OBJECT_LIMIT,
    WORKER_EMPTY=WORKER_EMPTY,
    WORKER_STARTING=WORKER_STARTING,
    WORKER_RUNNING=WORKER_RUNNING,
    WORKER_DRAINING=WORKER_DRAINING,
    WORKER_DEAD=WORKER_DEAD,
    BALANCE_ROUNDROBIN=BALANCE_ROUNDROBIN,
    BALANCE_STATIC_RR=BALANCE_STATIC_RR,
    BALANCE_LEASTCONN=BALANCE_LEASTCONN,
    BALANCE_RANDOM=BALANCE_RANDOM,
    BALANCE_HASH=BALANCE_HASH,
    TABLE_NONE=TABLE_NONE,
    TABLE_SLOTS=TABLE_SLOTS,
    TABLE_RING=TABLE_RING,
    TABLE_MAGLEV=TABLE_MAGLEV,
    TABLE_SUMS=TABLE_SUMS,
)


cdef uint64_t now_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1000 + <uint64_t> now.tv_nsec // 1000000


cdef dict row_dict(const counters_t *row):
    return {
        "cur": row.cur,
        "cur_max": row.cur_max,
        "conn_total": row.conn_total,
        "sess_total": row.sess_total,
        "req_total": row.req_total,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "status_1xx": row.status[0],
        "status_2xx": row.status[1],
        "status_3xx": row.status[2],
        "status_4xx": row.status[3],
        "status_5xx": row.status[4],
        "status_other": row.status[5],
        "denied_req": row.denied_req,
        "denied_resp": row.denied_resp,
        "err_req": row.err_req,
        "err_conn": row.err_conn,
        "err_resp": row.err_resp,
        "retries": row.retries,
        "redispatches": row.redispatches,
        "client_aborts": row.client_aborts,
        "server_aborts": row.server_aborts,
        "internal_errors": row.internal_errors,
        "chosen": row.chosen,
        "connects": row.connects,
        "reuses": row.reuses,
        "idle": row.idle,
        "intercepted": row.intercepted,
        "queue_ms": row.queue_ms,
        "connect_ms": row.connect_ms,
        "response_ms": row.response_ms,
        "total_ms": row.total_ms,
        "timed": row.timed,
        "last_ms": row.last_ms,
        "log_dropped": row.log_dropped,
        "mirrored": row.mirrored,
        "mirror_dropped": row.mirror_dropped,
        "datagrams_in": row.datagrams_in,
        "datagrams_out": row.datagrams_out,
        "datagrams_dropped": row.datagrams_dropped,
        "sess_evicted": row.sess_evicted,
        "denied_conn": row.denied_conn,
        "denied_sess": row.denied_sess,
    }


cdef void drop(Mapping self) noexcept:
    if self.m != NULL:
        mapping_detach(self.m)
        self.m = NULL
    if self.owns and self.descriptor >= 0:
        close(self.descriptor)
    self.descriptor = -1


cdef mapping_t *mapping_of(Mapping self) except NULL:
    if self.m == NULL:
        raise ValueError("the mapping is closed")
    return self.m


cdef object_t *object_of(Mapping self, oid) except NULL:
    cdef mapping_t *m = mapping_of(self)
    cdef object_t *o
    if not 1 <= oid <= m.objects:
        raise KeyError(oid)
    o = mapping_object(m, oid)
    if o.kind == OBJECT_FREE:
        raise KeyError(oid)
    return o


cdef worker_t *worker_of(Mapping self, slot) except NULL:
    cdef mapping_t *m = mapping_of(self)
    if not 1 <= slot <= MAPPING_WORKERS:
        raise IndexError(slot)
    return mapping_worker(m, slot)


cdef balance_t *balance_of(Mapping self, uint64_t at) except NULL:
    cdef mapping_t *m = mapping_of(self)
    if at < MAPPING_ARENA_AT or at >= MAPPING_ARENA_AT + m.arena_used or at % 64:
        raise ValueError(f"no balance at {at}")
    return <balance_t *> (<char *> m + at)


cdef class Mapping:
    def __cinit__(self):
        self.m = NULL
        self.descriptor = -1

    def __init__(self):
        raise TypeError("use Mapping.create() or Mapping.attach(fd)")

    def __dealloc__(self):
        drop(self)

    @classmethod
    def create(cls):
        cdef Mapping self = cls.__new__(cls)
        self.m = mapping_create(&self.descriptor)
        if self.m == NULL:
            self.descriptor = -1
            PyErr_SetFromErrno(OSError)
        self.owns = True
        return self

    @classmethod
    def attach(cls, int fd):
        cdef Mapping self = cls.__new__(cls)
        self.m = mapping_attach(fd)
        if self.m == NULL:
            PyErr_SetFromErrno(OSError)
        self.descriptor = fd
        return self

    def close(self):
        if self.users:
            raise RuntimeError(f"the mapping is in use by {self.users} others")
        drop(self)

    @property
    def fd(self):
        return self.descriptor

    @property
    def address(self):
        mapping_of(self)
        return <uintptr_t> self.m

    @property
    def generation(self):
        mapping_of(self)
        return lb_load_u64(&self.m.generation)

    @generation.setter
    def generation(self, uint64_t value):
        mapping_of(self)
        lb_store_u64(&self.m.generation, value)

    @property
    def oldest(self):
        return mapping_oldest(mapping_of(self))

    @property
    def stopping(self):
        mapping_of(self)
        return lb_load_u32(&self.m.stopping) != 0

    @stopping.setter
    def stopping(self, bint value):
        mapping_of(self)
        lb_store_u32(&self.m.stopping, value)

    @property
    def start_ms(self):
        mapping_of(self)
        return self.m.start_ms

    @property
    def start_us(self):
        mapping_of(self)
        return self.m.start_us

    @property
    def supervisor(self):
        mapping_of(self)
        return self.m.supervisor

    # objects

    def register(self, uint8_t kind, uint32_t parent, str name):
        cdef bytes text = name.encode()
        cdef uint32_t oid
        mapping_of(self)
        if not OBJECT_PROCESS <= kind <= OBJECT_LIMIT:
            raise ValueError(f"unknown kind {kind}")
        oid = mapping_register(self.m, kind, parent, text, len(text))
        if oid == 0:
            PyErr_SetFromErrno(OSError)
        return oid

    def objects(self):
        cdef uint32_t oid
        mapping_of(self)
        return [
            oid for oid in range(1, <uint32_t> self.m.objects + 1)
            if mapping_object(self.m, oid).kind != OBJECT_FREE
        ]

    def name(self, oid):
        return (<bytes> object_of(self, oid).name).decode(errors="replace")

    def kind(self, oid):
        return object_of(self, oid).kind

    def parent(self, oid):
        return object_of(self, oid).parent

    def mark(self, oid, uint64_t generation):
        object_of(self, oid).generation = generation

    def marked(self, oid):
        return object_of(self, oid).generation

    def limit(self, oid):
        cdef object_t *o = object_of(self, oid)
        return lb_load_u64(&o.limit)

    def set_limit(self, oid, uint64_t n):
        object_of(self, oid)
        mapping_wake(self.m, gauge_limit(self.m, oid, n))

    # gauges and counters

    def gauge(self, oid):
        return object_of(self, oid).cur

    def enter(self, slot, oid):
        worker_of(self, slot)
        object_of(self, oid)
        return gauge_enter(self.m, slot, oid) == 0

    def leave(self, slot, oid):
        worker_of(self, slot)
        object_of(self, oid)
        mapping_wake(self.m, gauge_leave(self.m, slot, oid))

    def counters(self, oid):
        cdef counters_t sum
        object_of(self, oid)
        mapping_sum(self.m, oid, &sum)
        return row_dict(&sum)

    def counters_row(self, slot, oid):
        if slot != 0:
            worker_of(self, slot)
        object_of(self, oid)
        return row_dict(mapping_counters(self.m, slot, oid))

    def clear_counters(self, bint all=False):
        mapping_of(self)
        with nogil:
            mapping_clear(self.m, all)

    # observation

    def set_alarm(self, int eventfd):
        mapping_of(self)
        mapping_worker(self.m, 0).eventfd = <uint32_t> eventfd

    def observe(self, oid, uint32_t limit):
        object_of(self, oid)
        observation_limit(self.m, oid, limit)

    def failures(self, oid):
        return lb_load_u32(&object_of(self, oid).failures)

    def count_failure(self, oid):
        object_of(self, oid)
        observation_bad(self.m, oid)

    def count_success(self, oid):
        object_of(self, oid)
        observation_good(self.m, oid)

    def suspects(self):
        cdef uint32_t[64] oids
        cdef uint32_t i, number
        mapping_of(self)
        found = []
        while True:
            number = observation_take(self.m, oids, 64)
            if number == 0:
                return found
            for i in range(number):
                found.append(oids[i])

    # workers

    def worker(self, slot):
        cdef worker_t *w = worker_of(self, slot)
        return {
            "pid": w.pid,
            "state": lb_load_u32(&w.state),
            "eventfd": w.eventfd,
            "beat_ms": lb_load_u64(&w.beat_ms),
            "generation": lb_load_u64(&w.generation),
            "oldest": lb_load_u64(&w.oldest),
            "connections": lb_load_u64(&w.connections),
        }

    def reserve(self, slot):
        worker_of(self, slot)
        if mapping_reserve(self.m, slot) != 0:
            PyErr_SetFromErrno(OSError)

    def set_worker(self, slot, *, pid=None, state=None, eventfd=None):
        cdef worker_t *w = worker_of(self, slot)
        if state is not None and not WORKER_EMPTY <= state <= WORKER_DEAD:
            raise ValueError(f"unknown state {state}")
        if state == WORKER_STARTING:
            self.reserve(slot)
            w.connections = 0
            lb_store_u64(&w.generation, 0)
            lb_store_u64(&w.oldest, 0)
            lb_store_u64(&w.beat_ms, now_ms())
        if pid is not None:
            w.pid = pid
        if eventfd is not None:
            w.eventfd = eventfd
        if state is not None:
            lb_store_u32(&w.state, state)

    def beat(self, slot):
        cdef worker_t *w = worker_of(self, slot)
        lb_store_u64(&w.beat_ms, now_ms())

    def wake(self, slot):
        worker_of(self, slot)
        mapping_wake(self.m, <uint64_t> 1 << <int> (slot - 1))

    def bury(self, slot):
        cdef uint64_t bits
        cdef uint32_t number = slot
        worker_of(self, slot)
        with nogil:
            bits = mapping_bury(self.m, number)
            balance_recount_all(self.m)
        mapping_wake(self.m, bits)

    # balance

    def balance(
        self, oids, weights, uint64_t old_at=0, *, uint8_t algorithm=BALANCE_ROUNDROBIN, uint8_t table=TABLE_NONE,
        backups=(), identities=(), bint all_backups=False, bint positions=False, uint8_t draws=2, uint32_t bound=0,
        seed=0,
    ):
        cdef uint32_t size = len(oids)
        cdef balance_spec_t spec
        cdef uint64_t *memory
        cdef uint32_t *numbers
        cdef uint8_t *flags
        cdef uint64_t at
        mapping_of(self)
        if size == 0 or len(weights) != size:
            raise ValueError(f"{size} oids and {len(weights)} weights")
        if len(backups) not in (0, size) or len(identities) not in (0, size):
            raise ValueError(f"{size} oids, {len(backups)} backups and {len(identities)} identities")
        if not BALANCE_ROUNDROBIN <= algorithm <= BALANCE_HASH or not TABLE_NONE <= table <= TABLE_SUMS:
            raise ValueError(f"unknown algorithm {algorithm} or table {table}")
        if table in (TABLE_RING, TABLE_MAGLEV) and not positions and not identities:
            raise ValueError("members on a ring need identities")
        if old_at:
            balance_of(self, old_at)
        memory = <uint64_t *> calloc(size, sizeof(uint64_t) + 2 * sizeof(uint32_t) + 1)
        if memory == NULL:
            raise MemoryError
        numbers = <uint32_t *> (memory + size)
        flags = <uint8_t *> (numbers + 2 * size)
        try:
            for i, (oid, weight) in enumerate(zip(oids, weights, strict=True)):
                if not 0 <= weight <= 65535:
                    raise ValueError(f"weight {weight} is not in 0..65535")
                numbers[i] = oid
                numbers[size + i] = weight
            for i, backup in enumerate(backups):
                flags[i] = 1 if backup else 0
            for i, identity in enumerate(identities):
                memory[i] = identity
            spec.size = size
            spec.algorithm = algorithm
            spec.table = table
            spec.flags = (BALANCE_ALL_BACKUPS if all_backups else 0) | (BALANCE_POSITIONS if positions else 0)
            spec.draws = draws
            spec.bound = bound
            spec.oids = numbers
            spec.weights = numbers + size
            spec.backups = flags
            spec.identities = memory if identities else NULL
            spec.seed = seed
            with nogil:
                at = balance_make(self.m, &spec, old_at)
            if at == 0:
                PyErr_SetFromErrno(OSError)
        finally:
            free(memory)
        return at

    def release_balance(self, uint64_t at):
        balance_of(self, at)
        balance_release(self.m, at)

    def pick(self, uint64_t at, uint32_t avoid=0, uint64_t times=1, *, hash=None, uint32_t slot=0):
        cdef balance_t *b = balance_of(self, at)
        cdef counters_t *rows = NULL
        cdef bint keyed = hash is not None
        cdef uint32_t number = hash if keyed else 0
        cdef uint32_t oid = 0
        cdef uint64_t _
        if slot:
            worker_of(self, slot)
            rows = mapping_counters(self.m, slot, 0)
        with nogil:
            for _ in range(times):
                oid = balance_pick(b, avoid, keyed, number, rows)
        return oid

    def unpick(self, uint64_t at, uint32_t oid, uint32_t slot):
        cdef balance_t *b = balance_of(self, at)
        cdef uint32_t i
        worker_of(self, slot)
        for i in range(b.size):
            if balance_entries(b)[i].oid == oid:
                balance_leave(b, i, mapping_counters(self.m, slot, 0))
                return
        raise KeyError(oid)

    def recount(self, uint64_t at):
        balance_recount(balance_of(self, at))

    def set_usable(self, uint32_t oid, bint usable):
        cdef int failed
        object_of(self, oid)
        with nogil:
            failed = balance_set_usable(self.m, oid, usable)
        if failed:
            raise MemoryError

    def set_weight(self, uint32_t oid, uint32_t weight):
        cdef int failed
        object_of(self, oid)
        if weight > 65535:
            raise ValueError(f"weight {weight} is not in 0..65535")
        with nogil:
            failed = balance_set_weight(self.m, oid, weight)
        if failed == BALANCE_FIXED:
            return False
        if failed:
            raise MemoryError
        return True

    def members(self, uint64_t at):
        cdef balance_t *b = balance_of(self, at)
        cdef balance_entry_t *entries = balance_entries(b)
        cdef uint32_t i
        return [(entries[i].oid, entries[i].weight, entries[i].num // 2) for i in range(b.size)]

    def loads(self, uint64_t at):
        cdef balance_t *b = balance_of(self, at)
        cdef balance_entry_t *entries = balance_entries(b)
        cdef uint32_t i
        return {entries[i].oid: entries[i].load for i in range(b.size)}
