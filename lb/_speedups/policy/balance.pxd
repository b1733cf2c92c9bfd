# Balance: which server is next, exactly, over all workers.
#
# A balance_t lives in the mapping's arena, one per backend and set of members; a reload that changes neither
# members nor weights keeps it. Under its lock stands an indexed binary heap of members. roundrobin is
# earliest deadline first in integers: member i with weight w that has been chosen k times has the deadline
# (2k + 1) / w, compared by cross-multiplication, ties by position: after any sum(w) picks from the start
# every member has been chosen exactly w times, and picks interleave smoothly.
#
# One truth: the entries. The heap order is derived; balance_rebuild_locked makes it anew (EOWNERDEAD, tests).
# A worker that dies between choosing and connecting has used up that one choice.
#
# Limits: weights up to 65535 and 2^47 picks of one member between two reloads, for the products to fit 64
# bits.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.base.lock cimport lb_lock_t


ctypedef struct balance_entry_t:  # 32 bytes
    uint64_t chosen              # under lock: k
    uint32_t oid                 # immutable: the server
    uint32_t weight              # under lock: 0 = never chosen
    uint32_t place               # derived: its place in the heap + 1, 0 = not in it
    uint32_t reserved[3]

ctypedef struct balance_t:
    lb_lock_t lock
    uint32_t size                # entries
    uint32_t heaped              # derived: members of the heap (usable servers)
    uint32_t algorithm           # 1 = roundrobin
    uint32_t pad
    uint64_t entries_at          # bytes from this struct to balance_entry_t[size]
    uint64_t heap_at             # bytes from this struct to uint32_t[size]: entry indexes

cdef inline balance_entry_t *balance_entries(balance_t *b) noexcept nogil:
    return <balance_entry_t *> (<char *> b + b.entries_at)

cdef inline uint32_t *balance_heap(balance_t *b) noexcept nogil:
    return <uint32_t *> (<char *> b + b.heap_at)

# Bytes that a balance of `size` members needs.
cdef uint64_t balance_bytes(uint32_t size) noexcept nogil

# Supervisor only: lay out a zeroed region; oids and weights in order. `old` (may be NULL) lends its members'
# places in the rotation by oid: with the same weight exactly, with another one the same share of the way to
# its next turn. New members join at the present virtual time, so they neither starve nor flood. 0 or -1.
cdef int balance_init(
    balance_t *b, uint32_t size, const uint32_t *oids, const uint32_t *weights, balance_t *old
) noexcept nogil

# The oid of the next server, 0 when none is usable. `avoid` (0 = none) is passed over while another one is
# usable.
cdef uint32_t balance_pick(balance_t *b, uint32_t avoid) noexcept nogil

# Make the heap from the entries. Under the lock.
cdef void balance_rebuild_locked(balance_t *b) noexcept nogil
