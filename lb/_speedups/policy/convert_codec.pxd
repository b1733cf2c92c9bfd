# Converters of a family: bytes as text and back: hexadecimal, base64, percent-encoding. See convert.pxd.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef int convert_codec(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# base64 (RFC 4648, 4), or with `url` its form for URLs without padding (5), decoded into the scratch.
cdef int codec_from_base64(eval_t *c, sample_t *s, bint url) noexcept nogil

# The other way.
cdef int codec_to_base64(eval_t *c, sample_t *s, bint url) noexcept nogil
