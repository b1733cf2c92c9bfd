from libc.errno cimport EAGAIN, ECONNREFUSED, EINPROGRESS, EINTR, EMSGSIZE, EPIPE, ETIMEDOUT, errno
from libc.string cimport memcmp, memcpy, memset

from lb._speedups.io.logjournal cimport JOURNAL_FIELDS_MAX, journal_fields, journal_send_large
from lb._speedups.io.logtarget cimport (
    FORM_5424, TARGET_BACKOFF_MIN_MS, TARGET_JOURNAL, TARGET_OCTETS, above_std, sockaddr_storage_t, sockaddr_t, socklen_t,
    target_clock_ms, target_lose, target_room, target_write_out,
)


cdef extern from "lb.h" nogil:
    void lb_store_relaxed_u32(uint32_t *p, uint32_t value)
    void lb_count_u64(uint64_t *p, uint64_t n)


cdef extern from "<poll.h>" nogil:
    ctypedef struct pollfd_t "struct pollfd":
        int fd
        short events
        short revents
    int poll(pollfd_t *fds, unsigned long n, int timeout_ms)
    short POLLOUT


cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_KEEPIDLE
    int TCP_KEEPINTVL
    int TCP_KEEPCNT
    int TCP_NODELAY
    int TCP_USER_TIMEOUT


cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP


cdef extern from "<stdio.h>" nogil:
    int snprintf(char *text, size_t size, const char *form, ...)


cdef extern from "<sys/socket.h>" nogil:
    int AF_UNIX
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int SOCK_CLOEXEC
    int SOCK_DGRAM
    int SOCK_NONBLOCK
    int SOCK_STREAM
    int SOL_SOCKET
    int SO_ERROR
    int SO_KEEPALIVE
    int connect(int fd, const sockaddr_t *address, socklen_t size)
    int getsockname(int fd, sockaddr_t *address, socklen_t *size)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
    int socket(int family, int kind, int protocol)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)


cdef enum:
    HEADER_MAX = 512            # bytes of a syslog header; host name and tag are cut so that it fits
    CONNECT_MS = 5000           # longest wait for a tcp connection
    UNACKED_MS = 60000          # tcp: a peer that acknowledges nothing, or has no room, for so long is gone
    KEEPIDLE_S = 30             # tcp: silence before the kernel asks whether the peer is there
    KEEPINTVL_S = 10
    KEEPCNT = 3


# Where the message of the frame at `at` begins; *end = where it ends.
cdef size_t frame_at(const target_t *t, size_t at, size_t *end) noexcept nogil:
    cdef size_t size = 0
    while t.data[at] != 32:
        size = 10 * size + (t.data[at] - 48)
        at += 1
    end[0] = at + 1 + size
    return at + 1


cdef uint64_t frames_waiting(const target_t *t) noexcept nogil:
    cdef uint64_t records = 0
    cdef size_t at = t.first
    while at < t.end:
        frame_at(t, at, &at)
        records += 1
    return records


cdef inline void set_option(int fd, int level, int name, int value) noexcept nogil:
    # What fails here makes a dead peer be noticed later, nothing else.
    setsockopt(fd, level, name, &value, sizeof(value))


cdef void frames_connect(target_t *t) noexcept nogil:
    cdef int kind = SOCK_STREAM if t.kind == TARGET_OCTETS else SOCK_DGRAM
    t.fd = above_std(socket(t.address.ss_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0))
    if t.fd < 0:
        target_lose(t, errno)
        return
    if t.kind == TARGET_OCTETS:
        set_option(t.fd, IPPROTO_TCP, TCP_NODELAY, 1)
        set_option(t.fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        set_option(t.fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPIDLE_S)
        set_option(t.fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPINTVL_S)
        set_option(t.fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPCNT)
        set_option(t.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS)
    if connect(t.fd, <sockaddr_t *>&t.address, t.address_size) == 0:
        t.connecting = t.kind == TARGET_OCTETS
    elif errno == EINPROGRESS:
        t.connecting = True
        t.retry_ms = target_clock_ms() + CONNECT_MS
    else:
        target_lose(t, errno)


# Where nobody listens on a port of this machine, the kernel may take that port as the source, and a connection comes
# about with itself.
cdef bint frames_is_itself(target_t *t) noexcept nogil:
    cdef sockaddr_storage_t own
    cdef socklen_t size = sizeof(own)
    memset(&own, 0, sizeof(own))
    return getsockname(t.fd, <sockaddr_t *>&own, &size) == 0 and memcmp(&own, &t.address, t.address_size) == 0


# Look whether a tcp connection has come about.
cdef void frames_connected(target_t *t) noexcept nogil:
    cdef pollfd_t ready
    cdef int failed = 0
    cdef socklen_t size = sizeof(failed)
    ready.fd = t.fd
    ready.events = POLLOUT
    ready.revents = 0
    poll(&ready, 1, 0)
    if not ready.revents:
        if target_clock_ms() >= t.retry_ms:
            target_lose(t, ETIMEDOUT)
        return
    getsockopt(t.fd, SOL_SOCKET, SO_ERROR, &failed, &size)
    if not failed and frames_is_itself(t):
        failed = ECONNREFUSED
    if failed:
        target_lose(t, failed)
        return
    t.connecting = False
    lb_store_relaxed_u32(&t.error, 0)


# Read what a tcp server sends, which nobody wants, to see that it has not closed.
cdef void frames_listen(target_t *t) noexcept nogil:
    cdef char unwanted[4096]
    cdef ssize_t n = recv(t.fd, unwanted, sizeof(unwanted), MSG_DONTWAIT)
    if n == 0:
        target_lose(t, EPIPE)
    elif n < 0 and errno != EAGAIN and errno != EINTR:
        target_lose(t, errno)


cdef void frames_begin(target_t *t) noexcept nogil:
    t.blocked = False
    if t.fd < 0 and target_clock_ms() >= t.retry_ms:
        frames_connect(t)
    if t.connecting:
        frames_connected(t)
    if t.kind == TARGET_OCTETS and t.fd >= 0 and not t.connecting:
        frames_listen(t)
    t.blocked = t.fd < 0 or t.connecting


# Send each message until nothing is left or the socket does not take more.
cdef void frames_send(target_t *t) noexcept nogil:
    cdef size_t text, end
    cdef ssize_t n
    cdef int failed = 0, refused = 0
    cdef uint64_t written = 0
    while t.start < t.end and not failed:
        text = frame_at(t, t.start, &end)
        n = send(t.fd, t.data + text, end - text, MSG_DONTWAIT | MSG_NOSIGNAL)
        if n >= 0:
            written += n
            t.start = end
        elif errno == EMSGSIZE and t.kind == TARGET_JOURNAL and journal_send_large(t.fd, t.data + text, end - text) == 0:
            written += end - text
            t.start = end
        elif errno == EMSGSIZE:
            lb_count_u64(&t.dropped, 1)
            t.start = end
        elif errno == ECONNREFUSED and t.address.ss_family != AF_UNIX and refused < 1000:
            # Not this datagram: the answer (ICMP) to one that was sent before, for which nobody was there.
            lb_count_u64(&t.dropped, 1)
            refused += 1
        elif errno != EINTR:
            failed = errno
    t.first = t.start
    lb_count_u64(&t.bytes, written)
    if failed and failed != EAGAIN and t.address.ss_family == AF_UNIX:
        target_lose(t, failed)
    else:
        lb_store_relaxed_u32(&t.error, failed if failed else ECONNREFUSED if refused else 0)
        if written:
            t.backoff_ms = TARGET_BACKOFF_MIN_MS
    if t.start == t.end:
        t.start = t.end = t.first = 0
    t.blocked = failed != 0


# tcp: the messages that were written to their end are done; what failed otherwise than by being full is lost.
cdef void frames_settle(target_t *t, uint64_t written, int failed) noexcept nogil:
    cdef size_t end
    while t.first < t.start:
        frame_at(t, t.first, &end)
        if end > t.start:
            break
        t.first = end
    if written:
        t.backoff_ms = TARGET_BACKOFF_MIN_MS
    if failed and failed != EAGAIN:
        target_lose(t, failed)


cdef void frames_flush(target_t *t) noexcept nogil:
    cdef uint64_t written = 0
    cdef int failed
    if t.fd < 0 or t.connecting:
        return
    if t.kind != TARGET_OCTETS:
        frames_send(t)
        return
    failed = target_write_out(t, &written)
    lb_count_u64(&t.bytes, written)
    lb_store_relaxed_u32(&t.error, failed)
    frames_settle(t, written, failed)
    if t.start == t.end:
        t.start = t.end = t.first = 0
        t.torn = False
    t.blocked = failed != 0


# Buffer what was written behind `header` and the text as one message, or drop it.
cdef void put_frame(
    target_t *t, const char *header, size_t header_len, const char *text, size_t len, const char *tail, size_t tail_len
) noexcept nogil:
    cdef size_t size = header_len + len + tail_len
    cdef char *to
    # Ten digits and a blank more than ever needed.
    if not target_room(t, 11 + size):
        return
    to = t.data + t.end
    to += snprintf(to, 11, b"%u ", <uint32_t>size)
    memcpy(to, header, header_len)
    memcpy(to + header_len, text, len)
    memcpy(to + header_len + len, tail, tail_len)
    t.end = to + size - t.data


cdef void frames_put(target_t *t, const stamp_t *now, uint32_t priority, const char *text, size_t len) noexcept nogil:
    cdef char header[HEADER_MAX]
    cdef char fields[JOURNAL_FIELDS_MAX]
    cdef int size
    if t.kind == TARGET_JOURNAL:
        size = snprintf(header, sizeof(header), b"PRIORITY=%u\nSYSLOG_FACILITY=%u\n%sMESSAGE=", priority & 7, priority >> 3,
                        t.sender)
        put_frame(t, header, size, text, len, fields, journal_fields(fields, text, len))
        return
    if t.form == FORM_5424:
        size = snprintf(header, sizeof(header), b"<%u>1 %s.%06d%s%s", priority, now.iso, now.us, now.zone, t.sender)
    else:
        size = snprintf(header, sizeof(header), b"<%u>%s%s", priority, now.bsd, t.sender)
    put_frame(t, header, size, text, len, b"", 0)
