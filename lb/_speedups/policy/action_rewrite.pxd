# Rewriting of a head by regular expressions, and normalizers of its target (proto/normalize.pxd).
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t
from lb._speedups.proto.message cimport message_t

cdef enum:                       # answers of action_rewrite
    REWRITE_DONE = 0
    REWRITE_ERROR = -1           # not possible: no room, not allowed, or a regular expression reached a limit
    REWRITE_BAD = -2             # the request is wrong: a strict normalizer refuses it

# Carry out a rule of ACTIONS_REWRITE. REWRITE_*.
cdef int action_rewrite(eval_t *c, const program_t *g, const rule_t *rule, message_t *m) noexcept nogil
