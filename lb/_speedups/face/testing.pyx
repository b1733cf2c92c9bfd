"""The door through which unit tests reach C structs. Not in the release build.

A part that needs more than a few lines here brings its own `face/testing_<part>.pyx` and `.pyi`: files named
`testing*.pyx` are built in the debug and sanitize flavours only.
"""

from lb._speedups.base.clock cimport (
    clock_advance, clock_fake, clock_init, clock_mono_ms, clock_mono_us, clock_real_us, clock_t_,
)


cdef extern from "lb.h" nogil:
    const bint LB_SANITIZE
    void LB_ASSERT(bint condition)


IS_SANITIZED = bool(LB_SANITIZE)


def check_invariant(bint holds):
    LB_ASSERT(holds)


cdef class Clock:
    cdef clock_t_ clock

    def __cinit__(self):
        clock_init(&self.clock)

    def mono_us(self):
        return clock_mono_us(&self.clock)

    def mono_ms(self):
        return clock_mono_ms(&self.clock)

    def real_us(self):
        return clock_real_us(&self.clock)

    def fake(self, mono_us, real_us):
        return clock_fake(&self.clock, mono_us, real_us)

    def advance(self, us):
        return clock_advance(&self.clock, us)
