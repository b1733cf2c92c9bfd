# The timer structure: one per worker, for every deadline.
#
# A hierarchical wheel of 1 ms ticks with intrusive nodes: set, clear and fire are O(1) and nothing allocates.
# Deadlines are lazy: moving a deadline later (the usual thing: activity on a connection) only writes
# `expire_ms`; when the node comes up too early it is put back. Only a deadline that moves earlier relinks the
# node.
#
# timers_next() is a lower bound of the earliest deadline (a coarse slot may have to cascade first): the
# worker arms its timerfd with it, and only when it moves earlier.
#
# A run first goes to the present, over the occupied slots only (bit maps; a jump of hours costs no more than
# the nodes it passes), and gathers what comes up in one ring. Then it fires from there. What a callback makes
# due waits for the next run, and within one run the order is by the tick a node was queued for, not by its
# deadline.
#
# Owner: one worker. Times are CLOCK_MONOTONIC milliseconds.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    TIMERS_NEVER = 0xffffffffffffffff

ctypedef struct lb_timer_t:
    lb_timer_t *next            # ring of its slot; NULL = not queued
    lb_timer_t *prev
    uint64_t expire_ms          # the deadline; TIMERS_NEVER = none, a queued node is dropped when it comes up
    uint64_t queued_ms          # the tick it is queued for, <= expire_ms (or the present, if that has passed)
    # Called once the deadline has passed, out of the wheel and with expire_ms = TIMERS_NEVER; may set, clear,
    # unlink or free this and any other timer.
    void (*fire)(void *owner, lb_timer_t *timer) noexcept nogil
    void *owner

cdef enum:
    TIMERS_SLOTS0 = 256         # 1 ms each
    TIMERS_SLOTS = 64           # slots of each higher level
    TIMERS_LEVELS = 6           # 256 ms, 16 s, 17 min, 18 h, 48 days, 8 years

ctypedef struct timers_t:
    uint64_t now_ms             # all ticks up to this one have been run
    uint64_t count              # queued nodes
    uint64_t bits0[4]           # occupied slots of level 0
    uint64_t bits[TIMERS_LEVELS]   # of the higher levels (index 0 unused)
    lb_timer_t due                # ring head: nodes that came up and wait for timers_run
    lb_timer_t slots0[TIMERS_SLOTS0]          # ring heads
    lb_timer_t slots[TIMERS_LEVELS][TIMERS_SLOTS]   # of the higher levels (index 0 unused)

cdef void timers_init(timers_t *t, uint64_t now_ms) noexcept nogil

cdef void timer_init(
    lb_timer_t *n, void (*fire)(void *, lb_timer_t *) noexcept nogil, void *owner
) noexcept nogil

# Queue or requeue; use through timer_set.
cdef void timer_link(timers_t *t, lb_timer_t *n) noexcept nogil

# Take it out of the wheel (before its memory is given back). Safe when not queued.
cdef void timer_unlink(timers_t *t, lb_timer_t *n) noexcept nogil

# Set the deadline. O(1); writes one word when it moves later.
cdef inline void timer_set(timers_t *t, lb_timer_t *n, uint64_t expire_ms) noexcept nogil:
    n.expire_ms = expire_ms
    if n.next == NULL or expire_ms < n.queued_ms:
        timer_link(t, n)

# No deadline; the node stays queued until it comes up.
cdef inline void timer_clear(lb_timer_t *n) noexcept nogil:
    n.expire_ms = TIMERS_NEVER

# Fire what is due at now_ms, at most `limit` nodes; returns the number fired (== limit: call again).
cdef int timers_run(timers_t *t, uint64_t now_ms, int limit) noexcept nogil

# A lower bound of the earliest deadline, TIMERS_NEVER when nothing is queued; the present when something is
# due.
cdef uint64_t timers_next(timers_t *t) noexcept nogil
