# Fetches from stick tables: of entries that the stream tracks (sc_*), of its client's address (src_*), and of tables as such.
# Those that count (inc, updt, clr) change the entry: they are evaluated once, where HAProxy does.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t
from lb._speedups.policy.table cimport table_key_t, table_t

cdef enum:                       # FETCHES_TABLE
    FETCH_TABLE_CNT = 1
    FETCH_TABLE_AVL
    FETCHES_TABLE_END

cdef int fetch_tracked(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
cdef int fetch_source(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
cdef int fetch_table(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# The key of a sample, in a table's type: SAMPLE_FOUND, or SAMPLE_NONE when it cannot be one.
cdef int fetch_key(eval_t *c, const table_t *t, sample_t *s, table_key_t *key) noexcept nogil
