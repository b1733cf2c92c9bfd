# The regular expressions of a plan, compiled in one worker (policy/regex.pxd says why they are not in the image).
#
# A plan lists its patterns (program_t.regexes_at); this has the regex of each at the same index, where view_t.regexes shows it
# to conditions, converters and actions. It is filled during *prepare*, a little at a time, and given back with the plan.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.plan cimport plan_t
from lb._speedups.policy.regex cimport regex_shelf_t, regex_span_t, regex_t
from lb._speedups.policy.sample cimport eval_t

ctypedef struct regexes_t:
    regex_t **all_               # NULL = the plan has none
    uint32_t n
    uint32_t ready               # of these, compiled so far

cdef enum:                       # answers of regexes_compile
    REGEXES_READY = 1
    REGEXES_MORE = 0             # the time is over: come again
    REGEXES_MEMORY = -1
    REGEXES_WRONG = -2           # a pattern that cannot be compiled: the image was made by another PCRE2, or damaged

# Ready the list for a plan that was checked. 0, or -1: no memory.
cdef int regexes_init(regexes_t *r, const plan_t *p) noexcept nogil

# Compile what is missing for at most `us` microseconds (0: all of it), at least one pattern. REGEXES_*.
cdef int regexes_compile(regexes_t *r, const plan_t *p, regex_shelf_t *s, uint64_t us) noexcept nogil

# Give all of them back to the shelf.
cdef void regexes_free(regexes_t *r, regex_shelf_t *s) noexcept nogil

# Look for the first match of the plan's pattern `index` (policy/regex.pxd: regex_match). On REGEX_LIMIT the rule has erred
# (eval_t.erred).
cdef int regexes_match(eval_t *c, uint32_t index, const char *p, size_t n, bint not_begin,
                       regex_span_t *spans) noexcept nogil
