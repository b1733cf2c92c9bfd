# Balance: which server is next, exactly, over all workers.
#
# A balance_t lives in the mapping's arena, one per backend and set of members; a reload that changes neither
# members, weights nor algorithm keeps it. All balances of a backend that are alive at a time (an old one is kept
# while streams of its generation are) share one balance_gate_t: the lock, and the list from oldest to newest.
#
# Usable is who gets traffic: members that are up with a weight above 0 and do not drain, those without BALANCE_BACKUP; when there
# is none of these the first backup, or with BALANCE_ALL_BACKUPS every backup. The usable stand in an indexed
# binary heap, ordered by num / weight, compared by cross-multiplication, then by `tie`:
#   - turns (roundrobin, and what has no key to hash): num = 2k + 1 for a member that was chosen k times, tie =
#     position. Earliest deadline first: after any sum(w) picks from the start every member has been chosen
#     exactly w times, and picks interleave smoothly.
#   - loads (leastconn): num = connections now, tie = number of the change that moved it last, so equals take
#     turns: whoever was touched longest ago is next, as in HAProxy.
# static-rr and map-based hashes look into a list of slots (policy/slots.pxd), consistent ones into a ring
# (policy/ring.pxd) or a Maglev table, random into the sums of the weights. Such a table is made by the supervisor
# only, at the start and when a member's state changes: aside, then it takes the place of the other under the lock.
#
# Loads. Where a balance of the gate needs them (`counts`), a stream is booked in one critical section: the row of
# its worker (counters_t.cur of the server), then the member's load in its balance and in all newer ones. Rows are
# the truth; loads, heap and sums are derived, and balance_repair_locked makes them anew: at EOWNERDEAD, after a
# worker's end, and once between a reload's prepare and commit (balance_recount), because a worker that had not
# seen `counts` yet may have changed its row without the lock. Where none counts, booking is a plain addition.
#
# One truth: num of turns, the cursor, the rows. A worker that dies between choosing and connecting has used up
# that one choice.
#
# Limits: weights up to 65535 and 2^46 picks of one member between two reloads, for the products to fit 64
# bits; BALANCE_TABLE_MAX entries of a table.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.base.lock cimport lb_lock_t
from lb._speedups.base.mapping cimport counters_t, mapping_t

cdef enum:                       # balance_t.algorithm
    BALANCE_ROUNDROBIN = 1
    BALANCE_STATIC_RR
    BALANCE_LEASTCONN
    BALANCE_RANDOM
    BALANCE_HASH                 # by the stream's key: source, uri, hdr, url_param, hash

cdef enum:                       # balance_t.table: how a hash finds its member
    TABLE_NONE = 0
    TABLE_SLOTS                  # map-based, static-rr
    TABLE_RING                   # consistent
    TABLE_MAGLEV
    TABLE_SUMS                   # random

cdef enum:                       # balance_t.flags
    BALANCE_ALL_BACKUPS = 1 << 0
    BALANCE_POSITIONS = 1 << 1   # a member's points on the ring come from its position, as in HAProxy

cdef enum:
    BALANCE_TABLE_MAX = 1048576  # slots, or points of a ring
    BALANCE_DRAWS_MAX = 64

cdef enum:                       # balance_member_t.flags
    BALANCE_BACKUP = 1 << 0
    BALANCE_DOWN = 1 << 1        # supervisor: takes no new streams
    BALANCE_DRAIN = 1 << 2       # supervisor: takes only new streams that belong to it

ctypedef struct balance_entry_t:  # 32 bytes
    uint64_t num                 # under lock: turns: 2k + 1; loads: the load
    uint32_t oid                 # immutable: the server
    uint32_t weight              # supervisor, under lock: 0 = not usable now
    uint32_t place               # derived: its place in the heap + 1, 0 = not in it
    uint32_t tie                 # derived: who comes first among equals
    uint32_t load                # derived: connections over all workers, if the gate counts
    uint32_t before              # derived: sum of the weights of usable members before it

ctypedef struct balance_member_t:  # 32 bytes: what a pick does not look at
    uint64_t identity            # immutable: where its points on the ring come from
    uint64_t newer_at            # supervisor, under lock: place of the next newer balance that has it too, 0 = none
    uint32_t weight              # supervisor, under lock: when it is usable
    uint32_t flags               # supervisor, under lock: BALANCE_BACKUP, BALANCE_DOWN, BALANCE_DRAIN
    uint32_t newer               # supervisor, under lock: its index there
    uint32_t pad

ctypedef struct balance_gate_t:
    lb_lock_t lock               # of all balances of the backend
    uint64_t oldest_at           # supervisor, under lock: place in the mapping of the first balance
    uint64_t next_at             # supervisor: next gate of the mapping, 0 = the last
    uint32_t counts              # atomic, supervisor: balances that need loads; 0 = rows are written without the lock
    uint32_t pad

ctypedef struct balance_t:
    # immutable
    uint64_t self_at             # place of this struct in the mapping
    uint64_t gate_at             # place of the gate in the mapping
    uint64_t entries_at          # bytes from this struct to balance_entry_t[size]
    uint64_t heap_at             # bytes from this struct to uint32_t[size]: entry indexes
    uint64_t members_at          # bytes from this struct to balance_member_t[size]
    uint64_t tables_at           # bytes from this struct to two tables
    uint64_t table_bytes         # of one of them
    uint32_t size                # entries
    uint8_t algorithm            # BALANCE_*
    uint8_t table                # TABLE_*
    uint8_t flags                # BALANCE_ALL_BACKUPS, BALANCE_POSITIONS
    uint8_t draws                # random: how many are compared
    uint32_t bound               # consistent: most load of a member, percent of its share; 0 = no bound
    uint32_t pad
    uint64_t bytes               # of the whole region
    # supervisor, under lock
    uint64_t older_at            # place in the mapping of the next older balance of the gate, 0 = none
    uint64_t newer_at            # of the next newer one
    uint32_t heaped              # derived: members of the heap (usable ones)
    uint32_t total               # sum of their weights
    uint32_t in_use              # which of the two tables
    uint32_t length              # its entries
    # under lock
    uint32_t moves               # loads: changes so far
    uint32_t cursor              # static-rr: the next slot
    uint64_t loads               # derived: sum of the loads
    uint64_t random              # state of its generator

# What a balance is to be.
ctypedef struct balance_spec_t:
    uint32_t size
    uint8_t algorithm
    uint8_t table
    uint8_t flags
    uint8_t draws
    uint32_t bound
    const uint32_t *oids
    const uint32_t *weights      # 0-65535
    const uint8_t *backups       # NULL = none is one
    const uint64_t *identities   # of a ring or Maglev table without BALANCE_POSITIONS, else NULL
    uint64_t seed                # of its generator

cdef inline balance_entry_t *balance_entries(balance_t *b) noexcept nogil:
    return <balance_entry_t *> (<char *> b + b.entries_at)

cdef inline uint32_t *balance_heap(balance_t *b) noexcept nogil:
    return <uint32_t *> (<char *> b + b.heap_at)

cdef inline balance_member_t *balance_members(balance_t *b) noexcept nogil:
    return <balance_member_t *> (<char *> b + b.members_at)

cdef inline mapping_t *balance_mapping(balance_t *b) noexcept nogil:
    return <mapping_t *> (<char *> b - b.self_at)

cdef inline balance_gate_t *balance_gate(balance_t *b) noexcept nogil:
    return <balance_gate_t *> (<char *> b - b.self_at + b.gate_at)

# Supervisor only: make a balance and return its place in the mapping, 0 with errno (ENOSPC, ENOMEM; EINVAL: more
# than BALANCE_TABLE_MAX entries of a table). `old_at` (0 = none) is the balance it follows: members keep their
# places in the rotation by oid (with the same weight exactly, with another one the same share of the way to the
# next turn), who is down stays down, and the gate is shared. New members join at the present virtual time, so they
# neither starve nor flood.
cdef uint64_t balance_make(mapping_t *m, const balance_spec_t *spec, uint64_t old_at) noexcept nogil

# Supervisor only: take it out of its gate and give back its memory, once nobody refers to it.
cdef void balance_release(mapping_t *m, uint64_t at) noexcept nogil

# Supervisor only: count all loads anew from the rows, after every worker has seen that the gate counts.
cdef void balance_recount(balance_t *b) noexcept nogil

# Supervisor only: the same for all balances; after a worker's rows were folded away.
cdef void balance_recount_all(mapping_t *m) noexcept nogil

# Supervisor only: a server is up or down from now on, in all balances that have it. 0, or -1 with ENOMEM.
cdef int balance_set_usable(mapping_t *m, uint32_t oid, bint usable) noexcept nogil

# Supervisor only: a server has this weight from now on, in all balances that have it; 0 lets it drain. A deadline keeps its
# share of the way. 0, -1 with ENOMEM, or BALANCE_FIXED: a balance's table has no room for another weight than the present one.
cdef enum:
    BALANCE_FIXED = -2

cdef int balance_set_weight(mapping_t *m, uint32_t oid, uint32_t weight) noexcept nogil

# The oid of the next server, 0 when none is usable. `avoid` (0 = none) is passed over while another one is
# usable. `hash` is the key's (`keyed`), without a key members take turns. `rows` (NULL = book nothing) are those of
# this worker, by oid: the stream is booked on the server.
cdef uint32_t balance_pick(
    balance_t *b, uint32_t avoid, bint keyed, uint32_t hash, counters_t *rows
) noexcept nogil

# Book the stream on member `index` of b, whatever its turn, its weight or whether it is a backup. False: it is down, and that
# matters.
cdef bint balance_take(balance_t *b, uint32_t index, bint even_down, counters_t *rows) noexcept nogil

# The stream leaves member `index` of b: undo the booking.
cdef void balance_leave(balance_t *b, uint32_t index, counters_t *rows) noexcept nogil

# How many members are usable. A glance without the lock.
cdef inline uint32_t balance_usable(const balance_t *b) noexcept nogil:
    return b.heaped

# Whether another server than this one is usable. A glance without the lock.
cdef inline bint balance_has_other(balance_t *b, uint32_t oid) noexcept nogil:
    return b.heaped > 1 or (b.heaped == 1 and balance_entries(b)[balance_heap(b)[0]].oid != oid)

# Make loads, weights and heap of every balance of the gate from what is true. Under the lock.
cdef void balance_repair_locked(mapping_t *m, balance_gate_t *gate) noexcept nogil

# Make the heap from the entries. Under the lock.
cdef void balance_rebuild_locked(balance_t *b) noexcept nogil
