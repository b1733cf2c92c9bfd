from libc.stdint cimport uint64_t

from lb._speedups.policy.action cimport ACTION_ADD_ACL, ACTION_SET_MAP
from lb._speedups.policy.program cimport ARG_REFERENCE, arg_t
from lb._speedups.policy.reference cimport reference_at, reference_delete, reference_set, reference_t
from lb._speedups.policy.rule cimport rule_arg, rule_text


cdef void action_map(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil:
    cdef const arg_t *place = rule_arg(c, g, rule, 0, ARG_REFERENCE)
    cdef char[ACTION_MAP_TEXT] key, value
    cdef reference_t *ref
    cdef ssize_t n, value_n
    if place == NULL:
        return
    ref = reference_at(c.view.mapping, <uint64_t> place.i)
    n = rule_text(c, g, rule, 1, key, ACTION_MAP_TEXT)
    if n < 0:
        return
    if rule.action == ACTION_SET_MAP:
        value_n = rule_text(c, g, rule, 2, value, ACTION_MAP_TEXT)
        if value_n >= 0:
            reference_set(c.view.mapping, ref, key, <size_t> n, value, <size_t> value_n)
    elif rule.action == ACTION_ADD_ACL:
        reference_set(c.view.mapping, ref, key, <size_t> n, NULL, 0)
    else:
        reference_delete(c.view.mapping, ref, key, <size_t> n)
