from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from lb._speedups.base.timers cimport timer_set
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_CLOSED, CONN_ERROR, CONN_HUP, CONN_RDHUP, CONN_READABLE, conn_peek, conn_reset, conn_run, conn_skip, conn_t,
)
from lb._speedups.io.flow cimport (
    FLOW_DONE, FLOW_KEEP_OPEN, FLOW_MEMORY, FLOW_MORE, FLOW_READ_ERROR, FLOW_SHUT, FLOW_WAIT, FLOW_WRITE_ERROR, flow_held,
    flow_init, flow_run,
)
from lb._speedups.policy.action cimport ACTION_REJECT, ACTION_SILENT_DROP, ACTION_USE_BACKEND
from lb._speedups.policy.plan cimport PLAN_UNLIMITED, plan_route
from lb._speedups.policy.rule cimport RULES_DONE, RULES_VERDICT, RULES_WAIT, verdict_t
from lb._speedups.relay.link cimport link_close, link_deadline, link_flush
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, PHASE_ASSIGN, PHASE_BODY, PHASE_PARKED, PHASE_REQUEST, SIDE_GONE, STAGE_BACKEND, STAGE_BACKEND_CONTENT,
    STAGE_CONTENT, STAGE_REQUEST, STREAM_ANSWER, STREAM_DEFERRED, STREAM_DOWN_FLOW, STREAM_HALF, STREAM_UP_FLOW, WAIT_BYTES,
    engine_t, link_t, side_t, stream_t,
)
from lb._speedups.relay.rules cimport rules_apply_bytes, rules_backend
from lb._speedups.relay.server cimport (
    SERVER_NONE, SERVER_READY, server_assign, server_check, server_failed, server_retry,
)
from lb._speedups.relay.settings cimport settings_silence
from lb._speedups.relay.stream cimport stream_account, stream_cause, stream_free, stream_half_closed, stream_new
from lb._speedups.relay.target cimport target_backend, target_enter

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint x)


cdef void tcp_begin(link_t *client) noexcept nogil:
    cdef engine_t *e = client.engine
    cdef stream_t *st = stream_new(e, client)
    if st == NULL:
        link_close(client)
        return
    client.stream = st
    st.wake = tcp_wake
    st.timeout = tcp_timeout
    proceed(st)


# --- rules ---


# Go on with the rules from where they stand, then to a server.
cdef void proceed(stream_t *st) noexcept nogil:
    if st.stage == STAGE_CONTENT:
        if UNLIKELY(st.frontend.phases.content != 0) and not judge(
                st, st.frontend.phases.content, st.frontend.phases.inspect_ms):
            return
        st.stage = STAGE_REQUEST
        if UNLIKELY(st.frontend.request_rules != 0) and not judge(st, st.frontend.request_rules, 0):
            return
        if UNLIKELY(st.use_backend != 0 and st.use_backend != <uint32_t> PLAN_UNLIMITED):
            target_enter(st, st.use_backend - 1)
        elif st.frontend.default_route < 0:
            finish(st, c'P', c'C', True)
            return
        else:
            target_backend(st, plan_route(st.plan.plan, <uint32_t> st.frontend.default_route))
        st.stage = STAGE_BACKEND_CONTENT
    if UNLIKELY(st.backend.phases.content != 0) and not judge(
            st, st.backend.phases.content, st.backend.phases.inspect_ms):
        return
    st.stage = STAGE_BACKEND
    st.phase = PHASE_ASSIGN
    link_deadline(st.client.link, 0, 0)
    assigned(st, server_assign(st, True))


# Whether more than these n bytes can come from a connection that has just been looked at.
cdef bint is_all(const conn_t *c, ssize_t n) noexcept nogil:
    if n == CONN_AGAIN:
        n = 0
    elif n <= 0 or n == BUFFER_SIZE:
        return True
    return c.flags & (CONN_RDHUP | CONN_HUP) and not (c.flags & CONN_READABLE)


# Show what has come on a connection, in engine.peeked. What was shown before is shown again: a transport that disturbs is
# asked until it does.
cdef ssize_t look(stream_t *st, link_t *l) noexcept nogil:
    cdef ssize_t n = conn_peek(&l.conn, st.engine.peeked, BUFFER_SIZE)
    cdef int again = 256
    while n < <ssize_t> st.seen and n != CONN_CLOSED and n != CONN_ERROR and again > 0:
        n = conn_peek(&l.conn, st.engine.peeked, BUFFER_SIZE)
        again -= 1
    if n > <ssize_t> st.seen:
        st.seen = <uint32_t> n
        l.active_ms = st.engine.now_ms
    return n


# Look at the client's first bytes by rules. True: go on; else the stream waits, or is over.
cdef bint judge(stream_t *st, uint32_t ruleset, uint32_t inspect_ms) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef link_t *client = st.client.link
    cdef ssize_t n = look(st, client)
    cdef bint is_final = st.is_final or inspect_ms == 0 or is_all(&client.conn, n)
    cdef verdict_t verdict
    cdef int64_t backend
    cdef int r
    verdict.at = st.rule_at
    verdict.lax = 0
    while True:
        r = rules_apply_bytes(st, ruleset, False, e.peeked, <size_t> n if n > 0 else 0, is_final, &verdict)
        if r != RULES_VERDICT or verdict.rule.action != ACTION_USE_BACKEND:
            break
        # The first one that holds decides.
        if st.use_backend == 0:
            backend = rules_backend(st, &verdict)
            st.use_backend = <uint32_t> backend + 1 if backend >= 0 else <uint32_t> PLAN_UNLIMITED
        verdict.at += 1
    st.rule_at = verdict.at
    if r == RULES_WAIT and not is_final:
        wait(st, inspect_ms)
        return False
    client.conn.flags |= CONN_READABLE        # what was looked at is still there, and no event will say so
    if r == RULES_DONE:
        st.phase = PHASE_REQUEST
        st.rule_at = 0
        st.is_final = 0
        st.wait_ms = 0
        return True
    if r == RULES_VERDICT and (verdict.rule.action == ACTION_REJECT or verdict.rule.action == ACTION_SILENT_DROP):
        e.rows[judge_oid(st)].denied_req += 1
        if verdict.rule.action == ACTION_SILENT_DROP:
            settings_silence(client)
        elif n > 0:
            conn_skip(&client.conn, e.peeked, <size_t> n)    # unread bytes would make a reset of the close
        finish(st, c'P', c'R', False)
    else:
        e.rows[judge_oid(st)].internal_errors += 1
        finish(st, c'I', c'R', True)
    return False


# The proxy whose rules are being looked at.
cdef inline uint32_t judge_oid(stream_t *st) noexcept nogil:
    return st.backend.oid if st.backend != NULL else st.frontend.oid


# Leave the stream until more bytes come or the time is over. It holds no buffer: the bytes stay in the kernel.
cdef void wait(stream_t *st, uint32_t inspect_ms) noexcept nogil:
    cdef link_t *client = st.client.link
    cdef uint64_t until
    if st.wait_ms == 0:
        st.wait_ms = st.engine.now_ms + inspect_ms
    st.phase = PHASE_PARKED
    st.waits = WAIT_BYTES
    until = st.wait_ms
    if st.frontend.client_ms and client.active_ms + st.frontend.client_ms < until:
        until = client.active_ms + st.frontend.client_ms
    timer_set(&st.engine.timers, &client.timer, until)


# Look at the server's first bytes. True: they may go on.
cdef bint judge_answer(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef link_t *server = st.server.link
    cdef ssize_t n = look(st, server)
    cdef bint is_final = st.is_final or st.backend.phases.answer_inspect_ms == 0 or is_all(&server.conn, n)
    cdef verdict_t verdict
    cdef int r
    verdict.at = st.rule_at
    verdict.lax = 0
    r = rules_apply_bytes(st, st.backend.phases.answer, True, e.peeked, <size_t> n if n > 0 else 0, is_final, &verdict)
    st.rule_at = verdict.at
    if r == RULES_WAIT and not is_final:
        return False
    server.conn.flags |= CONN_READABLE
    st.flags &= <uint16_t> ~STREAM_ANSWER
    if r == RULES_DONE:
        return True
    if r == RULES_VERDICT and (verdict.rule.action == ACTION_REJECT or verdict.rule.action == ACTION_SILENT_DROP):
        if verdict.rule.action == ACTION_SILENT_DROP:
            settings_silence(st.client.link)
        e.rows[st.backend.oid].denied_resp += 1
        e.rows[st.server_at.oid].denied_resp += 1
        finish(st, c'P', c'D', False)
    else:
        e.rows[st.backend.oid].internal_errors += 1
        finish(st, c'I', c'D', True)
    return False


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
    finish(st, c'K', c'D' if st.phase == PHASE_BODY else c'R' if st.phase == PHASE_PARKED else c'C', True)


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
    if UNLIKELY(st.backend.phases.answer != 0):
        st.flags |= STREAM_ANSWER
        st.seen = 0
        st.wait_ms = st.engine.now_ms + st.backend.phases.answer_inspect_ms
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
    if UNLIKELY(st.flags & STREAM_ANSWER != 0) and not judge_answer(st) and not (st.flags & STREAM_ANSWER):
        return                                # it is over
    a = flow_run(&st.up) if r == 0 else FLOW_WAIT    # a PROXY header is the first that leaves
    if st.up.flags & FLOW_SHUT:
        st.down.flags |= FLOW_KEEP_OPEN
    b = flow_run(&st.down) if not (st.flags & STREAM_ANSWER) else FLOW_WAIT
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
    if UNLIKELY(st.flags & STREAM_ANSWER != 0) and (
            st.backend.server_ms == 0 or st.wait_ms < now + st.backend.server_ms):
        timer_set(&st.engine.timers, &st.server.link.timer, st.wait_ms)


cdef void tcp_wake(stream_t *st, side_t *who) noexcept nogil:
    cdef int r
    if st.phase == PHASE_BODY:
        run(st)
        return
    if st.phase == PHASE_PARKED:
        if who.link.conn.flags & CONN_HUP:
            finish(st, c'C', c'R', True)
        else:
            proceed(st)
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
    if st.phase == PHASE_PARKED:
        if st.engine.now_ms < st.wait_ms:
            finish(st, c'c', c'R', True)
            return
        st.is_final = 1
        proceed(st)
        return
    if st.flags & STREAM_ANSWER and who == &st.server and st.engine.now_ms >= st.wait_ms:
        st.is_final = 1
        run(st)
        return
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
