# Rate limits as a stream meets them (policy/limit.pxd): a frontend's before its rules, a route's and its backend's together
# when the backend is known, before the backend's rules. Each is asked once in a request's life: what is sent again has been
# counted, and copies are not counted at all.
from lb._speedups.policy.plan cimport limit_list_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport stream_t

# Ask the limits of two lists. True: one refuses the request, which is to be answered 429.
cdef bint limited_take(stream_t *st, limit_list_t first, limit_list_t second) noexcept nogil

# Tell of the limit that matters most in the head of an answer, and of a refusal when to come again. What has no room is left out.
cdef void limited_fields(stream_t *st, message_t *m) noexcept nogil
