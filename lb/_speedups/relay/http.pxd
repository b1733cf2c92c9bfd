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

# A stream for a request head `m` (taken over, may be NULL when it will be refused) read from this client link. The
# codec adds what it keeps on the client side, then calls one of the next two. NULL without memory.
cdef stream_t *http_open(link_t *client, message_t *m) noexcept nogil

# Serve it. The codec has set SIDE_IN_END on the client side when the request has no body, and STREAM_REPLAY
# when it can be rewound. The stream may be over on return.
cdef void http_begin(stream_t *st) noexcept nogil

# Its head cannot be served: answer `status`. The stream may be over on return.
cdef void http_refuse(stream_t *st, int status, const char *detail, char cause, char phase) noexcept nogil

# Go on with a parked stream. 0, or -1: no stream with this handle is parked (any more).
cdef int http_resume(engine_t *e, uint64_t handle) noexcept nogil

# The password that this stream has asked for was checked: its rules go on. The stream may be over on return.
cdef void http_told(stream_t *st) noexcept nogil

# End every stream of the engine at once.
cdef void http_kill(stream_t *st) noexcept nogil
