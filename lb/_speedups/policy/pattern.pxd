# Patterns: whether a sample is in a set. The cost does not grow with the set: exact words are hashed, and prefixes (beg, end,
# and behind each delimiter dir, dom, or at each byte sub) are looked up at the lengths that the set has while the text
# is hashed byte by byte; numbers and addresses are searched for in sorted ranges. Only regular expressions are tried one by one.
from lb._speedups.policy.plan cimport plan_t
from lb._speedups.policy.program cimport set_t
from lb._speedups.policy.sample cimport eval_t, sample_t

# Whether the sample is in the set. It is cast for that: its bytes and type may have changed afterwards. When a regular
# expression reaches a limit the answer is no, and the rule has erred (eval_t.erred).
cdef bint set_match(eval_t *c, const set_t *set_, sample_t *s) noexcept nogil

# Check offsets, sizes and that lookups end. 0 or -1.
cdef int set_check(const plan_t *p, const set_t *set_) noexcept nogil
