# What rules do with maps and ACL files: set-map, del-map, add-acl, del-acl. Args: the reference, format of the key, format of
# the value (set-map).
from lb._speedups.policy.program cimport program_t, rule_t
from lb._speedups.policy.sample cimport eval_t

cdef enum:
    ACTION_MAP_TEXT = 8192       # bytes of a key, and of a value: what is longer changes nothing

# Carry out a rule of ACTIONS_MAP. What cannot be done (a key that is no address where one is needed, no room) is not done.
cdef void action_map(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil
