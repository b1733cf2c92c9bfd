from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.expression cimport acl_holds
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.logline cimport log_view_t
from lb._speedups.policy.program cimport ARG_ACL, ARG_INT, ARG_TEXT, ARG_VARIABLE, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_WAIT, sample_bool, sample_plan_text, sample_text,
)
from lb._speedups.policy.variable cimport variable_capture
from lb._speedups.policy.variable_sample cimport variable_read
from lb._speedups.proto.message cimport MESSAGE_HTTP10, message_t


cdef int captured(eval_t *c, const program_t *g, const op_t *op, bint response, sample_t *s) noexcept nogil:
    cdef const arg_t *slot = arg_at(c, g, op, 0, ARG_INT)
    if slot == NULL or slot.i < 0:
        return SAMPLE_NONE
    return variable_read(c, variable_capture(<uint32_t> slot.i, response), s)


cdef int version(const message_t *m, sample_t *s) noexcept nogil:
    if m == NULL:
        return SAMPLE_NONE
    sample_text(s, b"HTTP/1.0" if m.flags & MESSAGE_HTTP10 else b"HTTP/1.1", 8, SAMPLE_CONST)
    return SAMPLE_FOUND


# What the client asked for, whatever rules made of it: path and query.
cdef int asked_uri(const log_view_t *v, sample_t *s) noexcept nogil:
    if not v.has_request or v.path.len == 0:
        return SAMPLE_NONE
    sample_text(s, v.path.p, v.target.p + v.target.len - v.path.p, SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int acls_hold(eval_t *c, const program_t *g, const op_t *op, uint32_t first) noexcept nogil:
    cdef const arg_t *acl
    cdef const arg_t *negated
    cdef uint32_t k
    cdef int r
    for k in range(first, op.nargs, 2):
        acl = arg_at(c, g, op, k, ARG_ACL)
        negated = arg_at(c, g, op, k + 1, ARG_INT)
        if acl == NULL or negated == NULL:
            return 0
        r = acl_holds(c, g, <uint32_t> acl.i)
        if r < 0:
            return -1
        if (r != 0) == (negated.i != 0):
            return 0
    return 1


cdef int fetch_variable(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *arg
    cdef const message_t *m
    cdef int r
    if code == FETCH_VAR:
        arg = arg_at(c, g, op, 0, ARG_VARIABLE)
        if arg == NULL:
            return SAMPLE_NONE
        r = variable_read(c, <uint64_t> arg.i, s)
        if r != SAMPLE_FOUND:
            arg = arg_at(c, g, op, 1, ARG_TEXT)
            return sample_plan_text(c, arg.text, s) if arg != NULL else r
        return r
    if code == FETCH_CAPTURE_REQ_HDR or code == FETCH_CAPTURE_RES_HDR:
        return captured(c, g, op, code == FETCH_CAPTURE_RES_HDR, s)
    if code == FETCH_CAPTURE_REQ_METHOD:
        if c.view.record == NULL or not c.view.record.has_request:
            return SAMPLE_NONE
        sample_text(s, c.view.record.method.p, c.view.record.method.len, SAMPLE_CONST)
        return SAMPLE_FOUND
    if code == FETCH_CAPTURE_REQ_URI:
        return asked_uri(c.view.record, s) if c.view.record != NULL else SAMPLE_NONE
    if code == FETCH_CAPTURE_REQ_VER:
        m = c.view.request
        return version(m if m != NULL and m.head_len and m.target.len else NULL, s)
    if code == FETCH_CAPTURE_RES_VER:
        return version(c.view.response, s)
    if code == FETCH_ACL:
        r = acls_hold(c, g, op, 0)
        return SAMPLE_WAIT if r < 0 else sample_bool(s, r != 0)
    return SAMPLE_NONE
