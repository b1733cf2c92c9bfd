from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memchr, memcmp, memcpy

from lb._speedups.proto.authority cimport authority_is_valid
from lb._speedups.proto.h1 cimport H1_METHOD_MAX, h1_method_id, h1_read_length
from lb._speedups.proto.h1_reason cimport (
    H1_BAD_CODING, H1_BAD_EXPECT, H1_BAD_FIELD_NAME, H1_BAD_FIELD_VALUE, H1_BAD_HOST, H1_BAD_LENGTH, H1_BAD_METHOD,
    H1_BAD_START_LINE, H1_BAD_STATUS, H1_BAD_TARGET, H1_CONNECT_REFUSED, H1_HEAD_TOO_LARGE, H1_TARGET_TOO_LONG,
    H1_TOO_MANY_FIELDS, H1_UNASKED_UPGRADE,
)
from lb._speedups.proto.message cimport (
    FIELD_FRAMING, FIELD_HOP, FRAMING_CHUNKED, FRAMING_LENGTH, FRAMING_NONE, MESSAGE_EXPECT_CONTINUE,
    MESSAGE_FIELDS_MAX, MESSAGE_HEAD_MAX, MESSAGE_RESPONSE, MESSAGE_STAR, MESSAGE_TARGET_MAX,
    METHOD_CONNECT, METHOD_HEAD, METHOD_OPTIONS, NAME_CONNECTION, NAME_CONTENT_LENGTH, NAME_EXPECT, NAME_HOST,
    NAME_HTTP2_SETTINGS, NAME_KEEP_ALIVE, NAME_OTHER, NAME_PROXY_CONNECTION, NAME_TE, NAME_TRANSFER_ENCODING,
    NAME_UPGRADE, field_t, message_reset, message_t, span_t,
)

cdef extern from "proto/h1_tables.h" nogil:
    const char *h1_skip_token(const char *p, const char *end)
    const char *h1_skip_value(const char *p, const char *end)
    const char *h1_skip_target(const char *p, const char *end)
    bint h1_equal(const char *a, const char *b, size_t len)
    uint8_t h1_name_id(const char *p, size_t len)


cdef int refuse(message_t *m, int status, int reason) noexcept nogil:
    m.reason_id = <uint8_t> reason
    m.status = 502 if m.kind == MESSAGE_RESPONSE else <uint16_t> status
    return -<int> m.status


cdef void pairs_begin(message_t *m, uint8_t kind, uint8_t method) noexcept nogil:
    message_reset(m, kind)
    m.method = method


# Append bytes to the block; False when a head may not have that many.
cdef bint put(message_t *m, const char *p, size_t n, span_t *out) noexcept nogil:
    if n > <size_t> (MESSAGE_HEAD_MAX - m.fill):
        return False
    out.at = m.fill
    out.len = <uint16_t> n
    memcpy(m.block + m.fill, p, n)
    m.fill += <uint16_t> n
    return True


cdef inline bint named(const char *name, size_t n, const char *text, size_t len) noexcept nogil:
    return n == len and memcmp(name, text, len) == 0


cdef int add_method(message_t *m, const char *value, size_t n) noexcept nogil:
    if m.method_at.len or n == 0 or h1_skip_token(value, value + n) != value + n:
        return refuse(m, 400, H1_BAD_METHOD)
    if n > H1_METHOD_MAX:
        return refuse(m, 501, H1_BAD_METHOD)
    m.method = h1_method_id(value, n)
    if m.method == METHOD_CONNECT:
        return refuse(m, 405, H1_CONNECT_REFUSED)
    return 0 if put(m, value, n, &m.method_at) else refuse(m, 431, H1_HEAD_TOO_LARGE)


cdef int add_path(message_t *m, const char *value, size_t n) noexcept nogil:
    if m.target.len or n == 0 or h1_skip_target(value, value + n) != value + n:
        return refuse(m, 400, H1_BAD_TARGET)
    if value[0] != c'/' and (n != 1 or value[0] != c'*'):
        return refuse(m, 400, H1_BAD_TARGET)
    if n > MESSAGE_TARGET_MAX:
        return refuse(m, 414, H1_TARGET_TOO_LONG)
    return 0 if put(m, value, n, &m.target) else refuse(m, 431, H1_HEAD_TOO_LARGE)


cdef int add_status(message_t *m, const char *value, size_t n) noexcept nogil:
    cdef int i
    if m.status or n != 3 or not c'1' <= value[0] <= c'5':
        return refuse(m, 502, H1_BAD_STATUS)
    for i in range(1, 3):
        if not c'0' <= value[i] <= c'9':
            return refuse(m, 502, H1_BAD_STATUS)
    m.status = <uint16_t> ((value[0] - c'0') * 100 + (value[1] - c'0') * 10 + (value[2] - c'0'))
    if m.status == 101:                       # RFC 9113 8.6
        return refuse(m, 502, H1_UNASKED_UPGRADE)
    return 0


cdef int add_pseudo(message_t *m, const char *name, size_t name_len, const char *value, size_t n) noexcept nogil:
    if m.nfields:                             # RFC 9113 8.3: before all fields
        return refuse(m, 400, H1_BAD_FIELD_NAME)
    if m.kind == MESSAGE_RESPONSE:
        if named(name, name_len, b":status", 7):
            return add_status(m, value, n)
        return refuse(m, 502, H1_BAD_FIELD_NAME)
    if named(name, name_len, b":method", 7):
        return add_method(m, value, n)
    if named(name, name_len, b":path", 5):
        return add_path(m, value, n)
    if named(name, name_len, b":scheme", 7):
        if m.scheme.len or not (named(value, n, b"http", 4) or named(value, n, b"https", 5)):
            return refuse(m, 400, H1_BAD_TARGET)
        return 0 if put(m, value, n, &m.scheme) else refuse(m, 431, H1_HEAD_TOO_LARGE)
    if named(name, name_len, b":authority", 10):
        if m.authority.len or not authority_is_valid(value, n):
            return refuse(m, 400, H1_BAD_HOST)
        return 0 if put(m, value, n, &m.authority) else refuse(m, 431, H1_HEAD_TOO_LARGE)
    return refuse(m, 400, H1_BAD_FIELD_NAME)


# A field that the codec must understand: ids up to NAME_EXPECT.
cdef int read_special(message_t *m, field_t *field) noexcept nogil:
    cdef const char *value = m.block + field.value_at
    cdef bint is_again = m.by_name[field.id] != 0
    if field.id == NAME_CONTENT_LENGTH:
        field.flags |= FIELD_FRAMING
        if is_again or not h1_read_length(m, field):
            return refuse(m, 400, H1_BAD_LENGTH)
        return 0
    if field.id == NAME_CONNECTION or field.id == NAME_TRANSFER_ENCODING or field.id == NAME_KEEP_ALIVE \
            or field.id == NAME_PROXY_CONNECTION or field.id == NAME_UPGRADE or field.id == NAME_HTTP2_SETTINGS:
        return refuse(m, 400, H1_BAD_CODING if field.id == NAME_TRANSFER_ENCODING else H1_BAD_FIELD_NAME)
    if m.kind == MESSAGE_RESPONSE and (field.id == NAME_HOST or field.id == NAME_EXPECT):
        return 0
    if field.id == NAME_HOST:
        if is_again or not authority_is_valid(value, field.value_len):
            return refuse(m, 400, H1_BAD_HOST)
        return 0
    if field.id == NAME_EXPECT:
        if is_again or field.value_len != 12 or not h1_equal(value, b"100-continue", 12):
            return refuse(m, 417, H1_BAD_EXPECT)
        m.flags |= MESSAGE_EXPECT_CONTINUE
        return 0
    if field.id == NAME_TE and not (field.value_len == 8 and h1_equal(value, b"trailers", 8)):
        return refuse(m, 400, H1_BAD_FIELD_VALUE)   # RFC 9113 8.2.2
    field.flags |= FIELD_HOP                  # TE, Trailer, Proxy-Auth*: as in HTTP/1
    return 0


cdef bint has_upper(const char *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if c'A' <= p[i] <= c'Z':
            return True
    return False


cdef inline bint is_space(char byte) noexcept nogil:
    return byte == c' ' or byte == c'\t'


cdef int add_field(message_t *m, const char *name, size_t name_len, const char *value, size_t n) noexcept nogil:
    cdef field_t *field
    cdef span_t at
    cdef int r
    if name_len == 0 or name_len > 255 or h1_skip_token(name, name + name_len) != name + name_len \
            or has_upper(name, name_len):
        return refuse(m, 400, H1_BAD_FIELD_NAME)
    # RFC 9113 8.2.1: no white space around it either
    if h1_skip_value(value, value + n) != value + n or (n and (is_space(value[0]) or is_space(value[n - 1]))):
        return refuse(m, 400, H1_BAD_FIELD_VALUE)
    if m.nfields == MESSAGE_FIELDS_MAX:
        return refuse(m, 431, H1_TOO_MANY_FIELDS)
    if name_len + n + 4 > <size_t> (MESSAGE_HEAD_MAX - m.fill):
        return refuse(m, 431, H1_HEAD_TOO_LARGE)
    field = &m.fields[m.nfields]
    field.name_at = m.fill
    field.name_len = <uint8_t> name_len
    field.value_at = <uint16_t> (m.fill + name_len + 2)
    field.value_len = <uint16_t> n
    field.id = h1_name_id(name, name_len)
    field.flags = 0
    field.pad = 0
    put(m, name, name_len, &at)
    put(m, b": ", 2, &at)
    put(m, value, n, &at)
    put(m, b"\r\n", 2, &at)
    field.line_end = m.fill
    if field.id != NAME_OTHER:
        if field.id <= NAME_EXPECT:
            r = read_special(m, field)
            if r != 0:
                return r
        if m.by_name[field.id] == 0:
            m.by_name[field.id] = <uint16_t> (m.nfields + 1)
    m.nfields += 1
    return 0


cdef int pairs_add(message_t *m, const char *name, size_t name_len, const char *value, size_t value_len) noexcept nogil:
    if m.reason_id:
        return -<int> m.status
    if name_len and name[0] == c':':
        return add_pseudo(m, name, name_len, value, value_len)
    return add_field(m, name, name_len, value, value_len)


# RFC 9113 8.3.1.
cdef int end_request(message_t *m) noexcept nogil:
    cdef const field_t *host
    cdef const char *mark
    if m.method_at.len == 0:
        return refuse(m, 400, H1_BAD_METHOD)
    if m.target.len == 0 or m.scheme.len == 0:
        return refuse(m, 400, H1_BAD_TARGET)
    if m.block[m.target.at] == c'*':
        if m.method != METHOD_OPTIONS:
            return refuse(m, 400, H1_BAD_TARGET)
        m.flags |= MESSAGE_STAR
    else:
        m.path = m.target
        mark = <const char *> memchr(m.block + m.target.at, c'?', m.target.len)
        if mark != NULL:
            m.path.len = <uint16_t> (mark - m.block - m.target.at)
            m.query.at = <uint16_t> (mark + 1 - m.block)
            m.query.len = m.target.len - m.path.len - 1
    if m.by_name[<unsigned int> NAME_HOST] == 0:
        return 0 if m.authority.len else refuse(m, 400, H1_BAD_HOST)
    host = &m.fields[m.by_name[<unsigned int> NAME_HOST] - 1]
    if m.authority.len == 0:
        m.authority.at = host.value_at
        m.authority.len = host.value_len
    elif host.value_len != m.authority.len \
            or not h1_equal(m.block + host.value_at, m.block + m.authority.at, m.authority.len):
        return refuse(m, 400, H1_BAD_HOST)
    return 0


cdef int pairs_end(message_t *m, bint is_end) noexcept nogil:
    cdef bint has_length = m.by_name[<unsigned int> NAME_CONTENT_LENGTH] != 0
    cdef bint has_body = True
    if m.reason_id:
        return -<int> m.status
    if m.kind == MESSAGE_RESPONSE:
        if m.status == 0:
            return refuse(m, 502, H1_BAD_START_LINE)
        if m.status < 200 and is_end:
            return refuse(m, 502, H1_BAD_STATUS)
        has_body = not (m.method == METHOD_HEAD or m.status < 200 or m.status == 204 or m.status == 304)
    elif end_request(m) != 0:
        return -<int> m.status
    if not has_body:
        m.framing = FRAMING_NONE
    elif has_length:
        if is_end and m.length != 0:
            return refuse(m, 400, H1_BAD_LENGTH)
        m.framing = FRAMING_LENGTH
    elif not is_end:
        m.framing = FRAMING_CHUNKED
    else:
        m.framing = FRAMING_LENGTH if m.kind == MESSAGE_RESPONSE else FRAMING_NONE
    m.nlive = m.nfields
    m.head_len = m.fill
    return 0
