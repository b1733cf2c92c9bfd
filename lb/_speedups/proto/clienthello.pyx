from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

cdef enum:
    RECORD_HANDSHAKE = 22
    RECORD_HEAD = 5              # type, version, length
    RECORD_MOST = 16384 + 2048   # RFC 5246 6.2.3
    MESSAGE_HEAD = 4             # type, length
    CLIENT_HELLO = 1
    EXTENSION_SERVER_NAME = 0
    EXTENSION_GROUPS = 10
    EXTENSION_ALPN = 16
    EXTENSION_TICKET = 35
    NAME_HOST = 0


ctypedef struct reader_t:        # what is left of a vector
    const uint8_t *p
    size_t n


# Take a number of `size` bytes. False: it is not there.
cdef inline bint take_number(reader_t *r, size_t size, uint32_t *out) noexcept nogil:
    cdef size_t i
    if r.n < size:
        return False
    out[0] = 0
    for i in range(size):
        out[0] = out[0] << 8 | r.p[i]
    r.p += size
    r.n -= size
    return True


cdef inline bint take_bytes(reader_t *r, size_t n, reader_t *out) noexcept nogil:
    if r.n < n:
        return False
    out.p = r.p
    out.n = n
    r.p += n
    r.n -= n
    return True


# A vector behind its length of `size` bytes.
cdef inline bint take_vector(reader_t *r, size_t size, reader_t *out) noexcept nogil:
    cdef uint32_t n
    return take_number(r, size, &n) and take_bytes(r, n, out)


# The handshake message at the beginning: its bytes in one piece, its type in front. HELLO_*.
cdef int gather(const char *p, size_t n, char *room, reader_t *out) noexcept nogil:
    cdef const uint8_t *u = <const uint8_t *> p
    cdef size_t at = 0, used = 0, wanted = MESSAGE_HEAD, length, some
    while True:
        if n - at < RECORD_HEAD:
            # A wrong beginning is told at once, byte by byte.
            if n > at and u[at] != RECORD_HANDSHAKE or n - at > 1 and u[at + 1] < 3:
                return HELLO_NONE
            return HELLO_PART
        if u[at] != RECORD_HANDSHAKE or u[at + 1] < 3:
            return HELLO_NONE
        length = <size_t> u[at + 3] << 8 | u[at + 4]
        if length == 0 or length > RECORD_MOST:   # RFC 8446 5.1: handshake records are never empty
            return HELLO_NONE
        at += RECORD_HEAD
        some = length if length < n - at else n - at
        if used == 0 and some > 0 and u[at] != CLIENT_HELLO:
            return HELLO_NONE
        if used == 0 and some >= MESSAGE_HEAD:
            wanted = MESSAGE_HEAD + (<size_t> u[at + 1] << 16 | <size_t> u[at + 2] << 8 | u[at + 3])
            if wanted > HELLO_MAX:
                return HELLO_NONE
            if some >= wanted:                    # the usual one: whole, in one record
                out.p = u + at
                out.n = wanted
                return HELLO_FOUND
        if some > HELLO_MAX - used:
            some = HELLO_MAX - used
        memcpy(room + used, u + at, some)
        used += some
        if wanted == MESSAGE_HEAD and used >= MESSAGE_HEAD:
            u = <const uint8_t *> room
            wanted = MESSAGE_HEAD + (<size_t> u[1] << 16 | <size_t> u[2] << 8 | u[3])
            u = <const uint8_t *> p
            if wanted > HELLO_MAX:
                return HELLO_NONE
        if used >= wanted and wanted > MESSAGE_HEAD:
            out.p = <const uint8_t *> room
            out.n = wanted
            return HELLO_FOUND
        if some < length:
            return HELLO_PART
        at += length


# RFC 6066 3: the list of names, of which the first host name counts.
cdef bint read_names(reader_t r, hello_t *out) noexcept nogil:
    cdef reader_t names, name
    cdef uint32_t kind
    if not take_vector(&r, 2, &names) or names.n == 0:
        return False
    while names.n:
        if not take_number(&names, 1, &kind) or not take_vector(&names, 2, &name):
            return False
        if kind == NAME_HOST and out.sni == NULL:
            out.sni = <const char *> name.p
            out.sni_len = <uint32_t> name.n
    return True


# RFC 7301 3.1: a list of names of at least one byte.
cdef bint read_protocols(reader_t r, hello_t *out) noexcept nogil:
    cdef reader_t list_, rest, name
    if not take_vector(&r, 2, &list_) or list_.n == 0:
        return False
    rest = list_
    while rest.n:
        if not take_vector(&rest, 1, &name) or name.n == 0:
            return False
    out.alpn = <const char *> list_.p
    out.alpn_len = <uint32_t> list_.n
    return True


cdef int hello_read(const char *p, size_t n, char *room, hello_t *out) noexcept nogil:
    cdef reader_t r, part, extensions
    cdef uint32_t kind
    cdef int found
    memset(out, 0, sizeof(hello_t))
    found = gather(p, n, room, &r)
    if found != HELLO_FOUND:
        return found
    take_bytes(&r, MESSAGE_HEAD, &part)
    if not take_bytes(&r, 2, &part) or part.p[0] < 3 or part.p[1] < 1:    # TLS 1.0
        return HELLO_NONE
    out.version = <uint32_t> part.p[0] << 16 | part.p[1]
    if not take_bytes(&r, 32, &part):
        return HELLO_NONE
    if not take_vector(&r, 1, &part) or part.n > 32:          # session id
        return HELLO_NONE
    if not take_vector(&r, 2, &part) or part.n < 2:           # cipher suites
        return HELLO_NONE
    if not take_vector(&r, 1, &part) or part.n < 1:           # compression methods
        return HELLO_NONE
    if r.n == 0:
        return HELLO_FOUND                                    # before extensions there were none
    if not take_vector(&r, 2, &extensions):
        return HELLO_NONE
    out.flags |= HELLO_EXTENSIONS
    while extensions.n:
        if not take_number(&extensions, 2, &kind) or not take_vector(&extensions, 2, &part):
            return HELLO_NONE
        if kind == EXTENSION_SERVER_NAME and out.sni == NULL:
            if not read_names(part, out):
                return HELLO_NONE
        elif kind == EXTENSION_ALPN and out.alpn == NULL:
            if not read_protocols(part, out):
                return HELLO_NONE
        elif kind == EXTENSION_GROUPS:
            out.flags |= HELLO_GROUPS
        elif kind == EXTENSION_TICKET:
            out.flags |= HELLO_TICKET if part.n else HELLO_NO_TICKET
    return HELLO_FOUND


cdef int hello_type(const char *p, size_t n, uint32_t *type) noexcept nogil:
    cdef const uint8_t *u = <const uint8_t *> p
    if n == 0:
        return HELLO_PART
    if not 20 <= u[0] <= 23 and u[0] != 255:
        return HELLO_NONE
    if n < RECORD_HEAD + MESSAGE_HEAD:
        return HELLO_PART
    if u[1] < 3 or (<size_t> u[3] << 8 | u[4]) < MESSAGE_HEAD:
        return HELLO_NONE
    if n < RECORD_HEAD + MESSAGE_HEAD + (<size_t> u[6] << 16 | <size_t> u[7] << 8 | u[8]):
        return HELLO_PART
    type[0] = u[5]
    return HELLO_FOUND


# SSLv2's form of a hello (RFC 5246 E.2): lengths of what follows, in two or three bytes. 0, or HELLO_NONE and HELLO_PART.
cdef int version_of_v2(const uint8_t *u, size_t n, size_t *wanted, uint32_t *version) noexcept nogil:
    cdef size_t head = 2 if u[0] & 0x80 else 3
    cdef size_t record, pad, ciphers, session, challenge
    if n < head + 1:
        return HELLO_PART
    record = <size_t> (u[0] & (0x7f if head == 2 else 0x3f)) << 8 | u[1]
    pad = 0 if head == 2 else u[2]
    if u[head] != CLIENT_HELLO:
        return HELLO_NONE
    if n < head + 9:
        return HELLO_PART
    u += head + 1
    version[0] = <uint32_t> u[0] << 16 | u[1]
    ciphers = <size_t> u[2] << 8 | u[3]
    session = <size_t> u[4] << 8 | u[5]
    challenge = <size_t> u[6] << 8 | u[7]
    if ciphers % 3 != 0 or (session != 0 and session != 16) or not 16 <= challenge <= 32 \
            or record != 9 + ciphers + session + challenge:
        return HELLO_NONE
    wanted[0] = head + 9 + ciphers + session + challenge + pad
    return HELLO_FOUND


cdef int hello_version(const char *p, size_t n, size_t most, uint32_t *version) noexcept nogil:
    cdef const uint8_t *u = <const uint8_t *> p
    cdef size_t wanted = 0, length
    cdef int found
    if n == 0:
        return HELLO_PART
    if 20 <= u[0] <= 23 or u[0] == 255:
        if n < RECORD_HEAD + 6:
            return HELLO_PART
        length = <size_t> u[3] << 8 | u[4]
        if u[1] < 3 or not 6 <= length <= RECORD_MOST:
            return HELLO_NONE
        version[0] = <uint32_t> u[1] << 16 | u[2]
        if u[5] == CLIENT_HELLO:                  # what it offers, not what its record says
            version[0] = <uint32_t> u[9] << 16 | u[10]
        wanted = RECORD_HEAD + length
    else:
        found = version_of_v2(u, n, &wanted, version)
        if found != HELLO_FOUND:
            return found
    return HELLO_FOUND if n >= (wanted if wanted < most else most) else HELLO_PART
