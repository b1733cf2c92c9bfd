"""The log thread: from the rings of all workers to files, streams, syslog servers and journald.

One C thread in the supervisor, without Python and without the GIL. Every 20 ms while there is work (up to 100 ms when
idle) it walks the rings, appends each record to the buffer of its target, and writes a buffer when it holds 64 KiB or the
pass is over. Python talks to it by orders: a list under a mutex, and an eventfd that wakes it. The thread alone touches
files and buffers; what `stats` reads changes under the mutex, which is never held over I/O.

What targets are and why none can hold the others: io/logtarget.pxd and, for servers of messages, io/logframes.pxd.

lb's own lines go the same way: each is an order, which the thread gives to the targets of the error log.
"""

import os
import re
import socket as sockets
from collections import namedtuple
from contextlib import suppress

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, ENOMEM, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset, strcmp, strdup
from posix.time cimport CLOCK_MONOTONIC, timespec
from posix.types cimport pid_t
from posix.unistd cimport close, getpid, read, write

from lb._speedups.base.logring cimport (
    LOGRING_DATA, LOGRING_EVERY, logrecord_t, logring_next, logring_peek, logring_t,
)
from lb._speedups.base.mapping cimport (
    MAPPING_RING, MAPPING_WORKERS, mapping_ring, mapping_t, mapping_worker,
)
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.io.logframes cimport frames_begin, frames_flush, frames_put, frames_waiting
from lb._speedups.io.logtarget cimport (
    TARGET_BACKOFF_MIN_MS, TARGET_BATCH, TARGET_DATAGRAM, TARGET_JOURNAL, TARGET_OCTETS, sockaddr_storage_t, socklen_t,
    stamp_now, stamp_t, target_clock_ms, target_flush_lines, target_free, target_has_frames, target_lines, target_make,
    target_new, target_reopen, target_room, target_t,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    uint64_t lb_load_relaxed_u64(const uint64_t *p)
    uint32_t lb_load_u32(const uint32_t *p)
    uint32_t lb_load_relaxed_u32(const uint32_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)
    void lb_count_u64(uint64_t *p, uint64_t n)


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


cdef extern from "<sys/socket.h>" nogil:
    int AF_INET
    int AF_INET6
    int AF_UNIX


cdef extern from "<sys/un.h>" nogil:
    ctypedef struct sockaddr_un_t "struct sockaddr_un":
        char sun_path[108]


cdef enum:
    TARGETS_MAX = 128           # numbers of targets: 0..127
    MESSAGES_MAX = 10000        # orders that may wait; more messages are dropped
    BUSY_MS = 20                # between passes
    IDLE_MS = 100               # between passes when nothing comes

cdef enum:                      # order_t.kind
    ORDER_FLUSH = 1
    ORDER_REOPEN
    ORDER_TARGETS
    ORDER_MESSAGE
    ORDER_STOP


ctypedef struct targets_t:      # replaced as a whole
    int count                           # those of records
    int total                           # and of lb's own lines: `list` has no target twice
    target_t *list[2 * TARGETS_MAX]
    int numbers                         # targets by number, as records name them
    uint16_t number[TARGETS_MAX]        # index in `list`
    int messages                        # targets of lb's own lines
    uint16_t message[TARGETS_MAX]       # index in `list`
    uint16_t level[TARGETS_MAX]         # the least grave severity that goes there


ctypedef struct order_t:
    order_t *next
    int kind                    # ORDER_*
    uint64_t ticket
    uint64_t until_ms           # ORDER_STOP: give up then
    targets_t targets           # ORDER_TARGETS: those with a `key` that is in use keep the old target
    char *text                  # ORDER_MESSAGE: lines, each with a line feed
    size_t len
    uint16_t level              # its severity


ctypedef struct drain_t:
    # immutable
    mapping_t *m
    int wake                    # eventfd
    pid_t pid                   # a forked child has no such thread
    pthread_t thread
    # log thread, under lock when written
    targets_t targets
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
ON_STDERR = (("stderr", 7),)


# ---- targets ----------------------------------------------------------------------------------------------

cdef inline void target_begin(target_t *t) noexcept nogil:
    if target_has_frames(t):
        frames_begin(t)
    else:
        t.blocked = False


cdef inline void target_flush(target_t *t) noexcept nogil:
    if target_has_frames(t):
        frames_flush(t)
    else:
        target_flush_lines(t)


cdef inline uint64_t target_waiting(const target_t *t) noexcept nogil:
    return frames_waiting(t) if target_has_frames(t) else target_lines(t)


# Count what was buffered since it held `before` bytes, and write a batch.
cdef inline void target_buffered(target_t *t, size_t before) noexcept nogil:
    if t.end - t.start == before:
        return
    lb_count_u64(&t.records, 1)
    if t.end - t.start >= TARGET_BATCH and not t.blocked:
        target_flush(t)


# Buffer a record, as a line or as a message, or drop it.
cdef void target_put(target_t *t, const stamp_t *now, uint16_t level, const char *text, size_t len) noexcept nogil:
    cdef size_t before = t.end - t.start
    if target_has_frames(t):
        # 0 is an access record that says nothing else.
        frames_put(t, now, t.priority if level == 0 else (t.priority & ~7) | (level & 7), text, len)
    elif target_room(t, len + 1):
        memcpy(t.data + t.end, text, len)
        t.data[t.end + len] = 10
        t.end += len + 1
    target_buffered(t, before)


# Buffer a line of lb's own. A file has the time in front; stderr and stdout go where somebody adds it.
cdef void target_say(target_t *t, const stamp_t *now, uint16_t level, const char *text, size_t len) noexcept nogil:
    cdef size_t before = t.end - t.start
    cdef char stamp[64]
    cdef int size = 0
    if target_has_frames(t):
        # Their header names the program.
        if len > 4 and memcmp(text, <const char *>b"lb: ", 4) == 0:
            text += 4
            len -= 4
        frames_put(t, now, (t.priority & ~7) | (level & 7), text, len)
        target_buffered(t, before)
        return
    if t.is_journal:
        size = snprintf(stamp, sizeof(stamp), b"<%u>", <unsigned int>level)
    elif not t.std:
        size = snprintf(stamp, sizeof(stamp), b"%s%s ", now.iso, now.zone)
    if target_room(t, size + len + 1):
        memcpy(t.data + t.end, stamp, size)
        memcpy(t.data + t.end + size, text, len)
        t.data[t.end + size + len] = 10
        t.end += size + len + 1
    target_buffered(t, before)


# ---- the thread -------------------------------------------------------------------------------------------

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
    for i in range(d.targets.total):
        target_begin(d.targets.list[i])
    found[0] = drain_rings(d)
    for i in range(d.targets.total):
        t = d.targets.list[i]
        if t.start < t.end:
            target_flush(t)
            more = more or t.start < t.end
    lb_count_u64(&d.passes, 1)
    return more


cdef void drain_reopen(drain_t *d) noexcept nogil:
    cdef target_t *t
    cdef int i
    for i in range(d.targets.total):
        t = d.targets.list[i]
        if not t.std and not target_has_frames(t):
            target_reopen(t)


cdef target_t *targets_find(const targets_t *s, const char *key) noexcept nogil:
    cdef int i
    for i in range(s.total):
        if strcmp(s.list[i].key, key) == 0:
            return s.list[i]
    return NULL


cdef void drain_retarget(drain_t *d, targets_t *fresh) noexcept nogil:
    cdef targets_t before
    cdef target_t *t
    cdef int i
    before = d.targets
    pthread_mutex_lock(&d.lock)
    for i in range(fresh.total):
        t = targets_find(&before, fresh.list[i].key)
        if t != NULL:
            target_free(fresh.list[i])
            fresh.list[i] = t
    d.targets = fresh[0]
    for i in range(before.total):
        t = before.list[i]
        if targets_find(&d.targets, t.key) == NULL:
            d.retired += t.dropped + target_waiting(t)
            target_free(t)
    pthread_mutex_unlock(&d.lock)


# Give lines of lb's own to every target that wants their severity.
cdef void drain_say(drain_t *d, const char *text, size_t len, uint16_t level) noexcept nogil:
    cdef const char *end = text + len
    cdef const char *stop
    cdef target_t *t
    cdef int i
    while text < end:
        stop = <const char *>memchr(text, 10, end - text)
        for i in range(d.targets.messages):
            if level <= d.targets.level[i]:
                target_say(d.targets.list[d.targets.message[i]], &d.now, level, text, stop - text)
        text = stop + 1
    for i in range(d.targets.messages):
        t = d.targets.list[d.targets.message[i]]
        if t.start < t.end:
            target_flush(t)


cdef void drain_obey(drain_t *d, order_t *o) noexcept nogil:
    if o.kind == ORDER_REOPEN:
        drain_reopen(d)
    elif o.kind == ORDER_TARGETS:
        drain_retarget(d, &o.targets)
    elif o.kind == ORDER_MESSAGE:
        drain_say(d, o.text, o.len, o.level)


cdef inline void order_free(order_t *o) noexcept nogil:
    free(o.text)
    free(o)


# Wait for an order, for room in a target that was full, or for the next pass.
cdef void drain_wait(drain_t *d, int timeout_ms) noexcept nogil:
    cdef pollfd_t fds[2 * TARGETS_MAX + 1]
    cdef unsigned long n = 1
    cdef uint64_t value
    cdef ssize_t _n
    cdef target_t *t
    cdef int i
    fds[0].fd = d.wake
    fds[0].events = POLLIN
    for i in range(d.targets.total):
        t = d.targets.list[i]
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
        if target_clock_ms() >= until_ms:
            return
        can_wait = found != 0
        for i in range(d.targets.total):
            t = d.targets.list[i]
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
    for i in range(d.targets.total):
        target_free(d.targets.list[i])
    while d.first != NULL:
        o = d.first
        d.first = o.next
        for i in range(o.targets.total):
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
    cdef bint has_thread
    cdef uint64_t refused       # sums over the rings, as of the last count_rings()
    cdef uint64_t broken

    def __cinit__(self, Mapping mapping not None, targets, messages=ON_STDERR):
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
        self.open_targets(targets, messages, &d.targets)
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

    # The target of this name among those in `out`, or a new one behind them; its index.
    cdef int open_target(self, name, targets_t *out) except -1:
        cdef target_t *t
        cdef int i, failed = ENOMEM
        is_syslog = isinstance(name, Syslog)
        key = "\n".join(map(str, name)).encode() if is_syslog else os.fsencode(name)
        for i in range(out.total):
            if strcmp(out.list[i].key, key) == 0:
                return i
        t = self.syslog(name, key) if is_syslog else target_new(key, &failed)
        if t == NULL:
            raise OSError(failed, os.strerror(failed), name.to if is_syslog else name)
        t.is_journal = t.std == 2 and is_journal()
        out.list[out.total] = t
        out.total += 1
        return out.total - 1

    # Those of records first, so that they are list[0:count].
    cdef int open_targets(self, names, messages, targets_t *out) except -1:
        cdef int i
        if max(len(names), len(messages)) > TARGETS_MAX:
            raise ValueError(f"{max(len(names), len(messages))} log targets, at most {TARGETS_MAX} are possible")
        try:
            for name in names:
                out.number[out.numbers] = self.open_target(name, out)
                out.numbers += 1
            out.count = out.total
            for name, level in messages:
                try:
                    out.message[out.messages] = self.open_target(name, out)
                except OSError:
                    # A closed stderr is no reason not to run: messages are lost then.
                    if name != "stderr":
                        raise
                    continue
                out.level[out.messages] = level
                out.messages += 1
        except BaseException:
            for i in range(out.total):
                target_free(out.list[i])
            memset(out, 0, sizeof(out[0]))
            raise
        return 0

    # A target that the thread will connect, NULL without memory.
    cdef target_t *syslog(self, name, bytes key) except? NULL:
        cdef sockaddr_storage_t address
        cdef socklen_t size = socket_address(name.to, &address)
        cdef bytes sender = sender_text(name, self.d.pid)
        cdef uint32_t priority = name.priority
        cdef target_t *t = target_make(key, name.to.encode())
        if t == NULL:
            return NULL
        if name.form == "journald":
            t.kind = TARGET_JOURNAL
        else:
            t.kind = TARGET_OCTETS if name.to.startswith("tcp:") else TARGET_DATAGRAM
            t.form = FORMS.index(name.form) + 1
        t.priority = priority
        t.address = address
        t.address_size = size
        t.backoff_ms = TARGET_BACKOFF_MIN_MS
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
        cdef uint64_t until_ms = target_clock_ms() + <uint64_t>(timeout_s * 1000)
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
        cdef uint64_t until_ms = target_clock_ms() + <uint64_t>(flush_timeout_s * 1000)
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

    def set_targets(self, targets, messages=ON_STDERR, *, timeout_s=1.0):
        cdef order_t *o = self.order(ORDER_TARGETS)
        try:
            self.open_targets(targets, messages, &o.targets)
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
            for i in range(self.d.targets.total):
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
        lines = "".join(f"{line}\n" for line in text.splitlines()).encode("utf-8", "replace")
        if not self.has_thread:
            # Nobody is left to be told that stderr is closed.
            with suppress(OSError):
                os.write(2, lines)
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
        o.level = level
        self.post(o)

    def stop(self, flush_timeout_s=1.0):
        cdef uint64_t left = 0, waiting
        cdef target_t *t
        cdef int i
        if not self.has_thread or self.d.pid != getpid():
            return True
        if not self.end(flush_timeout_s):
            return False
        for i in range(self.d.targets.total):
            t = self.d.targets.list[i]
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
        messages = []
        pthread_mutex_lock(&d.lock)
        try:
            dropped = d.retired
            for i in range(d.targets.total):
                t = d.targets.list[i]
                dropped += lb_load_relaxed_u64(&t.dropped)
                (targets if i < d.targets.count else messages).append({
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
            "messages": messages,
        }


# `udp:127.0.0.1:514`, `tcp:[::1]:601`, `unix:/dev/log`. Answers the size.
cdef socklen_t socket_address(to, sockaddr_storage_t *out) except 0:
    cdef sockaddr_in_t *v4 = <sockaddr_in_t *>out
    cdef sockaddr_in6_t *v6 = <sockaddr_in6_t *>out
    cdef bytes text
    memset(out, 0, sizeof(out[0]))
    transport, _, place = to.partition(":")
    if transport in ("unix", "journald"):
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
    if name.form == "journald":
        return f"SYSLOG_IDENTIFIER={name.tag}\nSYSLOG_PID={pid}\n".encode()
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
