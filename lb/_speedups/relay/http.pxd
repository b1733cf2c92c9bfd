# The HTTP relay: a request head becomes a stream, the stream a request to a server and a response to the client.
#
# One function is woken for everything that happens to a stream (http_wake); it does what can be done now, in order:
# connect, send the request, read response heads, move bodies, end. Bodies are never buffered whole: what one side
# offers is written to the other at once, and what that does not take stays where it was read (back-pressure).
#
# Large plain bodies and tunnels go through flows (io/flow.pxd), unseen. A response head that has been sent on cannot be
# taken back: from then on a failure cuts the connection, and the client sees the cut.
from libc.stdint cimport uint64_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport engine_t, link_t, stream_t

# A complete request head was read from a client link; takes `m` over. The stream may be over on return.
cdef void http_begin(link_t *client, message_t *m) noexcept nogil

# A head that cannot be served: answer `status` and close. Takes `m` over (may be NULL).
cdef void http_refuse(link_t *client, message_t *m, int status, const char *detail, char cause, char phase) noexcept nogil

# Go on with a parked stream. 0, or -1: no stream with this handle is parked (any more).
cdef int http_resume(engine_t *e, uint64_t handle) noexcept nogil

# End every stream of the engine at once.
cdef void http_kill(stream_t *st) noexcept nogil
