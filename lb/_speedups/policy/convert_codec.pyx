from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.convert cimport (
    CONVERT_B64DEC, CONVERT_BASE2, CONVERT_BASE64, CONVERT_BE2DEC, CONVERT_BE2HEX, CONVERT_HEX, CONVERT_HEX2I,
    CONVERT_HTONL, CONVERT_LE2DEC, CONVERT_UB64DEC, CONVERT_UB64ENC, CONVERT_URL_ENC,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_TEXT_MAX, sample_int, sample_room, sample_text,
)


cdef enum:
    NUMBER_TEXT = 24             # bytes that hold any number


# Room for n bytes of text, or NULL (and counted).
cdef char *room_of(eval_t *c, size_t n) noexcept nogil:
    if n > SAMPLE_TEXT_MAX:
        c.overflows += 1
        return NULL
    return sample_room(c, n)


cdef inline int nibble(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - 48
    if c'a' <= c <= c'f':
        return c - 87
    if c'A' <= c <= c'F':
        return c - 55
    return -1


cdef int from_hex(sample_t *s) noexcept nogil:
    cdef uint64_t n = 0
    cdef uint32_t i
    cdef int digit
    for i in range(s.len):
        digit = nibble(s.p[i])
        if digit < 0:
            return SAMPLE_NONE
        n = n << 4 | <uint64_t> digit
    return sample_int(s, <int64_t> n)


cdef size_t put_unsigned(uint64_t n, char *out) noexcept nogil:
    cdef char digits[NUMBER_TEXT]
    cdef int at = NUMBER_TEXT
    while True:
        at -= 1
        digits[at] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            break
    memcpy(out, digits + at, NUMBER_TEXT - at)
    return NUMBER_TEXT - at


# be2dec, le2dec and be2hex: chunks of so many bytes, as numbers or as digits, with a separator between them. With the flag
# the last one is left out when it is not whole.
cdef int chunks(eval_t *c, const program_t *g, const op_t *op, sample_t *s, unsigned int code) noexcept nogil:
    cdef const char *hex = b"0123456789ABCDEF"
    cdef const arg_t *separator = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const arg_t *arg = arg_at(c, g, op, 1, ARG_INT)
    cdef const arg_t *whole = arg_at(c, g, op, 2, ARG_INT)
    cdef size_t size = <size_t> arg.i if arg != NULL and arg.i > 0 else s.len
    cdef size_t between = separator.text.len if separator != NULL else 0
    cdef size_t i = 0, k, n, first, count = 0, used = 0
    cdef bint decimal = code == CONVERT_BE2DEC or code == CONVERT_LE2DEC
    cdef uint64_t number
    cdef char *room
    if s.len != 0:
        count = s.len // size if whole != NULL and whole.i != 0 else (s.len + size - 1) // size
    n = count * (between + (NUMBER_TEXT if decimal else 2 * size))
    room = room_of(c, n)
    if room == NULL:
        return SAMPLE_NONE
    for k in range(count):
        if k != 0 and between:
            memcpy(room + used, plan_text(c.view.plan, separator.text), between)
            used += between
        number = 0
        first = i
        n = i + size if i + size < s.len else s.len
        while i < n:
            if code == CONVERT_LE2DEC:
                number |= <uint64_t> <uint8_t> s.p[i] << (8 * (i - first) & 63)
            elif decimal:
                number = number << 8 | <uint8_t> s.p[i]
            else:
                room[used] = hex[<uint8_t> s.p[i] >> 4]
                room[used + 1] = hex[<uint8_t> s.p[i] & 15]
                used += 2
            i += 1
        if decimal:
            used += put_unsigned(number, room + used)
    sample_text(s, room, used, 0)
    return SAMPLE_FOUND


cdef inline char base64_char(uint32_t value, bint url) noexcept nogil:
    cdef const char *last = b"-_" if url else b"+/"
    if value < 26:
        return <char> (65 + value)
    if value < 52:
        return <char> (71 + value)
    if value < 62:
        return <char> (value - 4)
    return last[value - 62]


# RFC 4648, 4 with padding or 5 without.
cdef int codec_to_base64(eval_t *c, sample_t *s, bint url) noexcept nogil:
    cdef char *room = room_of(c, (<size_t> s.len + 2) // 3 * 4)
    cdef size_t n = 0, i = 0, rest, k
    cdef uint32_t bits
    if room == NULL:
        return SAMPLE_NONE
    while i < s.len:
        rest = s.len - i
        bits = <uint32_t> <uint8_t> s.p[i] << 16
        if rest > 1:
            bits |= <uint32_t> <uint8_t> s.p[i + 1] << 8
        if rest > 2:
            bits |= <uint8_t> s.p[i + 2]
        for k in range(4):
            if k <= rest:
                room[n] = base64_char(bits >> (18 - 6 * k) & 63, url)
            elif url:
                break
            else:
                room[n] = c'='
            n += 1
        i += 3
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef inline int base64_value(char c, bint url) noexcept nogil:
    if c'A' <= c <= c'Z':
        return c - 65
    if c'a' <= c <= c'z':
        return c - 71
    if c'0' <= c <= c'9':
        return c + 4
    if c == (c'-' if url else c'+'):
        return 62
    if c == (c'_' if url else c'/'):
        return 63
    return -1


cdef int codec_from_base64(eval_t *c, sample_t *s, bint url) noexcept nogil:
    cdef size_t n = s.len, i, used = 0
    cdef uint32_t bits = 0
    cdef int value
    cdef char *room
    if not url:
        if n % 4:
            return SAMPLE_NONE
        if n and s.p[n - 1] == c'=':
            n -= 1
            if s.p[n - 1] == c'=':
                n -= 1
    if n % 4 == 1:
        return SAMPLE_NONE
    room = room_of(c, n // 4 * 3 + 3)
    if room == NULL:
        return SAMPLE_NONE
    for i in range(n):
        value = base64_value(s.p[i], url)
        if value < 0:
            return SAMPLE_NONE
        bits = bits << 6 | <uint32_t> value
        if i % 4 != 0:
            room[used] = <char> (bits >> (6 - 2 * (i % 4)) & 255)
            used += 1
    sample_text(s, room, used, 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef int to_bits(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room = room_of(c, 8 * <size_t> s.len)
    cdef uint32_t i
    cdef int k
    if room == NULL:
        return SAMPLE_NONE
    for i in range(s.len):
        for k in range(8):
            room[8 * i + k] = c'1' if s.p[i] & (0x80 >> k) else c'0'
    sample_text(s, room, 8 * <size_t> s.len, 0)
    return SAMPLE_FOUND


cdef inline bint is_unreserved(char c) noexcept nogil:       # RFC 3986 2.3
    return c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c == c'-' or c == c'.' or c == c'_' or c == c'~'


cdef int url_enc(eval_t *c, sample_t *s) noexcept nogil:
    cdef const char *hex = b"0123456789ABCDEF"
    cdef char *room = room_of(c, 3 * <size_t> s.len)
    cdef size_t n = 0
    cdef uint32_t i
    if room == NULL:
        return SAMPLE_NONE
    for i in range(s.len):
        if s.p[i] == 0:                       # the end, for HAProxy
            break
        if is_unreserved(s.p[i]):
            room[n] = s.p[i]
            n += 1
        else:
            room[n] = c'%'
            room[n + 1] = hex[<uint8_t> s.p[i] >> 4]
            room[n + 2] = hex[<uint8_t> s.p[i] & 15]
            n += 3
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef int htonl(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room = sample_room(c, 4)
    cdef uint32_t n = <uint32_t> s.i
    cdef int k
    if room == NULL:
        return SAMPLE_NONE
    for k in range(4):
        room[k] = <char> (n >> (24 - 8 * k) & 255)
    sample_text(s, room, 4, 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef int convert_codec(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == CONVERT_HEX or code == CONVERT_BE2HEX or code == CONVERT_BE2DEC or code == CONVERT_LE2DEC:
        return chunks(c, g, op, s, code)
    if code == CONVERT_BASE2:
        return to_bits(c, s)
    if code == CONVERT_HEX2I:
        return from_hex(s)
    if code == CONVERT_BASE64 or code == CONVERT_UB64ENC:
        return codec_to_base64(c, s, code == CONVERT_UB64ENC)
    if code == CONVERT_B64DEC or code == CONVERT_UB64DEC:
        return codec_from_base64(c, s, code == CONVERT_UB64DEC)
    if code == CONVERT_URL_ENC:
        return url_enc(c, s)
    if code == CONVERT_HTONL:
        return htonl(c, s)
    return SAMPLE_NONE
