"""The log thread: from the rings of all workers to files, streams and syslog servers.

One C thread in the supervisor, without Python and without the GIL. Every 20 ms while there is work (up to 100 ms when
idle) it walks the rings, appends each record and a newline to the buffer of its target, and writes a buffer when it
holds 64 KiB or the pass is over. Python talks to it by orders: a list under a mutex, and an eventfd that wakes it.
The thread alone touches files and buffers; what `stats` reads changes under the mutex, which is never held over I/O.

A target that does not take its records must never hold the others, nor make a worker wait:

- a pipe, a terminal and the like is opened again through /proc/self/fd with O_NONBLOCK. That gives an open file
  description of our own: the flag on stdout itself would also change it for the shell and for every process that
  shares it. Where it cannot be opened again, the thread polls and writes at most PIPE_BUF bytes, which a pipe that
  polls writable takes without waiting. Both write whole lines of at most PIPE_BUF, so lines are never torn.
- a socket (journald's stdout is one) is sent to with MSG_DONTWAIT.
- a syslog server (udp, unix datagrams, tcp) has a non-blocking socket of its own. Its thread connects it, and connects
  it again when it was lost: after 100 ms, then twice as long each time, up to 5 s. Only tcp can be lost without an
  error of a write; so it is read before it is written to, and an end of the stream is seen before records go into it.
- a regular file is written directly. A disk that hangs holds this thread, so all targets, but no worker: rings fill,
  drop and count.

What a target does not take stays in its buffer, 4 MiB of addresses of which only what was used is memory; then its
records are dropped and counted. A full disk is no special case: the rest of a record that was cut by it is written
first when there is room again, so that lines stay whole.

What waits for a syslog server is kept as it goes over tcp, whatever the transport: octet counting of RFC 6587, which is
the length of a message in digits, a blank, the message. A datagram is a message without its length. `first` is where
the first message begins that was not written to its end; a new connection begins there, so it begins with a whole one.
The header (RFC 3164 or 5424) is made when a record comes from its ring, with the time of that pass: one that waits for
a server keeps it.
"""

import os
import re
import socket as sockets
from collections import namedtuple
from contextlib import suppress

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport (
    EAGAIN, ECONNREFUSED, EINPROGRESS, EINTR, EMSGSIZE, ENOMEM, EPIPE, ETIMEDOUT, errno,
)
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strcmp, strdup
from posix.fcntl cimport O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, open
from posix.stat cimport S_ISFIFO, S_ISCHR, S_ISREG, S_ISSOCK, fstat, struct_stat
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.types cimport pid_t, time_t
from posix.unistd cimport close, getpid, read, write

from lb._speedups.base.logring cimport (
    LOGRING_DATA, LOGRING_EVERY, logrecord_t, logring_next, logring_peek, logring_t,
)
from lb._speedups.base.mapping cimport (
    MAPPING_RING, MAPPING_WORKERS, mapping_ring, mapping_t, mapping_worker,
)
from lb._speedups.face.mapping cimport Mapping


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)
    uint32_t lb_load_u32(const uint32_t *p)
    uint32_t lb_load_relaxed_u32(const uint32_t *p)
    void lb_store_relaxed_u32(uint32_t *p, uint32_t value)
    void lb_store_u64(uint64_t *p, uint64_t value)
    void lb_count_u64(uint64_t *p, uint64_t n)


cdef extern from "<fcntl.h>" nogil:
    int O_CLOEXEC
    int O_NOCTTY
    int F_DUPFD_CLOEXEC
    int fcntl(int fd, int command, int argument)


cdef extern from "<limits.h>" nogil:
    int PIPE_BUF


cdef extern from "<poll.h>" nogil:
    ctypedef struct pollfd_t "struct pollfd":
        int fd
        short events
        short revents
    int poll(pollfd_t *fds, unsigned long n, int timeout_ms)
    short POLLIN
    short POLLOUT


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    int pthread_create(pthread_t *thread, void *attributes, void *(*body)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_detach(pthread_t thread)
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_condattr_init(pthread_condattr_t *attributes)
    int pthread_condattr_setclock(pthread_condattr_t *attributes, int clock)
    int pthread_condattr_destroy(pthread_condattr_t *attributes)
    int pthread_cond_init(pthread_cond_t *condition, pthread_condattr_t *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_broadcast(pthread_cond_t *condition)
    int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const timespec *until)
    int pthread_setname_np(pthread_t thread, const char *name)


cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)


cdef extern from "<stdio.h>" nogil:
    int snprintf(char *text, size_t size, const char *form, ...)


cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC
    int EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)


cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *out)
    uint16_t htons(uint16_t value)


cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_KEEPIDLE
    int TCP_KEEPINTVL
    int TCP_KEEPCNT
    int TCP_NODELAY
    int TCP_USER_TIMEOUT


cdef extern from "<netinet/in.h>" nogil:
    ctypedef struct in_addr_t "struct in_addr":
        pass
    ctypedef struct in6_addr_t "struct in6_addr":
        pass
    ctypedef struct sockaddr_in_t "struct sockaddr_in":
        uint16_t sin_port
        in_addr_t sin_addr
    ctypedef struct sockaddr_in6_t "struct sockaddr_in6":
        uint16_t sin6_port
        in6_addr_t sin6_addr
    int IPPROTO_TCP


cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef struct sockaddr_t "struct sockaddr":
        pass
    ctypedef struct sockaddr_storage_t "struct sockaddr_storage":
        unsigned short ss_family
    int AF_INET
    int AF_INET6
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


cdef extern from "<sys/un.h>" nogil:
    ctypedef struct sockaddr_un_t "struct sockaddr_un":
        char sun_path[108]


cdef extern from "<time.h>" nogil:
    ctypedef struct tm_t "struct tm":
        int tm_mon
        long tm_gmtoff
    tm_t *localtime_r(const time_t *at, tm_t *out)
    size_t strftime(char *text, size_t size, const char *form, const tm_t *at)


cdef extern from "<string.h>" nogil:
    void *memrchr(const void *data, int c, size_t size)


cdef enum:
    TARGETS_MAX = 32            # numbers of targets: 0..31
    BUFFER = 4194304            # bytes a target may hold back
    BATCH = 65536               # a buffer is written when it holds this much
    BUSY_MS = 20                # between passes
    IDLE_MS = 100               # between passes when nothing comes
    MESSAGES_MAX = 10000        # orders that may wait; more messages are dropped
    HEADER_MAX = 512            # bytes of a syslog header; host name and tag are cut so that it fits
    BACKOFF_MIN_MS = 100        # before a lost target is connected again, twice as long each time
    BACKOFF_MAX_MS = 5000
    CONNECT_MS = 5000           # longest wait for a tcp connection
    UNACKED_MS = 60000          # tcp: a peer that acknowledges nothing, or has no room, for so long is gone
    KEEPIDLE_S = 30             # tcp: silence before the kernel asks whether the peer is there
    KEEPINTVL_S = 10
    KEEPCNT = 3

cdef enum:                      # target_t.kind
    TARGET_FILE = 1             # regular file
    TARGET_STREAM               # pipe, terminal, device: a non-blocking description of our own
    TARGET_PIECES               # the same, but shared: poll before each write
    TARGET_SOCKET
    TARGET_DATAGRAM             # syslog: a datagram for each message; this and what follows holds frames
    TARGET_OCTETS               # syslog: tcp with octet counting, RFC 6587 3.4.1

cdef enum:                      # target_t.form
    FORM_LOCAL = 1              # as 3164, without a host name: HAProxy's `local`
    FORM_3164
    FORM_5424

cdef enum:                      # order_t.kind
    ORDER_FLUSH = 1
    ORDER_REOPEN
    ORDER_TARGETS
    ORDER_MESSAGE
    ORDER_STOP


ctypedef struct stamp_t:        # the time of a pass, as syslog headers show it
    int64_t second              # that both texts show
    char bsd[16]                # Nov  2 08:14:00
    char iso[32]                # 2026-11-02T08:14:00
    char zone[16]               # +01:00
    int us


ctypedef struct target_t:
    # immutable
    char *key                   # who it is: targets with the same key are one. The name, and the header's parts
    char *name                  # "stdout", "stderr", a path, or what stands in the configuration for a server
    int std                     # 1, 2: which stream; 0 = a path
    # immutable, syslog only
    int form                    # FORM_*
    uint32_t priority           # of access records: 8 * facility + severity
    char *sender                # what stands behind the time: host name, tag, pid
    sockaddr_storage_t address
    socklen_t address_size
    # log thread
    int fd                      # -1 = a server that is not connected
    int kind                    # TARGET_*; of a syslog server it never changes
    bint connecting             # tcp: the connection is not there yet
    uint64_t retry_ms           # without fd: when to connect; connecting: when to give up
    uint64_t backoff_ms         # the next wait
    bint blocked                # does not take any more in this pass
    bint torn                   # what is buffered begins inside a record whose beginning was written
    char *data                  # BUFFER bytes; start <= end
    size_t start
    size_t end
    size_t first                # frames: where the first one begins that was not written to its end; <= start
    # log thread; atomic: Python reads them
    uint32_t error              # errno of the last write, 0 = it went well
    uint32_t reopen_error       # errno of the last reopening, 0 = it went well; else the old file is still in use
    uint64_t records            # put into the buffer
    uint64_t bytes              # written
    uint64_t dropped            # records


ctypedef struct targets_t:      # replaced as a whole
    int count
    target_t *list[TARGETS_MAX]         # without repetition
    int numbers                         # targets by number, as records name them
    uint16_t number[TARGETS_MAX]        # index in `list`


ctypedef struct order_t:
    order_t *next
    int kind                    # ORDER_*
    uint64_t ticket
    uint64_t until_ms           # ORDER_STOP: give up then
    targets_t targets           # ORDER_TARGETS: those with a `key` that is in use keep the old target
    char *text                  # ORDER_MESSAGE
    size_t len


ctypedef struct drain_t:
    # immutable
    mapping_t *m
    int wake                    # eventfd
    pid_t pid                   # a forked child has no such thread
    pthread_t thread
    # log thread, under lock when written
    targets_t targets
    target_t *messages          # stderr, for lb's own lines; NULL = it is closed
    bint is_own                 # `messages` is none of `targets`
    uint64_t retired            # records dropped by targets that are gone
    # log thread
    stamp_t now
    # log thread; atomic: Python reads them
    uint64_t records            # read from rings
    uint64_t unknown            # of these, with the number of no target
    uint64_t passes
    # under lock
    pthread_mutex_t lock
    pthread_cond_t changed      # `answered` or `ended`
    order_t *first
    order_t *last
    uint64_t asked              # tickets given
    uint64_t lost               # messages dropped, because the thread hung
    uint64_t answered           # all up to this one are done
    bint ended


Syslog = namedtuple("Syslog", "to form priority tag")
FORMS = ("local", "rfc3164", "rfc5424")     # in the order of FORM_*


cdef uint64_t mono_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec // 1000000


cdef void stamp_now(stamp_t *s) noexcept nogil:
    cdef timespec now
    cdef time_t at
    cdef tm_t local
    cdef int offset
    cdef const char *month
    clock_gettime(CLOCK_REALTIME, &now)
    s.us = <int>(now.tv_nsec // 1000)
    if now.tv_sec == s.second:
        return
    s.second = at = now.tv_sec
    localtime_r(&at, &local)
    month = <const char *>b"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * local.tm_mon
    # RFC 3164 4.1.2: a day below 10 has a blank in front.
    strftime(s.bsd, sizeof(s.bsd), b"xxx %e %H:%M:%S", &local)
    # Not %b, which is of the locale.
    memcpy(s.bsd, month, 3)
    strftime(s.iso, sizeof(s.iso), b"%Y-%m-%dT%H:%M:%S", &local)
    offset = <int>(local.tm_gmtoff // 60)
    s.zone[0] = 45 if offset < 0 else 43
    offset = -offset if offset < 0 else offset
    snprintf(s.zone + 1, sizeof(s.zone) - 1, b"%02u:%02u", <unsigned int>offset // 60 % 24, <unsigned int>offset % 60)


# ---- targets ----------------------------------------------------------------------------------------------

# A daemon started with stdout or stderr closed would get its log file there, and others would write into it.
cdef int above_std(int fd) noexcept nogil:
    cdef int low = fd
    if 0 <= fd < 3:
        fd = fcntl(low, F_DUPFD_CLOEXEC, 3)
        close(low)
    return fd


cdef int open_above_std(const char *path, int flags) noexcept nogil:
    return above_std(open(path, flags, 0o640))


# Open what `t` names. 0 and fd, kind; else errno.
cdef int target_open(const target_t *t, int *fd, int *kind) noexcept nogil:
    cdef struct_stat st
    cdef char path[32]
    cdef int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
    if not t.std:
        fd[0] = open_above_std(t.name, flags | O_CREAT)
        if fd[0] < 0:
            return errno
        if fstat(fd[0], &st) < 0:
            close(fd[0])
            return errno
        kind[0] = TARGET_FILE if S_ISREG(st.st_mode) else TARGET_STREAM
        return 0
    if fstat(t.std, &st) < 0:
        return errno
    if S_ISFIFO(st.st_mode) or S_ISCHR(st.st_mode):
        snprintf(path, sizeof(path), "/proc/self/fd/%d", t.std)
        fd[0] = open_above_std(path, flags)
        if fd[0] >= 0:
            kind[0] = TARGET_STREAM
            return 0
        kind[0] = TARGET_PIECES
    else:
        # A file that the shell opened is not opened again: `> file` keeps its place in the description we share.
        kind[0] = TARGET_SOCKET if S_ISSOCK(st.st_mode) else TARGET_FILE
    fd[0] = fcntl(t.std, F_DUPFD_CLOEXEC, 3)
    return errno if fd[0] < 0 else 0


cdef void target_free(target_t *t) noexcept nogil:
    if t == NULL:
        return
    if t.fd >= 0:
        close(t.fd)
    free(t.data)
    free(t.sender)
    free(t.name)
    free(t.key)
    free(t)


# A new target that is not open, NULL without memory.
cdef target_t *target_make(const char *key, const char *name) noexcept nogil:
    cdef target_t *t = <target_t *>calloc(1, sizeof(target_t))
    if t == NULL:
        return NULL
    t.fd = -1
    t.key = strdup(key)
    t.name = strdup(name)
    t.data = <char *>malloc(BUFFER)
    if t.key == NULL or t.name == NULL or t.data == NULL:
        target_free(t)
        return NULL
    return t


# A new target with its file open, or NULL and *failed = errno.
cdef target_t *target_new(const char *name, int *failed) noexcept nogil:
    cdef target_t *t = target_make(name, name)
    failed[0] = ENOMEM
    if t == NULL:
        return NULL
    t.std = 1 if strcmp(name, b"stdout") == 0 else 2 if strcmp(name, b"stderr") == 0 else 0
    failed[0] = target_open(t, &t.fd, &t.kind)
    if failed[0]:
        target_free(t)
        return NULL
    return t


cdef inline bint target_is_syslog(const target_t *t) noexcept nogil:
    return t.kind >= TARGET_DATAGRAM


# Where the message of the frame at `at` begins; *end = where it ends.
cdef size_t target_frame(const target_t *t, size_t at, size_t *end) noexcept nogil:
    cdef size_t size = 0
    while t.data[at] != 32:
        size = 10 * size + (t.data[at] - 48)
        at += 1
    end[0] = at + 1 + size
    return at + 1


# Records that are buffered, one whose beginning was written included.
cdef uint64_t target_waiting(const target_t *t) noexcept nogil:
    cdef uint64_t records = 0
    cdef const char *p = t.data + t.start
    cdef const char *end = t.data + t.end
    cdef size_t at = t.first
    if target_is_syslog(t):
        while at < t.end:
            target_frame(t, at, &at)
            records += 1
        return records
    while p < end:
        p = <const char *>memchr(p, 10, end - p) + 1
        records += 1
    return records


# A server is lost, or could not be reached: connect it again later, and begin with a whole message.
cdef void target_lose(target_t *t, int failed) noexcept nogil:
    if t.fd >= 0:
        close(t.fd)
    t.fd = -1
    t.connecting = False
    t.start = t.first
    t.retry_ms = mono_ms() + t.backoff_ms
    t.backoff_ms = min(2 * t.backoff_ms, <uint64_t>BACKOFF_MAX_MS)
    lb_store_relaxed_u32(&t.error, failed)


cdef inline void set_option(int fd, int level, int name, int value) noexcept nogil:
    # What fails here makes a dead peer be noticed later, nothing else.
    setsockopt(fd, level, name, &value, sizeof(value))


cdef void target_connect(target_t *t) noexcept nogil:
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
        t.retry_ms = mono_ms() + CONNECT_MS
    else:
        target_lose(t, errno)


# Where nobody listens on a port of this machine, the kernel may take that port as the source, and a connection comes
# about with itself.
cdef bint target_is_itself(target_t *t) noexcept nogil:
    cdef sockaddr_storage_t own
    cdef socklen_t size = sizeof(own)
    memset(&own, 0, sizeof(own))
    return getsockname(t.fd, <sockaddr_t *>&own, &size) == 0 and memcmp(&own, &t.address, t.address_size) == 0


# Look whether a tcp connection has come about.
cdef void target_connected(target_t *t) noexcept nogil:
    cdef pollfd_t ready
    cdef int failed = 0
    cdef socklen_t size = sizeof(failed)
    ready.fd = t.fd
    ready.events = POLLOUT
    ready.revents = 0
    poll(&ready, 1, 0)
    if not ready.revents:
        if mono_ms() >= t.retry_ms:
            target_lose(t, ETIMEDOUT)
        return
    getsockopt(t.fd, SOL_SOCKET, SO_ERROR, &failed, &size)
    if not failed and target_is_itself(t):
        failed = ECONNREFUSED
    if failed:
        target_lose(t, failed)
        return
    t.connecting = False
    lb_store_relaxed_u32(&t.error, 0)


# Read what a tcp server sends, which nobody wants, to see that it has not closed.
cdef void target_listen(target_t *t) noexcept nogil:
    cdef char unwanted[4096]
    cdef ssize_t n = recv(t.fd, unwanted, sizeof(unwanted), MSG_DONTWAIT)
    if n == 0:
        target_lose(t, EPIPE)
    elif n < 0 and errno != EAGAIN and errno != EINTR:
        target_lose(t, errno)


# Begin a pass: whatever a server needs before it can be written to.
cdef void target_begin(target_t *t) noexcept nogil:
    t.blocked = False
    if not target_is_syslog(t):
        return
    if t.fd < 0 and mono_ms() >= t.retry_ms:
        target_connect(t)
    if t.connecting:
        target_connected(t)
    if t.kind == TARGET_OCTETS and t.fd >= 0 and not t.connecting:
        target_listen(t)
    t.blocked = t.fd < 0 or t.connecting


cdef ssize_t target_write(target_t *t, const char *data, size_t size) noexcept nogil:
    cdef pollfd_t ready
    cdef const char *line
    if t.kind == TARGET_FILE:
        return write(t.fd, data, size)
    if t.kind == TARGET_SOCKET or t.kind == TARGET_OCTETS:
        return send(t.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
    if size > <size_t>PIPE_BUF:
        line = <const char *>memrchr(data, 10, PIPE_BUF)
        size = line + 1 - data if line != NULL else PIPE_BUF
    if t.kind == TARGET_PIECES:
        ready.fd = t.fd
        ready.events = POLLOUT
        ready.revents = 0
        if poll(&ready, 1, 0) == 0:
            return -EAGAIN
    return write(t.fd, data, size)


# Send each message until nothing is left or the socket does not take more.
cdef void target_send(target_t *t) noexcept nogil:
    cdef size_t text, end
    cdef ssize_t n
    cdef int failed = 0, refused = 0
    cdef uint64_t written = 0
    while t.start < t.end and not failed:
        text = target_frame(t, t.start, &end)
        n = send(t.fd, t.data + text, end - text, MSG_DONTWAIT | MSG_NOSIGNAL)
        if n >= 0:
            written += n
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
            t.backoff_ms = BACKOFF_MIN_MS
    if t.start == t.end:
        t.start = t.end = t.first = 0
    t.blocked = failed != 0


# tcp: the messages that were written to their end are done; what failed otherwise than by being full is lost.
cdef void target_settle(target_t *t, uint64_t written, int failed) noexcept nogil:
    cdef size_t end
    while t.first < t.start:
        target_frame(t, t.first, &end)
        if end > t.start:
            break
        t.first = end
    if written:
        t.backoff_ms = BACKOFF_MIN_MS
    if failed and failed != EAGAIN:
        target_lose(t, failed)


# Write what is buffered until nothing is left or the target does not take more.
cdef void target_flush(target_t *t) noexcept nogil:
    cdef ssize_t n
    cdef int failed = 0
    cdef uint64_t written = 0
    if t.fd < 0 or t.connecting:
        return
    if t.kind == TARGET_DATAGRAM:
        target_send(t)
        return
    while t.start < t.end and not failed:
        n = target_write(t, t.data + t.start, t.end - t.start)
        if n >= 0:
            t.start += n
            written += n
            t.torn = t.data[t.start - 1] != 10
        elif n == -EAGAIN:
            failed = EAGAIN
        elif errno != EINTR:
            failed = errno
    lb_count_u64(&t.bytes, written)
    lb_store_relaxed_u32(&t.error, failed)
    if t.kind == TARGET_OCTETS:
        target_settle(t, written, failed)
    if t.start == t.end:
        t.start = t.end = t.first = 0
        t.torn = False
    t.blocked = failed != 0


# Room for `size` more bytes; False, and a record dropped, if there is none.
cdef bint target_room(target_t *t, size_t size) noexcept nogil:
    cdef size_t used = t.first if target_is_syslog(t) else t.start
    if LIKELY(BUFFER - t.end >= size):
        return True
    # Moving at most once per half a buffer keeps the cost of a target that takes little from growing.
    if used < BUFFER // 2:
        lb_count_u64(&t.dropped, 1)
        return False
    memmove(t.data, t.data + used, t.end - used)
    t.start -= used
    t.end -= used
    t.first = 0
    return True


# Buffer a syslog message of the record `text`, or drop it.
cdef void target_put_message(target_t *t, const stamp_t *now, uint16_t level, const char *text, size_t len) noexcept nogil:
    cdef char header[HEADER_MAX]
    cdef char *to
    # 0 is an access record; else it is the severity.
    cdef uint32_t priority = t.priority if level == 0 else (t.priority & ~7) | (level & 7)
    cdef int size
    if t.form == FORM_5424:
        size = snprintf(header, sizeof(header), b"<%u>1 %s.%06d%s%s", priority, now.iso, now.us, now.zone, t.sender)
    else:
        size = snprintf(header, sizeof(header), b"<%u>%s%s", priority, now.bsd, t.sender)
    # Ten digits and a blank more than ever needed.
    if not target_room(t, 11 + size + len):
        return
    to = t.data + t.end
    to += snprintf(to, 11, b"%u ", <uint32_t>(size + len))
    memcpy(to, header, size)
    memcpy(to + size, text, len)
    t.end = to + size + len - t.data


# Buffer a record, as a line or as a syslog message, or drop it.
cdef void target_put(target_t *t, const stamp_t *now, uint16_t level, const char *text, size_t len) noexcept nogil:
    cdef size_t before = t.end - t.start
    if target_is_syslog(t):
        target_put_message(t, now, level, text, len)
    elif target_room(t, len + 1):
        memcpy(t.data + t.end, text, len)
        t.data[t.end + len] = 10
        t.end += len + 1
    if t.end - t.start == before:
        return
    lb_count_u64(&t.records, 1)
    if t.end - t.start >= BATCH and not t.blocked:
        target_flush(t)


# Go on in `fd`. What is left of a record whose beginning went to the old file is dropped.
cdef void target_switch(target_t *t, int fd, int kind) noexcept nogil:
    if t.torn:
        t.start = <char *>memchr(t.data + t.start, 10, t.end - t.start) + 1 - t.data
        t.torn = False
        lb_count_u64(&t.dropped, 1)
    close(t.fd)
    t.fd = fd
    t.kind = kind


# ---- the thread -------------------------------------------------------------------------------------------

# The targets and, behind them, stderr for messages when it is none of them: i < d.targets.count + d.is_own.
cdef inline target_t *drain_target(drain_t *d, int i) noexcept nogil:
    return d.targets.list[i] if i < d.targets.count else d.messages


cdef void drain_record(drain_t *d, const char *text, const logrecord_t *record) noexcept nogil:
    cdef int i
    if LIKELY(record.target < d.targets.numbers):
        target_put(d.targets.list[d.targets.number[record.target]], &d.now, record.level, text, record.len)
    elif record.target == LOGRING_EVERY:
        for i in range(d.targets.count):
            target_put(d.targets.list[i], &d.now, record.level, text, record.len)
    else:
        lb_count_u64(&d.unknown, 1)


# The ring of a slot, NULL if it has none: never had a worker, or one that wrote over the ring's size.
cdef inline char *drain_ring(drain_t *d, uint32_t slot) noexcept nogil:
    cdef char *ring
    # Before the ring itself: reading an unused one would give it memory.
    if not lb_load_u32(&mapping_worker(d.m, slot).reserved_memory):
        return NULL
    ring = mapping_ring(d.m, slot)
    return ring if (<logring_t *>ring).size == MAPPING_RING - LOGRING_DATA else NULL


# All that the rings held when this began. At most a ring's size from each: a busy worker cannot hold the pass.
cdef uint64_t drain_rings(drain_t *d) noexcept nogil:
    cdef logrecord_t record
    cdef const char *text
    cdef char *ring
    cdef uint64_t found = 0, room
    cdef uint32_t slot
    for slot in range(1, MAPPING_WORKERS + 1):
        ring = drain_ring(d, slot)
        if ring == NULL:
            continue
        room = MAPPING_RING
        while True:
            text = logring_peek(ring, &record)
            if text == NULL:
                break
            drain_record(d, text, &record)
            logring_next(ring, &record)
            found += 1
            if record.len + sizeof(logrecord_t) >= room:
                break
            room -= record.len + sizeof(logrecord_t)
    lb_count_u64(&d.records, found)
    return found


# One pass over everything. Answers whether a target has more to write.
cdef bint drain_pass(drain_t *d, uint64_t *found) noexcept nogil:
    cdef bint more = False
    cdef target_t *t
    cdef int i
    stamp_now(&d.now)
    for i in range(d.targets.count):
        target_begin(d.targets.list[i])
    found[0] = drain_rings(d)
    for i in range(d.targets.count + d.is_own):
        t = drain_target(d, i)
        if t.start < t.end:
            target_flush(t)
            more = more or t.start < t.end
    lb_count_u64(&d.passes, 1)
    return more


cdef void drain_reopen(drain_t *d) noexcept nogil:
    cdef target_t *t
    cdef int i, fd, kind, failed
    for i in range(d.targets.count):
        t = d.targets.list[i]
        if t.std or target_is_syslog(t):
            continue
        failed = target_open(t, &fd, &kind)
        if not failed:
            target_switch(t, fd, kind)
        lb_store_relaxed_u32(&t.reopen_error, failed)


cdef target_t *targets_find(const targets_t *s, const char *key) noexcept nogil:
    cdef int i
    for i in range(s.count):
        if strcmp(s.list[i].key, key) == 0:
            return s.list[i]
    return NULL


cdef void drain_retarget(drain_t *d, targets_t *fresh) noexcept nogil:
    cdef targets_t before
    cdef target_t *t
    cdef int i
    before = d.targets
    pthread_mutex_lock(&d.lock)
    for i in range(fresh.count):
        t = targets_find(&before, fresh.list[i].key)
        if t == NULL and d.is_own and strcmp(fresh.list[i].key, d.messages.key) == 0:
            t = d.messages
        if t != NULL:
            target_free(fresh.list[i])
            fresh.list[i] = t
    d.targets = fresh[0]
    d.is_own = d.messages != NULL and targets_find(&d.targets, d.messages.key) == NULL
    for i in range(before.count):
        t = before.list[i]
        if targets_find(&d.targets, t.key) == NULL and t != d.messages:
            d.retired += t.dropped + target_waiting(t)
            target_free(t)
    pthread_mutex_unlock(&d.lock)


cdef void drain_obey(drain_t *d, order_t *o) noexcept nogil:
    if o.kind == ORDER_REOPEN:
        drain_reopen(d)
    elif o.kind == ORDER_TARGETS:
        drain_retarget(d, &o.targets)
    elif o.kind == ORDER_MESSAGE:
        if d.messages != NULL:
            target_put(d.messages, &d.now, 0, o.text, o.len)
            target_flush(d.messages)


cdef inline void order_free(order_t *o) noexcept nogil:
    free(o.text)
    free(o)


# Wait for an order, for room in a target that was full, or for the next pass.
cdef void drain_wait(drain_t *d, int timeout_ms) noexcept nogil:
    cdef pollfd_t fds[TARGETS_MAX + 2]
    cdef unsigned long n = 1
    cdef uint64_t value
    cdef ssize_t _n
    cdef target_t *t
    cdef int i
    fds[0].fd = d.wake
    fds[0].events = POLLIN
    for i in range(d.targets.count + d.is_own):
        t = drain_target(d, i)
        # Any other failure (a full disk, a reader that is gone) would poll writable at once: it is tried each pass.
        if t.connecting or (t.fd >= 0 and t.start < t.end and t.error == EAGAIN):
            fds[n].fd = t.fd
            fds[n].events = POLLOUT
            n += 1
    poll(fds, n, timeout_ms)
    if fds[0].revents:
        _n = read(d.wake, &value, sizeof(value))


# The last passes: until nothing is left, nothing more can be written, or it is too late.
cdef void drain_finish(drain_t *d, uint64_t until_ms) noexcept nogil:
    cdef uint64_t found
    cdef bint can_wait
    cdef target_t *t
    cdef int i
    while True:
        if not drain_pass(d, &found) and found == 0:
            return
        if mono_ms() >= until_ms:
            return
        can_wait = found != 0
        for i in range(d.targets.count + d.is_own):
            t = drain_target(d, i)
            if t.start < t.end and (t.connecting or t.error == EAGAIN):
                can_wait = True
        if not can_wait:
            return
        if found == 0:
            drain_wait(d, BUSY_MS)


cdef void *drain_main(void *argument) noexcept nogil:
    cdef drain_t *d = <drain_t *>argument
    cdef order_t *orders
    cdef order_t *o
    cdef uint64_t found, until_ms = 0, answered
    cdef int pause_ms = BUSY_MS
    cdef bint stop = False
    while not stop:
        drain_wait(d, pause_ms)
        pthread_mutex_lock(&d.lock)
        orders = d.first
        d.first = NULL
        d.last = NULL
        pthread_mutex_unlock(&d.lock)
        # Before the orders: what was logged before one was given goes where it went then.
        drain_pass(d, &found)
        pause_ms = BUSY_MS if found else min(2 * pause_ms, IDLE_MS)
        answered = 0
        while orders != NULL:
            o = orders
            orders = o.next
            answered = o.ticket
            if o.kind == ORDER_STOP:
                stop = True
                until_ms = o.until_ms
            else:
                drain_obey(d, o)
            order_free(o)
        if answered and not stop:
            pthread_mutex_lock(&d.lock)
            lb_store_u64(&d.answered, answered)
            pthread_cond_broadcast(&d.changed)
            pthread_mutex_unlock(&d.lock)
    drain_finish(d, until_ms)
    pthread_mutex_lock(&d.lock)
    d.ended = True
    pthread_cond_broadcast(&d.changed)
    pthread_mutex_unlock(&d.lock)
    return NULL


# ---- Python's side ----------------------------------------------------------------------------------------

cdef void drain_free(drain_t *d) noexcept nogil:
    cdef order_t *o
    cdef int i
    for i in range(d.targets.count + d.is_own):
        target_free(drain_target(d, i))
    while d.first != NULL:
        o = d.first
        d.first = o.next
        for i in range(o.targets.count):
            target_free(o.targets.list[i])
        order_free(o)
    if d.wake >= 0:
        close(d.wake)
    pthread_cond_destroy(&d.changed)
    pthread_mutex_destroy(&d.lock)
    free(d)


# Start the thread with every signal blocked: they belong to the thread that runs Python. 0, or an error number.
cdef int drain_start(drain_t *d) noexcept nogil:
    cdef sigset_t all_signals, before
    cdef int failed
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    failed = pthread_create(&d.thread, NULL, drain_main, d)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    if not failed:
        pthread_setname_np(d.thread, b"lb-log")
    return failed


# Wait until all orders up to `ticket` are done, or the thread has ended.
cdef bint drain_await(drain_t *d, uint64_t ticket, uint64_t until_ms) noexcept nogil:
    cdef timespec until
    cdef bint done
    until.tv_sec = until_ms // 1000
    until.tv_nsec = until_ms % 1000 * 1000000
    pthread_mutex_lock(&d.lock)
    while d.answered < ticket and not d.ended:
        if pthread_cond_timedwait(&d.changed, &d.lock, &until):
            break
    done = d.answered >= ticket or d.ended
    pthread_mutex_unlock(&d.lock)
    return done


# It refers to nothing that could refer back; and __dealloc__ needs what it refers to.
@cython.no_gc
cdef class LogDrain:
    cdef drain_t *d
    cdef Mapping mapping        # has this object among its users until the thread has ended
    cdef bint is_journal        # stderr goes to journald
    cdef bint has_thread
    cdef uint64_t refused       # sums over the rings, as of the last count_rings()
    cdef uint64_t broken

    def __cinit__(self, Mapping mapping not None, targets):
        cdef pthread_condattr_t attributes
        cdef int failed
        if mapping.m == NULL:
            raise ValueError("the mapping is closed")
        self.d = d = <drain_t *>calloc(1, sizeof(drain_t))
        if d == NULL:
            raise MemoryError
        d.wake = -1
        pthread_mutex_init(&d.lock, NULL)
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&d.changed, &attributes)
        pthread_condattr_destroy(&attributes)
        d.m = mapping.m
        d.pid = getpid()
        self.open_targets(targets, &d.targets)
        d.messages = targets_find(&d.targets, b"stderr")
        if d.messages == NULL:
            # A closed stderr is no reason not to run: messages are lost then.
            d.messages = target_new(b"stderr", &failed)
            d.is_own = d.messages != NULL
        self.is_journal = is_journal()
        d.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        failed = errno if d.wake < 0 else drain_start(d)
        if failed:
            raise OSError(failed, f"log thread: {os.strerror(failed)}")
        self.has_thread = True
        self.mapping = mapping
        mapping.users += 1

    def __dealloc__(self):
        if self.d == NULL or self.d.pid != getpid():
            return
        if self.has_thread:
            self.end(0)
        if self.mapping is not None:
            # The thread hangs in a write and uses all this: leave it.
            Py_INCREF(self.mapping)
            return
        drain_free(self.d)

    cdef int open_targets(self, names, targets_t *out) except -1:
        cdef target_t *t
        cdef int i, failed
        if len(names) > TARGETS_MAX:
            raise ValueError(f"{len(names)} log targets, at most {TARGETS_MAX} are possible")
        for name in names:
            is_syslog = isinstance(name, Syslog)
            key = "\n".join(map(str, name)).encode() if is_syslog else os.fsencode(name)
            t = targets_find(out, key)
            if t == NULL:
                failed = ENOMEM
                t = self.syslog(name, key) if is_syslog else target_new(key, &failed)
                if t == NULL:
                    for i in range(out.count):
                        target_free(out.list[i])
                    out.count = 0
                    raise OSError(failed, os.strerror(failed), name.to if is_syslog else name)
                out.list[out.count] = t
                out.count += 1
            for i in range(out.count):
                if out.list[i] == t:
                    out.number[out.numbers] = i
            out.numbers += 1
        return 0

    # A target that the thread will connect, NULL without memory.
    cdef target_t *syslog(self, name, bytes key) except? NULL:
        cdef sockaddr_storage_t address
        cdef socklen_t size = socket_address(name.to, &address)
        cdef bytes sender = sender_text(name, self.d.pid)
        cdef int form = FORMS.index(name.form) + 1
        cdef uint32_t priority = name.priority
        cdef bint is_tcp = name.to.startswith("tcp:")
        cdef target_t *t = target_make(key, name.to.encode())
        if t == NULL:
            return NULL
        t.kind = TARGET_OCTETS if is_tcp else TARGET_DATAGRAM
        t.form = form
        t.priority = priority
        t.address = address
        t.address_size = size
        t.backoff_ms = BACKOFF_MIN_MS
        t.sender = strdup(sender)
        if t.sender == NULL:
            target_free(t)
            return NULL
        return t

    cdef order_t *order(self, int kind) except NULL:
        cdef order_t *o
        if not self.has_thread or self.d.pid != getpid():
            raise RuntimeError("the log thread has ended")
        o = <order_t *>calloc(1, sizeof(order_t))
        if o == NULL:
            raise MemoryError
        o.kind = kind
        return o

    cdef uint64_t post(self, order_t *o) noexcept:
        cdef drain_t *d = self.d
        cdef uint64_t one = 1, ticket
        cdef ssize_t _n
        pthread_mutex_lock(&d.lock)
        d.asked += 1
        o.ticket = ticket = d.asked
        if d.last != NULL:
            d.last.next = o
        else:
            d.first = o
        d.last = o
        pthread_mutex_unlock(&d.lock)
        _n = write(d.wake, &one, sizeof(one))
        return ticket

    cdef int wait(self, uint64_t ticket, double timeout_s) except -1:
        cdef uint64_t until_ms = mono_ms() + <uint64_t>(timeout_s * 1000)
        cdef bint done
        with nogil:
            done = drain_await(self.d, ticket, until_ms)
        if not done:
            raise TimeoutError(f"the log thread did not answer within {timeout_s:g} s; a log file's disk may hang")
        return 0

    cdef void count_rings(self) noexcept:
        cdef logring_t *ring
        cdef uint32_t slot
        self.refused = 0
        self.broken = 0
        for slot in range(1, MAPPING_WORKERS + 1):
            ring = <logring_t *>drain_ring(self.d, slot)
            if ring != NULL:
                self.refused += lb_load_relaxed_u64(&ring.dropped)
                self.broken += lb_load_relaxed_u64(&ring.broken)

    # Stop the thread; False if it did not end in time. Without raising: also called by __dealloc__.
    cdef bint end(self, double flush_timeout_s) noexcept:
        cdef order_t *o = <order_t *>calloc(1, sizeof(order_t))
        cdef uint64_t until_ms = mono_ms() + <uint64_t>(flush_timeout_s * 1000)
        cdef bint ended
        self.has_thread = False
        if o == NULL:
            return False
        o.kind = ORDER_STOP
        o.until_ms = until_ms
        self.post(o)
        with nogil:
            # A second more than it takes: only a thread that hangs in a write is later.
            ended = drain_await(self.d, <uint64_t>-1, until_ms + 1000)
            if ended:
                pthread_join(self.d.thread, NULL)
            else:
                pthread_detach(self.d.thread)
        if ended:
            self.count_rings()
            self.mapping.users -= 1
            self.mapping = None
        return ended

    def set_targets(self, targets, *, timeout_s=1.0):
        cdef order_t *o = self.order(ORDER_TARGETS)
        try:
            self.open_targets(targets, &o.targets)
        except BaseException:
            order_free(o)
            raise
        self.wait(self.post(o), timeout_s)

    def reopen(self, *, timeout_s=1.0):
        cdef target_t *t
        cdef uint32_t failed
        cdef int i
        self.wait(self.post(self.order(ORDER_REOPEN)), timeout_s)
        found = []
        pthread_mutex_lock(&self.d.lock)
        try:
            for i in range(self.d.targets.count):
                t = self.d.targets.list[i]
                failed = lb_load_relaxed_u32(&t.reopen_error)
                if failed:
                    found.append(OSError(failed, os.strerror(failed), os.fsdecode(t.name)))
        finally:
            pthread_mutex_unlock(&self.d.lock)
        return found

    def flush(self, *, timeout_s=1.0):
        self.wait(self.post(self.order(ORDER_FLUSH)), timeout_s)

    def write(self, text, level=6):
        cdef order_t *o
        prefix = f"<{level}>" if self.is_journal else ""
        lines = "\n".join(prefix + line for line in text.splitlines()).encode("utf-8", "replace")
        if not self.has_thread:
            # Nobody is left to be told that stderr is closed.
            with suppress(OSError):
                os.write(2, lines + b"\n")
            return
        if self.d.asked - lb_load_relaxed_u64(&self.d.answered) > MESSAGES_MAX:
            # The thread hangs.
            lb_count_u64(&self.d.lost, 1)
            return
        o = self.order(ORDER_MESSAGE)
        o.text = <char *>malloc(len(lines) + 1)
        if o.text == NULL:
            order_free(o)
            raise MemoryError
        memcpy(o.text, <const char *>lines, len(lines))
        o.len = len(lines)
        self.post(o)

    def stop(self, flush_timeout_s=1.0):
        cdef uint64_t left = 0
        cdef int i
        if not self.has_thread or self.d.pid != getpid():
            return True
        if not self.end(flush_timeout_s):
            return False
        for i in range(self.d.targets.count + self.d.is_own):
            t = drain_target(self.d, i)
            waiting = target_waiting(t)
            lb_count_u64(&t.dropped, waiting)
            left += waiting
            t.start = t.end = t.first = 0
            if t.fd >= 0:
                close(t.fd)
                t.fd = -1
        close(self.d.wake)
        self.d.wake = -1
        return left == 0

    def dropped(self, int number):
        cdef int numbers
        cdef uint64_t found = 0
        pthread_mutex_lock(&self.d.lock)
        numbers = self.d.targets.numbers
        if 0 <= number < numbers:
            found = lb_load_relaxed_u64(&self.d.targets.list[self.d.targets.number[number]].dropped)
        pthread_mutex_unlock(&self.d.lock)
        if not 0 <= number < numbers:
            raise IndexError(f"log target {number}; there are {numbers}")
        return found

    def stats(self):
        cdef drain_t *d = self.d
        cdef uint64_t dropped
        cdef target_t *t
        cdef int i
        if self.mapping is not None:
            self.count_rings()
        targets = []
        pthread_mutex_lock(&d.lock)
        try:
            dropped = d.retired
            for i in range(d.targets.count):
                t = d.targets.list[i]
                dropped += lb_load_relaxed_u64(&t.dropped)
                targets.append({
                    "to": os.fsdecode(t.name),
                    "records": lb_load_relaxed_u64(&t.records),
                    "bytes": lb_load_relaxed_u64(&t.bytes),
                    "dropped": lb_load_relaxed_u64(&t.dropped),
                    "error": error_text(lb_load_relaxed_u32(&t.error)),
                    "reopen_error": error_text(lb_load_relaxed_u32(&t.reopen_error)),
                })
        finally:
            pthread_mutex_unlock(&d.lock)
        return {
            "records": lb_load_relaxed_u64(&d.records),
            "refused": self.refused,
            "broken": self.broken,
            "unknown": lb_load_relaxed_u64(&d.unknown),
            "dropped": dropped,
            "lost_messages": d.lost,
            "passes": lb_load_relaxed_u64(&d.passes),
            "targets": targets,
        }


# `udp:127.0.0.1:514`, `tcp:[::1]:601`, `unix:/dev/log`. Answers the size.
cdef socklen_t socket_address(to, sockaddr_storage_t *out) except 0:
    cdef sockaddr_in_t *v4 = <sockaddr_in_t *>out
    cdef sockaddr_in6_t *v6 = <sockaddr_in6_t *>out
    cdef bytes text
    memset(out, 0, sizeof(out[0]))
    transport, _, place = to.partition(":")
    if transport == "unix":
        text = os.fsencode(place)
        if len(text) > 107:
            raise ValueError(f"log target {to!r}: {len(text)} bytes; a unix socket's path takes at most 107")
        out.ss_family = AF_UNIX
        memcpy((<sockaddr_un_t *>out).sun_path, <const char *>text, len(text))
        return sizeof(sockaddr_un_t)
    host, _, port = place.rpartition(":")
    text = host.strip("[]").encode()
    if host.startswith("["):
        out.ss_family = AF_INET6
        v6.sin6_port = htons(int(port))
        if inet_pton(AF_INET6, text, &v6.sin6_addr) == 1:
            return sizeof(sockaddr_in6_t)
    else:
        out.ss_family = AF_INET
        v4.sin_port = htons(int(port))
        if inet_pton(AF_INET, text, &v4.sin_addr) == 1:
            return sizeof(sockaddr_in_t)
    raise ValueError(f"log target {to!r}: {host!r} is no IP address")


# What stands in a header behind the time.
cdef bytes sender_text(name, int pid):
    # RFC 5424 6.2.4: printable ASCII, at most 255 bytes. A blank would end the name early.
    host = re.sub("[^!-~]", "-", sockets.gethostname())[:255] or "-"
    if name.form == "rfc5424":
        return f" {host} {name.tag} {pid} - - ".encode()
    before = "" if name.form == "local" else f" {host}"
    return f"{before} {name.tag}[{pid}]: ".encode()


cdef error_text(uint32_t error):
    return "" if error in (0, EAGAIN) else os.strerror(error)


# sd-daemon(3): lines with a level in front are for journald only.
cdef bint is_journal() except -1:
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        st = os.fstat(2)
    except OSError:
        return False
    return named == f"{st.st_dev}:{st.st_ino}"
