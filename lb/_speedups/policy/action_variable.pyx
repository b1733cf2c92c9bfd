from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.policy.action cimport ACTION_CAPTURE, ACTION_SET_VAR, ACTION_SET_VAR_FMT, ACTION_UNSET_VAR
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.program cimport ARG_EXPR, ARG_INT, ARG_VARIABLE, arg_t
from lb._speedups.policy.rule cimport rule_arg, rule_text
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_STR, SAMPLE_TEXT_MAX, sample_cast, sample_room, sample_t, sample_text,
)
from lb._speedups.policy.variable cimport variable_capture
from lb._speedups.policy.variable_sample cimport variable_unset, variable_write


cdef void set_format(eval_t *c, const program_t *g, const rule_t *rule, uint64_t id, uint32_t conditions) noexcept nogil:
    cdef char *room = sample_room(c, SAMPLE_TEXT_MAX)
    cdef sample_t s
    cdef ssize_t n
    if room == NULL:
        return
    n = rule_text(c, g, rule, 2, room, SAMPLE_TEXT_MAX)
    if n < 0:
        c.overflows += 1
        return
    sample_text(&s, room, <size_t> n, 0)
    variable_write(c, id, conditions, &s)


# capture: the text of an expression, as much of it as the slot takes.
cdef void capture(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *slot = rule_arg(c, g, rule, 0, ARG_INT)
    cdef const arg_t *most = rule_arg(c, g, rule, 1, ARG_INT)
    cdef const arg_t *expr = rule_arg(c, g, rule, 2, ARG_EXPR)
    cdef const arg_t *response = rule_arg(c, g, rule, 3, ARG_INT)
    cdef sample_t s
    if slot == NULL or most == NULL or expr == NULL or response == NULL:
        return
    if expr_run(c, g, <uint32_t> expr.i, &s) != SAMPLE_FOUND or sample_cast(c, &s, SAMPLE_STR) != SAMPLE_FOUND:
        return
    if <int64_t> s.len > most.i:
        s.len = <uint32_t> most.i
    variable_write(c, variable_capture(<uint32_t> slot.i, response.i != 0), 0, &s)


cdef void action_variable(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *name = rule_arg(c, g, rule, 0, ARG_VARIABLE)
    cdef const arg_t *conditions = rule_arg(c, g, rule, 1, ARG_INT)
    cdef const arg_t *expr = rule_arg(c, g, rule, 2, ARG_EXPR)
    cdef uint32_t when = <uint32_t> conditions.i if conditions != NULL else 0
    cdef sample_t s
    if rule.action == ACTION_CAPTURE:
        capture(c, g, rule)
    elif name == NULL:
        return
    elif rule.action == ACTION_UNSET_VAR:
        variable_unset(c, <uint64_t> name.i)
    elif rule.action == ACTION_SET_VAR_FMT:
        set_format(c, g, rule, <uint64_t> name.i, when)
    elif rule.action == ACTION_SET_VAR and expr != NULL:
        if expr_run(c, g, <uint32_t> expr.i, &s) == SAMPLE_FOUND:
            variable_write(c, <uint64_t> name.i, when, &s)
