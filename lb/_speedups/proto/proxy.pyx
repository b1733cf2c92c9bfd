from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset


cdef extern from "proto/proxy_tables.h" nogil:
    const uint8_t proxy_signature[12]
    const uint32_t proxy_crc32c_table[16]


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_UNSPEC
        AF_INET
        AF_INET6
        AF_UNIX
    int inet_pton(int family, const char *text, void *address)
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size)


cdef enum:
    SIGNATURE = 12
    COMMAND_LOCAL = 0
    COMMAND_PROXY = 1
    SSL_LEAST = 5                # client bits and verify
    ADDRESS_TEXT = 46            # bytes of an address as text, with its NUL (INET6_ADDRSTRLEN)


cdef inline uint32_t read16(const char *p) noexcept nogil:
    return (<uint32_t> <uint8_t> p[0]) << 8 | <uint8_t> p[1]


cdef inline void write16(char *p, uint32_t n) noexcept nogil:
    p[0] = <char> (n >> 8)
    p[1] = <char> (n & 255)


# --- version 1 ---


# One word of a line: [at, end). Behind it stands one space or the end of the line.
ctypedef struct word_t:
    const char *at
    size_t len


# The next word behind *at, and *at behind the space; False when there is none or it is empty.
cdef bint next_word(const char **at, const char *end, word_t *out) noexcept nogil:
    cdef const char *p = at[0]
    out.at = p
    while p < end and p[0] != 32:
        p += 1
    out.len = <size_t> (p - out.at)
    at[0] = p + 1                             # behind `end` when this was the last one
    return out.len != 0


# A decimal number without leading zeros up to `most`, or -1.
cdef long number(const char *p, size_t n, long most) noexcept nogil:
    cdef long value = 0
    cdef size_t i
    if n == 0 or n > 5 or (n > 1 and p[0] == 48):
        return -1
    for i in range(n):
        if not 48 <= p[i] <= 57:
            return -1
        value = value * 10 + (p[i] - 48)
    return value if value <= most else -1


cdef int read_ipv4(word_t w, uint8_t *out) noexcept nogil:
    cdef const char *p = w.at
    cdef const char *end = w.at + w.len
    cdef const char *dot
    cdef long octet
    cdef int i
    for i in range(4):
        dot = p
        while dot < end and dot[0] != 46:
            dot += 1
        octet = number(p, <size_t> (dot - p), 255)
        if octet < 0 or (dot < end) != (i < 3):
            return -1
        out[i] = <uint8_t> octet
        p = dot + 1
    return 0


cdef int read_ipv6(word_t w, uint8_t *out) noexcept nogil:
    cdef char text[ADDRESS_TEXT]
    if w.len >= sizeof(text):
        return -1
    memcpy(text, w.at, w.len)
    text[w.len] = 0
    # Not inet_pton's business: it ends at a NUL and would not see what is behind.
    if memchr(text, 0, w.len) != NULL:
        return -1
    return 0 if inet_pton(AF_INET6, text, out) == 1 else -1


cdef int read_line(const char *p, const char *end, proxy_t *out) noexcept nogil:
    cdef word_t protocol, source, target, source_port, target_port
    cdef long port
    if not next_word(&p, end, &protocol):
        return -PROXY_BAD_LINE
    if protocol.len == 7 and memcmp(protocol.at, b"UNKNOWN", 7) == 0:
        return 0                              # what may follow says nothing
    if protocol.len != 4 or memcmp(protocol.at, b"TCP", 3) != 0 or (protocol.at[3] != 52 and protocol.at[3] != 54):
        return -PROXY_BAD_PROTOCOL
    if (not next_word(&p, end, &source) or p > end or not next_word(&p, end, &target) or p > end
            or not next_word(&p, end, &source_port) or p > end or not next_word(&p, end, &target_port) or p <= end):
        return -PROXY_BAD_LINE
    if protocol.at[3] == 52:
        out.family = AF_INET
        if read_ipv4(source, out.source) or read_ipv4(target, out.target):
            return -PROXY_BAD_ADDRESS
    else:
        out.family = AF_INET6
        if read_ipv6(source, out.source) or read_ipv6(target, out.target):
            return -PROXY_BAD_ADDRESS
    port = number(source_port.at, source_port.len, 65535)
    if port < 0:
        return -PROXY_BAD_PORT
    out.source_port = <uint16_t> port
    port = number(target_port.at, target_port.len, 65535)
    if port < 0:
        return -PROXY_BAD_PORT
    out.target_port = <uint16_t> port
    return 0


cdef int read_v1(const char *bytes, size_t n, proxy_t *out) noexcept nogil:
    cdef const char *feed
    cdef size_t seen = n if n < PROXY_V1_MAX else PROXY_V1_MAX
    cdef size_t end
    cdef int r
    if memcmp(bytes, b"PROXY ", seen if seen < 6 else 6) != 0:
        return -PROXY_NOT_ONE
    feed = <const char *> memchr(bytes, 10, seen)
    if feed == NULL:
        return 0 if seen < PROXY_V1_MAX else -PROXY_LINE_TOO_LONG
    end = <size_t> (feed - bytes) - 1
    if memchr(bytes, 13, end + 1) != <const void *> (bytes + end):
        return -PROXY_BAD_LINE
    out.version = 1
    r = read_line(bytes + 6, bytes + end, out)
    return r if r != 0 else <int> end + 2


# --- version 2 ---


cdef bint proxy_next_tlv(const char *tlvs, size_t n, size_t *at, proxy_tlv_t *out) noexcept nogil:
    if n - at[0] < 3:
        return False
    out.kind = <uint8_t> tlvs[at[0]]
    out.len = <uint16_t> read16(tlvs + at[0] + 1)
    out.value = tlvs + at[0] + 3
    if n - at[0] - 3 < out.len:
        return False
    at[0] += 3 + <size_t> out.len
    return True


# A bit for each type of which a header has one at most; 0 for all others.
cdef uint32_t single(uint8_t kind) noexcept nogil:
    if kind == PROXY_NOOP:
        return 0
    if PROXY_ALPN <= kind <= PROXY_UNIQUE_ID:
        return <uint32_t> 1 << kind
    if kind == PROXY_SSL:
        return 1 << 8
    if kind == PROXY_NETNS:
        return 1 << 9
    return 0


cdef uint32_t crc32c(uint32_t crc, const char *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        crc ^= <uint8_t> p[i]
        crc = crc >> 4 ^ proxy_crc32c_table[crc & 15]
        crc = crc >> 4 ^ proxy_crc32c_table[crc & 15]
    return crc


# The checksum of a whole header whose CRC32C value stands at `at`: it counts as four zeros.
cdef uint32_t checksum(const char *header, size_t size, size_t at) noexcept nogil:
    cdef uint32_t crc = crc32c(0xffffffffU, header, at)
    crc = crc32c(crc, b"\0\0\0\0", 4)
    return ~crc32c(crc, header + at + 4, size - at - 4)


cdef bint fills_room(const char *tlvs, size_t n) noexcept nogil:
    cdef proxy_tlv_t tlv
    cdef size_t at = 0
    while at < n:
        if not proxy_next_tlv(tlvs, n, &at, &tlv):
            return False
    return True


cdef int read_tlvs(const char *header, size_t size, proxy_t *out) noexcept nogil:
    cdef const char *tlvs = header + out.tlvs_at
    cdef proxy_tlv_t tlv
    cdef uint32_t seen = 0, bit
    cdef size_t at = 0
    cdef const char *sum_ = NULL
    while at < out.tlvs_len:
        if not proxy_next_tlv(tlvs, out.tlvs_len, &at, &tlv):
            return -PROXY_BAD_TLV
        bit = single(tlv.kind)
        if seen & bit:
            return -PROXY_TWICE
        seen |= bit
        if tlv.kind == PROXY_CRC32C:
            if tlv.len != 4:
                return -PROXY_BAD_TLV
            sum_ = tlv.value
        elif tlv.kind == PROXY_UNIQUE_ID:
            if tlv.len > PROXY_UNIQUE_ID_MAX:
                return -PROXY_BAD_TLV
        elif tlv.kind == PROXY_SSL:
            if tlv.len < SSL_LEAST or not fills_room(tlv.value + SSL_LEAST, tlv.len - SSL_LEAST):
                return -PROXY_BAD_TLV
    if sum_ != NULL and checksum(header, size, <size_t> (sum_ - header)) != (read16(sum_) << 16 | read16(sum_ + 2)):
        return -PROXY_BAD_CHECKSUM
    return 0


cdef int read_v2(const char *bytes, size_t n, size_t limit, proxy_t *out) noexcept nogil:
    cdef uint8_t family, protocol
    cdef size_t size, addresses = 0
    cdef int r
    if memcmp(bytes, proxy_signature, n if n < SIGNATURE else SIGNATURE) != 0:
        return -PROXY_NOT_ONE
    if n <= SIGNATURE:
        return 0
    if <uint8_t> bytes[12] >> 4 != 2:
        return -PROXY_BAD_VERSION
    if <uint8_t> bytes[12] & 15 > COMMAND_PROXY:
        return -PROXY_BAD_COMMAND
    if n < PROXY_V2_HEAD:
        return 0
    out.version = 2
    out.is_local = (<uint8_t> bytes[12] & 15) == COMMAND_LOCAL
    size = PROXY_V2_HEAD + read16(bytes + 14)
    family = <uint8_t> bytes[13] >> 4
    protocol = <uint8_t> bytes[13] & 15
    if not out.is_local:
        # A family without a protocol is not among the pairs that the specification lists, nor the other way round.
        if family > 3 or protocol > 2 or (family == 0) != (protocol == 0):
            return -PROXY_BAD_FAMILY
        out.family = AF_INET if family == 1 else AF_INET6 if family == 2 else AF_UNIX if family == 3 else AF_UNSPEC
        out.is_datagram = protocol == 2
        addresses = 12 if family == 1 else 36 if family == 2 else 2 * PROXY_UNIX if family == 3 else 0
    if size < PROXY_V2_HEAD + addresses:
        return -PROXY_BAD_LENGTH
    if size > limit:
        return -PROXY_TOO_LONG
    if n < size:
        return 0
    if out.is_local:
        return <int> size
    if family == 1:
        memcpy(out.source, bytes + 16, 4)
        memcpy(out.target, bytes + 20, 4)
        out.source_port = <uint16_t> read16(bytes + 24)
        out.target_port = <uint16_t> read16(bytes + 26)
    elif family == 2:
        memcpy(out.source, bytes + 16, 16)
        memcpy(out.target, bytes + 32, 16)
        out.source_port = <uint16_t> read16(bytes + 48)
        out.target_port = <uint16_t> read16(bytes + 50)
    out.tlvs_at = <uint16_t> (PROXY_V2_HEAD + addresses)
    out.tlvs_len = <uint16_t> (size - out.tlvs_at)
    r = read_tlvs(bytes, size, out)
    return r if r != 0 else <int> size


cdef int proxy_read(const char *bytes, size_t n, size_t limit, proxy_t *out) noexcept nogil:
    memset(out, 0, sizeof(proxy_t))
    if n == 0:
        return 0
    if bytes[0] == 13:
        return read_v2(bytes, n, limit, out)
    return read_v1(bytes, n, out)


# --- writing ---


# The address as IPv6 has it.
cdef void widen(uint16_t family, const uint8_t *address, uint8_t *out) noexcept nogil:
    if family == AF_INET6:
        memcpy(out, address, 16)
        return
    memset(out, 0, 10)
    out[10] = 255
    out[11] = 255
    memcpy(out + 12, address, 4)


# The family of both addresses, AF_UNSPEC when one is not told.
cdef uint16_t shared_family(const proxy_say_t *say) noexcept nogil:
    if say.is_local or (say.source_family != AF_INET and say.source_family != AF_INET6):
        return AF_UNSPEC
    if say.target_family != AF_INET and say.target_family != AF_INET6:
        return AF_UNSPEC
    return say.source_family if say.source_family == say.target_family else AF_INET6


cdef size_t put_text(char *at, const char *text) noexcept nogil:
    cdef size_t n = 0
    while text[n] != 0:
        at[n] = text[n]
        n += 1
    return n


cdef size_t put_number(char *at, uint32_t n) noexcept nogil:
    cdef char digits[10]
    cdef size_t i = 0, k
    while True:
        digits[i] = <char> (48 + n % 10)
        i += 1
        n //= 10
        if n == 0:
            break
    for k in range(i):
        at[k] = digits[i - 1 - k]
    return i


cdef size_t put_address(char *at, uint16_t family, uint16_t own, const uint8_t *address) noexcept nogil:
    cdef char text[ADDRESS_TEXT]
    cdef uint8_t wide[16]
    if family == AF_INET:
        inet_ntop(AF_INET, address, text, sizeof(text))
    else:
        widen(own, address, wide)
        inet_ntop(AF_INET6, wide, text, sizeof(text))
    return put_text(at, text)


cdef int write_v1(const proxy_say_t *say, char *room, size_t cap) noexcept nogil:
    cdef char line[PROXY_V1_MAX + 1]
    cdef uint16_t family = shared_family(say)
    cdef size_t n
    # UDP has no name in version 1.
    if family == AF_UNSPEC or say.is_datagram:
        n = put_text(line, b"PROXY UNKNOWN")
    else:
        n = put_text(line, b"PROXY TCP4 " if family == AF_INET else b"PROXY TCP6 ")
        n += put_address(line + n, family, say.source_family, say.source)
        n += put_text(line + n, b" ")
        n += put_address(line + n, family, say.target_family, say.target)
        n += put_text(line + n, b" ")
        n += put_number(line + n, say.source_port)
        n += put_text(line + n, b" ")
        n += put_number(line + n, say.target_port)
    n += put_text(line + n, b"\r\n")
    if n > cap:
        return -1
    memcpy(room, line, n)
    return <int> n


cdef size_t put_tlv(char *at, uint8_t kind, const char *value, uint32_t n) noexcept nogil:
    at[0] = <char> kind
    write16(at + 1, n)
    memcpy(at + 3, value, n)
    return 3 + <size_t> n


cdef bint is_passed(const proxy_say_t *say, uint8_t kind) noexcept nogil:
    if say.only_authority:
        return kind == PROXY_AUTHORITY
    return kind != PROXY_CRC32C and kind != PROXY_NOOP and not (kind == PROXY_UNIQUE_ID and say.unique_id != NULL)


cdef int write_v2(const proxy_say_t *say, char *room, size_t cap) noexcept nogil:
    cdef uint16_t family = shared_family(say)
    cdef proxy_tlv_t tlv
    cdef size_t n = PROXY_V2_HEAD, at = 0, sum_ = 0
    cdef uint32_t crc
    cdef uint8_t protocol = 0
    if cap < PROXY_WRITE_MAX + say.tlvs_len or (say.unique_id != NULL and say.unique_id_len > PROXY_UNIQUE_ID_MAX):
        return -1
    memcpy(room, proxy_signature, SIGNATURE)
    room[12] = <char> (0x20 | (COMMAND_LOCAL if say.is_local else COMMAND_PROXY))
    if family != AF_UNSPEC:
        protocol = 2 if say.is_datagram else 1
    if family == AF_INET:
        protocol |= 0x10
        memcpy(room + n, say.source, 4)
        memcpy(room + n + 4, say.target, 4)
        n += 8
    elif family == AF_INET6:
        protocol |= 0x20
        widen(say.source_family, say.source, <uint8_t *> room + n)
        widen(say.target_family, say.target, <uint8_t *> room + n + 16)
        n += 32
    room[13] = <char> protocol
    if family != AF_UNSPEC:
        write16(room + n, say.source_port)
        write16(room + n + 2, say.target_port)
        n += 4
    if say.with_crc32c:
        n += put_tlv(room + n, PROXY_CRC32C, b"\0\0\0\0", 4)
        sum_ = n - 4
    if say.unique_id != NULL:
        n += put_tlv(room + n, PROXY_UNIQUE_ID, say.unique_id, say.unique_id_len)
    while at < say.tlvs_len and proxy_next_tlv(say.tlvs, say.tlvs_len, &at, &tlv):
        if is_passed(say, tlv.kind):
            n += put_tlv(room + n, tlv.kind, tlv.value, tlv.len)
    if n - PROXY_V2_HEAD > 65535:
        return -1
    write16(room + 14, <uint32_t> (n - PROXY_V2_HEAD))
    if sum_:
        crc = checksum(room, n, sum_)
        write16(room + sum_, crc >> 16)
        write16(room + sum_ + 2, crc & 65535)
    return <int> n


cdef int proxy_write(const proxy_say_t *say, char *room, size_t cap) noexcept nogil:
    return write_v1(say, room, cap) if say.version == 1 else write_v2(say, room, cap)


cdef const char *proxy_reason_text(uint8_t reason) noexcept nogil:
    if reason == PROXY_OK:
        return b"accepted"
    if reason == PROXY_NOT_ONE:
        return b"what came is no PROXY header"
    if reason == PROXY_BAD_LINE:
        return b"malformed PROXY line"
    if reason == PROXY_LINE_TOO_LONG:
        return b"a PROXY line of more than 107 bytes"
    if reason == PROXY_BAD_PROTOCOL:
        return b"a PROXY line for neither TCP4, TCP6 nor UNKNOWN"
    if reason == PROXY_BAD_ADDRESS:
        return b"a malformed address in the PROXY line"
    if reason == PROXY_BAD_PORT:
        return b"a malformed port in the PROXY line"
    if reason == PROXY_BAD_VERSION:
        return b"a PROXY header of an unknown version"
    if reason == PROXY_BAD_COMMAND:
        return b"a PROXY header with an unknown command"
    if reason == PROXY_BAD_FAMILY:
        return b"a PROXY header with an unknown address family or protocol"
    if reason == PROXY_BAD_LENGTH:
        return b"a PROXY header shorter than its addresses"
    if reason == PROXY_TOO_LONG:
        return b"a PROXY header longer than max_header"
    if reason == PROXY_BAD_TLV:
        return b"a malformed TLV in the PROXY header"
    if reason == PROXY_TWICE:
        return b"a TLV twice in the PROXY header"
    if reason == PROXY_BAD_CHECKSUM:
        return b"wrong checksum of the PROXY header"
    if reason == PROXY_CUT:
        return b"the connection ended within the PROXY header"
    if reason == PROXY_LATE:
        return b"no whole PROXY header came in time"
    if reason == PROXY_UNLISTED:
        return b"the address is not one that accept_proxy lists"
    return b"unknown"
