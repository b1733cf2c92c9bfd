from libc.stdint cimport uint16_t, uint32_t, uint64_t
from lb._speedups.base.mapping cimport rate_count
from lb._speedups.base.observation cimport observation_bad, observation_good
from lb._speedups.base.pool cimport pool_give
from lb._speedups.base.timers cimport lb_timer_t, timer_init
from lb._speedups.io.conn cimport (
    CONN_CONNECTING, CONN_HUP, CONN_TWISTED, CONN_WRITABLE, conn_connected, conn_open, conn_t,
)
from lb._speedups.io.sys cimport EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM, close
from lb._speedups.policy.balance cimport (
    balance_entries, balance_has_other, balance_leave, balance_pick, balance_t, balance_take, balance_usable,
)
from lb._speedups.policy.hashkey cimport hashkey_find
from lb._speedups.policy.persistence cimport (
    PERSIST_DOWN, PERSIST_NO_REDISPATCH, PERSISTED_FORCED, persistence_of, persistence_t,
)
from lb._speedups.policy.plan cimport (
    KEY_NONE, LINK_MUX, LINK_TWISTED, LOGS_ENDS, REUSE_NEVER, plan_backend_t, plan_server, plan_server_by_oid,
    plan_server_t,
)
from lb._speedups.relay.dial cimport dial
from lb._speedups.relay.idle cimport idle_find, idle_keep, idle_rouse, idle_terms
from lb._speedups.relay.link cimport link_close, link_deadline, link_quiet, link_take, link_unlist, side_deadline
from lb._speedups.relay.persist cimport persist_forget
from lb._speedups.relay.proxied cimport proxied_greet
from lb._speedups.relay.relay cimport (
    LINK_CLOSE, LINK_EARLY, LINK_IDLE, LINK_SERVER, PHASE_ASSIGN, PHASE_CONNECT, STREAM_COPY, STREAM_DEFERRED,
    STREAM_HTTP, STREAM_PICKED, STREAM_REDISPATCHED, STREAM_RESENT, STREAM_REUSED, TURNAROUND_MS, engine_t, link_t, stream_t,
)
from lb._speedups.relay.stream cimport stream_connect_ms, stream_keep_source, stream_retries

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    bint UNLIKELY(bint x)
    void LB_ASSERT(bint condition)


cdef void server_wake(conn_t *c) noexcept nogil:
    cdef link_t *l = <link_t *> c
    if l.stream != NULL:
        l.stream.wake(l.stream, &l.stream.server)
    elif l.flags & LINK_IDLE and not link_quiet(l):
        link_close(l)                         # a byte or an end on an idle connection: it is of no more use


cdef void server_timer(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef link_t *l = <link_t *> owner
    if l.stream != NULL:
        l.stream.timeout(l.stream, &l.stream.server)
    elif l.flags & LINK_IDLE:
        link_close(l)


cdef inline balance_t *balance_of(stream_t *st) noexcept nogil:
    return <balance_t *> (<char *> st.engine.mapping + st.backend.balance_at)


cdef void uncount(stream_t *st) noexcept nogil:
    cdef const plan_server_t *first
    if st.flags & STREAM_PICKED:
        st.flags &= <uint16_t> ~STREAM_PICKED
        # Members of a balance stand in the order of the backend's servers.
        first = plan_server(st.plan.plan, st.backend.servers_at)
        balance_leave(balance_of(st), <uint32_t> (st.server_at - first), st.engine.rows)


# A pick that no server of the plan answers to goes back.
cdef void unbook(stream_t *st, uint32_t oid) noexcept nogil:
    cdef balance_t *b = balance_of(st)
    cdef uint32_t i
    for i in range(b.size):
        if balance_entries(b)[i].oid == oid:
            balance_leave(b, i, st.engine.rows)
            return


# The server side of st is on this link, connected or not.
cdef void join(stream_t *st, link_t *l) noexcept nogil:
    l.active_ms = st.engine.now_ms
    st.server.codec = l.codec
    st.server.link = l
    st.server.state = NULL
    st.server.head = NULL
    st.server.timer = &l.timer
    st.server.active_ms = &l.active_ms
    st.server.flags = 0
    st.server.fault = 0
    st.server.reason = 0
    st.server.interim = 0


# The link is connected: its codec begins the stream on it. With room for more it stays on, or goes to, its server's list.
cdef void attach(stream_t *st, link_t *l) noexcept nogil:
    # The last that it carries, by its own count or because one connection a request was asked for: it says so.
    if UNLIKELY(st.frontend.http_connection | st.backend.http_connection
                or (l.max_requests != 0 and l.requests + l.streams + 1 >= l.max_requests)):
        l.flags |= LINK_CLOSE
    l.codec.attach(&st.server)
    if l.flags & LINK_IDLE:
        if l.room == 0:
            link_unlist(l)
        else:
            idle_rouse(l)
    elif l.room != 0:
        idle_keep(l)


cdef void own(stream_t *st, link_t *l) noexcept nogil:
    if st.flags & STREAM_COPY:                # nobody who could come back
        l.flags |= LINK_CLOSE
    else:
        l.owner = st.client.link


# Whether connect() failed for want of something here, not through the server.
cdef inline bint is_ours(int error) noexcept nogil:
    return error == EADDRNOTAVAIL or error == EADDRINUSE or error == EMFILE or error == ENFILE or error == ENOBUFS \
        or error == ENOMEM


# Open a connection. 1 connected, 0 in progress, -1 failed at once (nothing attached).
cdef int open_link(stream_t *st, const plan_server_t *s) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_backend_t *b = st.backend
    cdef link_t *l
    cdef uint32_t flags = 0
    cdef bint early = False
    cdef int fd = dial(st, s, &flags, &early)
    if fd < 0:
        if not is_ours(-fd):
            observation_bad(e.mapping, s.oid)
        return -1
    l = link_take(e, LINK_SERVER)
    if l == NULL:
        close(fd)
        return -1
    if s.flags & LINK_TWISTED:
        flags |= CONN_TWISTED
    if conn_open(&e.loop, &l.conn, fd, flags, server_wake) != 0:
        pool_give(&e.link_pool, l)
        return -1
    timer_init(&l.timer, server_timer, l)
    if early:
        l.flags |= LINK_EARLY
    l.server_oid = s.oid
    l.address_hash = s.link_hash
    l.generation = st.plan.generation
    l.accept_ms = e.now_ms
    if st.flags & STREAM_HTTP:
        l.codec = &e.mux if LB_DEBUG and s.flags & LINK_MUX else &e.h1
        idle_terms(l, s)
        if b.reuse == REUSE_NEVER or s.send_proxy:    # its PROXY header is about this client
            own(st, l)
    l.stream = st
    join(st, l)
    if flags & CONN_WRITABLE:
        return 1
    link_deadline(l, e.now_ms, stream_connect_ms(st))
    return 0


# The server that a rule has named, if it is up.
cdef bint take_named(stream_t *st) noexcept nogil:
    cdef const plan_server_t *s = plan_server(st.plan.plan, st.settings.use_server - 1)
    cdef const plan_server_t *first = plan_server(st.plan.plan, st.backend.servers_at)
    if not balance_take(balance_of(st), <uint32_t> (s - first), False, st.engine.rows):
        return False
    st.flags |= STREAM_PICKED
    st.server_at = s
    return True


# The server that the client had, if it may be used.
cdef bint take_again(stream_t *st) noexcept nogil:
    cdef const persistence_t *p = persistence_of(st.plan.plan, st.backend)
    cdef const plan_server_t *s = plan_server_by_oid(st.plan.plan, st.persisted.server)
    cdef const plan_server_t *first = plan_server(st.plan.plan, st.backend.servers_at)
    cdef bint even_down = p.flags & PERSIST_DOWN or st.persisted.flags & PERSISTED_FORCED
    if not balance_take(balance_of(st), <uint32_t> (s - first), even_down, st.engine.rows):
        persist_forget(st)                    # it went down in between
        return False
    st.flags |= STREAM_PICKED
    st.server_at = s
    return True


cdef int server_assign(stream_t *st, bint fresh) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_server_t *s
    cdef uint32_t oid, hash = 0
    cdef bint keyed = False
    st.phase = PHASE_ASSIGN
    if st.assigned_ms == 0:
        st.assigned_ms = e.now_ms
    if UNLIKELY(st.settings != NULL) and st.settings.use_server != 0 and st.failed_oid == 0 and take_named(st):
        return server_connect(st, fresh)
    if UNLIKELY(st.persisted.server != 0) and take_again(st):
        return server_connect(st, fresh)
    if st.backend.key.source != KEY_NONE:
        keyed = hashkey_find(st.plan.plan, &st.backend.key, st.request, st.family, st.address, &hash)
    oid = balance_pick(balance_of(st), st.failed_oid, keyed, hash, e.rows)
    if oid == 0:
        return SERVER_NONE
    s = plan_server_by_oid(st.plan.plan, oid)
    if s == NULL:                             # a balance and the plans that name it have the same members: never
        LB_ASSERT(False)
        unbook(st, oid)
        return SERVER_NONE
    st.flags |= STREAM_PICKED
    if st.failed_oid != 0 and oid != st.failed_oid:
        st.flags |= STREAM_REDISPATCHED
        e.rows[st.backend.oid].redispatches += 1
        e.rows[st.failed_oid].redispatches += 1
    st.server_at = s
    return server_connect(st, fresh)


# Connect to st.server_at.
cdef int server_connect(stream_t *st, bint fresh) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_server_t *s = st.server_at
    cdef link_t *l
    cdef int r
    e.rows[s.oid].chosen += 1
    e.rows[st.backend.oid].chosen += 1
    if UNLIKELY(e.counts_rates):
        rate_count(&e.rows[s.oid].sess_rate, e.now_ms)
    if <uint64_t> e.rows[s.oid].cur > e.rows[s.oid].cur_max:
        e.rows[s.oid].cur_max = <uint64_t> e.rows[s.oid].cur
    e.rows[s.oid].last_ms = e.now_ms
    if st.flags & STREAM_HTTP and not fresh and not (st.flags & STREAM_RESENT) and st.plan == e.current:
        l = idle_find(st, s)
        if l != NULL:
            join(st, l)
            attach(st, l)
            st.flags |= STREAM_REUSED
            e.rows[s.oid].reuses += 1
            e.rows[st.backend.oid].reuses += 1
            st.connected_ms = e.now_ms
            st.connect_ms = 0
            if st.frontend.log_flags & LOGS_ENDS:
                stream_keep_source(st)
            return SERVER_READY
    st.flags &= <uint16_t> ~STREAM_REUSED
    st.phase = PHASE_CONNECT
    e.rows[s.oid].connects += 1
    e.rows[st.backend.oid].connects += 1
    r = open_link(st, s)
    if r == 0:
        return SERVER_WAIT
    if r > 0:
        r = connected(st)
        if r > 0:
            return SERVER_READY
        if r == 0:
            link_deadline(st.server.link, e.now_ms, stream_connect_ms(st))
            return SERVER_WAIT
    return server_failed(st)


# 1, 0 when a PROXY header still leaves (to be called again when the server takes more), or -1.
cdef int connected(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef link_t *l = st.server.link
    cdef int r
    if st.server_at.send_proxy:
        r = proxied_greet(st)
        if r <= 0:
            return r
    if l.codec != NULL and l.codec.open(l) != 0:
        return -1
    st.server.link.conn.flags &= ~<uint32_t> CONN_CONNECTING
    st.connected_ms = e.now_ms
    st.connect_ms = <long> (e.now_ms - st.assigned_ms)
    e.rows[st.server_at.oid].conn_total += 1
    if not (l.flags & LINK_EARLY):            # of that one nothing is known yet
        observation_good(e.mapping, st.server_at.oid)
    if st.frontend.log_flags & LOGS_ENDS:
        stream_keep_source(st)
    if l.codec != NULL:
        attach(st, l)
    return 1


cdef int server_failed(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef uint32_t oid = st.server_at.oid
    e.rows[oid].err_conn += 1
    e.rows[st.backend.oid].err_conn += 1
    if st.server.link != NULL:
        # It was refused, lost or late. What failed at once has been judged where it failed.
        observation_bad(e.mapping, oid)
        link_close(st.server.link)
        st.server.link = NULL
        st.server.codec = NULL
    uncount(st)
    if st.retries >= stream_retries(st) or (balance_usable(balance_of(st)) == 0 and st.persisted.server == 0):
        return SERVER_NONE
    st.retries += 1
    e.rows[oid].retries += 1
    e.rows[st.backend.oid].retries += 1
    if UNLIKELY(st.persisted.server != 0) and is_faithful(st):
        return pause(st)
    st.failed_oid = oid
    if balance_has_other(balance_of(st), oid):
        return server_assign(st, False)
    return pause(st)                          # nobody else to ask


# Whether it asks its own server again: until its last attempt, which may go to another one.
cdef bint is_faithful(stream_t *st) noexcept nogil:
    if st.retries < stream_retries(st) or st.persisted.flags & PERSISTED_FORCED \
            or persistence_of(st.plan.plan, st.backend).flags & PERSIST_NO_REDISPATCH:
        return True
    persist_forget(st)
    return False


# Leave the server a moment (HAProxy's turnaround).
cdef int pause(stream_t *st) noexcept nogil:
    cdef uint64_t ms = stream_connect_ms(st)
    if ms == 0 or ms > TURNAROUND_MS:
        ms = TURNAROUND_MS
    st.flags |= STREAM_DEFERRED
    side_deadline(&st.client, st.engine.now_ms, ms)
    return SERVER_WAIT


cdef int server_retry(stream_t *st) noexcept nogil:
    st.flags &= <uint16_t> ~STREAM_DEFERRED
    side_deadline(&st.client, 0, 0)
    return server_assign(st, False)


cdef int server_check(stream_t *st) noexcept nogil:
    cdef link_t *l = st.server.link
    if not (l.conn.flags & (CONN_WRITABLE | CONN_HUP)):
        return 0
    # A connection that failed is writable too, but always with an error or a hang-up.
    if l.conn.flags & CONN_HUP and conn_connected(&l.conn) != 0:
        return -1
    return connected(st)


cdef void server_left(stream_t *st) noexcept nogil:
    uncount(st)


cdef void server_met(stream_t *st) noexcept nogil:
    st.server.link.flags &= <uint16_t> ~LINK_EARLY
    observation_good(st.engine.mapping, st.server_at.oid)


cdef void server_missed(stream_t *st) noexcept nogil:
    cdef uint32_t oid = st.server_at.oid
    st.engine.rows[oid].err_conn += 1
    st.engine.rows[st.backend.oid].err_conn += 1
    observation_bad(st.engine.mapping, oid)
    st.failed_oid = oid


cdef void server_own(stream_t *st) noexcept nogil:
    cdef link_t *l = st.server.link
    # One that carries several streams has no user: these schemes are not for it.
    if l.state == NULL and not (l.flags & LINK_IDLE):
        own(st, l)
