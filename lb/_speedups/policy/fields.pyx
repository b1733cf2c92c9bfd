from libc.string cimport memchr, memcmp

from lb._speedups.proto.message cimport message_find

cdef enum:
    HISTORY = 10                 # occurrences that can be counted from the end


cdef inline bint is_space(char c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef void trim(bytes_t *b) noexcept nogil:
    while b.n > 0 and is_space(b.p[0]):
        b.p += 1
        b.n -= 1
    while b.n > 0 and is_space(b.p[b.n - 1]):
        b.n -= 1


# Bytes up to the first delimiter outside quotes.
cdef size_t value_end(const char *p, size_t n, char delimiter) noexcept nogil:
    cdef bint quoted = False
    cdef size_t i = 0
    cdef const char *found = <const char *> memchr(p, delimiter, n)
    cdef size_t end = <size_t> (found - p) if found != NULL else n
    if memchr(p, c'"', end) == NULL:          # nearly always
        return end
    while i < n:
        if quoted:
            if p[i] == c'\\':
                i += 1                        # the next byte is not a quote, whatever it is
            elif p[i] == c'"':
                quoted = False
        elif p[i] == c'"':
            quoted = True
        elif p[i] == delimiter:
            return i
        i += 1
    return n


cdef bytes_t value_of(const message_t *m, uint32_t i) noexcept nogil:
    cdef bytes_t out
    out.p = m.block + m.fields[i].value_at
    out.n = m.fields[i].value_len
    return out


# `at.field` is the field's index + 1 while its list goes on at `at.at`; behind its last value `at.at` lies one past the end.
cdef bint field_next(const message_t *m, const char *name, size_t len, bint whole, iterator_t *at,
                     bytes_t *out) noexcept nogil:
    cdef int i
    cdef bytes_t line
    if at.field != 0:
        line = value_of(m, at.field - 1)
        if at.at <= line.n and not whole:
            out.p = line.p + at.at
            out.n = value_end(out.p, line.n - at.at, c',')
            at.at += <uint32_t> out.n + 1
            trim(out)
            return True
    i = message_find(m, name, len, at.field)
    if i < 0:
        return False
    at.field = <uint32_t> i + 1
    line = value_of(m, <uint32_t> i)
    out[0] = line
    if not whole:
        out.n = value_end(line.p, line.n, c',')
    at.at = <uint32_t> out.n + 1
    trim(out)
    return True


cdef bint field_at(const message_t *m, const char *name, size_t len, bint whole, int occurrence,
                   bytes_t *out) noexcept nogil:
    cdef bytes_t last[HISTORY]
    cdef iterator_t at
    cdef int seen = 0
    at.field = 0
    at.at = 0
    if occurrence == 0 or occurrence < -HISTORY:
        return False
    while field_next(m, name, len, whole, &at, &last[seen % HISTORY]):
        seen += 1
        if seen == occurrence:
            out[0] = last[(seen - 1) % HISTORY]
            return True
    if occurrence > 0 or -occurrence > seen:
        return False
    out[0] = last[(seen + occurrence) % HISTORY]
    return True


cdef uint32_t field_values(const message_t *m, uint32_t i) noexcept nogil:
    cdef bytes_t line = value_of(m, i)
    cdef uint32_t n = 1
    cdef size_t end = value_end(line.p, line.n, c',')
    while end < line.n:
        n += 1
        line.p += end + 1
        line.n -= end + 1
        end = value_end(line.p, line.n, c',')
    return n


cdef size_t cookie_end(const char *p, size_t n) noexcept nogil:
    cdef size_t end = value_end(p, n, c';')
    return value_end(p, end, c',')


# The next pair of a cookie line that has this name and a `=`. A pair that ends the line with its `=` is not seen, nor is one
# whose name begins with `$`: HAProxy's http_extract_cookie_value. Of Set-Cookie only the first pair is the cookie.
cdef bint pair_next(bytes_t line, bint is_response, const char *name, size_t len, uint32_t *from_,
                    bytes_t *out) noexcept nogil:
    cdef size_t begin = from_[0], end, equal
    while begin + len + 1 < line.n:
        while begin < line.n and is_space(line.p[begin]):
            begin += 1
        equal = begin
        end = begin
        while equal < line.n and line.p[equal] != c'=' and line.p[equal] != c';' \
                and (is_response or line.p[equal] != c','):
            equal += 1
            if not is_space(line.p[equal - 1]):
                end = equal
        from_[0] = <uint32_t> equal + 1
        if equal < line.n and line.p[equal] == c'=':
            out.p = line.p + equal + 1
            out.n = cookie_end(out.p, line.n - equal - 1)
            from_[0] += <uint32_t> out.n + 1
            if line.p[begin] != c'$' and end - begin == len and memcmp(line.p + begin, name, len) == 0:
                trim(out)
                return True
            if is_response and line.p[begin] != c'$':
                break
        begin = from_[0]
    return False


cdef bint cookie_next(const message_t *m, bint is_response, const char *name, size_t len, iterator_t *at,
                      bytes_t *out) noexcept nogil:
    cdef int i
    while True:
        if at.field != 0 and not (is_response and at.at != 0) \
                and pair_next(value_of(m, at.field - 1), is_response, name, len, &at.at, out):
            return True
        i = message_find(m, b"set-cookie" if is_response else b"cookie", 10 if is_response else 6, at.field)
        if i < 0:
            return False
        at.field = <uint32_t> i + 1
        at.at = 0


cdef bint cookie_last(const message_t *m, bint is_response, const char *name, size_t len, bytes_t *out) noexcept nogil:
    cdef iterator_t at
    cdef bytes_t value
    cdef bint found = False
    at.field = 0
    at.at = 0
    while cookie_next(m, is_response, name, len, &at, &value):
        found = True
        out[0] = value
    return found


# The name of the next pair of a cookie line, as pair_next reads them; `from_` lies behind the line when it is over.
cdef bint name_next(bytes_t line, bint is_response, uint32_t *from_, bytes_t *out) noexcept nogil:
    cdef size_t begin, end, equal
    while from_[0] < line.n:
        begin = from_[0]
        while begin < line.n and is_space(line.p[begin]):
            begin += 1
        equal = begin
        end = begin
        while equal < line.n and line.p[equal] != c'=' and line.p[equal] != c';' \
                and (is_response or line.p[equal] != c','):
            equal += 1
            if not is_space(line.p[equal - 1]):
                end = equal
        from_[0] = <uint32_t> equal + 1
        if equal >= line.n or line.p[equal] != c'=':
            continue
        from_[0] += <uint32_t> cookie_end(line.p + equal + 1, line.n - equal - 1) + 1
        if line.p[begin] == c'$':
            continue
        out.p = line.p + begin
        out.n = end - begin
        if is_response:
            from_[0] = <uint32_t> line.n + 1  # what follows are attributes
        return True
    return False


cdef bint cookie_name_next(const message_t *m, bint is_response, iterator_t *at, bytes_t *out) noexcept nogil:
    cdef int i
    while True:
        if at.field != 0 and name_next(value_of(m, at.field - 1), is_response, &at.at, out):
            return True
        i = message_find(m, b"set-cookie" if is_response else b"cookie", 10 if is_response else 6, at.field)
        if i < 0:
            return False
        at.field = <uint32_t> i + 1
        at.at = 0


cdef inline bint is_separator(char c) noexcept nogil:
    return c == c'&' or c == c';' or c == c'?'


cdef bint param_next(const char *query, size_t n, const char *name, size_t len, iterator_t *at,
                     bytes_t *out) noexcept nogil:
    cdef size_t start, stop
    while at.at < n:
        start = at.at
        stop = start
        while stop < n and not is_separator(query[stop]):
            stop += 1
        at.at = <uint32_t> stop + 1
        if stop - start > len and query[start + len] == c'=' and memcmp(query + start, name, len) == 0:
            out.p = query + start + len + 1
            out.n = stop - start - len - 1
            return True
    return False
