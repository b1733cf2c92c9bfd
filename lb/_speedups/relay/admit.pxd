# Admission: rules about a connection that has no stream yet, and what it tracks.
#
# Connection rules are looked at when the connection was accepted and before a byte of it is read; session rules when its client
# is known, which a PROXY header may tell. Both are decided at once: there is nothing that could be waited for. Who is refused
# is not logged, but counted (denied_conn, denied_sess).
#
# What such rules track, the connection holds until it closes (link.tracked). Each of its streams finds it there under the
# numbers that the stream does not use itself, and its requests, errors and bytes are counted there.
from lb._speedups.relay.relay cimport link_t

cdef enum:                       # answers of admit_connection
    ADMIT_NO = 0                 # refused: the link is gone
    ADMIT_YES
    ADMIT_PROXY                  # a PROXY header has to come first

cdef int admit_connection(link_t *l) noexcept nogil

# Whether the session may begin; else the link is gone.
cdef bint admit_session(link_t *l) noexcept nogil

# Count a request in what the connection tracks (link.tracked != NULL).
cdef void admit_request(link_t *l) noexcept nogil

# Give link.tracked back.
cdef void admit_release(link_t *l) noexcept nogil
