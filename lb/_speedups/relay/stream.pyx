from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.mman cimport munmap
from lb._speedups.base.clock cimport clock_real_us
from lb._speedups.base.ledger cimport ledger_of, ledger_t
from lb._speedups.base.logring cimport LOGRING_SET, logring_commit, logring_reserve
from lb._speedups.base.mapping cimport counters_t, mapping_object
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.io.flow cimport flow_free, flow_held
from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, getsockname, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)
from lb._speedups.policy.limit cimport plan_limit
from lb._speedups.policy.logformat cimport logformat_write
from lb._speedups.policy.logline cimport (
    LOGLINE_CAP, log_end_t, log_view_t, logline_http, logline_json, logline_tcp, slice_t,
)
from lb._speedups.policy.regexes cimport regexes_free
from lb._speedups.policy.persistence cimport (
    PERSIST_INDIRECT, PERSIST_INSERT, PERSIST_PREFIX, PERSIST_REWRITE, persistence_of,
)
from lb._speedups.policy.plan cimport (
    FRONTEND_FORWARDING, FRONTEND_LOG, ID_HEX32, ID_UUID4, LOGS_ENDS, LOGS_NO_NORMAL, LOGS_NO_NULL, LOGS_SEPARATE,
    LOG_JSON, LOG_LOOKS, LOG_NUMBERED, LOG_PROGRAM, LOG_SKIP_ERRORS, LOG_SKIP_NORMAL, MODE_HTTP, plan_forwarding,
    plan_frontend_t, plan_log, plan_log_t, plan_t, plan_text, text_t,
)
from lb._speedups.policy.table cimport (
    TABLE_TRACKS, table_entry_t, table_held, table_leave, table_release_locked, table_result_locked, table_t,
)
from lb._speedups.policy.variable cimport variables_free
from lb._speedups.proto.h1 cimport h1_reason_text
from lb._speedups.proto.proxy cimport PROXY_NOT_ONE, proxy_reason_text
from lb._speedups.proto.message cimport MESSAGE_HTTP10, message_t, span_t
from lb._speedups.relay.link cimport side_deadline
from lb._speedups.relay.relay cimport (
    SIDE_GONE, STREAM_COPY, STREAM_DOWN_FLOW, STREAM_HALF, STREAM_HTTP, STREAM_LOGGED, STREAM_QUIET, STREAM_REDISPATCHED,
    STREAM_REPLIED, STREAM_REUSED, STREAM_UP_FLOW,
    engine_t, link_t, plan_ref_t, stream_t, tracked_t,
)
from lb._speedups.relay.mirror cimport mirror_drop
from lb._speedups.relay.rules cimport rules_look
from lb._speedups.relay.server cimport server_left
from lb._speedups.relay.settings cimport settings_free

cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)
    void lb_store_u64(uint64_t *p, uint64_t v) noexcept


cdef const char *stream_id(stream_t *st) noexcept nogil:
    if st.id_len == 0:                        # most requests are never asked for it
        write_id(st)
    return st.id


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    # splitmix64's finalizer: a bijection, so what went in different comes out different
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL
    return x ^ x >> 31


cdef void write_id(stream_t *st) noexcept nogil:
    # 128 bits: a random prefix of this engine and a counter spread by an odd multiplier; unique, and no secret.
    cdef const char *digits = b"0123456789abcdef"
    cdef engine_t *e = st.engine
    cdef uint64_t low = e.id_next * 0x9e3779b97f4a7c15ULL
    cdef uint64_t high = e.id_prefix
    cdef uint8_t form = ID_HEX32
    cdef char *dst = st.id
    cdef int i
    e.id_next += 1
    if st.frontend.flags & FRONTEND_FORWARDING:
        form = plan_forwarding(st.plan.plan, st.frontend).id_format
    if form != ID_HEX32:
        # RFC 9562: 4 bits of version, 2 of variant. Here the counter is in both halves, so that what is cut off does not
        # make two ids the same; uuid7 begins with 48 bits of the request's time in ms.
        high = mixed(high + low)
        low = mixed(low) & 0x3fffffffffffffffULL | 0x8000000000000000ULL
        if form == ID_UUID4:
            high = high & 0xffffffffffff0fffULL | 0x4000
        else:
            high = (st.accept_us // 1000) << 16 | high & 0xfff | 0x7000
    for i in range(16):
        dst[0] = digits[(high >> (60 - 4 * i)) & 15]
        dst += 1
        if form != ID_HEX32 and (i == 7 or i == 11 or i == 15):
            dst[0] = c'-'
            dst += 1
    for i in range(16):
        dst[0] = digits[(low >> (60 - 4 * i)) & 15]
        dst += 1
        if form != ID_HEX32 and i == 3:
            dst[0] = c'-'
            dst += 1
    st.id_len = <uint8_t> (dst - st.id)


cdef stream_t *stream_new(engine_t *e, link_t *client) noexcept nogil:
    cdef stream_t *st = <stream_t *> pool_take(&e.stream_pool)
    if st == NULL:
        return NULL
    memset(st, 0, <size_t> (<char *> &st.up - <char *> st))
    st.engine = e
    st.plan = e.current
    st.plan.streams += 1
    st.frontend = client.frontend
    st.client.link = client
    st.client.stream = st
    st.client.codec = client.codec
    st.client.timer = &client.timer
    st.client.active_ms = &client.active_ms
    st.server.stream = st
    st.request_ms = -1
    st.connect_ms = -1
    st.response_ms = -1
    st.family = client.family
    st.port = client.port
    memcpy(st.address, client.address, 16)
    if e.now_us == 0:
        e.now_us = clock_real_us(&e.clock)
    # A request begins with its first byte, a TCP relay with its connection.
    st.start_ms = client.heard_ms
    st.accept_us = e.now_us - (e.now_ms - client.heard_ms) * 1000
    st.idle_ms = <uint32_t> (client.heard_ms - client.accept_ms)
    st.number = e.streams_begun
    e.streams_begun += 1
    if st.frontend.log_flags & LOGS_ENDS:
        keep_local(st)
    st.next = e.streams
    if e.streams != NULL:
        e.streams.prev = st
    e.streams = st
    return st


cdef void plan_release(engine_t *e) noexcept nogil:
    cdef plan_ref_t **at = &e.plans
    cdef plan_ref_t *p
    cdef uint64_t oldest = e.current.generation if e.current != NULL else 0
    while at[0] != NULL:
        p = at[0]
        if p.streams == 0 and p != e.current and e.current != NULL and p.generation < e.current.generation:
            at[0] = p.next
            regexes_free(&p.regexes, &e.shelf)
            munmap(<void *> p.plan, <size_t> p.size)
            free(p.frontends)
            free(p)
        else:
            # What is committed but not switched to yet is younger.
            if p.generation < oldest:
                oldest = p.generation
            at = &p.next
    lb_store_u64(&e.worker.oldest, oldest)


# What the kernel says of an end of a connection; a v4 peer of a v6 socket is a v4 one.
cdef void stream_end_of(log_end_t *end, const sockaddr_storage *address) noexcept nogil:
    cdef const sockaddr_in *v4 = <const sockaddr_in *> address
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *> address
    end.family = address.ss_family
    if end.family == AF_INET:
        end.port = ntohs(v4.sin_port)
        memcpy(end.address, &v4.sin_addr, 4)
    elif end.family == AF_INET6:
        end.port = ntohs(v6.sin6_port)
        if v6.sin6_addr.s6_addr[0] == 0 and v6.sin6_addr.s6_addr[10] == 0xff and v6.sin6_addr.s6_addr[11] == 0xff:
            end.family = AF_INET
            memcpy(end.address, &v6.sin6_addr.s6_addr[12], 4)
        else:
            memcpy(end.address, v6.sin6_addr.s6_addr, 16)


cdef void ask_end(log_end_t *end, int fd) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    memset(end, 0, sizeof(log_end_t))
    memset(&address, 0, sizeof(address))
    if getsockname(fd, <sockaddr *> &address, &size) == 0:
        stream_end_of(end, &address)


cdef void keep_local(stream_t *st) noexcept nogil:
    ask_end(&st.local, st.client.link.conn.fd)


cdef void stream_keep_source(stream_t *st) noexcept nogil:
    ask_end(&st.source, st.server.link.conn.fd)


# Whether this record is one of those that its target's sample lets through.
cdef bint is_sampled(plan_ref_t *ref, const plan_log_t *log) noexcept nogil:
    cdef uint32_t at = ref.sampled[log.target]
    ref.sampled[log.target] = at + 1 if at + 1 < log.sample_size else 0
    return (plan_text(ref.plan, log.sample)[at >> 3] >> (at & 7)) & 1


# HAProxy's strm_log: what is worth a record although normal ones are not wanted.
cdef bint is_failure(const stream_t *st) noexcept nogil:
    if st.end_cause and st.end_cause != c'-' and st.end_cause != c'L':
        return True
    return st.flags & STREAM_REDISPATCHED or st.retries or st.status >= 500


cdef inline slice_t text_slice(const plan_t *p, text_t t) noexcept nogil:
    cdef slice_t s
    s.p = plan_text(p, t)
    s.len = t.len
    return s


cdef inline slice_t span_slice(const message_t *m, span_t at) noexcept nogil:
    cdef slice_t s
    s.p = m.block + at.at
    s.len = at.len
    return s


# Whether records tell of its cookies, as HAProxy's do: not of those that are only read.
cdef bint has_cookie(const stream_t *st) noexcept nogil:
    return (persistence_of(st.plan.plan, st.backend).flags
            & (PERSIST_INSERT | PERSIST_REWRITE | PERSIST_PREFIX | PERSIST_INDIRECT)) != 0


cdef inline uint32_t shown(int64_t n) noexcept nogil:
    return <uint32_t> n if n > 0 else 0


cdef void count(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef counters_t *row
    cdef uint32_t oids[3]
    cdef int n = 0, i
    cdef int status = st.status // 100 - 1 if 100 <= st.status < 600 else 5
    cdef uint64_t total_ms = e.now_ms - st.start_ms
    if not (st.flags & STREAM_COPY):
        oids[n] = st.frontend.oid
        n += 1
    if st.backend != NULL:
        oids[n] = st.backend.oid
        n += 1
        if st.server_at != NULL:
            oids[n] = st.server_at.oid
            n += 1
    for i in range(n):
        row = &e.rows[oids[i]]
        row.sess_total += 1
        row.bytes_in += st.bytes_in
        row.bytes_out += st.bytes_out
        row.last_ms = e.now_ms
        if st.flags & STREAM_HTTP:
            row.req_total += 1
            if st.status:
                row.status[status] += 1
        if st.connect_ms >= 0:
            row.connect_ms += <uint64_t> st.connect_ms
            if st.response_ms >= 0:
                row.response_ms += <uint64_t> st.response_ms
            row.total_ms += total_ms
            row.timed += 1
        if LIKELY(st.end_cause == 0):
            continue
        if st.end_cause == c'C' or st.end_cause == c'c':
            row.client_aborts += 1
        elif st.end_cause == c'S' or st.end_cause == c's':
            row.server_aborts += 1
            if oids[i] != st.frontend.oid and st.end_phase != c'C':
                row.err_resp += 1
        elif st.end_cause == c'I' or st.end_cause == c'R':
            row.internal_errors += 1
    if st.flags & STREAM_COPY:
        return
    if st.end_phase == c'R' and st.end_cause != 0 and st.end_cause != c'L':
        e.rows[st.frontend.oid].err_req += 1
    if st.flags & STREAM_REPLIED:
        e.rows[st.frontend.oid].intercepted += 1


cdef void stream_record(stream_t *st, log_view_t *v) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef const plan_t *p = st.plan.plan
    cdef message_t *m = st.request
    cdef bint edited
    cdef size_t n
    cdef const plan_frontend_t *f = st.frontend
    memset(v, 0, sizeof(log_view_t))
    v.number = st.number
    v.idle_ms = st.idle_ms
    if f.log_flags & LOGS_ENDS:
        v.local = st.local
        if st.connect_ms >= 0:
            v.source = st.source
    v.mode = st.frontend.mode
    v.end_cause = st.end_cause if st.end_cause else c'-'
    v.end_phase = st.end_phase if st.end_cause else c'-'
    if UNLIKELY(st.backend != NULL and st.backend.persistence_at != 0) and has_cookie(st):
        v.cookie = <char> st.persisted.cookie if st.persisted.cookie else c'N'
        v.set_cookie = <char> st.persisted.set_ if st.persisted.set_ else c'N'
    v.status = st.status
    v.retries = st.retries
    v.redispatched = (st.flags & STREAM_REDISPATCHED) != 0
    v.reused = (st.flags & STREAM_REUSED) != 0
    v.family = st.family
    v.port = st.port
    memcpy(v.address, st.address, 16)
    v.accept_us = st.accept_us
    v.request_ms = st.request_ms
    v.queue_ms = 0 if st.assigned_ms else -1
    v.connect_ms = st.connect_ms
    v.response_ms = st.response_ms
    v.active_ms = <int64_t> (e.now_ms - st.start_ms)
    v.bytes_in = st.bytes_in
    v.bytes_out = st.bytes_out
    v.frontend = text_slice(p, st.frontend.name)
    v.backend = text_slice(p, st.backend.name) if st.backend != NULL else v.frontend
    if st.server_at != NULL:
        v.server = text_slice(p, st.server_at.name)
        v.srvconn = shown(e.rows[st.server_at.oid].cur)
    if st.backend != NULL:
        v.beconn = shown(e.rows[st.backend.oid].cur)
    v.actconn = shown(mapping_object(e.mapping, e.process_oid).cur)
    v.feconn = shown(mapping_object(e.mapping, st.frontend.oid).cur)
    if m != NULL:
        v.http10 = (m.flags & MESSAGE_HTTP10) != 0
        if m.head_len and m.target.len:
            v.has_request = 1
            # What the client asked for, whatever rules made of it.
            edited = st.asked_method.len != 0
            v.method = span_slice(m, st.asked_method if edited else m.method_at)
            v.target = span_slice(m, st.asked_target if edited else m.target)
            v.path = span_slice(m, st.asked_path if edited else m.path)
            v.host = span_slice(m, st.asked_host if edited else m.authority)
    if UNLIKELY(st.limited.refused):
        v.limit = text_slice(p, plan_limit(p, st.limited.shown - 1).name)
    if UNLIKELY(st.limited.shadow != 0):
        v.limit_shadow = text_slice(p, plan_limit(p, st.limited.shadow - 1).name)
    if st.reason:
        v.reason.p = h1_reason_text(st.reason) if st.reason < PROXY_NOT_ONE else proxy_reason_text(st.reason)
        n = 0
        while v.reason.p[n] != 0:
            n += 1
        v.reason.len = <uint32_t> n


cdef void record(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef log_view_t v
    cdef const plan_frontend_t *f = st.frontend
    cdef bint failed = is_failure(st)
    if f.log_flags & LOGS_NO_NORMAL and not failed:
        return
    if f.log_flags & LOGS_NO_NULL and st.bytes_in == 0:
        return
    stream_record(st, &v)
    v.logged = e.logged[f.oid]
    e.logged[f.oid] += 1
    stream_lines(e, st.plan, f, &v, failed, st)


cdef void stream_lines(engine_t *e, plan_ref_t *ref, const plan_frontend_t *f, log_view_t *v, bint failed,
                       stream_t *st) noexcept nogil:
    cdef const plan_t *p = ref.plan
    cdef const plan_log_t *log
    cdef char *room
    cdef size_t n
    cdef uint32_t i
    cdef int level
    cdef uint16_t severity
    level = <int> st.settings.log_level - 1 if st != NULL and st.settings != NULL else -1
    for i in range(f.logs):
        log = plan_log(p, f.logs_at + i)
        if UNLIKELY(level >= 0):
            if level > log.least:
                continue
        elif log.flags & (LOG_SKIP_ERRORS if failed else LOG_SKIP_NORMAL):
            continue
        if log.sample_size and not is_sampled(ref, log):
            continue
        room = logring_reserve(e.ring, LOGLINE_CAP)
        if room == NULL:
            e.rows[f.oid].log_dropped += 1
            continue
        if st != NULL and (log.format == LOG_JSON or log.flags & LOG_NUMBERED):
            v.request_id.p = stream_id(st)
            v.request_id.len = st.id_len
        if log.format == LOG_JSON:
            n = logline_json(&e.logline, v, room, LOGLINE_CAP)
        elif log.format == LOG_PROGRAM:
            if st != NULL and st.server_at != NULL:
                stream_end_of(&v.peer, <const sockaddr_storage *> st.server_at.address)
            if UNLIKELY(log.flags & LOG_LOOKS) and st != NULL:
                rules_look(st)
                e.view.record = v
            n = logformat_write(&e.logline, v, p, log, room, &e.eval if st != NULL else NULL)
            e.view.record = NULL              # which may be the caller's own
        elif f.mode == MODE_HTTP:
            n = logline_http(&e.logline, v, room, LOGLINE_CAP)
        else:
            n = logline_tcp(&e.logline, v, room, LOGLINE_CAP)
        if UNLIKELY(level >= 0):
            severity = <uint16_t> (level if level > log.gravest else log.gravest) | LOGRING_SET
        else:
            severity = log.error_level if failed and f.log_flags & LOGS_SEPARATE else 0
        logring_commit(e.ring, <uint32_t> n, log.target, severity)


cdef bint stream_half_closed(stream_t *st, bint up_ended) noexcept nogil:
    # The peer of whoever has ended is waited for, to send on or to end too; but if bytes for the one that has ended are
    # still held, it must take them first.
    cdef bint for_server = flow_held(&st.down) == 0 if up_ended else flow_held(&st.up) != 0
    cdef uint32_t ms = st.backend.server_fin_ms if for_server else st.frontend.client_fin_ms
    if ms == 0:
        st.flags &= <uint16_t> ~STREAM_HALF
        return False
    st.flags |= STREAM_HALF
    side_deadline(&st.client, st.engine.now_ms, 0 if for_server else ms)
    side_deadline(&st.server, st.engine.now_ms, ms if for_server else 0)
    return True


# Whether its records have expressions, which may ask for what it tracks.
cdef bint is_asked(const stream_t *st) noexcept nogil:
    cdef uint32_t i
    if not st.frontend.flags & FRONTEND_LOG or st.flags & (STREAM_COPY | STREAM_QUIET):
        return False
    for i in range(st.frontend.logs):
        if plan_log(st.plan.plan, st.frontend.logs_at + i).flags & LOG_LOOKS:
            return True
    return False


# What the client's connection tracks, as long as there is one.
cdef inline tracked_t *tracked_by_link(const stream_t *st) noexcept nogil:
    return NULL if st.client.flags & SIDE_GONE else st.client.link.tracked


# An entry that is held, with what came of the stream (`counts`); its shard's lock stays taken.
cdef table_entry_t *settle(stream_t *st, ledger_t *ledger, uint32_t place, bint counts, table_t **t,
                           uint32_t *shard) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef table_entry_t *entry = table_held(e.mapping, ledger, place, t, shard)
    if entry != NULL and counts:
        table_result_locked(t[0], entry, st.status, st.bytes_in, st.bytes_out, e.now_ms)
    return entry


# What the stream tracks gets what came of it (`counts`), and is given back (`ends`); under a number that it does not use, what
# its connection tracks gets it.
cdef void untrack(stream_t *st, bint counts, bint ends) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef ledger_t *ledger = ledger_of(e.mapping, e.slot)
    cdef tracked_t *session = tracked_by_link(st)
    cdef table_entry_t *entry
    cdef table_t *t
    cdef uint32_t shard
    cdef int i
    for i in range(TABLE_TRACKS):
        if st.tracks[i].place != 0:
            entry = settle(st, ledger, st.tracks[i].place, counts, &t, &shard)
            if entry == NULL:
                continue
            if not ends:
                table_leave(t, shard)
                continue
            table_release_locked(t, shard, entry, ledger, st.tracks[i].place, e.now_ms)
            st.tracks[i].place = 0
        elif counts and session != NULL and session.tracks[i].place != 0:
            if settle(st, ledger, session.tracks[i].place, True, &t, &shard) != NULL:
                table_leave(t, shard)


cdef void stream_account(stream_t *st) noexcept nogil:
    cdef bint asked = False
    if st.flags & STREAM_LOGGED:
        return
    st.flags |= STREAM_LOGGED
    if UNLIKELY(st.tracks[0].place | st.tracks[1].place | st.tracks[2].place) or UNLIKELY(tracked_by_link(st) != NULL):
        asked = is_asked(st)
        untrack(st, True, not asked)
    server_left(st)
    if st.backend != NULL:
        st.engine.rows[st.backend.oid].cur -= 1
    count(st)
    if st.frontend.flags & FRONTEND_LOG and not st.flags & (STREAM_COPY | STREAM_QUIET):
        record(st)
    if UNLIKELY(asked):
        untrack(st, False, True)


cdef void stream_free(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    stream_account(st)
    if st.mirror != NULL:
        mirror_drop(st)
    if UNLIKELY(st.variables != NULL):
        variables_free(&e.variable_pools, st.variables)
    if UNLIKELY(st.settings != NULL):
        settings_free(st)
    if st.flags & STREAM_UP_FLOW:
        flow_free(&st.up)
    if st.flags & STREAM_DOWN_FLOW:
        flow_free(&st.down)
    if st.reply_buffer != NULL:
        pool_give(&e.buffer_pool, st.reply_buffer)
    if st.body != NULL:
        pool_give(&e.buffer_pool, st.body)
    if st.request != NULL:
        pool_give(&e.message_pool, st.request)
    if st.response != NULL:
        pool_give(&e.message_pool, st.response)
    if st.prev != NULL:
        st.prev.next = st.next
    else:
        e.streams = st.next
    if st.next != NULL:
        st.next.prev = st.prev
    st.plan.streams -= 1
    if st.plan.streams == 0 and st.plan != e.current:
        plan_release(e)
    pool_give(&e.stream_pool, st)
