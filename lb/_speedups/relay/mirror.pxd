# Mirroring: a copy of a request goes to another backend, and nobody waits for its answer.
#
# A route, else its frontend, says for how many of its requests (plan_mirror_t). A chosen one has a mirror_t
# (stream_t.mirror), which gathers its body in pooled buffers while `pump` sends it on. Once the whole request has been
# written to the original's server, and not before, the copy is made: head and body, with `X-Mirrored: 1` and without
# Expect. So a request that is cut, or never reaches a server, or that lb answers itself, leaves no copy, and a copy is
# always whole.
#
# From there a copy is a stream like any other (STREAM_COPY), with balancing, connections, timeouts and counters of
# the backend it goes to. Its client side is a codec of its own, which offers the gathered body and swallows the
# answer. It is tried once, ends when its rule's time is over, writes no record, and no counter of its frontend but
# `mirrored` knows it. It holds its generation, but neither a drain nor a stop: it has no client.
#
# Never in the original's way. Nothing here makes it wait: what does not fit (a longer body than `max_body`, more than
# `max_copies` at a time, no memory) is given up and counted. While a body is gathered no flow begins in its
# direction, so that all of it is seen; with a length above `max_body` it is not gathered at all.
#
# Not copied: upgrades (a tunnel has two ends), and what has X-Mirrored already: two frontends that mirror to each
# other would never stop.
#
# Limits: max_copies x (max_body in whole buffers, and while it is under way a stream's memory) a worker and backend.
from libc.stdint cimport uint32_t
from lb._speedups.base.timers cimport lb_timer_t
from lb._speedups.policy.plan cimport plan_mirror_t
from lb._speedups.proto.message cimport FRAMING_LENGTH
from lb._speedups.relay.relay cimport codec_t, mirror_t, stream_t

# The table of the client side of copies.
cdef void mirror_codec(codec_t *out) noexcept nogil

# The request of st has found its backend: decide whether there will be a copy (st.mirror).
cdef void mirror_choose(stream_t *st, const plan_mirror_t *rule) noexcept nogil

# Bytes of the request's body, in order, st.mirror being there. May give the copy up.
cdef void mirror_add(stream_t *st, const char *p, size_t n) noexcept nogil

# All bytes of a body of known length are here. Its end may be told later (an END frame), and the answer come before.
cdef inline bint mirror_is_whole(const stream_t *st) noexcept nogil:
    return st.request.framing == FRAMING_LENGTH and st.mirror.length == st.request.length

# The body will be offered from its beginning again.
cdef void mirror_restart(stream_t *st) noexcept nogil

# There will be no copy; counted.
cdef void mirror_drop(stream_t *st) noexcept nogil

# The request ended: the copy, a stream without backend, wake and timeout yet; NULL: given up. `outlived` is called with
# it when its time is over. st.mirror is NULL afterwards.
cdef stream_t *mirror_copy(
    stream_t *st, void (*outlived)(void *, lb_timer_t *) noexcept nogil
) noexcept nogil
