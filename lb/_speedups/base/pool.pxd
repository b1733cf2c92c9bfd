# Pools: fixed-size objects, counted.
#
# Everything the data plane allocates at run time comes from a pool of one object size. A pool keeps up to
# `keep` free objects; more go back to libc. `live` counts what is out: tests end by asking that it is zero. A
# taken object is not cleared. The debug build fills given objects with 0x5a, aborts when a kept one was
# written to, and can be told to fail (engine.chaos: fail_every); the sanitize build keeps nothing, so that
# ASan sees every use after a give.
#
# Owner: one worker; never shared.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

ctypedef struct pool_t:
    # immutable after pool_init
    const char *name            # for `show pools`
    size_t size                 # bytes of an object, at least a pointer's
    uint32_t keep               # free objects kept at most
    # this worker
    uint32_t live               # objects out
    uint32_t peak               # most objects ever out
    uint32_t cached             # free objects held
    uint64_t taken              # pool_take calls that succeeded
    uint64_t failed             # pool_take calls that did not
    void *free                  # chain of free objects through their first word
    uint32_t fail_every         # debug: every n-th take fails, 0 = none
    uint32_t fail_count         # debug: takes since the last failure

cdef void pool_init(pool_t *p, const char *name, size_t size, uint32_t keep) noexcept nogil

# An object of p.size bytes, 16-byte aligned, contents undefined; NULL when memory is short.
cdef void *pool_take(pool_t *p) noexcept nogil

cdef void pool_give(pool_t *p, void *object) noexcept nogil

# Give every kept object back to libc.
cdef void pool_drain(pool_t *p) noexcept nogil
