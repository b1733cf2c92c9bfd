from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from lb._speedups.policy.action cimport (
    ACTION_ALLOW, ACTION_REDIRECT, ACTION_STRICT_MODE, ACTIONS_EDIT, ACTIONS_MAP, ACTIONS_REWRITE, ACTIONS_TABLE, ACTIONS_VARIABLE,
    RULE_REDIRECT_IGNORE_EMPTY, action_refuses,
)
from lb._speedups.policy.action_edit cimport action_edit
from lb._speedups.policy.action_map cimport action_map
from lb._speedups.policy.action_rewrite cimport REWRITE_BAD, action_rewrite
from lb._speedups.policy.action_table cimport action_table
from lb._speedups.policy.action_variable cimport action_variable
from lb._speedups.policy.expression cimport cond_run, format_run
from lb._speedups.policy.plan cimport plan_backend, plan_backend_named, plan_server, plan_server_named, plan_text
from lb._speedups.policy.program cimport ARG_BACKEND, ARG_FORMAT, ARG_INT, ARG_SERVER, ARG_TEXT, RULE_UNLESS, ruleset_t
from lb._speedups.policy.sample cimport SAMPLE_WAIT


cdef enum:
    NAME_MAX = 64                # a name of the configuration has 63 bytes at most


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
    cdef ssize_t n
    if arg != NULL:
        n = format_run(c, g, <uint32_t> arg.i, out, cap)
        return n if not c.erred else -1
    arg = rule_arg(c, g, rule, k, ARG_TEXT)
    if arg == NULL or arg.text.len > cap:
        return -1
    memcpy(out, plan_text(c.view.plan, arg.text), arg.text.len)
    return arg.text.len


cdef int64_t rule_backend(eval_t *c, const program_t *g, const rule_t *rule, uint8_t mode) noexcept nogil:
    cdef const arg_t *arg = rule_arg(c, g, rule, 0, ARG_BACKEND)
    cdef char name[NAME_MAX]
    cdef int64_t index
    cdef ssize_t n
    if arg != NULL:
        return arg.i
    n = rule_text(c, g, rule, 0, name, sizeof(name))
    index = plan_backend_named(c.view.plan, name, <size_t> n) if n > 0 else -1
    return index if index >= 0 and plan_backend(c.view.plan, <uint32_t> index).mode == mode else -1


cdef int64_t rule_server(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *arg = rule_arg(c, g, rule, 0, ARG_SERVER)
    cdef uint32_t backend
    cdef char name[NAME_MAX]
    cdef ssize_t n
    if c.view.backend == NULL:
        return -1
    backend = <uint32_t> (c.view.backend - plan_backend(c.view.plan, 0))
    if arg != NULL:
        return arg.i if plan_server(c.view.plan, <uint32_t> arg.i).backend == backend else -1
    n = rule_text(c, g, rule, 0, name, sizeof(name))
    return plan_server_named(c.view.plan, backend, name, <size_t> n) if n > 0 else -1


# Whether a redirect that is to be passed over when its location is empty has an empty one.
cdef bint leads_nowhere(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef char one[1]
    return rule_number(c, g, rule, 3, 0) & RULE_REDIRECT_IGNORE_EMPTY and rule_text(c, g, rule, 2, one, 1) == 0


cdef int rules_run(eval_t *c, const program_t *g, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil:
    cdef const ruleset_t *set_ = (<const ruleset_t *> at(c, g.rulesets_at)) + ruleset
    cdef const rule_t *rules = (<const rule_t *> at(c, g.rules_at)) + set_.rules
    cdef const rule_t *rule
    cdef unsigned int family
    cdef int r
    if verdict.at == 0:
        verdict.lax = 0
    while verdict.at < set_.nrules:
        rule = &rules[verdict.at]
        c.used = 0
        c.erred = False
        c.budget.calls = 0
        if rule.cond:
            r = cond_run(c, g, rule.cond - 1)
            if r < 0 and not c.erred:
                return RULES_WAIT
            if r < 0:                         # nobody can tell: what refuses does, anything else is left out
                if not action_refuses(rule.action):
                    verdict.at += 1
                    continue
            elif (r != 0) == ((rule.flags & RULE_UNLESS) != 0):
                verdict.at += 1
                continue
        c.erred = False
        verdict.rule = rule
        family = rule.action >> 8
        if family == ACTIONS_EDIT:
            if m == NULL or action_edit(c, g, rule, m) != 0 and not verdict.lax:
                return RULES_ERROR
        elif family == ACTIONS_REWRITE:
            if m == NULL:
                return RULES_ERROR
            r = action_rewrite(c, g, rule, m)
            if r == REWRITE_BAD:
                return RULES_BAD
            if r != 0 and not verdict.lax:
                return RULES_ERROR
        elif family == ACTIONS_MAP:
            action_map(c, g, rule)
        elif family == ACTIONS_TABLE:
            if action_table(c, g, rule) == SAMPLE_WAIT:
                return RULES_WAIT
        elif family == ACTIONS_VARIABLE:
            action_variable(c, g, rule)
        elif rule.action == ACTION_ALLOW:
            return RULES_DONE
        elif rule.action == ACTION_REDIRECT and leads_nowhere(c, g, rule):
            pass
        elif rule.action == ACTION_STRICT_MODE:
            verdict.lax = rule_number(c, g, rule, 0, 1) == 0
        else:
            return RULES_VERDICT
        verdict.at += 1
    return RULES_DONE
