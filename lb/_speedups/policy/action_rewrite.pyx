from libc.stddef cimport size_t
from libc.string cimport memcmp, memcpy

from lb._speedups.policy.action cimport (
    ACTION_NORMALIZE_URI, ACTION_REPLACE_HEADER, ACTION_REPLACE_PATH, ACTION_REPLACE_PATHQ, ACTION_REPLACE_VALUE,
    ACTION_SET_URI,
)
from lb._speedups.policy.fields cimport bytes_t, field_next
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_REGEX, ARG_TEXT, arg_t
from lb._speedups.policy.regex cimport REGEX_LIMIT, REGEX_SPANS, REGEX_YES, regex_expand, regex_span_t
from lb._speedups.policy.regexes cimport regexes_match
from lb._speedups.policy.rule cimport rule_arg, rule_number, rule_text
from lb._speedups.policy.sample cimport SAMPLE_SCRATCH, iterator_t
from lb._speedups.proto.edit cimport edit_path, edit_query, edit_target, edit_uri, edit_value
from lb._speedups.proto.message cimport MESSAGE_EDIT_MAX, MESSAGE_STAR
from lb._speedups.proto.normalize cimport (
    NORMALIZE_BAD, NORMALIZE_MERGE_SLASHES, NORMALIZE_SORT_QUERY, NORMALIZERS_END, normalize, normalize_wants_path,
)


cdef enum:                       # answers of replaced()
    KEEP = -1                    # it does not match
    FAIL = -2


# What p[0:n] becomes by the rule's regex k and the format behind it: bytes at `out`, or one of the above.
cdef ssize_t replaced(eval_t *c, const program_t *g, const rule_t *rule, unsigned int k, const char *p, size_t n,
                      char *out, size_t cap) noexcept nogil:
    cdef const arg_t *regex = rule_arg(c, g, rule, k, ARG_REGEX)
    cdef regex_span_t spans[REGEX_SPANS]
    cdef char format[2 * MESSAGE_EDIT_MAX]
    cdef ssize_t len
    cdef int r
    if regex == NULL:
        return FAIL
    r = regexes_match(c, <unsigned int> regex.i, p, n, False, spans)
    if r == REGEX_LIMIT:
        return FAIL
    if r != REGEX_YES:
        return KEEP
    len = rule_text(c, g, rule, k + 1, format, sizeof(format))
    if len < 0:
        return FAIL
    len = regex_expand(p, spans, format, <size_t> len, out, cap)
    return len if len >= 0 else FAIL


# replace-header: each field of this name that matches has another value.
cdef int replace_header(eval_t *c, const program_t *g, const rule_t *rule, message_t *m, const arg_t *name) noexcept nogil:
    cdef const char *p = plan_text(c.view.plan, name.text)
    cdef char made[MESSAGE_EDIT_MAX]
    cdef iterator_t at
    cdef bytes_t value
    cdef ssize_t n
    at.field = at.at = 0
    while field_next(m, p, name.text.len, True, &at, &value):
        n = replaced(c, g, rule, 1, value.p, value.n, made, sizeof(made))
        if n == FAIL or (n >= 0 and edit_value(m, at.field - 1, made, <size_t> n) != 0):
            return REWRITE_ERROR
    return REWRITE_DONE


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\t'


# replace-value: the same with each element of the lists. One that is replaced loses the blanks around it, as in HAProxy.
cdef int replace_value(eval_t *c, const program_t *g, const rule_t *rule, message_t *m, const arg_t *name) noexcept nogil:
    cdef const char *p = plan_text(c.view.plan, name.text)
    cdef char line[MESSAGE_EDIT_MAX]          # of the present field: what it becomes
    cdef char element[MESSAGE_EDIT_MAX]
    cdef size_t made = 0, taken = 0           # bytes of it, and bytes of the old value that it stands for
    cdef unsigned int field = 0               # its index + 1 once something was replaced
    cdef iterator_t at
    cdef bytes_t value
    cdef const char *old                      # of the present field
    cdef size_t len, from_
    cdef ssize_t n
    at.field = at.at = 0
    while True:
        if not field_next(m, p, name.text.len, False, &at, &value):
            return finish_value(m, field, line, made, taken)
        if field != 0 and field != at.field:
            if finish_value(m, field, line, made, taken) != 0:
                return REWRITE_ERROR
            field = 0
        if field == 0:
            made = taken = 0
        old = m.block + m.fields[at.field - 1].value_at
        len = m.fields[at.field - 1].value_len
        n = replaced(c, g, rule, 1, value.p, value.n, element, sizeof(element))
        if n == KEEP:
            continue
        from_ = <size_t> (value.p - old)
        while from_ > taken and is_blank(old[from_ - 1]):
            from_ -= 1
        if n == FAIL or from_ - taken + <size_t> n > sizeof(line) - made:
            return REWRITE_ERROR
        memcpy(line + made, old + taken, from_ - taken)
        made += from_ - taken
        memcpy(line + made, element, <size_t> n)
        made += <size_t> n
        taken = <size_t> (value.p - old) + value.n
        while taken < len and is_blank(old[taken]):
            taken += 1
        field = at.field


cdef int finish_value(message_t *m, unsigned int field, char *line, size_t made, size_t taken) noexcept nogil:
    cdef size_t rest
    if field == 0:
        return REWRITE_DONE
    rest = m.fields[field - 1].value_len - taken
    if rest > MESSAGE_EDIT_MAX - made:
        return REWRITE_ERROR
    memcpy(line + made, m.block + m.fields[field - 1].value_at + taken, rest)
    return edit_value(m, field - 1, line, made + rest)


# The path, and path and query, of a request; n = 0: it has none.
cdef bytes_t path_of(const message_t *m, bint with_query) noexcept nogil:
    cdef bytes_t out
    out.p = m.block + m.path.at
    out.n = m.path.len
    if m.flags & MESSAGE_STAR or out.n == 0:
        out.n = 0
    elif with_query:
        out.n = <size_t> (m.target.at + m.target.len - m.path.at)
    return out


cdef int replace_line(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    cdef char made[MESSAGE_EDIT_MAX]
    cdef bytes_t old
    cdef ssize_t n
    if rule.action == ACTION_REPLACE_PATH or rule.action == ACTION_REPLACE_PATHQ:
        old = path_of(m, rule.action == ACTION_REPLACE_PATHQ)
        if old.n == 0:
            return REWRITE_DONE
    else:
        old.p = m.block + m.target.at
        old.n = m.target.len
    n = replaced(c, g, rule, 0, old.p, old.n, made, sizeof(made))
    if n == KEEP:
        return REWRITE_DONE
    if n == FAIL:
        return REWRITE_ERROR
    if rule.action == ACTION_REPLACE_PATH:
        return edit_path(m, made, <size_t> n)
    if rule.action == ACTION_REPLACE_PATHQ:
        return edit_target(m, made, <size_t> n)
    return edit_uri(m, made, <size_t> n)


# normalize-uri. Nothing is edited when nothing changes.
cdef int normalize_uri(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    cdef int normalizer = rule_number(c, g, rule, 0, 0)
    cdef bint wants_path = normalize_wants_path(normalizer)
    cdef char *made = c.scratch + c.used
    cdef bytes_t old
    cdef ssize_t n
    if not NORMALIZE_MERGE_SLASHES <= normalizer < NORMALIZERS_END:
        return REWRITE_ERROR
    if normalizer == NORMALIZE_SORT_QUERY:
        old.p = m.block + m.query.at
        old.n = m.query.len if not m.flags & MESSAGE_STAR else 0
    else:
        old = path_of(m, not wants_path)
    if old.n == 0:
        return REWRITE_DONE
    if 3 * old.n + 1 > <size_t> (SAMPLE_SCRATCH - c.used):
        return REWRITE_ERROR
    n = normalize(normalizer, rule_number(c, g, rule, 1, 0) != 0, old.p, old.n, made)
    if n == NORMALIZE_BAD:
        return REWRITE_BAD
    if <size_t> n == old.n and memcmp(made, old.p, old.n) == 0:
        return REWRITE_DONE
    if normalizer == NORMALIZE_SORT_QUERY:
        return edit_query(m, made, <size_t> n)
    return edit_path(m, made, <size_t> n) if wants_path else edit_target(m, made, <size_t> n)


cdef int action_rewrite(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    cdef const arg_t *name
    cdef char made[MESSAGE_EDIT_MAX]
    cdef ssize_t n
    if rule.action == ACTION_REPLACE_HEADER or rule.action == ACTION_REPLACE_VALUE:
        name = rule_arg(c, g, rule, 0, ARG_TEXT)
        if name == NULL:
            return REWRITE_ERROR
        if rule.action == ACTION_REPLACE_HEADER:
            return replace_header(c, g, rule, m, name)
        return replace_value(c, g, rule, m, name)
    if rule.action == ACTION_NORMALIZE_URI:
        return normalize_uri(c, g, rule, m)
    if rule.action == ACTION_SET_URI:
        n = rule_text(c, g, rule, 0, made, sizeof(made))
        return edit_uri(m, made, <size_t> n) if n >= 0 else REWRITE_ERROR
    return replace_line(c, g, rule, m)
