# The engine: one worker's data plane, driven by engine_step() and engine_accept(). What it holds: relay.pxd.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from lb._speedups.base.mapping cimport mapping_t
from lb._speedups.relay.relay cimport engine_t, listen_t

cdef enum:                       # bits of engine_step's answer (face/engine.pyi)
    STEP_AGAIN = 1
    STEP_ACCEPT = 2
    STEP_DRAINED = 4
    STEP_SWITCHED = 8
    STEP_LIMITED = 16            # regular expressions reached their limits since this was said last (every 10 s at most)

# NULL with errno. `wakeup` = -1: the engine makes an eventfd of its own.
cdef engine_t *engine_new(mapping_t *m, uint32_t slot, int wakeup) noexcept nogil

# End every stream and connection at once; only the pools are left to be asked. engine_free() gives the rest back.
cdef void engine_stop(engine_t *e) noexcept nogil
cdef void engine_free(engine_t *e) noexcept nogil

cdef int engine_step(engine_t *e) noexcept nogil
cdef int engine_accept(engine_t *e, int fd, bint is_turn) noexcept nogil

# Map an image. Its generation, or -1 with errno, or -2: the image is not valid. The first one is in use at once; of others the
# regular expressions are to be compiled by engine_compile, called until it answers REGEXES_READY or a fault; each call is
# short. What is not ready when it is committed is finished then.
cdef int64_t engine_prepare(engine_t *e, int fd) noexcept nogil
cdef int engine_compile(engine_t *e, uint64_t generation) noexcept nogil
cdef void engine_discard(engine_t *e, uint64_t generation) noexcept nogil

cdef listen_t *engine_listen(engine_t *e, uint32_t oid, int fd) noexcept nogil
# `stays`: sessions of a datagram socket go on being read until they end.
cdef void engine_unlisten(engine_t *e, int fd, bint stays) noexcept nogil
# Resume a parked stream; see http_resume.
cdef int engine_resume(engine_t *e, uint64_t handle) noexcept nogil

cdef void engine_drain(engine_t *e) noexcept nogil
