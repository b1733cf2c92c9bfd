# Bytes that have not been given a meaning yet: payload, what a TLS client says first, RDP's cookie (mode tcp), and wait_end.
#
# What is not here yet is SAMPLE_WAIT, as long as the view says that more may come; a length or a rest that may grow is there and
# `changes`. Names follow lb/language/catalog.py.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

cdef enum:                       # FETCHES_PAYLOAD
    FETCH_WAIT_END = 1
    FETCH_REQ_LEN
    FETCH_REQ_PAYLOAD
    FETCH_REQ_PAYLOAD_LV
    FETCH_REQ_SSL_SNI
    FETCH_REQ_SSL_VER
    FETCH_REQ_SSL_HELLO_TYPE
    FETCH_REQ_SSL_ALPN
    FETCH_REQ_SSL_EC_EXT
    FETCH_REQ_SSL_ST_EXT
    FETCH_REQ_RDP_COOKIE
    FETCH_REQ_RDP_COOKIE_CNT
    FETCH_PAYLOAD                # of the direction that is being looked at
    FETCH_PAYLOAD_LV
    FETCH_RES_LEN
    FETCH_RES_PAYLOAD
    FETCH_RES_PAYLOAD_LV
    FETCH_RES_SSL_HELLO_TYPE
    FETCHES_PAYLOAD_END

cdef int fetch_payload(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
