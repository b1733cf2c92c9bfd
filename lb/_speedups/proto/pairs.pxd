# Heads that come as pairs of name and value, as in HTTP/2: pairs -> message. No I/O.
#
# A head begins with pseudo fields (`:method :scheme :authority :path`, or `:status`) and goes on with fields whose names
# are lower case. The pairs are written into the message's block as field lines, `name: value` CR LF one behind the
# other, so that an HTTP/1 writer copies runs of them; a pseudo field leaves only its value there.
#
# The grammar is that of h1.pxd (tokens, targets, authority, values, lengths, limits), with the rules that RFC 9113 8.2
# and 8.3 add: pseudo fields first, each once and none unknown; fields of a connection (Connection, Transfer-Encoding,
# Upgrade ...) make a head malformed, and so does 101. What is wrong is refused with the status and the h1_reason that
# the same mistake has in HTTP/1.
#
# Framing. There is no transfer coding here, so a body without Content-Length is FRAMING_CHUNKED: of unknown length, its
# end will be told. A head that ends its message has FRAMING_NONE, or FRAMING_LENGTH with 0 where an HTTP/1 writer must
# say so (a response that could have had a body, a request that said 0).
from libc.stdint cimport uint8_t
from lb._speedups.proto.message cimport message_t

# Begin a head of this kind; `method` is the method_id a response answers (0 for requests).
cdef void pairs_begin(message_t *m, uint8_t kind, uint8_t method) noexcept nogil

# The next pair. 0, or minus the status to answer (400, 405, 414, 417, 431, 501; for a response 502), m.reason_id says
# why; asked again, the same is answered.
cdef int pairs_add(message_t *m, const char *name, size_t name_len, const char *value, size_t value_len) noexcept nogil

# The head is complete; `is_end` = it ends its message. 0 or minus the status, as above; m is complete as h1_read_request
# leaves it, with m.head_len the bytes it takes in the block.
cdef int pairs_end(message_t *m, bint is_end) noexcept nogil
