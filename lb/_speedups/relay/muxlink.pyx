from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.base.timers cimport lb_timer_t, timer_init, timer_unlink
from lb._speedups.io.conn cimport (
    CONN_AGAIN, CONN_CLOSED, CONN_READABLE, LOOP_SIDE_BYTES, conn_recv, conn_run, conn_shut, conn_t,
)
from lb._speedups.proto.message cimport (
    FIELD_DELETED, FIELD_FRAMING, FIELD_HOP, FRAMING_CHUNKED, FRAMING_LENGTH, FRAMING_NONE, MESSAGE_REQUEST,
    MESSAGE_RESPONSE, METHOD_HEAD, NAME_CONTENT_LENGTH, NAME_HOST, message_t,
)
from lb._speedups.proto.h1 cimport H1_BAD_LENGTH, H1_BAD_START_LINE
from lb._speedups.proto.pairs cimport pairs_add, pairs_begin, pairs_end
from lb._speedups.relay.http cimport http_begin, http_open, http_refuse
from lb._speedups.relay.link cimport link_close, link_deadline, link_flush, link_refill, link_unlist, link_window_drop
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, FAULT_CLOSED, FAULT_ERROR, FAULT_NONE, FAULT_RESET, FAULT_SYNTAX, LINGER_BYTES, LINGER_MS,
    LINK_CLIENT, LINK_CLOSE, LINK_IDLE, LINK_LINGER, LINK_RESTING, LINK_REUSED, LINK_SERVER, OFFER_ABORT, OFFER_DATA, OFFER_END,
    OFFER_HEAD, OFFER_WAIT, SIDE_GONE, SIDE_IN_END, SIDE_IN_HEAD, SIDE_LEFT, SIDE_LOST, SIDE_OUT_END, SIDE_OUT_HEAD,
    STREAM_REPLAY, WAITS_IN, WAITS_OUT, codec_t, engine_t, link_t, side_t, slice_out_t, stream_t,
)
from lb._speedups.relay.idle cimport idle_keep, idle_rest
from lb._speedups.relay.session cimport session_rebind, session_refusal

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG
    void LB_ASSERT(bint condition)

cdef enum:
    STREAMS = 3                  # at a time on a connection
    PLACES = 6                   # for them, and for streams that have ended for the peer and not yet here
    LAST_ID = 255
    STREAM_CREDIT = 100
    LINK_CREDIT = 250
    HEADER = 4                   # bytes in front of a payload
    CONTROL = 128                # bytes of frames that wait beside the streams' own
    WINDOW = 6                   # bytes of a WINDOW frame
    FRAME_MAX = BUFFER_SIZE - HEADER - CONTROL - (PLACES + 1) * WINDOW   # a payload: with all else it fits link.out

cdef enum frame_t:
    FRAME_HEAD = 1
    FRAME_DATA
    FRAME_END
    FRAME_RESET
    FRAME_WINDOW
    FRAME_GOAWAY

cdef enum code_t:                # of RESET and GOAWAY
    CODE_NONE = 0                # nothing is wrong, no more is wanted
    CODE_PROTOCOL
    CODE_CREDIT                  # more DATA than was allowed
    CODE_REFUSED                 # not served, not begun: safe to try again
    CODE_CANCEL

cdef enum:                       # muxstream_t.flags
    MUX_KNOWN = 1 << 0           # the peer knows the id: its HEAD has left, or came from there
    MUX_IN_FINAL = 1 << 1        # the head of its message was read
    MUX_IN_END = 1 << 2          # its message has ended
    MUX_OUT_END = 1 << 3         # its END was written (perhaps not sent yet)
    MUX_RESET = 1 << 4           # the peer has given it up
    MUX_UNKNOWN = 1 << 5         # its message has no Content-Length
    MUX_END_LATER = 1 << 6       # END waits for what is kept

ctypedef struct muxstream_t:     # a stream's place on a connection
    side_t *side                 # NULL = free
    link_t *link
    lb_timer_t timer             # side.timer
    message_t *head              # response head that was not fetched yet
    char *out                    # whole frames that the link did not take yet, NULL = none
    char *kept                   # body that waits for credit (codec_t.send_whole), NULL = none
    uint64_t active_ms           # side.active_ms
    uint64_t left                # bytes of DATA still to come, unless MUX_UNKNOWN
    uint16_t out_at
    uint16_t out_end
    uint16_t kept_at
    uint16_t kept_end
    uint16_t unread              # bytes in data
    uint16_t owed                # credit to give back
    int32_t granted              # credit the peer has
    int32_t credit               # credit we have
    uint8_t id
    uint8_t flags                # MUX_*
    char data[STREAM_CREDIT]     # received, not consumed

ctypedef struct mux_t:           # link.state: in one buffer of the engine's pool
    muxstream_t streams[PLACES]
    int32_t granted              # credit of the connection, as for a stream
    int32_t credit
    uint32_t owed
    uint32_t control             # bytes of frames in `frames`
    uint32_t request_ms          # timeouts of its frontend: a frame must be whole within the first
    uint32_t keep_alive_ms
    uint8_t last_id              # the highest opened
    uint8_t turn                 # whose frame goes first
    uint8_t busy                 # streams are being woken: the link must stay
    uint8_t dead                 # nothing can be sent or read any more
    uint8_t deaf                 # nothing is read any more: what was written still leaves
    uint8_t partial              # part of a frame waits for the rest
    char frames[CONTROL]         # RESET and GOAWAY that wait


cdef void muxlink_codec(codec_t *out) noexcept nogil:
    if not LB_DEBUG:
        return
    out.name = "mux"
    out.open = mux_open
    out.free = mux_free
    out.drain = mux_drain
    out.attach = mux_attach
    out.head = mux_head
    out.offer = mux_offer
    out.consume = mux_consume
    out.send_head = mux_send_head
    out.send_data = mux_send_data
    out.send_whole = mux_send_whole
    out.send_end = mux_send_end
    out.flush = mux_flush
    out.waits = mux_waits
    out.again = mux_again
    out.rewind = mux_rewind
    out.finish = mux_finish
    out.abort = mux_abort
    out.raw = mux_raw


cdef inline mux_t *mux_of(link_t *l) noexcept nogil:
    return <mux_t *> l.state


cdef inline muxstream_t *place_of(side_t *s) noexcept nogil:
    return <muxstream_t *> s.state


cdef inline unsigned int read16(const char *p) noexcept nogil:
    return <unsigned int> (<uint8_t> p[0]) << 8 | <uint8_t> p[1]


cdef inline void write16(char *p, size_t n) noexcept nogil:
    p[0] = <char> (n >> 8)
    p[1] = <char> n


cdef inline char *header(char *p, uint8_t kind, uint8_t id_, size_t n) noexcept nogil:
    p[0] = <char> kind
    p[1] = <char> id_
    write16(p + 2, n)
    return p + HEADER


# --- the connection ---


cdef int mux_open(link_t *l) noexcept nogil:
    cdef mux_t *mux
    LB_ASSERT(sizeof(mux_t) <= BUFFER_SIZE)
    mux = <mux_t *> pool_take(&l.engine.buffer_pool)
    if mux == NULL:
        return -1
    memset(mux, 0, sizeof(mux_t))
    mux.granted = LINK_CREDIT
    mux.credit = LINK_CREDIT
    l.state = mux
    l.stream = NULL                           # it was its connecting stream's alone
    l.conn.wake = mux_wake
    timer_unlink(&l.engine.timers, &l.timer)
    timer_init(&l.timer, link_expired, l)
    if l.kind == LINK_CLIENT:
        keep_timeouts(l)
    conn_run(&l.conn)                         # what an event has announced already
    return 0


cdef void keep_timeouts(link_t *l) noexcept nogil:
    mux_of(l).request_ms = l.frontend.http_request_ms if l.frontend.http_request_ms else l.frontend.client_ms
    mux_of(l).keep_alive_ms = l.frontend.http_keep_alive_ms


cdef void mux_free(link_t *l) noexcept nogil:
    LB_ASSERT(l.streams == 0)
    pool_give(&l.engine.buffer_pool, l.state)
    l.state = NULL


cdef void mux_drain(link_t *l) noexcept nogil:
    if l.flags & (LINK_CLOSE | LINK_LINGER):
        return
    goaway(l, CODE_NONE)
    push(l)
    settle(l)


cdef inline bint is_closing(link_t *l) noexcept nogil:
    return l.flags & LINK_CLOSE or (l.kind == LINK_CLIENT and l.engine.draining)


cdef bint has_output(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef int i
    if l.out != NULL or mux.control or mux.owed:
        return True
    for i in range(PLACES):
        if mux.streams[i].side != NULL and (mux.streams[i].out != NULL or mux.streams[i].owed):
            return True
    return False


# Streams may have ended: close the link, or show it as free. The link may be gone on return.
cdef void settle(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    if mux.busy or l.flags & LINK_LINGER:
        return
    if mux.dead:
        if l.streams == 0:
            link_close(l)
        return                                # else with its last stream; lose() has seen to it that all are told
    if is_closing(l):
        if l.streams != 0:
            return
        if l.kind == LINK_SERVER:
            link_close(l)
        elif has_output(l):
            link_deadline(l, l.engine.now_ms, LINGER_MS)
        else:                                 # as HTTP/1: what still comes must not turn the close into a reset
            link_window_drop(l)
            l.flags |= LINK_LINGER | LINK_CLOSE
            conn_shut(&l.conn)
            link_deadline(l, l.engine.now_ms, LINGER_MS)
            conn_run(&l.conn)
        return
    if l.kind == LINK_SERVER:
        l.room = room(l)
        if l.room != 0 and not (l.flags & LINK_IDLE):
            idle_keep(l)
        elif l.streams == 0 and l.flags & LINK_IDLE and not (l.flags & LINK_RESTING):
            idle_rest(l)


cdef uint16_t room(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef uint16_t ids = LAST_ID - mux.last_id
    cdef uint16_t places = STREAMS - l.streams    # of a server link: never above STREAMS
    if l.flags & LINK_CLOSE:
        return 0
    return places if places < ids else ids


# The connection is of no use to its streams any more: each that still needs it learns so when it is woken.
cdef void desert(link_t *l, uint8_t fault) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef muxstream_t *ms
    cdef int i
    mux.deaf = 1
    l.flags |= LINK_CLOSE
    if l.flags & LINK_IDLE:
        link_unlist(l)
    for i in range(PLACES):
        ms = &mux.streams[i]
        if ms.side == NULL:
            continue
        if not (ms.flags & MUX_IN_END) and ms.side.fault == FAULT_NONE:
            ms.side.fault = fault
        ms.side.flags |= SIDE_LEFT | SIDE_LOST
    conn_run(&l.conn)


# It is of no use at all.
cdef void lose(link_t *l, uint8_t fault) noexcept nogil:
    if not mux_of(l).dead:
        mux_of(l).dead = 1
        desert(l, fault)


# The peer broke a rule of the protocol: say so and end the connection.
cdef void violated(link_t *l, uint8_t code) noexcept nogil:
    if not mux_of(l).deaf:
        goaway(l, code)
        desert(l, FAULT_ERROR)


cdef void link_expired(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef link_t *l = <link_t *> owner
    if l.streams == 0:
        link_close(l)
    elif mux_of(l).partial:
        violated(l, CODE_PROTOCOL)


# --- writing ---


# A frame beside the streams' own.
cdef void control(link_t *l, uint8_t kind, uint8_t id_, const char *payload, size_t n) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    if mux.deaf:
        return
    if mux.control + HEADER + n > CONTROL:    # the peer makes us answer faster than it reads
        lose(l, FAULT_ERROR)
        return
    memcpy(header(mux.frames + mux.control, kind, id_, n), payload, n)
    mux.control += HEADER + <uint32_t> n


cdef void reset(link_t *l, uint8_t id_, uint8_t code) noexcept nogil:
    cdef char payload = <char> code
    control(l, FRAME_RESET, id_, &payload, 1)


cdef void goaway(link_t *l, uint8_t code) noexcept nogil:
    cdef char payload[2]
    payload[0] = <char> mux_of(l).last_id if l.kind == LINK_CLIENT else 0
    payload[1] = <char> code
    control(l, FRAME_GOAWAY, 0, payload, 2)


cdef void put_window(link_t *l, uint8_t id_, uint32_t n) noexcept nogil:
    write16(header(l.out + l.out_end, FRAME_WINDOW, id_, 2), n)
    l.out_end += WINDOW


# Whether a stream that the peer does not know yet has to let an older one become known first: ids rise on the wire, too.
cdef bint is_early(const mux_t *mux, const muxstream_t *ms) noexcept nogil:
    cdef const muxstream_t *other
    cdef int i
    if ms.flags & MUX_KNOWN:
        return False
    for i in range(PLACES):
        other = &mux.streams[i]
        if other.side != NULL and other.out != NULL and other.id < ms.id and not other.flags & MUX_KNOWN:
            return True
    return False


# Fill the empty link.out: what concerns the connection, then one frame of each stream in turn.
cdef void gather(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef muxstream_t *ms
    cdef unsigned int i, size
    cdef bint any_ = True
    if not has_output(l):
        return
    l.out = <char *> pool_take(&l.engine.buffer_pool)
    if l.out == NULL:
        lose(l, FAULT_ERROR)
        return
    l.out_at = 0
    memcpy(l.out, mux.frames, mux.control)
    l.out_end = <uint16_t> mux.control
    mux.control = 0
    if mux.owed:
        put_window(l, 0, mux.owed)
        mux.granted += mux.owed
        mux.owed = 0
    for i in range(PLACES):
        ms = &mux.streams[i]
        if ms.side != NULL and ms.owed:
            put_window(l, ms.id, ms.owed)
            ms.granted += ms.owed
            ms.owed = 0
    while any_:
        any_ = False
        for i in range(PLACES):
            ms = &mux.streams[(mux.turn + i) % PLACES]
            if ms.side == NULL or ms.out == NULL or is_early(mux, ms):
                continue
            size = HEADER + read16(ms.out + ms.out_at + 2)
            if l.out_end + size > BUFFER_SIZE:
                mux.turn = <uint8_t> ((mux.turn + i) % PLACES)   # it goes first in the next one
                return
            memcpy(l.out + l.out_end, ms.out + ms.out_at, size)
            l.out_end += <uint16_t> size
            ms.out_at += <uint16_t> size
            ms.flags |= MUX_KNOWN
            ms.active_ms = l.engine.now_ms
            if ms.out_at == ms.out_end:
                pool_give(&l.engine.buffer_pool, ms.out)
                ms.out = NULL
            any_ = True
    mux.turn = (mux.turn + 1) % PLACES


# Send what there is. 0 = all left, 1 = blocked, -1 = the connection is lost.
cdef int push(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef int r
    while not mux.dead:
        if l.out == NULL:
            gather(l)
            if l.out == NULL:
                break
        r = link_flush(l)
        if r > 0:
            return 1
        if r < 0:
            lose(l, FAULT_ERROR)
    return -1 if mux.dead else 0


# --- streams ---


cdef muxstream_t *find(link_t *l, unsigned int id_) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef int i
    for i in range(PLACES):
        if mux.streams[i].side != NULL and mux.streams[i].id == id_:
            return &mux.streams[i]
    return NULL


# Give a side a place on the link, which has one free.
cdef muxstream_t *settle_in(link_t *l, side_t *s, uint8_t id_) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef muxstream_t *ms = &mux.streams[0]
    while ms.side != NULL:
        ms += 1
    memset(ms, 0, sizeof(muxstream_t))
    ms.side = s
    ms.link = l
    ms.id = id_
    ms.credit = STREAM_CREDIT
    ms.granted = STREAM_CREDIT
    timer_init(&ms.timer, stream_expired, ms)
    s.state = ms
    ms.active_ms = l.engine.now_ms
    s.timer = &ms.timer
    s.active_ms = &ms.active_ms
    l.streams += 1
    link_deadline(l, 0, 0)
    return ms


cdef void stream_expired(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef side_t *s = (<muxstream_t *> owner).side
    s.stream.timeout(s.stream, s)


cdef void give(link_t *l, char **buffer) noexcept nogil:
    if buffer[0] != NULL:
        pool_give(&l.engine.buffer_pool, buffer[0])
        buffer[0] = NULL


# The side leaves its place. The link may be gone on return.
cdef void leave(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    cdef muxstream_t *ms = place_of(s)
    cdef mux_t *mux = mux_of(l)
    mux.owed += ms.unread                     # nobody will read it
    timer_unlink(&l.engine.timers, &ms.timer)
    give(l, &ms.out)
    give(l, &ms.kept)
    if ms.head != NULL:
        pool_give(&l.engine.message_pool, ms.head)
    ms.side = NULL
    s.state = NULL
    s.flags |= SIDE_GONE
    l.streams -= 1
    l.requests += 1
    l.flags |= LINK_REUSED
    if l.streams == 0 and l.kind == LINK_CLIENT:
        link_deadline(l, l.engine.now_ms, mux.keep_alive_ms)
    push(l)
    settle(l)


cdef void mux_attach(side_t *s) noexcept nogil:
    cdef link_t *l = s.link
    cdef mux_t *mux = mux_of(l)
    mux.last_id += 1
    settle_in(l, s, mux.last_id)
    l.room = room(l)
    if mux.last_id == LAST_ID:
        l.flags |= LINK_CLOSE                 # its ids are used up


cdef void mux_finish(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if not (ms.flags & (MUX_IN_END | MUX_RESET)):
        reset(s.link, ms.id, CODE_NONE)       # answered, and the rest is not wanted
    leave(s)


cdef void mux_abort(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if ms == NULL:                            # was still connecting
        s.flags |= SIDE_GONE
        s.link.stream = NULL
        link_close(s.link)
        return
    if ms.flags & MUX_KNOWN and not (ms.flags & MUX_RESET):
        if not (ms.flags & MUX_IN_END) or not (ms.flags & MUX_OUT_END) or ms.out != NULL or ms.kept != NULL:
            reset(s.link, ms.id, CODE_CANCEL)
    leave(s)


cdef link_t *mux_raw(side_t *s) noexcept nogil:
    return NULL


cdef int mux_waits(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    return (WAITS_OUT if ms.out != NULL or ms.kept != NULL else 0) | (WAITS_IN if ms.unread else 0)


cdef void mux_again(side_t *s) noexcept nogil:
    conn_run(&s.link.conn)


# --- what a stream reads ---


cdef int mux_head(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if ms.head != NULL:
        s.head = ms.head
        ms.head = NULL
        if s.head.status >= 200:
            s.flags |= SIDE_IN_HEAD
        return OFFER_HEAD
    return OFFER_ABORT if s.fault != FAULT_NONE else OFFER_WAIT


cdef int mux_offer(side_t *s, slice_out_t *out) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if ms.unread:
        out.p = ms.data
        out.n = ms.unread
        return OFFER_DATA
    if s.fault != FAULT_NONE:
        return OFFER_ABORT
    if ms.flags & MUX_IN_END:
        s.flags |= SIDE_IN_END
        return OFFER_END
    return OFFER_WAIT


cdef void mux_consume(side_t *s, size_t n) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    cdef link_t *l = s.link
    ms.unread -= <uint16_t> n
    memmove(ms.data, ms.data + n, ms.unread)
    if not (ms.flags & MUX_IN_END):
        ms.owed += <uint16_t> n
    mux_of(l).owed += <uint32_t> n
    if l.kind == LINK_CLIENT:
        s.stream.bytes_in += n
        s.stream.flags &= <uint16_t> ~STREAM_REPLAY
    push(l)


cdef int mux_rewind(side_t *s) noexcept nogil:
    return 0 if s.stream.flags & STREAM_REPLAY else -1    # nothing was consumed


# --- what a stream writes ---


# Room for a frame of n payload bytes behind what the stream has already; NULL when there is none.
cdef char *frame_room(muxstream_t *ms, size_t n) noexcept nogil:
    if ms.out == NULL:
        ms.out = <char *> pool_take(&ms.link.engine.buffer_pool)
        ms.out_at = 0
        ms.out_end = 0
        if ms.out == NULL:
            return NULL
    if ms.out_end + HEADER + n > BUFFER_SIZE and ms.out_at != 0:
        memmove(ms.out, ms.out + ms.out_at, ms.out_end - ms.out_at)
        ms.out_end -= ms.out_at
        ms.out_at = 0
    if ms.out_end + HEADER + n > BUFFER_SIZE:
        return NULL
    return ms.out + ms.out_end


cdef void frame_done(muxstream_t *ms, uint8_t kind, size_t n) noexcept nogil:
    header(ms.out + ms.out_end, kind, ms.id, n)
    ms.out_end += <uint16_t> (HEADER + n)
    if ms.link.kind == LINK_CLIENT:
        ms.side.stream.bytes_out += HEADER + n


cdef inline bint is_cut(const muxstream_t *ms) noexcept nogil:
    return ms.flags & MUX_RESET or mux_of(ms.link).deaf


# A pair at `at`; NULL when it does not fit before `end`.
cdef char *put_pair(char *at, const char *end, const char *name, size_t name_len, const char *value,
                    size_t n) noexcept nogil:
    cdef size_t i
    if at == NULL or <size_t> (end - at) < 3 + name_len + n:
        return NULL
    at[0] = <char> name_len
    for i in range(name_len):
        at[1 + i] = name[i] + 32 if c'A' <= name[i] <= c'Z' else name[i]
    at += 1 + name_len
    write16(at, n)
    memcpy(at + 2, value, n)
    return at + 2 + n


cdef char *put_number(char *at, const char *end, const char *name, size_t name_len, uint64_t n) noexcept nogil:
    cdef char digits[20]
    cdef int i = 20
    while True:
        i -= 1
        digits[i] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            return put_pair(at, end, name, name_len, digits + i, <size_t> (20 - i))


cdef bint has_no_body(const message_t *m) noexcept nogil:
    return m.method == METHOD_HEAD or m.status < 200 or m.status == 204 or m.status == 304


cdef char *put_head(const message_t *m, bint is_end, char *at, const char *end) noexcept nogil:
    cdef unsigned int i
    cdef bint says_length = m.framing == FRAMING_LENGTH
    if at >= end:
        return NULL
    at[0] = 1 if is_end else 0
    at += 1
    if m.kind == MESSAGE_REQUEST:
        at = put_pair(at, end, b":method", 7, m.block + m.method_at.at, m.method_at.len)
        if m.scheme.len:
            at = put_pair(at, end, b":scheme", 7, m.block + m.scheme.at, m.scheme.len)
        else:
            at = put_pair(at, end, b":scheme", 7, b"http", 4)
        if m.authority.len:
            at = put_pair(at, end, b":authority", 10, m.block + m.authority.at, m.authority.len)
        at = put_path(m, at, end)
    else:
        at = put_number(at, end, b":status", 7, m.status)
        if has_no_body(m):
            # RFC 9110 8.6: the length that GET would have had; never in 1xx and 204
            says_length = False
            i = m.by_name[<unsigned int> NAME_CONTENT_LENGTH]
            if i and m.status >= 200 and m.status != 204:
                at = put_pair(at, end, b"content-length", 14, m.block + m.fields[i - 1].value_at,
                              m.fields[i - 1].value_len)
    if says_length:
        at = put_number(at, end, b"content-length", 14, m.length)
    for i in range(m.nfields):
        if m.fields[i].flags & (FIELD_DELETED | FIELD_HOP | FIELD_FRAMING):
            continue
        if m.fields[i].id == NAME_HOST and m.kind == MESSAGE_REQUEST:
            continue
        at = put_pair(at, end, m.block + m.fields[i].name_at, m.fields[i].name_len, m.block + m.fields[i].value_at,
                      m.fields[i].value_len)
    return at


# :path of an origin-form, from what an absolute-form says as well (where it may be empty: RFC 9113 8.3.1).
cdef char *put_path(const message_t *m, char *at, const char *end) noexcept nogil:
    cdef char *value
    if m.path.len == 0 and m.query.len == 0:
        if m.target.len == 1 and m.block[m.target.at] == c'*':
            return put_pair(at, end, b":path", 5, b"*", 1)
        return put_pair(at, end, b":path", 5, b"/", 1)
    if m.path.len:
        return put_pair(at, end, b":path", 5, m.block + m.path.at,
                        m.path.len + (1 + m.query.len if m.query.at else 0))
    at = put_pair(at, end, b":path", 5, m.block + m.query.at - 2, m.query.len + 2)
    if at != NULL:
        value = at - (m.query.len + 2)
        value[0] = c'/'                       # in front of the question mark
    return at


cdef int mux_send_head(side_t *s, message_t *m) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    cdef bint is_end
    cdef char *at
    cdef char *stop
    if is_cut(ms):
        return 0                              # flush says so
    if m.kind == MESSAGE_REQUEST:
        is_end = m.framing == FRAMING_NONE or (m.framing == FRAMING_LENGTH and m.length == 0)
    else:
        is_end = m.status >= 200 and (has_no_body(m) or (m.framing == FRAMING_LENGTH and m.length == 0))
    at = frame_room(ms, 0)
    if at == NULL:
        return -1
    at += HEADER
    stop = put_head(m, is_end, at, ms.out + BUFFER_SIZE)
    if stop == NULL or stop - at > FRAME_MAX:
        if ms.out_at == ms.out_end:
            give(s.link, &ms.out)
        return -1
    frame_done(ms, FRAME_HEAD, <size_t> (stop - at))
    if is_end:
        ms.flags |= MUX_OUT_END
    if m.kind == MESSAGE_REQUEST or m.status >= 200:
        s.flags |= SIDE_OUT_HEAD
    return 0


cdef ssize_t mux_send_data(side_t *s, const char *p, size_t n) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    cdef mux_t *mux = mux_of(s.link)
    cdef char *at
    if is_cut(ms):
        return -1
    if ms.flags & MUX_OUT_END:                # a body where none may be: swallow it (HEAD, 204, 304)
        return <ssize_t> n
    if <ssize_t> n > ms.credit:
        n = <size_t> ms.credit
    if <ssize_t> n > mux.credit:
        n = <size_t> mux.credit
    if n == 0:
        return 0
    at = frame_room(ms, n)
    if at == NULL:
        return 0 if ms.out != NULL else -1    # behind a long head: when that has left
    memcpy(at + HEADER, p, n)
    frame_done(ms, FRAME_DATA, n)
    ms.credit -= <int32_t> n
    mux.credit -= <int32_t> n
    return <ssize_t> n


cdef int put_end(muxstream_t *ms) noexcept nogil:
    if frame_room(ms, 0) == NULL:
        return -1
    frame_done(ms, FRAME_END, 0)
    ms.flags |= MUX_OUT_END                   # only now: without it the end is told by a reset
    return 0


# Send of what is kept as much as credit allows, and END behind it. 0 or -1.
cdef int release(muxstream_t *ms) noexcept nogil:
    cdef ssize_t n
    if ms.kept == NULL or is_cut(ms):
        return 0
    while ms.kept_at < ms.kept_end:
        n = mux_send_data(ms.side, ms.kept + ms.kept_at, ms.kept_end - ms.kept_at)
        if n <= 0:
            return <int> n
        ms.kept_at += <uint16_t> n
    give(ms.link, &ms.kept)
    if ms.flags & MUX_END_LATER:
        return put_end(ms)
    return 0


cdef int mux_send_whole(side_t *s, const char *p, size_t n) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if is_cut(ms) or ms.flags & MUX_OUT_END:
        return 0
    LB_ASSERT(ms.kept == NULL and n <= BUFFER_SIZE)
    ms.kept = <char *> pool_take(&s.link.engine.buffer_pool)
    if ms.kept == NULL:
        return -1
    memcpy(ms.kept, p, n)
    ms.kept_at = 0
    ms.kept_end = <uint16_t> n
    return release(ms)


cdef int mux_send_end(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    s.flags |= SIDE_OUT_END
    if is_cut(ms) or ms.flags & MUX_OUT_END:
        return 0
    if ms.kept != NULL:
        ms.flags |= MUX_END_LATER
        return 0
    return put_end(ms)


cdef int mux_flush(side_t *s) noexcept nogil:
    cdef muxstream_t *ms = place_of(s)
    if is_cut(ms) or push(s.link) < 0:
        return -1
    return 1 if ms.out != NULL or ms.kept != NULL else 0


# --- reading frames ---


# The pairs of a HEAD's payload, into a message that was begun. 0, minus a status, or 1: they do not fill the payload.
cdef int read_pairs(message_t *m, const char *p, const char *end) noexcept nogil:
    cdef const char *name
    cdef size_t name_len, n
    while p < end:
        name_len = <uint8_t> p[0]
        name = p + 1
        if <size_t> (end - name) < name_len + 2:
            return 1
        p = name + name_len
        n = read16(p)
        p += 2
        if <size_t> (end - p) < n:
            return 1
        pairs_add(m, name, name_len, p, n)    # the first fault stays
        p += n
    return 0


# Streams that the peer must count as open.
cdef int open_streams(const mux_t *mux) noexcept nogil:
    cdef const muxstream_t *ms
    cdef int i, n = 0
    for i in range(PLACES):
        ms = &mux.streams[i]
        if ms.side != NULL and not (ms.flags & MUX_IN_END and ms.flags & MUX_OUT_END and ms.out == NULL):
            n += 1
    return n


# The body that follows a head.
cdef void expect(muxstream_t *ms, const message_t *m, bint is_end) noexcept nogil:
    ms.left = 0
    if m.framing == FRAMING_LENGTH:
        ms.left = m.length
    elif m.framing == FRAMING_CHUNKED:
        ms.flags |= MUX_UNKNOWN
    if is_end:
        ms.flags |= MUX_IN_END


cdef void open_stream(link_t *l, uint8_t id_, const char *p, size_t n) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef mux_t *mux = mux_of(l)
    cdef bint is_end = n != 0 and p[0] & 1
    cdef muxstream_t *ms
    cdef message_t *m
    cdef stream_t *st
    cdef int r
    if id_ <= mux.last_id or n == 0:
        violated(l, CODE_PROTOCOL)
        return
    mux.last_id = id_
    if not is_closing(l) and l.generation != e.current.generation:
        if session_rebind(l) == 0:
            keep_timeouts(l)
        else:                                 # its frontend is gone
            l.flags |= LINK_CLOSE
            goaway(l, CODE_NONE)
    if is_closing(l) or l.streams == PLACES or open_streams(mux) >= STREAMS:
        reset(l, id_, CODE_REFUSED)
        return
    m = <message_t *> pool_take(&e.message_pool)
    if m == NULL:
        reset(l, id_, CODE_REFUSED)
        return
    pairs_begin(m, MESSAGE_REQUEST, 0)
    if read_pairs(m, p + 1, p + n) != 0:
        pool_give(&e.message_pool, m)
        violated(l, CODE_PROTOCOL)
        return
    r = pairs_end(m, is_end)
    l.began_ms = l.heard_ms = e.now_ms
    st = http_open(l, m)
    if st == NULL:
        reset(l, id_, CODE_REFUSED)
        return
    ms = settle_in(l, &st.client, id_)
    ms.flags |= MUX_KNOWN | MUX_IN_FINAL
    expect(ms, m, is_end)
    if r < 0:
        ms.flags |= MUX_UNKNOWN               # whatever follows is not read
        http_refuse(st, -r, session_refusal(-r), c'P', c'R')
        return
    if is_end:
        st.client.flags |= SIDE_IN_END
    st.flags |= STREAM_REPLAY
    http_begin(st)


# The message of a stream is wrong in itself.
cdef void malformed(muxstream_t *ms, uint8_t reason) noexcept nogil:
    if ms.side.fault == FAULT_NONE:
        ms.side.fault = FAULT_SYNTAX
        ms.side.reason = reason


cdef void response_head(link_t *l, muxstream_t *ms, const char *p, size_t n) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef bint is_end = n != 0 and p[0] & 1
    cdef message_t *m
    if n == 0 or ms.flags & (MUX_IN_FINAL | MUX_IN_END | MUX_RESET):
        violated(l, CODE_PROTOCOL)
        return
    m = <message_t *> pool_take(&e.message_pool)
    if m == NULL:
        ms.side.fault = FAULT_ERROR
        return
    pairs_begin(m, MESSAGE_RESPONSE, ms.side.stream.request.method)
    if read_pairs(m, p + 1, p + n) != 0:
        pool_give(&e.message_pool, m)
        violated(l, CODE_PROTOCOL)
        return
    if pairs_end(m, is_end) != 0:
        malformed(ms, m.reason_id)
        pool_give(&e.message_pool, m)
        return
    if ms.head != NULL:                       # an interim head that nobody fetched gives way
        pool_give(&e.message_pool, ms.head)
    ms.head = m
    if m.status >= 200:
        ms.flags |= MUX_IN_FINAL
        expect(ms, m, is_end)


cdef void data(link_t *l, muxstream_t *ms, const char *p, size_t n) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    mux.granted -= <int32_t> n
    if mux.granted < 0:
        violated(l, CODE_CREDIT)
        return
    if ms == NULL:                            # has ended here
        mux.owed += <uint32_t> n
        return
    ms.granted -= <int32_t> n
    if ms.granted < 0:
        violated(l, CODE_CREDIT)
        return
    if ms.flags & (MUX_IN_END | MUX_RESET):
        violated(l, CODE_PROTOCOL)
        return
    if not (ms.flags & MUX_IN_FINAL):
        malformed(ms, H1_BAD_START_LINE)
    elif not (ms.flags & MUX_UNKNOWN) and n > ms.left:
        malformed(ms, H1_BAD_LENGTH)          # RFC 9113 8.1.1
    if ms.side.fault != FAULT_NONE:
        mux.owed += <uint32_t> n
        return
    ms.left -= n if not (ms.flags & MUX_UNKNOWN) else 0
    memcpy(ms.data + ms.unread, p, n)
    ms.unread += <uint16_t> n


cdef void end(link_t *l, muxstream_t *ms) noexcept nogil:
    if ms.flags & (MUX_IN_END | MUX_RESET):
        violated(l, CODE_PROTOCOL)
        return
    ms.flags |= MUX_IN_END
    if not (ms.flags & MUX_IN_FINAL):
        malformed(ms, H1_BAD_START_LINE)
    elif not (ms.flags & MUX_UNKNOWN) and ms.left != 0:
        malformed(ms, H1_BAD_LENGTH)


cdef void given_up(muxstream_t *ms, uint8_t code) noexcept nogil:
    ms.flags |= MUX_RESET
    if not (ms.flags & MUX_IN_END) and ms.side.fault == FAULT_NONE:
        ms.side.fault = FAULT_CLOSED if code == CODE_REFUSED else FAULT_RESET
        mux_of(ms.link).owed += ms.unread
        ms.unread = 0
    ms.side.flags |= SIDE_LEFT | SIDE_LOST
    give(ms.link, &ms.out)
    give(ms.link, &ms.kept)


cdef void window(link_t *l, unsigned int id_, muxstream_t *ms, unsigned int n) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef int32_t *credit = &mux.credit
    cdef int i
    if id_ != 0:
        if ms == NULL:
            return
        credit = &ms.credit
    if credit[0] + <int32_t> n > 65535:
        violated(l, CODE_CREDIT)
        return
    credit[0] += <int32_t> n
    for i in range(PLACES):
        ms = &mux.streams[(mux.turn + i) % PLACES]
        if ms.side != NULL and release(ms) < 0:
            lose(l, FAULT_ERROR)


cdef void going_away(link_t *l, unsigned int last) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef int i
    l.flags |= LINK_CLOSE
    if l.flags & LINK_IDLE:
        link_unlist(l)
    if l.kind == LINK_SERVER:
        for i in range(PLACES):
            if mux.streams[i].side != NULL and mux.streams[i].id > last:
                given_up(&mux.streams[i], CODE_REFUSED)


# One frame. Wakes its stream.
cdef void frame(link_t *l, unsigned int kind, uint8_t id_, const char *p, size_t n) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef muxstream_t *ms = find(l, id_)
    cdef stream_t *st
    if kind == FRAME_HEAD and ms == NULL and l.kind == LINK_CLIENT:
        open_stream(l, id_, p, n)
        return
    if kind == FRAME_GOAWAY and n == 2 and id_ == 0:
        going_away(l, <uint8_t> p[0])
        return                                # all are woken behind the frames
    if kind == FRAME_WINDOW and n == 2:
        window(l, id_, ms, read16(p))
    elif id_ == 0 or id_ > mux.last_id:
        violated(l, CODE_PROTOCOL)
    elif kind == FRAME_DATA:
        data(l, ms, p, n)
    elif ms == NULL and (kind == FRAME_HEAD or kind == FRAME_END or kind == FRAME_RESET):
        return                                # of a stream that has ended here
    elif kind == FRAME_HEAD and l.kind == LINK_SERVER:
        response_head(l, ms, p, n)
    elif kind == FRAME_END and n == 0:
        end(l, ms)
    elif kind == FRAME_RESET and n == 1:
        given_up(ms, <uint8_t> p[0])
    else:
        violated(l, CODE_PROTOCOL)
    if ms != NULL and not mux.deaf:
        ms.active_ms = l.engine.now_ms
        st = ms.side.stream
        st.wake(st, ms.side)


cdef void frames(link_t *l) noexcept nogil:
    cdef size_t n
    cdef const char *p
    while l.end - l.at >= HEADER and not mux_of(l).deaf:
        p = l.window + l.at
        n = read16(p + 2)
        if n > FRAME_MAX:
            violated(l, CODE_PROTOCOL)
            return
        if <size_t> (l.end - l.at) < HEADER + n:
            return
        frame(l, <uint8_t> p[0], <uint8_t> p[1], p + HEADER, n)
        l.at += <uint16_t> (HEADER + n)


# Bytes behind what the window holds. As link_refill.
cdef ssize_t refill(link_t *l) noexcept nogil:
    cdef ssize_t n
    if l.at == l.end:
        return link_refill(l)
    memmove(l.window, l.window + l.at, l.end - l.at)
    l.end -= l.at
    l.at = 0
    n = conn_recv(&l.conn, l.window + l.end, BUFFER_SIZE - l.end)
    if n > 0:
        l.end += <uint16_t> n
    return n


cdef void read(link_t *l) noexcept nogil:
    cdef mux_t *mux = mux_of(l)
    cdef size_t budget = LOOP_SIDE_BYTES
    cdef ssize_t n
    while not mux.deaf and l.conn.flags & CONN_READABLE:
        n = refill(l)
        if n == CONN_AGAIN:
            break
        if n <= 0:
            lose(l, FAULT_CLOSED if n == CONN_CLOSED else FAULT_ERROR)
            return
        frames(l)
        if <size_t> n >= budget:
            conn_run(&l.conn)
            break
        budget -= <size_t> n
    if l.at == l.end or mux.deaf:
        link_window_drop(l)
    # A frame that has begun has this long to come whole.
    if mux.partial and l.at == l.end:
        mux.partial = 0
        link_deadline(l, l.engine.now_ms, mux.keep_alive_ms if l.streams == 0 else 0)
    elif not mux.partial and l.at < l.end and l.kind == LINK_CLIENT:
        mux.partial = 1
        link_deadline(l, l.engine.now_ms, mux.request_ms)


# Drop what comes until the peer has closed as well.
cdef void linger(link_t *l) noexcept nogil:
    cdef ssize_t n = CONN_AGAIN
    while l.conn.flags & CONN_READABLE and l.linger <= LINGER_BYTES:
        n = link_refill(l)
        if n <= 0:
            break
        l.linger += <uint64_t> n
        l.at = l.end
    link_window_drop(l)
    if n != CONN_AGAIN or l.linger > LINGER_BYTES:
        link_close(l)


cdef void mux_wake(conn_t *c) noexcept nogil:
    cdef link_t *l = <link_t *> c
    cdef mux_t *mux = mux_of(l)
    cdef side_t *s
    cdef int i
    l.active_ms = l.engine.now_ms
    if l.flags & LINK_LINGER:
        linger(l)
        return
    mux.busy = 1
    push(l)
    read(l)
    # Whoever waited for room, credit or its next turn; and all of a connection that is lost.
    for i in range(PLACES):
        s = mux.streams[(mux.turn + i) % PLACES].side
        if s != NULL:
            s.stream.wake(s.stream, s)
    push(l)
    mux.busy = 0
    settle(l)
