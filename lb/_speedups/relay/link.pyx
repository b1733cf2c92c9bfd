from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from lb._speedups.base.mapping cimport gauge_leave, mapping_wake
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.base.timers cimport timer_clear, timer_unlink
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_HUP, CONN_RDHUP, CONN_READABLE, CONN_WRITABLE, conn_close, conn_recv, conn_send,
)
from lb._speedups.io.sys cimport iovec
from lb._speedups.policy.variable cimport variables_free
from lb._speedups.relay.admit cimport admit_release
from lb._speedups.relay.proxied cimport proxied_free
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, LINK_BROKEN, LINK_CLIENT, LINK_CLOSE, LINK_IDLE, LINK_RESTING, WINDOW_BUFFER, WINDOW_NONE, engine_t,
    idle_t, link_t,
)

cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)

cdef enum:
    SEND_COPY = 2048             # slices up to this size are copied behind the collected bytes


cdef link_t *link_take(engine_t *e, uint8_t kind) noexcept nogil:
    cdef link_t *l = <link_t *> pool_take(&e.link_pool)
    if l == NULL:
        return NULL
    memset(l, 0, sizeof(link_t))
    l.conn.fd = -1
    l.engine = e
    l.kind = kind
    return l


cdef void wake_workers(engine_t *e, uint64_t slots) noexcept nogil:
    # Room under a limit: the paused workers of this bit set accept again.
    cdef uint64_t own = <uint64_t> 1 << (e.slot - 1)
    if slots & own:
        e.resume = 1
    mapping_wake(e.mapping, slots & ~own)


cdef void leave(engine_t *e, uint32_t oid) noexcept nogil:
    cdef uint64_t waiting = gauge_leave(e.mapping, e.slot, oid)
    if waiting != 0:
        wake_workers(e, waiting)


cdef void link_unlist(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef idle_t *idle = &e.idle[l.server_oid]
    stir(l)
    if l.prev != NULL:
        l.prev.next = l.next
    elif l.owner != NULL:
        l.owner.own = l.next
    else:
        idle.head = l.next
    if l.next != NULL:
        l.next.prev = l.prev
    elif l.owner == NULL:
        idle.tail = l.prev
    l.next = NULL
    l.prev = NULL
    l.flags &= <uint16_t> ~LINK_IDLE
    e.rows[l.server_oid].idle -= 1


cdef inline void stir(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    if not (l.flags & LINK_RESTING):
        return
    l.flags &= <uint16_t> ~LINK_RESTING
    timer_clear(&l.timer)
    if l.rest_prev != NULL:
        l.rest_prev.rest_next = l.rest_next
    else:
        e.rest_head = l.rest_next
    if l.rest_next != NULL:
        l.rest_next.rest_prev = l.rest_prev
    else:
        e.rest_tail = l.rest_prev
    e.resting -= 1
    if l.owner == NULL:
        e.idle[l.server_oid].resting -= 1


cdef void link_stir(link_t *l) noexcept nogil:
    stir(l)


cdef void link_close(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    if e.scratch_link == l:
        e.scratch_link = NULL
        e.scratch_used = 0
    conn_close(&l.conn)
    timer_unlink(&e.timers, &l.timer)
    link_window_drop(l)
    if l.in_ != NULL:
        pool_give(&e.message_pool, l.in_)
        l.in_ = NULL
    if l.out != NULL:
        pool_give(&e.buffer_pool, l.out)
        l.out = NULL
    if l.state != NULL:
        l.codec.free(l)
    if l.kind == LINK_CLIENT:
        while l.own != NULL:                  # without streams by now: they were this client's
            link_close(l.own)
        if l.proxied != NULL:
            proxied_free(l)
        if l.variables != NULL:
            variables_free(&e.variable_pools, l.variables)
        if l.tracked != NULL:
            admit_release(l)
        if l.prev != NULL:
            l.prev.next = l.next
        else:
            e.clients = l.next
        if l.next != NULL:
            l.next.prev = l.prev
        e.connections -= 1
        e.worker.connections -= 1
        e.rows[l.listener_oid].cur -= 1
        leave(e, l.frontend_oid)
        leave(e, e.process_oid)
    elif l.flags & LINK_IDLE:
        link_unlist(l)
    pool_give(&e.link_pool, l)


cdef bint link_quiet(link_t *l) noexcept nogil:
    cdef char extra
    if l.at < l.end or l.conn.flags & (CONN_RDHUP | CONN_HUP):
        return False
    return not (l.conn.flags & CONN_READABLE) or conn_recv(&l.conn, &extra, 1) == CONN_AGAIN


cdef void link_window_drop(link_t *l) noexcept nogil:
    if l.window_kind == WINDOW_BUFFER:
        pool_give(&l.engine.buffer_pool, l.window)
    l.window = NULL
    l.window_kind = WINDOW_NONE
    l.at = 0
    l.end = 0
    l.slice = 0


cdef ssize_t link_refill(link_t *l) noexcept nogil:
    cdef ssize_t n
    if l.window_kind != WINDOW_BUFFER:
        l.window = <char *> pool_take(&l.engine.buffer_pool)
        l.at = 0
        l.end = 0
        if l.window == NULL:
            l.window_kind = WINDOW_NONE
            return LINK_MEMORY
        l.window_kind = WINDOW_BUFFER
    n = conn_recv(&l.conn, l.window, BUFFER_SIZE)
    if LIKELY(n > 0):
        l.at = 0
        l.end = <uint16_t> n
        l.active_ms = l.engine.now_ms
        return n
    link_window_drop(l)
    return n


cdef inline bint scratch_claim(link_t *l) noexcept nogil:
    cdef engine_t *e = l.engine
    if e.scratch_link == l:
        return True
    if e.scratch_link != NULL:
        return False
    e.scratch_link = l
    e.scratch_used = 0
    return True


cdef char *link_room(link_t *l, size_t n) noexcept nogil:
    cdef engine_t *e = l.engine
    if l.out != NULL or not scratch_claim(l):
        return NULL
    if e.scratch_used + n > BUFFER_SIZE:      # what may have to be kept must fit one buffer
        return NULL
    return e.scratch + e.scratch_used


cdef void link_puts(link_t *l, size_t n) noexcept nogil:
    l.engine.scratch_used += <uint32_t> n
    if l.kind == LINK_CLIENT and l.stream != NULL:
        l.stream.bytes_out += n


cdef int link_put(link_t *l, const char *p, size_t n) noexcept nogil:
    cdef char *room
    if l.out != NULL:
        if l.out_end + n > BUFFER_SIZE:
            return -1
        memcpy(l.out + l.out_end, p, n)
        l.out_end += <uint16_t> n
        if l.kind == LINK_CLIENT and l.stream != NULL:
            l.stream.bytes_out += n
        return 0
    room = link_room(l, n)
    if room == NULL:
        return -1
    memcpy(room, p, n)
    link_puts(l, n)
    return 0


cdef int link_broken(link_t *l) noexcept nogil:
    l.flags |= LINK_CLOSE | LINK_BROKEN
    l.conn.flags |= CONN_READABLE
    return -1


# Send from the kept buffer. 0 = empty now, 1 = blocked, -1 = failed.
cdef int push_out(link_t *l) noexcept nogil:
    cdef iovec piece
    cdef ssize_t n
    while l.out_at < l.out_end:
        if not (l.conn.flags & CONN_WRITABLE):
            return 1
        piece.iov_base = l.out + l.out_at
        piece.iov_len = l.out_end - l.out_at
        n = conn_send(&l.conn, &piece, 1)
        if n == CONN_AGAIN:
            return 1
        if n < 0:
            return link_broken(l)
        l.active_ms = l.engine.now_ms
        l.out_at += <uint16_t> n
    pool_give(&l.engine.buffer_pool, l.out)
    l.out = NULL
    l.out_at = 0
    l.out_end = 0
    return 0


# Keep the collected bytes behind `sent`. 0, or -1 without memory.
cdef int keep_scratch(link_t *l, size_t sent) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef size_t rest = e.scratch_used - sent
    l.out = <char *> pool_take(&e.buffer_pool)
    if l.out == NULL:
        return link_broken(l)
    memcpy(l.out, e.scratch + sent, rest)
    l.active_ms = e.now_ms                    # from now on it is waited for
    l.out_at = 0
    l.out_end = <uint16_t> rest
    return 0


cdef ssize_t link_send(link_t *l, const char *p, size_t n) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef iovec pieces[2]
    cdef int count = 0
    cdef int r
    cdef size_t pending = 0
    cdef ssize_t sent = 0
    if l.flags & LINK_BROKEN:
        if e.scratch_link == l:
            e.scratch_link = NULL
        return -1
    if l.out != NULL:
        r = push_out(l)
        if r != 0:
            return 0 if r > 0 else -1
    if e.scratch_link == l:
        pending = e.scratch_used
        pieces[0].iov_base = e.scratch
        pieces[0].iov_len = pending
        count = 1 if pending else 0
    if n:
        if count and n <= SEND_COPY:
            memcpy(e.scratch + pending, p, n)  # one piece: send() is dearer with two than a short copy
            pieces[0].iov_len += n
        else:
            pieces[count].iov_base = <void *> p
            pieces[count].iov_len = n
            count += 1
    if count and l.conn.flags & CONN_WRITABLE:
        sent = conn_send(&l.conn, pieces, count)
        if sent == CONN_AGAIN:
            sent = 0
        elif sent < 0:
            if e.scratch_link == l:
                e.scratch_link = NULL
            return link_broken(l)
        else:
            l.active_ms = e.now_ms
    if e.scratch_link == l:
        if <size_t> sent < pending:
            r = keep_scratch(l, <size_t> sent)
            e.scratch_link = NULL
            return r
        e.scratch_link = NULL
    sent -= <ssize_t> pending
    if l.kind == LINK_CLIENT and l.stream != NULL:
        l.stream.bytes_out += <uint64_t> sent
    return sent


cdef int link_flush(link_t *l) noexcept nogil:
    if l.out == NULL and l.engine.scratch_link != l:
        return -1 if l.flags & LINK_BROKEN else 0
    if link_send(l, NULL, 0) < 0:
        return -1
    return 1 if l.out != NULL else 0
