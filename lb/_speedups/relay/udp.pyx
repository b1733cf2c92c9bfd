from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from lb._speedups.base.clock cimport clock_real_us
from lb._speedups.base.keyed cimport (
    KEYED_WORDS, keyed_add, keyed_age_add, keyed_age_remove, keyed_age_touch, keyed_find, keyed_free, keyed_hash, keyed_init,
    keyed_node_t, keyed_remove,
)
from lb._speedups.base.mapping cimport MAPPING_OBJECTS, counters_t, gauge_enter, mapping_object, object_t
from lb._speedups.base.observation cimport observation_bad, observation_good
from lb._speedups.base.pool cimport pool_drain, pool_give, pool_init, pool_take
from lb._speedups.base.timers cimport lb_timer_t, timer_init, timer_set, timer_unlink
from lb._speedups.io.conn cimport CONN_HUP, CONN_INPUT, conn_close, conn_open, conn_run, conn_t
from lb._speedups.io.sys cimport (
    EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EMFILE, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, EPOLL_CTL_DEL,
    MSG_TRUNC, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, close, connect, epoll_ctl, errno, getrandom, msghdr, sockaddr,
    sockaddr_storage, socket,
)
from lb._speedups.io.udp cimport (
    UDP_BATCH, udp_address_t, udp_address_to, udp_batch_free, udp_batch_init, udp_prepare, udp_receive, udp_send,
    udp_sender, udp_slot,
)
from lb._speedups.policy.balance cimport balance_leave, balance_pick, balance_t
from lb._speedups.policy.hashkey cimport hashkey_find
from lb._speedups.policy.logline cimport log_view_t, slice_t
from lb._speedups.policy.plan cimport (
    BACKEND_UDP_PROXY, BACKEND_UDP_PROXY_FIRST, FRONTEND_LOG, KEY_NONE, LOGS_NO_NORMAL, MODE_UDP, plan_backend, plan_backend_t,
    plan_frontend, plan_frontend_t, plan_listener, plan_server, plan_server_by_oid, plan_server_t, plan_t,
    plan_route, plan_text, text_t,
)
from lb._speedups.proto.proxy cimport proxy_say_t, proxy_write
from lb._speedups.relay.link cimport leave
from lb._speedups.relay.relay cimport engine_t, plan_ref_t
from lb._speedups.relay.stream cimport plan_release, stream_end_of, stream_lines

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG

cdef enum:
    KEEP_SESSIONS = 1024         # free objects the pool keeps
    EMPTY_ROUNDS = 256           # batches: more than a queue holds, so that a flood cannot keep a listener alive
    PICKS = 3                    # servers asked for, while each has just refused
    ATTACH_ROOM = -2             # no descriptor or memory: ending another session may help
    ATTACH_NONE = -1             # no server


# --- birth and end of the whole ---


cdef udp_t *made(engine_t *e) noexcept nogil:
    cdef udp_t *u
    cdef uint64_t secret[2]
    if e.udp != NULL:
        return udp_of(e)
    u = <udp_t *> calloc(1, sizeof(udp_t))
    if u == NULL:
        return NULL
    e.udp = u
    pool_init(&u.session_pool, b"udp session", sizeof(udp_session_t), KEEP_SESSIONS)
    pool_init(&u.oneway_pool, b"udp oneway", sizeof(udp_oneway_t), 0)
    u.oneways = <udp_oneway_t **> calloc(MAPPING_OBJECTS, sizeof(void *))
    u.failed_until_ms = <uint64_t *> calloc(MAPPING_OBJECTS, sizeof(uint64_t))
    if (getrandom(secret, sizeof(secret), 0) != sizeof(secret) or u.oneways == NULL or u.failed_until_ms == NULL
            or keyed_init(&u.table, secret[0], secret[1]) != 0
            or udp_batch_init(&u.in_) != 0 or udp_batch_init(&u.out) != 0):
        udp_free(e)
        return NULL
    return u


cdef void udp_free(engine_t *e) noexcept nogil:
    cdef udp_t *u = udp_of(e)
    udp_batch_free(&u.in_)
    udp_batch_free(&u.out)
    keyed_free(&u.table)
    free(u.oneways)
    free(u.failed_until_ms)
    free(u)
    e.udp = NULL


cdef void udp_stop(engine_t *e) noexcept nogil:
    cdef udp_t *u = udp_of(e)
    cdef udp_front_t *f = u.fronts
    cdef udp_front_t *following
    udp_flush(e)
    while f != NULL:
        following = f.next
        f.users += 1                          # it stays until its sessions have gone
        while f.sessions.oldest != NULL:
            finish(<udp_session_t *> f.sessions.oldest.owner, c'K', c'D')
        front_leave(u, f)
        f = following
    while u.listeners != NULL:
        listener_end(u.listeners)
    while u.oneway_list != NULL:
        oneway_end(u, u.oneway_list)
    pool_drain(&u.session_pool)
    pool_drain(&u.oneway_pool)


# --- frontends and listeners ---


cdef udp_front_t *front_join(udp_t *u, uint32_t oid) noexcept nogil:
    cdef udp_front_t *f = u.fronts
    while f != NULL and f.oid != oid:
        f = f.next
    if f == NULL:
        f = <udp_front_t *> calloc(1, sizeof(udp_front_t))
        if f == NULL:
            return NULL
        f.oid = oid
        f.next = u.fronts
        u.fronts = f
    f.users += 1
    return f


cdef void front_leave(udp_t *u, udp_front_t *f) noexcept nogil:
    cdef udp_front_t **at = &u.fronts
    f.users -= 1
    if f.users != 0:
        return
    while at[0] != f:
        at = &at[0].next
    at[0] = f.next
    free(f)


cdef udp_listener_t *udp_listen(engine_t *e, uint32_t oid, int fd) noexcept nogil:
    cdef udp_t *u = made(e)
    cdef udp_listener_t *ul = <udp_listener_t *> calloc(1, sizeof(udp_listener_t))
    if u == NULL or ul == NULL or udp_prepare(fd, &ul.family, &ul.local, &ul.is_any) != 0:
        close(fd)
        free(ul)
        return NULL
    if conn_open(&e.loop, &ul.conn, fd, CONN_INPUT, listener_wake) != 0:
        free(ul)
        return NULL
    ul.engine = e
    ul.oid = oid
    u.numbers += 1
    ul.number = u.numbers
    ul.next = u.listeners
    u.listeners = ul
    return ul


# Forget its descriptor. The supervisor and other workers may hold the same socket, so that closing our copy does not take
# it out of the set.
cdef void listener_end(udp_listener_t *ul) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef udp_listener_t **at = &u.listeners
    if u.out_listener == ul:
        udp_flush(e)
        u.out_listener = NULL
    while at[0] != ul:
        at = &at[0].next
    at[0] = ul.next
    if e.loop.alone:
        epoll_ctl(e.loop.epoll, EPOLL_CTL_DEL, ul.conn.fd, NULL)
    conn_close(&ul.conn)
    if ul.front != NULL:
        front_leave(u, ul.front)
    free(ul)


cdef void udp_unlisten(udp_listener_t *ul, bint stays) noexcept nogil:
    cdef udp_session_t *s
    cdef keyed_node_t *n
    ul.closing = True
    ul.deaf = not stays
    if ul.deaf and ul.front != NULL:
        n = ul.front.sessions.oldest
        while n != NULL:
            s = <udp_session_t *> n.owner
            n = n.newer
            if s.listener == ul:
                retire(s)
    if ul.sessions == 0:
        listener_end(ul)


# Find its frontend in the present generation; False: that has none.
cdef bint look_up(udp_listener_t *ul) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef plan_ref_t *p = e.current
    cdef const plan_frontend_t *f
    cdef uint32_t i
    if p == NULL:
        return False
    if ul.generation == p.generation:
        return ul.frontend != NULL
    ul.generation = p.generation
    ul.frontend = NULL
    for i in range(p.plan.nlisteners):
        if plan_listener(p.plan, i).oid != ul.oid:
            continue
        f = plan_frontend(p.plan, plan_listener(p.plan, i).frontend)
        if f.mode != MODE_UDP:
            break
        if ul.front == NULL:                  # a listener's id has its frontend's in it: it is always the same
            ul.front = front_join(udp_of(e), f.oid)
            if ul.front == NULL:
                break
        ul.frontend = f
        ul.backend = plan_backend(p.plan, plan_route(p.plan, <uint32_t> f.default_route).target)
        break
    return ul.frontend != NULL


cdef inline bint is_oneway(const plan_backend_t *b) noexcept nogil:
    return b.udp_responses == 0 and b.udp_requests == 0


# --- sessions ---


# Answers that a server has still to give; valid where their number is known.
cdef inline uint64_t due(const udp_session_t *s) noexcept nogil:
    return <uint64_t> s.backend.udp_responses * s.requests - s.answers


cdef inline bint owes(const udp_session_t *s) noexcept nogil:
    return s.backend.udp_responses > 0 and s.answers < <uint64_t> s.backend.udp_responses * s.requests


cdef inline bint is_complete(const udp_session_t *s) noexcept nogil:
    if s.backend.udp_responses < 0 or s.requests < s.backend.udp_requests:
        return False
    return s.answers >= <uint64_t> s.backend.udp_responses * s.requests


cdef void set_deadline(udp_session_t *s) noexcept nogil:
    cdef uint64_t at
    if owes(s):
        at = s.asked_ms + s.backend.server_ms
    elif s.flags & UDP_RETIRED:
        at = s.active_ms + UDP_LINGER_MS
    elif s.flags & UDP_KEYED:
        at = s.active_ms + s.frontend.client_ms
    else:
        at = s.active_ms + s.backend.server_ms
    timer_set(&s.engine.timers, &s.timer, at)


cdef inline void unkey(udp_session_t *s) noexcept nogil:
    if s.flags & UDP_KEYED:
        s.flags &= ~<uint32_t> UDP_KEYED
        keyed_remove(&udp_of(s.engine).table, &s.node)


cdef void retire(udp_session_t *s) noexcept nogil:
    if not s.flags & UDP_RETIRED:
        unkey(s)
        s.flags |= UDP_RETIRED
        s.active_ms = s.engine.now_ms
        set_deadline(s)


cdef inline balance_t *balance_of(engine_t *e, const plan_backend_t *b) noexcept nogil:
    return <balance_t *> (<char *> e.mapping + b.balance_at)


# Choose a server that has not just refused, if there is one. `rows` as for balance_pick.
cdef const plan_server_t *pick(engine_t *e, const plan_ref_t *p, const plan_backend_t *b, uint32_t avoid,
                               const udp_address_t *client, counters_t *rows) noexcept nogil:
    cdef const plan_server_t *s = NULL
    cdef uint32_t hash = 0, oid
    cdef bint keyed = False
    cdef int i
    if b.key.source != KEY_NONE:
        keyed = hashkey_find(p.plan, &b.key, NULL, client.family, client.address, &hash)
    for i in range(PICKS):
        oid = balance_pick(balance_of(e, b), avoid, keyed, hash, rows)
        if oid == 0:
            return NULL
        s = plan_server_by_oid(p.plan, oid)
        if s == NULL or oid == avoid or udp_of(e).failed_until_ms[oid] <= e.now_ms or i == PICKS - 1:
            break
        avoid = oid
        if rows != NULL:
            balance_leave(balance_of(e, b), <uint32_t> (s - plan_server(p.plan, b.servers_at)), rows)
    if s == NULL:
        return NULL
    e.rows[oid].chosen += 1
    e.rows[b.oid].chosen += 1
    return s


cdef inline int error_kind() noexcept nogil:
    return ATTACH_ROOM if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM else ATTACH_NONE


# A socket that is connected to this server; ATTACH_*.
cdef int connected_to(engine_t *e, const plan_server_t *server, uint32_t backend_oid, conn_t *c,
                      void (*wake)(conn_t *) noexcept nogil) noexcept nogil:
    cdef counters_t *row = &e.rows[server.oid]
    cdef int fd = socket(server.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return error_kind()
    row.connects += 1
    e.rows[backend_oid].connects += 1
    if connect(fd, <const sockaddr *> server.address, server.address_len) != 0:
        close(fd)
        row.err_conn += 1
        e.rows[backend_oid].err_conn += 1
        observation_bad(e.mapping, server.oid)
        udp_of(e).failed_until_ms[server.oid] = e.now_ms + UDP_AVOID_MS
        return ATTACH_NONE
    if conn_open(&e.loop, c, fd, CONN_INPUT, wake) != 0:
        return ATTACH_ROOM
    row.conn_total += 1
    row.last_ms = e.now_ms
    return 0


cdef int attach(udp_session_t *s) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef counters_t *row
    cdef int r
    s.server = pick(e, s.plan, s.backend, s.failed_oid, &s.client, e.rows)
    if s.server == NULL:
        return ATTACH_NONE
    s.flags |= UDP_PICKED
    r = connected_to(e, s.server, s.backend.oid, &s.conn, server_wake)
    if r != 0:
        if r == ATTACH_NONE:
            s.failed_oid = s.server.oid
        detach(s)
        return r
    row = &e.rows[s.server.oid]
    if <uint64_t> row.cur > row.cur_max:
        row.cur_max = <uint64_t> row.cur
    if s.failed_oid != 0:
        s.retries += 1
        row.retries += 1
        e.rows[s.backend.oid].retries += 1
        if s.failed_oid != s.server.oid:
            row.redispatches += 1
            e.rows[s.backend.oid].redispatches += 1
    s.end_cause = 0
    return 0


cdef void detach(udp_session_t *s) noexcept nogil:
    conn_close(&s.conn)
    if s.flags & UDP_PICKED:
        s.flags &= ~<uint32_t> UDP_PICKED
        # Members of a balance stand in the order of the backend's servers.
        balance_leave(
            balance_of(s.engine, s.backend), <uint32_t> (s.server - plan_server(s.plan.plan, s.backend.servers_at)),
            s.engine.rows
        )
    s.server = NULL


# Its server refuses. What is in hand goes elsewhere; without that, the session is over.
cdef void refused(udp_session_t *s) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef uint32_t oid = s.server.oid
    e.rows[oid].err_conn += 1
    e.rows[s.backend.oid].err_conn += 1
    observation_bad(e.mapping, oid)
    udp_of(e).failed_until_ms[oid] = e.now_ms + UDP_AVOID_MS
    s.failed_oid = oid
    s.end_cause = c'S'
    s.end_phase = c'D' if s.answers else c'C'
    detach(s)


cdef inline bint is_full(engine_t *e, uint32_t oid) noexcept nogil:
    # A glance: it spares marking this worker as one that waits.
    cdef object_t *o = mapping_object(e.mapping, oid)
    return o.limit != 0 and <uint64_t> o.cur >= o.limit


# End the least recently used session of the listener's frontend in this worker. False: there is none.
cdef bint evict(udp_listener_t *ul) noexcept nogil:
    cdef udp_session_t *s
    send_targets(ul)                          # it may be one of these
    if ul.front.sessions.oldest == NULL:
        return False
    s = <udp_session_t *> ul.front.sessions.oldest.owner
    ul.engine.rows[ul.front.oid].sess_evicted += 1
    finish(s, c'R', c'D' if s.answers else c'C')
    return True


# Count one more session, making room for it if need be. 0 or -1.
cdef int enter(udp_listener_t *ul) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef uint32_t oid = ul.front.oid
    if ul.front.sessions.count >= UDP_SESSIONS_MAX or is_full(e, e.process_oid) or is_full(e, oid):
        if not evict(ul):
            return -1
    if gauge_enter(e.mapping, e.slot, e.process_oid) != 0:
        return -1
    if gauge_enter(e.mapping, e.slot, oid) != 0:
        leave(e, e.process_oid)
        return -1
    return 0


cdef udp_session_t *begin(udp_listener_t *ul, uint32_t i, const uint64_t *key, uint64_t hash) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef udp_session_t *s
    cdef counters_t *row
    cdef int r
    if enter(ul) != 0:
        return NULL
    s = <udp_session_t *> pool_take(&u.session_pool)
    if s == NULL:
        leave(e, ul.front.oid)
        leave(e, e.process_oid)
        return NULL
    memset(s, 0, sizeof(udp_session_t))
    s.engine = e
    s.plan = e.current
    s.frontend = ul.frontend
    s.backend = ul.backend
    s.client = u.peers[i]
    s.local = u.locals[i]
    r = attach(s)
    if r == ATTACH_ROOM and evict(ul):
        r = attach(s)
    elif r == ATTACH_NONE and s.failed_oid != 0:    # connecting failed, which names no route to it: another one may have
        r = attach(s)
    if r != 0:
        if r == ATTACH_NONE and s.failed_oid == 0:    # nobody to ask
            e.rows[s.backend.oid].err_conn += 1
        pool_give(&u.session_pool, s)
        leave(e, ul.front.oid)
        leave(e, e.process_oid)
        return NULL
    s.listener = ul
    s.listener_oid = ul.oid
    ul.sessions += 1
    s.front = ul.front
    s.front.users += 1
    s.plan.streams += 1
    s.flags |= UDP_KEYED
    s.answer_ms = -1
    s.start_ms = s.active_ms = e.now_ms
    if e.now_us == 0:
        e.now_us = clock_real_us(&e.clock)
    s.accept_us = e.now_us
    timer_init(&s.timer, session_timer, s)
    s.node.owner = s
    s.node.hash = hash
    memcpy(s.node.key, key, sizeof(s.node.key))
    keyed_add(&u.table, &s.node)
    keyed_age_add(&s.front.sessions, &s.node)
    e.datagram_sessions += 1
    e.worker.connections += 1
    e.rows[s.front.oid].conn_total += 1
    row = &e.rows[ul.oid]
    row.conn_total += 1
    row.cur += 1
    if <uint64_t> row.cur > row.cur_max:
        row.cur_max = <uint64_t> row.cur
    row = &e.rows[s.backend.oid]
    row.cur += 1
    if <uint64_t> row.cur > row.cur_max:
        row.cur_max = <uint64_t> row.cur
    return s


cdef void session_timer(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef udp_session_t *s = <udp_session_t *> owner
    if owes(s):
        finish(s, c's', c'D' if s.answers else c'C')
    else:
        finish(s, 0, 0)


# The session is over: account for it and give it back.
cdef void finish(udp_session_t *s, char cause, char phase) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef udp_t *u = udp_of(e)
    cdef udp_listener_t *ul = s.listener
    cdef const plan_server_t *server = s.server
    if cause != 0:                            # else what refused() said, or nothing
        s.end_cause = cause
        s.end_phase = phase
    timer_unlink(&e.timers, &s.timer)
    unkey(s)
    keyed_age_remove(&s.front.sessions, &s.node)
    detach(s)
    e.rows[s.backend.oid].cur -= 1
    count(s, server)
    if s.frontend.flags & FRONTEND_LOG:
        record(s, server)
    e.rows[s.listener_oid].cur -= 1
    e.worker.connections -= 1
    e.datagram_sessions -= 1
    leave(e, s.front.oid)
    leave(e, e.process_oid)
    front_leave(u, s.front)
    s.plan.streams -= 1
    if s.plan.streams == 0 and s.plan != e.current:
        plan_release(e)
    pool_give(&u.session_pool, s)
    ul.sessions -= 1
    if ul.closing and ul.sessions == 0 and u.reading != ul:
        listener_end(ul)


# --- what is written down ---


cdef void count(udp_session_t *s, const plan_server_t *server) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef counters_t *row
    cdef uint32_t oids[3]
    cdef int i
    oids[0] = s.front.oid
    oids[1] = s.backend.oid
    oids[2] = server.oid if server != NULL else s.failed_oid
    for i in range(3 if oids[2] != 0 else 2):
        row = &e.rows[oids[i]]
        row.sess_total += 1
        row.last_ms = e.now_ms
        if s.answer_ms >= 0:
            row.response_ms += <uint64_t> s.answer_ms
        row.total_ms += e.now_ms - s.start_ms
        row.timed += 1
        if s.end_cause == c'S' or s.end_cause == c's':
            row.server_aborts += 1
        elif s.end_cause == c'R':
            row.internal_errors += 1


cdef inline slice_t text_slice(const plan_t *p, text_t t) noexcept nogil:
    cdef slice_t s
    s.p = plan_text(p, t)
    s.len = t.len
    return s


cdef inline uint32_t shown(int64_t n) noexcept nogil:
    return <uint32_t> n if n > 0 else 0


cdef void record(udp_session_t *s, const plan_server_t *server) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef const plan_t *p = s.plan.plan
    cdef log_view_t v
    cdef bint failed = s.end_cause != 0 or s.retries != 0
    if s.frontend.log_flags & LOGS_NO_NORMAL and not failed:
        return
    memset(&v, 0, sizeof(v))
    v.logged = e.logged[s.front.oid]
    e.logged[s.front.oid] += 1
    v.local.family = s.local.family
    v.local.port = s.local.port
    memcpy(v.local.address, s.local.address, 16)
    if server != NULL:
        stream_end_of(&v.peer, <const sockaddr_storage *> server.address)
    v.mode = MODE_UDP
    v.end_cause = s.end_cause if s.end_cause else c'-'
    v.end_phase = s.end_phase if s.end_cause else c'-'
    v.retries = s.retries
    v.redispatched = s.retries != 0 and server != NULL and server.oid != s.failed_oid
    v.family = s.client.family
    v.port = s.client.port
    memcpy(v.address, s.client.address, 16)
    v.accept_us = s.accept_us
    v.connect_ms = 0 if server != NULL else -1
    v.response_ms = s.answer_ms
    v.active_ms = <int64_t> (e.now_ms - s.start_ms)
    v.bytes_in = s.bytes_in
    v.bytes_out = s.bytes_out
    v.datagrams_in = s.requests
    v.datagrams_out = s.answers
    v.frontend = text_slice(p, s.frontend.name)
    v.backend = text_slice(p, s.backend.name)
    if server != NULL:
        v.server = text_slice(p, server.name)
        v.srvconn = shown(e.rows[server.oid].cur)
    v.beconn = shown(e.rows[s.backend.oid].cur)
    v.actconn = shown(mapping_object(e.mapping, e.process_oid).cur)
    v.feconn = shown(mapping_object(e.mapping, s.front.oid).cur)
    stream_lines(e, s.plan, s.frontend, &v, failed, NULL)


# --- from clients ---


# The session of datagram i; NULL: none and no room for one.
cdef udp_session_t *session_of(udp_listener_t *ul, uint32_t i) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef const udp_address_t *peer = &u.peers[i]
    cdef udp_session_t *s
    cdef keyed_node_t *n
    cdef uint64_t key[KEYED_WORDS]
    cdef uint64_t hash
    key[0] = <uint64_t> peer.family | (<uint64_t> peer.port << 16) | (<uint64_t> ul.number << 32)
    memcpy(key + 1, peer.address, 16)
    memcpy(key + 3, u.locals[i].address, 16)
    key[5] = peer.scope
    hash = keyed_hash(&u.table, key)
    n = keyed_find(&u.table, key, hash)
    if n != NULL:
        s = <udp_session_t *> n.owner
        keyed_age_touch(&s.front.sessions, &s.node)
    else:
        s = NULL if ul.closing or e.draining else begin(ul, i, key, hash)
        if s == NULL:
            return NULL
    s.requests += 1
    s.bytes_in += u.in_.messages[i].msg_len
    s.asked_ms = s.active_ms = e.now_ms
    if s.requests == s.backend.udp_requests:
        unkey(s)                              # the next datagram of this client begins another session
    set_deadline(s)
    return s


# A PROXY header for datagram i into its place; returns its size.
cdef size_t put_proxy(udp_t *u, uint32_t i) noexcept nogil:
    cdef proxy_say_t say
    cdef int n
    memset(&say, 0, sizeof(say))
    say.version = 2
    say.is_datagram = 1
    say.source_family = u.peers[i].family
    say.target_family = u.locals[i].family
    say.source_port = u.peers[i].port
    say.target_port = u.locals[i].port
    say.source = u.peers[i].address
    say.target = u.locals[i].address
    n = proxy_write(&say, u.proxies[i], UDP_PROXY)
    return <size_t> n if n > 0 else 0


# Put all datagrams for this target into `up`, the first `headers` of them behind a PROXY header; returns how many.
cdef uint32_t gather(udp_t *u, uint32_t first, void *target, uint32_t headers) noexcept nogil:
    cdef uint32_t i, n = 0
    cdef msghdr *m
    for i in range(first, u.filled):
        if u.targets[i] != target:
            continue
        u.targets[i] = NULL
        u.up_pieces[n][1].iov_base = udp_slot(&u.in_, i)
        u.up_pieces[n][1].iov_len = u.in_.messages[i].msg_len
        m = &u.up[n].msg_hdr
        memset(m, 0, sizeof(msghdr))
        m.msg_iov = &u.up_pieces[n][1]
        m.msg_iovlen = 1
        if n < headers:
            u.up_pieces[n][0].iov_base = u.proxies[i]
            u.up_pieces[n][0].iov_len = put_proxy(u, i)
            m.msg_iov = u.up_pieces[n]
            m.msg_iovlen = 2
        n += 1
    return n


# How many of its next datagrams get a PROXY header.
cdef uint32_t headers_of(udp_session_t *s) noexcept nogil:
    if not s.backend.flags & (BACKEND_UDP_PROXY | BACKEND_UDP_PROXY_FIRST):
        return 0
    if s.backend.flags & BACKEND_UDP_PROXY:
        return UDP_BATCH
    if s.flags & UDP_HEADED:
        return 0
    s.flags |= UDP_HEADED
    return 1


cdef inline bint is_refusal(int error) noexcept nogil:
    return error == ECONNREFUSED or error == ECONNRESET or error == EHOSTUNREACH or error == ENETUNREACH


# Count what has left for a server: messages [at, at + n) of `up`.
cdef void count_up(engine_t *e, uint32_t backend_oid, uint32_t server_oid, uint32_t at, uint32_t n) noexcept nogil:
    cdef udp_t *u = udp_of(e)
    cdef uint64_t bytes_ = 0
    cdef uint32_t i
    for i in range(at, at + n):
        bytes_ += u.up_pieces[i][1].iov_len
    e.rows[backend_oid].datagrams_in += n
    e.rows[backend_oid].bytes_in += bytes_
    e.rows[server_oid].datagrams_in += n
    e.rows[server_oid].bytes_in += bytes_


cdef void send_session(udp_session_t *s, uint32_t n) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef udp_t *u = udp_of(e)
    cdef uint32_t done = 0, sent, dropped = 0
    cdef uint32_t tries = 0
    while done < n:
        if s.server == NULL:
            if tries > s.backend.retries or attach(s) != 0:
                break
            tries += 1
        sent = udp_send(s.conn.fd, u.up + done, n - done)
        if sent != 0:
            count_up(e, s.backend.oid, s.server.oid, done, sent)
            done += sent
        if done < n:
            if is_refusal(errno):             # told about an earlier one: this one has not left
                refused(s)
                if s.backend.flags & BACKEND_UDP_PROXY_FIRST:
                    break                     # another server would need the header that the first one got
            elif errno == EAGAIN or errno == ENOBUFS:
                break
            else:
                done += 1                     # this one cannot be sent (too long with its header, say)
                dropped += 1
    dropped += n - done
    e.rows[s.front.oid].datagrams_dropped += dropped
    e.rows[s.backend.oid].datagrams_dropped += dropped


cdef void send_targets(udp_listener_t *ul) noexcept nogil:
    cdef udp_t *u = udp_of(ul.engine)
    cdef void *target
    cdef uint32_t i
    cdef udp_session_t *s
    for i in range(u.filled):
        target = u.targets[i]
        if target == NULL:
            continue
        if is_oneway(ul.backend):
            send_oneway(
                ul, <udp_oneway_t *> target,
                gather(u, i, target, UDP_BATCH if ul.backend.flags & BACKEND_UDP_PROXY else 0)
            )
            continue
        s = <udp_session_t *> target
        send_session(s, gather(u, i, target, headers_of(s)))
        if s.server == NULL or is_complete(s):
            finish(s, 0, 0)
    u.filled = 0


cdef void take(udp_listener_t *ul, uint32_t n) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef counters_t *row = &e.rows[ul.frontend.oid]
    cdef bint oneway = is_oneway(ul.backend)
    cdef void *target
    cdef uint32_t i
    for i in range(n):
        u.locals[i] = ul.local
        udp_sender(&u.in_, i, &u.peers[i], &u.locals[i])
        row.datagrams_in += 1
        row.bytes_in += u.in_.messages[i].msg_len
        target = NULL
        if not u.in_.messages[i].msg_hdr.msg_flags & MSG_TRUNC:
            target = oneway_of(ul, &u.peers[i], 0) if oneway else session_of(ul, i)
        row.datagrams_dropped += target == NULL
        # (making room may have sent those before)
        while u.filled < i:
            u.targets[u.filled] = NULL
            u.filled += 1
        u.targets[i] = target
        u.filled = i + 1
    send_targets(ul)


# One batch: how many came.
cdef uint32_t read_batch(udp_listener_t *ul) noexcept nogil:
    cdef udp_t *u = udp_of(ul.engine)
    cdef int n
    if ul.deaf or not look_up(ul):            # of a generation that has ended: what waits is its successor's
        return 0
    n = udp_receive(ul.conn.fd, &u.in_, 0, UDP_BATCH, True)
    if n <= 0:
        return 0
    u.reading = ul
    u.filled = 0
    take(ul, <uint32_t> n)
    u.reading = NULL
    return <uint32_t> n


cdef inline bint is_over(udp_listener_t *ul) noexcept nogil:
    return ul.closing and ul.sessions == 0


cdef void udp_read(udp_listener_t *ul) noexcept nogil:
    cdef int rounds = UDP_ROUNDS
    while rounds > 0 and read_batch(ul) == UDP_BATCH:
        rounds -= 1
    if is_over(ul):
        listener_end(ul)
    elif rounds == 0:
        conn_run(&ul.conn)


cdef void udp_empty(udp_listener_t *ul) noexcept nogil:
    cdef int rounds = EMPTY_ROUNDS
    while rounds > 0 and read_batch(ul) == UDP_BATCH:
        rounds -= 1


cdef void listener_wake(conn_t *c) noexcept nogil:
    udp_read(<udp_listener_t *> c)


# --- from servers ---


cdef void udp_flush(engine_t *e) noexcept nogil:
    cdef udp_t *u = udp_of(e)
    cdef uint32_t done = 0
    cdef uint32_t n = u.out.count
    if n == 0:
        return
    u.out.count = 0
    while done < n:
        done += udp_send(u.out_listener.conn.fd, u.out.messages + done, n - done)
        if done < n:
            e.rows[u.out_oids[done]].datagrams_dropped += 1
            done += 1


# Send answer i, of n bytes, on to its client.
cdef void answer(udp_session_t *s, uint32_t i, size_t n) noexcept nogil:
    cdef engine_t *e = s.engine
    cdef udp_t *u = udp_of(e)
    udp_address_to(&u.out, i, n, s.listener.family, &s.client, &s.local, s.listener.is_any)
    u.out_oids[i] = s.front.oid
    s.answers += 1
    s.bytes_out += n
    e.rows[s.front.oid].datagrams_out += 1
    e.rows[s.front.oid].bytes_out += n
    e.rows[s.backend.oid].datagrams_out += 1
    e.rows[s.backend.oid].bytes_out += n
    e.rows[s.server.oid].datagrams_out += 1
    e.rows[s.server.oid].bytes_out += n
    if s.answer_ms < 0:
        s.answer_ms = <int64_t> (e.now_ms - s.start_ms)
        observation_good(e.mapping, s.server.oid)


cdef void server_wake(conn_t *c) noexcept nogil:
    cdef udp_session_t *s = <udp_session_t *> c
    cdef engine_t *e = s.engine
    cdef udp_t *u = udp_of(e)
    cdef uint32_t i, at, room
    cdef int n, rounds = UDP_ROUNDS
    cdef bint failed = (c.flags & CONN_HUP) != 0
    c.flags &= ~<uint32_t> CONN_HUP
    while rounds > 0:
        rounds -= 1
        if u.out_listener != s.listener or u.out.count == UDP_BATCH:
            udp_flush(e)
            u.out_listener = s.listener
        at = u.out.count
        room = UDP_BATCH - at
        if room > UDP_ANSWERS:
            room = UDP_ANSWERS
        if owes(s) and due(s) < room:         # nearly always one: no call for many
            room = <uint32_t> due(s)
        n = udp_receive(c.fd, &u.out, at, room, False)
        if n < 0:
            if errno != EAGAIN:
                refused(s)
                finish(s, 0, 0)
            return
        for i in range(at, at + <uint32_t> n):
            if u.out.messages[i].msg_hdr.msg_flags & MSG_TRUNC:
                e.rows[s.front.oid].datagrams_dropped += 1
                continue
            if i != u.out.count:              # behind one that was cut: it takes that one's slot
                memcpy(udp_slot(&u.out, u.out.count), udp_slot(&u.out, i), u.out.messages[i].msg_len)
            answer(s, u.out.count, u.out.messages[i].msg_len)
            u.out.count += 1
        if n > 0:
            s.active_ms = e.now_ms
            keyed_age_touch(&s.front.sessions, &s.node)
            if is_complete(s):
                finish(s, 0, 0)
                return
            set_deadline(s)
        if <uint32_t> n < room:
            if not failed:
                return
            failed = False                    # behind the last datagram is the error
    conn_run(c)


# --- one way ---


# The socket of a server that is chosen for this datagram, opened if there is none; NULL: no server.
cdef udp_oneway_t *oneway_of(udp_listener_t *ul, const udp_address_t *client, uint32_t avoid) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef const plan_server_t *s = pick(e, e.current, ul.backend, avoid, client, NULL)
    cdef udp_oneway_t *w
    if s == NULL:
        e.rows[ul.backend.oid].err_conn += 1
        return NULL
    w = u.oneways[s.oid]
    if w != NULL:
        return w
    w = <udp_oneway_t *> pool_take(&u.oneway_pool)
    if w == NULL:
        return NULL
    memset(w, 0, sizeof(udp_oneway_t))
    w.engine = e
    w.server_oid = s.oid
    w.backend_oid = ul.backend.oid
    w.address_hash = s.link_hash
    if connected_to(e, s, ul.backend.oid, &w.conn, oneway_wake) != 0:
        pool_give(&u.oneway_pool, w)
        return NULL
    w.next = u.oneway_list
    u.oneway_list = w
    u.oneways[s.oid] = w
    return w


cdef void oneway_end(udp_t *u, udp_oneway_t *w) noexcept nogil:
    cdef udp_oneway_t **at = &u.oneway_list
    while at[0] != w:
        at = &at[0].next
    at[0] = w.next
    u.oneways[w.server_oid] = NULL
    conn_close(&w.conn)
    pool_give(&u.oneway_pool, w)


cdef void oneway_refused(udp_oneway_t *w) noexcept nogil:
    cdef engine_t *e = w.engine
    e.rows[w.server_oid].err_conn += 1
    e.rows[w.backend_oid].err_conn += 1
    observation_bad(e.mapping, w.server_oid)
    udp_of(e).failed_until_ms[w.server_oid] = e.now_ms + UDP_AVOID_MS


cdef void send_oneway(udp_listener_t *ul, udp_oneway_t *w, uint32_t n) noexcept nogil:
    cdef engine_t *e = ul.engine
    cdef udp_t *u = udp_of(e)
    cdef uint32_t done = 0, sent, dropped = 0
    cdef uint32_t tries = 0
    while done < n and w != NULL:
        sent = udp_send(w.conn.fd, u.up + done, n - done)
        if sent != 0:
            count_up(e, ul.backend.oid, w.server_oid, done, sent)
            e.rows[w.server_oid].last_ms = e.rows[ul.backend.oid].last_ms = e.now_ms
            done += sent
        if done == n:
            break
        if is_refusal(errno):
            oneway_refused(w)
            if tries == ul.backend.retries:
                break
            tries += 1
            w = oneway_of(ul, &u.peers[0], w.server_oid)
        elif errno == EAGAIN or errno == ENOBUFS:
            break
        else:
            done += 1
            dropped += 1
    dropped += n - done
    e.rows[ul.front.oid].datagrams_dropped += dropped
    e.rows[ul.backend.oid].datagrams_dropped += dropped


# Nothing is expected here but that it refuses.
cdef void oneway_wake(conn_t *c) noexcept nogil:
    cdef udp_oneway_t *w = <udp_oneway_t *> c
    cdef udp_t *u = udp_of(w.engine)
    cdef int n, rounds = UDP_ROUNDS
    while rounds > 0:
        rounds -= 1
        n = udp_receive(c.fd, &u.in_, 0, UDP_BATCH, False)
        if n < 0:
            if errno == EAGAIN:
                return
            oneway_refused(w)
        else:
            w.engine.rows[w.server_oid].datagrams_dropped += <uint32_t> n
    conn_run(c)


# --- generations ---


# Whether the present generation would send the session's datagrams to the same server.
cdef bint is_current(const udp_session_t *s) noexcept nogil:
    cdef udp_listener_t *ul = s.listener
    cdef const plan_server_t *server
    if not look_up(ul) or ul.backend.oid != s.backend.oid or is_oneway(ul.backend):
        return False
    server = plan_server_by_oid(s.engine.current.plan, s.server.oid)
    return server != NULL and server.link_hash == s.server.link_hash


cdef void udp_switched(engine_t *e) noexcept nogil:
    cdef udp_t *u = udp_of(e)
    cdef udp_front_t *f = u.fronts
    cdef udp_oneway_t *w = u.oneway_list
    cdef udp_oneway_t *following
    cdef const plan_server_t *server
    cdef udp_session_t *s
    cdef keyed_node_t *n
    while f != NULL:
        n = f.sessions.oldest
        while n != NULL:
            s = <udp_session_t *> n.owner
            n = n.newer
            if not is_current(s):
                retire(s)
        f = f.next
    while w != NULL:
        following = w.next
        server = plan_server_by_oid(e.current.plan, w.server_oid)
        if (server == NULL or server.link_hash != w.address_hash
                or not is_oneway(plan_backend(e.current.plan, server.backend))):
            oneway_end(u, w)
        w = following
