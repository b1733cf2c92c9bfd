from lb._speedups.policy.fetch_auth cimport fetch_auth
from lb._speedups.policy.fetch_body cimport fetch_body
from lb._speedups.policy.fetch_connection cimport fetch_connection
from lb._speedups.policy.fetch_internal cimport fetch_internal
from lb._speedups.policy.fetch_process cimport fetch_process
from lb._speedups.policy.fetch_payload cimport fetch_payload
from lb._speedups.policy.fetch_request cimport fetch_request
from lb._speedups.policy.fetch_response cimport fetch_response
from lb._speedups.policy.fetch_socket cimport fetch_socket
from lb._speedups.policy.fetch_table cimport fetch_source, fetch_table, fetch_tracked
from lb._speedups.policy.fetch_transaction cimport fetch_transaction
from lb._speedups.policy.fetch_variable cimport fetch_variable
from lb._speedups.policy.program cimport (
    FETCHES_AUTH, FETCHES_BODY, FETCHES_CONNECTION, FETCHES_INTERNAL, FETCHES_PAYLOAD, FETCHES_PROCESS, FETCHES_REQUEST,
    FETCHES_RESPONSE, FETCHES_SOCKET, FETCHES_SOURCE, FETCHES_TABLE, FETCHES_TRACKED, FETCHES_TRANSACTION, FETCHES_VARIABLE,
)
from lb._speedups.policy.sample cimport SAMPLE_NONE


cdef int fetch_run(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int family = op.code >> 8
    # Whatever an image says that the next operation takes, there is something to look at.
    s.flags = 0
    s.method = 0
    s.i = 0
    s.p = b""
    s.len = 0
    if family == FETCHES_REQUEST:
        return fetch_request(c, g, op, s)
    if family == FETCHES_CONNECTION:
        return fetch_connection(c, g, op, s)
    if family == FETCHES_RESPONSE:
        return fetch_response(c, g, op, s)
    if family == FETCHES_INTERNAL:
        return fetch_internal(c, g, op, s)
    if family == FETCHES_VARIABLE:
        return fetch_variable(c, g, op, s)
    if family == FETCHES_TRANSACTION:
        return fetch_transaction(c, g, op, s)
    if family == FETCHES_TRACKED:
        return fetch_tracked(c, g, op, s)
    if family == FETCHES_SOURCE:
        return fetch_source(c, g, op, s)
    if family == FETCHES_TABLE:
        return fetch_table(c, g, op, s)
    if family == FETCHES_SOCKET:
        return fetch_socket(c, g, op, s)
    if family == FETCHES_PROCESS:
        return fetch_process(c, g, op, s)
    if family == FETCHES_AUTH:
        return fetch_auth(c, g, op, s)
    if family == FETCHES_PAYLOAD:
        return fetch_payload(c, g, op, s)
    if family == FETCHES_BODY:
        return fetch_body(c, g, op, s)
    return SAMPLE_NONE
