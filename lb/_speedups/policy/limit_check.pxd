# Whether the limits of a plan (limit.pxd) lie inside it and make sense.
from lb._speedups.policy.plan cimport limit_list_t, plan_t

# All of them and the lists; the program must have been checked. 0 or -1.
cdef int limits_check(const plan_t *p) noexcept nogil

# Whether this is a list of them.
cdef bint limit_list_fits(const plan_t *p, limit_list_t limits) noexcept nogil
