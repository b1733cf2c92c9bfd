# Dialling: a socket to a server, with the options of its plan_socket_t, on its way to be connected.
#
# Source addresses. Without ports the kernel chooses them at connect (IP_BIND_ADDRESS_NO_PORT), so that a port serves
# connections to many servers. A range of ports is divided among the workers; each goes round in its share, and, when
# that is used up, looks for a free port in the others'. SO_REUSEADDR lets a port that is in use toward another server be
# taken: what must be unique is the pair of both ends (one in TIME_WAIT counts for a second), and connect() is who knows.
# Tries are bounded, so a full range is a failed connection and not a stall.
#
# Fast open. The socket counts as connected at once and the first bytes travel with the SYN; whether the server is there
# shows only then (LINK_EARLY). For mode http alone: where the server speaks first, nothing would ever be sent.
#
# Descriptors. When there are none, the connection that has rested longest is closed for this one.
from libc.stdint cimport uint32_t
from lb._speedups.policy.plan cimport plan_server_t
from lb._speedups.relay.relay cimport stream_t

cdef enum:
    PORT_TRIES = 32              # ports tried in a worker's share, and as many in the whole range

# A descriptor that is connected (*flags: CONN_WRITABLE) or connecting (CONN_CONNECTING), or below 0: it
# failed at once, -errno as connect() has it, or -EADDRINUSE, -ENOBUFS for what could not be had on this machine.
# *early tells that the server has not been asked yet.
cdef int dial(stream_t *st, const plan_server_t *s, uint32_t *flags, bint *early) noexcept nogil
