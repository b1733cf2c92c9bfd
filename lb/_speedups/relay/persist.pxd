# Where a stream meets persistence (policy/persistence.pxd): for backends that have it.
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport stream_t

# The backend's rules have passed: find the server that the client had, and change what the server sees of the cookie.
cdef void persist_request(stream_t *st) noexcept nogil

# The server has answered: remember it where stick rules say so. Before rules look at the answer.
cdef void persist_store(stream_t *st) noexcept nogil

# Change the cookies of its answer. 0, or -1: no room.
cdef int persist_response(stream_t *st, message_t *m) noexcept nogil

# The stream goes to another server than it was to have.
cdef void persist_forget(stream_t *st) noexcept nogil
