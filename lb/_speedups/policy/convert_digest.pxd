# Converters of a family: digests, message authentication and signatures (policy/crypto.pxd). See convert.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_digest(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

cdef enum:                       # the first argument of jwt_verify: the numbers of lb/language/crypto.py
    JWT_NONE = 0
    JWT_HS256
    JWT_HS384
    JWT_HS512
    JWT_RS256
    JWT_RS384
    JWT_RS512
    JWT_ES256
    JWT_ES384
    JWT_ES512
    JWT_PS256
    JWT_PS384
    JWT_PS512
    JWT_ALGORITHMS
