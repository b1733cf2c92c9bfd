# Whether a plan's program is sound. (Apart from program.pxd, whose structs hold the plan's: plan.pyx cimports this one.)
from libc.stdint cimport uint32_t

from lb._speedups.policy.plan cimport plan_t

# Check every offset, index and code of a plan's program. 0 or -1.
cdef int program_check(const plan_t *p) noexcept nogil

# Whether a number of a ruleset + 1 (0 = none) names one.
cdef bint program_has(const plan_t *p, uint32_t ruleset) noexcept nogil
