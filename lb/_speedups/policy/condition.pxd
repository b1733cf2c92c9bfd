# Conditions of a route: what of a request's fields and query must be there, be missing, or have a value.
#
# A field's name is compared without case; its value is the whole of one line, without the white space around it, byte by
# byte: a list in one line is one value. Of the query, `a=1&b`, names and values are compared as they were sent; `b` and
# `b=` both have the empty value. Of several occurrences any may have the value, and TEST_ABSENT wants none. The cost is
# bounded by the head's size and PLAN_VALUES_MAX.
from lb._speedups.policy.plan cimport plan_condition_t, plan_t
from lb._speedups.proto.message cimport message_t

# Whether it holds for this request. `c` stands in `p`.
cdef bint condition_holds(const plan_t *p, const plan_condition_t *c, const message_t *m) noexcept nogil
