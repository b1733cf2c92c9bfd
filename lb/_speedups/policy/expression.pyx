from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.convert cimport convert_run
from lb._speedups.policy.fetch cimport fetch_run
from lb._speedups.policy.pattern cimport set_match
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport (
    PART_QUOTE, PART_TEXT, TERM_NOT, TERM_OR, acl_t, cond_t, expr_t, format_t, op_t, part_t, set_t, term_t, test_t,
)
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_MORE, SAMPLE_STR, SAMPLE_WAIT, iterator_t, sample_cast,
)


cdef inline const char *at(const eval_t *c, uint32_t offset) noexcept nogil:
    return <const char *> c.view.plan + offset


cdef int expr_run(eval_t *c, const program_t *g, uint32_t expr, sample_t *s) noexcept nogil:
    cdef const expr_t *e = (<const expr_t *> at(c, g.exprs_at)) + expr
    cdef const op_t *op = (<const op_t *> at(c, g.ops_at)) + e.ops
    cdef uint32_t i
    cdef uint8_t more
    cdef int r = fetch_run(c, g, op, s)
    if r != SAMPLE_FOUND:
        return r
    more = s.flags & SAMPLE_MORE
    for i in range(1, e.nops):
        r = convert_run(c, g, op + i, s)
        if r != SAMPLE_FOUND:
            if more:                          # the next value may convert
                s.flags = SAMPLE_MORE
            return r
    s.flags |= more
    return SAMPLE_FOUND


# 1, 0, or -1 when it cannot be told. A fetch with several values is asked for each until one matches.
cdef int test_run(eval_t *c, const program_t *g, const test_t *test) noexcept nogil:
    cdef const set_t *set_ = (<const set_t *> at(c, g.sets_at)) + test.set_
    cdef sample_t s
    cdef uint32_t used = c.used
    cdef bint erred = c.erred                 # by another test of this rule
    cdef int r, answer = 0
    c.erred = False
    memset(&c.iterator, 0, sizeof(c.iterator))
    c.iterating = True
    while True:
        s.flags = 0
        c.changes = False
        r = expr_run(c, g, test.expr, &s)
        if r == SAMPLE_FOUND and set_match(c, set_, &s):
            answer = 1
            break
        if r == SAMPLE_WAIT or c.changes:     # what has not matched yet may match when more has come
            answer = -1
        c.used = used
        if not s.flags & SAMPLE_MORE:
            break
    c.iterating = False
    c.used = used
    if c.erred and answer == 0:
        answer = -1                           # the pattern that gave up might have matched
    c.erred = erred or (c.erred and answer < 0)
    return answer


cdef int acl_run(eval_t *c, const program_t *g, uint32_t index) noexcept nogil:
    cdef const acl_t *acl = (<const acl_t *> at(c, g.acls_at)) + index
    cdef const test_t *tests = (<const test_t *> at(c, g.tests_at)) + acl.tests
    cdef int r, answer = 0
    cdef uint32_t i
    for i in range(acl.ntests):
        r = test_run(c, g, &tests[i])
        if r > 0:
            return 1
        if r < 0:
            answer = -1
    return answer


cdef int acl_holds(eval_t *c, const program_t *g, uint32_t acl) noexcept nogil:
    cdef iterator_t iterator = c.iterator
    cdef bint iterating = c.iterating
    cdef int r = acl_run(c, g, acl)
    c.iterator = iterator
    c.iterating = iterating
    return r


cdef int cond_run(eval_t *c, const program_t *g, uint32_t cond) noexcept nogil:
    cdef const cond_t *d = (<const cond_t *> at(c, g.conds_at)) + cond
    cdef const term_t *terms = (<const term_t *> at(c, g.terms_at)) + d.terms
    cdef int r, all_ = 1                      # of this alternative so far: 1, 0, -1
    cdef bint unsure = False
    cdef uint32_t i
    for i in range(d.nterms):
        if terms[i].flags & TERM_OR:
            if all_ > 0:
                return 1
            unsure |= all_ < 0
            all_ = 1
        if all_ == 0:
            continue
        r = acl_run(c, g, terms[i].acl)
        if r < 0:
            all_ = -1
        elif (r > 0) == ((terms[i].flags & TERM_NOT) != 0):
            all_ = 0
    if all_ > 0:
        return 1
    return -1 if unsure or all_ < 0 else 0


# ---- format strings ----


cdef ssize_t put_marked(const sample_t *s, uint8_t flags, char *out, size_t cap) noexcept nogil:
    # As HAProxy's %{+Q} and %{+E}: in quotes, `"` and `\` escaped; for RFC 5424 also `]`.
    cdef size_t around = 1 if flags & PART_QUOTE else 0
    cdef size_t n = 0
    cdef uint32_t i
    if cap < 2 * around:
        return -1
    if around:
        out[n] = c'"'
        n += 1
    for i in range(s.len):
        if s.p[i] == c'"' or s.p[i] == c'\\' or (s.p[i] == c']' and flags & PART_ESCAPE):
            if n + 1 + around > cap:
                return -1
            out[n] = c'\\'
            n += 1
        if n + 1 + around > cap:
            return -1
        out[n] = s.p[i]
        n += 1
    if around:
        out[n] = c'"'
        n += 1
    return <ssize_t> n


# Bytes that no header may have are written as `%XX`, and a NUL ends the value, as in HAProxy's formats of HTTP rules. What is
# written, or -1.
cdef ssize_t put_encoded(const sample_t *s, char *out, size_t cap) noexcept nogil:
    cdef const char *hex = b"0123456789ABCDEF"
    cdef size_t n = 0
    cdef uint32_t i
    cdef uint8_t byte
    for i in range(s.len):
        byte = <uint8_t> s.p[i]
        if byte == 0:
            break
        if (byte >= 32 or byte == 9) and byte != 127:
            if n == cap:
                return -1
            out[n] = <char> byte
            n += 1
            continue
        if cap - n < 3:
            return -1
        out[n] = c'%'
        out[n + 1] = hex[byte >> 4]
        out[n + 2] = hex[byte & 15]
        n += 3
    return <ssize_t> n


cdef ssize_t format_run(eval_t *c, const program_t *g, uint32_t format, char *out, size_t cap) noexcept nogil:
    cdef const format_t *f = (<const format_t *> at(c, g.formats_at)) + format
    cdef const part_t *parts = (<const part_t *> at(c, g.parts_at)) + f.parts
    cdef size_t n = 0
    cdef ssize_t quoted
    cdef uint32_t used = c.used
    cdef uint32_t i
    cdef sample_t s
    for i in range(f.nparts):
        if parts[i].kind == PART_TEXT:
            s.p = plan_text(c.view.plan, parts[i].text)
            s.len = parts[i].text.len
        else:
            c.used = used
            s.flags = 0
            if expr_run(c, g, parts[i].expr, &s) != SAMPLE_FOUND or sample_cast(c, &s, SAMPLE_STR) != SAMPLE_FOUND:
                s.len = 0
                if not parts[i].flags & PART_QUOTE:
                    continue
            if parts[i].flags & (PART_QUOTE | PART_ESCAPE):
                quoted = put_marked(&s, parts[i].flags, out + n, cap - n)
                if quoted < 0:
                    c.used = used
                    return -1
                n += <size_t> quoted
                continue
            quoted = put_encoded(&s, out + n, cap - n)
            if quoted < 0:
                c.used = used
                return -1
            n += <size_t> quoted
            continue
        if s.len > cap - n:
            c.used = used
            return -1
        memcpy(out + n, s.p, s.len)
        n += s.len
    c.used = used
    return <ssize_t> n
