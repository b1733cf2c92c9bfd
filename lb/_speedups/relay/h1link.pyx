from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_CLOSED, CONN_READABLE, conn_recv, conn_reset, conn_run, conn_shut,
)
from lb._speedups.io.sys cimport MSG_DONTWAIT, MSG_PEEK, recv
from lb._speedups.proto.h1 cimport (
    CHUNKED_BAD, CHUNKED_DATA, CHUNKED_END, H1_WRITE_CHUNKED, H1_WRITE_CLOSE, H1_WRITE_KEEP_ALIVE, H1_WRITE_NO_LENGTH,
    H1_WRITE_UPGRADE, chunked_init, chunked_read, chunked_write_size, h1_read_response, h1_write_request,
    h1_write_response,
)
from lb._speedups.proto.message cimport (
    FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_LENGTH, FRAMING_NONE, MESSAGE_HEAD_MAX, MESSAGE_HTTP10, MESSAGE_KEEP_ALIVE,
    MESSAGE_RESPONSE, message_reset, message_t,
)
from lb._speedups.relay.http cimport http_begin, http_open, http_refuse
from lb._speedups.relay.idle cimport idle_keep
from lb._speedups.relay.link cimport (
    LINK_MEMORY, link_broken, link_close, link_deadline, link_flush, link_put, link_puts, link_quiet, link_refill,
    link_room, link_send, link_window_drop,
)
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, FAULT_CLOSED, FAULT_ERROR, FAULT_SYNTAX, LINGER_MS, LINK_BUFFERED, LINK_CLIENT, LINK_CLOSE, LINK_HEARD,
    LINK_LINGER, LINK_REUSED, LINK_SERVER, OFFER_ABORT, OFFER_DATA, OFFER_END, OFFER_HEAD, OFFER_MEMORY, OFFER_WAIT,
    SIDE_GONE, SIDE_IN_END, SIDE_IN_HEAD, SIDE_LAST, SIDE_OUT_END, SIDE_OUT_HEAD, STREAM_REPLAY, STREAM_UPGRADE,
    WAITS_IN, WAITS_OUT, WINDOW_BUFFER, WINDOW_MESSAGE, codec_t, engine_t, link_t, side_t, slice_out_t, stream_t,
)

cdef enum:
    CHUNK_COPY = 2048            # chunks up to this size are copied beside their size line, larger ones sent in place
    CHUNK_ROOM = 12288           # most bytes of one chunk: with its framing it fits the buffer that keeps what is not taken


cdef void h1link_codec(codec_t *out) noexcept nogil:
    out.name = "h1"
    out.open = h1_open
    out.free = NULL                           # no state beside the link's
    out.drain = h1_drain
    out.attach = h1_attach
    out.head = h1_head
    out.offer = h1_offer
    out.consume = h1_consume
    out.send_head = h1_send_head
    out.send_data = h1_send_data
    out.send_whole = h1_send_whole
    out.send_end = h1_send_end
    out.flush = h1_flush
    out.waits = h1_waits
    out.again = h1_again
    out.rewind = h1_rewind
    out.finish = h1_finish
    out.abort = h1_abort
    out.raw = h1_raw


cdef void h1link_frame(link_t *l, message_t *m) noexcept nogil:
    l.body = m.framing
    l.left = m.length if m.framing == FRAMING_LENGTH else 0
    l.body_done = m.framing == FRAMING_NONE or (m.framing == FRAMING_LENGTH and m.length == 0)
    if m.framing == FRAMING_CHUNKED:
        chunked_init(&l.chunked)
    l.slice = 0


cdef void h1link_begin(link_t *l, message_t *m) noexcept nogil:
    h1link_frame(l, m)
    l.window = m.block
    l.window_kind = WINDOW_MESSAGE
    l.at = m.head_len
    l.end = m.fill


# A request of this link, known to it from now on. NULL: the link is closed.
cdef stream_t *request(link_t *l, message_t *m) noexcept nogil:
    cdef stream_t *st = http_open(l, m)
    l.in_ = NULL
    if st == NULL:
        link_close(l)
        return NULL
    l.stream = st
    return st


cdef void h1link_request(link_t *l, message_t *m) noexcept nogil:
    cdef stream_t *st = request(l, m)
    if st == NULL:
        return
    if l.body_done:
        st.client.flags |= SIDE_IN_END
    if l.window_kind == WINDOW_MESSAGE or l.body_done:
        st.flags |= STREAM_REPLAY
    http_begin(st)


cdef void h1link_refuse(link_t *l, message_t *m, int status, const char *detail, char cause, char phase) noexcept nogil:
    cdef stream_t *st = request(l, m)
    if st == NULL:
        return
    l.flags |= LINK_CLOSE
    l.body_done = 0                           # nothing behind this can be read as a message
    l.body = FRAMING_LENGTH
    l.left = 0
    link_window_drop(l)
    l.conn.flags &= ~<uint32_t> CONN_READABLE
    http_refuse(st, status, detail, cause, phase)


cdef int h1_open(link_t *l) noexcept nogil:
    return 0                                  # session and server wake it


cdef void h1_drain(link_t *l) noexcept nogil:
    cdef char first
    if l.stream != NULL or l.in_ != NULL or l.flags & LINK_LINGER:
        return
    if recv(l.conn.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0:
        # A request that came before this: it is answered, with `Connection: close`.
        l.conn.flags |= CONN_READABLE
        conn_run(&l.conn)
    elif l.flags & LINK_REUSED:
        link_close(l)
    else:
        # Just accepted, perhaps out of a listener's queue a moment ago: its request is on the way.
        link_deadline(l, l.engine.now_ms, LINGER_MS)


cdef void h1_attach(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    l.stream = s.stream
    l.room = 0
    l.flags &= <uint16_t> ~LINK_HEARD


cdef int h1_waits(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    return (WAITS_OUT if l.out != NULL else 0) | (WAITS_IN if l.at < l.end else 0)


cdef void h1_again(side_t *s) noexcept nogil:
    conn_run(&s.link.conn)


cdef int h1_head(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    cdef engine_t *e = l.engine
    cdef message_t *m = l.in_
    cdef ssize_t n
    cdef int r
    if m == NULL:
        if not (l.conn.flags & CONN_READABLE) and l.at == l.end:
            return OFFER_WAIT
        m = <message_t *> pool_take(&e.message_pool)
        if m == NULL:
            return OFFER_MEMORY
        message_reset(m, MESSAGE_RESPONSE)
        l.in_ = m
        if l.at < l.end:                      # bytes behind an interim head
            memcpy(m.block, l.window + l.at, l.end - l.at)
            m.fill = l.end - l.at
            n = m.fill
        else:
            n = 0
        link_window_drop(l)
    else:
        n = 0
    while True:
        if n == 0:
            if not (l.conn.flags & CONN_READABLE):
                break
            n = conn_recv(&l.conn, m.block + m.fill, MESSAGE_HEAD_MAX - m.fill)
            if n == CONN_AGAIN:
                break
            if n <= 0:
                s.fault = FAULT_CLOSED if n == CONN_CLOSED else FAULT_ERROR
                return OFFER_ABORT
            m.fill += <uint16_t> n
            l.active_ms = e.now_ms
        l.flags |= LINK_HEARD
        n = 0
        r = h1_read_response(m, s.stream.request.method)
        if r > 0:
            l.in_ = NULL
            s.head = m
            if m.status >= 200 or m.status == 101:
                s.flags |= SIDE_IN_HEAD
                if not (m.flags & MESSAGE_KEEP_ALIVE) or m.framing == FRAMING_CLOSE:
                    l.flags |= LINK_CLOSE
            h1link_begin(l, m)
            return OFFER_HEAD
        if r < 0:
            s.fault = FAULT_SYNTAX
            s.reason = m.reason_id
            return OFFER_ABORT
    if m.fill == 0:                           # nothing has come: hold nothing
        pool_give(&e.message_pool, m)
        l.in_ = NULL
    return OFFER_WAIT


cdef int h1_offer(side_t *s, slice_out_t *out) noexcept nogil:
    cdef link_t *l = s.link
    cdef size_t used = 0, data_at = 0, data_len = 0
    cdef ssize_t n
    cdef int r
    if l.body_done:
        s.flags |= SIDE_IN_END
        return OFFER_END
    while True:
        if l.slice:
            out.p = l.window + l.at
            out.n = l.slice
            return OFFER_DATA
        if l.at < l.end:
            if l.body == FRAMING_CHUNKED:
                r = chunked_read(&l.chunked, l.window + l.at, l.end - l.at, &used, &data_at, &data_len)
                if r == CHUNKED_DATA:
                    l.at += <uint16_t> data_at
                    l.slice = <uint16_t> data_len
                    continue
                if r == CHUNKED_END:
                    l.at += <uint16_t> used
                    l.body_done = 1
                    s.flags |= SIDE_IN_END
                    return OFFER_END
                if r == CHUNKED_BAD:
                    s.fault = FAULT_SYNTAX
                    s.reason = l.chunked.reason
                    return OFFER_ABORT
                l.at = l.end
            else:
                out.p = l.window + l.at
                out.n = l.end - l.at
                if l.body == FRAMING_LENGTH and l.left < out.n:
                    out.n = <size_t> l.left
                return OFFER_DATA
        if not (l.conn.flags & CONN_READABLE):
            if l.window_kind == WINDOW_BUFFER:
                link_window_drop(l)
            return OFFER_WAIT
        if l.kind == LINK_CLIENT and l.window_kind == WINDOW_MESSAGE:
            s.stream.flags &= <uint16_t> ~STREAM_REPLAY   # from here on its bytes are not kept
        elif l.window_kind == WINDOW_MESSAGE and s.flags & SIDE_IN_HEAD:
            # The response's head was sent on and what came behind it is used up: its block is of no more use.
            link_window_drop(l)
            pool_give(&l.engine.message_pool, s.stream.response)
            s.stream.response = NULL
            s.head = NULL
        n = link_refill(l)
        if n > 0:
            l.flags |= LINK_HEARD
            continue
        if n == CONN_AGAIN:
            return OFFER_WAIT
        if n == LINK_MEMORY:
            return OFFER_MEMORY
        if n == CONN_CLOSED and l.body == FRAMING_CLOSE:
            l.body_done = 1
            s.flags |= SIDE_IN_END
            return OFFER_END
        s.fault = FAULT_CLOSED if n == CONN_CLOSED else FAULT_ERROR
        return OFFER_ABORT


cdef void h1_consume(side_t *s, size_t n) noexcept nogil:
    cdef link_t *l = s.link
    l.at += <uint16_t> n
    if l.kind == LINK_CLIENT:
        s.stream.bytes_in += n
    if l.body == FRAMING_CHUNKED:
        l.slice -= <uint16_t> n
    elif l.body == FRAMING_LENGTH:
        l.left -= n
        if l.left == 0:
            l.body_done = 1
            s.flags |= SIDE_IN_END


cdef int h1_send_head(side_t *s, message_t *m) noexcept nogil:
    cdef link_t *l = s.link
    cdef stream_t *st = s.stream
    cdef uint32_t flags = 0
    cdef char *room
    cdef ssize_t n
    cdef size_t cap = BUFFER_SIZE
    if s.flags & SIDE_LAST:
        l.flags |= LINK_CLOSE
    if l.kind == LINK_SERVER:
        l.out_body = m.framing
        if m.framing == FRAMING_CHUNKED:
            flags |= H1_WRITE_CHUNKED
        if st.flags & STREAM_UPGRADE:
            flags |= H1_WRITE_UPGRADE
        elif l.flags & LINK_CLOSE:            # the last that this connection carries
            flags |= H1_WRITE_CLOSE
    elif m.status >= 200:
        l.out_body = m.framing
        if m.framing == FRAMING_CHUNKED or m.framing == FRAMING_CLOSE:
            if st.request.flags & MESSAGE_HTTP10:
                l.out_body = FRAMING_CLOSE
                l.flags |= LINK_CLOSE
                flags |= H1_WRITE_NO_LENGTH
            else:
                l.out_body = FRAMING_CHUNKED
                flags |= H1_WRITE_CHUNKED
        if l.flags & LINK_CLOSE or l.engine.draining or not (st.request.flags & MESSAGE_KEEP_ALIVE) \
                or l.requests + 1 >= st.frontend.max_requests:
            l.flags |= LINK_CLOSE
            flags |= H1_WRITE_CLOSE
        elif st.request.flags & MESSAGE_HTTP10:
            flags |= H1_WRITE_KEEP_ALIVE
    elif m.status == 101:
        l.out_body = FRAMING_NONE
        flags |= H1_WRITE_UPGRADE
    if l.out != NULL:                         # behind an interim head that was not taken: rare, and it must fit
        if l.out_end >= BUFFER_SIZE:
            return -1
        room = l.out + l.out_end
        cap = BUFFER_SIZE - l.out_end
    else:
        room = link_room(l, 0)
        if room == NULL:
            return -1
        cap = BUFFER_SIZE - l.engine.scratch_used
    if l.kind == LINK_SERVER:
        n = h1_write_request(m, flags, room, cap)
    else:
        n = h1_write_response(m, flags, room, cap)
    if n < 0:
        return -1
    if l.out != NULL:
        l.out_end += <uint16_t> n
        if l.kind == LINK_CLIENT:
            st.bytes_out += <uint64_t> n
    else:
        link_puts(l, <size_t> n)
    if l.kind == LINK_SERVER or m.status >= 200 or m.status == 101:
        s.flags |= SIDE_OUT_HEAD
    return 0


cdef ssize_t h1_send_data(side_t *s, const char *p, size_t n) noexcept nogil:
    cdef link_t *l = s.link
    cdef char *room
    cdef int r
    cdef ssize_t sent
    if l.out_body == FRAMING_NONE:            # a body where none may be: swallow it (HEAD, 204, 304)
        return <ssize_t> n
    if l.out != NULL:
        r = link_flush(l)
        if r != 0:
            return 0 if r > 0 else -1
    if l.out_body != FRAMING_CHUNKED:
        return link_send(l, p, n)
    # A chunk: what the connection does not take of it is kept, so it counts as taken whole.
    if n > CHUNK_ROOM:
        n = CHUNK_ROOM
    room = link_room(l, n + 20)
    if room == NULL:
        r = link_flush(l)
        if r != 0:
            return 0 if r > 0 else -1
        room = link_room(l, n + 20)
        if room == NULL:
            return -1
    r = chunked_write_size(n, room)
    link_puts(l, <size_t> r)
    if n <= CHUNK_COPY:
        memcpy(room + r, p, n)
        link_puts(l, n)
        return <ssize_t> n if link_put(l, b"\r\n", 2) == 0 else -1
    sent = link_send(l, p, n)
    if sent < 0:
        return -1
    if <size_t> sent < n and l.out == NULL:
        l.out = <char *> pool_take(&l.engine.buffer_pool)
        if l.out == NULL:
            return link_broken(l)
        l.active_ms = l.engine.now_ms         # from now on it is waited for
        l.out_at = 0
        l.out_end = 0
    if <size_t> sent < n:
        if link_put(l, p + sent, n - <size_t> sent) != 0:
            return -1
    return <ssize_t> n if link_put(l, b"\r\n", 2) == 0 else -1


# Collect bytes behind others; when these fill the scratch, they go first.
cdef int put_behind(link_t *l, const char *p, size_t n) noexcept nogil:
    if link_put(l, p, n) == 0:
        return 0
    return -1 if link_flush(l) < 0 else link_put(l, p, n)


cdef int h1_send_whole(side_t *s, const char *p, size_t n) noexcept nogil:
    return put_behind(s.link, p, n)           # of known length: nothing frames it


cdef int h1_send_end(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    s.flags |= SIDE_OUT_END
    if l.out_body == FRAMING_CHUNKED:
        return put_behind(l, b"0\r\n\r\n", 5)
    return 0


cdef int h1_flush(side_t *s) noexcept nogil:
    return link_flush(s.link)


cdef int h1_rewind(side_t *s) noexcept nogil:
    if not (s.stream.flags & STREAM_REPLAY):
        return -1
    if s.link.window_kind == WINDOW_MESSAGE:  # else it has no body, and what stands in the buffer is the next request's
        h1link_begin(s.link, s.stream.request)
    s.stream.bytes_in = s.stream.request.head_len
    if not s.link.body_done:
        s.flags &= <uint8_t> ~SIDE_IN_END
    return 0


# The client's next request may already be here: carry its bytes into a message of its own.
cdef int carry_over(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef message_t *m
    cdef uint16_t n = l.end - l.at
    if n == 0:
        link_window_drop(l)
        return 0
    if n > MESSAGE_HEAD_MAX:                  # more than a head may have; the next refill would refuse it anyway
        n = MESSAGE_HEAD_MAX
    m = <message_t *> pool_take(&e.message_pool)
    if m == NULL:
        return -1
    message_reset(m, 1)
    memcpy(m.block, l.window + l.at, n)
    m.fill = n
    l.in_ = m
    if n == l.end - l.at:
        link_window_drop(l)
    else:
        l.at += n
    l.flags |= LINK_BUFFERED
    return 0


cdef void h1_finish(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    cdef stream_t *st = s.stream
    if s.flags & SIDE_LAST:
        l.flags |= LINK_CLOSE
    s.flags |= SIDE_GONE
    l.stream = NULL
    l.requests += 1
    l.flags |= LINK_REUSED
    if l.kind == LINK_SERVER:
        if l.flags & LINK_CLOSE or not (s.flags & SIDE_IN_END) or not (s.flags & SIDE_OUT_END) or l.out != NULL \
                or not link_quiet(l):
            link_close(l)
        else:
            link_window_drop(l)
            l.room = 1
            idle_keep(l)
        return
    if not (s.flags & SIDE_IN_END):
        # The request is still coming: say that nothing more will, and drop the rest within a bound (RFC 9112 9.6).
        link_window_drop(l)
        l.flags |= LINK_LINGER | LINK_CLOSE
        conn_shut(&l.conn)
        link_deadline(l, l.engine.now_ms, LINGER_MS)
        conn_run(&l.conn)
        return
    if l.flags & LINK_CLOSE or l.engine.draining:
        if l.at < l.end or l.conn.flags & CONN_READABLE or st.request.flags & MESSAGE_KEEP_ALIVE:
            # Bytes nobody will read would turn the close into a reset and cost the client our answer. A client that
            # did not ask for the end may be sending its next request.
            link_window_drop(l)
            l.flags |= LINK_LINGER | LINK_CLOSE
            conn_shut(&l.conn)
            link_deadline(l, l.engine.now_ms, LINGER_MS)
            conn_run(&l.conn)
            return
        link_close(l)
        return
    l.flags &= <uint16_t> ~(LINK_HEARD)
    if carry_over(l) != 0:
        link_close(l)
        return
    l.accept_ms = l.began_ms = l.heard_ms = l.engine.now_ms
    link_deadline(l, l.engine.now_ms, st.frontend.http_keep_alive_ms)
    if l.flags & LINK_BUFFERED or l.conn.flags & CONN_READABLE:
        conn_run(&l.conn)


cdef void h1_abort(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    s.flags |= SIDE_GONE
    l.stream = NULL
    if l.kind == LINK_CLIENT and s.flags & SIDE_OUT_HEAD and l.out_body == FRAMING_CLOSE:
        conn_reset(&l.conn)                   # an orderly end would pass for the end of the body
    link_close(l)


cdef link_t *h1_raw(side_t *s) noexcept nogil:
    return s.link
