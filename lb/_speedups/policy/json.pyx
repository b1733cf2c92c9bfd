from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memset


cdef extern from "<stdint.h>" nogil:
    const int64_t INT64_MIN
    const int64_t INT64_MAX


# ---- what stands in the text ----


cdef inline char escape_of(char c) noexcept nogil:
    # the byte that `\c` stands for, 0 = none
    if c == c'b':
        return 8
    if c == c'f':
        return 12
    if c == c'n':
        return 10
    if c == c'r':
        return 13
    if c == c't':
        return 9
    if c == c'\\' or c == c'"':
        return c
    return 0


# Where the quote is that ends a string begun before p, or -1. A backslash hides what itself needs one.
cdef ssize_t string_end(const char *p, size_t n) noexcept nogil:
    cdef size_t i = 0
    cdef char next_
    while i < n:
        if p[i] == c'\\' and i + 1 < n:
            next_ = p[i + 1]
            if next_ == c'\\' or next_ == c'"' or next_ == 8 or next_ == 9 or next_ == 10 or next_ == 12 or next_ == 13:
                i += 1
        elif p[i] == 0:
            return -1
        elif p[i] == c'"':
            return <ssize_t> i
        i += 1
    return -1


cdef inline char byte_at(const char *p, size_t n, size_t i) noexcept nogil:
    return p[i] if i < n else 0


cdef inline bint is_digit(char c) noexcept nogil:
    return c'0' <= c <= c'9'


# The same sums in the same order as HAProxy's: its digits are shown.
cdef double json_number(const char *p, size_t n, size_t *used) noexcept nogil:
    cdef double value = 0.0, fraction = 0.0, base = 0.1, power = 10.0, factor = 1.0
    cdef size_t i = 0, end = 0
    cdef int sign = 1, exponent = 0, rest
    cdef bint minus = False
    if used != NULL:
        used[0] = 0
    if byte_at(p, n, 0) == c'-' or byte_at(p, n, 0) == c'+':
        sign = -1 if p[0] == c'-' else 1
        i = 1
    if is_digit(byte_at(p, n, i)):
        while is_digit(byte_at(p, n, i)):
            value = value * 10.0 + <double> (p[i] - c'0')
            i += 1
        end = i
    elif byte_at(p, n, i) != c'.':
        return value
    value *= sign
    if byte_at(p, n, i) == c'.':
        i += 1
        while is_digit(byte_at(p, n, i)):
            fraction += base * (p[i] - c'0')
            base /= 10.0
            i += 1
        value += fraction * sign
        end = i
    if byte_at(p, n, i) == c'e' or byte_at(p, n, i) == c'E':
        i += 1
        if byte_at(p, n, i) == c'-':
            minus = True
            i += 1
        if byte_at(p, n, i) == c'+':
            i += 1
        while is_digit(byte_at(p, n, i)):
            if exponent < 100000:             # infinite long before
                exponent = exponent * 10 + p[i] - c'0'
            i += 1
        rest = exponent
        while rest > 0:
            if rest & 1:
                factor *= power
            power *= power
            rest >>= 1
        if exponent > 0:
            value = value / factor if minus else value * factor
        end = i
    elif not is_digit(p[i - 1]):
        end = 0
    if used != NULL:
        used[0] = end
    return value


cdef inline int digit_of(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    if c'A' <= c <= c'F':
        return c - c'A' + 10
    return 99


cdef int64_t json_integer(const char *p, size_t n) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint64_t most = <uint64_t> INT64_MAX
    cdef size_t i = 0
    cdef int base = 10, digit
    cdef bint minus = False
    while i < n and (p[i] == c' ' or 9 <= p[i] <= 13):
        i += 1
    if i < n and (p[i] == c'-' or p[i] == c'+'):
        minus = p[i] == c'-'
        i += 1
    if minus:
        most += 1
    if byte_at(p, n, i) == c'0':
        base = 8
        if (byte_at(p, n, i + 1) | 0x20) == c'x' and digit_of(byte_at(p, n, i + 2)) < 16:
            base = 16
            i += 2
    while i < n:
        digit = digit_of(p[i])
        if digit >= base:
            break
        value = most if value > (most - <uint64_t> digit) // <uint64_t> base else value * <uint64_t> base + <uint64_t> digit
        i += 1
    return <int64_t> (0 - value) if minus else <int64_t> value


cdef inline int hex_of(char c) noexcept nogil:
    # HAProxy does not look whether these are digits
    if c'0' <= c <= c'9':
        return c - c'0'
    return c - (c'7' if c'A' <= c <= c'F' else c'W')


cdef ssize_t json_unescape(const char *p, size_t n, char *out) noexcept nogil:
    cdef size_t i = 0, used = 0
    cdef char byte
    while i < n:
        if p[i] == c'\\' and i + 5 < n and p[i + 1] == c'u':
            if p[i + 2] != c'0' or p[i + 3] != c'0':
                return -1
            out[used] = <char> (((hex_of(p[i + 4]) & 255) << 4 | hex_of(p[i + 5])) & 255)
            i += 6
        elif p[i] == c'\\' and i + 1 < n:
            byte = escape_of(p[i + 1])
            if byte == 0:
                return -1
            out[used] = byte
            i += 2
        else:
            out[used] = p[i]
            i += 1
        used += 1
    return <ssize_t> used


# ---- paths ----

cdef enum:                       # tokens beside signs, which stand for themselves
    TOKEN_KEY = 1
    TOKEN_VALUE                  # and json_type is known

ctypedef struct finder_t:
    const char *path
    size_t path_len
    size_t at                    # what of the path is left
    int depth                    # where the walk is
    int matched                  # and how deep the path has been followed
    int index                    # in the array that was met last on the path
    int wanted
    ssize_t container            # where the value begins, when it is an array or object


cdef inline char step(const finder_t *f, size_t by) noexcept nogil:
    return f.path[f.at + by] if f.at + by < f.path_len else 0


# Length of the name behind the dot at f.at: as characters, and in the path.
cdef size_t name_len(const finder_t *f, size_t *bytes_) noexcept nogil:
    cdef size_t i = 1, n = 0
    while step(f, i) != 0 and step(f, i) != c'.' and step(f, i) != c'[':
        i += 2 if step(f, i) == c'\\' else 1
        n += 1
    bytes_[0] = i
    return n


cdef bint is_key(finder_t *f, const char *key, size_t n) noexcept nogil:
    cdef size_t bytes_, i = 1, k
    if step(f, 0) != c'.' or name_len(f, &bytes_) != n:
        return False
    for k in range(n):
        if step(f, i) == c'\\':
            i += 1
        if step(f, i) != key[k]:
            return False
        i += 1
    f.at += bytes_
    return True


cdef int wanted_index(const finder_t *f) noexcept nogil:
    cdef size_t begin = f.at + 1
    cdef double number = 0.0
    if begin < f.path_len:
        number = json_number(f.path + begin, f.path_len - begin, NULL)
    return <int> number if -1.0 < number < 1e9 else -1


# A token of the walk. True: the search is over.
cdef bint take(finder_t *f, int token, uint8_t type, const char *text, size_t at, size_t n,
               json_value_t *value) noexcept nogil:
    if token == c'{' or token == c'[':
        if token == c'[' and f.depth == f.matched and step(f, 0) == c'[':
            f.index = 0
            f.wanted = wanted_index(f)
            if f.wanted == 0:
                f.matched += 1
                f.at += 3
        if step(f, 0) == 0 and f.depth == f.matched:
            f.container = <ssize_t> at
        f.depth += 1
    elif token == c',':
        if f.depth == f.matched + 1:
            f.index += 1
            if f.index == f.wanted:
                while f.at < f.path_len and f.path[f.at] != c']':
                    f.at += 1
                f.at += 1
                f.matched += 1
    elif token == TOKEN_KEY:
        if f.depth == f.matched + 1 and is_key(f, text + at + 1, n - 2):
            f.matched += 1
        elif f.depth == f.matched:
            return True                       # the value that was meant is over
    elif token == c'}' or token == c']':
        f.depth -= 1
        if step(f, 0) == 0 and f.depth == f.matched and f.container >= 0:
            value.type = JSON_OBJECT if token == c'}' else JSON_ARRAY
            value.p = text + f.container
            value.n = at - <size_t> f.container + 1
            return True
    elif token == TOKEN_VALUE and f.depth == f.matched and step(f, 0) == 0:
        value.type = type
        value.p = text + at
        value.n = n
        return True
    return False


cdef enum:                       # what the walk expects
    EXPECT_VALUE = 0
    EXPECT_KEY
    EXPECT_COLON
    EXPECT_COMMA


# Bytes of the value that begins here, when it is neither array nor object; `type` says what it is. -1: it is none. A number may
# have 0: a sign alone.
cdef ssize_t scalar(const char *p, size_t n, uint8_t *type) noexcept nogil:
    cdef ssize_t end
    cdef size_t used
    if p[0] == c'"':
        end = string_end(p + 1, n - 1)
        type[0] = JSON_STRING
        return end + 2 if end >= 0 else -1
    if p[0] == c'-' or is_digit(p[0]):
        json_number(p, n, &used)
        type[0] = JSON_NUMBER
        return <ssize_t> used
    if n >= 4 and memcmp(p, b"true", 4) == 0:
        type[0] = JSON_TRUE
        return 4
    if n >= 4 and memcmp(p, b"null", 4) == 0:
        type[0] = JSON_NULL
        return 4
    if n >= 5 and memcmp(p, b"false", 5) == 0:
        type[0] = JSON_FALSE
        return 5
    return -1


cdef void json_find(const char *text, size_t n, const char *path, size_t path_len, json_value_t *value) noexcept nogil:
    cdef finder_t f
    cdef char nesting[JSON_DEPTH]
    cdef int depth = 0, token
    cdef int expected = EXPECT_VALUE
    cdef size_t i = 0
    cdef ssize_t used
    cdef uint8_t type = 0
    cdef char c
    value.type = JSON_NONE
    value.p = text
    value.n = 0
    if path_len == 0 or path[0] != c'$':
        return
    memset(&f, 0, sizeof(f))
    f.path = path
    f.path_len = path_len
    f.at = 1
    f.container = -1
    while i < n:
        c = text[i]
        token = c
        used = 1
        if c == c' ' or c == c'\t' or c == c'\n' or c == c'\r':
            i += 1
            continue
        if (c == c'}' and (expected == EXPECT_KEY or expected == EXPECT_COMMA)) \
                or (c == c']' and (expected == EXPECT_VALUE or expected == EXPECT_COMMA)):
            if depth == 0 or c != nesting[depth - 1] + 2:    # `[` and `]`, `{` and `}` are two apart
                return
            depth -= 1
            expected = EXPECT_COMMA
        elif expected == EXPECT_VALUE:
            if c == c'{' or c == c'[':
                if depth == JSON_DEPTH:
                    return
                nesting[depth] = c
                depth += 1
                expected = EXPECT_KEY if c == c'{' else EXPECT_VALUE
            else:
                token = TOKEN_VALUE
                used = scalar(text + i, n - i, &type)
                if used < 0:
                    return
                expected = EXPECT_COMMA
        elif expected == EXPECT_KEY:
            if c != c'"':
                return
            used = string_end(text + i + 1, n - i - 1)
            if used < 0:
                return
            used += 2
            token = TOKEN_KEY
            expected = EXPECT_COLON
        elif expected == EXPECT_COLON:
            if c != c':':
                return
            expected = EXPECT_VALUE
        else:
            if c != c',' or depth == 0:
                return
            expected = EXPECT_KEY if nesting[depth - 1] == c'{' else EXPECT_VALUE
        if take(&f, token, type, text, i, <size_t> used, value) or depth == 0:
            return
        if used == 0:                         # a sign without a number is no value here
            return
        i += <size_t> used
