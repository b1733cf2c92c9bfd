# What rules do with stick tables.
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t

# Carry out a rule of ACTIONS_TABLE.
cdef void action_table(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil
