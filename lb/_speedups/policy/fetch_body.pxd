# The request's body, as far as it was waited for. Names follow lb/language/catalog.py.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # FETCHES_BODY
    FETCH_REQ_BODY = 1
    FETCH_REQ_BODY_LEN           # bytes of it that are here
    FETCH_REQ_BODY_SIZE          # of all of it, as far as is known
    FETCH_REQ_BODY_PARAM         # of application/x-www-form-urlencoded
    FETCHES_BODY_END

cdef enum:                       # program_t.uses, beside those of program.pxd
    PROGRAM_BODY = 1 << 8        # what has come of a body has to be there

cdef int fetch_body(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
