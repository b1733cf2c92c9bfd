# Servers: the way from a chosen backend to a connection, the only place that decides on connect, reuse and retry.
#
# server_assign() picks a server, takes an idle connection or opens one, and tells the stream through `connected` or
# `refused`. A connection that cannot be made is tried again `retries` times, on another server when there is one, else
# on the same after a turnaround. Connections with room for a stream wait on a list of their server (by object id) and
# worker; any event on an idle HTTP/1 one closes it.
from libc.stdint cimport uint8_t, uint32_t
from lb._speedups.relay.relay cimport engine_t, link_t, stream_t

cdef enum:                       # answers of server_assign
    SERVER_READY = 1             # stream.server.link is connected (or connecting and writable soon): go on
    SERVER_WAIT = 0              # connecting; stream_wake will be called
    SERVER_NONE = -1             # no usable server, or every attempt failed

# Choose and connect. `fresh` = do not take an idle connection (a stale one was just met).
cdef int server_assign(stream_t *st, bint fresh) noexcept nogil

# The connection attempt of st has failed (st.server.link is closed by this): try on. As server_assign.
cdef int server_failed(stream_t *st) noexcept nogil

# The turnaround is over (STREAM_DEFERRED): try the same server again. As server_assign.
cdef int server_retry(stream_t *st) noexcept nogil

# The stream leaves its server: gauges.
cdef void server_left(stream_t *st) noexcept nogil

# A connecting link was woken: 1 connected, 0 still waiting, -1 failed (call server_failed).
cdef int server_check(stream_t *st) noexcept nogil

# Put a link with room for a stream on its server's list; closes it when the server is gone (a link that carries streams
# is only kept off the list then).
cdef void server_keep(link_t *l) noexcept nogil

# Close idle links: of every server that `e.current` does not have with the same address, or all.
cdef void server_purge(engine_t *e, bint all_) noexcept nogil
