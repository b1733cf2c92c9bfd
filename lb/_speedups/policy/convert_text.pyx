from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

from lb._speedups.policy.convert cimport (
    CONVERT_BYTES, CONVERT_CUT_CRLF, CONVERT_FIELD, CONVERT_IIF, CONVERT_LANGUAGE, CONVERT_LENGTH, CONVERT_LOWER,
    CONVERT_LTRIM, CONVERT_PARAM, CONVERT_REVERSE, CONVERT_RTRIM, CONVERT_UPPER, CONVERT_URL_DEC, CONVERT_WORD,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text, text_t
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_TEXT_MAX, sample_int, sample_plan_text, sample_room,
)


# Make the bytes ours to change. False: they do not fit.
cdef bint own(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room
    if not s.flags & SAMPLE_CONST:
        return True
    if s.len > SAMPLE_TEXT_MAX:
        c.overflows += 1
        return False
    room = sample_room(c, s.len)
    if room == NULL:
        return False
    memcpy(room, s.p, s.len)
    s.p = room
    s.flags &= <uint8_t> ~SAMPLE_CONST
    return True


cdef int change_case(eval_t *c, sample_t *s, bint upper) noexcept nogil:
    cdef uint32_t i
    cdef char *p
    if not own(c, s):
        return SAMPLE_NONE
    p = <char *> s.p
    for i in range(s.len):
        if upper and c'a' <= p[i] <= c'z':
            p[i] -= 32
        elif not upper and c'A' <= p[i] <= c'Z':
            p[i] += 32
    return SAMPLE_FOUND


cdef int slice_bytes(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    # bytes(offset[,length]): behind the end there is nothing, and a length that is too long is shortened
    cdef const arg_t *offset = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *length = arg_at(c, g, op, 1, ARG_INT)
    if offset == NULL or offset.i < 0 or offset.i >= s.len:
        s.len = 0                             # HAProxy answers an empty value
        return SAMPLE_FOUND
    s.p += offset.i
    s.len -= <uint32_t> offset.i
    if length != NULL and length.i < s.len:
        s.len = <uint32_t> length.i if length.i > 0 else 0
    return SAMPLE_FOUND


cdef inline bint is_one_of(const char *set_, uint32_t n, char c) noexcept nogil:
    return memchr(set_, <uint8_t> c, n) != NULL


# field(index,delimiters[,count]) and word(...): a piece between delimiters, counted from 1, or from the end when negative.
# A field may be empty; of words, runs of delimiters count as one and those at the ends do not count.
cdef int piece(eval_t *c, const program_t *g, const op_t *op, sample_t *s, bint words) noexcept nogil:
    cdef const arg_t *which = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *delimiters = arg_at(c, g, op, 1, ARG_TEXT)
    cdef const arg_t *many = arg_at(c, g, op, 2, ARG_INT)
    cdef const char *set_
    cdef int64_t index, count, seen = 0
    cdef int64_t i, edge, n = s.len
    cdef int64_t first = -1, last = -1        # what is taken: first <= i < last
    cdef bint back
    if which == NULL or delimiters == NULL or which.i == 0:
        return SAMPLE_NONE
    set_ = plan_text(c.view.plan, delimiters.text)
    back = which.i < 0
    index = -which.i if back else which.i
    count = many.i if many != NULL else 1     # 0 = to the end
    # `i` walks pieces in the direction asked for; `edge` is where the present one began.
    i = 0
    while True:
        if words:
            while i < n and is_one_of(set_, delimiters.text.len, s.p[n - 1 - i if back else i]):
                i += 1
            if i >= n:
                if first >= 0:                # fewer than were asked for: to the end as well
                    last = n
                break
        edge = i
        while i < n and not is_one_of(set_, delimiters.text.len, s.p[n - 1 - i if back else i]):
            i += 1
        seen += 1
        if seen == index:
            first = edge
        if first >= 0:
            last = n if count == 0 else i     # to the end: with the delimiters there
            if count != 0 and seen == index + count - 1:
                break
        if i >= n:
            break
        i += 1
    if first < 0:
        return SAMPLE_NONE
    s.p = s.p + (n - last if back else first)
    s.len = <uint32_t> (last - first)
    return SAMPLE_FOUND


cdef int trim(eval_t *c, const program_t *g, const op_t *op, sample_t *s, bint right) noexcept nogil:
    cdef const arg_t *chars = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const char *set_
    if chars == NULL:
        return SAMPLE_NONE
    set_ = plan_text(c.view.plan, chars.text)
    while s.len != 0 and is_one_of(set_, chars.text.len, s.p[s.len - 1 if right else 0]):
        if not right:
            s.p += 1
        s.len -= 1
    return SAMPLE_FOUND


cdef int reverse(eval_t *c, sample_t *s) noexcept nogil:
    cdef uint32_t i
    cdef char *p
    cdef char keep
    if not own(c, s):
        return SAMPLE_NONE
    p = <char *> s.p
    for i in range(s.len // 2):
        keep = p[i]
        p[i] = p[s.len - 1 - i]
        p[s.len - 1 - i] = keep
    return SAMPLE_FOUND


cdef inline int digit_of(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - 48
    if c'a' <= c <= c'f':
        return c - 87
    if c'A' <= c <= c'F':
        return c - 55
    return -1


# url_dec([in_form]): percent-decoding; `+` is a blank in a query (behind `?`, or everywhere with in_form). A wrong escape
# finds nothing.
cdef int url_dec(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *form = arg_at(c, g, op, 0, ARG_INT)
    cdef bint plus = form != NULL and form.i != 0
    cdef uint32_t i = 0, n = 0
    cdef char *p
    cdef int high, low
    if not own(c, s):
        return SAMPLE_NONE
    p = <char *> s.p
    while i < s.len:
        if p[i] == c'%':
            high = digit_of(p[i + 1]) if i + 2 < s.len else -1
            low = digit_of(p[i + 2]) if i + 2 < s.len else -1
            if high < 0 or low < 0:
                return SAMPLE_NONE
            p[n] = <char> (high << 4 | low)
            i += 3
        else:
            if p[i] == c'?':
                plus = True
            p[n] = c' ' if plus and p[i] == c'+' else p[i]
            i += 1
        n += 1
    s.len = n
    return SAMPLE_FOUND


cdef int cut_crlf(sample_t *s) noexcept nogil:
    cdef uint32_t i = 0
    while i < s.len and s.p[i] != c'\r' and s.p[i] != c'\n':
        i += 1
    s.len = i
    return SAMPLE_FOUND


# param(name[,delimiter]): the value behind the first `name=`, empty behind a name alone. A piece that has another name and ends
# where this one would is skipped whole, as in HAProxy.
cdef int param(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const arg_t *between = arg_at(c, g, op, 1, ARG_TEXT)
    cdef char delimiter = c'&'
    cdef const char *word
    cdef const char *end
    cdef size_t at = 0, n
    if name == NULL:
        return SAMPLE_NONE
    if between != NULL and between.text.len == 1:
        delimiter = plan_text(c.view.plan, between.text)[0]
    word = plan_text(c.view.plan, name.text)
    n = name.text.len
    while at < s.len and n <= s.len - at:
        if at + n == s.len or s.p[at + n] == delimiter:
            if memcmp(s.p + at, word, n) == 0:
                s.len = 0
                return SAMPLE_FOUND
            at += n + 1
            continue
        if s.p[at + n] == c'=' and memcmp(s.p + at, word, n) == 0:
            at += n + 1
            s.p += at
            s.len -= <uint32_t> at
            end = <const char *> memchr(s.p, <uint8_t> delimiter, s.len)
            if end != NULL:
                s.len = <uint32_t> (end - s.p)
            return SAMPLE_FOUND
        end = <const char *> memchr(s.p + at, <uint8_t> delimiter, s.len - at)
        if end == NULL:
            break
        at = <size_t> (end - s.p) + 1
    return SAMPLE_NONE


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or 9 <= c <= 13


cdef uint32_t skip_blanks(const sample_t *s, uint32_t i) noexcept nogil:
    while i < s.len and is_blank(s.p[i]):
        i += 1
    return i


# Thousandths of a quality (RFC 9110 12.4.2): a digit, a dot and three digits; 1000 when there is none. `i` moves behind what was
# read, and that is, as in HAProxy, also the character that stands where the dot should: so `a;q=0,b;q=1` has no `b`.
cdef int quality(const sample_t *s, uint32_t *i) noexcept nogil:
    cdef int value, unit = 100
    cdef uint32_t at = i[0]
    if at >= s.len or not c'0' <= s.p[at] <= c'9':
        return 1000
    value = (s.p[at] - 48) * 1000
    i[0] = at + 2
    if at + 1 < s.len and s.p[at + 1] == c'.':
        at += 2
        while unit and at < s.len and c'0' <= s.p[at] <= c'9':
            value += (s.p[at] - 48) * unit
            unit //= 10
            at += 1
        i[0] = at
    return value if value < 1000 else 1000


# What a range's parameter says: the quality behind `;q=`, 1000 when something else is there; -1: the range does not count.
cdef int weight_of(const sample_t *s, uint32_t *i) noexcept nogil:
    i[0] = skip_blanks(s, i[0])
    if i[0] >= s.len or s.p[i[0]] == c',':
        return 1000
    if s.p[i[0]] != c';':
        return -1
    i[0] = skip_blanks(s, i[0] + 1)
    if i[0] >= s.len or s.p[i[0]] != c'q':
        return 1000
    i[0] = skip_blanks(s, i[0] + 1)
    if i[0] >= s.len or s.p[i[0]] != c'=':
        return 1000
    i[0] = skip_blanks(s, i[0] + 1)
    return quality(s, i)


# The first of the words between `;` that a language range fits (RFC 4647 3.3.1, with its case): where, and how long; n < 0: none.
cdef ssize_t word_for(const char *range_, size_t n, const char *words, size_t len_, size_t *at) noexcept nogil:
    cdef size_t begin = 0, end
    while begin <= len_:
        end = begin
        while end < len_ and words[end] != c';':
            end += 1
        if end - begin <= n and memcmp(range_, words + begin, end - begin) == 0 \
                and (n == end - begin or range_[end - begin] == c'-'):
            at[0] = begin
            return <ssize_t> (end - begin)
        begin = end + 1
    return -1


# language(known[,otherwise]): of the languages between `;` the one that Accept-Language likes best.
cdef int language(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *known = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const arg_t *otherwise = arg_at(c, g, op, 1, ARG_TEXT)
    cdef const char *words
    cdef text_t best
    cdef uint32_t i = 0, begin
    cdef size_t at = 0
    cdef ssize_t n
    cdef int weight, most = 0
    if known == NULL:
        return SAMPLE_NONE
    words = plan_text(c.view.plan, known.text)
    best.at = known.text.at
    best.len = 0
    while most < 1000:
        i = skip_blanks(s, i)
        if i >= s.len:
            break
        begin = i
        while i < s.len and s.p[i] != c';' and s.p[i] != c',' and not is_blank(s.p[i]):
            i += 1
        if i != begin:
            n = word_for(s.p + begin, i - begin, words, known.text.len, &at)
            weight = weight_of(s, &i) if n >= 0 else -1
            if weight > most:
                most = weight
                best.at = known.text.at + <uint32_t> at
                best.len = <uint32_t> n
        while i < s.len and s.p[i] != c',':
            i += 1
        i += 1
    if best.len == 0 and otherwise != NULL:
        best = otherwise.text
    return sample_plan_text(c, best, s) if best.len != 0 else SAMPLE_NONE


cdef int convert_text(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *arg
    if code == CONVERT_LOWER or code == CONVERT_UPPER:
        return change_case(c, s, code == CONVERT_UPPER)
    if code == CONVERT_LENGTH:
        return sample_int(s, s.len)
    if code == CONVERT_BYTES:
        return slice_bytes(c, g, op, s)
    if code == CONVERT_FIELD or code == CONVERT_WORD:
        return piece(c, g, op, s, code == CONVERT_WORD)
    if code == CONVERT_LTRIM or code == CONVERT_RTRIM:
        return trim(c, g, op, s, code == CONVERT_RTRIM)
    if code == CONVERT_REVERSE:
        return reverse(c, s)
    if code == CONVERT_IIF:
        arg = arg_at(c, g, op, 0 if s.i != 0 else 1, ARG_TEXT)
        return sample_plan_text(c, arg.text, s) if arg != NULL else SAMPLE_NONE
    if code == CONVERT_URL_DEC:
        return url_dec(c, g, op, s)
    if code == CONVERT_CUT_CRLF:
        return cut_crlf(s)
    if code == CONVERT_PARAM:
        return param(c, g, op, s)
    if code == CONVERT_LANGUAGE:
        return language(c, g, op, s)
    return SAMPLE_NONE
