# Log rings: records from a worker to the supervisor's log thread, never waiting.
#
# One ring per worker slot in the mapping: a single producer (the worker of that slot) and a single consumer (the log
# thread). A record is an 8-byte header and its text, padded to 8. It never wraps: where it does not fit before the end
# of the ring, a filler record takes the rest and it starts at the front. `head` and `tail` count bytes for ever; the
# place in the ring is the count modulo `size`.
#
#     data  |  free  | tail: record | record | ... | head: being written |  free  |
#
# The producer writes text first and publishes `head` last, so a worker that dies between reserve and commit leaves a
# ring without that record and with all others; the next worker of the slot goes on in the same ring. A full ring
# refuses the record and counts it: a log that is not read never slows traffic.
#
# Each side keeps the other's count as it last saw it (`seen_*`) and looks again only when that says full or empty, so
# that the two cores do not pull the same cache line to and fro for every record.
#
# The consumer does not believe what it reads. A worker with a wild pointer may write anything here: a record that does
# not fit is never followed; everything up to `head` is skipped and counted in `broken`. `size` is for the caller to
# check before it looks.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum:
    LOGRING_DATA = 192          # offset of the data

cdef enum:                      # logrecord_t.len
    LOGRING_FILLER = 0xffffffff  # no text: the ring goes on at its front

cdef enum:                      # logrecord_t.target
    LOGRING_EVERY = 0xffff      # to every target

cdef enum:                      # logrecord_t.level
    LOGRING_SET = 8             # the severity is that of the low bits, 0 (the gravest) too

ctypedef struct logring_t:
    # producer
    uint64_t head               # atomic: bytes ever written
    uint64_t seen_tail          # `tail` as the producer last saw it
    uint64_t dropped            # atomic: records refused because the ring was full
    uint64_t pad0[5]
    # consumer
    uint64_t tail               # atomic: bytes ever read
    uint64_t seen_head          # `head` as the consumer last saw it
    uint64_t broken             # times the ring made no sense and was skipped up to `head`
    uint64_t pad1[5]
    # immutable after logring_init
    uint64_t size               # bytes of data, a multiple of 8
    uint64_t pad2[7]
    # data follows at LOGRING_DATA

ctypedef struct logrecord_t:    # 8 bytes
    uint32_t len                # bytes of the text, without padding
    uint16_t target             # number of the log target, or LOGRING_EVERY
    uint16_t level              # 0 = access record of its target's own severity, else syslog severity, with or without LOGRING_SET

# Make `bytes` bytes at `ring` (8-byte aligned) an empty ring. Before its producer and its consumer are started.
cdef void logring_init(char *ring, uint64_t bytes) noexcept nogil

# Producer, at a worker's birth: go on in the ring that the slot's last worker left. A ring that makes no sense, because
# that worker wrote over it, or that was never made, becomes an empty one; every other keeps its records.
cdef void logring_adopt(char *ring, uint64_t bytes) noexcept nogil

# Producer: room for a text of at most `max` bytes, or NULL when the ring is full (counted). Write it there, then
# commit; without a commit nothing has happened. `max` up to a half of the ring always fits in an empty one.
cdef char *logring_reserve(char *ring, uint32_t max) noexcept nogil

# Producer: publish the first `len` bytes of what was reserved (len <= max).
cdef void logring_commit(char *ring, uint32_t len, uint16_t target, uint16_t level) noexcept nogil

# Consumer: the text of the oldest record and its header, or NULL when there is none. It stays until logring_next.
cdef const char *logring_peek(char *ring, logrecord_t *record) noexcept nogil

# Consumer: free the record that logring_peek has just answered.
cdef void logring_next(char *ring, const logrecord_t *record) noexcept nogil
