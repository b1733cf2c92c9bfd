from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    uint64_t lb_load_u64(const uint64_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)
    void lb_count_u64(uint64_t *p, uint64_t n)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)


cdef inline uint64_t record_bytes(uint64_t text) noexcept nogil:
    return sizeof(logrecord_t) + ((text + 7) & ~<uint64_t>7)


cdef void logring_init(char *ring, uint64_t bytes) noexcept nogil:
    LB_ASSERT(bytes > LOGRING_DATA + sizeof(logrecord_t))
    memset(ring, 0, sizeof(logring_t))
    lb_store_u64(&(<logring_t *>ring).size, (bytes - LOGRING_DATA) & ~<uint64_t>7)


cdef void logring_adopt(char *ring, uint64_t bytes) noexcept nogil:
    cdef logring_t *r = <logring_t *>ring
    cdef uint64_t size = (bytes - LOGRING_DATA) & ~<uint64_t>7
    cdef uint64_t tail = lb_load_u64(&r.tail)
    if r.size != size or r.head & 7 != 0 or r.head - tail > size:
        # `tail` is the consumer's, who mends its own side when it sees that the two do not fit.
        lb_store_u64(&r.head, (tail + 7) & ~<uint64_t>7)
        lb_store_u64(&r.size, size)
    r.seen_tail = tail


cdef char *logring_reserve(char *ring, uint32_t max) noexcept nogil:
    cdef logring_t *r = <logring_t *>ring
    cdef uint64_t need = record_bytes(max)
    cdef uint64_t at = r.head % r.size
    cdef uint64_t rest = r.size - at
    cdef uint64_t filler = rest if rest < need else 0
    cdef logrecord_t header
    if UNLIKELY(r.size - (r.head - r.seen_tail) < need + filler):
        r.seen_tail = lb_load_u64(&r.tail)
        if r.size - (r.head - r.seen_tail) < need + filler:
            lb_count_u64(&r.dropped, 1)
            return NULL
    if filler:
        # `rest` is a multiple of 8 and not 0, so its header fits. Published now: commit does not know of it.
        header.len = LOGRING_FILLER
        header.target = 0
        header.level = 0
        memcpy(ring + LOGRING_DATA + at, &header, sizeof(header))
        lb_store_u64(&r.head, r.head + filler)
        at = 0
    return ring + LOGRING_DATA + at + sizeof(logrecord_t)


cdef void logring_commit(char *ring, uint32_t len, uint16_t target, uint16_t level) noexcept nogil:
    cdef logring_t *r = <logring_t *>ring
    cdef uint64_t at = r.head % r.size
    cdef logrecord_t header
    LB_ASSERT(record_bytes(len) <= r.size - at)
    LB_KILL_POINT(b"log.reserved")
    header.len = len
    header.target = target
    header.level = level
    memcpy(ring + LOGRING_DATA + at, &header, sizeof(header))
    LB_KILL_POINT(b"log.written")
    lb_store_u64(&r.head, r.head + record_bytes(len))


cdef const char *logring_peek(char *ring, logrecord_t *record) noexcept nogil:
    cdef logring_t *r = <logring_t *>ring
    cdef uint64_t tail = r.tail
    cdef uint64_t at
    while True:
        if tail == r.seen_head:
            r.seen_head = lb_load_u64(&r.head)
            if tail == r.seen_head:
                return NULL
        at = tail % r.size
        if UNLIKELY(r.seen_head - tail > r.size or at & 7 != 0):
            break
        # Copied once: what is checked below is what the caller uses, whatever happens in the ring.
        memcpy(record, ring + LOGRING_DATA + at, sizeof(logrecord_t))
        if LIKELY(record.len != LOGRING_FILLER):
            if UNLIKELY(record_bytes(record.len) > r.size - at or record_bytes(record.len) > r.seen_head - tail):
                break
            return ring + LOGRING_DATA + at + sizeof(logrecord_t)
        if UNLIKELY(r.size - at > r.seen_head - tail):
            break
        tail += r.size - at
        lb_store_u64(&r.tail, tail)
    r.broken += 1
    r.seen_head &= ~<uint64_t>7
    lb_store_u64(&r.tail, r.seen_head)
    return NULL


cdef void logring_next(char *ring, const logrecord_t *record) noexcept nogil:
    cdef logring_t *r = <logring_t *>ring
    lb_store_u64(&r.tail, r.tail + record_bytes(record.len))
