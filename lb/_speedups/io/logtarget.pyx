from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memmove, strcmp, strdup
from posix.fcntl cimport O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, open
from posix.stat cimport S_ISFIFO, S_ISCHR, S_ISREG, S_ISSOCK, fstat, struct_stat
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.types cimport time_t
from posix.unistd cimport close, write


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    void lb_store_relaxed_u32(uint32_t *p, uint32_t value)
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
    short POLLOUT


cdef extern from "<stdio.h>" nogil:
    int snprintf(char *text, size_t size, const char *form, ...)


cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    ssize_t send(int fd, const void *data, size_t size, int flags)


cdef extern from "<time.h>" nogil:
    ctypedef struct tm_t "struct tm":
        int tm_mon
        long tm_gmtoff
    tm_t *localtime_r(const time_t *at, tm_t *out)
    size_t strftime(char *text, size_t size, const char *form, const tm_t *at)


cdef extern from "<string.h>" nogil:
    void *memrchr(const void *data, int c, size_t size)


cdef uint64_t target_clock_ms() noexcept nogil:
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


cdef target_t *target_make(const char *key, const char *name) noexcept nogil:
    cdef target_t *t = <target_t *>calloc(1, sizeof(target_t))
    if t == NULL:
        return NULL
    t.fd = -1
    t.key = strdup(key)
    t.name = strdup(name)
    t.data = <char *>malloc(TARGET_BUFFER)
    if t.key == NULL or t.name == NULL or t.data == NULL:
        target_free(t)
        return NULL
    return t


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


cdef uint64_t target_lines(const target_t *t) noexcept nogil:
    cdef uint64_t records = 0
    cdef const char *p = t.data + t.start
    cdef const char *end = t.data + t.end
    while p < end:
        p = <const char *>memchr(p, 10, end - p) + 1
        records += 1
    return records


cdef void target_lose(target_t *t, int failed) noexcept nogil:
    if t.fd >= 0:
        close(t.fd)
    t.fd = -1
    t.connecting = False
    t.start = t.first
    t.retry_ms = target_clock_ms() + t.backoff_ms
    t.backoff_ms = min(2 * t.backoff_ms, <uint64_t>TARGET_BACKOFF_MAX_MS)
    lb_store_relaxed_u32(&t.error, failed)


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


cdef int target_write_out(target_t *t, uint64_t *written) noexcept nogil:
    cdef ssize_t n
    cdef int failed = 0
    while t.start < t.end and not failed:
        n = target_write(t, t.data + t.start, t.end - t.start)
        if n >= 0:
            t.start += n
            written[0] += n
            t.torn = t.data[t.start - 1] != 10
        elif n == -EAGAIN:
            failed = EAGAIN
        elif errno != EINTR:
            failed = errno
    return failed


cdef void target_flush_lines(target_t *t) noexcept nogil:
    cdef uint64_t written = 0
    cdef int failed = target_write_out(t, &written)
    lb_count_u64(&t.bytes, written)
    lb_store_relaxed_u32(&t.error, failed)
    if t.start == t.end:
        t.start = t.end = t.first = 0
        t.torn = False
    t.blocked = failed != 0


cdef bint target_room(target_t *t, size_t size) noexcept nogil:
    cdef size_t used = t.first if target_has_frames(t) else t.start
    if LIKELY(TARGET_BUFFER - t.end >= size):
        return True
    # Moving at most once per half a buffer keeps the cost of a target that takes little from growing.
    if used < TARGET_BUFFER // 2:
        lb_count_u64(&t.dropped, 1)
        return False
    memmove(t.data, t.data + used, t.end - used)
    t.start -= used
    t.end -= used
    t.first = 0
    return True


# Go on in `fd`. What is left of a record whose beginning went to the old file is dropped.
cdef void target_switch(target_t *t, int fd, int kind) noexcept nogil:
    if t.torn:
        t.start = <char *>memchr(t.data + t.start, 10, t.end - t.start) + 1 - t.data
        t.torn = False
        lb_count_u64(&t.dropped, 1)
    close(t.fd)
    t.fd = fd
    t.kind = kind


cdef void target_reopen(target_t *t) noexcept nogil:
    cdef int fd, kind
    cdef int failed = target_open(t, &fd, &kind)
    if not failed:
        target_switch(t, fd, kind)
    lb_store_relaxed_u32(&t.reopen_error, failed)
