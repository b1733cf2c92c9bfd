# Edits of a head: fields, the request line, the status.
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t
from lb._speedups.proto.message cimport message_t

# Carry out a rule of ACTIONS_EDIT. 0, or -1: not possible (no room, or not allowed).
cdef int action_edit(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil
