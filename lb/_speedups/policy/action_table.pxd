# What rules do with stick tables.
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t

# Carry out a rule of ACTIONS_TABLE. SAMPLE_WAIT when nobody can tell yet, else another SAMPLE_*.
cdef int action_table(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil
