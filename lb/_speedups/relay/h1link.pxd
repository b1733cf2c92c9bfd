# The HTTP/1 codec of a link: a connection's bytes <-> heads and bodies of one stream at a time.
#
# Reading of client heads is the session's business (there is no stream yet); from the head on this table serves both
# kinds of links. What the two peers' versions and framings make necessary (chunked to a 1.1 client, close-delimited to
# a 1.0 one, Connection fields) is decided here, the relay knows nothing of it.
from libc.stdint cimport uint8_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport codec_t, link_t, side_t, stream_t

# The table. Written once per engine, by value, so that there is no module global.
cdef void h1link_codec(codec_t *out) noexcept nogil

# The head `m` of a request was read from the client link; takes `m` over. As http_begin.
cdef void h1link_request(link_t *l, message_t *m) noexcept nogil

# A request head that cannot be served; takes `m` over (may be NULL). As http_refuse.
cdef void h1link_refuse(link_t *l, message_t *m, int status, const char *detail, char cause, char phase) noexcept nogil

# The head `m` was read from the link; its block holds the bytes behind it. Sets up the body's reading.
cdef void h1link_begin(link_t *l, message_t *m) noexcept nogil

# The same where the bytes behind the head stand in the link's own buffer: the window stays as it is.
cdef void h1link_frame(link_t *l, message_t *m) noexcept nogil
