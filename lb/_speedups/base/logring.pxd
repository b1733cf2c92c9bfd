# Log rings: records from a worker to the supervisor's writer thread, never waiting.
#
# One ring per worker slot in the mapping, single producer (the worker), single consumer (the drain thread). A record is
# a header and bytes, padded to 8; it never wraps (a filler record ends the ring). A full ring drops the record and
# counts it. Records of a dead worker stay readable: the producer publishes `head` after the bytes.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

ctypedef struct logring_t:
    uint64_t head                # atomic, producer: bytes ever written
    uint64_t pad0[7]
    uint64_t tail                # atomic, consumer: bytes ever read
    uint64_t pad1[7]
    uint64_t dropped             # producer: records refused
    uint64_t size                # bytes of `data`, a power of two or not, immutable
    uint64_t pad2[6]
    # data follows at 192

ctypedef struct logrecord_t:
    uint32_t len                 # bytes of the text, without padding; 0xffffffff = filler to the end of the ring
    uint16_t target              # number of the target; 0xffff = every target (lb's own messages)
    uint16_t level               # 0 access record, else syslog severity

cdef void logring_init(char *ring, uint64_t bytes) noexcept nogil

# Room for a record of at most `max` bytes, or NULL when the ring is full (counted). Write the text there, then commit.
cdef char *logring_reserve(char *ring, uint32_t max) noexcept nogil
cdef void logring_commit(char *ring, uint32_t len, uint16_t target, uint16_t level) noexcept nogil

# Consumer: the next record's text or NULL; logring_next frees it.
cdef const char *logring_peek(char *ring, logrecord_t *record) noexcept nogil
cdef void logring_next(char *ring) noexcept nogil
