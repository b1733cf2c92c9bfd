"""The log thread: from the rings of all workers to files and streams.

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
- a regular file is written directly. A disk that hangs holds this thread, so all targets, but no worker: rings fill,
  drop and count.

What a target does not take stays in its buffer, 4 MiB of addresses of which only what was used is memory; then its
records are dropped and counted. A full disk is no special case: the rest of a record that was cut by it is written
first when there is room again, so that lines stay whole.
"""

import os
from contextlib import suppress

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memmove, strcmp, strdup
from posix.fcntl cimport O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, open
from posix.stat cimport S_ISFIFO, S_ISCHR, S_ISREG, S_ISSOCK, fstat, struct_stat
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.types cimport pid_t
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


cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    ssize_t send(int fd, const void *data, size_t size, int flags)


cdef extern from "<string.h>" nogil:
    void *memrchr(const void *data, int c, size_t size)


cdef enum:
    TARGETS_MAX = 32            # numbers of targets: 0..31
    BUFFER = 4194304            # bytes a target may hold back
    BATCH = 65536               # a buffer is written when it holds this much
    BUSY_MS = 20                # between passes
    IDLE_MS = 100               # between passes when nothing comes
    MESSAGES_MAX = 10000        # orders that may wait; more messages are dropped

cdef enum:                      # target_t.kind
    TARGET_FILE = 1             # regular file
    TARGET_STREAM               # pipe, terminal, device: a non-blocking description of our own
    TARGET_PIECES               # the same, but shared: poll before each write
    TARGET_SOCKET

cdef enum:                      # order_t.kind
    ORDER_FLUSH = 1
    ORDER_REOPEN
    ORDER_TARGETS
    ORDER_MESSAGE
    ORDER_STOP


ctypedef struct target_t:
    # immutable
    char *name                  # "stdout", "stderr" or a path
    int std                     # 1, 2: which stream; 0 = a path
    # log thread
    int fd
    int kind                    # TARGET_*
    bint blocked                # does not take any more in this pass
    bint torn                   # what is buffered begins inside a record whose beginning was written
    char *data                  # BUFFER bytes; start <= end
    size_t start
    size_t end
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
    targets_t targets           # ORDER_TARGETS: those with a `name` that is in use keep the old target
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


cdef uint64_t mono_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec // 1000000


# ---- targets ----------------------------------------------------------------------------------------------

# A daemon started with stdout or stderr closed would get its log file there, and others would write into it.
cdef int open_above_std(const char *path, int flags) noexcept nogil:
    cdef int fd = open(path, flags, 0o640)
    cdef int low = fd
    if 0 <= fd < 3:
        fd = fcntl(low, F_DUPFD_CLOEXEC, 3)
        close(low)
    return fd


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
    free(t.name)
    free(t)


# A new target with its file open, or NULL and *failed = errno.
cdef target_t *target_new(const char *name, int *failed) noexcept nogil:
    cdef target_t *t = <target_t *>calloc(1, sizeof(target_t))
    failed[0] = ENOMEM
    if t == NULL:
        return NULL
    t.fd = -1
    t.name = strdup(name)
    t.data = <char *>malloc(BUFFER)
    if t.name != NULL and t.data != NULL:
        t.std = 1 if strcmp(name, b"stdout") == 0 else 2 if strcmp(name, b"stderr") == 0 else 0
        failed[0] = target_open(t, &t.fd, &t.kind)
    if failed[0]:
        target_free(t)
        return NULL
    return t


# Lines that [start:end] holds, a torn first one included.
cdef uint64_t target_waiting(const target_t *t) noexcept nogil:
    cdef uint64_t lines = 0
    cdef const char *p = t.data + t.start
    cdef const char *end = t.data + t.end
    while p < end:
        p = <const char *>memchr(p, 10, end - p) + 1
        lines += 1
    return lines


cdef ssize_t target_write(target_t *t, const char *data, size_t size) noexcept nogil:
    cdef pollfd_t ready
    cdef const char *line
    if t.kind == TARGET_FILE:
        return write(t.fd, data, size)
    if t.kind == TARGET_SOCKET:
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


# Write what is buffered until nothing is left or the target does not take more.
cdef void target_flush(target_t *t) noexcept nogil:
    cdef ssize_t n
    cdef int failed = 0
    cdef uint64_t written = 0
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
    if t.start == t.end:
        t.start = t.end = 0
        t.torn = False
    t.blocked = failed != 0
    lb_count_u64(&t.bytes, written)
    lb_store_relaxed_u32(&t.error, failed)


# Buffer a record and its newline, or drop it.
cdef void target_put(target_t *t, const char *text, size_t len) noexcept nogil:
    if UNLIKELY(BUFFER - t.end <= len):
        # Moving at most once per half a buffer keeps the cost of a target that takes little from growing.
        if t.start >= BUFFER // 2:
            memmove(t.data, t.data + t.start, t.end - t.start)
            t.end -= t.start
            t.start = 0
        else:
            lb_count_u64(&t.dropped, 1)
            return
    memcpy(t.data + t.end, text, len)
    t.data[t.end + len] = 10
    t.end += len + 1
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
        target_put(d.targets.list[d.targets.number[record.target]], text, record.len)
    elif record.target == LOGRING_EVERY:
        for i in range(d.targets.count):
            target_put(d.targets.list[i], text, record.len)
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
    for i in range(d.targets.count):
        d.targets.list[i].blocked = False
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
        if t.std:
            continue
        failed = target_open(t, &fd, &kind)
        if not failed:
            target_switch(t, fd, kind)
        lb_store_relaxed_u32(&t.reopen_error, failed)


cdef target_t *targets_find(const targets_t *s, const char *name) noexcept nogil:
    cdef int i
    for i in range(s.count):
        if strcmp(s.list[i].name, name) == 0:
            return s.list[i]
    return NULL


cdef void drain_retarget(drain_t *d, targets_t *fresh) noexcept nogil:
    cdef targets_t before
    cdef target_t *t
    cdef int i
    before = d.targets
    pthread_mutex_lock(&d.lock)
    for i in range(fresh.count):
        t = targets_find(&before, fresh.list[i].name)
        if t == NULL and d.is_own and strcmp(fresh.list[i].name, d.messages.name) == 0:
            t = d.messages
        if t != NULL:
            target_free(fresh.list[i])
            fresh.list[i] = t
    d.targets = fresh[0]
    d.is_own = d.messages != NULL and targets_find(&d.targets, d.messages.name) == NULL
    for i in range(before.count):
        t = before.list[i]
        if targets_find(&d.targets, t.name) == NULL and t != d.messages:
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
            target_put(d.messages, o.text, o.len)
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
        if t.start < t.end and t.error == EAGAIN:
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
            if t.start < t.end and t.error == EAGAIN:
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
            encoded = os.fsencode(name)
            t = targets_find(out, encoded)
            if t == NULL:
                t = target_new(encoded, &failed)
                if t == NULL:
                    for i in range(out.count):
                        target_free(out.list[i])
                    out.count = 0
                    raise OSError(failed, os.strerror(failed), name)
                out.list[out.count] = t
                out.count += 1
            for i in range(out.count):
                if out.list[i] == t:
                    out.number[out.numbers] = i
            out.numbers += 1
        return 0

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
            t.start = t.end = 0
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
