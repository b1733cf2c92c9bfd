# Variables and captures as fetches.
from libc.stdint cimport uint32_t

from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # low byte of op_t.code in FETCHES_VARIABLE
    FETCH_VAR = 1
    FETCH_CAPTURE_REQ_HDR
    FETCH_CAPTURE_RES_HDR
    FETCH_CAPTURE_REQ_METHOD
    FETCH_CAPTURE_REQ_URI
    FETCH_CAPTURE_REQ_VER
    FETCH_CAPTURE_RES_VER
    FETCH_ACL
    FETCHES_VARIABLE_END

# Whether all ACLs in the arguments from `first` on hold: 1, 0, or -1, nobody can tell yet. `!` before one is in the number
# behind it.
cdef int acls_hold(eval_t *c, const program_t *g, const op_t *op, uint32_t first) noexcept nogil

cdef int fetch_variable(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
