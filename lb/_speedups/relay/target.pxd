# From a route to what becomes of the stream: a backend, by weights where the route has them, or an answer made here.
#
# A split deals by the client's point (policy/split.pxd). Where that is kept in a cookie which the request did not bring,
# the stream remembers it in `sticky` and `point`, and the head of the server's answer gets a Set-Cookie. Answers made here
# (an error, a redirect) bring none: the next request gets another point, and nothing is lost by it.
from libc.stdint cimport uint32_t
from lb._speedups.policy.plan cimport plan_route_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport stream_t

# The stream takes this route, whose kind is TARGET_BACKEND or TARGET_SPLIT: st.backend is set and counted.
cdef void target_backend(stream_t *st, const plan_route_t *route) noexcept nogil

# The stream has this backend from now on, and counts there.
cdef void target_enter(stream_t *st, uint32_t index) noexcept nogil

# Add the cookie of st.sticky to the head of an answer. 0, or -1 when it has no room.
cdef int target_cookie(stream_t *st, message_t *m) noexcept nogil
