# The TCP relay: a client's connection joined to a server's, bytes both ways, each end's FIN passed on.
from lb._speedups.relay.relay cimport link_t, stream_t

# A client connection of a TCP frontend was accepted. It may be over on return.
cdef void tcp_begin(link_t *client) noexcept nogil

cdef void tcp_kill(stream_t *st) noexcept nogil
