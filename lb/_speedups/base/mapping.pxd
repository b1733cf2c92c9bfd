# The shared mapping: state that outlives generations and workers.
#
# One memfd, created by the supervisor, sparse (9.8 GiB of addresses, a few hundred KiB of memory), inherited
# by every worker and mapped at any address: nothing inside is a pointer. The layout is fixed, see
# MAPPING_*_AT. Only the supervisor allocates, and it fallocates what a plan uses before the plan is sent:
# object ids and their rows in mapping_register, a worker's rows and ring in mapping_reserve, the arena in
# mapping_allocate. Looking at a hole of the file gives it memory too, so rows of slots that never had a
# worker are not looked at.
#
# Objects (process, frontend, listener, backend, server) have ids given by name and never reused while a
# generation refers to them. Counters are rows: one per worker and object, written by that worker with plain
# stores; row 0 is the base row, into which the rows of dead workers are folded. A gauge (`cur` of an object
# with a limit) is the sum of the live rows' `cur`, kept under the object's lock; the rows are the truth, and
# whoever finds the lock broken adds them up.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.base.lock cimport lb_lock_t


cdef enum:
    MAPPING_MAGIC = 0x6c626d61
    MAPPING_VERSION = 2
    MAPPING_WORKERS = 64         # worker slots 1..64 (0 is the base row)
    MAPPING_OBJECTS = 65536
    MAPPING_NAME = 104           # bytes of a name with its NUL: "kind:frontend/listener"
    MAPPING_BUCKETS = 4096       # chains of the name registry
    MAPPING_RING = 4194304       # bytes of a log ring with its header
    MAPPING_ARENA = 8589934592   # bytes of the arena: balances, stick tables, ledgers; only what is used has memory

cdef enum:                       # layout: bytes from the start
    MAPPING_WORKERS_AT = 4096            # worker_t[65], by slot
    MAPPING_BUCKETS_AT = 24576           # uint32_t[MAPPING_BUCKETS]: first object of a chain
    MAPPING_SUSPECTS_AT = 40960          # uint64_t[MAPPING_OBJECTS / 64]: see base/observation.pxd
    MAPPING_OBJECTS_AT = 65536           # object_t[MAPPING_OBJECTS], by oid
    MAPPING_ARENA_AT = 16842752
    MAPPING_RINGS_AT = 8606777344        # log rings of slots 1..64
    MAPPING_COUNTERS_AT = 8875212800     # counters_t[65][MAPPING_OBJECTS], by slot and oid
    MAPPING_BYTES = 10510991360

cdef enum:                       # object_t.kind
    OBJECT_FREE = 0
    OBJECT_PROCESS
    OBJECT_FRONTEND
    OBJECT_LISTENER
    OBJECT_BACKEND
    OBJECT_SERVER

cdef enum:                       # worker_t.state
    WORKER_EMPTY = 0
    WORKER_STARTING
    WORKER_RUNNING
    WORKER_DRAINING
    WORKER_DEAD

ctypedef struct worker_t:        # 256 bytes
    uint32_t pid
    uint32_t state               # atomic: WORKER_*
    uint32_t eventfd             # number of its eventfd, the same in every process; 0 = none. Of slot 0: the supervisor's
    uint32_t reserved_memory     # atomic, supervisor: 1 = its rows have memory and its ring is ready
    uint64_t beat_ms             # atomic: CLOCK_MONOTONIC ms of its last loop iteration
    uint64_t generation          # atomic: the generation it uses
    uint64_t connections         # client connections it holds
    uint64_t oldest              # atomic: the oldest generation that a stream of it still uses, 0 = none yet
    uint8_t reserved[208]

ctypedef struct object_t:        # 256 bytes: an object's identity and its shared gauge
    lb_lock_t lock               # guards cur and the rows' cur of this object, when it has a limit
    int64_t cur                  # under lock: sum of the live rows' `cur`
    int64_t cur_max              # under lock: the most `cur` has been
    uint64_t limit               # atomic: maxconn, 0 = none
    uint8_t kind                 # OBJECT_*
    uint8_t parents              # supervisor: scratch of the search for ids to reuse
    uint16_t pad
    uint32_t parent              # oid: of a server its backend, of a listener its frontend
    uint64_t generation          # last generation that names it
    uint64_t waiting             # atomic: bit per worker slot - 1 whose accepting is paused on this limit
    char name[MAPPING_NAME]      # a longer one is cut and ends in ~ and its hash
    uint64_t hash                # of kind, parent and name
    uint32_t chain               # next object of its bucket, or of the free ids
    # servers; see base/observation.pxd
    uint32_t failures            # atomic, workers: connections that failed in a row
    uint32_t failure_limit       # atomic, supervisor: how many are told, 0 = nothing is counted
    uint8_t reserved[20]

ctypedef struct rate_t:          # events of the second that runs and of the one before it; see mapping_rate
    uint32_t second              # CLOCK_MONOTONIC
    uint32_t now
    uint32_t before
    uint32_t pad

ctypedef struct counters_t:      # 384 bytes: one row
    int64_t cur                  # connections (frontend, listener), streams (backend, server) now
    uint64_t cur_max
    uint64_t conn_total          # accepted connections; server: connections opened
    uint64_t sess_total          # sessions (tcp) or streams that chose this object
    uint64_t req_total           # HTTP requests
    uint64_t bytes_in            # from clients, as read
    uint64_t bytes_out           # to clients, as written
    uint64_t status[6]           # responses 1xx..5xx, other
    uint64_t denied_req
    uint64_t denied_resp
    uint64_t err_req             # client side faults: bad requests, aborts, timeouts before a request was complete
    uint64_t err_conn            # server side: connections that failed
    uint64_t err_resp            # server side: bad or cut responses
    uint64_t retries
    uint64_t redispatches
    uint64_t client_aborts
    uint64_t server_aborts
    uint64_t internal_errors
    uint64_t chosen              # times the balance chose it
    uint64_t connects            # attempts to connect
    uint64_t reuses              # requests on a reused server connection
    uint64_t idle                # idle server connections now
    uint64_t intercepted         # answered by lb itself
    uint64_t queue_ms            # sums over finished streams, and their number
    uint64_t connect_ms
    uint64_t response_ms
    uint64_t total_ms
    uint64_t timed
    uint64_t last_ms             # CLOCK_MONOTONIC ms of the last session
    uint64_t log_dropped         # records the full ring refused
    uint64_t mirrored            # frontend, backend copied to: copies of requests that were sent
    uint64_t mirror_dropped      # the same: copies that were wanted and not sent
    uint64_t datagrams_in        # mode udp: from clients
    uint64_t datagrams_out       # to clients
    uint64_t datagrams_dropped   # either way: no server, no room, cut, or the socket took no more
    uint64_t sess_evicted        # sessions ended to make room for newer ones
    rate_t sess_rate             # counted where a plan asks for them: sessions (frontend), streams that chose this object
    rate_t req_rate              # HTTP requests
    uint64_t denied_conn         # connections that connection_rules refused
    uint64_t denied_sess         # that session_rules refused
    uint64_t reserved[1]

ctypedef struct mapping_t:       # the header; addresses by the functions below
    uint32_t magic
    uint32_t version
    uint64_t size                # bytes of the mapping
    uint64_t generation          # atomic: the committed generation; workers switch when it moves
    uint64_t start_ms            # CLOCK_MONOTONIC ms of the supervisor's start
    uint64_t start_us            # CLOCK_REALTIME us of it
    uint32_t supervisor          # pid
    uint32_t stopping            # atomic: 1 = draining
    uint64_t objects             # ids given so far (ids are 1..objects)
    uint64_t arena_used          # supervisor: bytes of the arena ever handed out
    uint64_t arena_holes         # supervisor: offset of the first released region, 0 = none; in order of address
    uint32_t free_objects        # supervisor: first id that can be given again, 0 = none
    uint32_t fd                  # supervisor: number of the memfd in it
    uint64_t gates               # supervisor: place of the first balance_gate_t, 0 = none; see policy/balance.pxd

# Supervisor: make the memfd and map it; NULL with errno. The descriptor is close-on-exec and sealed against
# resizing.
cdef mapping_t *mapping_create(int *fd) noexcept nogil

# Map an existing one; NULL with errno (EPROTO: not ours, or another version).
cdef mapping_t *mapping_attach(int fd) noexcept nogil
cdef void mapping_detach(mapping_t *m) noexcept nogil

cdef inline worker_t *mapping_worker(mapping_t *m, uint32_t slot) noexcept nogil:
    return (<worker_t *> (<char *> m + MAPPING_WORKERS_AT)) + slot

cdef inline object_t *mapping_object(mapping_t *m, uint32_t oid) noexcept nogil:
    return (<object_t *> (<char *> m + MAPPING_OBJECTS_AT)) + oid

cdef inline counters_t *mapping_counters(mapping_t *m, uint32_t slot, uint32_t oid) noexcept nogil:
    return (<counters_t *> (<char *> m + MAPPING_COUNTERS_AT)) + (<uint64_t> slot * MAPPING_OBJECTS + oid)

cdef inline char *mapping_ring(mapping_t *m, uint32_t slot) noexcept nogil:
    return <char *> m + MAPPING_RINGS_AT + <uint64_t> (slot - 1) * MAPPING_RING

# Supervisor, before worker `slot` starts: give its rows and its ring memory, and make the ring an empty one.
# 0, or -1 with errno. Again is harmless: the ring of a slot's next worker goes on where the last one ended.
cdef int mapping_reserve(mapping_t *m, uint32_t slot) noexcept nogil

# Supervisor. The id of this kind, parent and name, taking a new one when needed, with memory for its rows; 0
# with errno (ENOSPC: all ids are in use). The object belongs to the coming generation until it is marked. Ids
# that no generation in use names are given again only when all are taken.
cdef uint32_t mapping_register(
    mapping_t *m, uint8_t kind, uint32_t parent, const char *name, size_t len
) noexcept nogil

# Supervisor. Offset of `size` fresh zeroed bytes of the arena, fallocated and 64-byte aligned; 0 with errno
# when full.
cdef uint64_t mapping_allocate(mapping_t *m, uint64_t size) noexcept nogil
cdef void mapping_release(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil

# Count an event of this worker.
cdef inline void rate_count(rate_t *r, uint64_t now_ms) noexcept nogil:
    cdef uint32_t second = <uint32_t> (now_ms // 1000)
    if r.second != second:
        r.before = r.now if r.second + 1 == second else 0
        r.now = 0
        r.second = second
    r.now += 1

cdef enum:                       # which of an object's rates
    RATE_SESSIONS = 0
    RATE_REQUESTS

# Events in the last 1,000 ms over all workers: those of this second, and of the one before the part that is not older. A glance:
# a worker that counts at this moment may be seen half.
cdef uint64_t mapping_rate(mapping_t *m, uint32_t oid, int which, uint64_t now_ms) noexcept nogil

# Sum of an object's rows over the base row and all workers. Maxima and times are not summed: cur_max is the
# gauge's, and for an object without one the largest that a row or this sum shows; last_ms is the latest.
cdef void mapping_sum(mapping_t *m, uint32_t oid, counters_t *out) noexcept nogil

# Supervisor. Make every maximum the present value, and with `all` every sum zero. Rows of workers are not
# written (a worker may be adding to them): the base row takes the difference, modulo 2^64.
cdef void mapping_clear(mapping_t *m, bint all) noexcept nogil

# Supervisor, after worker `slot` has ended: fold its rows into row 0, clear them, set every gauge to the sum
# of its live rows (under the object's lock) and empty the slot. Returns the bits of the waiting workers to
# wake.
cdef uint64_t mapping_bury(mapping_t *m, uint32_t slot) noexcept nogil

# Sum of the live rows' `cur` of an object. Whoever needs it exact holds the lock under which they are written.
cdef int64_t mapping_live(mapping_t *m, uint32_t oid) noexcept nogil

# `errno` by function: an assignment to the name would make it one of the module's.
cdef void set_errno(int error) noexcept nogil

# Shared gauge of an object with a limit: add to the row and the total together. gauge_enter refuses (-1) at
# the limit and then marks the worker as waiting; gauge_leave returns the bits of the waiting workers to wake
# (0 = none) and clears them.
cdef int gauge_enter(mapping_t *m, uint32_t slot, uint32_t oid) noexcept nogil
cdef uint64_t gauge_leave(mapping_t *m, uint32_t slot, uint32_t oid) noexcept nogil

# Supervisor. Set the limit (0 = none); returns the bits of the waiting workers to wake and clears them.
cdef uint64_t gauge_limit(mapping_t *m, uint32_t oid, uint64_t limit) noexcept nogil

# The oldest generation that any worker may still use: what older ones name can be released.
cdef uint64_t mapping_oldest(mapping_t *m) noexcept nogil

# Write the supervisor's eventfd, if it has one: that of slot 0.
cdef void mapping_alarm(mapping_t *m) noexcept nogil

# Write the eventfds of these workers (bit per slot - 1).
cdef void mapping_wake(mapping_t *m, uint64_t bits) noexcept nogil
