# Routes: exact host, then path. Tables live in the plan image.
#
# A frontend's routes are compiled to one hash table of hosts (with one entry for "any host"), each entry leading to a
# path table; the longest matching prefix wins, an exact path before a prefix of the same length, a named host before
# "any host". The cost does not depend on the number of routes.
from libc.stdint cimport int32_t, uint32_t
from lb._speedups.policy.plan cimport plan_frontend_t, plan_t

# The index of the backend for this authority (host[:port], any case; the port is ignored) and path, else
# f.default_backend (-1 = none).
cdef int32_t route_find(const plan_t *p, const plan_frontend_t *f, const char *authority, size_t authority_len,
                        const char *path, size_t path_len) noexcept nogil
