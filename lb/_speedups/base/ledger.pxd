# Ledgers: what each worker holds in shared structures, so that its death gives it back.
#
# One ledger per worker slot, in the mapping's arena, made by the supervisor before the worker needs it. A place of it says
# what is held: an object of the mapping and an entry in it. A place is written under the lock of the thing it names, `object`
# last and by one store: that store is the taking, and the store of 0 the giving back. Counts of holders in the thing itself
# are derived: whoever finds the lock broken adds up all ledgers, whoever buries a worker gives back its places one by one.
# So nothing is lost or counted twice wherever a worker dies.
#
# Owner of a ledger: its worker, and once that has ended the supervisor. Others only read.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.base.mapping cimport MAPPING_WORKERS, mapping_t

cdef enum:
    LEDGERS_AT = 49152           # uint64_t[MAPPING_WORKERS + 1] in the mapping's fixed part: where each slot's ledger is, 0 = none
    LEDGER_PLACES = 65536        # things a worker can hold at once

ctypedef struct held_t:          # 16 bytes
    uint64_t object              # atomic, under the lock of the thing: where it is in the mapping; 0 = nothing is held here
    uint32_t entry               # of the thing; right while `object` is not 0
    uint32_t next                # its worker: free places behind this one + 1, 0 = the last

ctypedef struct ledger_t:
    uint32_t used                # atomic, its worker: places ever used; those behind are empty
    uint32_t free                # its worker: first free place + 1, 0 = none
    uint64_t count               # its worker: places in use
    held_t held[1]               # LEDGER_PLACES of them

# Supervisor. Make the ledger of a worker slot unless it has one. 0, or -1 with errno.
cdef int ledger_make(mapping_t *m, uint32_t slot) noexcept nogil

# NULL = none was made.
cdef inline ledger_t *ledger_of(mapping_t *m, uint32_t slot) noexcept nogil:
    cdef uint64_t at = (<uint64_t *> (<char *> m + LEDGERS_AT))[slot]
    return <ledger_t *> (<char *> m + at) if at != 0 else NULL

# Its worker. A place to write to, + 1; 0 = all are in use. It stays empty until its `object` is written.
cdef uint32_t ledger_take(ledger_t *l) noexcept nogil

# Its worker. The place is empty and can be used again.
cdef void ledger_give(ledger_t *l, uint32_t place) noexcept nogil

# Supervisor. All places of a dead worker are empty: begin anew.
cdef void ledger_clear(ledger_t *l) noexcept nogil
