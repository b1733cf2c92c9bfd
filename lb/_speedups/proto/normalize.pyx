from libc.stdint cimport uint16_t
from libc.string cimport memchr, memcmp, memcpy, memmove


cdef ssize_t merge_slashes(const char *p, size_t n, char *out) noexcept nogil:
    cdef size_t i, made = 0
    for i in range(n):
        if p[i] != c'/' or i == 0 or p[i - 1] != c'/':
            out[made] = p[i]
            made += 1
    return <ssize_t> made


# Segments that are `.` go, with the slash behind them.
cdef ssize_t strip_dot(const char *p, size_t n, char *out) noexcept nogil:
    cdef size_t i = 0, begin, made = 0
    while i < n:
        begin = i
        while i < n and p[i] != c'/':
            i += 1
        if i - begin != 1 or p[begin] != c'.':
            memcpy(out + made, p + begin, i - begin)
            made += i - begin
            if i < n:
                out[made] = c'/'
                made += 1
        i += 1
    return <ssize_t> made


# From the end: each `/../` takes the segment before it away. What is left over at the root stays, unless `full`.
cdef ssize_t strip_dotdot(const char *p, size_t n, bint full, char *out) noexcept nogil:
    cdef ssize_t at = <ssize_t> n - 1
    cdef ssize_t up = 0
    cdef size_t head = 3 * n + 1              # what is made stands at the end of the room first
    cdef size_t end = head
    if at >= 2 and memcmp(p + at - 2, b"/..", 3) == 0:
        up = 1
        at -= 2
    while at >= 0:
        if at >= 3 and memcmp(p + at - 3, b"/../", 4) == 0:
            up += 1
            at -= 3
            continue
        if up > 0:
            at -= 1                           # the slash
            if at >= 0:
                up -= 1
                while at >= 0 and p[at] != c'/':
                    at -= 1
            continue
        head -= 1
        out[head] = p[at]
        at -= 1
        while at >= 0 and p[at] != c'/':
            head -= 1
            out[head] = p[at]
            at -= 1
    if up > 0:
        head -= 1
        out[head] = c'/'
        while up > 0 and not full:
            head -= 3
            memcpy(out + head, b"/..", 3)
            up -= 1
    memmove(out, out + head, end - head)
    return <ssize_t> (end - head)


cdef inline int digit_of(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - 48
    if c'a' <= (c | 0x20) <= c'f':
        return (c | 0x20) - 87
    return -1


# RFC 3986 2.3
cdef inline bint is_unreserved(int c) noexcept nogil:
    return c'a' <= (c | 0x20) <= c'z' or c'0' <= c <= c'9' or c == c'-' or c == c'.' or c == c'_' or c == c'~'


# Escapes: of unreserved bytes they are decoded, or their digits are put in upper case.
cdef ssize_t escapes(int normalizer, const char *p, size_t n, bint strict, char *out) noexcept nogil:
    cdef const char *digits = b"0123456789ABCDEF"
    cdef size_t i = 0, made = 0
    cdef int high, low
    while i < n:
        if p[i] != c'%':
            out[made] = p[i]
            made += 1
            i += 1
            continue
        high = digit_of(p[i + 1]) if n - i > 2 else -1
        low = digit_of(p[i + 2]) if n - i > 2 else -1
        if high < 0 or low < 0:
            if strict:
                return NORMALIZE_BAD
            out[made] = c'%'
            made += 1
            i += 1
            continue
        if normalizer == NORMALIZE_UNRESERVED and is_unreserved(high << 4 | low):
            out[made] = <char> (high << 4 | low)
            made += 1
        else:
            memcpy(out + made, p + i, 3)
            if normalizer == NORMALIZE_UPPERCASE:
                out[made + 1] = digits[high]
                out[made + 2] = digits[low]
            made += 3
        i += 3
    return <ssize_t> made


cdef inline size_t name_len(const char *p, size_t n) noexcept nogil:
    cdef const char *equal = <const char *> memchr(p, c'=', n)
    return n if equal == NULL else <size_t> (equal - p)


# Whether the first name stands strictly behind the second.
cdef bint is_behind(const char *a, size_t n, const char *b, size_t m) noexcept nogil:
    cdef int order = memcmp(a, b, n if n < m else m)
    return order > 0 or (order == 0 and n > m)


# By name, equal ones in their order. Merged from pairs upwards: a client cannot make that slow.
cdef ssize_t sort_query(const char *p, size_t n, char *out) noexcept nogil:
    cdef uint16_t at[NORMALIZE_PARAMS + 1]    # where each begins; the last entry: behind the end, and its `&`
    cdef uint16_t order[2][NORMALIZE_PARAMS]
    cdef size_t count = 0, i = 0, width = 1, made = 0, left, right, middle, end, k
    cdef size_t a, b, la, lb
    cdef int from_ = 0
    if n > 65000:
        return NORMALIZE_BAD
    while i < n and count < NORMALIZE_PARAMS:
        at[count] = <uint16_t> i
        order[0][count] = <uint16_t> count
        count += 1
        while i < n and p[i] != c'&':
            i += 1
        i += 1
    at[count] = <uint16_t> i
    while width < count:
        left = 0
        k = 0
        while left < count:
            middle = left + width if left + width < count else count
            end = middle + width if middle + width < count else count
            right = middle
            i = left
            while i < middle or right < end:
                if i < middle and right < end:
                    a = order[from_][i]
                    b = order[from_][right]
                    la = name_len(p + at[a], at[a + 1] - at[a] - 1)
                    lb = name_len(p + at[b], at[b + 1] - at[b] - 1)
                if right >= end or (i < middle and not is_behind(p + at[a], la, p + at[b], lb)):
                    order[1 - from_][k] = order[from_][i]
                    i += 1
                else:
                    order[1 - from_][k] = order[from_][right]
                    right += 1
                k += 1
            left = end
        from_ = 1 - from_
        width *= 2
    for i in range(count):
        a = order[from_][i]
        if i:
            out[made] = c'&'
            made += 1
        memcpy(out + made, p + at[a], at[a + 1] - at[a] - 1)
        made += at[a + 1] - at[a] - 1
    if at[count] < n:                         # more than are sorted
        out[made] = c'&'
        memcpy(out + made + 1, p + at[count], n - at[count])
        made += 1 + n - at[count]
    return <ssize_t> made


cdef ssize_t encode_fragment(const char *p, size_t n, char *out) noexcept nogil:
    cdef size_t i, made = 0
    for i in range(n):
        if p[i] == c'#':
            memcpy(out + made, b"%23", 3)
            made += 3
        else:
            out[made] = p[i]
            made += 1
    return <ssize_t> made


cdef ssize_t normalize(int normalizer, bint firm, const char *p, size_t n, char *out) noexcept nogil:
    cdef const char *mark
    if normalizer == NORMALIZE_MERGE_SLASHES:
        return merge_slashes(p, n, out)
    if normalizer == NORMALIZE_DOT:
        return strip_dot(p, n, out)
    if normalizer == NORMALIZE_DOTDOT:
        return strip_dotdot(p, n, firm, out)
    if normalizer == NORMALIZE_UNRESERVED or normalizer == NORMALIZE_UPPERCASE:
        return escapes(normalizer, p, n, firm, out)
    if normalizer == NORMALIZE_SORT_QUERY:
        return sort_query(p, n, out)
    if normalizer == NORMALIZE_STRIP_FRAGMENT:
        mark = <const char *> memchr(p, c'#', n)
        if mark != NULL:
            n = <size_t> (mark - p)
        memcpy(out, p, n)
        return <ssize_t> n
    return encode_fragment(p, n, out)
