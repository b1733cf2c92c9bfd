from libc.string cimport memcpy

from lb._speedups.policy.convert cimport CONVERT_REGSUB
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_REGEX, ARG_TEXT, arg_t
from lb._speedups.policy.regex cimport REGEX_LIMIT, REGEX_SPANS, REGEX_YES, regex_expand, regex_span_t
from lb._speedups.policy.regexes cimport regexes_match
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_SCRATCH, SAMPLE_TEXT_MAX, sample_text,
)


# regsub(regex,format[,flags]): what matches is replaced, once or (flag g, here the number 1) everywhere. As in HAProxy each
# search looks only at what lies behind the last match: a lookbehind does not see what was before it, but `^` holds only once.
# An empty match stands in front of a byte, which is copied.
cdef int regsub(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *regex = arg_at(c, g, op, 0, ARG_REGEX)
    cdef const arg_t *format = arg_at(c, g, op, 1, ARG_TEXT)
    cdef const arg_t *flags = arg_at(c, g, op, 2, ARG_INT)
    cdef regex_span_t spans[REGEX_SPANS]
    cdef char *out = c.scratch + c.used
    cdef size_t cap = SAMPLE_SCRATCH - c.used
    cdef size_t made = 0, at = 0, n = s.len, copied
    cdef ssize_t written
    cdef int r
    if regex == NULL or format == NULL:
        return SAMPLE_NONE
    if cap > SAMPLE_TEXT_MAX:
        cap = SAMPLE_TEXT_MAX
    while True:
        r = regexes_match(c, <unsigned int> regex.i, s.p + at, n - at, at != 0, spans)
        if r == REGEX_LIMIT:
            return SAMPLE_NONE
        copied = <size_t> spans[0].at if r == REGEX_YES else n - at
        if copied > cap - made:
            c.overflows += 1
            return SAMPLE_NONE
        memcpy(out + made, s.p + at, copied)
        made += copied
        if r != REGEX_YES:
            break
        written = regex_expand(s.p + at, spans, plan_text(c.view.plan, format.text), format.text.len, out + made, cap - made)
        if written < 0:
            c.overflows += 1
            return SAMPLE_NONE
        made += <size_t> written
        if at >= n:
            break
        if spans[0].end == 0:
            if made == cap:
                c.overflows += 1
                return SAMPLE_NONE
            out[made] = s.p[at]
            made += 1
            spans[0].end = 1
        at += <size_t> spans[0].end
        if flags == NULL or flags.i == 0:
            copied = n - at
            if copied > cap - made:
                c.overflows += 1
                return SAMPLE_NONE
            memcpy(out + made, s.p + at, copied)
            made += copied
            break
    c.used += <unsigned int> made
    sample_text(s, out, made, s.flags & <unsigned char> ~SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int convert_regex(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    if op.code & 255 == CONVERT_REGSUB:
        return regsub(c, g, op, s)
    return SAMPLE_NONE
