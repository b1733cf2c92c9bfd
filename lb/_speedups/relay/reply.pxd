# Replies made here: errors as problem JSON (RFC 9457) or a short text, by what the client accepts.
from libc.stdint cimport uint16_t
from lb._speedups.relay.relay cimport stream_t

# Write a whole response with this status to the client's side; `detail` is one sentence for people. Nothing may have
# been written to that side for this stream before, except interim heads. 0, or -1: the connection failed.
cdef int reply_error(stream_t *st, uint16_t status, const char *detail) noexcept nogil
