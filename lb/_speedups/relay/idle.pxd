# Idle server connections: who may take one, how many are kept, how long.
#
# A server link with room for a stream is listed (LINK_IDLE): with its server's others of this worker, or, when it may
# serve one client only (link.owner), with that client's own. Workers never take each other's. A listed link that carries no
# stream rests (LINK_RESTING): it has a deadline and stands on the worker's list of all resting links, least recently used
# last, from which the limits take.
#
# Who may take one. `http_reuse` answers what happens to a request that meets a connection which its server closes at that
# very moment. One that can be sent again, all bytes of it being here, is sent again unseen by the client. One that cannot
# is answered with 502, and if it was the first of its connection no browser would repeat it by itself. So:
#
#     never        a link serves the client it was opened for, and no other (as HAProxy's: it stays with the session)
#     safe         the first request of a client only if it can be sent again; later ones always
#     aggressive   besides, any first request on a link that has been reused before, which shows that the server keeps them
#     always       any request on any link
#
# A multiplexing link that carries streams is not idle: in every mode but `never` it takes any request.
#
# HAProxy's `safe` opens a connection for every first request unless `retry-on` lets it send it again, which lb always
# does: so first requests with GET and their like share connections here by default, and there with retry-on.
#
# A link that began with a PROXY header (plan_server_t.send_proxy) is the client's that the header names, whatever the mode.
#
# A link whose server has answered with a challenge of NTLM or Negotiate is its client's from then on, whatever the mode:
# those schemes give the connection the rights of a user.
#
# Limits. `pool.max_idle` (over all workers) and `global.max_idle` are divided among the workers; whatever is said, at most a
# quarter of the process's descriptors may be resting links. The newest stays, the least recently used goes. A client owns at
# most OWN_MAX. When descriptors run out all the same, idle_spare() gives one back.
from lb._speedups.policy.plan cimport plan_server_t
from lb._speedups.relay.relay cimport engine_t, link_t, stream_t

cdef enum:
    OWN_MAX = 5                  # HAProxy's tune.max-session-srv-conns
    PROVEN_SCAN = 8              # links looked at for one that has been reused

# A listed link of this server that st may take, or NULL. Does not take it.
cdef link_t *idle_find(stream_t *st, const plan_server_t *s) noexcept nogil

# What s says about links: limits on requests, age, idle time.
cdef void idle_terms(link_t *l, const plan_server_t *s) noexcept nogil

# List a link with room for a stream; closes it when its server is gone or a limit says so (one that carries streams then
# takes no more). The link may be gone on return.
cdef void idle_keep(link_t *l) noexcept nogil

# A listed link has lost its last stream: it rests from now on. The link may be gone on return.
cdef void idle_rest(link_t *l) noexcept nogil

# A listed link has begun a stream: it does not rest any more.
cdef void idle_rouse(link_t *l) noexcept nogil

# No stream may begin on this link any more: it is closed, or ends with its last stream.
cdef void idle_let_go(link_t *l) noexcept nogil

# Close the least recently used resting link. False: there is none.
cdef bint idle_spare(engine_t *e) noexcept nogil

# Close listed links: of every server that `e.current` does not have with the same address, or all.
cdef void idle_purge(engine_t *e, bint all_) noexcept nogil

# A generation has come into use: its limits.
cdef void idle_limits(engine_t *e) noexcept nogil
