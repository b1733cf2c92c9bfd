# Whether what a plan says about persistence (persistence.pxd) lies inside it.
from lb._speedups.policy.plan cimport plan_backend_t, plan_t

# Of one backend; the program must have been checked. 0 or -1.
cdef int persistence_check(const plan_t *p, const plan_backend_t *b) noexcept nogil
