from lb._speedups.proto.h1_reason cimport (
    H1_BAD_CHUNK, H1_BAD_LINE_END, H1_BAD_TRAILER, H1_CHUNK_EXTENSIONS, H1_OBS_FOLD,
)
from lb._speedups.proto.message cimport MESSAGE_FIELDS_MAX


cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition)


cdef extern from "proto/h1_tables.h" nogil:
    const int H1_TOKEN
    const int H1_VALUE
    bint h1_is(uint8_t byte, int cls)


# chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
cdef enum:
    SIZE = 0                    # a hex digit; behind the first one also BWS, `;` or CR
    SIZE_SPACE                  # BWS behind the size or a value: only `;` may follow
    EXT_NAME_START              # behind `;`
    EXT_NAME
    EXT_NAME_SPACE              # BWS behind a name: `=` or `;`
    EXT_VALUE_START             # behind `=`
    EXT_VALUE
    EXT_QUOTED
    EXT_ESCAPE                  # behind a backslash
    EXT_QUOTED_END
    SIZE_LF
    DATA
    DATA_CR
    DATA_LF
    # from here on the last chunk was seen
    TRAILER_START               # a field line, or the CR that ends the body
    TRAILER_NAME
    TRAILER_VALUE
    TRAILER_LF
    END_LF
    END
    BAD


cdef void chunked_init(chunked_t *c) noexcept nogil:
    c.left = 0
    c.extension = 0
    c.trailer = 0
    c.line = 0
    c.state = SIZE
    c.digits = 0
    c.reason = 0
    c.fields = 0


cdef bint chunked_is_last(const chunked_t *c) noexcept nogil:
    return TRAILER_START <= c.state <= END


cdef inline int hex_value(uint8_t byte) noexcept nogil:
    if c'0' <= byte <= c'9':
        return byte - c'0'
    byte |= 0x20
    if c'a' <= byte <= c'f':
        return byte - c'a' + 10
    return -1


# One byte of a chunk line, not its LF. 0, or why it is refused.
cdef inline int line_byte(chunked_t *c, uint8_t byte) noexcept nogil:
    cdef int digit
    c.line += 1
    if c.line > H1_CHUNK_LINE_MAX:
        return H1_CHUNK_EXTENSIONS
    if c.state == SIZE:
        digit = hex_value(byte)
        if digit >= 0:
            # At most sixteen digits, and after the shift below 2^63.
            if c.digits == 16 or c.left >> 59:
                return H1_BAD_CHUNK
            c.left = c.left << 4 | <uint64_t>digit
            c.digits += 1
            return 0
        if c.digits == 0:
            return H1_BAD_CHUNK
    if byte == c'\n':
        return H1_BAD_LINE_END
    if byte == c'\r':
        # RFC 9112 7.1.1: not within a quoted string, not behind BWS, `;` or `=`.
        if c.state == SIZE or c.state == EXT_NAME or c.state == EXT_VALUE or c.state == EXT_QUOTED_END:
            c.state = SIZE_LF
            return 0
        return H1_BAD_CHUNK
    c.extension += 1
    if c.extension > H1_EXTENSION_MAX:
        return H1_CHUNK_EXTENSIONS
    if c.state == EXT_ESCAPE:
        c.state = EXT_QUOTED
        return 0 if h1_is(byte, H1_VALUE) else H1_BAD_CHUNK
    if c.state == EXT_QUOTED:
        if byte == c'"':
            c.state = EXT_QUOTED_END
        elif byte == c'\\':
            c.state = EXT_ESCAPE
        elif not h1_is(byte, H1_VALUE):
            return H1_BAD_CHUNK
        return 0
    if byte == c' ' or byte == c'\t':
        if c.state == SIZE or c.state == EXT_VALUE or c.state == EXT_QUOTED_END:
            c.state = SIZE_SPACE
        elif c.state == EXT_NAME:
            c.state = EXT_NAME_SPACE
        return 0
    if byte == c';':
        if c.state == EXT_NAME_START or c.state == EXT_VALUE_START:
            return H1_BAD_CHUNK
        c.state = EXT_NAME_START
        return 0
    if byte == c'=':
        if c.state != EXT_NAME and c.state != EXT_NAME_SPACE:
            return H1_BAD_CHUNK
        c.state = EXT_VALUE_START
        return 0
    if byte == c'"':
        if c.state != EXT_VALUE_START:
            return H1_BAD_CHUNK
        c.state = EXT_QUOTED
        return 0
    if not h1_is(byte, H1_TOKEN):
        return H1_BAD_CHUNK
    if c.state == EXT_NAME_START:
        c.state = EXT_NAME
    elif c.state == EXT_VALUE_START:
        c.state = EXT_VALUE
    elif c.state != EXT_NAME and c.state != EXT_VALUE:
        return H1_BAD_CHUNK
    return 0


# One byte of the trailer section. 0, or why it is refused. RFC 9112 7.1.2: field lines as in a head.
cdef inline int trailer_byte(chunked_t *c, uint8_t byte) noexcept nogil:
    c.trailer += 1
    if c.trailer > H1_TRAILER_MAX:
        return H1_BAD_TRAILER
    if c.state == TRAILER_START:
        if byte == c'\r':
            c.state = END_LF
            return 0
        if byte == c'\n':
            return H1_BAD_LINE_END
        if byte == c' ' or byte == c'\t':
            return H1_OBS_FOLD
        if not h1_is(byte, H1_TOKEN) or c.fields == MESSAGE_FIELDS_MAX:
            return H1_BAD_TRAILER
        c.fields += 1
        c.line = 1
        c.state = TRAILER_NAME
        return 0
    if c.state == TRAILER_NAME:
        if byte == c':':
            c.state = TRAILER_VALUE
            return 0
        c.line += 1
        return 0 if h1_is(byte, H1_TOKEN) and c.line <= 255 else H1_BAD_TRAILER
    if c.state == TRAILER_VALUE:
        if byte == c'\r':
            c.state = TRAILER_LF
            return 0
        if byte == c'\n':
            return H1_BAD_LINE_END
        return 0 if h1_is(byte, H1_VALUE) else H1_BAD_TRAILER
    # TRAILER_LF, END_LF
    if byte != c'\n':
        return H1_BAD_LINE_END
    c.state = TRAILER_START if c.state == TRAILER_LF else END
    return 0


# One byte that is not data. 0, or why it is refused.
cdef inline int frame_byte(chunked_t *c, uint8_t byte) noexcept nogil:
    if c.state < SIZE_LF:
        return line_byte(c, byte)
    if c.state == SIZE_LF:
        if byte != c'\n':
            return H1_BAD_LINE_END
        c.line = 0
        c.state = DATA if c.left else TRAILER_START
        return 0
    if c.state == DATA_CR:
        c.state = DATA_LF
        return 0 if byte == c'\r' else H1_BAD_CHUNK
    if c.state == DATA_LF:
        c.state = SIZE
        c.digits = 0
        return 0 if byte == c'\n' else H1_BAD_CHUNK
    return trailer_byte(c, byte)


cdef int chunked_read(chunked_t *c, const char *p, size_t n, size_t *used, size_t *data_at,
                      size_t *data_len) noexcept nogil:
    cdef size_t i = 0
    cdef size_t take
    cdef int reason
    data_at[0] = 0
    data_len[0] = 0
    used[0] = 0
    if c.state == BAD:
        return CHUNKED_BAD
    if c.state == END:
        return CHUNKED_END
    while i < n:
        if c.state == DATA:
            take = n - i
            if take >= c.left:
                take = <size_t>c.left
                c.state = DATA_CR
            c.left -= take
            data_at[0] = i
            data_len[0] = take
            used[0] = i + take
            return CHUNKED_DATA
        reason = frame_byte(c, <uint8_t>p[i])
        i += 1
        if reason:
            c.state = BAD
            c.reason = <uint8_t>reason
            used[0] = i
            return CHUNKED_BAD
        if c.state == END:
            used[0] = i
            return CHUNKED_END
    used[0] = i
    return CHUNKED_MORE


cdef int chunked_write_size(uint64_t n, char *dst) noexcept nogil:
    cdef int digits, i
    cdef uint64_t rest = n
    LB_ASSERT(n > 0)
    digits = 0
    while rest:
        digits += 1
        rest >>= 4
    for i in range(digits):
        dst[i] = b"0123456789abcdef"[n >> (4 * (digits - 1 - i)) & 15]
    dst[digits] = c'\r'
    dst[digits + 1] = c'\n'
    return digits + 2
