# The chunked coding (RFC 9112 7.1): bytes of a body -> slices of data, and the lines in front of chunks.
#
#     size [;extensions] CRLF data CRLF ... 0 [;extensions] CRLF [trailer fields] CRLF
#
# A table-free state machine that is fed any piece of the body and remembers its place in chunked_t; nothing is kept of
# the bytes, so the verdict cannot depend on how they were cut. Extensions and trailer fields are read by their grammar
# and dropped. Strict: CRLF only, 1 to 16 hex digits below 2^63, both bytes behind the data are checked, no white space
# but that which the grammar has in front of extensions. All that is not data is bounded per message.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

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
    uint16_t line               # bytes of the present chunk line, or of the present trailer name
    uint8_t state               # position in the grammar
    uint8_t digits              # hex digits of the present size
    uint8_t reason              # h1_reason once refused
    uint8_t fields              # trailer fields seen (at most MESSAGE_FIELDS_MAX)

# Ready for the first byte of a body. No other function may see a chunked_t before.
cdef void chunked_init(chunked_t *c) noexcept nogil

# Read from p[0:n]. *used = bytes consumed in front of the slice (framing) plus the slice; for CHUNKED_DATA the slice is
# p[*data_at : *data_at + *data_len] and ends at *used; otherwise *data_len is 0. Trailer fields are validated and
# dropped. CHUNKED_END and CHUNKED_BAD are final: asked again, the same is answered and nothing is used.
cdef int chunked_read(chunked_t *c, const char *p, size_t n, size_t *used, size_t *data_at,
                      size_t *data_len) noexcept nogil

# True once the size line of the last chunk has been read: no data will come any more.
cdef bint chunked_is_last(const chunked_t *c) noexcept nogil

# Write the line in front of a chunk of n > 0 bytes ("1f40\r\n"), at most 18 bytes; returns their number.
cdef int chunked_write_size(uint64_t n, char *dst) noexcept nogil
