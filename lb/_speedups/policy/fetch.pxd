# Fetches: where samples come from. A family of them is a module; each looks at the view and at nothing else, and changes
# nothing, so that a rule that was parked can be evaluated again.
from libc.stdint cimport uint8_t, uint32_t

from lb._speedups.policy.program cimport arg_t, op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

# Numbers of the low byte of op_t.code, family by family. Names follow lb/language/catalog.py.
cdef enum:                       # FETCHES_INTERNAL
    FETCH_ALWAYS_TRUE = 1
    FETCH_ALWAYS_FALSE
    FETCH_INT
    FETCH_STR
    FETCH_BOOL
    FETCH_BIN
    FETCH_IPV4
    FETCH_IPV6
    FETCH_METH
    FETCH_DATE
    FETCH_DATE_US
    FETCH_RAND
    FETCH_UUID
    FETCH_HOSTNAME
    FETCH_FE_NAME
    FETCH_BE_NAME
    FETCH_SRV_NAME
    FETCH_FE_ID
    FETCH_BE_ID
    FETCH_SRV_ID
    FETCH_FE_CONN
    FETCH_BE_CONN
    FETCH_SRV_CONN
    FETCH_NBSRV
    FETCH_ACT_CONN
    FETCH_STOPPING
    FETCHES_INTERNAL_END

cdef enum:                       # FETCHES_CONNECTION
    FETCH_SRC = 1
    FETCH_SRC_PORT
    FETCH_DST
    FETCH_DST_PORT
    FETCH_SO_NAME
    FETCH_SO_ID
    FETCHES_CONNECTION_END

cdef enum:                       # FETCHES_REQUEST
    FETCH_METHOD = 1
    FETCH_PATH
    FETCH_PATHQ
    FETCH_QUERY
    FETCH_URL
    FETCH_BASE
    FETCH_REQ_VER
    FETCH_REQ_HDR
    FETCH_REQ_FHDR
    FETCH_REQ_HDR_CNT
    FETCH_REQ_FHDR_CNT
    FETCH_REQ_HDR_NAMES
    FETCH_REQ_HDR_IP
    FETCH_REQ_HDR_VAL
    FETCH_REQ_COOK
    FETCH_REQ_COOK_CNT
    FETCH_REQ_COOK_VAL
    FETCH_URLP
    FETCH_URLP_VAL
    FETCH_HTTP_FIRST_REQ
    FETCH_UNIQUE_ID
    FETCH_REQ_PROTO_HTTP
    FETCH_BASEQ
    FETCH_BASE32
    FETCH_BASE32_SRC
    FETCH_URL32
    FETCH_URL32_SRC
    FETCH_URL_IP
    FETCH_URL_PORT
    FETCH_REQ_HDRS
    FETCH_REQ_HDRS_BIN
    FETCH_REQ_COOK_NAMES
    FETCHES_REQUEST_END

cdef enum:                       # FETCHES_RESPONSE
    FETCH_STATUS = 1
    FETCH_RES_VER
    FETCH_RES_HDR
    FETCH_RES_FHDR
    FETCH_RES_HDR_CNT
    FETCH_RES_FHDR_CNT
    FETCH_RES_HDR_NAMES
    FETCH_RES_HDR_IP
    FETCH_RES_HDR_VAL
    FETCH_RES_COOK
    FETCH_RES_COOK_CNT
    FETCH_RES_COOK_VAL
    FETCH_RES_HDRS
    FETCH_RES_HDRS_BIN
    FETCH_RES_COOK_NAMES
    FETCH_SERVER_STATUS
    FETCHES_RESPONSE_END

# Those of FETCHES_TRACKED and FETCHES_SOURCE are LOOK_* (policy/look.pxd), those of FETCHES_TABLE in policy/fetch_table.pxd.

cdef enum:                       # FETCHES_SOCKET
    FETCH_FC_SRC = 1
    FETCH_FC_SRC_PORT
    FETCH_FC_DST
    FETCH_FC_DST_PORT
    FETCH_FC_SRC_IS_LOCAL
    FETCH_FC_DST_IS_LOCAL
    FETCH_SRC_IS_LOCAL
    FETCH_DST_IS_LOCAL
    FETCH_DST_CONN
    FETCH_FC_HTTP_MAJOR
    FETCH_FC_RCVD_PROXY
    FETCH_FC_PP_AUTHORITY
    FETCH_FC_PP_UNIQUE_ID
    FETCH_FC_PP_TLV
    FETCH_FC_RTT
    FETCH_FC_RTTVAR
    FETCH_FC_UNACKED
    FETCH_FC_SACKED
    FETCH_FC_LOST
    FETCH_FC_RETRANS
    FETCH_FC_FACKETS
    FETCH_FC_REORDERING
    FETCH_BC_SRC
    FETCH_BC_SRC_PORT
    FETCH_BC_DST
    FETCH_BC_DST_PORT
    FETCH_BC_HTTP_MAJOR
    FETCH_BC_RTT
    FETCH_BC_RTTVAR
    FETCHES_SOCKET_END

cdef enum:                       # FETCHES_PROCESS
    FETCH_ENV = 1
    FETCH_NBPROC
    FETCH_NBTHREAD
    FETCH_PROC
    FETCH_THREAD
    FETCH_PID
    FETCH_FE_DEFBE
    FETCH_FE_CLIENT_TIMEOUT
    FETCH_BE_SERVER_TIMEOUT
    FETCH_BE_TUNNEL_TIMEOUT
    FETCH_FE_SESS_RATE
    FETCH_FE_REQ_RATE
    FETCH_BE_SESS_RATE
    FETCH_SRV_SESS_RATE
    FETCH_SRV_IS_UP
    FETCH_SRV_WEIGHT
    FETCH_SRV_IWEIGHT
    FETCH_SRV_UWEIGHT
    FETCHES_PROCESS_END

cdef enum:                       # FETCHES_AUTH
    FETCH_HTTP_AUTH = 1
    FETCH_HTTP_AUTH_GROUP
    FETCH_HTTP_AUTH_USER
    FETCH_HTTP_AUTH_PASS
    FETCH_HTTP_AUTH_TYPE
    FETCH_HTTP_AUTH_BEARER
    FETCHES_AUTH_END

# Take the sample that `op` names. SAMPLE_*. The sample is whole on SAMPLE_FOUND; flags have SAMPLE_MORE when the evaluation
# iterates and another value follows.
cdef int fetch_run(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil

# The argument `k` of an operation when it is there and of this kind, else NULL: what an image lacks is never read.
cdef inline const arg_t *arg_at(const eval_t *c, const program_t *g, const op_t *op, uint32_t k, uint8_t kind) noexcept nogil:
    cdef const arg_t *arg
    if k >= op.nargs:
        return NULL
    arg = (<const arg_t *> (<const char *> c.view.plan + g.args_at)) + op.args + k
    return arg if arg.kind == kind else NULL
