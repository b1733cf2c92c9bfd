# What a TLS client says first (RFC 8446 4.1.2, RFC 5246 7.4.1.2, RFC 6066 3, RFC 7301 3.1), read without answering it: bytes in,
# spans out.
#
# A hello is a handshake message in one record or in several; what stands in several is put together in the caller's room, so that
# nobody passes a rule by cutting its hello. The message is read when all of it is here. What is read is checked against the
# lengths around it; bytes beyond `n` are never touched, whatever a length says.
#
# Two older questions are answered about the record alone, as HAProxy answers them: the type of the first handshake message
# (hello_type), and the version that a hello offers, of SSLv2's form too (hello_version).
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

cdef enum:
    HELLO_MAX = 16384            # bytes of a hello that is put together

cdef enum:                       # answers
    HELLO_NONE = 0               # it is none, or not of TLS
    HELLO_FOUND = 1
    HELLO_PART = 2               # what is here may be the beginning of one

cdef enum:                       # hello_t.flags
    HELLO_GROUPS = 1 << 0        # has supported_groups, formerly the elliptic curves
    HELLO_TICKET = 1 << 1        # has session_ticket, with a ticket
    HELLO_NO_TICKET = 1 << 2     # has it without one
    HELLO_EXTENSIONS = 1 << 3    # has extensions, if an empty list of them

ctypedef struct hello_t:
    const char *sni              # the first name of kind host_name; NULL = none
    const char *alpn             # its protocols as they stand in the extension, each behind its length; NULL = none
    uint32_t sni_len
    uint32_t alpn_len
    uint32_t version             # legacy_version, major << 16 | minor
    uint32_t flags               # HELLO_*

# Read a hello from its first n bytes; `room` has HELLO_MAX. Spans are into p or into room.
cdef int hello_read(const char *p, size_t n, char *room, hello_t *out) noexcept nogil

# The type of the first handshake message, once all of it is here. Of a server's first bytes too.
cdef int hello_type(const char *p, size_t n, uint32_t *type) noexcept nogil

# The version, once the record is here, or its first `most` bytes.
cdef int hello_version(const char *p, size_t n, size_t most, uint32_t *version) noexcept nogil
