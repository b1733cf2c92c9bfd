from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove
from lb._speedups.base.mapping cimport MAPPING_WORKERS, WORKER_RUNNING, gauge_enter, mapping_worker, rate_count, worker_t
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.base.timers cimport lb_timer_t, timer_init, timer_unlink
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_CLOSED, CONN_HUP, CONN_RDHUP, CONN_READABLE, CONN_TWISTED, CONN_WRITABLE, conn_open, conn_recv,
    conn_run, conn_t,
)
from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, SOCK_CLOEXEC, SOCK_NONBLOCK,
    accept4, close, errno, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)
from lb._speedups.policy.plan cimport (
    LINK_MUX, LINK_PARK, LINK_TWISTED, LISTENER_KEEP_TLVS, LISTENER_OTHERS, MODE_TCP, MODE_UDP, plan_frontend,
    plan_frontend_t, plan_listener, plan_listener_t,
)
from lb._speedups.policy.netset cimport netset_has
from lb._speedups.proto.h1 cimport h1_read_request
from lb._speedups.proto.message cimport MESSAGE_HEAD_MAX, MESSAGE_REQUEST, message_reset, message_t
from lb._speedups.relay.admit cimport ADMIT_NO, ADMIT_PROXY, admit_connection, admit_session
from lb._speedups.relay.h1link cimport h1link_begin, h1link_frame, h1link_refuse, h1link_request
from lb._speedups.relay.idle cimport idle_spare
from lb._speedups.relay.link cimport leave, link_close, link_deadline, link_take, link_window_drop
from lb._speedups.proto.proxy cimport PROXY_CUT, PROXY_LATE, PROXY_UNLISTED
from lb._speedups.relay.proxied cimport PROXIED_GONE, PROXIED_WAIT, proxied_read, proxied_refuse
from lb._speedups.relay.relay cimport (
    LINGER_BYTES, LINK_KEEP_TLVS, LINK_PROXY, LINK_BUFFERED, LINK_CLIENT, LINK_LINGER, LINK_PARKS, LINK_REUSED, LINK_TCP, SIDE_LEFT,
    SIDE_LOST, engine_t, link_t, listen_t, plan_ref_t, stream_t,
)
from lb._speedups.relay.tcp cimport tcp_begin

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint x)
    const bint LB_DEBUG
    bint UNLIKELY(bint x)
    uint32_t lb_load_u32(const uint32_t *p) noexcept
    uint64_t lb_load_u64(const uint64_t *p) noexcept
    uint64_t lb_load_relaxed_u64(const uint64_t *p) noexcept

cdef enum:
    ACCEPT_LIMIT = -1
    ACCEPT_DESCRIPTORS = -2
    AHEAD = 8                    # connections that a worker may be ahead of the others, and 1/32 of theirs
    PROXY_USUAL = 4096           # bytes of a PROXY header that a rule expects where `accept_proxy` says nothing, as its default
    PROXY_USUAL_MS = 3000        # and the time for it
    SILENT_MS = 2500             # a worker whose heart is older is not waited for; an idle one beats each second


cdef plan_listener_t *listener_of(engine_t *e, uint32_t oid) noexcept nogil:
    cdef uint32_t i
    for i in range(e.current.plan.nlisteners):
        if plan_listener(e.current.plan, i).oid == oid:
            return plan_listener(e.current.plan, i)
    return NULL


cdef int accept_fd(engine_t *e, listen_t *at, sockaddr_storage *address) noexcept nogil:
    cdef socklen_t size
    cdef int fd
    while True:
        size = sizeof(sockaddr_storage)
        fd = accept4(at.fd, <sockaddr *> address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0 or (errno != EINTR and errno != ECONNABORTED):
            return fd


cdef int stash(listen_t *at, int fd, sockaddr_storage *address) noexcept nogil:
    at.stash = fd
    at.stash_address = address[0]
    return ACCEPT_LIMIT


# A socket that all workers share wakes all of them, and whoever is first takes what waits: of 4,000 connections in bursts
# one of four workers got 3,896. So nobody runs ahead of the one with the fewest.
cdef int session_share(engine_t *e) noexcept nogil:
    cdef const worker_t *other
    cdef uint64_t fewest = <uint64_t> -1
    cdef uint64_t held, most
    cdef uint32_t slot
    for slot in range(1, MAPPING_WORKERS + 1):
        other = mapping_worker(e.mapping, slot)
        if slot == e.slot or lb_load_u32(&other.state) != WORKER_RUNNING \
                or lb_load_u64(&other.beat_ms) + SILENT_MS < e.now_ms:
            continue
        held = lb_load_relaxed_u64(&other.connections)
        if held < fewest:
            fewest = held
    if fewest == <uint64_t> -1:
        return ACCEPTS                        # alone
    most = fewest + AHEAD + fewest // 32
    if e.worker.connections >= most:
        return 0
    most -= e.worker.connections
    return <int> most if most < ACCEPTS else ACCEPTS


cdef int session_accept(engine_t *e, listen_t *at, int most) noexcept nogil:
    cdef sockaddr_storage address
    cdef plan_listener_t *listener
    cdef plan_frontend_t *frontend
    cdef int fd, n
    if e.current == NULL:
        return 0
    listener = listener_of(e, at.oid)
    if listener == NULL:
        return 0                              # of a generation that has ended; its socket is about to go
    frontend = plan_frontend(e.current.plan, listener.frontend)
    for n in range(most):
        if at.stash >= 0:
            fd = at.stash
            address = at.stash_address
            at.stash = -1
        else:
            fd = accept_fd(e, at, &address)
            if fd < 0:
                if errno == EMFILE and idle_spare(e):
                    continue
                if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                    return ACCEPT_DESCRIPTORS
                return n
        if gauge_enter(e.mapping, e.slot, e.process_oid) != 0:
            return stash(at, fd, &address)
        if gauge_enter(e.mapping, e.slot, frontend.oid) != 0:
            leave(e, e.process_oid)
            return stash(at, fd, &address)
        if session_new(e, fd, &address, listener, frontend) != 0:
            leave(e, frontend.oid)
            leave(e, e.process_oid)
            return ACCEPT_DESCRIPTORS
    return most


cdef void keep_address(link_t *l, sockaddr_storage *address) noexcept nogil:
    cdef sockaddr_in *v4 = <sockaddr_in *> address
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *> address
    l.family = address.ss_family
    if l.family == AF_INET:
        l.port = ntohs(v4.sin_port)
        memcpy(l.address, &v4.sin_addr, 4)
    elif l.family == AF_INET6:
        l.port = ntohs(v6.sin6_port)
        if v6.sin6_addr.s6_addr[0] == 0 and v6.sin6_addr.s6_addr[10] == 0xff and v6.sin6_addr.s6_addr[11] == 0xff:
            l.family = AF_INET                # a v4 client on a v6 socket
            memcpy(l.address, &v6.sin6_addr.s6_addr[12], 4)
        else:
            memcpy(l.address, v6.sin6_addr.s6_addr, 16)


cdef int session_new(engine_t *e, int fd, sockaddr_storage *address, plan_listener_t *listener,
                     plan_frontend_t *frontend) noexcept nogil:
    cdef link_t *l = link_take(e, LINK_CLIENT)
    cdef int admitted
    if l == NULL:
        close(fd)
        return -1
    if conn_open(&e.loop, &l.conn, fd, CONN_WRITABLE | (CONN_TWISTED if listener.flags & LINK_TWISTED else 0),
                 client_wake) != 0:
        pool_give(&e.link_pool, l)
        return -1
    timer_init(&l.timer, client_timer, l)
    if frontend.mode != MODE_TCP:
        l.codec = &e.mux if LB_DEBUG and listener.flags & LINK_MUX else &e.h1
    keep_address(l, address)
    l.frontend = frontend
    l.frontend_oid = frontend.oid
    l.listener_oid = listener.oid
    l.generation = e.current.generation
    l.accept_ms = l.began_ms = l.heard_ms = l.active_ms = e.now_ms
    l.next = e.clients
    if e.clients != NULL:
        e.clients.prev = l
    e.clients = l
    e.connections += 1
    e.worker.connections += 1
    e.rows[frontend.oid].conn_total += 1
    if UNLIKELY(e.counts_rates):
        rate_count(&e.rows[frontend.oid].sess_rate, e.now_ms)
    e.rows[listener.oid].conn_total += 1
    e.rows[listener.oid].cur += 1
    if <uint64_t> e.rows[listener.oid].cur > e.rows[listener.oid].cur_max:
        e.rows[listener.oid].cur_max = <uint64_t> e.rows[listener.oid].cur
    if LB_DEBUG and listener.flags & LINK_PARK:
        l.flags |= LINK_PARKS
    if frontend.mode == MODE_TCP:
        l.flags |= LINK_TCP
    if UNLIKELY(frontend.phases.connection != 0):
        admitted = admit_connection(l)
        if admitted == ADMIT_NO:
            return 0
        if admitted == ADMIT_PROXY:
            expect_header(l, listener)
            return 0
    if listener.proxy_max == 0 or not await_header(l, listener):
        begin(l)
    return 0


# The client's own bytes are next. 0, or -1: the session is over, or (mode tcp) may be.
cdef int begin(link_t *l) noexcept nogil:
    if UNLIKELY(l.frontend.phases.session != 0 or l.tracked != NULL) and not admit_session(l):
        return -1
    if l.flags & LINK_TCP:
        tcp_begin(l)
        return -1
    if l.codec.open(l) != 0:
        link_close(l)
        return -1
    link_deadline(l, l.began_ms, l.frontend.http_request_ms if l.frontend.http_request_ms else l.frontend.client_ms)
    return 0


# --- PROXY headers: relay/proxied.pxd ---


# Whether this connection has to begin with a PROXY header, or is not let in (it is gone then).
cdef bint await_header(link_t *l, const plan_listener_t *listener) noexcept nogil:
    if not netset_has(l.engine.current.plan, &listener.proxies, l.family, l.address):
        if listener.proxy_flags & LISTENER_OTHERS:
            return False
        proxied_refuse(l, PROXY_UNLISTED, c'P')
        return True
    expect_header(l, listener)
    return True


cdef void expect_header(link_t *l, const plan_listener_t *listener) noexcept nogil:
    l.flags |= LINK_PROXY
    if listener.proxy_flags & LISTENER_KEEP_TLVS:
        l.flags |= LINK_KEEP_TLVS
    l.left = listener.proxy_max if listener.proxy_max else PROXY_USUAL
    l.conn.wake = header_wake
    timer_init(&l.timer, header_timer, l)
    link_deadline(l, l.engine.now_ms, listener.proxy_ms if listener.proxy_ms else PROXY_USUAL_MS)


cdef void header_wake(conn_t *c) noexcept nogil:
    cdef link_t *l = <link_t *> c
    cdef engine_t *e = l.engine
    cdef int r
    if l.generation != e.current.generation and session_rebind(l) != 0:
        link_close(l)
        return
    r = proxied_read(l)
    if r == PROXIED_WAIT:
        return
    if r == PROXIED_GONE:
        link_close(l)
        return
    if r < 0:
        proxied_refuse(l, <uint8_t> -r, c'C' if r == -PROXY_CUT else c'P')
        return
    l.flags &= <uint16_t> ~LINK_PROXY
    l.left = 0
    c.wake = client_wake
    timer_unlink(&e.timers, &l.timer)
    timer_init(&l.timer, client_timer, l)
    l.began_ms = l.active_ms = e.now_ms       # as if it had been accepted now
    if begin(l) != 0:
        return
    if e.draining:                            # it has begun meanwhile
        l.codec.drain(l)
    else:
        conn_run(c)                           # what follows the header is here already, perhaps


cdef void header_timer(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef link_t *l = <link_t *> owner
    if l.generation != l.engine.current.generation and session_rebind(l) != 0:
        link_close(l)
    else:
        proxied_refuse(l, PROXY_LATE, c'c')


# --- generations ---


cdef int session_rebind(link_t *l) noexcept nogil:
    cdef plan_ref_t *p = l.engine.current
    cdef uint32_t i = p.frontends[l.frontend_oid] if l.frontend_oid < p.noids else 0
    if i == 0 or plan_frontend(p.plan, i - 1).mode == MODE_UDP:
        return -1
    if (plan_frontend(p.plan, i - 1).mode == MODE_TCP) != ((l.flags & LINK_TCP) != 0):
        return -1
    l.frontend = plan_frontend(p.plan, i - 1)
    l.generation = p.generation
    return 0


cdef void client_wake(conn_t *c) noexcept nogil:
    cdef link_t *l = <link_t *> c
    cdef stream_t *st = l.stream
    if st != NULL:
        if c.flags & (CONN_RDHUP | CONN_HUP):
            st.client.flags |= SIDE_LEFT | SIDE_LOST if c.flags & CONN_HUP else SIDE_LEFT
        st.wake(st, &st.client)
    elif l.flags & LINK_LINGER:
        linger(l)
    else:
        read_head(l)


cdef void client_timer(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef link_t *l = <link_t *> owner
    if l.stream != NULL:
        l.stream.timeout(l.stream, &l.stream.client)
    elif l.in_ != NULL and not (l.flags & LINK_LINGER):
        # A head that began and did not come whole. (A connection that never sent a byte is closed without a word.)
        h1link_refuse(l, l.in_, 408, b"the request head did not arrive in time", c'c', c'R')
    else:
        link_close(l)


# Drop what a client goes on sending after it was told that nobody reads, so that our answer is not lost to a reset.
cdef void linger(link_t *l) noexcept nogil:
    cdef ssize_t n
    cdef char *drop = <char *> pool_take(&l.engine.buffer_pool)
    if drop == NULL:
        link_close(l)
        return
    while True:
        n = conn_recv(&l.conn, drop, 16384)
        if n <= 0:
            break
        l.linger += <uint64_t> n
        if l.linger > LINGER_BYTES:
            break
    pool_give(&l.engine.buffer_pool, drop)
    if n != CONN_AGAIN:
        link_close(l)


# Bytes of the head: from what is left in the window, else from the connection.
cdef ssize_t fill(link_t *l, message_t *m) noexcept nogil:
    cdef ssize_t n
    cdef size_t room = MESSAGE_HEAD_MAX - m.fill
    if l.at < l.end:
        n = l.end - l.at
        if <size_t> n > room:
            n = <ssize_t> room
        memcpy(m.block + m.fill, l.window + l.at, <size_t> n)
        l.at += <uint16_t> n
        if l.at == l.end:
            link_window_drop(l)
    else:
        if not (l.conn.flags & CONN_READABLE):
            return CONN_AGAIN
        n = conn_recv(&l.conn, m.block + m.fill, room)
        if n > 0:
            l.active_ms = l.engine.now_ms
    if n > 0:
        if m.fill == 0:
            l.heard_ms = l.engine.now_ms
        m.fill += <uint16_t> n
    return n


cdef void read_head(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef message_t *m = l.in_
    cdef ssize_t n = 0
    cdef int r
    if l.generation != e.current.generation and session_rebind(l) != 0:
        link_close(l)
        return
    if m == NULL:
        if not (l.conn.flags & (CONN_READABLE | CONN_HUP)) and l.at == l.end:
            return
        m = <message_t *> pool_take(&e.message_pool)
        if m == NULL:
            link_close(l)
            return
        message_reset(m, MESSAGE_REQUEST)
        l.in_ = m
        if l.flags & LINK_REUSED:
            l.began_ms = e.now_ms
    if l.flags & LINK_BUFFERED:
        l.flags &= <uint16_t> ~LINK_BUFFERED
        n = m.fill
    while True:
        if n == 0:
            n = fill(l, m)
            if n == CONN_AGAIN:
                break
            if n <= 0:
                if m.fill != 0 and n == CONN_CLOSED:
                    h1link_refuse(l, m, 400, b"the connection ended within the request head", c'C', c'R')
                else:
                    link_close(l)
                return
        n = 0
        r = h1_read_request(m)
        if r > 0:
            l.in_ = NULL
            if l.at < l.end:                  # the rest of a long window: behind this head, so part of it is ours
                keep_rest(l, m)
            else:
                h1link_begin(l, m)
            h1link_request(l, m)
            return
        if r < 0:
            h1link_refuse(l, m, -r, session_refusal(-r), c'P', c'R')
            return
    if m.fill == 0:
        pool_give(&e.message_pool, m)
        l.in_ = NULL
        return
    # The whole head has this long, however it dribbles.
    link_deadline(l, l.began_ms, l.frontend.http_request_ms if l.frontend.http_request_ms else l.frontend.client_ms)


# Bytes behind the head stand in the message and, more of them, in the window's buffer: put them together in the
# buffer, where all of them came from. Not in the message: behind MESSAGE_HEAD_MAX edits would overwrite them.
cdef void keep_rest(link_t *l, message_t *m) noexcept nogil:
    cdef uint16_t behind = m.fill - m.head_len
    cdef uint16_t more = l.end - l.at
    memmove(l.window + behind, l.window + l.at, more)
    memcpy(l.window, m.block + m.head_len, behind)
    l.at = 0
    l.end = behind + more
    m.fill = m.head_len
    h1link_frame(l, m)


cdef const char *session_refusal(int status) noexcept nogil:
    if status == 405:
        return b"the method is not served here"
    if status == 414:
        return b"the request target is longer than 8192 bytes"
    if status == 417:
        return b"only 100-continue can be expected"
    if status == 431:
        return b"the request head is larger than 15360 bytes or has more than 101 fields"
    if status == 501:
        return b"the transfer coding is not known"
    if status == 505:
        return b"only HTTP/1.0 and HTTP/1.1 are spoken"
    return b"the request is not valid HTTP"


cdef void session_rebind_all(engine_t *e) noexcept nogil:
    cdef link_t *l = e.clients
    cdef link_t *following
    while l != NULL:
        following = l.next
        if l.stream == NULL and l.streams == 0 and not (l.flags & LINK_LINGER) and session_rebind(l) != 0:
            link_close(l)
        l = following


cdef void session_drain(engine_t *e) noexcept nogil:
    cdef link_t *l = e.clients
    cdef link_t *following
    while l != NULL:
        following = l.next
        # One that waits for its PROXY header, a few seconds at most, has no codec open yet.
        if l.codec != NULL and not (l.flags & LINK_PROXY):
            l.codec.drain(l)
        l = following
