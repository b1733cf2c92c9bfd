# Log targets: where lines go, and what waits for them. Used by the supervisor's log thread alone (face/logdrain.pyx).
#
# A target must never hold the others, nor make a worker wait:
#
# - a pipe, a terminal and the like is opened again through /proc/self/fd with O_NONBLOCK. That gives an open file
#   description of our own: the flag on stdout itself would also change it for the shell and for every process that
#   shares it. Where it cannot be opened again, the thread polls and writes at most PIPE_BUF bytes, which a pipe that
#   polls writable takes without waiting. Both write whole lines of at most PIPE_BUF, so lines are never torn.
# - a socket (journald's stdout is one) is sent to with MSG_DONTWAIT.
# - a regular file is written directly. A disk that hangs holds the log thread, so all targets, but no worker: rings fill,
#   drop and count.
#
# What a target does not take stays in its buffer, 4 MiB of addresses of which only what was used is memory; then its
# records are dropped and counted. A full disk is no special case: the rest of a record that was cut by it is written
# first when there is room again, so that lines stay whole. What fails is tried again in each pass: a target comes back by
# itself.
#
# Servers of messages (syslog, journald) keep frames in the same buffer: logframes.pxd.
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef struct sockaddr_t "struct sockaddr":
        pass
    ctypedef struct sockaddr_storage_t "struct sockaddr_storage":
        unsigned short ss_family

cdef enum:
    TARGET_BUFFER = 4194304     # bytes a target may hold back
    TARGET_BATCH = 65536        # a buffer is written when it holds this much
    TARGET_BACKOFF_MIN_MS = 100  # before a lost target is connected again, twice as long each time
    TARGET_BACKOFF_MAX_MS = 5000

cdef enum:                      # target_t.kind
    TARGET_FILE = 1             # regular file
    TARGET_STREAM               # pipe, terminal, device: a non-blocking description of our own
    TARGET_PIECES               # the same, but shared: poll before each write
    TARGET_SOCKET
    TARGET_DATAGRAM             # syslog: a datagram for each message; this and what follows holds frames
    TARGET_OCTETS               # syslog: tcp with octet counting, RFC 6587 3.4.1
    TARGET_JOURNAL              # journald: a datagram of fields for each message

cdef enum:                      # target_t.form
    FORM_LOCAL = 1              # as 3164, without a host name: HAProxy's `local`
    FORM_3164
    FORM_5424

ctypedef struct stamp_t:        # the time of a pass, as headers show it
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
    bint is_journal             # stderr that journald reads: lb's own lines have their severity in front
    # immutable, syslog only
    int form                    # FORM_*
    uint32_t priority           # of access records: 8 * facility + severity
    char *sender                # what stands behind the time: host name, tag, pid; journald: fields of every message
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

cdef inline bint target_has_frames(const target_t *t) noexcept nogil:
    return t.kind >= TARGET_DATAGRAM

cdef uint64_t target_clock_ms() noexcept nogil

# A descriptor that is none of stdin, stdout, stderr, as which others would write to it; the given one is closed then.
cdef int above_std(int fd) noexcept nogil

# Bring a stamp to the present.
cdef void stamp_now(stamp_t *s) noexcept nogil

# A new target that is not open, NULL without memory.
cdef target_t *target_make(const char *key, const char *name) noexcept nogil

# A new target with its file open, or NULL and *failed = errno.
cdef target_t *target_new(const char *name, int *failed) noexcept nogil

# Close it and give it back.
cdef void target_free(target_t *t) noexcept nogil

# Room for `size` more bytes; False, and a record dropped, if there is none.
cdef bint target_room(target_t *t, size_t size) noexcept nogil

# A server is lost, or could not be reached: connect it again later, and begin with a whole message.
cdef void target_lose(target_t *t, int failed) noexcept nogil

# Lines (not target_has_frames): those that are buffered, one whose beginning was written included.
cdef uint64_t target_lines(const target_t *t) noexcept nogil

# Lines, and frames over tcp: write what is buffered until nothing is left or the target does not take more. Answers errno,
# 0 = all was written; *written = bytes.
cdef int target_write_out(target_t *t, uint64_t *written) noexcept nogil

# Lines: the same, with its counters.
cdef void target_flush_lines(target_t *t) noexcept nogil

# Open a file again under its name and go on there. What is left of a record whose beginning went to the old one is
# dropped.
cdef void target_reopen(target_t *t) noexcept nogil
