from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    const bint LB_SANITIZE
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)


cdef enum:
    FILL = 0x5a


cdef void pool_init(pool_t *p, const char *name, size_t size, uint32_t keep) noexcept nogil:
    memset(p, 0, sizeof(pool_t))
    p.name = name
    # The chain of free objects runs through their first word.
    p.size = size if size > sizeof(void *) else sizeof(void *)
    p.keep = keep


# Nobody wrote to a free object. Its first word is the chain.
cdef bint is_untouched(const pool_t *p, const uint8_t *object) noexcept nogil:
    cdef size_t i
    for i in range(sizeof(void *), p.size):
        if object[i] != FILL:
            return False
    return True


cdef void *pool_take(pool_t *p) noexcept nogil:
    cdef void *object
    if LB_DEBUG and UNLIKELY(p.fail_every != 0):
        p.fail_count += 1
        if p.fail_count >= p.fail_every:
            p.fail_count = 0
            p.failed += 1
            return NULL
    object = p.free
    if object != NULL:
        p.free = (<void **> object)[0]
        p.cached -= 1
        if LB_DEBUG:
            LB_ASSERT(is_untouched(p, <uint8_t *> object))
    else:
        object = malloc(p.size)
        if UNLIKELY(object == NULL):
            p.failed += 1
            return NULL
    p.taken += 1
    p.live += 1
    if p.live > p.peak:
        p.peak = p.live
    return object


cdef void pool_give(pool_t *p, void *object) noexcept nogil:
    LB_ASSERT(object != NULL)
    LB_ASSERT(p.live > 0)
    p.live -= 1
    if LB_DEBUG:
        memset(object, FILL, p.size)
    if LB_SANITIZE or p.cached >= p.keep:
        free(object)
        return
    (<void **> object)[0] = p.free
    p.free = object
    p.cached += 1


cdef void pool_drain(pool_t *p) noexcept nogil:
    cdef void *object
    while p.free != NULL:
        object = p.free
        p.free = (<void **> object)[0]
        free(object)
    p.cached = 0
