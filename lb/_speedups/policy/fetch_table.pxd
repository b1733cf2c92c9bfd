# Fetches from stick tables: of entries that the stream tracks (sc_*), and of its client's address (src_*). Those that count
# (inc, clr) change the entry: they are evaluated once, where HAProxy does.
from libc.stdint cimport uint8_t

from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t
from lb._speedups.policy.table cimport table_key_t, table_t

cdef int fetch_tracked(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
cdef int fetch_source(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# The key of a sample, in a table's type: SAMPLE_FOUND, or SAMPLE_NONE when it cannot be one.
cdef int fetch_key(eval_t *c, const table_t *t, sample_t *s, table_key_t *key) noexcept nogil
