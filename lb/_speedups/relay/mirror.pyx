from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.base.timers cimport lb_timer_t, timer_init, timer_set, timer_unlink
from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.plan cimport plan_backend
from lb._speedups.proto.message cimport (
    FRAMING_LENGTH, MESSAGE_EXPECT_CONTINUE, MESSAGE_HEAD_MAX, NAME_EXPECT, NAME_OTHER, field_t, message_add,
    message_delete, message_find, message_t,
)
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, LINK_CLIENT, OFFER_DATA, OFFER_END, SIDE_GONE, SIDE_IN_END, SIDE_IN_HEAD, SIDE_OUT_END,
    SIDE_OUT_HEAD, STREAM_COPY, STREAM_HTTP, STREAM_UPGRADE, WAITS_IN, engine_t, link_t, side_t, slice_out_t,
)
from lb._speedups.relay.stream cimport stream_new

cdef enum:
    CHAIN = 8                    # bytes in front of a buffer's own: the next one's address
    PIECE = BUFFER_SIZE - CHAIN  # bytes of body in a buffer


cdef inline char **next_of(char *buffer) noexcept nogil:
    return <char **> buffer


cdef inline uint32_t backend_of(const stream_t *st, const plan_mirror_t *rule) noexcept nogil:
    return plan_backend(st.plan.plan, rule.backend).oid


# --- gathering ---


# Uniform over 0..99.
cdef inline uint32_t draw(engine_t *e) noexcept nogil:
    e.random += 1
    return <uint32_t> ((hash_mix(e.random) >> 32) * 100 >> 32)


cdef void count_dropped(stream_t *st, const plan_mirror_t *rule) noexcept nogil:
    st.engine.rows[st.frontend.oid].mirror_dropped += 1
    st.engine.rows[backend_of(st, rule)].mirror_dropped += 1


cdef void mirror_choose(stream_t *st, const plan_mirror_t *rule) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const message_t *m = st.request
    cdef uint32_t oid = backend_of(st, rule)
    cdef mirror_t *mirror = NULL
    if st.flags & STREAM_UPGRADE or draw(e) >= rule.percent or message_find(m, b"X-Mirrored", 10, 0) >= 0:
        return
    if e.copies[oid] < rule.max_copies and not (m.framing == FRAMING_LENGTH and m.length > rule.max_body):
        mirror = <mirror_t *> pool_take(&e.mirror_pool)
    if mirror == NULL:
        count_dropped(st, rule)
        return
    memset(mirror, 0, sizeof(mirror_t))
    mirror.rule = rule
    e.copies[oid] += 1
    st.mirror = mirror


cdef void give_body(engine_t *e, mirror_t *mirror) noexcept nogil:
    cdef char *buffer = mirror.first
    cdef char *following
    while buffer != NULL:
        following = next_of(buffer)[0]
        pool_give(&e.buffer_pool, buffer)
        buffer = following
    mirror.first = NULL
    mirror.last = NULL
    mirror.length = 0


cdef void give_mirror(stream_t *st, mirror_t *mirror) noexcept nogil:
    st.engine.copies[backend_of(st, mirror.rule)] -= 1
    give_body(st.engine, mirror)
    pool_give(&st.engine.mirror_pool, mirror)


cdef void mirror_drop(stream_t *st) noexcept nogil:
    count_dropped(st, st.mirror.rule)
    give_mirror(st, st.mirror)
    st.mirror = NULL


cdef void mirror_restart(stream_t *st) noexcept nogil:
    if st.mirror != NULL:
        give_body(st.engine, st.mirror)


cdef void mirror_add(stream_t *st, const char *p, size_t n) noexcept nogil:
    cdef mirror_t *mirror = st.mirror
    cdef char *buffer
    cdef size_t used, some
    if mirror.length + n > mirror.rule.max_body:
        mirror_drop(st)
        return
    while n:
        used = mirror.length % PIECE
        if used == 0:                         # none yet, or the last one is full
            buffer = <char *> pool_take(&st.engine.buffer_pool)
            if buffer == NULL:
                mirror_drop(st)
                return
            next_of(buffer)[0] = NULL
            if mirror.last != NULL:
                next_of(mirror.last)[0] = buffer
            else:
                mirror.first = buffer
            mirror.last = buffer
        some = n if n < PIECE - used else PIECE - used
        memcpy(mirror.last + CHAIN + used, p, some)
        mirror.length += some
        p += some
        n -= some


# --- the copy ---


# A head without what stands behind it in the block.
cdef void copy_head(message_t *to, const message_t *m) noexcept nogil:
    memcpy(to, m, <size_t> (<const char *> &m.fields[0] - <const char *> m) + m.nfields * sizeof(field_t))
    memcpy(to.block, m.block, m.head_len)
    memcpy(to.block + MESSAGE_HEAD_MAX, m.block + MESSAGE_HEAD_MAX, m.edit_at - MESSAGE_HEAD_MAX)
    to.fill = m.head_len


cdef message_t *marked_head(stream_t *st) noexcept nogil:
    cdef message_t *m = <message_t *> pool_take(&st.engine.message_pool)
    if m == NULL:
        return NULL
    copy_head(m, st.request)
    if m.by_name[<unsigned int> NAME_EXPECT]:  # all of it is here: nobody need ask
        message_delete(m, m.by_name[<unsigned int> NAME_EXPECT] - 1)
        m.flags &= <uint16_t> ~MESSAGE_EXPECT_CONTINUE
    if message_add(m, NAME_OTHER, b"X-Mirrored", 10, b"1", 1) != 0:
        pool_give(&st.engine.message_pool, m)
        return NULL
    return m


# Nobody: what an event on a connection would wake.
cdef void no_client(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef stream_t *copy = <stream_t *> owner
    copy.timeout(copy, &copy.client)


cdef stream_t *mirror_copy(
    stream_t *st, void (*outlived)(void *, lb_timer_t *) noexcept nogil
) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef mirror_t *mirror = st.mirror
    cdef link_t *l = &mirror.link
    cdef message_t *m = marked_head(st)
    cdef stream_t *copy = NULL
    l.engine = e
    l.kind = LINK_CLIENT
    l.conn.fd = -1
    l.codec = &e.mirror
    l.frontend = st.frontend
    l.frontend_oid = st.frontend.oid
    l.family = st.family
    l.port = st.port
    memcpy(l.address, st.address, 16)
    l.accept_ms = e.now_ms
    l.began_ms = l.heard_ms = e.now_ms
    l.active_ms = e.now_ms
    if m != NULL:
        copy = stream_new(e, l)
    if copy == NULL:
        if m != NULL:
            pool_give(&e.message_pool, m)
        mirror_drop(st)
        return NULL
    st.mirror = NULL
    copy.plan.streams -= 1                    # the original's generation, not the present one
    copy.plan = st.plan
    copy.plan.streams += 1
    copy.flags = STREAM_HTTP | STREAM_COPY
    copy.request = m
    copy.request_ms = 0
    copy.bytes_in = m.head_len
    copy.client.head = m
    copy.client.state = mirror
    copy.client.flags = SIDE_IN_HEAD
    l.stream = copy
    timer_init(&l.timer, no_client, copy)
    timer_init(&mirror.life, outlived, copy)
    timer_set(&e.timers, &mirror.life, e.now_ms + mirror.rule.timeout_ms)
    e.rows[st.frontend.oid].mirrored += 1
    e.rows[backend_of(st, mirror.rule)].mirrored += 1
    return copy


# --- the client side of a copy ---


cdef void mirror_codec(codec_t *out) noexcept nogil:
    out.name = "mirror"
    out.offer = offer
    out.consume = consume
    out.send_head = send_head
    out.send_data = send_data
    out.send_whole = send_whole
    out.send_end = send_end
    out.flush = flush
    out.waits = waits
    out.again = again
    out.rewind = rewind
    out.finish = leave
    out.abort = leave
    out.raw = raw


cdef inline mirror_t *mirror_of(side_t *s) noexcept nogil:
    return <mirror_t *> s.state


cdef int offer(side_t *s, slice_out_t *out) noexcept nogil:
    cdef mirror_t *mirror = mirror_of(s)
    cdef size_t used = mirror.at % PIECE
    if mirror.at == mirror.length:
        s.flags |= SIDE_IN_END
        return OFFER_END
    out.p = mirror.first + CHAIN + used
    out.n = mirror.length - mirror.at
    if out.n > PIECE - used:
        out.n = PIECE - used
    return OFFER_DATA


cdef void consume(side_t *s, size_t n) noexcept nogil:
    cdef mirror_t *mirror = mirror_of(s)
    cdef char *buffer = mirror.first
    mirror.at += n
    s.stream.bytes_in += n
    if mirror.at % PIECE == 0 or mirror.at == mirror.length:
        mirror.first = next_of(buffer)[0]
        pool_give(&s.stream.engine.buffer_pool, buffer)


cdef int send_head(side_t *s, message_t *m) noexcept nogil:
    s.stream.bytes_out += m.head_len
    if m.status >= 200:
        s.flags |= SIDE_OUT_HEAD
    return 0


cdef ssize_t send_data(side_t *s, const char *p, size_t n) noexcept nogil:
    s.stream.bytes_out += n
    return <ssize_t> n


cdef int send_whole(side_t *s, const char *p, size_t n) noexcept nogil:
    return 0


cdef int send_end(side_t *s) noexcept nogil:
    s.flags |= SIDE_OUT_END
    return 0


cdef int flush(side_t *s) noexcept nogil:
    return 0


cdef int waits(side_t *s) noexcept nogil:
    return WAITS_IN if mirror_of(s).at < mirror_of(s).length else 0


cdef void again(side_t *s) noexcept nogil:
    s.stream.server.codec.again(&s.stream.server)    # there is no connection of its own to wake it


cdef int rewind(side_t *s) noexcept nogil:
    return -1


cdef void leave(side_t *s) noexcept nogil:
    cdef mirror_t *mirror = mirror_of(s)
    s.flags |= SIDE_GONE
    s.state = NULL
    timer_unlink(&s.stream.engine.timers, &mirror.life)
    timer_unlink(&s.stream.engine.timers, &mirror.link.timer)
    give_mirror(s.stream, mirror)


cdef link_t *raw(side_t *s) noexcept nogil:
    return NULL
