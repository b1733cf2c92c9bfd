from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp, memset

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.program cimport ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_MORE, SAMPLE_NONE, iterator_t, sample_int, sample_text,
)


cdef inline bint is_separator(char c) noexcept nogil:
    return c == c'&' or c == c';'


# The next value of a parameter with this name, of any when it is empty. As HAProxy reads them: of a nameless one whatever stands
# behind the next `=`.
cdef bint next_param(const char *p, size_t n, const char *name, size_t len, iterator_t *at, sample_t *s) noexcept nogil:
    cdef size_t start, stop
    while at.at < n:
        start = at.at
        stop = start
        while stop < n and not is_separator(p[stop]):
            stop += 1
        if len == 0:
            while start < n and p[start] != c'=':
                start += 1
            if start == n:
                return False
            start += 1
            stop = start
            while stop < n and not is_separator(p[stop]):
                stop += 1
        at.at = <uint32_t> stop + 1
        if len == 0:
            sample_text(s, p + start, stop - start, SAMPLE_CONST)
            return True
        if stop - start > len and p[start + len] == c'=' and memcmp(p + start, name, len) == 0:
            sample_text(s, p + start + len + 1, stop - start - len - 1, SAMPLE_CONST)
            return True
    return False


cdef int fetch_body(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const char *word = b""
    cdef size_t length = 0
    cdef iterator_t first
    if c.view.request == NULL:
        return SAMPLE_NONE
    if code == FETCH_REQ_BODY:
        s.type = SAMPLE_BIN
        s.flags = SAMPLE_CONST
        if c.view.body != NULL:
            s.p = c.view.body
            s.len = c.view.body_len
        return SAMPLE_FOUND
    if code == FETCH_REQ_BODY_LEN:
        return sample_int(s, c.view.body_len)
    if code == FETCH_REQ_BODY_SIZE:
        return sample_int(s, <int64_t> c.view.body_size)
    if code != FETCH_REQ_BODY_PARAM or c.view.body == NULL:
        return SAMPLE_NONE
    memset(&first, 0, sizeof(first))
    if name != NULL:
        word = <const char *> c.view.plan + name.text.at
        length = name.text.len
    if not next_param(c.view.body, c.view.body_len, word, length, &c.iterator if c.iterating else &first, s):
        return SAMPLE_NONE
    if c.iterating:
        s.flags |= SAMPLE_MORE
    return SAMPLE_FOUND
