# Sets of networks: whose PROXY headers and whose forwarded headers are believed. Tables live in the plan image.
#
# A netset_t (policy/plan.pxd) stands inside any struct of the plan that needs one. It leads to two arrays, one behind the
# other: ranges of IPv4 addresses, then of IPv6 addresses, each sorted and without overlap, as the compiler process has made
# them of addresses, prefixes and words (lb/config/netset.py). A lookup is a binary search: twenty steps for a million entries,
# and nothing is allocated or followed. Equal sets of a plan stand in its image once.
#
# IPv4 addresses are looked for among IPv4 ranges in whatever form they come: ::ffff:a.b.c.d is a.b.c.d.
from libc.stdint cimport uint8_t, uint16_t

from lb._speedups.policy.plan cimport netset_t, plan_t

# Whether the set holds this address: AF_INET with 4 bytes, AF_INET6 with 16, in network order; AF_UNIX without any. No other
# family is in any set.
cdef bint netset_has(const plan_t *p, const netset_t *s, uint16_t family, const uint8_t *address) noexcept nogil

# Check that the ranges lie inside the image, in order. 0 or -1.
cdef int netset_check(const plan_t *p, const netset_t *s) noexcept nogil

# Whether the set holds nothing.
cdef inline bint netset_is_empty(const netset_t *s) noexcept nogil:
    return s.v4 == 0 and s.v6 == 0 and s.flags == 0
