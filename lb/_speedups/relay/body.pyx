from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy

from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.proto.message cimport (
    FRAMING_LENGTH, MESSAGE_EXPECT_CONTINUE, MESSAGE_HTTP10, MESSAGE_RESPONSE, NAME_EXPECT, message_delete, message_reset,
    message_t,
)
from lb._speedups.relay.relay cimport (
    BODY_ROOM, BUFFER_SIZE, OFFER_DATA, OFFER_END, OFFER_MEMORY, OFFER_WAIT, STREAM_REPLAY, body_t,
)

cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition) noexcept


cdef body_t *take(stream_t *st) noexcept nogil:
    cdef body_t *body = <body_t *> pool_take(&st.engine.buffer_pool)
    LB_ASSERT(sizeof(body_t) <= BUFFER_SIZE)
    if body != NULL:
        body.len = 0
        body.at = 0
        body.ended = 0
        body.size = st.request.length if st.request.framing == FRAMING_LENGTH else 0
        st.body = body
    return body


cdef int body_gather(stream_t *st) noexcept nogil:
    cdef body_t *body = st.body
    cdef bint may_replay = (st.flags & STREAM_REPLAY) != 0
    cdef slice_out_t slice
    cdef size_t n
    cdef int r
    while True:
        r = st.client.codec.offer(&st.client, &slice)
        if r != OFFER_DATA:
            break
        if body == NULL:
            body = take(st)
            if body == NULL:
                return BODY_MEMORY
        n = slice.n
        if n > BODY_ROOM - body.len:
            n = BODY_ROOM - body.len
        if n == 0:
            return BODY_FULL
        memcpy(body.bytes + body.len, slice.p, n)
        body.len += <uint32_t> n
        if body.size < body.len:
            body.size = body.len
        st.client.codec.consume(&st.client, n)
    # The codec has given its bytes away; as long as all of them are here, the request can still be sent again.
    if may_replay:
        st.flags |= STREAM_REPLAY
    if r == OFFER_END:
        if body != NULL:
            body.ended = 1
        return BODY_ENDED
    if r == OFFER_WAIT:
        return BODY_WAITS
    return BODY_MEMORY if r == OFFER_MEMORY else BODY_BROKE


cdef int body_offer(stream_t *st, slice_out_t *out) noexcept nogil:
    cdef body_t *body = st.body
    if body.at < body.len:
        out.p = body.bytes + body.at
        out.n = body.len - body.at
        return OFFER_DATA
    return st.client.codec.offer(&st.client, out)


cdef void body_consume(stream_t *st, size_t n) noexcept nogil:
    cdef body_t *body = st.body
    if body.at == body.len:
        st.client.codec.consume(&st.client, n)
        return
    body.at += <uint32_t> n
    if body.at == body.len and not body.ended:    # what follows is the codec's, and will not be kept
        st.flags &= <uint16_t> ~STREAM_REPLAY
        st.body = NULL
        pool_give(&st.engine.buffer_pool, body)


cdef int body_rewind(stream_t *st) noexcept nogil:
    if st.body == NULL:
        return st.client.codec.rewind(&st.client)
    if not (st.flags & STREAM_REPLAY):
        return -1
    st.body.at = 0
    return 0


cdef int body_ask(stream_t *st) noexcept nogil:
    cdef message_t *m = st.request
    cdef message_t *interim
    cdef int r = 0
    if not m.flags & MESSAGE_EXPECT_CONTINUE:
        return 0
    m.flags &= <uint16_t> ~MESSAGE_EXPECT_CONTINUE
    if m.by_name[<unsigned int> NAME_EXPECT]:
        message_delete(m, m.by_name[<unsigned int> NAME_EXPECT] - 1)
    if m.flags & MESSAGE_HTTP10:
        return 0
    interim = <message_t *> pool_take(&st.engine.message_pool)
    if interim == NULL:
        return -1
    message_reset(interim, MESSAGE_RESPONSE)
    interim.status = 100
    interim.reason.at = 0
    interim.reason.len = 8
    memcpy(interim.block, b"Continue", 8)
    interim.fill = 8
    interim.edit_at = 8
    if st.client.codec.send_head(&st.client, interim) != 0 or st.client.codec.flush(&st.client) < 0:
        r = -1
    pool_give(&st.engine.message_pool, interim)
    return r
