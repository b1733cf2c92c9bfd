from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, strlen

from lb._speedups.policy.logline cimport LOGLINE_CAP, log_end_t, slice_t
from lb._speedups.policy.logtext cimport (
    HOST_WIDTH, ID_WIDTH, LIMIT_WIDTH, METHOD_WIDTH, NAME_WIDTH, REASON_WIDTH, put_address, put_char, put_escaped,
    put_hashed, put_int, put_local, put_numeric, put_text, put_uint, put_utc, put_zoned,
)
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.plan cimport MODE_HTTP, plan_log_op, plan_text
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.sample cimport SAMPLE_BOOL, SAMPLE_FOUND, SAMPLE_SINT, SAMPLE_STR, sample_cast, sample_t
from lb._speedups.policy.variable cimport variable_capture
from lb._speedups.policy.variable_sample cimport variable_read


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX


cdef enum:
    PLAIN_WIDTH = 50             # numbers, times, addresses, states, with quotes


# ---- length -----------------------------------------------------------------------------------------------

cdef uint32_t logformat_width(const log_op_t *op) noexcept nogil:
    if op.kind == LOGOP_TEXT:
        return 0
    if op.kind == LOGOP_FRONTEND or op.kind == LOGOP_FRONTEND_TLS or op.kind == LOGOP_BACKEND or op.kind == LOGOP_SERVER:
        return NAME_WIDTH + 3
    if op.kind == LOGOP_METHOD:
        return METHOD_WIDTH + 2
    if op.kind == LOGOP_REQUEST:
        return METHOD_WIDTH + 12
    if op.kind == LOGOP_REASON:
        return REASON_WIDTH + 2
    if op.kind == LOGOP_LIMIT or op.kind == LOGOP_LIMIT_SHADOW:
        return LIMIT_WIDTH + 2
    if op.kind == LOGOP_ID:
        return ID_WIDTH + 2
    if op.kind == LOGOP_HOST:
        return HOST_WIDTH + 2
    if op.kind == LOGOP_HOSTNAME:
        return 3 * 64 + 2
    return PLAIN_WIDTH


cdef bint logformat_is_open(const log_op_t *op) noexcept nogil:
    return op.kind == LOGOP_REQUEST or LOGOP_TARGET_PATH <= op.kind <= LOGOP_TARGET or op.kind >= LOGOP_EXPRESSION


# ---- pieces -----------------------------------------------------------------------------------------------

# As put_hashed, with a backslash before `"`, `\` and `]` where they are still there.
cdef char *put_backslashed(char *p, const char *end, slice_t text) noexcept nogil:
    cdef slice_t one
    cdef char *before
    cdef uint32_t i
    for i in range(text.len):
        one.p = text.p + i
        one.len = 1
        before = p
        if one.p[0] == 92 or one.p[0] == 93:
            if end - p < 2:
                return p
            p = put_char(p, 92)
        p = put_hashed(p, end, one)
        if p == before:
            return p
    return p


# Text that may be missing, cut at `width`.
cdef inline char *put_piece(char *p, size_t width, slice_t text, uint32_t flags, bint *cut) noexcept nogil:
    if flags & LOGOP_NULL:
        if not text.len:
            return put_text(p, b"null")
        return put_char(put_escaped(put_char(p, 34), p + 1 + width, text, cut), 34)
    if flags & LOGOP_AROUND:
        p = put_char(p, 34)
    if text.len:
        if UNLIKELY(flags & LOGOP_RAW):
            if text.len > width:
                text.len = <uint32_t> width
            memcpy(p, text.p, text.len)
            p += text.len
        elif flags & LOGOP_JSON:
            p = put_escaped(p, p + width, text, cut)
        elif UNLIKELY(flags & LOGOP_ESCAPE):
            p = put_backslashed(p, p + width, text)
        else:
            p = put_hashed(p, p + width, text)
    elif flags & LOGOP_DASH:
        p = put_char(p, 45)
    if flags & LOGOP_AROUND:
        p = put_char(p, 34)
    return p


cdef inline slice_t literal(const char *text) noexcept nogil:
    cdef slice_t out
    out.p = text
    out.len = <uint32_t>strlen(text)
    return out


cdef inline slice_t nothing() noexcept nogil:
    cdef slice_t out
    out.p = NULL
    out.len = 0
    return out


# A part of the request, `<BADREQ>` when there is none; a JSON value on its own is null then.
cdef inline char *put_requested(
    char *p, size_t width, const log_view_t *v, slice_t text, uint32_t flags, bint *cut
) noexcept nogil:
    if UNLIKELY(not v.has_request):
        text = nothing() if flags & LOGOP_NULL else literal(b"<BADREQ>")
    return put_piece(p, width, text, flags & ~LOGOP_DASH, cut)


cdef char *put_hex(char *p, const uint8_t *data, int n) noexcept nogil:
    cdef const char *digits = b"0123456789ABCDEF"
    cdef int i
    for i in range(n):
        p = put_char(put_char(p, digits[data[i] >> 4]), digits[data[i] & 15])
    return p


# A number as HAProxy writes it with +X: at least `least` digits.
cdef char *put_hex_uint(char *p, uint64_t n, int least) noexcept nogil:
    cdef const char *digits = b"0123456789ABCDEF"
    cdef int at = 60
    while at >= 4 * least and n >> at == 0:
        at -= 4
    while at >= 0:
        p = put_char(p, digits[(n >> at) & 15])
        at -= 4
    return p


cdef inline char *put_number(char *p, uint64_t n, uint32_t flags, int least) noexcept nogil:
    if UNLIKELY(flags & LOGOP_HEX):
        return put_hex_uint(p, n, least)
    return put_uint(p, n)


# What may not have happened: -1.
cdef inline char *put_ms_or(char *p, int64_t ms, uint32_t flags) noexcept nogil:
    if UNLIKELY(ms < 0 and flags & LOGOP_NULL):
        return put_text(p, b"null")
    return put_int(p, ms)


cdef char *put_end(char *p, const log_end_t *end, uint32_t flags, bint *cut) noexcept nogil:
    if end.family == 0:
        return put_piece(p, 1, nothing(), flags, cut)
    if flags & LOGOP_HEX and end.family != AF_UNIX:
        return put_hex(p, end.address, 4 if end.family == AF_INET else 16)
    if flags & (LOGOP_AROUND | LOGOP_NULL):
        p = put_char(p, 34)
    p = put_numeric(p, end.family, end.address)
    if flags & (LOGOP_AROUND | LOGOP_NULL):
        p = put_char(p, 34)
    return p


cdef char *put_end_port(char *p, const log_end_t *end, uint32_t flags, bint *cut) noexcept nogil:
    if end.family == 0:
        return put_piece(p, 1, nothing(), flags, cut)
    return put_number(p, end.port, flags, 4)


cdef char *put_pair_of_letters(char *p, const log_view_t *v, uint32_t flags, bint with_cookie) noexcept nogil:
    if flags & LOGOP_NULL:
        p = put_char(p, 34)
    p = put_char(put_char(p, v.end_cause), v.end_phase)
    if with_cookie:
        p = put_char(put_char(p, v.cookie if v.cookie else 45), v.set_cookie if v.set_cookie else 45)
    if flags & LOGOP_NULL:
        p = put_char(p, 34)
    return p


cdef char *put_frontend_tls(char *p, const log_view_t *v, uint32_t flags, bint *cut) noexcept nogil:
    cdef bint quoted = (flags & (LOGOP_AROUND | LOGOP_NULL)) != 0
    if quoted:
        p = put_char(p, 34)
    p = put_piece(p, NAME_WIDTH, v.frontend, flags & (LOGOP_JSON | LOGOP_RAW), cut)
    if v.is_tls:
        p = put_char(p, 126)
    return put_char(p, 34) if quoted else p


cdef char *put_request(char *p, size_t width, const log_view_t *v, uint32_t flags, bint *cut) noexcept nogil:
    cdef uint32_t inside = flags & (LOGOP_JSON | LOGOP_ESCAPE | LOGOP_RAW)
    cdef bint quoted = (flags & (LOGOP_AROUND | LOGOP_NULL)) != 0
    if not v.has_request:
        return put_requested(p, width, v, nothing(), flags, cut)
    if flags & LOGOP_NULL:
        inside = LOGOP_JSON
    if quoted:
        p = put_char(p, 34)
    p = put_char(put_piece(p, METHOD_WIDTH, v.method, inside, cut), 32)
    p = put_piece(p, width, v.target, inside, cut)
    p = put_text(p, b" HTTP/1.0" if v.http10 else b" HTTP/1.1")
    return put_char(p, 34) if quoted else p


# The target from its beginning to `?`, or from there on.
cdef slice_t target_part(const log_view_t *v, bint query) noexcept nogil:
    cdef slice_t out = v.target
    cdef const char *mark = <const char *>memchr(v.target.p, 63, v.target.len) if v.target.len else NULL
    if query:
        out.p = mark
        out.len = <uint32_t>(v.target.p + v.target.len - mark) if mark != NULL else 0
    elif mark != NULL:
        out.len = <uint32_t>(mark - v.target.p)
    return out


cdef inline char *put_date(logline_t *state, char *p, uint64_t us, uint32_t kind, uint32_t flags) noexcept nogil:
    if flags & LOGOP_NULL:
        p = put_char(p, 34)
    if kind == LOGOP_TIME:
        p = put_utc(state, p, us)
    elif kind == LOGOP_GMT or kind == LOGOP_REQUEST_GMT:
        p = put_zoned(state, p, <int64_t>(us // 1000000), False)
    elif kind == LOGOP_ZONED or kind == LOGOP_REQUEST_ZONED:
        p = put_zoned(state, p, <int64_t>(us // 1000000), True)
    else:
        p = put_local(state, p, us)
    return put_char(p, 34) if flags & LOGOP_NULL else p


# When the connection came, or its last request ended.
cdef inline uint64_t accepted_us(const log_view_t *v) noexcept nogil:
    return v.accept_us - <uint64_t>v.idle_ms * 1000 if v.mode == MODE_HTTP else v.accept_us


cdef inline char *put_padded_ms(char *p, uint64_t us, uint32_t flags) noexcept nogil:
    cdef uint32_t ms = <uint32_t>(us // 1000 % 1000)
    if flags & LOGOP_HEX:
        return put_hex_uint(p, ms, 2)
    if flags & LOGOP_NULL:
        return put_uint(p, ms)
    p = put_char(p, <char>(48 + ms // 100))
    return put_char(put_char(p, <char>(48 + ms // 10 % 10)), <char>(48 + ms % 10))


cdef int64_t logformat_data_ms(const log_view_t *v) noexcept nogil:
    if v.connect_ms < 0:
        return -1
    if v.mode != MODE_HTTP:
        return v.active_ms - v.queue_ms - v.connect_ms
    if v.response_ms < 0:
        return -1
    return v.active_ms - v.request_ms - v.queue_ms - v.connect_ms - v.response_ms


cdef inline char *put_bool(char *p, bint value) noexcept nogil:
    return put_text(p, b"true") if value else put_text(p, b"false")


# ---- the program ------------------------------------------------------------------------------------------

# What is in one capture, escaped as HAProxy does it there: as put_hashed, and also the signs that stand between captures.
cdef char *put_capture(char *p, const char *end, const char *text, uint32_t n) noexcept nogil:
    cdef const char *hex = b"0123456789ABCDEF"
    cdef slice_t one
    cdef char *before
    cdef uint32_t i
    for i in range(n):
        before = p
        if text[i] == 123 or text[i] == 124 or text[i] == 125:
            if end - p < 3:
                return p
            p = put_char(put_char(put_char(p, 35), hex[<uint8_t> text[i] >> 4]), hex[text[i] & 15])
        else:
            one.p = text + i
            one.len = 1
            p = put_hashed(p, end, one)
        if p == before:
            return p
    return p


# {one|two}, or one after the other with a blank between.
cdef char *put_captures(
    char *p, size_t width, const log_view_t *v, uint32_t slots, uint32_t kind, uint32_t flags, bint *cut, eval_t *c
) noexcept nogil:
    cdef bint response = kind == LOGOP_CAPTURED_RESPONSE or kind == LOGOP_CAPTURED_RESPONSE_LIST
    cdef bint list_ = kind >= LOGOP_CAPTURED_REQUEST_LIST
    # The signs around and between them have their room first.
    cdef size_t signs = 3 * <size_t> slots + 4
    cdef const char *end = p + (width - signs if width > signs else 0)
    cdef uint32_t i
    cdef slice_t text
    cdef sample_t s
    # Of what was no request HAProxy has no captures, and writes nothing.
    if slots == 0 or width <= signs or not v.has_request:
        return put_piece(p, width, nothing(), flags & (LOGOP_JSON | LOGOP_NULL), cut)
    if flags & LOGOP_NULL:
        p = put_char(p, 34)
    if not list_:
        if flags & LOGOP_AROUND:
            p = put_char(p, 34)
        p = put_char(p, 123)
    for i in range(slots):
        if i:
            p = put_char(p, 32 if list_ else 124)
            end += 1
        if list_ and flags & LOGOP_AROUND:
            p = put_char(p, 34)
            end += 2
        if c != NULL and variable_read(c, variable_capture(i, response), &s) == SAMPLE_FOUND:
            if UNLIKELY(flags & (LOGOP_JSON | LOGOP_NULL)):
                text.p = s.p
                text.len = s.len
                p = put_escaped(p, end, text, cut)
            else:
                p = put_capture(p, end, s.p, s.len)
        elif list_ and not flags & LOGOP_AROUND:
            p = put_char(p, 45)
        if list_ and flags & LOGOP_AROUND:
            p = put_char(p, 34)
    if not list_:
        p = put_char(p, 125)
        if flags & LOGOP_AROUND:
            p = put_char(p, 34)
    if flags & LOGOP_NULL:
        p = put_char(p, 34)
    return p


# An expression's value; of JSON values on their own numbers and truths are what they are there.
cdef char *put_expression(char *p, size_t width, uint32_t expr, uint32_t flags, bint *cut, eval_t *c) noexcept nogil:
    cdef sample_t s
    cdef slice_t text = nothing()
    s.flags = 0
    if c != NULL:
        c.used = 0
        if expr_run(c, program_of(c.view.plan), expr, &s) == SAMPLE_FOUND:
            if flags & LOGOP_NULL and s.type == SAMPLE_BOOL:
                return put_bool(p, s.i != 0)
            if flags & LOGOP_NULL and s.type == SAMPLE_SINT:
                return put_int(p, s.i)
            if sample_cast(c, &s, SAMPLE_STR) == SAMPLE_FOUND:
                text.p = s.p
                text.len = s.len
    return put_piece(p, width - 4, text, flags, cut)


# One switch for all variables, though it is long: a function for each would be a call through a pointer for each.
cdef inline char *put_variable(
    logline_t *state, const log_view_t *v, uint32_t kind, uint32_t flags, size_t room, char *out, bint *cut, uint32_t number,
    eval_t *c,
) noexcept nogil:
    if kind == LOGOP_TEXT:
        pass
    elif kind == LOGOP_CLIENT:
        if LIKELY(not flags):
            out = put_address(out, v)
        else:
            out = put_client(out, v, flags, cut)
    elif kind == LOGOP_CLIENT_PORT:
        out = put_number(out, v.port, flags, 4)
    elif kind == LOGOP_LOCAL:
        out = put_end(out, &v.local, flags, cut)
    elif kind == LOGOP_LOCAL_PORT:
        out = put_end_port(out, &v.local, flags, cut)
    elif kind == LOGOP_SOURCE:
        out = put_end(out, &v.source, flags, cut)
    elif kind == LOGOP_SOURCE_PORT:
        out = put_end_port(out, &v.source, flags, cut)
    elif kind == LOGOP_PEER:
        out = put_end(out, &v.peer, flags, cut)
    elif kind == LOGOP_PEER_PORT:
        out = put_end_port(out, &v.peer, flags, cut)
    elif kind == LOGOP_FRONTEND:
        out = put_piece(out, NAME_WIDTH, v.frontend, flags, cut)
    elif kind == LOGOP_FRONTEND_TLS:
        out = put_frontend_tls(out, v, flags, cut)
    elif kind == LOGOP_BACKEND:
        out = put_piece(out, NAME_WIDTH, v.backend, flags, cut)
    elif kind == LOGOP_SERVER:
        if LIKELY(v.server.len or flags & LOGOP_NULL):
            out = put_piece(out, NAME_WIDTH, v.server, flags, cut)
        else:
            out = put_piece(out, NAME_WIDTH, literal(b"<NOSRV>"), flags, cut)
    elif kind == LOGOP_DATE or kind == LOGOP_GMT or kind == LOGOP_ZONED:
        out = put_date(state, out, accepted_us(v), kind, flags)
    elif kind == LOGOP_REQUEST_DATE or kind == LOGOP_REQUEST_GMT or kind == LOGOP_REQUEST_ZONED or kind == LOGOP_TIME:
        out = put_date(state, out, v.accept_us, kind, flags)
    elif kind == LOGOP_SECOND:
        out = put_number(out, accepted_us(v) // 1000000, flags, 4)
    elif kind == LOGOP_MS:
        out = put_padded_ms(out, accepted_us(v), flags)
    elif kind == LOGOP_REQUEST_MS:
        out = put_ms_or(out, v.request_ms, flags)
    elif kind == LOGOP_QUEUE_MS:
        out = put_ms_or(out, v.queue_ms, flags)
    elif kind == LOGOP_CONNECT_MS:
        out = put_ms_or(out, v.connect_ms, flags)
    elif kind == LOGOP_RESPONSE_MS:
        out = put_ms_or(out, v.response_ms, flags)
    elif kind == LOGOP_ACTIVE_MS:
        out = put_int(out, v.active_ms)
    elif kind == LOGOP_TOTAL_MS:
        out = put_int(out, v.active_ms + (v.idle_ms if v.mode == MODE_HTTP else 0))
    elif kind == LOGOP_DATA_MS:
        out = put_ms_or(out, logformat_data_ms(v), flags)
    elif kind == LOGOP_HANDSHAKE_MS:
        out = put_char(out, 48)
    elif kind == LOGOP_IDLE_MS:
        out = put_int(out, v.idle_ms)
    elif kind == LOGOP_HEAD_MS:
        out = put_ms_or(out, v.idle_ms + v.request_ms if v.request_ms >= 0 else -1, flags)
    elif kind == LOGOP_STATUS:
        # HAProxy has no status for a connection, and none yet for a request.
        out = put_ms_or(out, -1 if not v.status and (v.mode == MODE_HTTP or flags & LOGOP_NULL) else v.status, flags)
    elif kind == LOGOP_BYTES_OUT:
        out = put_uint(out, v.bytes_out)
    elif kind == LOGOP_BYTES_IN:
        out = put_uint(out, v.bytes_in)
    elif kind == LOGOP_NOTHING:
        out = put_piece(out, 1, nothing(), flags, cut)
    elif kind == LOGOP_STATE:
        out = put_pair_of_letters(out, v, flags, False)
    elif kind == LOGOP_STATE_COOKIE:
        out = put_pair_of_letters(out, v, flags, True)
    elif kind == LOGOP_ACTCONN:
        out = put_uint(out, v.actconn)
    elif kind == LOGOP_FECONN:
        out = put_uint(out, v.feconn)
    elif kind == LOGOP_BECONN:
        out = put_uint(out, v.beconn)
    elif kind == LOGOP_SRVCONN:
        out = put_uint(out, v.srvconn)
    elif kind == LOGOP_RETRIES:
        if UNLIKELY(v.redispatched):
            out = put_char(out, 43)
        out = put_uint(out, v.retries)
    elif kind == LOGOP_SRVQUEUE:
        out = put_uint(out, v.srvqueue)
    elif kind == LOGOP_BEQUEUE:
        out = put_uint(out, v.bequeue)
    elif kind == LOGOP_REQUEST:
        out = put_request(out, room, v, flags, cut)
    elif kind == LOGOP_METHOD:
        out = put_requested(out, METHOD_WIDTH, v, v.method, flags, cut)
    elif kind == LOGOP_TARGET_PATH:
        out = put_requested(out, room, v, target_part(v, False), flags, cut)
    elif kind == LOGOP_PATH:
        out = put_requested(out, room, v, v.path, flags, cut)
    elif kind == LOGOP_QUERY:
        out = put_requested(out, room, v, target_part(v, True), flags, cut)
    elif kind == LOGOP_TARGET:
        out = put_requested(out, room, v, v.target, flags, cut)
    elif kind == LOGOP_VERSION:
        out = put_requested(out, 8, v, literal(b"HTTP/1.0" if v.http10 else b"HTTP/1.1"), flags, cut)
    elif kind == LOGOP_ID:
        out = put_piece(out, ID_WIDTH, v.request_id, flags, cut)
    elif kind == LOGOP_HOSTNAME:
        out = put_piece(out, 3 * 64, literal(state.host), flags, cut)
    elif kind == LOGOP_PID:
        out = put_number(out, state.pid, flags, 4)
    elif kind == LOGOP_NUMBER:
        out = put_number(out, v.number, flags, 4)
    elif kind == LOGOP_LOGGED:
        out = put_number(out, v.logged, flags, 4)
    elif kind == LOGOP_TLS:
        out = put_bool(out, v.is_tls)
    elif kind == LOGOP_REUSED:
        out = put_bool(out, v.reused)
    elif kind == LOGOP_REDISPATCHED:
        out = put_bool(out, v.redispatched)
    elif kind == LOGOP_RETRY_COUNT:
        out = put_uint(out, v.retries)
    elif kind == LOGOP_REASON:
        out = put_piece(out, REASON_WIDTH, v.reason, flags, cut)
    elif kind == LOGOP_LIMIT:
        out = put_piece(out, LIMIT_WIDTH, v.limit, flags, cut)
    elif kind == LOGOP_LIMIT_SHADOW:
        out = put_piece(out, LIMIT_WIDTH, v.limit_shadow, flags, cut)
    elif kind == LOGOP_HOST:
        out = put_piece(out, HOST_WIDTH, v.host, flags, cut)
    elif kind == LOGOP_VERSION_NUMBER:
        out = put_requested(out, 8, v, literal(b"1.0" if v.http10 else b"1.1"), flags, cut)
    elif kind == LOGOP_CUT:
        out = put_text(out, b",\"cut\":true}") if UNLIKELY(cut[0]) else put_char(out, 125)
    elif kind == LOGOP_EXPRESSION:
        out = put_expression(out, room, number, flags, cut, c)
    elif kind >= LOGOP_CAPTURED_REQUEST:
        out = put_captures(out, room, v, number, kind, flags, cut, c)
    return out


cdef size_t logformat_value(
    logline_t *state, const log_view_t *v, uint32_t kind, uint32_t flags, size_t room, char *out
) noexcept nogil:
    cdef bint cut = False
    return put_variable(state, v, kind, flags, room, out, &cut, 0, NULL) - out


cdef size_t logformat_write(
    logline_t *state, const log_view_t *v, const plan_t *p, const plan_log_t *log, char *dst, eval_t *c
) noexcept nogil:
    cdef const log_op_t *op = plan_log_op(p, log.ops_at)
    cdef const log_op_t *last = op + log.ops
    cdef char *out = dst
    cdef size_t room = log.room
    cdef const char *text
    cdef uint32_t n
    cdef bint cut = False
    cdef char *before = NULL                  # where captures began that had nothing to write
    while op < last:
        text = plan_text(p, op.text)
        n = op.text.len
        if UNLIKELY(before == out) and n and text[0] == 32 and out > dst and (out - 1)[0] == 32:
            text += 1                         # blanks around them are one
            n -= 1
        if UNLIKELY(n > 3):
            memcpy(out, text, n)
            out += n
        else:
            # Mostly a sign or two between variables: a call of memcpy would be the dearest part of them.
            while n:
                out[0] = text[0]
                out += 1
                text += 1
                n -= 1
        before = out if op.kind >= LOGOP_CAPTURED_REQUEST else NULL
        out = put_variable(state, v, op.kind, op.flags, room, out, &cut, op.number, c)
        op += 1
    LB_ASSERT(out - dst <= LOGLINE_CAP)
    return out - dst


cdef char *put_client(char *p, const log_view_t *v, uint32_t flags, bint *cut) noexcept nogil:
    cdef log_end_t client
    client.family = v.family
    client.port = v.port
    memcpy(client.address, v.address, 16)
    return put_end(p, &client, flags, cut)
