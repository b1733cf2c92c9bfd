# Connections and the epoll set that watches them.
#
# loop_t is one worker's epoll set: a table of connections, an eventfd, a timerfd, and the run list. A connection is
# registered once, edge-triggered for both directions (no EPOLL_CTL_MOD ever), and its readiness is kept as flags until a
# call says EAGAIN. The event carries slot + generation of the table, never the fd: an event for a connection that has
# gone is dropped. EPOLL_CTL_DEL comes before close, because a descriptor that a forked child still holds keeps sending;
# a process that never forks (`alone`) leaves that to close (docs/decisions).
#
# Run list. A connection with work that no event will announce (bytes left undrained when a step's budget was spent,
# bytes decrypted inside a transport, a peer side that made room) is queued with conn_run(); loop_step() wakes it in the
# next pass. The run list does not make the epoll fd readable: loop_step() says whether it is empty.
#
# Transport. What a connection reads and writes through. Answers: n > 0 bytes; CONN_CLOSED when the peer ended its
# direction properly; CONN_AGAIN (readiness is the transport's, the flags tell which direction it waits for);
# CONN_ERROR. The tcp transport is called directly, others through a table. `twisted` (debug) is a tcp transport that
# holds bytes back, writes short, wants the other direction and claims EAGAIN: what relays must survive to carry TLS.
#
# Ownership. A conn_t is embedded as the first member of its owner (session, server connection), lives in the owner's
# pool object, and is on the table from conn_open() to conn_close(). One owner, idempotent close.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.io.sys cimport epoll_event, iovec

cdef enum:                       # answers of conn_recv, conn_send, conn_splice_*
    CONN_CLOSED = 0              # recv: the peer has ended its direction
    CONN_AGAIN = -1
    CONN_ERROR = -2              # conn.error holds errno; also a truncated end of a secure transport

cdef enum:                       # conn_t.flags
    CONN_OPEN = 1 << 0           # on the table
    CONN_READABLE = 1 << 1       # recv may give something
    CONN_WRITABLE = 1 << 2       # send may take something
    CONN_RDHUP = 1 << 3          # the kernel has seen the peer's FIN
    CONN_HUP = 1 << 4            # both directions are gone, or an error is pending
    CONN_CONNECTING = 1 << 5     # connect() has not answered yet
    CONN_QUEUED = 1 << 6         # on the run list
    CONN_SHUT = 1 << 7           # our direction has been shut down
    CONN_TWISTED = 1 << 8        # debug transport
    CONN_EOF = 1 << 9            # recv has answered CONN_CLOSED
    CONN_INPUT = 1 << 10         # only what arrives is watched: a datagram socket's room to send changes all the time

cdef enum:
    LOOP_EVENTS = 256            # events a step takes at most
    LOOP_SIDE_BYTES = 65536      # bytes a side moves in one wake before it goes to the run list

ctypedef struct conn_t:
    int fd                       # -1 = none
    uint32_t slot                # place in the loop's table
    uint32_t flags               # CONN_*
    int error                    # errno of the last CONN_ERROR
    loop_t *loop
    void (*wake)(conn_t *c) noexcept nogil    # something changed: flags tell. May close and free the connection.
    conn_t *run_next             # run list
    conn_t *run_prev
    uint64_t twist               # debug: state of the twisted transport's generator

ctypedef struct loop_slot_t:
    conn_t *conn                 # NULL = free; then `generation` is what the next owner gets
    uint32_t generation
    uint32_t next_free

ctypedef struct loop_t:
    int epoll                    # epoll set
    int wakeup                   # eventfd, any process may write it
    int timer                    # timerfd
    uint32_t nslots              # entries of `table`
    uint32_t first_free          # chain of free slots, 0xffffffff = none
    uint32_t live                # connections on the table
    loop_slot_t *table
    conn_t *run_head             # run list, a queue
    conn_t *run_tail
    uint64_t armed_ms            # deadline the timerfd is set to, ~0 = not armed
    uint64_t chaos               # debug: state of the generator that disturbs, 0 = calm
    uint32_t scarce              # debug: one of this many conn_open fails, 0 = none
    uint32_t woken               # the eventfd was written since the owner looked
    uint32_t run_count           # connections on the run list
    bint own_wakeup              # the eventfd is ours to close
    bint alone                   # this process never forks: close takes a descriptor out of the set
    epoll_event events[LOOP_EVENTS]

# Make the sets. `wakeup` is borrowed when >= 0. 0 or -1 with errno.
cdef int loop_init(loop_t *l, int wakeup) noexcept nogil
cdef void loop_free(loop_t *l) noexcept nogil

# Collect events without waiting and wake their connections, then wake what was on the run list at the start.
# Returns the number of events; whether more is to be done at once: loop_busy().
cdef int loop_step(loop_t *l) noexcept nogil

cdef inline bint loop_busy(loop_t *l) noexcept nogil:
    return l.run_head != NULL

# Arm the timerfd for this deadline when it is earlier than what is armed.
cdef void loop_arm(loop_t *l, uint64_t deadline_ms, uint64_t now_ms) noexcept nogil

# Put a connected or connecting descriptor on the table; owns `fd` from now on. 0, or -1 with errno (fd is closed).
cdef int conn_open(loop_t *l, conn_t *c, int fd, uint32_t flags, void (*wake)(conn_t *) noexcept nogil) noexcept nogil

# Off the table, closed. Does nothing when it is not open.
cdef void conn_close(conn_t *c) noexcept nogil

# The same, with a reset to the peer instead of an orderly end.
cdef void conn_reset(conn_t *c) noexcept nogil

# End our direction (FIN); errors do not matter here, the read side tells.
cdef void conn_shut(conn_t *c) noexcept nogil

# Receive up to n bytes. Clears CONN_READABLE when the kernel has no more for now.
cdef ssize_t conn_recv(conn_t *c, char *buf, size_t n) noexcept nogil

# Show up to n bytes and leave them where they are. Clears CONN_READABLE when these are all that have come; what comes later is
# announced.
cdef ssize_t conn_peek(conn_t *c, char *buf, size_t n) noexcept nogil

# Take n bytes that conn_peek has shown. 0 or -1.
cdef int conn_skip(conn_t *c, char *buf, size_t n) noexcept nogil

# Send from up to 8 pieces; may take less than all (then CONN_WRITABLE is clear).
cdef ssize_t conn_send(conn_t *c, iovec *pieces, int count) noexcept nogil

# Queue for the next pass.
cdef void conn_run(conn_t *c) noexcept nogil

# The pending error of a finished connect(): 0 = connected.
cdef int conn_connected(conn_t *c) noexcept nogil

# Whether bytes may go through a pipe past this process: the transport is plain.
cdef inline bint conn_plain(conn_t *c) noexcept nogil:
    return (c.flags & CONN_TWISTED) == 0 and c.loop.chaos == 0
