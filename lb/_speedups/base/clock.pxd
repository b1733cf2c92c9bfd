"""Time: two clocks, read on demand, that a test can stop.

`clock_mono_us` is CLOCK_MONOTONIC: what deadlines, timers and ages are counted in. The mapping holds it too:
all processes of a machine read the same one, so a tick written by one worker means the same to another.
`clock_real_us` is CLOCK_REALTIME: only for what people read (log lines, headers).

Both go through the vDSO: about 20 ns and no system call. The engine still reads once per batch of events
and keeps the value, because two readings within a batch would differ for no use.

Ownership: the struct belongs to whoever embeds it, normally the engine, and is reached from there; there is
no global clock. One thread uses it. In a build with LB_DEBUG it can be faked: then it stands still until
told to move, which is how timeouts are tested without waiting. In the release build the flag is never
looked at.

Limits: microseconds in 64 bits last 584,000 years. A monotonic reading is never 0, so 0 can mean "not set".
"""

from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    bint UNLIKELY(bint condition)


# `clock_t` is taken by libc, hence the underscore.
ctypedef struct clock_t_:
    # this thread; ignored unless LB_DEBUG
    uint64_t fake_mono_us       # what clock_mono_us answers while faked
    uint64_t fake_real_us       # what clock_real_us answers while faked
    uint32_t is_fake            # 1: stands still


# Make `clock` a real clock. To be called before any other function here; a zeroed struct is a real clock too.
cdef void clock_init(clock_t_ *clock) noexcept nogil

# Stop `clock` at the given times (mono_us > 0). Answers 0, or -1 in a build without LB_DEBUG, where it does nothing.
cdef int clock_fake(clock_t_ *clock, uint64_t mono_us, uint64_t real_us) noexcept nogil

# Move both times of a faked clock forward. Answers 0, or -1 if the clock is not faked.
cdef int clock_advance(clock_t_ *clock, uint64_t us) noexcept nogil


# Microseconds since boot (suspend not counted); never goes back.
cdef inline uint64_t clock_mono_us(const clock_t_ *clock) noexcept nogil:
    cdef timespec now
    if LB_DEBUG and UNLIKELY(clock.is_fake):
        return clock.fake_mono_us
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000 + <uint64_t>now.tv_nsec // 1000


# Milliseconds of the same clock, rounded down.
cdef inline uint64_t clock_mono_ms(const clock_t_ *clock) noexcept nogil:
    return clock_mono_us(clock) // 1000


# Microseconds since 1970-01-01 UTC; may jump when the machine's clock is set.
cdef inline uint64_t clock_real_us(const clock_t_ *clock) noexcept nogil:
    cdef timespec now
    if LB_DEBUG and UNLIKELY(clock.is_fake):
        return clock.fake_real_us
    clock_gettime(CLOCK_REALTIME, &now)
    return <uint64_t>now.tv_sec * 1000000 + <uint64_t>now.tv_nsec // 1000
