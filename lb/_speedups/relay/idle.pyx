from libc.stdint cimport uint32_t, uint64_t
from lb._speedups.base.timers cimport timer_set
from lb._speedups.io.conn cimport CONN_READABLE
from lb._speedups.policy.plan cimport (
    PLAN_UNLIMITED, REUSE_AGGRESSIVE, REUSE_ALWAYS, REUSE_NEVER, plan_server, plan_server_by_oid, plan_server_t, plan_t,
)
from lb._speedups.relay.link cimport link_close, link_quiet, link_stir, link_unlist
from lb._speedups.relay.relay cimport (
    LINK_CLOSE, LINK_IDLE, LINK_RESTING, LINK_REUSED, SIDE_IN_END, STREAM_COPY, STREAM_REPLAY, engine_t, idle_t, link_t, stream_t,
)

cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition)
    bint UNLIKELY(bint x)


cdef enum:
    ASKED_MOST = 16              # times a link is asked whether it is quiet; the kernel answers the first time


# --- taking ---


cdef link_t *own_link(link_t *client, uint32_t oid) noexcept nogil:
    cdef link_t *l = client.own
    while l != NULL and l.server_oid != oid:
        l = l.next
    return l


# One of the links used last that has carried two streams or more, or NULL.
cdef link_t *proven_link(const idle_t *idle) noexcept nogil:
    cdef link_t *l = idle.head
    cdef int _i
    for _i in range(PROVEN_SCAN):
        if l == NULL or l.requests > 1:
            return l
        l = l.next
    return NULL


# Who else may be meant: see idle.pxd.
cdef link_t *shared_link(stream_t *st, const idle_t *idle) noexcept nogil:
    cdef uint32_t mode = st.backend.reuse
    if mode == REUSE_NEVER:
        return NULL
    if st.client.link.requests != 0 or mode == REUSE_ALWAYS or st.flags & STREAM_COPY:
        return idle.head
    # Bytes that are still to come may not be kept: only what has ended can be sent again for certain.
    if st.flags & STREAM_REPLAY and st.client.flags & SIDE_IN_END:
        return idle.head
    if idle.head != NULL and idle.head.streams != 0:
        return idle.head                      # at work (multiplexing): no server closes it for being idle
    return proven_link(idle) if mode == REUSE_AGGRESSIVE else NULL


cdef inline link_t *candidate(stream_t *st, const plan_server_t *s) noexcept nogil:
    cdef link_t *l
    if UNLIKELY(st.client.link.own != NULL):
        l = own_link(st.client.link, s.oid)
        if l != NULL:
            return l
    if s.send_proxy:                          # connections to it have told a client, and it is not this one
        return NULL
    return shared_link(st, &st.engine.idle[s.oid])


# A request that cannot be sent again must not meet a server that has just closed: for it the link is asked once more,
# because the event of the close may still lie in this batch.
cdef link_t *idle_find(stream_t *st, const plan_server_t *s) noexcept nogil:
    cdef link_t *l = candidate(st, s)
    cdef int _i
    if st.flags & STREAM_REPLAY:
        return l
    while l != NULL and l.stream == NULL and l.state == NULL:
        l.conn.flags |= CONN_READABLE
        for _i in range(ASKED_MOST):
            if not link_quiet(l):
                break
            if not l.conn.flags & CONN_READABLE:
                return l
            # Still readable: the transport has held the answer back.
        link_close(l)
        l = candidate(st, s)
    return l


# --- keeping ---


cdef void idle_terms(link_t *l, const plan_server_t *s) noexcept nogil:
    l.max_requests = s.max_requests
    l.idle_ms = s.idle_ms
    l.dies_ms = l.accept_ms + s.max_age_ms if s.max_age_ms != 0 else 0


cdef void idle_let_go(link_t *l) noexcept nogil:
    if l.streams == 0:
        link_close(l)
        return
    l.flags |= LINK_CLOSE
    if l.flags & LINK_IDLE:
        link_unlist(l)


# The link was not looked at since another generation came: whether it is still of use, and on which terms.
cdef bint is_current(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef const plan_server_t *s = plan_server_by_oid(e.current.plan, l.server_oid)
    if s == NULL or s.link_hash != l.address_hash:
        return False
    l.generation = e.current.generation
    idle_terms(l, s)
    return True


# Room for one more among a client's own.
cdef void thin_own(link_t *client) noexcept nogil:
    cdef link_t *l = client.own
    cdef int count = 0
    while l != NULL:
        count += 1
        if l.next == NULL and count >= OWN_MAX:
            idle_let_go(l)
            return
        l = l.next


cdef void enlist(link_t *l, link_t **head) noexcept nogil:
    l.prev = NULL
    l.next = head[0]
    if l.next != NULL:
        l.next.prev = l
    head[0] = l


cdef void idle_keep(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef idle_t *idle
    if UNLIKELY(e.draining or e.current == NULL or (l.generation != e.current.generation and not is_current(l))
                or (l.dies_ms != 0 and e.now_ms >= l.dies_ms)):
        idle_let_go(l)
        return
    l.flags |= LINK_IDLE | LINK_REUSED
    if l.owner != NULL:
        thin_own(l.owner)
        enlist(l, &l.owner.own)
    else:
        idle = &e.idle[l.server_oid]
        enlist(l, &idle.head)
        if idle.tail == NULL:
            idle.tail = l
    e.rows[l.server_oid].idle += 1
    if l.streams == 0:
        rest(l)


# The least recently used resting link of this list. Those behind it carry streams (multiplexing).
cdef link_t *last_resting(const idle_t *idle) noexcept nogil:
    cdef link_t *l = idle.tail
    while l != NULL and not (l.flags & LINK_RESTING):
        l = l.prev
    return l


cdef inline void rest(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef idle_t *idle = &e.idle[l.server_oid]
    cdef uint64_t until = e.now_ms + l.idle_ms
    l.flags |= LINK_RESTING
    l.rest_prev = NULL
    l.rest_next = e.rest_head
    if e.rest_head != NULL:
        e.rest_head.rest_prev = l
    else:
        e.rest_tail = l
    e.rest_head = l
    e.resting += 1
    if UNLIKELY(l.dies_ms != 0 and l.dies_ms < until):
        until = l.dies_ms
    timer_set(&e.timers, &l.timer, until)
    if l.owner == NULL:
        idle.resting += 1
        if UNLIKELY(idle.resting > idle.most):
            link_close(last_resting(idle))
    if UNLIKELY(e.resting > e.rest_most):
        link_close(e.rest_tail)


cdef void idle_rest(link_t *l) noexcept nogil:
    rest(l)


cdef void idle_rouse(link_t *l) noexcept nogil:
    link_stir(l)


# --- limits ---


cdef bint idle_spare(engine_t *e) noexcept nogil:
    if e.rest_tail == NULL:
        return False
    link_close(e.rest_tail)
    return True


# What this worker may have of a number that is for all of them.
cdef uint32_t share(const engine_t *e, uint32_t most) noexcept nogil:
    cdef uint32_t workers = e.current.plan.workers if e.current.plan.workers != 0 else 1
    if most == PLAN_UNLIMITED:
        return most
    return most // workers + (1 if (e.slot - 1) % workers < most % workers else 0)


cdef void idle_limits(engine_t *e) noexcept nogil:
    cdef const plan_t *plan = e.current.plan
    cdef const plan_server_t *s
    cdef idle_t *idle
    cdef uint32_t i
    e.rest_most = share(e, plan.max_idle)
    if e.rest_most > e.descriptors // 4:
        e.rest_most = e.descriptors // 4
    for i in range(plan.nservers):
        s = plan_server(plan, i)
        idle = &e.idle[s.oid]
        idle.most = share(e, s.max_idle)
        while idle.resting > idle.most:
            link_close(last_resting(idle))
    while e.resting > e.rest_most:
        link_close(e.rest_tail)


cdef void purge_list(engine_t *e, link_t *l, bint all_) noexcept nogil:
    cdef link_t *following
    while l != NULL:
        following = l.next
        if all_ or not is_current(l):
            idle_let_go(l)
        elif l.flags & LINK_RESTING:
            rest_anew(l)
        l = following


# Its terms may have changed: the deadline that they give to a link that has rested since it was active last.
cdef void rest_anew(link_t *l) noexcept nogil:
    cdef uint64_t until = l.active_ms + l.idle_ms
    if l.dies_ms != 0 and l.dies_ms < until:
        until = l.dies_ms
    timer_set(&l.engine.timers, &l.timer, until)


cdef void idle_purge(engine_t *e, bint all_) noexcept nogil:
    cdef link_t *client = e.clients
    cdef uint32_t oid
    for oid in range(1, <uint32_t> e.mapping.objects + 1):
        purge_list(e, e.idle[oid].head, all_)
    while client != NULL:
        purge_list(e, client.own, all_)
        client = client.next
