# HTTP/1.1 and 1.0: bytes <-> message, body framing. No I/O.
#
# One strict grammar (RFC 9110, RFC 9112) for requests, responses, chunks and trailers. What two readers could read
# differently is refused, never repaired. The reader is fed by appending to m.block (m.fill grows) and called again; it
# works by whole lines and remembers where it stands, so that feeding byte by byte costs linear time in total, and
# limits hold on what has arrived so far. The writer writes from the parsed form only.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.proto.message cimport message_t

cdef enum h1_reason:            # why a message was refused; printed in logs (h1_reason_text)
    H1_OK = 0
    H1_BAD_START_LINE
    H1_BAD_METHOD
    H1_BAD_TARGET
    H1_BAD_VERSION
    H1_BAD_LINE_END             # bare LF, bare CR
    H1_BAD_FIELD_NAME
    H1_BAD_FIELD_VALUE
    H1_OBS_FOLD
    H1_BAD_HOST                 # missing, twice, malformed, or not the target's authority
    H1_BAD_LENGTH               # Content-Length malformed or repeated
    H1_BAD_CODING               # Transfer-Encoding other than exactly `chunked`, once
    H1_LENGTH_AND_CODING        # both
    H1_CODING_IN_10             # Transfer-Encoding in 1.0
    H1_TARGET_TOO_LONG
    H1_HEAD_TOO_LARGE
    H1_TOO_MANY_FIELDS
    H1_BAD_STATUS
    H1_BAD_CHUNK
    H1_CHUNK_EXTENSIONS         # more extension bytes than the budget
    H1_BAD_TRAILER
    H1_CONNECT_REFUSED          # the method CONNECT (answered 405 or 501)
    H1_BAD_EXPECT               # Expect other than 100-continue (417)
    H1_UNASKED_UPGRADE          # 101 nobody asked for
    H1_REASONS

# Read a request head from m.block[0:m.fill], going on where the last call stopped.
# > 0: bytes of the head; the message is complete (spans, fields, framing, flags, by_name set; Connection options seen).
# 0: more bytes are needed. < 0: minus the status to answer (400, 405, 414, 417, 431, 501, 505), m.reason_id says why.
# Leading empty lines before the request line: at most one CRLF is skipped (RFC 9112 2.2).
cdef int h1_read_request(message_t *m) noexcept nogil

# The same for a response to a request of method `method_id`; < 0 is always -502. Framing follows RFC 9112 6.3
# (HEAD, 1xx, 204 and 304 have none). 101 is given as FRAMING_NONE; whether it was asked for is the caller's question.
cdef int h1_read_response(message_t *m, uint8_t method) noexcept nogil

cdef const char *h1_reason_text(uint8_t reason) noexcept nogil

cdef enum:                      # flags of the writers
    H1_WRITE_CLOSE = 1 << 0     # say `Connection: close`
    H1_WRITE_UPGRADE = 1 << 1   # say `Connection: upgrade` and keep the Upgrade field
    H1_WRITE_CHUNKED = 1 << 2   # frame the body as chunked (else m.framing: LENGTH -> Content-Length, NONE/CLOSE -> nothing)
    H1_WRITE_KEEP_ALIVE = 1 << 3  # say `Connection: keep-alive` (to 1.0 clients)
    H1_WRITE_NO_LENGTH = 1 << 4   # neither Content-Length nor Transfer-Encoding (a close-delimited body)

# Write a head into dst[0:cap] as HTTP/1.1: origin-form target (or `*`), Host from m.authority when the target was in
# absolute-form, live fields in order with their case, hop-by-hop fields left out, framing fields as `flags` say, then
# Connection when needed. Returns the bytes written, or -1 when cap does not suffice.
# For HEAD and 304 responses a Content-Length that the server sent is kept as information.
cdef ssize_t h1_write_request(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil
cdef ssize_t h1_write_response(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil

# --- the chunked coding (RFC 9112 7.1) ---

cdef enum:
    H1_EXTENSION_MAX = 4096     # bytes of chunk extensions one message may carry
    H1_TRAILER_MAX = 4096       # bytes of its trailer section
    H1_CHUNK_LINE_MAX = 4096    # bytes of one chunk line

cdef enum:                      # answers of chunked_read
    CHUNKED_MORE = 0            # all input used, more is needed
    CHUNKED_DATA = 1            # a slice of data
    CHUNKED_END = 2             # the trailer section has ended; what follows is not of this message
    CHUNKED_BAD = -1            # refused; reason set

ctypedef struct chunked_t:
    uint64_t left               # bytes left of the present chunk's data
    uint32_t extension          # extension bytes seen in this message
    uint32_t trailer            # trailer bytes seen
    uint16_t line               # bytes of the present line seen
    uint8_t state               # position in the grammar
    uint8_t digits              # hex digits of the present size
    uint8_t reason              # h1_reason once refused
    uint8_t fields              # trailer fields seen (at most 101)

cdef void chunked_init(chunked_t *c) noexcept nogil

# Read from p[0:n]. *used = bytes consumed in front of the slice (framing) plus the slice; for CHUNKED_DATA the slice is
# p[*data_at : *data_at + *data_len] and ends at *used. Trailer fields are validated and dropped.
cdef int chunked_read(chunked_t *c, const char *p, size_t n, size_t *used, size_t *data_at, size_t *data_len) noexcept nogil

# Write the line in front of a chunk of n > 0 bytes ("1f40\r\n"), at most 18 bytes; returns their number.
cdef int chunked_write_size(uint64_t n, char *dst) noexcept nogil
