from libc.stdint cimport uint16_t, uint32_t, uint64_t
from lb._speedups.base.observation cimport observation_bad, observation_good
from lb._speedups.base.pool cimport pool_give
from lb._speedups.base.timers cimport lb_timer_t, timer_init
from lb._speedups.io.conn cimport (
    CONN_CONNECTING, CONN_HUP, CONN_READABLE, CONN_TWISTED, CONN_WRITABLE, conn_connected, conn_open, conn_t,
)
from lb._speedups.io.sys cimport (
    AF_UNIX, EADDRINUSE, EADDRNOTAVAIL, EINPROGRESS, ENOBUFS, ENOMEM, IPPROTO_TCP, SO_KEEPALIVE, SOCK_CLOEXEC,
    SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY, close, connect, errno,
    setsockopt, sockaddr, socket,
)
from lb._speedups.policy.balance cimport balance_has_other, balance_leave, balance_pick, balance_t, balance_usable
from lb._speedups.policy.hashkey cimport hashkey_find
from lb._speedups.policy.plan cimport (
    BACKEND_KEEPALIVE, KEY_NONE, LINK_MUX, LINK_TWISTED, plan_backend_t, plan_server, plan_server_by_oid, plan_server_t,
)
from lb._speedups.relay.link cimport (
    link_close, link_deadline, link_quiet, link_take, link_unlist, side_deadline,
)
from lb._speedups.relay.relay cimport (
    IDLE_SERVER_MS, LINK_CLOSE, LINK_IDLE, LINK_REUSED, LINK_SERVER, PHASE_ASSIGN, PHASE_CONNECT,
    STREAM_DEFERRED, STREAM_HTTP, STREAM_PICKED, STREAM_REDISPATCHED, STREAM_REPLAY, STREAM_RESENT, STREAM_REUSED,
    TURNAROUND_MS, engine_t, idle_t, link_t, stream_t,
)
from lb._speedups.relay.stream cimport stream_connect_ms, stream_retries

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
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


cdef uint64_t address_hash(const plan_server_t *s) noexcept nogil:
    # FNV-1a: tells two configured addresses apart; nobody chooses them to collide
    cdef uint64_t h = 0xcbf29ce484222325ULL ^ s.family
    cdef uint32_t i
    for i in range(s.address_len):
        h = (h ^ s.address[i]) * 0x100000001b3ULL
    return h ^ s.flags


cdef inline balance_t *balance_of(stream_t *st) noexcept nogil:
    return <balance_t *> (<char *> st.engine.mapping + st.backend.balance_at)


cdef void uncount(stream_t *st) noexcept nogil:
    cdef const plan_server_t *first
    if st.flags & STREAM_PICKED:
        st.flags &= <uint16_t> ~STREAM_PICKED
        # Members of a balance stand in the order of the backend's servers.
        first = plan_server(st.plan.plan, st.backend.servers_at)
        balance_leave(balance_of(st), <uint32_t> (st.server_at - first), st.engine.rows)


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
    l.codec.attach(&st.server)
    if l.flags & LINK_IDLE:
        if l.room == 0:
            link_unlist(l)
    elif l.room != 0:
        server_keep(l)


# Whether connect() failed for want of something here, not through the server.
cdef inline bint is_ours(int error) noexcept nogil:
    return error == EADDRNOTAVAIL or error == EADDRINUSE or error == ENOBUFS or error == ENOMEM


# Open a connection. 1 connected, 0 in progress, -1 failed at once (nothing attached).
cdef int open_link(stream_t *st, const plan_server_t *s) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_backend_t *b = st.backend
    cdef link_t *l
    cdef int one = 1
    cdef int value
    cdef int r
    cdef uint32_t flags = 0
    cdef int fd = socket(s.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return -1
    if s.family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        if b.flags & BACKEND_KEEPALIVE:
            setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))
            if b.keepalive_idle_s:
                value = <int> b.keepalive_idle_s
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(value))
            if b.keepalive_interval_s:
                value = <int> b.keepalive_interval_s
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, sizeof(value))
            if b.keepalive_count:
                value = <int> b.keepalive_count
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(value))
    r = connect(fd, <const sockaddr *> s.address, s.address_len)
    if r != 0 and errno != EINPROGRESS:
        if not is_ours(errno):
            observation_bad(e.mapping, s.oid)
        close(fd)
        return -1
    l = link_take(e, LINK_SERVER)
    if l == NULL:
        close(fd)
        return -1
    if r != 0:
        flags |= CONN_CONNECTING
    if s.flags & LINK_TWISTED:
        flags |= CONN_TWISTED
    if conn_open(&e.loop, &l.conn, fd, flags, server_wake) != 0:
        pool_give(&e.link_pool, l)
        return -1
    timer_init(&l.timer, server_timer, l)
    l.server_oid = s.oid
    l.address_hash = address_hash(s)
    l.generation = st.plan.generation
    if st.flags & STREAM_HTTP:
        l.codec = &e.mux if LB_DEBUG and s.flags & LINK_MUX else &e.h1
    l.stream = st
    join(st, l)
    if r == 0:
        l.conn.flags |= CONN_WRITABLE
        return 1
    link_deadline(l, e.now_ms, stream_connect_ms(st))
    return 0


cdef int server_assign(stream_t *st, bint fresh) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_server_t *s
    cdef uint32_t oid, hash = 0
    cdef bint keyed = False
    st.phase = PHASE_ASSIGN
    if st.assigned_ms == 0:
        st.assigned_ms = e.now_ms
    if st.backend.key.source != KEY_NONE:
        keyed = hashkey_find(st.plan.plan, &st.backend.key, st.request, st.family, st.address, &hash)
    oid = balance_pick(balance_of(st), st.failed_oid, keyed, hash, e.rows)
    if oid == 0:
        return SERVER_NONE
    s = plan_server_by_oid(st.plan.plan, oid)
    if s == NULL:                             # a balance and the plans that name it have the same members: never
        LB_ASSERT(False)
        return SERVER_NONE
    st.flags |= STREAM_PICKED
    if st.failed_oid != 0 and oid != st.failed_oid:
        st.flags |= STREAM_REDISPATCHED
        e.rows[st.backend.oid].redispatches += 1
        e.rows[st.failed_oid].redispatches += 1
    st.server_at = s
    return server_connect(st, fresh)


# Connect to st.server_at.
# An idle link of this server, or NULL. A request that cannot be sent again must not meet a server that has just closed:
# for it the link is asked once more, because the event of the close may still lie in this batch.
cdef link_t *idle_link(stream_t *st, const plan_server_t *s) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef link_t *l = e.idle[s.oid].head
    if st.flags & STREAM_REPLAY:
        return l
    while l != NULL and l.stream == NULL and l.state == NULL:
        l.conn.flags |= CONN_READABLE
        if link_quiet(l):
            return l
        link_close(l)
        l = e.idle[s.oid].head
    return l


cdef int server_connect(stream_t *st, bint fresh) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_server_t *s = st.server_at
    cdef link_t *l
    cdef int r
    e.rows[s.oid].chosen += 1
    e.rows[st.backend.oid].chosen += 1
    if <uint64_t> e.rows[s.oid].cur > e.rows[s.oid].cur_max:
        e.rows[s.oid].cur_max = <uint64_t> e.rows[s.oid].cur
    e.rows[s.oid].last_ms = e.now_ms
    if st.flags & STREAM_HTTP and not fresh and not (st.flags & STREAM_RESENT) and st.plan == e.current:
        l = idle_link(st, s)
        if l != NULL:
            join(st, l)
            attach(st, l)
            st.flags |= STREAM_REUSED
            e.rows[s.oid].reuses += 1
            e.rows[st.backend.oid].reuses += 1
            st.connected_ms = e.now_ms
            st.connect_ms = 0
            return SERVER_READY
    st.flags &= <uint16_t> ~STREAM_REUSED
    st.phase = PHASE_CONNECT
    e.rows[s.oid].connects += 1
    e.rows[st.backend.oid].connects += 1
    r = open_link(st, s)
    if r == 0:
        return SERVER_WAIT
    if r > 0 and connected(st) == 0:
        return SERVER_READY
    return server_failed(st)


cdef int connected(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef link_t *l = st.server.link
    if l.codec != NULL and l.codec.open(l) != 0:
        return -1
    st.server.link.conn.flags &= ~<uint32_t> CONN_CONNECTING
    st.connected_ms = e.now_ms
    st.connect_ms = <long> (e.now_ms - st.assigned_ms)
    e.rows[st.server_at.oid].conn_total += 1
    observation_good(e.mapping, st.server_at.oid)
    if l.codec != NULL:
        attach(st, l)
    return 0


cdef int server_failed(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef uint32_t oid = st.server_at.oid
    cdef uint64_t pause
    e.rows[oid].err_conn += 1
    e.rows[st.backend.oid].err_conn += 1
    if st.server.link != NULL:
        # It was refused, lost or late. What failed at once has been judged where it failed.
        observation_bad(e.mapping, oid)
        link_close(st.server.link)
        st.server.link = NULL
        st.server.codec = NULL
    uncount(st)
    if st.retries >= stream_retries(st) or balance_usable(balance_of(st)) == 0:
        return SERVER_NONE
    st.retries += 1
    e.rows[oid].retries += 1
    e.rows[st.backend.oid].retries += 1
    st.failed_oid = oid
    if balance_has_other(balance_of(st), oid):
        return server_assign(st, False)
    # Nobody else to ask: leave the server a moment (HAProxy's turnaround).
    pause = stream_connect_ms(st)
    if pause == 0 or pause > TURNAROUND_MS:
        pause = TURNAROUND_MS
    st.flags |= STREAM_DEFERRED
    side_deadline(&st.client, e.now_ms, pause)
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
    return 1 if connected(st) == 0 else -1


cdef void server_left(stream_t *st) noexcept nogil:
    uncount(st)


# No stream may begin on this link any more. With streams on it, it ends with the last.
cdef void let_go(link_t *l) noexcept nogil:
    if l.streams == 0:
        link_close(l)
        return
    l.flags |= LINK_CLOSE
    if l.flags & LINK_IDLE:
        link_unlist(l)


cdef void server_keep(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef idle_t *idle
    cdef const plan_server_t *s
    if e.draining or e.current == NULL:
        let_go(l)
        return
    if l.generation != e.current.generation:
        s = plan_server_by_oid(e.current.plan, l.server_oid)
        if s == NULL or address_hash(s) != l.address_hash:
            let_go(l)
            return
        l.generation = e.current.generation
    idle = &e.idle[l.server_oid]
    l.flags |= LINK_IDLE | LINK_REUSED
    l.prev = NULL
    l.next = idle.head
    if idle.head != NULL:
        idle.head.prev = l
    else:
        idle.tail = l
    idle.head = l
    idle.count += 1
    e.idle_links += 1
    e.rows[l.server_oid].idle += 1
    if l.streams == 0:
        link_deadline(l, e.now_ms, IDLE_SERVER_MS)


cdef void server_purge(engine_t *e, bint all_) noexcept nogil:
    cdef uint32_t oid
    cdef const plan_server_t *s
    cdef link_t *l
    cdef link_t *following
    if e.idle_links == 0:
        return
    for oid in range(1, <uint32_t> e.mapping.objects + 1):
        l = e.idle[oid].head
        while l != NULL:
            following = l.next
            s = NULL if all_ else plan_server_by_oid(e.current.plan, oid)
            if s == NULL or address_hash(s) != l.address_hash:
                let_go(l)
            else:
                l.generation = e.current.generation
            l = following
