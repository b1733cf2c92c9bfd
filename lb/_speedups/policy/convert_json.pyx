from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr

from lb._speedups.policy.convert cimport (
    CONVERT_JSON, CONVERT_JSON_QUERY, CONVERT_JWT_HEADER_QUERY, CONVERT_JWT_PAYLOAD_QUERY, CONVERT_RFC7239_FIELD,
    CONVERT_RFC7239_IS_VALID, CONVERT_RFC7239_N2NN, CONVERT_RFC7239_N2NP,
)
from lb._speedups.policy.convert_codec cimport codec_from_base64
from lb._speedups.policy.convert_rfc7239 cimport rfc7239_field, rfc7239_is_valid, rfc7239_node
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.json cimport (
    JSON_ARRAY, JSON_FALSE, JSON_NUMBER, JSON_STRING, JSON_TRUE, json_find, json_integer, json_number, json_unescape,
    json_value_t,
)
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_TEXT_MAX, sample_bool, sample_int, sample_room, sample_text,
)


cdef extern from "<stdio.h>" nogil:
    int snprintf(char *out, size_t size, const char *form, ...)


cdef enum:                       # the argument of json: how the input is read
    READ_ASCII = 0
    READ_UTF8                    # what is wrong finds nothing
    READ_UTF8S                   # is left out
    READ_UTF8P                   # the same two, but that overlong forms pass
    READ_UTF8PS

cdef enum:                       # what is wrong with a character
    WRONG_SEQUENCE = 1
    WRONG_RANGE = 2
    WRONG_OVERLONG = 4

cdef enum:
    NUMBER_TEXT = 32             # bytes that hold any number written with %g


# The character at p, its bytes and what is wrong with it, as HAProxy's utf8_next has them: up to six bytes long, and of a
# sequence that breaks off only what was right is taken.
cdef uint32_t read_char(const char *p, size_t n, size_t *used, unsigned int *wrong) noexcept nogil:
    cdef uint32_t first = <uint8_t> p[0]
    cdef uint32_t value
    cdef size_t more = 0, i
    used[0] = 1
    wrong[0] = 0
    if first < 0x80:
        return first
    while more < 6 and first & (<uint32_t> 0x40 >> more):
        more += 1
    if more == 0 or more == 6 or n < more + 1:
        wrong[0] = WRONG_SEQUENCE
        return first
    value = first & (<uint32_t> 0x3f >> more)
    for i in range(1, more + 1):
        if (p[i] & 0xc0) != 0x80:
            used[0] = i
            wrong[0] = WRONG_SEQUENCE
            return value
        value = value << 6 | <uint32_t> (p[i] & 0x3f)
    used[0] = more + 1
    if value <= 0x7f or (value <= 0x7ff and more > 1) or (value <= 0xffff and more > 2) or (value <= 0x1fffff and more > 3):
        wrong[0] = WRONG_OVERLONG
    if 0xd800 <= value <= 0xdfff or 0xfffe <= value <= 0xffff:
        wrong[0] |= WRONG_RANGE
    return value


cdef inline char escape_of(uint32_t c) noexcept nogil:
    if c == c'"' or c == c'\\' or c == c'/':
        return <char> c
    if c == 8:
        return c'b'
    if c == 12:
        return c'f'
    if c == 13:
        return c'r'
    if c == 10:
        return c'n'
    if c == 9:
        return c't'
    return 0


# json(input code): escape what a JSON string may not have. The result is ASCII.
cdef int escape(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const char *hex = b"0123456789abcdef"
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_INT)
    cdef int64_t how = arg.i if arg != NULL else READ_ASCII
    cdef size_t most = 6 * <size_t> s.len if s.len < SAMPLE_TEXT_MAX // 6 else SAMPLE_TEXT_MAX
    cdef char *room = sample_room(c, most)
    cdef size_t i = 0, n = 0, used = 1
    cdef unsigned int wrong = 0
    cdef uint32_t value
    cdef char short_
    if room == NULL:
        return SAMPLE_NONE
    while i < s.len:
        if how == READ_ASCII:
            value = <uint8_t> s.p[i]
        else:
            value = read_char(s.p + i, s.len - i, &used, &wrong)
            if how == READ_UTF8P or how == READ_UTF8PS:
                wrong &= ~<unsigned int> WRONG_OVERLONG
            if wrong or value > 0xffff:
                if how == READ_UTF8 or how == READ_UTF8P:
                    return SAMPLE_NONE
                i += used
                continue
        i += used
        short_ = escape_of(value)
        if n + (2 if short_ else (1 if 32 <= value < 127 else 6)) > most:
            c.overflows += 1
            return SAMPLE_NONE
        if short_:
            room[n] = c'\\'
            room[n + 1] = short_
            n += 2
        elif 32 <= value < 127:
            room[n] = <char> value
            n += 1
        else:
            room[n] = c'\\'
            room[n + 1] = c'u'
            room[n + 2] = hex[value >> 12 & 15]
            room[n + 3] = hex[value >> 8 & 15]
            room[n + 4] = hex[value >> 4 & 15]
            room[n + 5] = hex[value & 15]
            n += 6
    c.used -= <uint32_t> (most - n)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


# json_query(path[,int]). Whole numbers beyond 2^53 find nothing (RFC 8259 6); others are written as C's %g does.
cdef int query(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *path = arg_at(c, g, op, 0, ARG_TEXT)
    cdef json_value_t value
    cdef char *room
    cdef int64_t number
    cdef size_t rest
    cdef ssize_t n
    if path == NULL:
        return SAMPLE_NONE
    json_find(s.p, s.len, plan_text(c.view.plan, path.text), path.text.len, &value)
    rest = <size_t> (s.p + s.len - value.p)   # numbers are read to where they end
    if value.type == JSON_TRUE or value.type == JSON_FALSE:
        return sample_bool(s, value.type == JSON_TRUE)
    if value.type == JSON_ARRAY:
        sample_text(s, value.p, value.n, s.flags)
        return SAMPLE_FOUND
    if value.type == JSON_NUMBER and arg_at(c, g, op, 1, ARG_INT) != NULL:
        number = json_integer(value.p, rest)
        if not -(<int64_t> 1 << 53) < number < <int64_t> 1 << 53:
            return SAMPLE_NONE
        return sample_int(s, number)
    if value.type == JSON_NUMBER:
        room = sample_room(c, NUMBER_TEXT)
        if room == NULL:
            return SAMPLE_NONE
        n = snprintf(room, NUMBER_TEXT, b"%g", json_number(value.p, rest, NULL))
        sample_text(s, room, <size_t> n, 0)
        return SAMPLE_FOUND
    if value.type != JSON_STRING:
        return SAMPLE_NONE
    if value.n > SAMPLE_TEXT_MAX:
        c.overflows += 1
        return SAMPLE_NONE
    room = sample_room(c, value.n)
    if room == NULL:
        return SAMPLE_NONE
    n = json_unescape(value.p + 1, value.n - 2, room)
    if n < 0:
        return SAMPLE_NONE
    sample_text(s, room, <size_t> n, 0)
    return SAMPLE_FOUND


# The decoded header (part 0) or payload (1) of a JSON Web Token (RFC 7515, compact), or what a path finds in it.
cdef int token_part(eval_t *c, const program_t *g, const op_t *op, sample_t *s, bint payload) noexcept nogil:
    cdef const char *dot = <const char *> memchr(s.p, c'.', s.len)
    cdef size_t head = <size_t> (dot - s.p) if dot != NULL else s.len
    if payload:
        if dot == NULL:
            return SAMPLE_NONE
        s.p = dot + 1
        s.len -= <uint32_t> head + 1
        dot = <const char *> memchr(s.p, c'.', s.len)
        head = <size_t> (dot - s.p) if dot != NULL else s.len
    s.len = <uint32_t> head
    if codec_from_base64(c, s, True) != SAMPLE_FOUND:
        return SAMPLE_NONE
    sample_text(s, s.p, s.len, s.flags)
    return SAMPLE_FOUND if arg_at(c, g, op, 0, ARG_TEXT) == NULL else query(c, g, op, s)


cdef int convert_json(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == CONVERT_JSON:
        return escape(c, g, op, s)
    if code == CONVERT_JSON_QUERY:
        return query(c, g, op, s)
    if code == CONVERT_JWT_HEADER_QUERY or code == CONVERT_JWT_PAYLOAD_QUERY:
        return token_part(c, g, op, s, code == CONVERT_JWT_PAYLOAD_QUERY)
    if code == CONVERT_RFC7239_IS_VALID:
        return sample_bool(s, rfc7239_is_valid(s))
    if code == CONVERT_RFC7239_FIELD:
        return rfc7239_field(c, g, op, s)
    if code == CONVERT_RFC7239_N2NN or code == CONVERT_RFC7239_N2NP:
        return rfc7239_node(s, code == CONVERT_RFC7239_N2NP)
    return SAMPLE_NONE
