from libc.errno cimport EBUSY


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void lb_pause()

cdef extern from "<errno.h>" nogil:
    int EOWNERDEAD

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    int PTHREAD_PROCESS_SHARED
    int PTHREAD_MUTEX_ROBUST
    int pthread_mutexattr_init(pthread_mutexattr_t *)
    int pthread_mutexattr_setpshared(pthread_mutexattr_t *, int)
    int pthread_mutexattr_setrobust(pthread_mutexattr_t *, int)
    int pthread_mutexattr_destroy(pthread_mutexattr_t *)
    int pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *)
    int pthread_mutex_trylock(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_consistent(pthread_mutex_t *)


cdef enum:
    TRIES = 7                    # with 1, 2, 4 ... 64 pauses between: some 2-5 us, the time of a few critical sections


cdef int lock_init(lb_lock_t *lock) noexcept nogil:
    cdef pthread_mutexattr_t attr
    cdef int failed
    if pthread_mutexattr_init(&attr) != 0:
        return -1
    failed = (
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) != 0
        or pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) != 0
        or pthread_mutex_init(<pthread_mutex_t *> lock, &attr) != 0
    )
    pthread_mutexattr_destroy(&attr)
    return -1 if failed else 0


# What pthread says, in our words.
cdef int verdict(int error) noexcept nogil:
    if LIKELY(error == 0):
        return LOCK_OK
    if error == EOWNERDEAD:
        return LOCK_BROKEN
    LB_ASSERT(False)
    return LOCK_LOST


cdef int lock_take(lb_lock_t *lock) noexcept nogil:
    cdef int error = pthread_mutex_trylock(<pthread_mutex_t *> lock)
    cdef int i, _
    if UNLIKELY(error == EBUSY):
        # Held for less time than it takes to go to sleep and be woken.
        for i in range(TRIES):
            for _ in range(1 << i):
                lb_pause()
            error = pthread_mutex_trylock(<pthread_mutex_t *> lock)
            if error != EBUSY:
                return verdict(error)
        error = pthread_mutex_lock(<pthread_mutex_t *> lock)
    return verdict(error)


cdef void lock_repaired(lb_lock_t *lock) noexcept nogil:
    cdef int error = pthread_mutex_consistent(<pthread_mutex_t *> lock)
    LB_ASSERT(error == 0)


cdef void lock_give(lb_lock_t *lock) noexcept nogil:
    cdef int error = pthread_mutex_unlock(<pthread_mutex_t *> lock)
    LB_ASSERT(error == 0)
