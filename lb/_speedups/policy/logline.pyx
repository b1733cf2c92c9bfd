from libc.string cimport memset
from posix.unistd cimport getpid

from lb._speedups.policy.logtext cimport (
    HOST_WIDTH, ID_WIDTH, LIMIT_WIDTH, METHOD_WIDTH, NAME_WIDTH, REASON_WIDTH, put_address, put_char, put_escaped,
    put_hashed, put_int, put_local, put_text, put_uint, put_utc,
)
from lb._speedups.policy.plan cimport MODE_HTTP, MODE_UDP


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)


cdef extern from "<unistd.h>" nogil:
    int gethostname(char *name, size_t size)


cdef enum:
    HTTP_TAIL = 10              # ` HTTP/1.1"` behind the target
    JSON_TAIL = 13              # `","cut":true}` behind the target


cdef void logline_init(logline_t *state) noexcept nogil:
    memset(state, 0, sizeof(logline_t))
    state.utc_day = -1
    state.pid = <uint32_t>getpid()
    # Cut at 63 bytes, as the kernel's own limit is.
    gethostname(state.host, sizeof(state.host) - 1)


# ---- HAProxy's lines --------------------------------------------------------------------------------------

# `%ci:%cp [%tr] %ft %b/%s `
cdef inline char *put_start(logline_t *state, char *p, const log_view_t *v) noexcept nogil:
    p = put_char(put_address(p, v), 58)
    p = put_text(put_uint(p, v.port), b" [")
    p = put_text(put_local(state, p, v.accept_us), b"] ")
    p = put_hashed(p, p + NAME_WIDTH, v.frontend)
    if v.is_tls:
        p = put_char(p, 126)
    p = put_char(p, 32)
    p = put_char(put_hashed(p, p + NAME_WIDTH, v.backend), 47)
    if v.server.len:
        p = put_hashed(p, p + NAME_WIDTH, v.server)
    else:
        p = put_text(p, b"<NOSRV>")
    return put_char(p, 32)


# ` %ac/%fc/%bc/%sc/%rc %sq/%bq`
cdef inline char *put_counts(char *p, const log_view_t *v) noexcept nogil:
    p = put_char(p, 32)
    p = put_char(put_uint(p, v.actconn), 47)
    p = put_char(put_uint(p, v.feconn), 47)
    p = put_char(put_uint(p, v.beconn), 47)
    p = put_char(put_uint(p, v.srvconn), 47)
    if v.redispatched:
        p = put_char(p, 43)
    p = put_char(put_uint(p, v.retries), 32)
    p = put_char(put_uint(p, v.srvqueue), 47)
    return put_uint(p, v.bequeue)


cdef size_t logline_http(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil:
    cdef char *p = dst
    cdef const char *end = dst + cap
    if cap < LOGLINE_MIN:
        return 0
    p = put_start(state, p, v)
    p = put_char(put_int(p, v.request_ms), 47)
    p = put_char(put_int(p, v.queue_ms), 47)
    p = put_char(put_int(p, v.connect_ms), 47)
    p = put_char(put_int(p, v.response_ms), 47)
    p = put_char(put_int(p, v.active_ms), 32)
    p = put_char(put_int(p, v.status if v.status else -1), 32)
    p = put_text(put_uint(p, v.bytes_out), b" - - ")
    p = put_char(put_char(p, v.end_cause), v.end_phase)
    p = put_char(put_char(p, v.cookie if v.cookie else 45), v.set_cookie if v.set_cookie else 45)
    p = put_text(put_counts(p, v), b" \"")
    if v.has_request:
        p = put_char(put_hashed(p, p + METHOD_WIDTH, v.method), 32)
        LB_ASSERT(p < dst + LOGLINE_MIN - HTTP_TAIL)
        p = put_hashed(p, end - HTTP_TAIL, v.target)
        p = put_text(p, b" HTTP/1.0\"" if v.http10 else b" HTTP/1.1\"")
    else:
        p = put_text(p, b"<BADREQ>\"")
    return p - dst


cdef size_t logline_tcp(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil:
    cdef char *p = dst
    if cap < LOGLINE_MIN:
        return 0
    p = put_start(state, p, v)
    p = put_char(put_int(p, v.queue_ms), 47)
    p = put_char(put_int(p, v.connect_ms), 47)
    p = put_char(put_int(p, v.active_ms), 32)
    p = put_char(put_uint(p, v.bytes_out), 32)
    p = put_char(put_char(p, v.end_cause), v.end_phase)
    p = put_counts(p, v)
    LB_ASSERT(p < dst + LOGLINE_MIN)
    return p - dst


# ---- JSON -------------------------------------------------------------------------------------------------

cdef inline char *put_string(char *p, size_t width, slice_t text, bint *cut) noexcept nogil:
    p = put_char(p, 34)
    return put_char(put_escaped(p, p + width, text, cut), 34)


cdef inline char *put_string_or_null(char *p, size_t width, slice_t text, bint *cut) noexcept nogil:
    if text.len:
        return put_string(p, width, text, cut)
    return put_text(p, b"null")


cdef inline char *put_ms(char *p, int64_t ms) noexcept nogil:
    if ms >= 0:
        return put_uint(p, <uint64_t>ms)
    return put_text(p, b"null")


cdef inline char *put_bool(char *p, bint value) noexcept nogil:
    return put_text(p, b"true") if value else put_text(p, b"false")


cdef size_t logline_json(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil:
    cdef char *p = dst
    cdef const char *end = dst + cap
    cdef bint cut = False
    cdef char cause[2]
    cdef slice_t termination
    if cap < LOGLINE_MIN:
        return 0
    cause[0] = v.end_cause
    cause[1] = v.end_phase
    termination.p = cause
    termination.len = 2
    p = put_utc(state, put_text(p, b"{\"time\":\""), v.accept_us)
    p = put_address(put_text(p, b"\",\"client\":\""), v)
    p = put_uint(put_text(p, b"\",\"port\":"), v.port)
    p = put_string(put_text(p, b",\"frontend\":"), NAME_WIDTH, v.frontend, &cut)
    p = put_string(put_text(p, b",\"backend\":"), NAME_WIDTH, v.backend, &cut)
    p = put_string_or_null(put_text(p, b",\"server\":"), NAME_WIDTH, v.server, &cut)
    p = put_bool(put_text(p, b",\"tls\":"), v.is_tls)
    p = put_uint(put_text(p, b",\"bytes_in\":"), v.bytes_in)
    p = put_uint(put_text(p, b",\"bytes_out\":"), v.bytes_out)
    p = put_ms(put_text(p, b",\"queue_ms\":"), v.queue_ms)
    p = put_ms(put_text(p, b",\"connect_ms\":"), v.connect_ms)
    p = put_ms(put_text(p, b",\"total_ms\":"), v.active_ms)
    p = put_string(put_text(p, b",\"termination\":"), 16, termination, &cut)
    p = put_uint(put_text(p, b",\"retries\":"), v.retries)
    p = put_bool(put_text(p, b",\"redispatched\":"), v.redispatched)
    p = put_uint(put_text(p, b",\"process_connections\":"), v.actconn)
    p = put_uint(put_text(p, b",\"frontend_connections\":"), v.feconn)
    p = put_uint(put_text(p, b",\"backend_connections\":"), v.beconn)
    p = put_uint(put_text(p, b",\"server_connections\":"), v.srvconn)
    p = put_string_or_null(put_text(p, b",\"reason\":"), REASON_WIDTH, v.reason, &cut)
    if v.mode == MODE_UDP:
        p = put_ms(put_text(p, b",\"response_ms\":"), v.response_ms)
        p = put_uint(put_text(p, b",\"datagrams_in\":"), v.datagrams_in)
        p = put_uint(put_text(p, b",\"datagrams_out\":"), v.datagrams_out)
    if v.mode == MODE_HTTP:
        p = put_ms(put_text(p, b",\"request_ms\":"), v.request_ms)
        p = put_ms(put_text(p, b",\"response_ms\":"), v.response_ms)
        p = put_ms(put_text(p, b",\"status\":"), v.status if v.status else -1)
        p = put_bool(put_text(p, b",\"server_reused\":"), v.reused)
        p = put_string_or_null(put_text(p, b",\"limit\":"), LIMIT_WIDTH, v.limit, &cut)
        p = put_string_or_null(put_text(p, b",\"limit_shadow\":"), LIMIT_WIDTH, v.limit_shadow, &cut)
        p = put_string_or_null(put_text(p, b",\"request_id\":"), ID_WIDTH, v.request_id, &cut)
        if v.has_request:
            p = put_string(put_text(p, b",\"method\":"), METHOD_WIDTH, v.method, &cut)
            p = put_text(p, b",\"version\":\"1.0\"" if v.http10 else b",\"version\":\"1.1\"")
            p = put_string_or_null(put_text(p, b",\"host\":"), HOST_WIDTH, v.host, &cut)
            p = put_text(p, b",\"target\":\"")
            LB_ASSERT(p < dst + LOGLINE_MIN - JSON_TAIL)
            p = put_char(put_escaped(p, end - JSON_TAIL, v.target, &cut), 34)
        else:
            p = put_text(p, b",\"method\":null,\"version\":null,\"host\":null,\"target\":null")
    if UNLIKELY(cut):
        p = put_text(p, b",\"cut\":true")
    LB_ASSERT(p < end)
    return put_char(p, 125) - dst
