# What rules set on a stream beside its heads: timeouts, log level, addresses, the server, interim answers (ACTIONS_STREAM of
# policy/action.pxd).
#
# Few streams meet such a rule, so what is set stands in a pooled struct of its own (settings_t of relay.pxd), which the first
# one takes and stream_free gives back. What it holds is asked where it matters: stream_*_ms (stream.pxd), server_assign,
# the view of rules, the log.
#
# Interim answers. The fields of `early_hint` rules are gathered in one head, which leaves as a 103 as soon as the rules of the
# list have been looked at, or the stream has to wait: settings_hint().
from libc.stdint cimport uint32_t

from lb._speedups.policy.rule cimport verdict_t
from lb._speedups.relay.relay cimport link_t, settings_t, stream_t

cdef enum:                       # places of the arguments of ACTION_SET_TIMEOUT
    TIMEOUT_CLIENT = 0
    TIMEOUT_SERVER
    TIMEOUT_TUNNEL
    TIMEOUTS

cdef enum:
    PASSWORD_MS = 10000

# Carry out the rule of this verdict, of the family ACTIONS_STREAM; the view must still be that of the stream that was judged.
# An expression that finds nothing sets nothing. 0, or -1: no memory, or a field that no head can have.
cdef int settings_apply(stream_t *st, const verdict_t *verdict) noexcept nogil

# Send the interim answer that was gathered, if there is one. 0, or -1: the connection failed.
cdef int settings_hint(stream_t *st) noexcept nogil

# How long the rule of this verdict, a pause, lasts; 0 = not at all.
cdef uint32_t settings_pause(stream_t *st, const verdict_t *verdict) noexcept nogil

# Have the password checked that rules wait for; the stream is to be parked, and is told (engine_step). 0, or -1: too many are
# checked already.
cdef int settings_ask(stream_t *st) noexcept nogil

# What is set on the stream, from now on; NULL without memory.
cdef settings_t *settings_of(stream_t *st) noexcept nogil

# Give back what the stream was set.
cdef void settings_free(stream_t *st) noexcept nogil

# The peer of this connection shall not be told that it ends: with CAP_NET_ADMIN nothing is sent at all (TCP_REPAIR), else what is
# sent does not come further than the first router (a time to live of 1), as HAProxy does it. Close it next.
cdef void settings_silence(link_t *l) noexcept nogil
