# Writing HTTP/1.1 heads from messages. See h1.pxd.
#
# Fields that nobody touched and that stand next to each other are bytes next to each other in the block: they are
# copied as one run. Everything else is written from name and value. What the codec owns is never copied: hop-by-hop
# fields are left out, framing fields and Connection are written anew (a Content-Length that is right as it stands is
# left in its run).
from libc.stdint cimport uint32_t
from lb._speedups.proto.message cimport message_t

cdef enum:                      # flags of the writers
    H1_WRITE_CLOSE = 1 << 0     # say `Connection: close`
    H1_WRITE_UPGRADE = 1 << 1   # say `Connection: upgrade` and keep the Upgrade field (of a MESSAGE_UPGRADE)
    H1_WRITE_CHUNKED = 1 << 2   # frame the body as chunked (else m.framing: LENGTH -> Content-Length, NONE/CLOSE -> nothing)
    H1_WRITE_KEEP_ALIVE = 1 << 3  # say `Connection: keep-alive` (to 1.0 clients)
    H1_WRITE_NO_LENGTH = 1 << 4   # neither Content-Length nor Transfer-Encoding (a close-delimited body)

# Write a head into dst[0:cap] as HTTP/1.1: origin-form target (or `*`), Host from m.authority when the message has no
# Host field (RFC 9112 3.2: an empty one when there is no authority), live fields in order with their case, hop-by-hop
# fields left out, framing fields as `flags` say, then Connection when needed. FRAMING_CHUNKED means chunked also without
# H1_WRITE_CHUNKED, unless H1_WRITE_NO_LENGTH. Returns the bytes written, or -1 when cap does not suffice.
# For HEAD and 304 responses a Content-Length that the server sent is kept as information, and so is m.length of a reply
# made here with FRAMING_LENGTH; no other framing is said. 1xx and 204 say none at all (RFC 9110 8.6).
cdef ssize_t h1_write_request(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil
cdef ssize_t h1_write_response(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil
