# Request bodies that rules look at: gathered before the request goes on.
#
# What the client's codec offers is copied to a pooled buffer (stream.body), at most BODY_ROOM bytes, and counts as taken there;
# what does not fit stays with the codec. Once the request goes on, its server gets the gathered bytes first. A body that was
# gathered whole stays until its stream ends, so the request can be sent again.
from libc.stddef cimport size_t
from lb._speedups.relay.relay cimport slice_out_t, stream_t

cdef enum:                       # answers of body_gather
    BODY_WAITS = 0               # more is to come
    BODY_ENDED = 1               # it is all here
    BODY_FULL = 2                # no more has room
    BODY_BROKE = -1              # the client's fault says how
    BODY_MEMORY = -2

# Gather what has come.
cdef int body_gather(stream_t *st) noexcept nogil

# As codec_t.offer and consume of the client side, with stream.body in front.
cdef int body_offer(stream_t *st, slice_out_t *out) noexcept nogil
cdef void body_consume(stream_t *st, size_t n) noexcept nogil

# Offer it from its beginning again: 0, or -1.
cdef int body_rewind(stream_t *st) noexcept nogil

# Bytes that were gathered and not taken by the server.
cdef inline bint body_held(const stream_t *st) noexcept nogil:
    return st.body != NULL and st.body.at < st.body.len

# Tell a client that waits for it to go on (Expect: 100-continue). 0, or -1: the connection failed.
cdef int body_ask(stream_t *st) noexcept nogil
