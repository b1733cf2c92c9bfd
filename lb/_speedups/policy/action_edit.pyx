from libc.stdint cimport uint16_t
from libc.string cimport strlen

from lb._speedups.policy.action cimport (
    ACTION_DEL_HEADER, ACTION_SET_HEADER, ACTION_SET_METHOD, ACTION_SET_PATH, ACTION_SET_QUERY,
    ACTION_SET_STATUS,
)
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_TEXT, arg_t
from lb._speedups.policy.rule cimport rule_arg, rule_number, rule_text
from lb._speedups.proto.edit cimport (
    edit_add, edit_drop, edit_method, edit_path, edit_query, edit_status, edit_target,
)
from lb._speedups.proto.message cimport MESSAGE_EDIT_MAX
from lb._speedups.proto.status cimport status_reason


# set-header, add-header, del-header. The value is made before the old ones go: it may be made of them.
cdef int edit_header(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    cdef const arg_t *name = rule_arg(c, g, rule, 0, ARG_TEXT)
    cdef const char *p
    cdef char value[MESSAGE_EDIT_MAX]
    cdef ssize_t n
    if name == NULL:
        return -1
    p = plan_text(c.view.plan, name.text)
    if rule.action == ACTION_DEL_HEADER:
        edit_drop(m, p, name.text.len)
        return 0
    n = rule_text(c, g, rule, 1, value, sizeof(value))
    if n < 0:
        return -1
    if rule.action == ACTION_SET_HEADER:
        edit_drop(m, p, name.text.len)
    return edit_add(m, p, name.text.len, value, <size_t> n)


cdef int edit_line(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    cdef char text[MESSAGE_EDIT_MAX]
    cdef const char *usual
    cdef uint16_t status
    cdef ssize_t n
    if rule.action == ACTION_SET_STATUS:
        status = <uint16_t> rule_number(c, g, rule, 0, 0)
        if rule.nargs == 1:
            usual = status_reason(status)
            return edit_status(m, status, usual, strlen(usual))
        n = rule_text(c, g, rule, 1, text, sizeof(text))
        return edit_status(m, status, text, <size_t> n) if n >= 0 else -1
    n = rule_text(c, g, rule, 0, text, sizeof(text))
    if n < 0:
        return -1
    if rule.action == ACTION_SET_METHOD:
        return edit_method(m, text, <size_t> n)
    if rule.action == ACTION_SET_PATH:
        return edit_path(m, text, <size_t> n)
    if rule.action == ACTION_SET_QUERY:
        return edit_query(m, text, <size_t> n)
    return edit_target(m, text, <size_t> n)


cdef int action_edit(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil:
    return edit_header(c, g, rule, m) if rule.action <= ACTION_DEL_HEADER else edit_line(c, g, rule, m)
