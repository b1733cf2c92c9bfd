from libc.stdint cimport uint32_t, uint64_t
from lb._speedups.io.conn cimport CONN_HUP, conn_reset, conn_run
from lb._speedups.io.flow cimport (
    FLOW_DONE, FLOW_KEEP_OPEN, FLOW_MEMORY, FLOW_MORE, FLOW_READ_ERROR, FLOW_SHUT, FLOW_WAIT, FLOW_WRITE_ERROR, flow_held,
    flow_init, flow_run,
)
from lb._speedups.policy.plan cimport plan_route
from lb._speedups.relay.link cimport link_close, link_deadline, link_flush
from lb._speedups.relay.relay cimport (
    PHASE_BODY, SIDE_GONE, STREAM_DEFERRED, STREAM_DOWN_FLOW, STREAM_HALF, STREAM_UP_FLOW, engine_t, link_t, side_t, stream_t,
)
from lb._speedups.relay.server cimport (
    SERVER_NONE, SERVER_READY, server_assign, server_check, server_failed, server_retry,
)
from lb._speedups.relay.stream cimport stream_account, stream_cause, stream_free, stream_half_closed, stream_new
from lb._speedups.relay.target cimport target_backend


cdef void tcp_begin(link_t *client) noexcept nogil:
    cdef engine_t *e = client.engine
    cdef stream_t *st = stream_new(e, client)
    if st == NULL:
        link_close(client)
        return
    client.stream = st
    st.wake = tcp_wake
    st.timeout = tcp_timeout
    if st.frontend.default_route < 0:
        finish(st, c'P', c'C', True)
        return
    target_backend(st, plan_route(st.plan.plan, <uint32_t> st.frontend.default_route))
    link_deadline(client, 0, 0)
    assigned(st, server_assign(st, True))


# Both connections end, with a reset to a peer whose stream was cut.
cdef void finish(stream_t *st, char cause, char phase, bint broken) noexcept nogil:
    cdef link_t *s = st.server.link
    if cause:
        stream_cause(st, cause, phase)
    if s != NULL and not (st.server.flags & SIDE_GONE):
        st.server.flags |= SIDE_GONE
        s.stream = NULL
        if broken:
            conn_reset(&s.conn)
        link_close(s)
    stream_account(st)
    st.client.link.stream = NULL
    if broken:
        conn_reset(&st.client.link.conn)
    link_close(st.client.link)
    stream_free(st)


cdef void tcp_kill(stream_t *st) noexcept nogil:
    finish(st, c'K', c'D' if st.phase == PHASE_BODY else c'C', True)


cdef void assigned(stream_t *st, int r) noexcept nogil:
    if r == SERVER_NONE:
        finish(st, c'S', c'C', True)
    elif r == SERVER_READY:
        start(st)


cdef void start(stream_t *st) noexcept nogil:
    cdef link_t *c = st.client.link
    cdef link_t *s = st.server.link
    st.phase = PHASE_BODY
    st.flags |= STREAM_UP_FLOW | STREAM_DOWN_FLOW
    # Where the first end closes both, no end is passed on: the close tells.
    flow_init(&st.up, &c.conn, &s.conn, &st.engine.flows, <uint64_t> -1, FLOW_KEEP_OPEN if st.frontend.close_both else 0)
    flow_init(&st.down, &s.conn, &c.conn, &st.engine.flows, <uint64_t> -1, FLOW_KEEP_OPEN if st.frontend.close_both else 0)
    run(st)


# One direction has ended, and of the other nothing is held here: what its sender still says will not be read.
cdef bint is_over(stream_t *st, int up, int down) noexcept nogil:
    return up == FLOW_DONE and down == FLOW_WAIT and flow_held(&st.down) == 0 \
        or down == FLOW_DONE and up == FLOW_WAIT and flow_held(&st.up) == 0


cdef void run(stream_t *st) noexcept nogil:
    cdef uint64_t up = st.up.moved
    cdef uint64_t down = st.down.moved
    cdef uint64_t now = st.engine.now_ms
    cdef int a, b, r
    # The end of the second direction is told by the close that follows at once.
    if st.down.flags & FLOW_SHUT:
        st.up.flags |= FLOW_KEEP_OPEN
    r = link_flush(st.server.link) if st.server.link.out != NULL else 0
    if r < 0:
        finish(st, c'S', c'D', True)
        return
    a = flow_run(&st.up) if r == 0 else FLOW_WAIT    # a PROXY header is the first that leaves
    if st.up.flags & FLOW_SHUT:
        st.down.flags |= FLOW_KEEP_OPEN
    b = flow_run(&st.down)
    st.bytes_in += st.up.moved - up
    st.bytes_out += st.down.moved - down
    if a == FLOW_READ_ERROR or b == FLOW_WRITE_ERROR:
        finish(st, c'C', c'D', True)
        return
    if b == FLOW_READ_ERROR or a == FLOW_WRITE_ERROR:
        finish(st, c'S', c'D', True)
        return
    if a == FLOW_MEMORY or b == FLOW_MEMORY:
        finish(st, c'R', c'D', True)
        return
    if a == FLOW_DONE and b == FLOW_DONE or st.frontend.close_both and is_over(st, a, b):
        finish(st, 0, 0, False)
        return
    if a == FLOW_MORE:
        conn_run(st.up.src)
    if b == FLOW_MORE:
        conn_run(st.down.src)
    if (a == FLOW_DONE or b == FLOW_DONE) and stream_half_closed(st, a == FLOW_DONE):
        return
    # Bytes either way are activity of both ends. Once both have spoken it is a tunnel, as in HAProxy: a session that is
    # used now and then (a database's, say) is not cut for a silence that would be odd in a request.
    if st.up.moved and st.down.moved:
        link_deadline(st.client.link, 0, 0)
        link_deadline(st.server.link, now, st.backend.tunnel_ms if st.backend.tunnel_ms else st.frontend.tunnel_ms)
    else:
        link_deadline(st.client.link, now, st.frontend.client_ms)
        link_deadline(st.server.link, now, st.backend.server_ms)


cdef void tcp_wake(stream_t *st, side_t *who) noexcept nogil:
    cdef int r
    if st.phase == PHASE_BODY:
        run(st)
        return
    if who == &st.client:
        if who.link.conn.flags & CONN_HUP:
            finish(st, c'C', c'C', True)
        return
    if st.flags & STREAM_DEFERRED:
        return
    r = server_check(st)
    if r > 0:
        start(st)
    elif r < 0:
        assigned(st, server_failed(st))


cdef void tcp_timeout(stream_t *st, side_t *who) noexcept nogil:
    cdef int r
    if st.phase == PHASE_BODY:
        # The tunnel's: whoever said less is taken for the silent one.
        if st.up.moved and st.down.moved and not st.flags & STREAM_HALF:
            finish(st, c'c' if st.up.moved <= st.down.moved else c's', c'D', True)
        else:
            finish(st, c'c' if who == &st.client else c's', c'D', True)
        return
    if st.flags & STREAM_DEFERRED:
        assigned(st, server_retry(st))
        return
    r = server_failed(st)
    if r == SERVER_NONE:
        stream_cause(st, c's', c'C')
    assigned(st, r)
