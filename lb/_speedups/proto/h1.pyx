from libc.stdint cimport uint16_t
from libc.string cimport memchr, memcmp

from lb._speedups.proto.authority cimport authority_is_valid
from lb._speedups.proto.message cimport (
    FIELD_FRAMING, FIELD_HOP, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, MESSAGE_ABSOLUTE,
    MESSAGE_CLOSE, MESSAGE_EXPECT_CONTINUE, MESSAGE_FIELDS_MAX, MESSAGE_HEAD_MAX, MESSAGE_HTTP10, MESSAGE_KEEP_ALIVE,
    MESSAGE_RELENGTH, MESSAGE_STAR, MESSAGE_TARGET_MAX, MESSAGE_UPGRADE, METHOD_CONNECT, METHOD_DELETE, METHOD_GET,
    METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH, METHOD_POST, METHOD_PUT, METHOD_TRACE, NAME_CONNECTION,
    NAME_CONTENT_LENGTH, NAME_EXPECT, NAME_HOST, NAME_OTHER, NAME_TRANSFER_ENCODING, NAME_UPGRADE, field_t, span_t,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)


cdef extern from "proto/h1_tables.h" nogil:
    const int H1_TOKEN
    const int H1_VALUE
    bint h1_is(uint8_t byte, int cls)
    const char *h1_skip_token(const char *p, const char *end)
    const char *h1_skip_value(const char *p, const char *end)
    const char *h1_skip_target(const char *p, const char *end)
    const char *h1_find_lf(const char *p, const char *end)
    bint h1_same(const char *p, const char *text, size_t len)
    bint h1_equal(const char *a, const char *b, size_t len)
    uint8_t h1_name_id(const char *p, size_t len)
    uint64_t h1_work_done()


cdef enum:
    # Bytes of the longest good request line up to its LF: method SP target SP HTTP/1.1 CR.
    REQUEST_LINE_MAX = 32 + 1 + 8192 + 1 + 8 + 1

cdef enum:                      # what Connection said
    SAID_CLOSE = 1 << 0
    SAID_KEEP_ALIVE = 1 << 1
    SAID_UPGRADE = 1 << 2


# A fault is status and reason in one int; 0 is none.
cdef inline int fault(int status, int reason) noexcept nogil:
    return status << 8 | reason


cdef int refuse(message_t *m, int why, bint is_response) noexcept nogil:
    m.reason_id = <uint8_t>(why & 0xff)
    m.status = 502 if is_response else <uint16_t>(why >> 8)
    return -<int>m.status


cdef inline bint is_space(char byte) noexcept nogil:
    return byte == c' ' or byte == c'\t'


cdef inline bint is_digit(char byte) noexcept nogil:
    return c'0' <= byte <= c'9'


cdef inline span_t span(const message_t *m, const char *at, const char *end) noexcept nogil:
    cdef span_t s
    s.at = <uint16_t>(at - m.block)
    s.len = <uint16_t>(end - at)
    return s


# ---- the request line (RFC 9112 3) ----

cdef inline uint8_t method_of(const char *p, size_t len) noexcept nogil:
    if len == 3:
        if memcmp(p, b"GET", 3) == 0:
            return METHOD_GET
        if memcmp(p, b"PUT", 3) == 0:
            return METHOD_PUT
    elif len == 4:
        if memcmp(p, b"POST", 4) == 0:
            return METHOD_POST
        if memcmp(p, b"HEAD", 4) == 0:
            return METHOD_HEAD
    elif len == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return METHOD_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return METHOD_TRACE
    elif len == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return METHOD_DELETE
    elif len == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return METHOD_CONNECT
    return METHOD_OTHER


# Why p, where `HTTP/1.1` CR LF was expected, is not a version we speak.
cdef int version_fault(const char *p, const char *end) noexcept nogil:
    if end - p < 9 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != c'.':
        return fault(400, H1_BAD_VERSION)
    if not is_digit(p[5]) or not is_digit(p[7]):
        return fault(400, H1_BAD_VERSION)
    if p[8] == c'\n':
        return fault(400, H1_BAD_LINE_END)
    if p[8] != c'\r':
        return fault(400, H1_BAD_VERSION)
    if end - p < 10 or p[9] != c'\n':
        return fault(400, H1_BAD_LINE_END)
    return fault(505, H1_BAD_VERSION)


# Path and query of what stands behind the authority, or of an origin-form target.
cdef inline void split_path(message_t *m, const char *p, const char *end) noexcept nogil:
    cdef const char *mark = <const char *>memchr(p, c'?', <size_t>(end - p))
    if mark == NULL:
        m.path = span(m, p, end)
        return
    m.path = span(m, p, mark)
    m.query = span(m, mark + 1, end)


# `http://authority[/path][?query]` (RFC 9112 3.2.2).
cdef int read_absolute(message_t *m, const char *p, const char *end) noexcept nogil:
    cdef const char *authority
    cdef size_t scheme
    if end - p > 7 and h1_equal(p, b"http://", 7):
        scheme = 4
    elif end - p > 8 and h1_equal(p, b"https://", 8):
        scheme = 5
    else:
        return fault(400, H1_BAD_TARGET)
    m.scheme = span(m, p, p + scheme)
    authority = p + scheme + 3
    p = authority
    while p < end and p[0] != c'/' and p[0] != c'?':
        p += 1
    if not authority_is_valid(authority, <size_t>(p - authority)):
        return fault(400, H1_BAD_TARGET)
    m.authority = span(m, authority, p)
    m.flags |= MESSAGE_ABSOLUTE
    split_path(m, p, end)
    return 0


cdef int read_target(message_t *m, const char *p, const char *end) noexcept nogil:
    m.target = span(m, p, end)
    if m.method == METHOD_CONNECT:
        return fault(405, H1_CONNECT_REFUSED)
    if LIKELY(p[0] == c'/'):
        split_path(m, p, end)
        return 0
    if p[0] == c'*' and end - p == 1 and m.method == METHOD_OPTIONS:
        m.flags |= MESSAGE_STAR
        return 0
    return read_absolute(m, p, end)


# Returns the byte behind the line, or NULL with *why set; then the line may also be incomplete.
cdef inline const char *read_request_line(message_t *m, const char *p, const char *end, int *why) noexcept nogil:
    cdef const char *at = p
    cdef const char *target
    p = h1_skip_token(p, end)
    if UNLIKELY(p == end or p[0] != c' ' or p == at):
        why[0] = fault(400, H1_BAD_METHOD)
        return NULL
    if UNLIKELY(p - at > H1_METHOD_MAX):
        why[0] = fault(501, H1_BAD_METHOD)      # RFC 9112 3: longer than any method implemented
        return NULL
    m.method_at = span(m, at, p)
    m.method = method_of(at, <size_t>(p - at))
    target = p + 1
    p = h1_skip_target(target, end)
    if UNLIKELY(p == end or p[0] != c' ' or p == target):
        # `GET /` CR LF was HTTP/0.9
        why[0] = fault(400, H1_BAD_VERSION if p > target and p < end and (p[0] == c'\r' or p[0] == c'\n')
                       else H1_BAD_TARGET)
        return NULL
    if UNLIKELY(p - target > MESSAGE_TARGET_MAX):
        why[0] = fault(414, H1_TARGET_TOO_LONG)
        return NULL
    at = p + 1
    if UNLIKELY(end - at < 10 or memcmp(at, b"HTTP/1.1\r\n", 10) != 0):
        if end - at < 10 or memcmp(at, b"HTTP/1.0\r\n", 10) != 0:
            why[0] = version_fault(at, end)
            return NULL
        m.flags |= MESSAGE_HTTP10
    why[0] = read_target(m, target, p)
    if UNLIKELY(why[0]):
        return NULL
    return at + 10


# ---- the status line (RFC 9112 4) ----

cdef inline const char *read_status_line(message_t *m, const char *p, const char *end, int *why) noexcept nogil:
    cdef const char *phrase
    # In order of the bytes: none behind a line feed may have a say in the reason.
    if end - p < 9 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != c'.' or p[8] != c' ' \
            or not is_digit(p[5]) or not is_digit(p[7]):
        why[0] = fault(502, H1_BAD_START_LINE)
        return NULL
    if p[5] != c'1' or p[7] > c'1':
        why[0] = fault(502, H1_BAD_VERSION)
        return NULL
    if p[7] == c'0':
        m.flags |= MESSAGE_HTTP10
    p += 9
    if end - p < 4 or not (c'1' <= p[0] <= c'5' and is_digit(p[1]) and is_digit(p[2])):
        why[0] = fault(502, H1_BAD_STATUS)
        return NULL
    m.status = <uint16_t>((p[0] - c'0') * 100 + (p[1] - c'0') * 10 + (p[2] - c'0'))
    p += 3
    phrase = p
    if p[0] == c' ':
        p += 1
        phrase = p
        p = h1_skip_value(p, end)
    elif p[0] != c'\r':                         # the SP in front of no phrase is left out by real servers
        why[0] = fault(502, H1_BAD_STATUS)
        return NULL
    if end - p < 2 or p[0] != c'\r' or p[1] != c'\n':
        why[0] = fault(502, H1_BAD_LINE_END if p < end and (p[0] == c'\r' or p[0] == c'\n')
                       else H1_BAD_START_LINE)
        return NULL
    m.reason = span(m, phrase, p)
    return p + 2


# ---- field lines (RFC 9112 5) ----

# RFC 9110 8.6: 1*DIGIT, here below 2^63.
cdef int read_length(message_t *m, const field_t *field) noexcept nogil:
    cdef const char *p = &m.block[field.value_at]
    cdef unsigned int i
    cdef uint64_t value = 0
    cdef uint8_t digit
    if field.value_len == 0:
        return fault(400, H1_BAD_LENGTH)
    for i in range(field.value_len):
        digit = <uint8_t>(p[i] - c'0')
        if digit > 9 or value > (<uint64_t>0x7fffffffffffffff - digit) // 10:
            return fault(400, H1_BAD_LENGTH)
        value = value * 10 + digit
    if field.value_len > 1 and p[0] == c'0':
        m.flags |= MESSAGE_RELENGTH
    m.length = value
    return 0


# RFC 9112 6.1 and 7: only `chunked` is spoken here. Other codings of good form are 501, the rest is 400.
cdef int read_coding(message_t *m, const field_t *field, bint is_again) noexcept nogil:
    cdef const char *p = &m.block[field.value_at]
    cdef const char *end = p + field.value_len
    cdef const char *at
    if m.flags & MESSAGE_HTTP10:
        return fault(400, H1_CODING_IN_10)
    if field.value_len == 7 and h1_equal(p, b"chunked", 7):
        return fault(501, H1_BAD_CODING) if is_again else 0
    while True:
        at = p
        p = h1_skip_token(p, end)
        if p == at:
            return fault(400, H1_BAD_CODING)
        while p < end and is_space(p[0]):
            p += 1
        if p == end:
            return fault(501, H1_BAD_CODING)
        if p[0] != c',':
            return fault(400, H1_BAD_CODING)
        p += 1
        while p < end and is_space(p[0]):
            p += 1


# A field the codec itself must understand: ids up to NAME_EXPECT.
cdef int read_special(message_t *m, field_t *field, bint is_response) noexcept nogil:
    cdef bint is_again = m.by_name[field.id] != 0
    if field.id == NAME_CONTENT_LENGTH:
        field.flags |= FIELD_FRAMING
        if m.by_name[NAME_TRANSFER_ENCODING]:
            return fault(400, H1_LENGTH_AND_CODING)
        return fault(400, H1_BAD_LENGTH) if is_again else read_length(m, field)
    if field.id == NAME_TRANSFER_ENCODING:
        field.flags |= FIELD_FRAMING
        if m.by_name[NAME_CONTENT_LENGTH]:
            return fault(400, H1_LENGTH_AND_CODING)
        return read_coding(m, field, is_again)
    if field.id == NAME_HOST:
        if is_response:
            return 0
        # RFC 9112 3.2: exactly one, and a valid one.
        if is_again or not authority_is_valid(&m.block[field.value_at], field.value_len):
            return fault(400, H1_BAD_HOST)
        return 0
    if field.id == NAME_EXPECT:
        if is_response:
            return 0
        if is_again or field.value_len != 12 or not h1_equal(&m.block[field.value_at], b"100-continue", 12):
            return fault(417, H1_BAD_EXPECT)
        if m.flags & MESSAGE_HTTP10:
            field.flags |= FIELD_HOP            # RFC 9110 10.1.1: ignored in 1.0, so not given on as 1.1
        else:
            m.flags |= MESSAGE_EXPECT_CONTINUE
        return 0
    # Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade, HTTP2-Settings, Proxy-Auth*: RFC 9110 7.6.1
    field.flags |= FIELD_HOP
    return 0


# Returns the byte behind the line, or NULL with *why set; then the line may also be incomplete.
cdef inline const char *read_field(message_t *m, const char *p, const char *end, bint is_response,
                                   int *why) noexcept nogil:
    cdef const char *name = p
    cdef const char *value
    cdef const char *stop
    cdef field_t *field
    cdef size_t name_len
    p = h1_skip_token(p, end)
    name_len = <size_t>(p - name)
    if UNLIKELY(p == end or p[0] != c':' or name_len == 0 or name_len > 255):
        if name_len == 0 and p < end and is_space(p[0]):
            why[0] = fault(400, H1_OBS_FOLD)
        elif name_len == 0 and p < end and (p[0] == c'\r' or p[0] == c'\n'):
            why[0] = fault(400, H1_BAD_LINE_END)
        else:
            why[0] = fault(400, H1_BAD_FIELD_NAME)
        return NULL
    p += 1
    while p < end and is_space(p[0]):
        p += 1
    value = p
    p = h1_skip_value(p, end)
    if UNLIKELY(end - p < 2 or p[0] != c'\r' or p[1] != c'\n'):
        why[0] = fault(400, H1_BAD_LINE_END if p < end and (p[0] == c'\r' or p[0] == c'\n')
                       else H1_BAD_FIELD_VALUE)
        return NULL
    stop = p
    while stop > value and is_space((stop - 1)[0]):
        stop -= 1
    if UNLIKELY(m.nfields == MESSAGE_FIELDS_MAX):
        why[0] = fault(431, H1_TOO_MANY_FIELDS)
        return NULL
    field = &m.fields[m.nfields]
    field.name_at = <uint16_t>(name - m.block)
    field.value_at = <uint16_t>(value - m.block)
    field.value_len = <uint16_t>(stop - value)
    field.line_end = <uint16_t>(p + 2 - m.block)
    field.name_len = <uint8_t>name_len
    field.id = h1_name_id(name, name_len)
    field.flags = 0
    field.pad = 0
    if field.id != NAME_OTHER:
        if field.id <= NAME_EXPECT:
            why[0] = read_special(m, field, is_response)
            if UNLIKELY(why[0]):
                return NULL
        if m.by_name[field.id] == 0:
            m.by_name[field.id] = <uint16_t>(m.nfields + 1)
    m.nfields += 1
    return p + 2


# ---- what the whole head says ----

# RFC 9110 7.6.1: fields named in Connection are for this hop only. Host and framing stay, whoever names them.
cdef void nominate(message_t *m, const char *name, size_t len) noexcept nogil:
    cdef uint8_t id = h1_name_id(name, len)
    cdef unsigned int i
    cdef field_t *field
    if id == NAME_HOST or id == NAME_CONTENT_LENGTH or id == NAME_TRANSFER_ENCODING:
        return
    if id != NAME_OTHER and m.by_name[id] == 0:
        return
    for i in range(m.nfields):
        field = &m.fields[i]
        if field.id != id or field.name_len != len or field.flags & FIELD_HOP:
            continue
        if id != NAME_OTHER or h1_equal(&m.block[field.name_at], name, len):
            field.flags |= FIELD_HOP


# Read the options of one Connection field: tokens and commas; empty elements are allowed (RFC 9110 5.6.1.2).
cdef int read_options(message_t *m, const field_t *field, unsigned int *count, unsigned int *said) noexcept nogil:
    cdef const char *p = &m.block[field.value_at]
    cdef const char *end = p + field.value_len
    cdef const char *at
    cdef size_t len
    while True:
        while p < end and (is_space(p[0]) or p[0] == c','):
            p += 1
        if p == end:
            return 0
        at = p
        p = h1_skip_token(p, end)
        len = <size_t>(p - at)
        while p < end and is_space(p[0]):
            p += 1
        if len == 0 or (p < end and p[0] != c','):
            return fault(400, H1_BAD_FIELD_VALUE)
        count[0] += 1
        if count[0] > H1_OPTIONS_MAX:
            return fault(431, H1_TOO_MANY_FIELDS)
        if len == 5 and h1_same(at, b"close", 5):
            said[0] |= SAID_CLOSE
        elif len == 10 and h1_same(at, b"keep-alive", 10):
            said[0] |= SAID_KEEP_ALIVE
        elif len == 7 and h1_same(at, b"upgrade", 7):
            said[0] |= SAID_UPGRADE
        else:
            nominate(m, at, len)


# True if the Upgrade fields are lists of protocols (RFC 9110 7.8) without h2c in them. With h2c there the whole offer
# is ignored, which RFC 9110 7.8 allows; so it never goes any further.
cdef bint offers_upgrade(const message_t *m) noexcept nogil:
    cdef unsigned int i
    cdef const char *p
    cdef const char *end
    cdef const char *at
    for i in range(m.nfields):
        if m.fields[i].id != NAME_UPGRADE:
            continue
        p = &m.block[m.fields[i].value_at]
        end = p + m.fields[i].value_len
        while True:
            at = p
            p = h1_skip_token(p, end)
            if p == at or (p - at >= 3 and h1_same(at, b"h2c", 3)):
                return False
            if p < end and p[0] == c'/':
                at = p + 1
                p = h1_skip_token(at, end)
                if p == at:
                    return False
            while p < end and is_space(p[0]):
                p += 1
            if p == end:
                break
            if p[0] != c',':
                return False
            p += 1
            while p < end and is_space(p[0]):
                p += 1
    return True


# Connection and Upgrade (RFC 9112 9.3, RFC 9110 7.6.1 and 7.8).
cdef inline int read_connection(message_t *m) noexcept nogil:
    cdef unsigned int i
    cdef unsigned int count = 0
    cdef unsigned int said = 0
    cdef int why
    if m.by_name[NAME_CONNECTION]:
        for i in range(m.by_name[NAME_CONNECTION] - 1, m.nfields):
            if m.fields[i].id == NAME_CONNECTION:
                why = read_options(m, &m.fields[i], &count, &said)
                if why:
                    return why
    if said & SAID_CLOSE:
        m.flags |= MESSAGE_CLOSE
    elif not m.flags & MESSAGE_HTTP10 or said & SAID_KEEP_ALIVE:
        m.flags |= MESSAGE_KEEP_ALIVE
    if said & SAID_UPGRADE and m.by_name[NAME_UPGRADE] and not m.flags & MESSAGE_HTTP10:
        if offers_upgrade(m):
            m.flags |= MESSAGE_UPGRADE
    return 0


# RFC 9112 3.2 and 3.2.2.
cdef inline int read_host(message_t *m) noexcept nogil:
    cdef const field_t *host
    if m.by_name[NAME_HOST] == 0:
        return 0 if m.flags & MESSAGE_HTTP10 else fault(400, H1_BAD_HOST)
    host = &m.fields[m.by_name[NAME_HOST] - 1]
    if m.flags & MESSAGE_ABSOLUTE:
        if host.value_len != m.authority.len:
            return fault(400, H1_BAD_HOST)
        if not h1_equal(&m.block[host.value_at], &m.block[m.authority.at], m.authority.len):
            return fault(400, H1_BAD_HOST)
        return 0
    m.authority.at = host.value_at
    m.authority.len = host.value_len
    return 0


cdef inline int finish_request(message_t *m) noexcept nogil:
    cdef int why = read_host(m)
    if why == 0:
        why = read_connection(m)
    if m.by_name[NAME_TRANSFER_ENCODING]:
        m.framing = FRAMING_CHUNKED
    elif m.by_name[NAME_CONTENT_LENGTH]:
        m.framing = FRAMING_LENGTH
    else:
        m.framing = FRAMING_NONE
    return why


# RFC 9112 6.3.
cdef inline int finish_response(message_t *m) noexcept nogil:
    cdef int why = read_connection(m)
    if m.method == METHOD_HEAD or m.status < 200 or m.status == 204 or m.status == 304:
        m.framing = FRAMING_NONE
    elif m.by_name[NAME_TRANSFER_ENCODING]:
        m.framing = FRAMING_CHUNKED
    elif m.by_name[NAME_CONTENT_LENGTH]:
        m.framing = FRAMING_LENGTH
    else:
        m.framing = FRAMING_CLOSE
        m.flags &= ~MESSAGE_KEEP_ALIVE
    return why


# ---- the loop over lines ----

# No line feed between the present line's start and `end`: wait for one, unless a limit is passed already.
cdef int wait(message_t *m, const char *end, bint is_response) noexcept nogil:
    m.seek = <uint16_t>(end - m.block)
    if m.line == 0 and not is_response and m.seek - m.scan > REQUEST_LINE_MAX:
        return refuse(m, fault(414, H1_TARGET_TOO_LONG), is_response)
    if m.seek >= MESSAGE_HEAD_MAX:
        return refuse(m, fault(431, H1_HEAD_TOO_LARGE), is_response)
    return 0


# A line was not read to its end: refused if it is complete, else waited for.
cdef int stop_at(message_t *m, const char *end, int why, bint is_response) noexcept nogil:
    cdef const char *lf = h1_find_lf(m.block + m.scan, end)
    if lf == NULL:
        return wait(m, end, is_response)
    if m.line == 0 and not is_response and lf - m.block - m.scan > REQUEST_LINE_MAX:
        why = fault(414, H1_TARGET_TOO_LONG)    # as if fed in pieces
    return refuse(m, why, is_response)


# Before the start line: skip one empty line in front of a request; refuse what cannot begin one. The latter needs no
# line feed, so that a TLS client is answered and not waited for.
cdef inline int begin(message_t *m, const char *end, bint is_response) noexcept nogil:
    cdef const char *p = m.block + m.scan
    if p == end:
        return 0
    if is_response:
        return fault(502, H1_BAD_START_LINE) if p[0] != c'H' else 0
    if LIKELY(h1_is(<uint8_t>p[0], H1_TOKEN)):
        return 0
    if p[0] != c'\r' or m.scan:
        return fault(400, H1_BAD_METHOD)
    if end - p < 2:
        return 0
    if p[1] != c'\n':
        return fault(400, H1_BAD_LINE_END)
    m.scan = 2
    return begin_again(m, end)


cdef int begin_again(message_t *m, const char *end) noexcept nogil:
    if m.block + m.scan < end and not h1_is(<uint8_t>m.block[m.scan], H1_TOKEN):
        return fault(400, H1_BAD_METHOD)
    return 0


cdef inline int read_head(message_t *m, bint is_response) noexcept nogil:
    cdef const char *end = m.block + (m.fill if m.fill < MESSAGE_HEAD_MAX else MESSAGE_HEAD_MAX)
    cdef const char *p
    cdef int why = 0
    if UNLIKELY(m.reason_id):
        return -<int>m.status
    if UNLIKELY(m.head_len):
        return m.head_len
    if m.line == 0:
        why = begin(m, end, is_response)
        if UNLIKELY(why):
            return refuse(m, why, is_response)
    if m.seek > m.scan and h1_find_lf(m.block + m.seek, end) == NULL:
        return wait(m, end, is_response)
    p = m.block + m.scan
    if m.line == 0:
        if is_response:
            p = read_status_line(m, p, end, &why)
        else:
            p = read_request_line(m, p, end, &why)
        if UNLIKELY(p == NULL):
            m.flags = 0
            return stop_at(m, end, why, is_response)
        m.scan = <uint16_t>(p - m.block)
        m.line = 1
    while True:
        if end - p >= 2 and p[0] == c'\r' and p[1] == c'\n':
            break
        p = read_field(m, p, end, is_response, &why)
        if UNLIKELY(p == NULL):
            return stop_at(m, end, why, is_response)
        m.scan = <uint16_t>(p - m.block)
        m.line += 1
    m.nlive = m.nfields
    why = finish_response(m) if is_response else finish_request(m)
    if UNLIKELY(why):
        return refuse(m, why, is_response)
    m.head_len = <uint16_t>(p + 2 - m.block)
    return m.head_len


cdef int h1_read_request(message_t *m) noexcept nogil:
    return read_head(m, False)


cdef int h1_read_response(message_t *m, uint8_t method) noexcept nogil:
    m.method = method
    return read_head(m, True)


cdef const char *h1_reason_text(uint8_t reason) noexcept nogil:
    if reason == H1_OK:
        return b"ok"
    if reason == H1_BAD_START_LINE:
        return b"bad status line"
    if reason == H1_BAD_METHOD:
        return b"bad method"
    if reason == H1_BAD_TARGET:
        return b"bad request target"
    if reason == H1_BAD_VERSION:
        return b"bad or unsupported version"
    if reason == H1_BAD_LINE_END:
        return b"line does not end in CR LF"
    if reason == H1_BAD_FIELD_NAME:
        return b"bad field name"
    if reason == H1_BAD_FIELD_VALUE:
        return b"bad field value"
    if reason == H1_OBS_FOLD:
        return b"folded line"
    if reason == H1_BAD_HOST:
        return b"host missing, repeated, malformed or not the target's"
    if reason == H1_BAD_LENGTH:
        return b"content-length malformed or repeated"
    if reason == H1_BAD_CODING:
        return b"transfer-encoding other than chunked, once"
    if reason == H1_LENGTH_AND_CODING:
        return b"both content-length and transfer-encoding"
    if reason == H1_CODING_IN_10:
        return b"transfer-encoding in HTTP/1.0"
    if reason == H1_TARGET_TOO_LONG:
        return b"request target too long"
    if reason == H1_HEAD_TOO_LARGE:
        return b"head too large"
    if reason == H1_TOO_MANY_FIELDS:
        return b"too many fields"
    if reason == H1_BAD_STATUS:
        return b"bad status code"
    if reason == H1_BAD_CHUNK:
        return b"bad chunk"
    if reason == H1_CHUNK_EXTENSIONS:
        return b"too many bytes of chunk extensions"
    if reason == H1_BAD_TRAILER:
        return b"bad trailer section"
    if reason == H1_CONNECT_REFUSED:
        return b"method CONNECT refused"
    if reason == H1_BAD_EXPECT:
        return b"expectation other than 100-continue"
    if reason == H1_UNASKED_UPGRADE:
        return b"101 nobody asked for"
    return b"unknown"


cdef uint8_t h1_method_id(const char *p, size_t len) noexcept nogil:
    return method_of(p, len)


cdef bint h1_read_length(message_t *m, const field_t *field) noexcept nogil:
    return read_length(m, field) == 0


cdef uint64_t h1_work() noexcept nogil:
    return h1_work_done()
