from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy
from lb._speedups.io.conn cimport CONN_CONNECTING, CONN_WRITABLE
from lb._speedups.io.sys cimport (
    AF_INET, AF_UNIX, EADDRINUSE, EADDRNOTAVAIL, EINPROGRESS, EMFILE, ENOBUFS, IP_BIND_ADDRESS_NO_PORT, IPPROTO_IP,
    IPPROTO_TCP,
    SO_BINDTODEVICE, SO_KEEPALIVE, SO_REUSEADDR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    TCP_FASTOPEN_CONNECT, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_MAXSEG, TCP_NODELAY, TCP_USER_TIMEOUT, bind,
    close, connect, errno, htons, setsockopt, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socket, socklen_t,
)
from lb._speedups.policy.plan cimport (
    SOCKET_FAST_OPEN, SOCKET_KEEPALIVE, SOCKET_TUNED, plan_server_t, plan_socket, plan_socket_t, plan_t, plan_text,
)
from lb._speedups.relay.idle cimport idle_spare
from lb._speedups.relay.relay cimport STREAM_HTTP, engine_t, stream_t

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint x)


cdef inline int set_number(int fd, int level, int name, uint32_t given) noexcept nogil:
    cdef int value = <int> given
    return setsockopt(fd, level, name, &value, sizeof(value))


# What was asked for and cannot be had is a failure: a connection that leaves through another interface or from another
# address than configured would be worse than none. Tuning is not: a kernel without an option does its best.
cdef int set_options(int fd, const plan_t *p, const plan_socket_t *o) noexcept nogil:
    if o.interface.len != 0 and setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, plan_text(p, o.interface),
                                           <socklen_t> o.interface.len) != 0:
        return -1
    if o.flags & SOCKET_KEEPALIVE:
        set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        if o.keepalive_idle_s:
            set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, o.keepalive_idle_s)
        if o.keepalive_interval_s:
            set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, o.keepalive_interval_s)
        if o.keepalive_count:
            set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, o.keepalive_count)
    if o.user_timeout_ms:
        set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, o.user_timeout_ms)
    if o.mss:
        set_number(fd, IPPROTO_TCP, TCP_MAXSEG, o.mss)
    return 0


cdef int bind_source(int fd, const plan_socket_t *o, uint16_t port) noexcept nogil:
    cdef sockaddr_storage address
    memcpy(&address, o.source, o.source_len)
    if port == 0:
        set_number(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    else:
        set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1)
        if o.source_family == AF_INET:
            (<sockaddr_in *> &address).sin_port = htons(port)
        else:
            (<sockaddr_in6 *> &address).sin6_port = htons(port)
    return bind(fd, <const sockaddr *> &address, o.source_len)


# The port of this try: of the worker's own share first, then of the whole range. 0: no more tries.
cdef uint16_t port_of(engine_t *e, const plan_t *p, const plan_socket_t *o, uint32_t tries) noexcept nogil:
    cdef uint32_t ports = <uint32_t> o.port_high - o.port_low + 1
    cdef uint32_t workers = p.workers if p.workers != 0 else 1
    cdef uint32_t worker = (e.slot - 1) % workers
    cdef uint32_t first = ports * worker // workers
    cdef uint32_t mine = ports * (worker + 1) // workers - first
    cdef uint32_t most = mine if mine < PORT_TRIES else PORT_TRIES
    e.next_port += 1
    if tries < most:
        return <uint16_t> (o.port_low + first + e.next_port % mine)
    if tries - most < (ports if ports < PORT_TRIES else PORT_TRIES):
        return <uint16_t> (o.port_low + (first + e.next_port) % ports)
    return 0


# A socket with all that is asked for, bound and told to connect, or below 0 as dial().
cdef int attempt(stream_t *st, const plan_server_t *s, const plan_socket_t *o, uint16_t port, uint32_t *flags,
                 bint *early) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef int fd = socket(s.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int error
    while UNLIKELY(fd < 0) and errno == EMFILE and idle_spare(st.engine):
        fd = socket(s.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return -ENOBUFS
    if s.family != AF_UNIX:
        set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1)
        if (o.flags & SOCKET_TUNED and set_options(fd, p, o) != 0) \
                or (o.source_family != 0 and bind_source(fd, o, port) != 0):
            error = errno
            close(fd)
            return -EADDRINUSE if error == EADDRINUSE else -ENOBUFS
        if o.flags & SOCKET_FAST_OPEN and st.flags & STREAM_HTTP:
            early[0] = set_number(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1) == 0
    if connect(fd, <const sockaddr *> s.address, s.address_len) == 0:
        flags[0] = CONN_WRITABLE
        return fd
    error = errno
    early[0] = False                          # no cookie of the server yet: an ordinary handshake, which asks for one
    if error == EINPROGRESS:
        flags[0] = CONN_CONNECTING
        return fd
    close(fd)
    return -error


cdef int dial(stream_t *st, const plan_server_t *s, uint32_t *flags, bint *early) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const plan_socket_t *o = plan_socket(p, s.socket)
    cdef uint32_t tries = 0
    cdef uint16_t port
    cdef int fd
    early[0] = False
    if o.port_low == 0:
        return attempt(st, s, o, 0, flags, early)
    while True:
        port = port_of(st.engine, p, o, tries)
        if port == 0:
            return -EADDRNOTAVAIL
        fd = attempt(st, s, o, port, flags, early)
        if fd != -EADDRINUSE and fd != -EADDRNOTAVAIL:
            return fd
        tries += 1
