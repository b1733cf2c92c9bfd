from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, strlen
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.policy.plan cimport FRONTEND_FORWARDING, forwarding_t, plan_forwarding, plan_text
from lb._speedups.proto.message cimport (
    FRAMING_LENGTH, MESSAGE_RESPONSE, METHOD_HEAD, NAME_ACCEPT, NAME_CONTENT_TYPE, NAME_OTHER, NAME_X_REQUEST_ID,
    message_add, message_reset, message_t,
)
from lb._speedups.relay.relay cimport (
    OFFER_DATA, OFFER_END, SIDE_IN_END, SIDE_LAST, STREAM_REPLIED, STREAM_UP_FLOW, engine_t, slice_out_t,
    stream_t,
)
from lb._speedups.relay.stream cimport stream_id

cdef enum:
    BODY_MAX = 512               # of a reply
    DRAIN_MAX = 65536            # bytes of an unwanted body read and dropped to keep the connection


cdef const char *reason_phrase(uint16_t status) noexcept nogil:
    if status == 200: return b"OK"
    if status == 400: return b"Bad Request"
    if status == 404: return b"Not Found"
    if status == 405: return b"Method Not Allowed"
    if status == 408: return b"Request Timeout"
    if status == 413: return b"Content Too Large"
    if status == 414: return b"URI Too Long"
    if status == 417: return b"Expectation Failed"
    if status == 431: return b"Request Header Fields Too Large"
    if status == 500: return b"Internal Server Error"
    if status == 501: return b"Not Implemented"
    if status == 502: return b"Bad Gateway"
    if status == 503: return b"Service Unavailable"
    if status == 504: return b"Gateway Timeout"
    if status == 505: return b"HTTP Version Not Supported"
    if status == 508: return b"Loop Detected"
    return b"Error"


cdef bint contains(const char *p, size_t n, const char *word) noexcept nogil:
    # case-insensitive search for a lower-case word in a field value
    cdef size_t len_ = strlen(word)
    cdef size_t i, j
    cdef char c
    if n < len_:
        return False
    for i in range(n - len_ + 1):
        j = 0
        while j < len_:
            c = p[i + j]
            if c'A' <= c <= c'Z':
                c += 32
            if c != word[j]:
                break
            j += 1
        if j == len_:
            return True
    return False


cdef bint wants_text(const message_t *m) noexcept nogil:
    cdef unsigned int i
    if m == NULL or m.by_name[<unsigned int> NAME_ACCEPT] == 0:
        return False
    i = m.by_name[<unsigned int> NAME_ACCEPT] - 1
    return contains(m.block + m.fields[i].value_at, m.fields[i].value_len, b"text/") \
        and not contains(m.block + m.fields[i].value_at, m.fields[i].value_len, b"json")


cdef struct text_t:
    size_t n
    char p[BODY_MAX]


cdef void put(text_t *t, const char *p, size_t n) noexcept nogil:
    if t.n + n > BODY_MAX:
        n = BODY_MAX - t.n
    memcpy(t.p + t.n, p, n)
    t.n += n


cdef void put_text(text_t *t, const char *p) noexcept nogil:
    put(t, p, strlen(p))


cdef void put_number(text_t *t, uint32_t n) noexcept nogil:
    cdef char digits[10]
    cdef int at = 10
    while True:
        at -= 1
        digits[at] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            break
    put(t, digits + at, <size_t> (10 - at))


# The request id, made by now, in the header that the frontend has for it.
cdef void add_id(stream_t *st, message_t *m) noexcept nogil:
    cdef const forwarding_t *fw
    if st.frontend.flags & FRONTEND_FORWARDING:
        fw = plan_forwarding(st.plan.plan, st.frontend)
        if fw.id_name.len != 0:
            message_add(m, NAME_OTHER, plan_text(st.plan.plan, fw.id_name), fw.id_name.len, st.id, st.id_len)
            return
    message_add(m, NAME_X_REQUEST_ID, b"X-Request-Id", 12, st.id, st.id_len)


cdef int reply_error(stream_t *st, uint16_t status, const char *detail) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const char *title = reason_phrase(status)
    cdef message_t *m
    cdef text_t body
    cdef slice_out_t rest
    cdef size_t dropped = 0
    cdef int r
    cdef bint text = wants_text(st.request)
    stream_id(st)
    body.n = 0
    if text:
        put_number(&body, status)
        put_text(&body, b" ")
        put_text(&body, title)
        put_text(&body, b"\n")
        put_text(&body, detail)
        put_text(&body, b"\nrequest id: ")
        put(&body, st.id, st.id_len)
        put_text(&body, b"\n")
    else:
        put_text(&body, b"{\"type\":\"about:blank\",\"title\":\"")
        put_text(&body, title)
        put_text(&body, b"\",\"status\":")
        put_number(&body, status)
        put_text(&body, b",\"detail\":\"")
        put_text(&body, detail)
        put_text(&body, b"\",\"request_id\":\"")
        put(&body, st.id, st.id_len)
        put_text(&body, b"\"}\n")
    # A body nobody wants is dropped within a bound to keep the connection, else the connection ends with the answer.
    # What a flow has moved of it the codec does not know: where it ends cannot be told any more.
    if st.flags & STREAM_UP_FLOW and not (st.client.flags & SIDE_IN_END):
        st.client.flags |= SIDE_LAST
    elif not (st.client.flags & SIDE_IN_END):
        while True:
            r = st.client.codec.offer(&st.client, &rest)
            if r != OFFER_DATA or dropped > DRAIN_MAX:
                break
            dropped += rest.n
            st.client.codec.consume(&st.client, rest.n)
        if r != OFFER_END:
            st.client.flags |= SIDE_LAST
    m = <message_t *> pool_take(&e.message_pool)
    if m == NULL:
        return -1
    st.flags |= STREAM_REPLIED
    st.status = status
    message_reset(m, MESSAGE_RESPONSE)
    m.status = status
    if st.request != NULL:
        m.method = st.request.method
    m.length = body.n
    m.framing = FRAMING_LENGTH
    m.reason.at = <uint16_t> 0
    m.reason.len = <uint16_t> strlen(title)
    memcpy(m.block, title, m.reason.len)
    m.fill = m.reason.len
    if text:
        message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, b"text/plain; charset=utf-8", 25)
    else:
        message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, b"application/problem+json", 24)
    message_add(m, NAME_OTHER, b"Cache-Control", 13, b"no-store", 8)
    add_id(st, m)
    if status == 405:
        message_add(m, NAME_OTHER, b"Allow", 5, b"GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH", 51)
    r = st.client.codec.send_head(&st.client, m)
    pool_give(&e.message_pool, m)
    if r != 0:
        return -1
    if st.request == NULL or st.request.method != METHOD_HEAD:
        if st.client.codec.send_whole(&st.client, body.p, body.n) != 0:
            return -1
    return st.client.codec.send_end(&st.client)
