from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.fields cimport bytes_t, cookie_last, cookie_name_next, cookie_next, field_at, field_next, field_values
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_MORE, SAMPLE_NONE, SAMPLE_TEXT_MAX, iterator_t, sample_int,
    sample_read_address, sample_read_number, sample_room, sample_text,
)
from lb._speedups.proto.message cimport FIELD_DELETED, MESSAGE_HTTP10


cdef enum:
    VARINT_MAX = 3               # bytes of a length below 264,000


cdef bytes_t name_of(eval_t *c, const arg_t *arg) noexcept nogil:
    cdef bytes_t name
    name.p = plan_text(c.view.plan, arg.text) if arg != NULL else NULL
    name.n = arg.text.len if arg != NULL else 0
    return name


cdef int head_field(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint whole,
                    sample_t *s) noexcept nogil:
    cdef const arg_t *occurrence = arg_at(c, g, op, 1, ARG_INT)
    cdef bytes_t name = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef bytes_t value
    if name.n == 0:
        return SAMPLE_NONE
    if c.iterating and (occurrence == NULL or occurrence.i == 0):
        if not field_next(m, name.p, name.n, whole, &c.iterator, &value):
            return SAMPLE_NONE
        sample_text(s, value.p, value.n, SAMPLE_CONST | SAMPLE_MORE)
        return SAMPLE_FOUND
    if not field_at(m, name.p, name.n, whole,
                    <int> occurrence.i if occurrence != NULL and occurrence.i != 0 else -1, &value):
        return SAMPLE_NONE
    sample_text(s, value.p, value.n, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int head_field_val(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil:
    cdef int r = head_field(c, g, op, m, False, s)
    cdef uint8_t more = s.flags & SAMPLE_MORE
    if r != SAMPLE_FOUND:
        return r
    sample_int(s, sample_read_number(s.p, s.len))
    s.flags = more
    return SAMPLE_FOUND


# An address, also with a port behind an IPv4 one. Of several values the first that is an address.
cdef bint read_ip(const bytes_t *value, sample_t *s) noexcept nogil:
    cdef size_t n = value.n
    cdef size_t i
    if n == 0:
        return False
    if sample_read_address(value.p, n, s) == 0:
        return True
    i = n
    while i > 0 and c'0' <= value.p[i - 1] <= c'9':
        i -= 1
    return 1 < i < n and value.p[i - 1] == c':' and sample_read_address(value.p, i - 1, s) == 0 \
        and s.type == SAMPLE_IPV4


cdef int head_field_ip(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil:
    cdef bytes_t value
    cdef int r
    while True:
        r = head_field(c, g, op, m, False, s)
        if r != SAMPLE_FOUND:
            return r
        value.p = s.p
        value.n = s.len
        if read_ip(&value, s):
            return SAMPLE_FOUND
        if not s.flags & SAMPLE_MORE:
            return SAMPLE_NONE


cdef int head_field_count(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint whole,
                          sample_t *s) noexcept nogil:
    cdef bytes_t name = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef bytes_t value
    cdef iterator_t at
    cdef int64_t n = 0
    cdef uint32_t i
    if name.n == 0:
        for i in range(m.nfields):
            if not m.fields[i].flags & FIELD_DELETED:
                n += 1 if whole else field_values(m, i)
        return sample_int(s, n)
    memset(&at, 0, sizeof(at))
    while field_next(m, name.p, name.n, whole, &at, &value):
        n += 1
    return sample_int(s, n)


cdef int head_names(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil:
    cdef bytes_t delimiter = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef char *room
    cdef char *at
    cdef size_t n = 0
    cdef uint32_t i, k
    cdef char byte
    if delimiter.n == 0:
        delimiter.p = b","
        delimiter.n = 1
    for i in range(m.nfields):
        if not m.fields[i].flags & FIELD_DELETED:
            n += m.fields[i].name_len + delimiter.n
    if n == 0:
        return SAMPLE_NONE
    n -= delimiter.n
    room = sample_room(c, n)
    if room == NULL:
        return SAMPLE_NONE
    at = room
    for i in range(m.nfields):
        if m.fields[i].flags & FIELD_DELETED:
            continue
        if at != room:
            for k in range(delimiter.n):
                at[0] = delimiter.p[k]
                at += 1
        for k in range(m.fields[i].name_len):
            byte = m.block[m.fields[i].name_at + k]
            at[0] = byte | 0x20 if c'A' <= byte <= c'Z' else byte
            at += 1
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef char *put_varint(char *at, size_t n) noexcept nogil:
    if n < 240:
        at[0] = <char> n
        return at + 1
    at[0] = <char> (n | 240)
    at += 1
    n = (n - 240) >> 4
    while n >= 128:
        at[0] = <char> (n | 128)
        at += 1
        n = (n - 128) >> 7
    at[0] = <char> n
    return at + 1


cdef char *put_lower(char *at, const char *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        at[i] = p[i] | 0x20 if c'A' <= p[i] <= c'Z' else p[i]
    return at + n


cdef int head_lines(eval_t *c, const message_t *m, bint binary, sample_t *s) noexcept nogil:
    cdef size_t n = 2
    cdef char *room
    cdef char *at
    cdef uint32_t i
    for i in range(m.nfields):
        if not m.fields[i].flags & FIELD_DELETED:
            n += m.fields[i].name_len + m.fields[i].value_len + (2 * VARINT_MAX if binary else 4)
    if n > SAMPLE_TEXT_MAX:
        c.overflows += 1
        return SAMPLE_NONE
    room = sample_room(c, n)
    if room == NULL:
        return SAMPLE_NONE
    at = room
    for i in range(m.nfields):
        if m.fields[i].flags & FIELD_DELETED:
            continue
        if binary:
            at = put_varint(at, m.fields[i].name_len)
        at = put_lower(at, m.block + m.fields[i].name_at, m.fields[i].name_len)
        if binary:
            at = put_varint(at, m.fields[i].value_len)
        else:
            at[0] = c':'
            at[1] = c' '
            at += 2
        memcpy(at, m.block + m.fields[i].value_at, m.fields[i].value_len)
        at += m.fields[i].value_len
        if not binary:
            at[0] = c'\r'
            at[1] = c'\n'
            at += 2
    at[0] = 0 if binary else c'\r'
    at[1] = 0 if binary else c'\n'
    sample_text(s, room, <size_t> (at + 2 - room), 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef int head_cookie_names(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                           sample_t *s) noexcept nogil:
    cdef bytes_t delimiter = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef bytes_t name
    cdef iterator_t at
    cdef char *room
    cdef size_t n = 0
    if delimiter.n == 0:
        delimiter.p = b","
        delimiter.n = 1
    # No longer than the head; then what is not needed is given back.
    room = sample_room(c, SAMPLE_TEXT_MAX)
    if room == NULL:
        return SAMPLE_NONE
    memset(&at, 0, sizeof(at))
    while cookie_name_next(m, is_response, &at, &name):
        if n + delimiter.n + name.n > SAMPLE_TEXT_MAX:
            c.overflows += 1
            return SAMPLE_NONE
        if n != 0:
            memcpy(room + n, delimiter.p, delimiter.n)
            n += delimiter.n
        memcpy(room + n, name.p, name.n)
        n += name.n
    c.used -= <uint32_t> (SAMPLE_TEXT_MAX - n)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef int head_cookie(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                     sample_t *s) noexcept nogil:
    cdef bytes_t name = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef bytes_t value
    if name.n == 0:
        return SAMPLE_NONE
    if c.iterating:
        if not cookie_next(m, is_response, name.p, name.n, &c.iterator, &value):
            return SAMPLE_NONE
        sample_text(s, value.p, value.n, SAMPLE_CONST | SAMPLE_MORE)
        return SAMPLE_FOUND
    if not cookie_last(m, is_response, name.p, name.n, &value):
        return SAMPLE_NONE
    sample_text(s, value.p, value.n, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int head_cookie_val(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                         sample_t *s) noexcept nogil:
    cdef int r = head_cookie(c, g, op, m, is_response, s)
    cdef uint8_t more = s.flags & SAMPLE_MORE
    if r != SAMPLE_FOUND:
        return r
    sample_int(s, sample_read_number(s.p, s.len))
    s.flags = more
    return SAMPLE_FOUND


cdef int head_cookie_count(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                           sample_t *s) noexcept nogil:
    cdef bytes_t name = name_of(c, arg_at(c, g, op, 0, ARG_TEXT))
    cdef bytes_t value
    cdef iterator_t at
    cdef int64_t n = 0
    if name.n == 0:
        return SAMPLE_NONE
    memset(&at, 0, sizeof(at))
    while cookie_next(m, is_response, name.p, name.n, &at, &value):
        n += 1
    return sample_int(s, n)


cdef int head_version(const message_t *m, sample_t *s) noexcept nogil:
    sample_text(s, b"1.0" if m.flags & MESSAGE_HTTP10 else b"1.1", 3, SAMPLE_CONST)
    return SAMPLE_FOUND
