# The PROXY protocol (haproxy.org, proxy-protocol.txt): who the client is, told in front of a connection's bytes.
#
# Version 1 is a line of text, at most 107 bytes: `PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n`, TCP6 or UNKNOWN. Version 2
# is binary: a signature of 12 bytes, version and command, family and protocol, a length, two addresses, then TLVs (type,
# length, value). The command LOCAL says that the sender speaks for itself (a health check, say).
#
# A reader must not take a byte more than the header: what follows belongs to the session, and perhaps to TLS. So proxy_read()
# is shown the first bytes of the connection (they stay where they are: recv with MSG_PEEK) and says how many of them the header
# is. It is shown them from the beginning again when more have come, and its verdict does not depend on how they were cut.
#
# What is not exactly a header is refused, never repaired: other spellings of numbers, addresses of another family, TLVs that
# do not fill their room, a known TLV twice (two readers could take different ones), a wrong checksum. Of a LOCAL header, what
# stands behind the length is skipped unseen, as the specification asks.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    PROXY_V1_MAX = 107           # bytes of a line with its end
    PROXY_V2_HEAD = 16           # bytes before the addresses
    PROXY_UNIX = 108             # bytes of each address of AF_UNIX
    PROXY_V2_LEAST = 232         # a header with these and no TLV: the least that a limit may be
    PROXY_UNIQUE_ID_MAX = 128
    PROXY_WRITE_MAX = 256        # bytes that proxy_write() needs beyond the passed TLVs

cdef enum proxy_reason:          # why a header was refused; apart from h1_reason, so that one number can hold either
    PROXY_OK = 0
    PROXY_NOT_ONE = 128          # what came is no PROXY header
    PROXY_BAD_LINE               # version 1: not `PROXY`, a protocol and what belongs to it, single spaces, CR LF
    PROXY_LINE_TOO_LONG          # version 1: no end within 107 bytes
    PROXY_BAD_PROTOCOL           # version 1: other than TCP4, TCP6 and UNKNOWN
    PROXY_BAD_ADDRESS            # version 1: not an address of the family that was named
    PROXY_BAD_PORT               # version 1: not 0 to 65535, or with leading zeros
    PROXY_BAD_VERSION            # version 2: its signature, and another version
    PROXY_BAD_COMMAND            # neither LOCAL nor PROXY
    PROXY_BAD_FAMILY             # a family or protocol, or a pair of these, that is not defined
    PROXY_BAD_LENGTH             # shorter than the addresses of its family
    PROXY_TOO_LONG               # longer than the limit
    PROXY_BAD_TLV                # a TLV that does not fit its room
    PROXY_TWICE                  # a TLV of which there is one, twice
    PROXY_BAD_CHECKSUM
    PROXY_CUT                    # told by the caller: the connection ended within the header
    PROXY_LATE                   # told by the caller: it did not come in time
    PROXY_UNLISTED               # told by the caller: connections from this address are not taken
    PROXY_REASONS

cdef enum proxy_type:            # of TLVs
    PROXY_ALPN = 0x01
    PROXY_AUTHORITY = 0x02
    PROXY_CRC32C = 0x03
    PROXY_NOOP = 0x04
    PROXY_UNIQUE_ID = 0x05
    PROXY_SSL = 0x20
    PROXY_NETNS = 0x30

ctypedef struct proxy_t:         # a header that was read
    uint8_t version              # 1, 2
    uint8_t is_local             # the sender speaks for itself: its own address counts
    uint8_t is_datagram          # the client came over UDP
    uint8_t pad
    uint16_t family              # AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC = addresses are not told (UNKNOWN, LOCAL)
    uint16_t source_port         # host order
    uint16_t target_port
    uint8_t source[16]           # network order; none for AF_UNIX, whose paths are not kept
    uint8_t target[16]
    uint16_t tlvs_at             # TLVs: offset in the header
    uint16_t tlvs_len            # and bytes, 0 = none

ctypedef struct proxy_say_t:     # a header to be written
    uint8_t version              # 1, 2
    uint8_t is_local
    uint8_t is_datagram
    uint8_t with_crc32c          # the rest is for version 2
    uint16_t source_family       # AF_INET, AF_INET6; else addresses are not told
    uint16_t target_family
    uint16_t source_port
    uint16_t target_port
    const uint8_t *source
    const uint8_t *target
    const char *unique_id        # NULL = none
    uint32_t unique_id_len       # at most PROXY_UNIQUE_ID_MAX
    const char *tlvs             # TLVs of a header that was read, to be passed on
    uint32_t tlvs_len
    uint8_t only_authority       # of them only AUTHORITY

ctypedef struct proxy_tlv_t:
    const char *value
    uint16_t len
    uint8_t kind

# Look for a header at the beginning of bytes[0:n]: its size, or 0 (more bytes are needed), or minus a proxy_reason. `limit` is for
# version 2 and counts the whole header. Never looks at what is behind the header.
cdef int proxy_read(const char *bytes, size_t n, size_t limit, proxy_t *out) noexcept nogil

# Write a header: its size, or -1 when it does not fit. CRC32C and NOOP of `tlvs` are left out, and UNIQUE_ID when there is a new
# one; addresses of two families go out as IPv6.
cdef int proxy_write(const proxy_say_t *say, char *room, size_t cap) noexcept nogil

# The TLV at *at; moves *at behind it. False at the end, or when it does not fit.
cdef bint proxy_next_tlv(const char *tlvs, size_t n, size_t *at, proxy_tlv_t *out) noexcept nogil

# A sentence without its end, for logs.
cdef const char *proxy_reason_text(uint8_t reason) noexcept nogil
