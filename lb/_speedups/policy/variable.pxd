# Variables: what rules keep for later rules, for later requests of a connection, or for all workers.
#
# A name has a scope in front: `sess.` lives as long as the client's connection, `txn.` as long as the request and its answer,
# `req.` until the answer arrives, `res.` from then on, `proc.` in the shared mapping, over reloads, for all workers. In the
# plan a name is a number, its id: 56 bits of hash and the scope below. (Not an index, because a session's variables meet the
# plans of later generations.) lb/language/variable.py makes it and refuses two names with one id.
#
# Stores. Variables of a stream stand in one variables_t, those of a session in another; each is taken when its first variable
# is set. A variable is a pooled variable_t; a value that does not fit in it has a block of VARIABLE_MEDIUM bytes or a buffer.
# What a scope may hold is bounded by the bytes of these (VARIABLE_*_MAX). A value that finds no room leaves its variable
# unset, never with what it was before.
#
# Captures are variables too: a slot of a declared capture is one whose name nobody can write.
#
# Variables of the process (process_variable_t) are cells in the mapping's arena, made by the supervisor before a plan that
# names them, found by a chain of hashes. Each has a robust lock and two values: a writer fills the one that is not current
# and then says that it is, so a death inside leaves the old value.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lb._speedups.base.lock cimport lb_lock_t
from lb._speedups.base.mapping cimport mapping_t
from lb._speedups.base.pool cimport pool_t

cdef enum variable_scope:        # low byte of an id
    SCOPE_PROC = 1
    SCOPE_SESS
    SCOPE_TXN
    SCOPE_REQ
    SCOPE_RES
    SCOPE_CAPTURED_REQUEST       # captures: the rest of the id is the slot
    SCOPE_CAPTURED_RESPONSE
    SCOPES

cdef enum:
    VARIABLE_INLINE = 128        # bytes of a value that need no block
    VARIABLE_MEDIUM = 2048
    VARIABLE_LARGE = 16384       # a buffer: the longest value
    VARIABLE_CHAINS = 8
    VARIABLE_SESS_MAX = 65536    # bytes that the variables of a scope take together
    VARIABLE_TXN_MAX = 131072
    VARIABLE_REQ_MAX = 65536     # the same for `res`

cdef enum variable_condition:    # bits: only set it if
    VARIABLE_IF_EXISTS = 1 << 0      # it is set; of the process: always
    VARIABLE_IF_NOT_EXISTS = 1 << 1
    VARIABLE_IF_EMPTY = 1 << 2       # the value is an empty text
    VARIABLE_IF_NOT_EMPTY = 1 << 3   # it is not
    VARIABLE_IF_SET = 1 << 4
    VARIABLE_IF_NOT_SET = 1 << 5
    VARIABLE_IF_GREATER = 1 << 6     # of two integers: the one that is there is greater than the value
    VARIABLE_IF_LESS = 1 << 7        # or less
    VARIABLE_CONDITIONS = 1 << 8

ctypedef struct value_t:         # a sample that is kept
    uint8_t type                 # sample_type; SAMPLE_ANY = unset
    uint8_t method               # SAMPLE_METH
    uint8_t pad[2]
    uint32_t len                 # bytes of text
    int64_t i
    uint8_t address[16]

ctypedef struct variable_t:
    uint64_t id
    variable_t *next             # of its chain
    char *p                      # its text: `own`, or a block
    uint32_t room                # bytes at p
    uint32_t pad
    value_t value
    char own[VARIABLE_INLINE]

ctypedef struct variables_t:
    variable_t *chains[VARIABLE_CHAINS]
    uint32_t bytes[SCOPES]       # by scope: what they take
    uint32_t count

ctypedef struct variable_pools_t:    # of a worker
    pool_t stores                # variables_t
    pool_t nodes                 # variable_t
    pool_t values                # VARIABLE_MEDIUM bytes
    pool_t *buffers              # VARIABLE_LARGE bytes: the engine's

cdef inline uint8_t variable_scope_of(uint64_t id) noexcept nogil:
    return <uint8_t> (id & 255)

cdef inline uint64_t variable_capture(uint32_t slot, bint response) noexcept nogil:
    return <uint64_t> slot << 8 | <uint64_t> (SCOPE_CAPTURED_RESPONSE if response else SCOPE_CAPTURED_REQUEST)

cdef void variable_pools_init(variable_pools_t *pools, pool_t *buffers) noexcept nogil
cdef void variable_pools_drain(variable_pools_t *pools) noexcept nogil

# The variable of a store that may be NULL, or NULL: it is not set.
cdef variable_t *variable_find(const variables_t *store, uint64_t id) noexcept nogil

# Keep a value: `head` without its text, which is text[0:head.len]. Takes the store if there is none. 0, or -1: no room or no
# memory, and the variable is not set. The text may be that of any variable, also of this one.
cdef int variable_keep(
    variable_pools_t *pools, variables_t **store, uint64_t id, const value_t *head, const char *text
) noexcept nogil

cdef void variable_drop(variable_pools_t *pools, variables_t *store, uint64_t id) noexcept nogil

# Give back the variables of a scope; those of all scopes and the store.
cdef void variables_forget(variable_pools_t *pools, variables_t *store, uint8_t scope) noexcept nogil
cdef void variables_free(variable_pools_t *pools, variables_t *store) noexcept nogil

# --- of the process ---

cdef enum:
    VARIABLES_AT = 61440         # process_variables_t in the mapping's fixed part
    PROCESS_CHAINS = 256
    PROCESS_VALUE_MAX = 3936     # bytes of a value
    PROCESS_NAME = 128           # bytes of a name with its NUL
    PROCESS_CELLS = 1024         # variables at most

ctypedef struct process_value_t:
    value_t value
    char text[PROCESS_VALUE_MAX]

ctypedef struct process_variable_t:  # 8 KiB in the arena
    lb_lock_t lock
    uint64_t id
    uint64_t next_at             # supervisor: of its chain, 0 = the last
    uint64_t later_at            # supervisor: of all cells
    uint64_t generation          # supervisor: the last one that names it; made by hand: all of them
    uint32_t current             # under lock: which of `values`
    uint32_t pad
    char name[PROCESS_NAME]
    process_value_t values[2]    # under lock

ctypedef struct process_variables_t:
    uint64_t first_at            # supervisor: place of the first cell, 0 = none
    uint64_t cells               # supervisor: their number
    uint64_t chains[PROCESS_CHAINS]  # places of first cells

cdef inline process_variables_t *process_variables(mapping_t *m) noexcept nogil:
    return <process_variables_t *> (<char *> m + VARIABLES_AT)

# The cell of an id, or NULL.
cdef process_variable_t *process_variable(mapping_t *m, uint64_t id) noexcept nogil

# Take its lock, mended if need be. 0 or -1.
cdef int process_take(process_variable_t *cell) noexcept nogil
cdef void process_give(process_variable_t *cell) noexcept nogil

cdef inline process_value_t *process_value(process_variable_t *cell) noexcept nogil:
    return &cell.values[cell.current & 1]

# Under lock: put another value in its place. 0, or -1: it is too long, and the variable is not set.
cdef int process_put(process_variable_t *cell, const value_t *head, const char *text) noexcept nogil

# Supervisor. The cell of this name, made if need be; NULL with errno (ENOSPC: there are PROCESS_CELLS).
# `oldest` is the oldest generation in use: what only older ones name may be given another name.
cdef process_variable_t *process_make(
    mapping_t *m, uint64_t id, const char *name, size_t len, uint64_t generation, uint64_t oldest
) noexcept nogil
