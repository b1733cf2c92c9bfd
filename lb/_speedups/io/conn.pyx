from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset
from lb._speedups.io.sys cimport (
    CLOCK_MONOTONIC, EAGAIN, EFD_CLOEXEC, EFD_NONBLOCK, EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLERR,
    EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET,
    TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, errno,
    eventfd, getsockopt, iovec, itimerspec, linger, msghdr, read, recv, send, sendmsg, setsockopt, shutdown, socklen_t,
    timerfd_create, timerfd_settime,
)

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    bint LIKELY(bint x)
    bint UNLIKELY(bint x)

cdef enum:
    NO_SLOT = 0xffffffff
    EVENT_WAKEUP = 1             # data of the eventfd: slot 0 with an impossible generation
    EVENT_TIMER = 2

# Data of an event: generation in the high half (never 0 for a connection), slot in the low half.


cdef int loop_init(loop_t *l, int wakeup) noexcept nogil:
    cdef epoll_event e
    memset(l, 0, sizeof(loop_t))
    l.first_free = NO_SLOT
    l.armed_ms = <uint64_t> -1
    l.epoll = epoll_create1(EPOLL_CLOEXEC)
    l.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    l.wakeup = wakeup if wakeup >= 0 else eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    l.own_wakeup = wakeup < 0
    if l.epoll < 0 or l.timer < 0 or l.wakeup < 0:
        return -1
    e.events = EPOLLIN | EPOLLET
    e.data.u64 = EVENT_WAKEUP
    if epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.wakeup, &e) != 0:
        return -1
    e.data.u64 = EVENT_TIMER
    if epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.timer, &e) != 0:
        return -1
    return 0


cdef void loop_free(loop_t *l) noexcept nogil:
    if l.epoll >= 0:
        close(l.epoll)
    if l.timer >= 0:
        close(l.timer)
    if l.wakeup >= 0 and l.own_wakeup:
        close(l.wakeup)
    l.epoll = l.timer = l.wakeup = -1
    free(l.table)
    l.table = NULL
    l.nslots = 0


cdef inline uint64_t xorshift(uint64_t *state) noexcept nogil:
    # the disturbance needs variety, not quality
    cdef uint64_t x = state[0]
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    state[0] = x
    return x


cdef int loop_step(loop_t *l) noexcept nogil:
    cdef int n, i, j
    cdef uint32_t slot, events, flags
    cdef uint64_t data, drop
    cdef conn_t *c
    cdef epoll_event e
    # As many as are on the run list now are woken after the events; the rest waits for the next pass.
    cdef uint32_t queued = l.run_count
    n = epoll_wait(l.epoll, l.events, LOOP_EVENTS, 0)
    if n < 0:
        n = 0
    if LB_DEBUG and l.chaos != 0:
        i = n - 1
        while i > 0:                          # events in any order
            j = <int> (xorshift(&l.chaos) % <uint64_t> (i + 1))
            e = l.events[i]
            l.events[i] = l.events[j]
            l.events[j] = e
            i -= 1
    for i in range(n):
        data = l.events[i].data.u64
        if UNLIKELY((data >> 32) == 0):
            if data == EVENT_WAKEUP:
                read(l.wakeup, &drop, 8)
                l.woken = 1
            else:
                read(l.timer, &drop, 8)
                l.armed_ms = <uint64_t> -1
            continue
        slot = <uint32_t> data
        if l.table[slot].conn == NULL or l.table[slot].generation != <uint32_t> (data >> 32):
            continue                          # closed earlier in this batch
        c = l.table[slot].conn
        events = l.events[i].events
        flags = c.flags
        if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            flags |= CONN_READABLE
        if events & (EPOLLOUT | EPOLLHUP | EPOLLERR):
            flags |= CONN_WRITABLE
        if events & EPOLLRDHUP:
            flags |= CONN_RDHUP
        if events & (EPOLLHUP | EPOLLERR):
            flags |= CONN_HUP
        c.flags = flags
        c.wake(c)
    while queued > 0 and l.run_head != NULL:
        queued -= 1
        c = l.run_head
        run_remove(l, c)
        c.wake(c)
    return n


cdef void loop_arm(loop_t *l, uint64_t deadline_ms, uint64_t now_ms) noexcept nogil:
    cdef itimerspec when
    if deadline_ms >= l.armed_ms:
        return
    if deadline_ms <= now_ms:
        deadline_ms = now_ms + 1
        if deadline_ms >= l.armed_ms:
            return
    memset(&when, 0, sizeof(when))
    when.it_value.tv_sec = <long> (deadline_ms // 1000)
    when.it_value.tv_nsec = <long> (deadline_ms % 1000) * 1000000
    if timerfd_settime(l.timer, TFD_TIMER_ABSTIME, &when, NULL) == 0:
        l.armed_ms = deadline_ms


cdef inline void run_remove(loop_t *l, conn_t *c) noexcept nogil:
    if c.run_prev != NULL:
        c.run_prev.run_next = c.run_next
    else:
        l.run_head = c.run_next
    if c.run_next != NULL:
        c.run_next.run_prev = c.run_prev
    else:
        l.run_tail = c.run_prev
    c.run_next = NULL
    c.run_prev = NULL
    c.flags &= ~<uint32_t> CONN_QUEUED
    l.run_count -= 1


cdef void conn_run(conn_t *c) noexcept nogil:
    cdef loop_t *l = c.loop
    if c.flags & CONN_QUEUED or not (c.flags & CONN_OPEN):
        return
    c.flags |= CONN_QUEUED
    l.run_count += 1
    c.run_next = NULL
    c.run_prev = l.run_tail
    if l.run_tail != NULL:
        l.run_tail.run_next = c
    else:
        l.run_head = c
    l.run_tail = c


cdef int slot_take(loop_t *l) noexcept nogil:
    cdef uint32_t more, i
    cdef loop_slot_t *table
    if l.first_free == NO_SLOT:
        more = l.nslots * 2 if l.nslots else 256
        table = <loop_slot_t *> realloc(l.table, more * sizeof(loop_slot_t))
        if table == NULL:
            return -1
        l.table = table
        for i in range(l.nslots, more):
            table[i].conn = NULL
            table[i].generation = 1
            table[i].next_free = i + 1 if i + 1 < more else NO_SLOT
        l.first_free = l.nslots
        l.nslots = more
    return 0


cdef int conn_open(loop_t *l, conn_t *c, int fd, uint32_t flags, void (*wake)(conn_t *) noexcept nogil) noexcept nogil:
    cdef epoll_event e
    cdef uint32_t slot
    c.fd = -1
    c.flags = 0
    c.loop = l
    c.error = 0
    c.run_next = NULL
    c.run_prev = NULL
    c.twist = 0x9e3779b97f4a7c15ULL ^ <uint64_t> fd
    if LB_DEBUG and l.scarce != 0 and xorshift(&l.chaos) % l.scarce == 0:
        close(fd)
        return -1
    if slot_take(l) != 0:
        close(fd)
        return -1
    slot = l.first_free
    e.events = <uint32_t> (EPOLLIN if flags & CONN_INPUT else EPOLLIN | EPOLLOUT | EPOLLRDHUP) | EPOLLET
    e.data.u64 = (<uint64_t> l.table[slot].generation << 32) | slot
    if epoll_ctl(l.epoll, EPOLL_CTL_ADD, fd, &e) != 0:
        close(fd)
        return -1
    l.first_free = l.table[slot].next_free
    l.table[slot].conn = c
    l.live += 1
    c.slot = slot
    c.fd = fd
    c.flags = flags | CONN_OPEN
    c.wake = wake
    return 0


cdef void conn_close(conn_t *c) noexcept nogil:
    cdef loop_t *l = c.loop
    if not (c.flags & CONN_OPEN):
        return
    if c.flags & CONN_QUEUED:
        run_remove(l, c)
    l.table[c.slot].conn = NULL
    l.table[c.slot].generation += 1
    if l.table[c.slot].generation == 0:       # 0 marks events that are not connections'
        l.table[c.slot].generation = 1
    l.table[c.slot].next_free = l.first_free
    l.first_free = c.slot
    l.live -= 1
    if not l.alone:
        epoll_ctl(l.epoll, EPOLL_CTL_DEL, c.fd, NULL)
    close(c.fd)
    c.fd = -1
    c.flags = 0


cdef void conn_reset(conn_t *c) noexcept nogil:
    cdef linger now
    if not (c.flags & CONN_OPEN):
        return
    now.l_onoff = 1
    now.l_linger = 0
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now))
    conn_close(c)


cdef void conn_shut(conn_t *c) noexcept nogil:
    if (c.flags & (CONN_OPEN | CONN_SHUT)) == CONN_OPEN:
        c.flags |= CONN_SHUT
        shutdown(c.fd, SHUT_WR)


cdef ssize_t disturbed_size(conn_t *c, size_t n, uint32_t ready) noexcept nogil:
    # Debug: how many bytes this call may move, 0 = pretend EAGAIN (with a later wake through the run list).
    cdef uint64_t x = xorshift(&c.loop.chaos if c.loop.chaos != 0 else &c.twist)
    if (x & 7) == 0:
        conn_run(c)
        return 0
    if (x & 7) < 4 and n > 1:
        return <ssize_t> (1 + (x >> 8) % (n if n < 200 else 200))
    return <ssize_t> n


cdef ssize_t conn_recv(conn_t *c, char *buf, size_t n) noexcept nogil:
    cdef ssize_t got, most
    if LB_DEBUG and (c.flags & CONN_TWISTED or c.loop.chaos != 0):
        most = disturbed_size(c, n, CONN_READABLE)
        if most == 0:
            return CONN_AGAIN
        if <size_t> most < n:
            conn_run(c)                       # more may wait behind the short read
            n = <size_t> most
            while True:
                got = recv(c.fd, buf, n, 0)
                if got >= 0 or errno != EINTR:
                    break
            if got > 0:
                return got
        else:
            got = recv(c.fd, buf, n, 0)
    else:
        got = recv(c.fd, buf, n, 0)
    while True:
        if LIKELY(got > 0):
            if <size_t> got < n and not (c.flags & (CONN_RDHUP | CONN_HUP)):
                # A short read has emptied the socket; a FIN behind the bytes would have come with EPOLLRDHUP, or makes a new edge.
                c.flags &= ~<uint32_t> CONN_READABLE
            return got
        if got == 0:
            c.flags |= CONN_EOF
            c.flags &= ~<uint32_t> CONN_READABLE
            return CONN_CLOSED
        if errno == EAGAIN:
            c.flags &= ~<uint32_t> CONN_READABLE
            return CONN_AGAIN
        if errno != EINTR:
            c.error = errno
            c.flags &= ~<uint32_t> CONN_READABLE
            return CONN_ERROR
        got = recv(c.fd, buf, n, 0)


cdef ssize_t conn_peek(conn_t *c, char *buf, size_t n) noexcept nogil:
    cdef ssize_t got, most
    cdef size_t asked = n
    if LB_DEBUG and (c.flags & CONN_TWISTED or c.loop.chaos != 0):
        most = disturbed_size(c, n, CONN_READABLE)
        if most == 0:
            return CONN_AGAIN
        n = <size_t> most
        if n < asked:
            conn_run(c)                       # more may wait behind the short look
    while True:
        got = recv(c.fd, buf, n, MSG_PEEK)
        if got > 0:
            if <size_t> got < n:
                c.flags &= ~<uint32_t> CONN_READABLE
            return got
        if got == 0:
            return CONN_CLOSED
        if errno == EAGAIN:
            c.flags &= ~<uint32_t> CONN_READABLE
            return CONN_AGAIN
        if errno != EINTR:
            c.error = errno
            return CONN_ERROR


cdef int conn_skip(conn_t *c, char *buf, size_t n) noexcept nogil:
    cdef ssize_t got
    while n:
        got = recv(c.fd, buf, n, 0)
        if got > 0:
            n -= <size_t> got
        elif got == 0 or errno != EINTR:
            return -1
    return 0


cdef ssize_t conn_send(conn_t *c, iovec *pieces, int count) noexcept nogil:
    cdef ssize_t sent, most
    cdef size_t all = 0
    cdef int i
    cdef msghdr m
    cdef iovec short_piece
    for i in range(count):
        all += pieces[i].iov_len
    if LB_DEBUG and (c.flags & CONN_TWISTED or c.loop.chaos != 0):
        most = disturbed_size(c, all, CONN_WRITABLE)
        if most == 0:
            return CONN_AGAIN
        if <size_t> most < all:
            conn_run(c)
            i = 0
            while pieces[i].iov_len == 0:
                i += 1
            short_piece = pieces[i]
            if <size_t> most < short_piece.iov_len:
                short_piece.iov_len = <size_t> most
            pieces = &short_piece
            count = 1
            all = short_piece.iov_len
    while True:
        if count == 1:
            sent = send(c.fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
        else:
            memset(&m, 0, sizeof(m))
            m.msg_iov = pieces
            m.msg_iovlen = <size_t> count
            sent = sendmsg(c.fd, &m, MSG_NOSIGNAL)
        if LIKELY(sent >= 0):
            if <size_t> sent < all:
                c.flags &= ~<uint32_t> CONN_WRITABLE
            return sent
        if errno == EAGAIN:
            c.flags &= ~<uint32_t> CONN_WRITABLE
            return CONN_AGAIN
        if errno != EINTR:
            c.error = errno
            c.flags &= ~<uint32_t> CONN_WRITABLE
            return CONN_ERROR


cdef int conn_connected(conn_t *c) noexcept nogil:
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    if getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0:
        return errno
    return error
