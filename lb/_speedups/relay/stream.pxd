# Streams: birth, end, and what is written down about them (counters, access log). What streams are: relay.pxd.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from lb._speedups.io.sys cimport sockaddr_storage
from lb._speedups.policy.logline cimport log_end_t, log_view_t
from lb._speedups.policy.plan cimport plan_frontend_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport engine_t, link_t, plan_ref_t, stream_t

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)

# A stream on a client link of frontend `link.frontend`; takes a reference to the current plan. NULL without memory.
# Its client side uses the link's timer until told otherwise; the link does not know it yet.
cdef stream_t *stream_new(engine_t *e, link_t *client) noexcept nogil

# The request id, st.id_len bytes from then on; made when first asked for, unless one was taken over.
cdef const char *stream_id(stream_t *st) noexcept nogil

# The termination state: the first one set stays.
cdef inline void stream_cause(stream_t *st, char cause, char phase) noexcept nogil:
    if st.end_cause == 0:
        st.end_cause = cause
        st.end_phase = phase

# Of a tunnel or TCP relay one direction has ended: `up_ended` that from the client, else that from the server. Whoever is
# waited for now gets client_fin or server_fin as its deadline. False: none is configured for it, nothing was changed.
cdef bint stream_half_closed(stream_t *st, bint up_ended) noexcept nogil

# It is connected to its server, and a log format wants to know from where.
cdef void stream_keep_source(stream_t *st) noexcept nogil

# The stream is over: leave its server and backend, count it, write its record. Once; to be called while the client's
# connection still counts, so that a record says what HAProxy's would (the client's connection in, the server's out).
cdef void stream_account(stream_t *st) noexcept nogil

# What a record of the stream would say if it were written now. Connections are counted as they are at this moment.
cdef void stream_record(stream_t *st, log_view_t *v) noexcept nogil

# An end of a connection as records show it.
cdef void stream_end_of(log_end_t *end, const sockaddr_storage *address) noexcept nogil

# Write the records of what has ended and was served by frontend `f` of this generation. `st` = NULL: it is no stream, and has
# no request id.
cdef void stream_lines(engine_t *e, plan_ref_t *ref, const plan_frontend_t *f, log_view_t *v, bint failed,
                       stream_t *st) noexcept nogil

# Account for it, give it back. Both sides must be gone.
cdef void stream_free(stream_t *st) noexcept nogil

# Give the reference of a generation back; the last one unmaps a generation that is not current.
cdef void plan_release(engine_t *e) noexcept nogil

# The timeouts and retries that hold for this stream: what a rule has set, its route's, else its frontend's or backend's.
cdef inline uint32_t stream_client_ms(const stream_t *st) noexcept nogil:
    if UNLIKELY(st.settings != NULL) and st.settings.client_ms:
        return st.settings.client_ms
    if UNLIKELY(st.times != NULL) and st.times.client_ms:
        return st.times.client_ms
    return st.frontend.client_ms

cdef inline uint32_t stream_connect_ms(const stream_t *st) noexcept nogil:
    if UNLIKELY(st.times != NULL) and st.times.connect_ms:
        return st.times.connect_ms
    return st.backend.connect_ms

cdef inline uint32_t stream_server_ms(const stream_t *st) noexcept nogil:
    if UNLIKELY(st.settings != NULL) and st.settings.server_ms:
        return st.settings.server_ms
    if UNLIKELY(st.times != NULL) and st.times.server_ms:
        return st.times.server_ms
    return st.backend.server_ms

cdef inline uint32_t stream_tunnel_ms(const stream_t *st) noexcept nogil:
    if UNLIKELY(st.settings != NULL) and st.settings.tunnel_ms:
        return st.settings.tunnel_ms
    if UNLIKELY(st.times != NULL) and st.times.tunnel_ms:
        return st.times.tunnel_ms
    return st.backend.tunnel_ms if st.backend.tunnel_ms else st.frontend.tunnel_ms

cdef inline uint32_t stream_retries(const stream_t *st) noexcept nogil:
    if UNLIKELY(st.times != NULL) and st.times.retries >= 0:
        return <uint32_t> st.times.retries
    return st.backend.retries
