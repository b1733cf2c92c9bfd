# What rules do with variables and captures.
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t

# Carry out a rule of ACTIONS_VARIABLE. What cannot be kept is left out: the request goes on, as in HAProxy.
cdef void action_variable(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil
