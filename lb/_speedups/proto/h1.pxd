# HTTP/1.1 and 1.0: bytes <-> message, body framing. No I/O.
#
# One strict grammar (RFC 9110, RFC 9112) for requests, responses, chunks and trailers. What two readers could read
# differently is refused, never repaired. The reader is fed by appending to m.block (m.fill grows) and called again; it
# works by whole lines and remembers where it stands, so that feeding byte by byte costs linear time in total, and
# limits hold on what has arrived so far. The writer writes from the parsed form only.
#
# Theory of operation. A line is judged when its line feed is there, and lines are judged in order, so the verdict does
# not depend on how the bytes were cut (two exceptions, both functions of a prefix: a first byte that begins no start
# line is refused at once, and limits are). The first pass over a line is optimistic: name, colon, value in one go to the
# CR LF. Where it stops early, a line feed is looked for: if there is none the line is not complete, and m.seek remembers
# how far one was looked for. So no byte is looked at more than three times.
#
# Parts: h1.pyx reads heads, h1_write.pyx writes them, chunked.pyx has the bodies, authority.pyx the grammar of Host.
# Their names are given on from here: `from lb._speedups.proto.h1 cimport ...` has all of them.
from libc.stdint cimport uint8_t, uint64_t

from lb._speedups.proto.chunked cimport (
    CHUNKED_BAD, CHUNKED_DATA, CHUNKED_END, CHUNKED_MORE, H1_CHUNK_LINE_MAX, H1_EXTENSION_MAX, H1_TRAILER_MAX,
    chunked_init, chunked_is_last, chunked_read, chunked_t, chunked_write_size,
)
from lb._speedups.proto.h1_reason cimport (
    H1_BAD_CHUNK, H1_BAD_CODING, H1_BAD_EXPECT, H1_BAD_FIELD_NAME, H1_BAD_FIELD_VALUE, H1_BAD_HOST, H1_BAD_LENGTH,
    H1_BAD_LINE_END, H1_BAD_METHOD, H1_BAD_START_LINE, H1_BAD_STATUS, H1_BAD_TARGET, H1_BAD_TRAILER, H1_BAD_VERSION,
    H1_CHUNK_EXTENSIONS, H1_CODING_IN_10, H1_CONNECT_REFUSED, H1_HEAD_TOO_LARGE, H1_LENGTH_AND_CODING, H1_OBS_FOLD,
    H1_OK, H1_REASONS, H1_TARGET_TOO_LONG, H1_TOO_MANY_FIELDS, H1_UNASKED_UPGRADE, h1_reason,
)
from lb._speedups.proto.h1_write cimport (
    H1_WRITE_CHUNKED, H1_WRITE_CLOSE, H1_WRITE_KEEP_ALIVE, H1_WRITE_NO_LENGTH, H1_WRITE_UPGRADE, h1_write_request,
    h1_write_response,
)
from lb._speedups.proto.message cimport field_t, message_t

cdef enum:
    H1_METHOD_MAX = 32          # bytes of a method
    H1_OPTIONS_MAX = 16         # Connection options of one head: each may be compared with every field's name

# Read a request head from m.block[0:m.fill], going on where the last call stopped.
# > 0: bytes of the head; the message is complete (spans, fields, framing, flags, by_name set; Connection options seen).
# 0: more bytes are needed. < 0: minus the status to answer (400, 405, 414, 417, 431, 501, 505), m.reason_id says why;
# asked again, the same is answered. Bytes at and behind m.fill are never read.
# Leading empty lines before the request line: at most one CRLF is skipped (RFC 9112 2.2).
# `Content-Length: 0` is FRAMING_LENGTH with length 0.
cdef int h1_read_request(message_t *m) noexcept nogil

# The same for a response to a request of method `method` (kept in m.method); < 0 is always -502. Framing follows
# RFC 9112 6.3 (HEAD, 1xx, 204 and 304 have none). 101 is given as FRAMING_NONE; whether it was asked for is the
# caller's question. MESSAGE_KEEP_ALIVE is never set together with FRAMING_CLOSE.
cdef int h1_read_response(message_t *m, uint8_t method) noexcept nogil

# A few lower-case words for logs; for a number that is no reason, "unknown".
cdef const char *h1_reason_text(uint8_t reason) noexcept nogil

# The method_id of a token; and m.length from a Content-Length field, False when it is malformed.
cdef uint8_t h1_method_id(const char *p, size_t len) noexcept nogil
cdef bint h1_read_length(message_t *m, const field_t *field) noexcept nogil

# Debug builds: bytes that reading heads has looked at so far in this process, so that tests can show it is linear.
# Always 0 in a release.
cdef uint64_t h1_work() noexcept nogil
