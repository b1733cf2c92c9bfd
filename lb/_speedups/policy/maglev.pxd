# Maglev: a table of 65,537 places (a prime) that members fill in turn, each going through the places in an order of its
# own. A key looks into place `hash % 65537`: one look, and shares that are even within 1 % up to 1,000 members, where a
# ring is only even on average. The price: when a member leaves, a few keys of others move as well (Eisenbud and others,
# "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4).
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    MAGLEV_SIZE = 65537
    MAGLEV_MEMBERS = 6553        # at most: ten places each

# Fill table[MAGLEV_SIZE] with indexes of members (weight 0 = takes no part). 1, 0 when nobody takes part, -1 without
# memory.
cdef int maglev_fill(
    uint32_t *table, const uint32_t *weights, const uint64_t *identities, uint32_t n
) noexcept nogil
