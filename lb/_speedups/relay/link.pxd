# Links: the life of a connection and of the bytes it holds. What links are: relay.pxd.
#
# Reading goes through a window of unread bytes, which lies in the block of a message (behind its head) or in a buffer of
# the link's own, taken when bytes arrive and given back when they are used up.
#
# Writing coalesces: link_put() collects small pieces in the engine's scratch, link_send() sends the collected with a
# slice, link_flush() the rest. What the connection does not take of collected bytes is kept in one buffer (link.out);
# while that holds anything, the link is blocked and slices are not taken. The scratch is empty between pumps.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.base.timers cimport timer_clear, timer_set
from lb._speedups.relay.relay cimport engine_t, link_t, side_t

# A zeroed link of this kind, not open yet; NULL without memory.
cdef link_t *link_take(engine_t *e, uint8_t kind) noexcept nogil

# Close, leave lists and gauges, give everything back. The link is gone. Does not touch its stream.
cdef void link_close(link_t *l) noexcept nogil

# Take a server link off its list; it does not rest any more.
cdef void link_unlist(link_t *l) noexcept nogil

# Take a server link off the list of resting ones, if it is there. It stays listed.
cdef void link_stir(link_t *l) noexcept nogil

# A connection counted in this object's gauge ends; wakes the workers whose accepting waits for it.
cdef void leave(engine_t *e, uint32_t oid) noexcept nogil

# Receive into the empty window: > 0 bytes, or CONN_CLOSED, CONN_AGAIN, CONN_ERROR, or LINK_MEMORY.
cdef ssize_t link_refill(link_t *l) noexcept nogil

cdef enum:
    LINK_MEMORY = -3

# Whether nothing more has come on this link. Readiness alone does not tell: a read that took exactly what was wanted has
# not asked for more, and a secure transport is readable for records that carry no bytes.
cdef bint link_quiet(link_t *l) noexcept nogil

# Forget the window; a buffer of its own goes back.
cdef void link_window_drop(link_t *l) noexcept nogil

# Collect n bytes. 0, or -1: no room.
cdef int link_put(link_t *l, const char *p, size_t n) noexcept nogil

# Room of n bytes at the end of the collected ones, to be written and then counted with link_puts(); NULL = no room.
cdef char *link_room(link_t *l, size_t n) noexcept nogil
cdef void link_puts(link_t *l, size_t n) noexcept nogil

# Send what was collected, then as much of p[0:n] as is taken: that number, or -1 when the connection failed.
cdef ssize_t link_send(link_t *l, const char *p, size_t n) noexcept nogil

# What was to be written is lost, so nothing may follow it on this connection. An answer sent before the peer closed may
# still wait, its event not yet taken: it is looked for. Always -1.
cdef int link_broken(link_t *l) noexcept nogil

# Send what was collected. 0 = all left, 1 = blocked, -1 = failed.
cdef int link_flush(link_t *l) noexcept nogil

# The link's deadline: `ms` from `from_ms` on, 0 = none.
cdef inline void link_deadline(link_t *l, uint64_t from_ms, uint64_t ms) noexcept nogil:
    if ms == 0:
        timer_clear(&l.timer)
    else:
        timer_set(&l.engine.timers, &l.timer, from_ms + ms)

# The same for the deadline of a side.
cdef inline void side_deadline(side_t *s, uint64_t from_ms, uint64_t ms) noexcept nogil:
    if ms == 0:
        timer_clear(s.timer)
    else:
        timer_set(&s.stream.engine.timers, s.timer, from_ms + ms)
