from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.proto.message cimport (
    FIELD_DELETED, FIELD_EDIT, FIELD_FRAMING, FIELD_HOP, FRAMING_CHUNKED, FRAMING_LENGTH,
    MESSAGE_ABSOLUTE, MESSAGE_RELENGTH, MESSAGE_UPGRADE, METHOD_HEAD, METHOD_OPTIONS, NAME_CONTENT_LENGTH,
    NAME_HOST, NAME_UPGRADE, field_t, span_t,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)


cdef enum framing_say:          # what a head says about its body
    SAY_NOTHING = 0
    SAY_LENGTH                  # Content-Length from m.length
    SAY_LENGTH_AS_IS            # the field stands right in its run
    SAY_CHUNKED


cdef inline char *put(char *at, const char *text, size_t len) noexcept nogil:
    memcpy(at, text, len)
    return at + len


cdef inline char *put_number(char *at, uint64_t value) noexcept nogil:
    cdef char digits[20]
    cdef int n = 20
    while True:
        n -= 1
        digits[n] = <char>(c'0' + value % 10)
        value //= 10
        if value == 0:
            break
    return put(at, digits + n, <size_t>(20 - n))


cdef inline bint is_bodiless(const message_t *m) noexcept nogil:
    return m.method == METHOD_HEAD or m.status < 200 or m.status == 204 or m.status == 304


cdef inline int length_say(const message_t *m) noexcept nogil:
    cdef unsigned int i = m.by_name[NAME_CONTENT_LENGTH]
    if i and not m.flags & MESSAGE_RELENGTH and not m.fields[i - 1].flags & FIELD_EDIT:
        return SAY_LENGTH_AS_IS
    return SAY_LENGTH


cdef inline int framing_of(const message_t *m, uint32_t flags, bint is_response) noexcept nogil:
    if is_response and is_bodiless(m):
        # RFC 9110 8.6: the length that GET would have had (sent by the server, or of a reply made here); never in 1xx
        # and 204.
        if m.status >= 200 and m.status != 204:
            if m.by_name[NAME_CONTENT_LENGTH] or m.framing == FRAMING_LENGTH:
                return length_say(m)
        return SAY_NOTHING
    if flags & H1_WRITE_NO_LENGTH:
        return SAY_NOTHING
    if flags & H1_WRITE_CHUNKED or m.framing == FRAMING_CHUNKED:
        return SAY_CHUNKED
    if m.framing == FRAMING_LENGTH:
        return length_say(m)
    return SAY_NOTHING


cdef inline bint is_written(const message_t *m, const field_t *field, uint32_t flags, int say) noexcept nogil:
    if LIKELY(not field.flags & (FIELD_DELETED | FIELD_HOP | FIELD_FRAMING)):
        return True
    if field.flags & FIELD_DELETED:
        return False
    if field.flags & FIELD_HOP:
        return field.id == NAME_UPGRADE and flags & H1_WRITE_UPGRADE and m.flags & MESSAGE_UPGRADE
    return field.id == NAME_CONTENT_LENGTH and say == SAY_LENGTH_AS_IS


# All live fields, then framing and Connection, then the empty line. NULL when it does not fit.
cdef inline char *put_fields(const message_t *m, uint32_t flags, int say, char *at, char *end) noexcept nogil:
    cdef const field_t *field
    cdef unsigned int i = 0
    cdef unsigned int n = m.nfields
    cdef size_t from_, stop
    while i < n:
        field = &m.fields[i]
        i += 1
        if not is_written(m, field, flags, say):
            continue
        if field.flags & FIELD_EDIT:
            if <size_t>(end - at) < <size_t>field.name_len + field.value_len + 4:
                return NULL
            at = put(at, &m.block[field.name_at], field.name_len)
            at = put(at, b": ", 2)
            at = put(at, &m.block[field.value_at], field.value_len)
            at = put(at, b"\r\n", 2)
            continue
        from_ = field.name_at
        stop = field.line_end
        while i < n and m.fields[i].name_at == stop and is_written(m, &m.fields[i], flags, say):
            if m.fields[i].flags & FIELD_EDIT:
                break
            stop = m.fields[i].line_end
            i += 1
        if <size_t>(end - at) < stop - from_:
            return NULL
        at = put(at, &m.block[from_], stop - from_)
    # The longest of what follows: a length of 20 digits, or chunked; an option; the empty line.
    if end - at < 16 + 20 + 2 + 28 + 2:
        return put_rest_tight(m, flags, say, at, end)
    return put_rest(m, flags, say, at)


cdef inline char *put_rest(const message_t *m, uint32_t flags, int say, char *at) noexcept nogil:
    if say == SAY_CHUNKED:
        at = put(at, b"Transfer-Encoding: chunked\r\n", 28)
    elif say == SAY_LENGTH:
        at = put(at, b"Content-Length: ", 16)
        at = put_number(at, m.length)
        at = put(at, b"\r\n", 2)
    if flags & H1_WRITE_UPGRADE:
        at = put(at, b"Connection: upgrade\r\n", 21)
    elif flags & H1_WRITE_CLOSE:
        at = put(at, b"Connection: close\r\n", 19)
    elif flags & H1_WRITE_KEEP_ALIVE:
        at = put(at, b"Connection: keep-alive\r\n", 24)
    return put(at, b"\r\n", 2)


# The same where room is short: written aside first.
cdef char *put_rest_tight(const message_t *m, uint32_t flags, int say, char *at, char *end) noexcept nogil:
    cdef char aside[80]
    cdef size_t len = <size_t>(put_rest(m, flags, say, aside) - aside)
    if <size_t>(end - at) < len:
        return NULL
    return put(at, aside, len)


cdef ssize_t h1_write_request(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil:
    cdef char *at = dst
    cdef char *end = dst + cap
    cdef span_t target = m.target
    cdef bint is_star = False
    cdef bint needs_slash = False
    if m.flags & MESSAGE_ABSOLUTE:
        # RFC 9112 3.2.1 and 3.2.4: origin-form; OPTIONS without path and query is `*`.
        target.at = m.path.at
        target.len = <uint16_t>(m.target.at + m.target.len - m.path.at)
        is_star = target.len == 0 and m.method == METHOD_OPTIONS
        needs_slash = m.path.len == 0 and not is_star
    if cap < <size_t>m.method_at.len + 1 + 1 + target.len + 11:
        return -1
    at = put(at, &m.block[m.method_at.at], m.method_at.len)
    at = put(at, b" ", 1)
    if is_star:
        at = put(at, b"*", 1)
    elif needs_slash:
        at = put(at, b"/", 1)
    at = put(at, &m.block[target.at], target.len)
    at = put(at, b" HTTP/1.1\r\n", 11)
    if m.by_name[NAME_HOST] == 0:
        if <size_t>(end - at) < <size_t>m.authority.len + 8:
            return -1
        at = put(at, b"Host: ", 6)
        at = put(at, &m.block[m.authority.at], m.authority.len)
        at = put(at, b"\r\n", 2)
    at = put_fields(m, flags, framing_of(m, flags, False), at, end)
    return -1 if at == NULL else at - dst


cdef ssize_t h1_write_response(const message_t *m, uint32_t flags, char *dst, size_t cap) noexcept nogil:
    cdef char *at = dst
    if cap < <size_t>m.reason.len + 15:
        return -1
    at = put(at, b"HTTP/1.1 ", 9)
    at[0] = <char>(c'0' + m.status // 100 % 10)
    at[1] = <char>(c'0' + m.status // 10 % 10)
    at[2] = <char>(c'0' + m.status % 10)
    at[3] = c' '
    at = put(at + 4, &m.block[m.reason.at], m.reason.len)
    at = put(at, b"\r\n", 2)
    at = put_fields(m, flags, framing_of(m, flags, True), at, dst + cap)
    return -1 if at == NULL else at - dst
