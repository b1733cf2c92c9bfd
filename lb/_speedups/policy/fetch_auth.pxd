# Fetches of a family: who the client says he is (Authorization, RFC 7617, RFC 6750), and whether that is so. See fetch.pxd.
#
# Whether a password is right may have to be found out elsewhere first (base/password.pxd): then these wait.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int fetch_auth(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
