# Whether the user lists of a plan lie inside its image; apart from users.pxd, which has structs of the plan's own.
from lb._speedups.policy.plan cimport plan_t

# 0 or -1.
cdef int users_check(const plan_t *p) noexcept nogil
