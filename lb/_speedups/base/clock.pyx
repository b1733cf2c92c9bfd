from libc.stdint cimport uint64_t


cdef void clock_init(clock_t_ *clock) noexcept nogil:
    clock.fake_mono_us = 0
    clock.fake_real_us = 0
    clock.is_fake = 0


cdef int clock_fake(clock_t_ *clock, uint64_t mono_us, uint64_t real_us) noexcept nogil:
    if not LB_DEBUG:
        return -1
    clock.fake_mono_us = mono_us
    clock.fake_real_us = real_us
    clock.is_fake = 1
    return 0


cdef int clock_advance(clock_t_ *clock, uint64_t us) noexcept nogil:
    if not LB_DEBUG or not clock.is_fake:
        return -1
    clock.fake_mono_us += us
    clock.fake_real_us += us
    return 0
