# Sessions: the life of a client connection outside its streams: accept, reading heads, idling, lingering.
from lb._speedups.relay.relay cimport engine_t, link_t, listen_t

cdef enum:
    ACCEPTS = 64                 # most connections of a call

# Accept up to `most` connections. Their number, or ACCEPT_LIMIT or ACCEPT_DESCRIPTORS (face/engine.pyi).
cdef int session_accept(engine_t *e, listen_t *at, int most) noexcept nogil

# How many connections this worker may take from a socket that all workers share before the others had theirs: 0..ACCEPTS.
cdef int session_share(engine_t *e) noexcept nogil

# The engine has switched generations: rebind idle sessions, close those whose frontend is gone.
cdef void session_rebind_all(engine_t *e) noexcept nogil

# Point the session at its frontend in the current generation; -1 when that is gone.
cdef int session_rebind(link_t *l) noexcept nogil

# One sentence for people on why a request head was refused with this status.
cdef const char *session_refusal(int status) noexcept nogil

# Close sessions that wait for another request; those that have one end with it, and those that never had one get a
# moment to send it.
cdef void session_drain(engine_t *e) noexcept nogil
