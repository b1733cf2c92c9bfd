# What is told to a server about the client of a request, and to the client about its request: the fields of a
# frontend's forwarding_t, written into heads. How inbound fields are judged: policy/forwarding.pxd.
#
# Whether a peer is trusted is asked for each request, by the address of its connection. The client's address that a
# trusted peer names replaces that of the stream: log, balancing and rules see it. What is appended to lists is the
# peer's own address: whoever reads the list behind us must find who spoke to us.
from libc.stdint cimport uint16_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport stream_t

# Delete, take over and add, for a frontend with FRONTEND_FORWARDING. 0, or the status to refuse the request with: 508 for
# one that has been here, 431 when its host leaves no room.
cdef uint16_t forward_request(stream_t *st) noexcept nogil

# Add to a final response's head, for a frontend with FRONTEND_MARKS_RESPONSE. 0, or -1: rules have left no room.
cdef int forward_response(stream_t *st, message_t *m) noexcept nogil
