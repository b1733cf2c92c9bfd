# Servers: the way from a chosen backend to a connection, the only place that decides on connect, reuse and retry.
#
# server_assign() picks a server, takes an idle connection or opens one, and tells the stream through `connected` or
# `refused`. A connection that cannot be made is tried again `retries` times, on another server when there is one, else
# on the same after a turnaround. How a connection is opened: dial.pxd; who may take which idle one: idle.pxd. Any event
# on an idle HTTP/1 connection closes it.
from libc.stdint cimport uint8_t, uint32_t
from lb._speedups.relay.relay cimport stream_t

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

# An answer has come on a LINK_EARLY: the server is there.
cdef void server_met(stream_t *st) noexcept nogil

# A LINK_EARLY broke before an answer: a connection that failed. Another server is better.
cdef void server_missed(stream_t *st) noexcept nogil

# The server has challenged the client for a scheme that gives rights to a connection (NTLM, Negotiate): from now on it
# serves this client alone.
cdef void server_own(stream_t *st) noexcept nogil
