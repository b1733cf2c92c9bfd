# Looks: what fetches (sc_*, src_*) and converters (table_*) see of an entry of a stick table. All three families number them
# alike, so that each is written once; lb/language/tables.py has the same list, and a test compares them.
#
# gpc0, gpc1 and gpt0, where they are not stored themselves, are the first of the gpc and gpt arrays, as in HAProxy. A look at
# what a table does not store finds nothing, and a count of it is 0. Those that count (inc, updt) or clear touch the entry;
# others do not.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.policy.sample cimport sample_t
from lb._speedups.policy.table cimport table_entry_t, table_t

cdef enum:                       # low byte of op_t.code
    LOOK_CONN_CNT = 1
    LOOK_CONN_CUR
    LOOK_CONN_RATE
    LOOK_SESS_CNT
    LOOK_SESS_RATE
    LOOK_HTTP_REQ_CNT
    LOOK_HTTP_REQ_RATE
    LOOK_HTTP_ERR_CNT
    LOOK_HTTP_ERR_RATE
    LOOK_HTTP_FAIL_CNT
    LOOK_HTTP_FAIL_RATE
    LOOK_GLITCH_CNT
    LOOK_GLITCH_RATE
    LOOK_BYTES_IN_RATE
    LOOK_BYTES_OUT_RATE
    LOOK_KBYTES_IN
    LOOK_KBYTES_OUT
    LOOK_GPC0
    LOOK_GPC1
    LOOK_GPT0
    LOOK_GPC0_RATE
    LOOK_GPC1_RATE
    LOOK_INC_GPC0
    LOOK_INC_GPC1
    LOOK_CLR_GPC0
    LOOK_CLR_GPC1
    LOOK_GPC                     # from here on the first argument is the number in an array
    LOOK_GPT
    LOOK_GPC_RATE
    LOOK_INC_GPC
    LOOK_CLR_GPC                 # to here
    LOOK_TRACKERS
    LOOK_TRACKED                 # fetches of tracked entries only
    LOOK_UPDT_CONN_CNT           # fetches of the client's address only
    LOOK_SERVER_ID               # converters only, as are these
    LOOK_IDLE
    LOOK_EXPIRE
    LOOK_IN_TABLE
    LOOKS

# Whether the first argument is the number of a cell.
cdef inline bint look_is_numbered(uint32_t look) noexcept nogil:
    return LOOK_GPC <= look < LOOK_TRACKERS

# Whether it makes the entry of a key that has none.
cdef inline bint look_makes(uint32_t look) noexcept nogil:
    return look == LOOK_INC_GPC0 or look == LOOK_INC_GPC1 or look == LOOK_INC_GPC or look == LOOK_UPDT_CONN_CNT

# See what it says of an entry, under the lock of its shard. Clearing and counting give what was there, and is there now.
# SAMPLE_*.
cdef int look_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t look, uint32_t cell, uint64_t now_ms, sample_t *s
) noexcept nogil

# Add to a general counter (LOOK_GPC0, LOOK_GPC1 or LOOK_GPC with its number) and its rate. Whether either is stored; `now`
# is the counter then, or the events of the rate's period.
cdef bint look_count_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t counter, uint32_t cell, uint64_t n, uint64_t now_ms, uint64_t *now
) noexcept nogil

# Set a general tag (LOOK_GPT0, or LOOK_GPT with its number).
cdef void look_mark_locked(
    table_t *t, uint32_t shard, table_entry_t *e, uint32_t tag, uint32_t cell, uint64_t value, uint64_t now_ms
) noexcept nogil
