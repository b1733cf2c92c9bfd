from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.expression cimport cond_run, expr_run, format_run
from lb._speedups.policy.fetch_table cimport fetch_key
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport (
    ACTION_ADD_HEADER, ACTION_ALLOW, ACTION_DEL_HEADER, ACTION_SET_HEADER, ACTION_SET_METHOD, ACTION_SET_PATH,
    ACTION_SET_QUERY, ACTION_SET_STATUS, ACTION_TRACK, ARG_EXPR, ARG_FORMAT, ARG_INT, ARG_TABLE, ARG_TEXT, RULE_UNLESS, arg_t,
    ruleset_t,
)
from lb._speedups.policy.sample cimport SAMPLE_FOUND, sample_t
from lb._speedups.policy.table cimport TABLE_TRACKS, table_at, table_hold, table_key_t, table_t, track_t
from lb._speedups.proto.edit cimport (
    edit_add, edit_drop, edit_method, edit_path, edit_query, edit_status, edit_target,
)
from lb._speedups.proto.message cimport MESSAGE_EDIT_MAX


cdef inline const char *at(const eval_t *c, uint32_t offset) noexcept nogil:
    return <const char *> c.view.plan + offset


cdef const arg_t *rule_arg(const eval_t *c, const program_t *g, const rule_t *rule, uint32_t k,
                           uint8_t kind) noexcept nogil:
    cdef const arg_t *arg
    if k >= rule.nargs:
        return NULL
    arg = (<const arg_t *> at(c, g.args_at)) + rule.args + k
    return arg if arg.kind == kind else NULL


cdef int rule_number(const eval_t *c, const program_t *g, const rule_t *rule, uint32_t k, int otherwise) noexcept nogil:
    cdef const arg_t *arg = rule_arg(c, g, rule, k, ARG_INT)
    return <int> arg.i if arg != NULL else otherwise


cdef ssize_t rule_text(eval_t *c, const program_t *g, const rule_t *rule, uint32_t k, char *out, size_t cap) noexcept nogil:
    cdef const arg_t *arg = rule_arg(c, g, rule, k, ARG_FORMAT)
    if arg != NULL:
        return format_run(c, g, <uint32_t> arg.i, out, cap)
    arg = rule_arg(c, g, rule, k, ARG_TEXT)
    if arg == NULL or arg.text.len > cap:
        return -1
    memcpy(out, plan_text(c.view.plan, arg.text), arg.text.len)
    return arg.text.len


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
    cdef ssize_t n
    if rule.action == ACTION_SET_STATUS:
        n = rule_text(c, g, rule, 1, text, sizeof(text))
        return edit_status(m, <uint16_t> rule_number(c, g, rule, 0, 0), text, <size_t> n) if n >= 0 else -1
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


# track: hold the entry of a key and count this request there. The first rule that tracks with a number keeps it; a key that
# is not there, or that a full table has no room for, is not tracked.
cdef void track(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *which = rule_arg(c, g, rule, 0, ARG_INT)
    cdef const arg_t *expr = rule_arg(c, g, rule, 1, ARG_EXPR)
    cdef const arg_t *table = rule_arg(c, g, rule, 2, ARG_TABLE)
    cdef track_t *out
    cdef table_t *t
    cdef table_key_t key
    cdef sample_t s
    if which == NULL or expr == NULL or table == NULL or not 0 <= which.i < TABLE_TRACKS:
        return
    if c.view.tracks == NULL or c.view.ledger == NULL:
        return
    out = &c.view.tracks[which.i]
    if out.place != 0:
        return
    t = table_at(c.view.mapping, <uint64_t> table.i)
    if expr_run(c, g, <uint32_t> expr.i, &s) != SAMPLE_FOUND or fetch_key(c, t, &s, &key) != SAMPLE_FOUND:
        return
    out.place = table_hold(c.view.mapping, t, c.view.ledger, &key, c.view.now_ms, &out.number)


cdef int rules_run(eval_t *c, const program_t *g, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil:
    cdef const ruleset_t *set_ = (<const ruleset_t *> at(c, g.rulesets_at)) + ruleset
    cdef const rule_t *rules = (<const rule_t *> at(c, g.rules_at)) + set_.rules
    cdef const rule_t *rule
    cdef int r
    while verdict.at < set_.nrules:
        rule = &rules[verdict.at]
        c.used = 0
        if rule.cond:
            r = cond_run(c, g, rule.cond - 1)
            if r < 0:
                return RULES_WAIT
            if (r != 0) == ((rule.flags & RULE_UNLESS) != 0):
                verdict.at += 1
                continue
        verdict.rule = rule
        if rule.action == ACTION_SET_HEADER or rule.action == ACTION_ADD_HEADER or rule.action == ACTION_DEL_HEADER:
            r = edit_header(c, g, rule, m)
        elif ACTION_SET_METHOD <= rule.action <= ACTION_SET_STATUS:
            r = edit_line(c, g, rule, m)
        elif rule.action == ACTION_TRACK:
            track(c, g, rule)
            r = 0
        elif rule.action == ACTION_ALLOW:
            return RULES_DONE
        else:
            return RULES_VERDICT
        if r != 0:
            return RULES_ERROR
        verdict.at += 1
    return RULES_DONE
