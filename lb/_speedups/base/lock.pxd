# Robust locks in shared memory.
#
# pthread_mutex, PROCESS_SHARED and ROBUST, behind a short trylock spin. When the owner died inside, the
# kernel hands LOCK_BROKEN to the next locker, who must repair the structure from its one truth and call
# lock_repaired() before it goes on. Never held across a system call that can wait, nor across fork(). Kill
# points (lb.h) inside the critical sections let tests prove the repair.
cdef extern from "lb.h" nogil:
    ctypedef struct lb_lock_t:     # 64 bytes, alone on its cache line
        pass

cdef enum:
    LOCK_OK = 0
    LOCK_BROKEN = 1             # taken, but its last owner died inside
    LOCK_LOST = -1              # not taken: ENOTRECOVERABLE, a bug

# Make a zeroed lock usable, once, before others see it. 0 or -1.
cdef int lock_init(lb_lock_t *lock) noexcept nogil

# Wait for the lock: LOCK_OK, LOCK_BROKEN (repair, then lock_repaired) or LOCK_LOST. Not recursive.
cdef int lock_take(lb_lock_t *lock) noexcept nogil

# After LOCK_BROKEN: the structure is whole again.
cdef void lock_repaired(lb_lock_t *lock) noexcept nogil

cdef void lock_give(lb_lock_t *lock) noexcept nogil
