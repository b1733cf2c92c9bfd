# The values of the header Forwarded (RFC 7239), one element of its list at a time, read as strictly as HAProxy does: names in
# lower case, no blanks, nothing but `for`, `by`, `host` and `proto`, each once.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef bint rfc7239_is_valid(const sample_t *s) noexcept nogil

# The value of the parameter that the operation's first argument names (RFC7239_*), without quotes, when the element is right.
cdef int rfc7239_field(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# Of a node its name (an address, `unknown`, `_hidden`), or with `port` its port (a number, `_hidden`).
cdef int rfc7239_node(sample_t *s, bint port) noexcept nogil

cdef enum:                       # parameters; the numbers of lb/language/expression.py
    RFC7239_FOR = 0
    RFC7239_BY
    RFC7239_HOST
    RFC7239_PROTO
    RFC7239_PARAMETERS
