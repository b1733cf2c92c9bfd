from lb._speedups.policy.fetch cimport (
    FETCH_RES_COOK, FETCH_RES_COOK_CNT, FETCH_RES_COOK_NAMES, FETCH_RES_COOK_VAL, FETCH_RES_FHDR, FETCH_RES_FHDR_CNT, FETCH_RES_HDR,
    FETCH_RES_HDR_CNT, FETCH_RES_HDR_IP, FETCH_RES_HDR_NAMES, FETCH_RES_HDR_VAL, FETCH_RES_HDRS,
    FETCH_RES_HDRS_BIN, FETCH_RES_VER, FETCH_SERVER_STATUS, FETCH_STATUS,
)
from lb._speedups.policy.fetch_head cimport (
    head_cookie, head_cookie_count, head_cookie_names, head_cookie_val, head_field, head_field_count, head_field_ip, head_field_val,
    head_lines, head_names, head_version,
)
from lb._speedups.policy.sample cimport SAMPLE_NONE, sample_int
from lb._speedups.proto.message cimport message_t


cdef int fetch_response(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const message_t *m = c.view.response
    if m == NULL:
        return SAMPLE_NONE
    if code == FETCH_STATUS:
        return sample_int(s, m.status)
    if code == FETCH_RES_HDR or code == FETCH_RES_FHDR:
        return head_field(c, g, op, m, code == FETCH_RES_FHDR, s)
    if code == FETCH_RES_COOK:
        return head_cookie(c, g, op, m, True, s)
    if code == FETCH_RES_VER:
        return head_version(m, s)
    if code == FETCH_RES_HDR_CNT or code == FETCH_RES_FHDR_CNT:
        return head_field_count(c, g, op, m, code == FETCH_RES_FHDR_CNT, s)
    if code == FETCH_RES_HDR_NAMES:
        return head_names(c, g, op, m, s)
    if code == FETCH_RES_HDR_IP:
        return head_field_ip(c, g, op, m, s)
    if code == FETCH_RES_HDR_VAL:
        return head_field_val(c, g, op, m, s)
    if code == FETCH_RES_COOK_CNT:
        return head_cookie_count(c, g, op, m, True, s)
    if code == FETCH_RES_COOK_VAL:
        return head_cookie_val(c, g, op, m, True, s)
    if code == FETCH_SERVER_STATUS:
        return sample_int(s, c.view.status) if c.view.status else SAMPLE_NONE
    if code == FETCH_RES_HDRS or code == FETCH_RES_HDRS_BIN:
        return head_lines(c, m, code == FETCH_RES_HDRS_BIN, s)
    if code == FETCH_RES_COOK_NAMES:
        return head_cookie_names(c, g, op, m, True, s)
    return SAMPLE_NONE
