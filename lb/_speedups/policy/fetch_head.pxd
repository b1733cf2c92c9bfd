# What the fetches of requests and responses share: samples of a head's version, fields and cookies.
from lb._speedups.policy.program cimport arg_t, op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t
from lb._speedups.proto.message cimport message_t

# hdr(name[,occurrence]) and fhdr: every value in turn when iterating, else the last one.
cdef int head_field(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint whole,
                    sample_t *s) noexcept nogil
cdef int head_field_ip(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil
cdef int head_field_val(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil
# Number of values, or of lines; of all fields when no name is given.
cdef int head_field_count(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint whole,
                          sample_t *s) noexcept nogil
cdef int head_names(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil
# cook(name): every one in turn when iterating, else the last one.
cdef int head_cookie(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                     sample_t *s) noexcept nogil
cdef int head_cookie_val(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                         sample_t *s) noexcept nogil
cdef int head_cookie_count(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                           sample_t *s) noexcept nogil
# All fields as text, `name: value` and CRLF each, then an empty line; or, binary, each name and value behind its length (a varint
# of the peers protocol), then two lengths of 0.
cdef int head_lines(eval_t *c, const message_t *m, bint binary, sample_t *s) noexcept nogil
# Names of the cookies, with a delimiter between them.
cdef int head_cookie_names(eval_t *c, const program_t *g, const op_t *op, const message_t *m, bint is_response,
                           sample_t *s) noexcept nogil
cdef int head_version(const message_t *m, sample_t *s) noexcept nogil
