from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcpy

from lb._speedups.policy.convert cimport (
    CONVERT_BYTES, CONVERT_FIELD, CONVERT_IIF, CONVERT_LENGTH, CONVERT_LOWER, CONVERT_LTRIM, CONVERT_REVERSE,
    CONVERT_RTRIM, CONVERT_UPPER, CONVERT_URL_DEC, CONVERT_WORD,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
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
    return SAMPLE_NONE
