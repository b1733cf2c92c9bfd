from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcpy, strlen
from lb._speedups.base.clock cimport clock_real_us
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.policy.action cimport (
    ACTION_REDIRECT, ACTION_REJECT, RULE_REDIRECT_APPEND_SLASH, RULE_REDIRECT_DROP_QUERY, RULE_REDIRECT_KEEP_QUERY,
)
from lb._speedups.policy.limit cimport plan_limit, plan_limit_t
from lb._speedups.policy.plan cimport (
    FORWARDING_ID_RESPONSE, FRONTEND_FORWARDING, FRONTEND_MARKS_RESPONSE, REDIRECT_DROP_QUERY, REDIRECT_LOCATION,
    REDIRECT_SCHEME, TARGET_REDIRECT, forwarding_t, plan_forwarding, plan_piece, plan_piece_t, plan_redirect,
    plan_redirect_t, plan_reply, plan_reply_t, plan_t, plan_text, plan_texts, text_t,
)
from lb._speedups.policy.program cimport ARG_NONE, ARG_TEXT, arg_t, program_of, program_t, rule_t, ruleset_t
from lb._speedups.policy.route cimport route_allow, route_segment
from lb._speedups.proto.date cimport DATE_LEN, date_write
from lb._speedups.proto.edit cimport edit_add
from lb._speedups.proto.message cimport (
    FRAMING_LENGTH, MESSAGE_BLOCK, MESSAGE_RESPONSE, METHOD_HEAD, NAME_ACCEPT, NAME_CONTENT_TYPE, NAME_DATE,
    NAME_LOCATION, NAME_OTHER, NAME_SET_COOKIE, NAME_X_REQUEST_ID, message_add, message_reset, message_t,
)
from lb._speedups.proto.status cimport status_reason
from lb._speedups.relay.relay cimport (
    OFFER_DATA, OFFER_END, SIDE_IN_END, SIDE_LAST, STREAM_REPLIED, STREAM_UP_FLOW, engine_t, slice_out_t,
    stream_t,
)
from lb._speedups.relay.rules cimport rules_after, rules_look, rules_number, rules_text
from lb._speedups.relay.limited cimport limited_fields
from lb._speedups.relay.stream cimport stream_id

cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)
    bint UNLIKELY(bint x)

cdef extern from "proto/h1_tables.h" nogil:
    const char *h1_skip_target(const char *p, const char *end)


cdef enum:
    BODY_MAX = 768               # of an error
    LOCATION_MAX = 8000          # bytes of a Location
    RULE_TEXT_MAX = 4096         # of a header that a rule answers with
    RULE_BODY_MAX = 8192         # of its body
    DRAIN_MAX = 65536            # bytes of an unwanted body read and dropped to keep the connection


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


cdef struct words_t:
    size_t n
    char p[BODY_MAX]


cdef void put(words_t *t, const char *p, size_t n) noexcept nogil:
    if t.n + n > BODY_MAX:
        n = BODY_MAX - t.n
    memcpy(t.p + t.n, p, n)
    t.n += n


cdef void put_text(words_t *t, const char *p) noexcept nogil:
    put(t, p, strlen(p))


cdef void put_number(words_t *t, uint32_t n) noexcept nogil:
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


# The same in an answer that is no error, where the frontend wants it in all.
cdef void mark(stream_t *st, message_t *m) noexcept nogil:
    if st.frontend.flags & FRONTEND_MARKS_RESPONSE \
            and plan_forwarding(st.plan.plan, st.frontend).flags & FORWARDING_ID_RESPONSE:
        stream_id(st)
        add_id(st, m)


# A body nobody wants is dropped within a bound to keep the connection, else the connection ends with the answer.
# What a flow has moved of it the codec does not know: where it ends cannot be told any more.
cdef void drop_request(stream_t *st) noexcept nogil:
    cdef slice_out_t rest
    cdef size_t dropped = 0
    cdef int r
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


# The head of a reply, to be given to send(). `title` is its reason phrase, empty for the usual one.
cdef message_t *begin_as(stream_t *st, uint16_t status, size_t length, const char *title, size_t title_len) noexcept nogil:
    cdef message_t *m = <message_t *> pool_take(&st.engine.message_pool)
    if m == NULL:
        return NULL
    if title_len == 0:
        title = status_reason(status)
        title_len = strlen(title)
    st.flags |= STREAM_REPLIED
    st.status = status
    message_reset(m, MESSAGE_RESPONSE)
    m.status = status
    if st.request != NULL:
        m.method = st.request.method
    # RFC 9110 8.6: of an answer that never has a body no length is said.
    if status != 204 and status != 304:
        m.length = length
        m.framing = FRAMING_LENGTH
    m.reason.at = 0
    m.reason.len = <uint16_t> title_len
    memcpy(m.block, title, m.reason.len)
    m.fill = m.reason.len
    m.edit_at = m.reason.len                  # nothing was received, so all of the block is for edits
    return m


cdef inline message_t *begin(stream_t *st, uint16_t status, size_t length) noexcept nogil:
    return begin_as(st, status, length, b"", 0)


cdef int send(stream_t *st, message_t *m) noexcept nogil:
    cdef int r
    if UNLIKELY(st.limited.shown != 0):
        limited_fields(st, m)
    if UNLIKELY(st.frontend.phases.after != 0 or (st.backend != NULL and st.backend.phases.after != 0)):
        if rules_after(st, m) != 0:           # it is sent as far as rules could edit it: another error would meet them too
            st.engine.rows[st.frontend.oid].internal_errors += 1
        st.status = m.status
    r = st.client.codec.send_head(&st.client, m)
    pool_give(&st.engine.message_pool, m)
    return r


# What every answer with this status says, whoever wrote its body.
cdef void add_allow(stream_t *st, message_t *m) noexcept nogil:
    cdef char allow[512]
    cdef size_t allowed
    if m.status != 405:
        return
    if st.allowed:
        allowed = route_allow(st.plan.plan, st.frontend, st.allowed, allow, sizeof(allow))
        message_add(m, NAME_OTHER, b"Allow", 5, allow, allowed)
    else:
        message_add(m, NAME_OTHER, b"Allow", 5, b"GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH", 51)


# An error of lb's own, with the fields that `rule` has behind its body (rule = NULL: none).
cdef int plain_error(stream_t *st, uint16_t status, const char *detail, const rule_t *rule, uint32_t first) noexcept nogil:
    cdef const char *title = status_reason(status)
    cdef message_t *m
    cdef words_t body
    cdef bint text = status < 400 or wants_text(st.request)
    cdef bint refused = st.limited.refused and status == 429
    cdef const plan_limit_t *limit = plan_limit(st.plan.plan, st.limited.shown - 1) if refused else NULL
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
        # The type is that of draft-ietf-httpapi-ratelimit-headers.
        put_text(&body, b"{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\"title\":\""
                 if refused else b"{\"type\":\"about:blank\",\"title\":\"")
        put_text(&body, title)
        put_text(&body, b"\",\"status\":")
        put_number(&body, status)
        put_text(&body, b",\"detail\":\"")
        put_text(&body, detail)
        if refused:
            put_text(&body, b"\",\"violated-policies\":[\"")
            put(&body, plan_text(st.plan.plan, limit.name), limit.name.len)
            put_text(&body, b"\"],\"request_id\":\"")
        else:
            put_text(&body, b"\",\"request_id\":\"")
        put(&body, st.id, st.id_len)
        put_text(&body, b"\"}\n")
    drop_request(st)
    m = begin(st, status, body.n)
    if m == NULL:
        return -1
    if text:
        message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, b"text/plain; charset=utf-8", 25)
    else:
        message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, b"application/problem+json", 24)
    message_add(m, NAME_OTHER, b"Cache-Control", 13, b"no-store", 8)
    add_id(st, m)
    add_allow(st, m)
    if UNLIKELY(rule != NULL):
        add_fields(st, rule, first + 3, m)    # one that does not fit is left out: it stays an error
    if send(st, m) != 0:
        return -1
    if st.request == NULL or st.request.method != METHOD_HEAD:
        if st.client.codec.send_whole(&st.client, body.p, body.n) != 0:
            return -1
    return st.client.codec.send_end(&st.client)


# The page that a proxy has for this status, NULL = none.
cdef const rule_t *page_of(stream_t *st, uint32_t errors, uint16_t status) noexcept nogil:
    cdef const char *p = <const char *> st.plan.plan
    cdef const program_t *g
    cdef const ruleset_t *set_
    cdef const rule_t *rule
    cdef verdict_t verdict
    cdef uint32_t i
    if errors == 0:
        return NULL
    g = program_of(st.plan.plan)
    set_ = (<const ruleset_t *> (p + g.rulesets_at)) + errors - 1
    for i in range(set_.nrules):
        rule = (<const rule_t *> (p + g.rules_at)) + set_.rules + i
        verdict.rule = rule
        if rules_number(st, &verdict, 0, 0) == status:
            return rule
    return NULL


# The error page for this status, with the fields of `by`. 1: there is none, or it cannot be made.
cdef int reply_page(stream_t *st, uint16_t status, const rule_t *by, uint32_t first) noexcept nogil:
    cdef const rule_t *page = NULL
    cdef uint32_t of_backend = st.backend.errors if st.backend != NULL else 0
    cdef int r
    if LIKELY((of_backend | st.frontend.errors) == 0):
        return 1
    rules_look(st)
    if st.request != NULL and st.request.head_len == 0:
        st.engine.view.request = NULL         # refused half read: there is nothing whole to look at
    page = page_of(st, of_backend, status)
    if page == NULL:
        page = page_of(st, st.frontend.errors, status)
    if page == NULL:
        return 1
    if page.action == ACTION_REJECT:
        return -1
    r = made(st, page, 1, by, first)
    return 1 if r > 0 else r


cdef int reply_error(stream_t *st, uint16_t status, const char *detail) noexcept nogil:
    cdef int r = reply_page(st, status, NULL, 0)
    return plain_error(st, status, detail, NULL, 0) if r > 0 else r


cdef int reply_denial(stream_t *st, const rule_t *rule, uint32_t first, const char *detail) noexcept nogil:
    cdef verdict_t verdict
    cdef uint16_t status
    cdef int r
    verdict.rule = rule
    rules_look(st)
    status = <uint16_t> rules_number(st, &verdict, first, 403)
    if rule.nargs <= first + 2 or not has_body(st, rule, first):
        r = reply_page(st, status, rule, first)
        return plain_error(st, status, detail, rule, first) if r > 0 else r
    r = made(st, rule, first, NULL, 0)
    return plain_error(st, status, detail, NULL, 0) if r > 0 else r


# ---- what routes say ----


# Where a location is put together: too large for the stack's taste, and needed only until the head is written. So it
# stands in the reply's own block, behind what the writer will read.
cdef struct location_t:
    char *p
    size_t n
    bint is_full


cdef void append(location_t *out, const char *p, size_t n) noexcept nogil:
    if out.n + n > LOCATION_MAX:
        out.is_full = True
        return
    memcpy(out.p + out.n, p, n)
    out.n += n


# A segment of the request's path: bytes that a request target may hold and a URL may not stay escaped. A backslash in
# front would be a second slash to browsers, and name another host.
cdef void append_segment(location_t *out, const char *p, size_t n) noexcept nogil:
    cdef const char *digits = b"0123456789ABCDEF"
    cdef char escaped[3]
    cdef size_t i
    for i in range(n):
        if (p[i] == c'\\' or p[i] == c'"' or p[i] == c'<' or p[i] == c'>' or p[i] == c'^' or p[i] == c'`' or p[i] == c'{'
                or p[i] == c'|' or p[i] == c'}'):
            escaped[0] = c'%'
            escaped[1] = digits[(<unsigned char> p[i]) >> 4]
            escaped[2] = digits[(<unsigned char> p[i]) & 15]
            append(out, escaped, 3)
        else:
            append(out, p + i, 1)


# The location of a redirect. 0, or the status of the error.
cdef int locate(stream_t *st, const plan_redirect_t *redirect, location_t *out) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const message_t *m = st.request
    cdef const plan_piece_t *piece
    cdef const char *segment
    cdef size_t len
    cdef uint32_t i
    for i in range(redirect.pieces):
        piece = plan_piece(p, redirect.pieces_at + i)
        if piece.segment == 0:
            append(out, plan_text(p, piece.text), piece.text.len)
            continue
        segment = route_segment(m.block + m.path.at, m.path.len, piece.segment, &len)
        if segment != NULL:
            append_segment(out, segment, len)
    return append_target(m, redirect.kind, (redirect.flags & REDIRECT_DROP_QUERY) != 0, out)


# What follows the text of a redirect: of the request's own target. 0, or the status of the error.
cdef int append_target(const message_t *m, uint8_t kind, bint drop_query, location_t *out) noexcept nogil:
    if kind == REDIRECT_SCHEME:
        if m.authority.len == 0:
            return 400
        append(out, m.block + m.authority.at, m.authority.len)
    if kind != REDIRECT_LOCATION:
        if m.path.len:
            append(out, m.block + m.path.at, m.path.len)
        else:
            append(out, b"/", 1)              # `*`, or absolute-form without a path
        if m.query.len and not drop_query:
            append(out, b"?", 1)
            append(out, m.block + m.query.at, m.query.len)
    return 414 if out.is_full else 0


cdef void add_date(stream_t *st, message_t *m) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef char date[DATE_LEN]
    if e.now_us == 0:
        e.now_us = clock_real_us(&e.clock)
    date_write(e.now_us // 1000000, date)
    message_add(m, NAME_DATE, b"Date", 4, date, DATE_LEN)


cdef int redirect_to(stream_t *st, const plan_redirect_t *redirect) noexcept nogil:
    cdef location_t location
    cdef message_t *m = begin(st, redirect.status, 0)
    cdef int r
    if m == NULL:
        return -1
    # Behind where the edits end: LOCATION_MAX bytes twice are less than the block.
    location.p = m.block + MESSAGE_BLOCK - LOCATION_MAX
    location.n = 0
    location.is_full = False
    r = locate(st, redirect, &location)
    if r != 0:
        pool_give(&st.engine.message_pool, m)
        st.flags &= <uint16_t> ~STREAM_REPLIED
        return r
    add_date(st, m)
    message_add(m, NAME_LOCATION, b"Location", 8, location.p, location.n)
    mark(st, m)
    drop_request(st)
    return -1 if send(st, m) != 0 else st.client.codec.send_end(&st.client)


cdef int reply_with(stream_t *st, const plan_reply_t *reply) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const text_t *pair
    cdef message_t *m = begin(st, reply.status, reply.body.len)
    cdef uint32_t i
    if m == NULL:
        return -1
    add_date(st, m)
    if reply.type.len:
        message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, plan_text(p, reply.type), reply.type.len)
    for i in range(reply.headers):
        pair = plan_texts(p, reply.headers_at + 2 * i)
        message_add(m, NAME_OTHER, plan_text(p, pair[0]), pair[0].len, plan_text(p, pair[1]), pair[1].len)
    mark(st, m)
    drop_request(st)
    if send(st, m) != 0:
        return -1
    if st.request.method != METHOD_HEAD and reply.body.len:
        st.reply_at = plan_text(p, reply.body)
        st.reply_left = reply.body.len
        return 0
    return st.client.codec.send_end(&st.client)


# ---- what rules say ----


# Whether a text may stand in Location: what a target may hold, and a fragment behind it. A blank or a byte above ASCII is read
# differently by different clients.
cdef bint is_location(const char *p, size_t n) noexcept nogil:
    cdef const char *end = p + n
    p = h1_skip_target(p, end)
    if p != end and p[0] == c'#':
        p = h1_skip_target(p + 1, end)
    return p == end


cdef const arg_t *arg_of(stream_t *st, const rule_t *rule, uint32_t k) noexcept nogil:
    return (<const arg_t *> (<const char *> st.plan.plan + program_of(st.plan.plan).args_at)) + rule.args + k


# Whether an answer says what its body is; else that is left to error pages.
cdef inline bint has_body(stream_t *st, const rule_t *rule, uint32_t first) noexcept nogil:
    return arg_of(st, rule, first + 2).kind != ARG_NONE


# A rule's redirect: status, kind, format, whether the query is dropped. 0, or the status of the error.
cdef int redirect_by(stream_t *st, const rule_t *rule, uint32_t first, message_t *m) noexcept nogil:
    cdef location_t location
    cdef verdict_t verdict
    cdef const text_t *cookie
    cdef uint8_t kind
    cdef ssize_t n
    cdef int r, flags
    verdict.rule = rule
    kind = <uint8_t> rules_number(st, &verdict, first + 1, REDIRECT_LOCATION)
    location.p = m.block + MESSAGE_BLOCK - LOCATION_MAX
    location.is_full = False
    n = rules_text(st, &verdict, first + 2, location.p, LOCATION_MAX)
    if n < 0:
        return 500
    location.n = <size_t> n
    if kind == REDIRECT_SCHEME:
        append(&location, b"://", 3)
    flags = rules_number(st, &verdict, first + 3, 0)
    if kind != REDIRECT_LOCATION:
        r = append_target(st.request, kind, flags & RULE_REDIRECT_DROP_QUERY, &location)
        if r != 0:
            return r
        if flags & RULE_REDIRECT_APPEND_SLASH and location.n and location.p[location.n - 1] != c'/':
            append(&location, b"/", 1)
    elif flags & RULE_REDIRECT_KEEP_QUERY and st.request.query.len:
        append(&location, b"&" if memchr(location.p, c'?', location.n) != NULL else b"?", 1)
        append(&location, st.request.block + st.request.query.at, st.request.query.len)
    if location.is_full:
        return 414
    if not is_location(location.p, location.n):
        return 500
    if message_add(m, NAME_LOCATION, b"Location", 8, location.p, location.n) != 0:
        return 500
    if rule.nargs > first + 4 and arg_of(st, rule, first + 4).text.len:
        cookie = &arg_of(st, rule, first + 4).text
        return 500 if message_add(m, NAME_SET_COOKIE, b"Set-Cookie", 10, plan_text(st.plan.plan, cookie[0]), cookie.len) else 0
    return 0


# The fields that a rule says from its argument k on. 0, or 500: one is not possible.
cdef int add_fields(stream_t *st, const rule_t *rule, uint32_t k, message_t *m) noexcept nogil:
    cdef char text[RULE_TEXT_MAX]
    cdef char name[256]
    cdef verdict_t verdict
    cdef ssize_t n, len
    verdict.rule = rule
    while k + 1 < rule.nargs:
        len = rules_text(st, &verdict, k, name, sizeof(name))
        n = rules_text(st, &verdict, k + 1, text, sizeof(text))
        if len < 0 or n < 0 or edit_add(m, name, <size_t> len, text, <size_t> n) != 0:
            return 500
        k += 2
    return 0


# A rule's answer: status, type, body, then names and values. A body that stands in the plan is sent from there, one that is
# made goes into the stream's buffer. 0, or the status of the error.
cdef int return_by(stream_t *st, const rule_t *rule, uint32_t first, message_t *m) noexcept nogil:
    cdef char text[RULE_TEXT_MAX]
    cdef verdict_t verdict
    cdef const arg_t *body
    cdef ssize_t n
    verdict.rule = rule
    n = rules_text(st, &verdict, first + 1, text, sizeof(text))
    if n < 0 or (n > 0 and message_add(m, NAME_CONTENT_TYPE, b"Content-Type", 12, text, <size_t> n) != 0):
        return 500
    if add_fields(st, rule, first + 3, m) != 0:
        return 500
    body = arg_of(st, rule, first + 2)
    if body.kind == ARG_TEXT:
        st.reply_at = plan_text(st.plan.plan, body.text)
        n = body.text.len
    else:
        if st.reply_buffer == NULL:
            st.reply_buffer = <char *> pool_take(&st.engine.buffer_pool)
        if st.reply_buffer == NULL:
            return 500
        st.reply_at = st.reply_buffer
        n = rules_text(st, &verdict, first + 2, st.reply_buffer, RULE_BODY_MAX)
        if n < 0:
            return 500
    if m.framing == FRAMING_LENGTH:
        m.length = <size_t> n
        if st.request == NULL or st.request.method != METHOD_HEAD:
            st.reply_left = <uint32_t> n
    return 0


# The answer that a rule or an error page makes of its arguments from `first` on, with the fields that `by` has (NULL: none). 0,
# -1: the connection failed, or the status of the error, nothing having been written.
cdef int made(stream_t *st, const rule_t *rule, uint32_t first, const rule_t *by, uint32_t by_first) noexcept nogil:
    cdef verdict_t verdict
    cdef const arg_t *status
    cdef message_t *m
    cdef int r
    verdict.rule = rule
    if rule.nargs < first + 3:
        return 500
    status = arg_of(st, rule, first)
    m = begin_as(st, <uint16_t> rules_number(st, &verdict, first, 200), 0, plan_text(st.plan.plan, status.text), status.text.len)
    if m == NULL:
        return -1
    add_date(st, m)
    if rule.action == ACTION_REDIRECT:
        r = redirect_by(st, rule, first, m)
    else:
        r = return_by(st, rule, first, m)
        add_allow(st, m)
    if r == 0 and by != NULL:
        r = add_fields(st, by, by_first + 3, m)
    if r != 0:
        pool_give(&st.engine.message_pool, m)
        st.flags &= <uint16_t> ~STREAM_REPLIED
        st.reply_left = 0
        return r
    mark(st, m)
    drop_request(st)
    if send(st, m) != 0:
        return -1
    return 0 if st.reply_left else st.client.codec.send_end(&st.client)


cdef int reply_rule(stream_t *st, const verdict_t *verdict) noexcept nogil:
    # `default_errorfiles`: whatever answers such an error.
    if verdict.rule.action != ACTION_REDIRECT and not has_body(st, verdict.rule, 0):
        return reply_denial(st, verdict.rule, 0, b"a rule answers with an error")
    return made(st, verdict.rule, 0, NULL, 0)


cdef int reply_target(stream_t *st) noexcept nogil:
    if st.route.kind == TARGET_REDIRECT:
        return redirect_to(st, plan_redirect(st.plan.plan, st.route.target))
    return reply_with(st, plan_reply(st.plan.plan, st.route.target))


cdef int reply_rest(stream_t *st) noexcept nogil:
    cdef ssize_t taken
    while st.reply_left:
        taken = st.client.codec.send_data(&st.client, st.reply_at, st.reply_left)
        if taken < 0:
            return -1
        if taken == 0:
            return 1
        st.reply_at += taken
        st.reply_left -= <uint32_t> taken
    return st.client.codec.send_end(&st.client)
