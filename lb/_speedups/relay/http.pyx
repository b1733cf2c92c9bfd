from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp
from lb._speedups.base.mapping cimport counters_t, rate_count
from lb._speedups.base.pool cimport pool_give
from lb._speedups.io.conn cimport CONN_READABLE, LOOP_SIDE_BYTES, conn_plain, conn_run
from lb._speedups.io.flow cimport (
    FLOW_BULK, FLOW_DONE, FLOW_EOF, FLOW_KEEP_OPEN, FLOW_MEMORY, FLOW_MORE, FLOW_READ_ERROR, FLOW_WAIT,
    FLOW_WRITE_ERROR, flow_free, flow_held, flow_init, flow_preload, flow_run, flow_t,
)
from lb._speedups.base.timers cimport lb_timer_t, timer_set
from lb._speedups.policy.action cimport (
    ACTION_ALLOW, ACTION_DENY, ACTION_PAUSE, ACTION_REJECT, ACTION_SILENT_DROP, ACTION_TARPIT, ACTION_USE_BACKEND,
    ACTION_WAIT_FOR_BODY, ACTIONS_STREAM,
)
from lb._speedups.policy.balance cimport balance_t, balance_usable
from lb._speedups.policy.plan cimport (
    FRONTEND_FORWARDING, FRONTEND_MARKS_RESPONSE, FRONTEND_MONITOR, FRONTEND_NO_DOTS, PLAN_UNLIMITED, ROUTE_TIMES,
    TARGET_SPLIT, limit_list_t, monitor_need_t, monitor_t, plan_backend, plan_mirror, plan_mirror_t, plan_monitor, plan_route,
    plan_route_t, plan_t, plan_text,
)
from lb._speedups.policy.fetch_body cimport PROGRAM_BODY
from lb._speedups.policy.route cimport route_find, route_found_t, route_is_plain
from lb._speedups.policy.rule cimport RULES_BAD, RULES_DONE, RULES_VERDICT, RULES_WAIT, verdict_t
from lb._speedups.policy.variable cimport SCOPE_REQ, variables_forget
from lb._speedups.proto.h1 cimport H1_BAD_TARGET, H1_UNASKED_UPGRADE
from lb._speedups.proto.message cimport (
    FRAMING_CLOSE, FRAMING_LENGTH, MESSAGE_HTTP10, MESSAGE_UPGRADE, METHOD_DELETE, METHOD_GET, METHOD_HEAD,
    METHOD_OPTIONS, METHOD_PUT, METHOD_TRACE, NAME_UPGRADE, message_t,
)
from lb._speedups.relay.admit cimport admit_request
from lb._speedups.relay.body cimport (
    BODY_BROKE, BODY_MEMORY, BODY_WAITS, body_ask, body_consume, body_gather, body_held, body_offer, body_rewind,
)
from lb._speedups.relay.forward cimport forward_request, forward_response
from lb._speedups.relay.limited cimport limited_fields, limited_take
from lb._speedups.relay.link cimport link_flush, link_window_drop, side_deadline
from lb._speedups.relay.mirror cimport mirror_add, mirror_choose, mirror_copy, mirror_is_whole, mirror_restart
from lb._speedups.relay.persist cimport persist_request, persist_response, persist_store
from lb._speedups.relay.relay cimport (
    FAULT_CLOSED, FAULT_ERROR, FAULT_RESET, FAULT_SYNTAX, INTERIM_MAX, LINK_CLOSE, LINK_EARLY, LINK_HEARD, LINK_PARKS,
    OFFER_ABORT, OFFER_DATA, OFFER_END, OFFER_MEMORY, OFFER_WAIT, PHASE_ASSIGN, PHASE_BODY,
    PHASE_CONNECT, PHASE_END, PHASE_PARKED, PHASE_REQUEST, PHASE_SEND, PHASE_TUNNEL, SIDE_GONE, SIDE_IN_END,
    SIDE_IN_HEAD, SIDE_LAST, SIDE_LEFT, SIDE_LOST, SIDE_OUT_END, SIDE_OUT_HEAD, STAGE_BACKEND, STAGE_BACKEND_CONTENT,
    STAGE_CONTENT, STAGE_REQUEST, STAGE_RESPONSE, STREAM_COPY, STREAM_DEFERRED, STREAM_DOWN_FLOW,
    STREAM_HALF,
    STREAM_HTTP, STREAM_QUIET, STREAM_REPLAY, STREAM_REPLIED, STREAM_RESENT, STREAM_REUSED, STREAM_UP_FLOW, STREAM_UPGRADE,
    WAITS_IN, WAITS_OUT, WAIT_BODY, WAIT_BYTES, WAIT_DECISION, WAIT_PASSWORD, WAIT_PAUSE,
    engine_t, link_t, side_t, slice_out_t, stream_t,
)
from lb._speedups.policy.program cimport program_of, rule_t
from lb._speedups.relay.reply cimport reply_denial, reply_error, reply_rest, reply_rule, reply_target
from lb._speedups.relay.rules cimport rules_after, rules_apply, rules_backend, rules_number
from lb._speedups.relay.settings cimport (
    PASSWORD_MS, settings_apply, settings_ask, settings_hint, settings_of, settings_pause, settings_silence,
)
from lb._speedups.relay.server cimport (
    SERVER_NONE, SERVER_READY, server_assign, server_check, server_failed, server_left, server_met, server_missed, server_own,
    server_retry,
)
from lb._speedups.relay.stream cimport (
    stream_account, stream_cause, stream_client_ms, stream_free, stream_half_closed, stream_new, stream_server_ms,
    stream_tunnel_ms,
)
from lb._speedups.relay.target cimport target_backend, target_cookie, target_enter

cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)
    bint UNLIKELY(bint x)

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG

cdef enum:                       # answers of pump
    PUMP_WAIT = 0                # did what could be done
    PUMP_END = 1                 # the message has ended and was written to the end
    PUMP_SOURCE = -1             # the reading side failed: its fault says how
    PUMP_SINK = -2               # the writing side's connection failed
    PUMP_MEMORY = -3
    PUMP_GONE = -4               # the stream has been answered otherwise, or has ended: touch nothing of it

cdef enum:
    FLOW_LEAST = 65536           # plain bodies with at least this much to come go through a flow


# --- ends ---


# Both sides are gone.
cdef void done(stream_t *st) noexcept nogil:
    st.phase = PHASE_END
    stream_free(st)


cdef void drop_server(stream_t *st) noexcept nogil:
    if st.server.codec != NULL and not (st.server.flags & SIDE_GONE):
        st.server.codec.abort(&st.server)


# Cut both sides.
cdef void cut(stream_t *st, char cause, char phase) noexcept nogil:
    stream_cause(st, cause, phase)
    drop_server(st)
    stream_account(st)
    if not (st.client.flags & SIDE_GONE):
        st.client.codec.abort(&st.client)
    done(st)


cdef void http_kill(stream_t *st) noexcept nogil:
    cut(st, c'K', phase_letter(st))


cdef char phase_letter(const stream_t *st) noexcept nogil:
    # second letter of the termination state
    if st.phase == PHASE_TUNNEL or st.phase == PHASE_BODY:
        return c'D'
    if st.phase == PHASE_SEND:
        return c'H'
    if st.phase == PHASE_CONNECT or st.phase == PHASE_ASSIGN:
        return c'C'
    return c'T' if st.held else c'R'


# The stream cannot go on: answer with `status` when the client has seen no head yet, else cut.
cdef void fail(stream_t *st, uint16_t status, const char *detail, char cause, char phase) noexcept nogil:
    if not is_answerable(st, cause, phase):
        return
    if reply_error(st, status, detail) != 0:
        cut(st, cause, phase)
        return
    st.phase = PHASE_BODY
    finish_reply(st)


# The same for a rule that refuses; its arguments from `first` on say how.
cdef void refuse(stream_t *st, const rule_t *rule, uint32_t first, const char *detail, char phase) noexcept nogil:
    if not is_answerable(st, c'P', phase):
        return
    if reply_denial(st, rule, first, detail) != 0:
        cut(st, c'P', phase)
        return
    st.phase = PHASE_BODY
    finish_reply(st)


# The server is of no more use. False: the client has seen a head already, and the stream was cut.
cdef bint is_answerable(stream_t *st, char cause, char phase) noexcept nogil:
    stream_cause(st, cause, phase)
    drop_server(st)
    if st.client.flags & (SIDE_OUT_HEAD | SIDE_GONE):
        cut(st, cause, phase)
        return False
    st.flags &= <uint16_t> ~STREAM_DEFERRED
    return True


# Everything is written to the client's side: end the stream as soon as it has left.
cdef void finish_reply(stream_t *st) noexcept nogil:
    cdef int r = 0
    if UNLIKELY(st.reply_left != 0):
        r = reply_rest(st)
    if r == 0:
        r = st.client.codec.flush(&st.client)
    if r < 0:
        cut(st, c'C', c'D')
        return
    # The server has said all: it neither waits for a slow client nor can its timeout cut what that still has to get.
    if not (st.server.flags & SIDE_GONE) and st.server.codec != NULL:
        if st.server.flags & SIDE_OUT_END and st.server.flags & SIDE_IN_END:
            st.server.codec.finish(&st.server)
        else:
            st.server.codec.abort(&st.server)
        server_left(st)
    if r > 0:
        side_deadline(&st.client, st.client.active_ms[0], stream_client_ms(st))
        return
    if UNLIKELY(st.flags & STREAM_REPLIED):
        stream_cause(st, c'L', c'R')          # an error has said its own already
    stream_account(st)
    st.client.codec.finish(&st.client)
    done(st)


# --- the request ---


cdef bint is_idempotent(const message_t *m) noexcept nogil:
    # RFC 9110 9.2.2
    return m.method == METHOD_GET or m.method == METHOD_HEAD or m.method == METHOD_PUT or m.method == METHOD_DELETE \
        or m.method == METHOD_OPTIONS or m.method == METHOD_TRACE


cdef stream_t *http_open(link_t *client, message_t *m) noexcept nogil:
    cdef engine_t *e = client.engine
    cdef stream_t *st = stream_new(e, client)
    if st == NULL:
        if m != NULL:
            pool_give(&e.message_pool, m)
        return NULL
    st.flags |= STREAM_HTTP
    st.wake = http_wake
    st.timeout = http_timeout
    st.request = m
    st.client.head = m
    return st


cdef void http_refuse(stream_t *st, int status, const char *detail, char cause, char phase) noexcept nogil:
    if st.request != NULL:
        st.reason = st.request.reason_id
        st.bytes_in = st.request.fill
    fail(st, <uint16_t> status, detail, cause, phase)


cdef void http_begin(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef message_t *m = st.request
    st.client.flags |= SIDE_IN_HEAD
    st.bytes_in = m.head_len
    st.request_ms = <long> (e.now_ms - st.start_ms)
    if UNLIKELY(e.counts_rates):
        rate_count(&e.rows[st.frontend.oid].req_rate, e.now_ms)
    if UNLIKELY(st.client.link.tracked != NULL):
        admit_request(st.client.link)
    if not is_idempotent(m):
        st.flags &= <uint16_t> ~STREAM_REPLAY
    if m.flags & MESSAGE_UPGRADE and not (m.flags & MESSAGE_HTTP10):
        st.flags |= STREAM_UPGRADE
    if st.frontend.flags & (FRONTEND_FORWARDING | FRONTEND_MONITOR) and not forward(st):
        return
    if st.frontend.flags & FRONTEND_NO_DOTS and not route_is_plain(m.block + m.path.at, m.path.len):
        # Judged by one reading, served by another: whoever decides by path would be passed by.
        st.reason = H1_BAD_TARGET
        fail(st, 400, b"the path has dot segments", c'P', c'R')
        return
    if UNLIKELY(st.frontend.request_captures != 0):
        judge(st, st.frontend.request_captures, m)   # which never ends a stream
    if UNLIKELY(st.frontend.limits.n != 0) and not within(st, st.frontend.limits, st.frontend.limits):
        return
    if UNLIKELY((st.frontend.phases.content | st.frontend.request_rules) != 0):
        proceed(st)
        return
    if LB_DEBUG and st.client.link.flags & LINK_PARKS:
        park(st)
        return
    route(st)


# Go on with the rules from where they stand, then to a server.
cdef void proceed(stream_t *st) noexcept nogil:
    cdef const message_t *m = st.request
    if st.stage == STAGE_CONTENT:
        if st.frontend.phases.content != 0 and not judge(st, st.frontend.phases.content, st.request):
            return
        st.stage = STAGE_REQUEST
    if st.stage != STAGE_REQUEST:
        enter_by_rules(st)
        return
    if st.frontend.request_rules != 0 and not judge(st, st.frontend.request_rules, st.request):
        return
    if st.frontend.flags & FRONTEND_NO_DOTS and not route_is_plain(m.block + m.path.at, m.path.len):
        # A rule made them: routes decide by what it wrote.
        st.reason = H1_BAD_TARGET
        fail(st, 400, b"the path has dot segments", c'P', c'R')
        return
    if LB_DEBUG and st.client.link.flags & LINK_PARKS:
        park(st)
        return
    route(st)


# What comes before the rules: a monitor's request is answered, what a frontend forwards is added. False: the stream is over.
cdef bint forward(stream_t *st) noexcept nogil:
    cdef uint16_t status
    if st.frontend.flags & FRONTEND_MONITOR and is_monitor(st):
        st.flags |= STREAM_QUIET
        if is_fit(st):
            fail(st, 200, b"ready", 0, 0)
        else:
            fail(st, 503, b"not ready", 0, 0)
        return False
    if not st.frontend.flags & FRONTEND_FORWARDING:
        return True
    status = forward_request(st)
    if LIKELY(status == 0):
        return True
    fail(st, status, b"the request has been here before" if status == 508 else b"the host leaves no room for what is added",
         c'P', c'R')
    return False


cdef bint is_monitor(stream_t *st) noexcept nogil:
    cdef const monitor_t *monitor = plan_monitor(st.plan.plan, st.frontend)
    cdef const message_t *m = st.request
    # Path and query, also of an absolute target.
    return m.path.len != 0 and m.target.at + m.target.len - m.path.at == <int> monitor.path.len \
        and memcmp(m.block + m.path.at, plan_text(st.plan.plan, monitor.path), monitor.path.len) == 0


# Whether a balancer in front of us should send more.
cdef bint is_fit(stream_t *st) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const monitor_t *monitor = plan_monitor(p, st.frontend)
    cdef const monitor_need_t *needs = <const monitor_need_t *> (<const char *> p + monitor.needs_at)
    cdef balance_t *balance
    cdef uint32_t i
    if st.engine.draining:
        return False
    for i in range(monitor.needs):
        balance = <balance_t *> (<char *> st.engine.mapping + plan_backend(p, needs[i].backend).balance_at)
        if balance_usable(balance) < needs[i].least:
            return False
    return True


# The request rules have passed: find the backend and a server.
cdef void route(stream_t *st) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const plan_route_t *chosen
    cdef route_found_t found
    if LIKELY(st.use_backend == 0):
        found = route_find(p, st.frontend, st.request, NULL)
    elif st.use_backend != <uint32_t> PLAN_UNLIMITED:
        target_enter(st, st.use_backend - 1)
        enter(st)
        return
    else:                                     # no backend has the name that a rule made: the default, as in HAProxy
        found.route = st.frontend.default_route
        found.allowed = 0
    if UNLIKELY(found.route < 0):
        if found.allowed:
            st.allowed = found.allowed
            fail(st, 405, b"no route of this host and path takes the method", c'P', c'R')
        else:
            fail(st, 404, b"no route leads from this host and path to a backend", c'P', c'R')
        return
    chosen = plan_route(p, <uint32_t> found.route)
    if UNLIKELY(chosen.kind > TARGET_SPLIT):
        if UNLIKELY(chosen.limits.n != 0) and not within(st, chosen.limits, chosen.limits):
            return
        answer(st, chosen)
        return
    target_backend(st, chosen)
    enter(st)


# The backend is known: its limits, its rules, then a server.
cdef void enter(stream_t *st) noexcept nogil:
    cdef limit_list_t limits = st.backend.limits
    if st.route != NULL:
        limits = st.route.limits
    if UNLIKELY((limits.n | st.backend.limits.n) != 0) and not within(st, limits, st.backend.limits):
        return
    st.mirror_rule = st.route.mirror if st.route != NULL else st.frontend.mirror
    if UNLIKELY((st.backend.phases.content | st.backend.request_rules) != 0):
        st.stage = STAGE_BACKEND_CONTENT
        enter_by_rules(st)
    else:
        leave(st)


cdef void enter_by_rules(stream_t *st) noexcept nogil:
    if st.stage == STAGE_BACKEND_CONTENT:
        if st.backend.phases.content != 0 and not judge(st, st.backend.phases.content, st.request):
            return
        st.stage = STAGE_BACKEND
    if st.backend.request_rules != 0 and not judge(st, st.backend.request_rules, st.request):
        return
    leave(st)


# All rules for the request have been looked at: a server.
cdef void leave(stream_t *st) noexcept nogil:
    st.stage = STAGE_RESPONSE
    if UNLIKELY(st.mirror_rule != 0):
        mirror_choose(st, plan_mirror(st.plan.plan, st.mirror_rule - 1))
    side_deadline(&st.client, 0, 0)
    if UNLIKELY(st.backend.persistence_at != 0):
        persist_request(st)
    assigned(st, server_assign(st, False))


# Whether rate limits let the request pass. False: it was refused, and the stream may be over.
cdef bint within(stream_t *st, limit_list_t first, limit_list_t second) noexcept nogil:
    if LIKELY(not limited_take(st, first, second)):
        return True
    st.engine.rows[judge_oid(st)].denied_req += 1
    fail(st, 429, b"too many requests: the rate limit is reached", c'P', c'R')
    return False


# There is no place to redirect this request to.
cdef void refuse_place(stream_t *st, int status, char phase) noexcept nogil:
    if status == 400:
        fail(st, 400, b"the request names no host that it could be sent to", c'P', phase)
    else:
        fail(st, <uint16_t> status, b"the address to go to would be too long", c'P', phase)


# The route is an answer: give it, and end the stream once it has left.
cdef void answer(stream_t *st, const plan_route_t *chosen) noexcept nogil:
    cdef int r
    st.route = chosen
    if chosen.flags & ROUTE_TIMES:
        st.times = chosen
    side_deadline(&st.client, 0, 0)
    r = reply_target(st)
    if r > 0:
        refuse_place(st, r, c'R')
        return
    if r < 0:
        cut(st, c'C', c'R')
        return
    st.phase = PHASE_BODY
    finish_reply(st)


# --- rules ---


# Run rules over a head, the request's or the response's. True when the stream goes on; else it has been answered or has
# ended.
cdef bint judge(stream_t *st, uint32_t ruleset, message_t *m) noexcept nogil:
    cdef verdict_t verdict
    cdef int64_t backend
    cdef int r
    if st.flags & STREAM_COPY:
        return True                           # nobody sees a copy's answer
    verdict.at = st.rule_at
    verdict.lax = st.lax
    verdict.rule = NULL
    if m == st.request and st.asked_method.len == 0:
        st.asked_method = m.method_at
        st.asked_target = m.target
        st.asked_path = m.path
        st.asked_host = m.authority
    if UNLIKELY(program_of(st.plan.plan).uses & PROGRAM_BODY) and m == st.request and not (st.client.flags & SIDE_IN_END):
        body_gather(st)                       # what is wrong with it is seen when it is sent on
    while True:
        r = rules_apply(st, ruleset, m, &verdict)
        if r == RULES_DONE:
            if verdict.rule != NULL and verdict.rule.action == ACTION_ALLOW:
                st.last_rule = verdict.rule
            if m == st.request and not is_idempotent(m):
                st.flags &= <uint16_t> ~STREAM_REPLAY    # a rule may have set the method
            st.rule_at = 0
            st.is_final = 0
            st.wait_ms = 0
            st.lax = 0
            return hint(st)
        if r == RULES_BAD:
            fail(st, 400, b"the target has an escape that is none", c'P', c'R')
            return False
        st.rule_at = verdict.at
        st.lax = verdict.lax
        if r == RULES_WAIT and st.engine.passwords.wanted:
            await_password(st)
            return False
        if r == RULES_WAIT and not st.is_final:
            if await_body(st, WAIT_BYTES, judge_inspect_ms(st), 0):
                continue
            return False
        if r != RULES_VERDICT:
            st.engine.rows[judge_oid(st)].internal_errors += 1
            fail(st, 500, b"a rule asks for an edit that is not possible", c'P', c'H' if m == st.response else c'R')
            return False
        if verdict.rule.action == ACTION_PAUSE:
            if pause(st, &verdict):
                return False
        elif verdict.rule.action >> 8 == ACTIONS_STREAM:
            if settings_apply(st, &verdict) != 0 and not verdict.lax:
                st.engine.rows[judge_oid(st)].internal_errors += 1
                fail(st, 500, b"a rule asks for what is not possible", c'P', c'H' if m == st.response else c'R')
                return False
        elif verdict.rule.action == ACTION_WAIT_FOR_BODY and m == st.request:
            st.rule_at = verdict.at + 1
            st.wait_ms = 0
            if not await_body(st, WAIT_BODY, <uint32_t> rules_number(st, &verdict, 0, 0),
                              <uint32_t> rules_number(st, &verdict, 1, 0)):
                return False
        elif verdict.rule.action != ACTION_USE_BACKEND:
            break
        elif st.use_backend == 0:             # the first one that holds decides; rules behind it still edit
            backend = rules_backend(st, &verdict)
            st.use_backend = <uint32_t> backend + 1 if backend >= 0 else <uint32_t> PLAN_UNLIMITED
        verdict.at += 1
    st.last_rule = verdict.rule
    if hint(st):
        carry_out(st, &verdict, m == st.response)
    return False


# The interim answer that rules have gathered goes out before anything else does. False: the stream is over.
cdef inline bint hint(stream_t *st) noexcept nogil:
    if UNLIKELY(st.settings != NULL) and settings_hint(st) != 0:
        cut(st, c'C', phase_letter(st))
        return False
    return True


cdef uint32_t judge_inspect_ms(const stream_t *st) noexcept nogil:
    return st.frontend.phases.inspect_ms if st.stage == STAGE_CONTENT else st.backend.phases.inspect_ms


# ---- waiting between rules ----


# The stream waits: proceed() goes on at its rule.
cdef void wait(stream_t *st, uint8_t waits, uint32_t ms) noexcept nogil:
    if not hint(st):
        return
    st.waits = waits
    st.handle = 0                             # nobody else can resume it
    st.phase = PHASE_PARKED
    side_deadline(&st.client, st.engine.now_ms, ms)
    st.client.codec.again(&st.client)         # its end may have come with its request: no event will tell


cdef void await_password(stream_t *st) noexcept nogil:
    if settings_ask(st) != 0:
        fail(st, 503, b"too many passwords are being checked", c'R', c'R')
        return
    wait(st, WAIT_PASSWORD, PASSWORD_MS)


# True: the stream waits, or is over.
cdef bint pause(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef uint32_t ms = settings_pause(st, verdict)
    if ms == 0:
        return False
    st.rule_at = verdict.at + 1
    wait(st, WAIT_PAUSE, ms)
    return True


cdef void go_on(stream_t *st) noexcept nogil:
    st.phase = PHASE_REQUEST
    side_deadline(&st.client, 0, 0)
    proceed(st)


# ---- waiting for a body ----


# Whether what rules wait for is here: more than has come of the body (at the end: all there will be), or `wanted` bytes of it, 0
# = all. Else the stream waits, or is over.
cdef bint await_body(stream_t *st, uint8_t waits, uint32_t ms, uint32_t wanted) noexcept nogil:
    cdef uint32_t before = st.body.len if st.body != NULL else 0
    cdef int r
    if waits == WAIT_BYTES and ms == 0:
        st.is_final = 1
        return True
    st.waits = waits
    st.wanted = wanted
    r = gather(st)
    if r != 0:
        return r > 0
    if waits == WAIT_BYTES and st.body != NULL and st.body.len != before:
        return True                           # rules have not seen these
    if waits == WAIT_BODY and body_ask(st) != 0:
        cut(st, c'C', c'R')
        return False
    if st.wait_ms == 0:
        st.wait_ms = st.engine.now_ms + ms
    st.phase = PHASE_PARKED
    timer_set(&st.engine.timers, st.client.timer, st.wait_ms)
    return False


# Gather what has come. 1: it is enough. 0: not yet. -1: the stream is over.
cdef int gather(stream_t *st) noexcept nogil:
    cdef int r = body_gather(st)
    if r == BODY_BROKE:
        client_broke(st)
        return -1
    if r == BODY_MEMORY:
        fail(st, 503, b"out of memory", c'R', phase_letter(st))
        return -1
    if st.waits == WAIT_BYTES:
        st.is_final = r != BODY_WAITS
        return st.is_final
    return r != BODY_WAITS or (st.wanted != 0 and st.body != NULL and st.body.len >= st.wanted)


# A stream that waits for its body was woken.
cdef void resume(stream_t *st) noexcept nogil:
    cdef int r = gather(st)
    if r < 0 or (r == 0 and st.waits == WAIT_BODY):
        return
    st.phase = PHASE_REQUEST
    proceed(st)


# Its time is over.
cdef void overdue(stream_t *st) noexcept nogil:
    if st.waits == WAIT_PASSWORD:
        fail(st, 503, b"the password could not be checked in time", c'R', c'R')
        return
    if st.waits == WAIT_PAUSE:
        go_on(st)
        return
    if st.waits == WAIT_BODY:
        st.client.flags |= SIDE_LAST
        fail(st, 408, b"the request's body did not arrive in time", c'c', c'D')
        return
    st.is_final = 1
    st.phase = PHASE_REQUEST
    proceed(st)


cdef void http_told(stream_t *st) noexcept nogil:
    if st.phase == PHASE_PARKED and st.waits == WAIT_PASSWORD:
        go_on(st)


# The backend's rules, then the frontend's. Nobody gets the answer of a copy, so nobody judges it.
cdef bint judge_response(stream_t *st, message_t *m) noexcept nogil:
    if st.flags & STREAM_COPY:
        return True
    variables_forget(&st.engine.variable_pools, st.variables, SCOPE_REQ)
    if st.frontend.response_captures != 0:
        judge(st, st.frontend.response_captures, m)
    if st.backend.response_rules != 0 and not judge(st, st.backend.response_rules, m):
        return False
    return st.frontend.response_rules == 0 or judge(st, st.frontend.response_rules, m)


# The proxy whose rules are being looked at: the frontend's request rules run before there is a backend.
cdef inline uint32_t judge_oid(stream_t *st) noexcept nogil:
    return st.backend.oid if st.backend != NULL else st.frontend.oid


cdef void carry_out(stream_t *st, const verdict_t *verdict, bint on_response) noexcept nogil:
    cdef counters_t *row = &st.engine.rows[judge_oid(st)]
    cdef char phase = c'H' if on_response else c'R'
    cdef int r
    if verdict.rule.action == ACTION_REJECT or verdict.rule.action == ACTION_SILENT_DROP:
        row.denied_req += 1
        if verdict.rule.action == ACTION_SILENT_DROP:
            settings_silence(st.client.link)
        cut(st, c'P', phase)
        return
    if verdict.rule.action == ACTION_DENY:
        if on_response:
            row.denied_resp += 1
        else:
            row.denied_req += 1
        refuse(st, verdict.rule, 0, b"the answer is not allowed" if on_response else b"the request is not allowed", phase)
        return
    if verdict.rule.action == ACTION_TARPIT:
        row.denied_req += 1
        st.waits = WAIT_DECISION
        st.held = <uint16_t> rules_number(st, verdict, 1, 500)
        if settings_of(st) != NULL:
            st.settings.held = verdict.rule
        st.handle = 0                         # nobody can resume it
        st.phase = PHASE_PARKED
        side_deadline(&st.client, st.engine.now_ms, <uint32_t> rules_number(st, verdict, 0, 0))
        return
    side_deadline(&st.client, 0, 0)
    r = reply_rule(st, verdict)
    if r > 0:
        if r == 500:
            fail(st, 500, b"a rule asks for an answer that is not possible", c'P', phase)
        else:
            refuse_place(st, r, phase)
        return
    stream_cause(st, c'L', phase)
    drop_server(st)
    if r < 0:
        cut(st, c'C', phase)
        return
    st.phase = PHASE_BODY
    finish_reply(st)


# --- mirroring ---


# The request was sent whole: send its copy on its way.
cdef void send_copy(stream_t *st) noexcept nogil:
    cdef const plan_mirror_t *rule = st.mirror.rule
    cdef stream_t *copy = mirror_copy(st, outlived)
    if copy == NULL:
        return
    copy.wake = http_wake
    copy.timeout = http_timeout
    target_enter(copy, rule.backend)
    copy.retries = copy.backend.retries       # it is tried once
    assigned(copy, server_assign(copy, False))


cdef void outlived(void *owner, lb_timer_t *timer) noexcept nogil:
    cdef stream_t *copy = <stream_t *> owner
    cut(copy, c's', phase_letter(copy))


# --- parking ---


# Leave the stream until http_resume() is called with its handle. Nothing is read meanwhile (back-pressure); a client that
# leaves, or the client's timeout, ends it.
cdef void park(stream_t *st) noexcept nogil:
    st.engine.parked += 1
    st.handle = st.engine.parked
    st.waits = WAIT_DECISION
    st.phase = PHASE_PARKED
    side_deadline(&st.client, st.engine.now_ms, st.frontend.client_ms)


cdef int http_resume(engine_t *e, uint64_t handle) noexcept nogil:
    cdef stream_t *st = e.streams
    while st != NULL:
        if st.phase == PHASE_PARKED and st.handle == handle and handle != 0:
            st.phase = PHASE_REQUEST
            route(st)
            return 0
        st = st.next
    return -1                                 # it has gone meanwhile: the verdict is dropped


# What server_assign and its kin answered.
cdef void assigned(stream_t *st, int r) noexcept nogil:
    if r == SERVER_READY:
        send_request(st)
    elif r == SERVER_NONE:
        fail(st, 503, b"no server is available for this request", c'S', c'C')


cdef void send_request(stream_t *st) noexcept nogil:
    st.phase = PHASE_SEND
    if st.server.codec.send_head(&st.server, st.request) != 0:
        fail(st, 500, b"the request head does not fit", c'I', c'H')
        return
    run(st)


# The server connection broke before the first byte of an answer. True when the request is on its way again.
cdef bint resend(stream_t *st) noexcept nogil:
    cdef link_t *l = st.server.link
    if not (st.flags & STREAM_REUSED or l.flags & LINK_EARLY) or not (st.flags & STREAM_REPLAY) \
            or st.flags & STREAM_RESENT:
        return False
    if l.flags & LINK_HEARD or st.server.flags & SIDE_IN_HEAD or st.response != NULL:
        return False
    if st.flags & STREAM_UP_FLOW or body_rewind(st) != 0:
        return False
    st.flags |= STREAM_RESENT
    drop_server(st)
    st.server.link = NULL                     # freed: an attempt that fails at once must not meet it
    st.server.flags = 0
    st.server.codec = NULL
    server_left(st)
    mirror_restart(st)
    assigned(st, server_assign(st, True))
    return True


# --- bodies ---


# Go over to a flow when the rest of the message is plain on both sides and large.
cdef bint start_flow(stream_t *st, side_t *src, side_t *dst, flow_t *f, uint16_t flag) noexcept nogil:
    cdef link_t *from_ = src.codec.raw(src)
    cdef link_t *to = dst.codec.raw(dst)
    if st.mirror != NULL and src == &st.client:
        return False                          # what passes unseen cannot be copied
    if body_held(st) and src == &st.client:
        return False
    if from_ == NULL or to == NULL or from_.at < from_.end or to.out != NULL or from_.body_done \
            or from_.body != to.out_body:
        return False
    if from_.body == FRAMING_LENGTH:
        if from_.left < FLOW_LEAST:
            return False
    elif from_.body != FRAMING_CLOSE:
        return False
    if not conn_plain(&from_.conn) or not conn_plain(&to.conn):
        return False
    link_window_drop(from_)
    if src == &st.client:
        st.flags &= <uint16_t> ~STREAM_REPLAY
    flow_init(f, &from_.conn, &to.conn, &st.engine.flows,
              from_.left if from_.body == FRAMING_LENGTH else <uint64_t> -1, FLOW_KEEP_OPEN)
    f.full = FLOW_BULK
    st.flags |= flag
    return True


cdef int run_flow(stream_t *st, side_t *src, side_t *dst, flow_t *f) noexcept nogil:
    cdef uint64_t before = f.moved
    cdef int r = flow_run(f)
    if src == &st.client:
        st.bytes_in += f.moved - before
    else:
        st.bytes_out += f.moved - before
    if f.moved != before:
        src.link.flags |= LINK_HEARD
        # bytes that moved are activity of both ends, whichever end's event it was
        src.link.active_ms = st.engine.now_ms
        dst.link.active_ms = st.engine.now_ms
    if r == FLOW_MORE:
        conn_run(f.src)
        return PUMP_WAIT
    if r == FLOW_WAIT:
        return PUMP_WAIT
    if r == FLOW_DONE:
        if f.flags & FLOW_EOF and src.link.body == FRAMING_LENGTH and f.limit != 0:
            src.fault = FAULT_CLOSED
            return PUMP_SOURCE
        src.link.left = 0
        src.link.body_done = 1
        src.flags |= SIDE_IN_END
        flow_free(f)
        return PUMP_END if dst.codec.send_end(dst) == 0 else PUMP_SINK
    if r == FLOW_WRITE_ERROR:
        dst.link.flags |= LINK_CLOSE
        dst.link.conn.flags |= CONN_READABLE  # an answer sent before the peer closed may still wait
        return PUMP_SINK
    if r == FLOW_READ_ERROR:
        src.fault = FAULT_ERROR
        return PUMP_SOURCE
    return PUMP_MEMORY


# Move body from one side to the other until something must be waited for. Always leaves dst flushed or blocked.
cdef int pump(stream_t *st, side_t *src, side_t *dst, flow_t *f, uint16_t flag) noexcept nogil:
    cdef slice_out_t slice
    cdef ssize_t taken
    cdef size_t moved = 0
    cdef int r
    if dst.flags & SIDE_OUT_END:
        return PUMP_END
    if st.flags & flag:
        return run_flow(st, src, dst, f)
    while True:
        if UNLIKELY(st.body != NULL) and src == &st.client:
            r = body_offer(st, &slice)
        else:
            r = src.codec.offer(src, &slice)
        if r == OFFER_DATA:
            if moved >= LOOP_SIDE_BYTES:
                src.codec.again(src)          # its turn comes again in the next pass
                r = PUMP_WAIT
                break
            taken = dst.codec.send_data(dst, slice.p, slice.n)
            if taken < 0:
                return PUMP_SINK
            if taken == 0:
                r = PUMP_WAIT
                break
            if UNLIKELY(st.mirror != NULL) and src == &st.client:
                mirror_add(st, slice.p, <size_t> taken)
            if UNLIKELY(st.body != NULL) and src == &st.client:
                body_consume(st, <size_t> taken)
            else:
                src.codec.consume(src, <size_t> taken)
            moved += <size_t> taken
            if moved >= 2 * 16384 and dst.codec.flush(dst) == 0 and start_flow(st, src, dst, f, flag):
                return run_flow(st, src, dst, f)
            continue
        if r == OFFER_END:
            if dst.codec.send_end(dst) != 0:
                return PUMP_SINK
            r = PUMP_END
        elif r == OFFER_ABORT:
            dst.codec.flush(dst)              # what came before the fault still goes out
            return PUMP_SOURCE
        elif r == OFFER_MEMORY:
            return PUMP_MEMORY
        else:
            r = PUMP_WAIT
        break
    if dst.codec.flush(dst) < 0:
        return PUMP_SINK
    return r


# --- the response ---


# Whether the 101 answers what was asked: its Upgrade names a protocol of the request's.
cdef bint upgrade_matches(const message_t *asked, const message_t *answer) noexcept nogil:
    cdef unsigned int i = asked.by_name[<unsigned int> NAME_UPGRADE]
    cdef unsigned int j = answer.by_name[<unsigned int> NAME_UPGRADE]
    cdef const char *a
    cdef const char *b
    cdef size_t n, start, stop, k
    cdef char x, y
    if i == 0 or j == 0:
        return False
    a = asked.block + asked.fields[i - 1].value_at
    n = asked.fields[i - 1].value_len
    b = answer.block + answer.fields[j - 1].value_at
    start = 0
    while start <= n:                         # each of the list asked for
        stop = start
        while stop < n and a[stop] != c',':
            stop += 1
        k = stop
        while start < k and (a[start] == c' ' or a[start] == c'\t'):
            start += 1
        while k > start and (a[k - 1] == c' ' or a[k - 1] == c'\t'):
            k -= 1
        if k > start and k - start == answer.fields[j - 1].value_len:
            while start < k:
                x = a[start]
                y = b[0]
                if c'A' <= x <= c'Z':
                    x += 32
                if c'A' <= y <= c'Z':
                    y += 32
                if x != y:
                    break
                start += 1
                b += 1
            if start == k:
                return True
            b = answer.block + answer.fields[j - 1].value_at
        start = stop + 1
    return False


cdef bint begins(const char *p, size_t n, const char *word, size_t len) noexcept nogil:
    # `word` is in lower case
    cdef size_t i
    if n < len:
        return False
    for i in range(len):
        if (p[i] | 0x20) != word[i]:
            return False
    return True


# Whether an answer asks for NTLM or Negotiate (RFC 4559), which authenticate the connection and not the request.
cdef bint challenges_connection(const message_t *m) noexcept nogil:
    cdef const char *name
    cdef const char *value
    cdef uint32_t i
    for i in range(m.nfields):
        name = m.block + m.fields[i].name_at
        value = m.block + m.fields[i].value_at
        if not (m.fields[i].name_len == 16 and begins(name, 16, b"www-authenticate", 16)) \
                and not (m.fields[i].name_len == 18 and begins(name, 18, b"proxy-authenticate", 18)):
            continue
        if begins(value, m.fields[i].value_len, b"ntlm", 4) or begins(value, m.fields[i].value_len, b"negotiate", 9):
            return True
    return False


# Read response heads and send them on. PUMP_WAIT, PUMP_END when the final head was sent (or a tunnel began), or
# PUMP_SOURCE, PUMP_SINK, PUMP_MEMORY.
cdef int response_head(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef message_t *m
    cdef int r
    while True:
        if UNLIKELY(st.response != NULL):     # an interim head leaves at once, and before the next is read
            r = st.client.codec.flush(&st.client)
            if r != 0:
                return PUMP_SINK if r < 0 else PUMP_WAIT
        r = st.server.codec.head(&st.server)
        if r == OFFER_WAIT:
            return PUMP_WAIT
        if r == OFFER_MEMORY:
            return PUMP_MEMORY
        if r == OFFER_ABORT:
            return PUMP_SOURCE
        m = st.server.head
        if st.response != NULL:
            pool_give(&e.message_pool, st.response)
        st.response = m
        if m.status < 200 and m.status != 101:
            st.server.interim += 1
            if st.server.interim > INTERIM_MAX:
                st.server.fault = FAULT_SYNTAX
                return PUMP_SOURCE
            if not (st.request.flags & MESSAGE_HTTP10) and st.client.codec.send_head(&st.client, m) != 0:
                return PUMP_SINK
            continue
        if m.status == 101 and not (st.flags & STREAM_UPGRADE and st.server.flags & SIDE_OUT_END
                                    and upgrade_matches(st.request, m)):
            st.server.fault = FAULT_SYNTAX
            st.server.reason = H1_UNASKED_UPGRADE
            return PUMP_SOURCE
        if UNLIKELY(m.status == 401 or m.status == 407) and challenges_connection(m):
            server_own(st)
        if UNLIKELY(st.server.link.flags & LINK_EARLY):
            server_met(st)
        if UNLIKELY(st.backend.persistence_at != 0) and not st.flags & STREAM_COPY:
            persist_store(st)
        st.status = m.status
        if UNLIKELY((st.backend.response_rules | st.frontend.response_rules | st.frontend.response_captures) != 0):
            if not judge_response(st, m):
                return PUMP_GONE
            st.status = m.status              # as rules have left it
        if UNLIKELY(st.backend.persistence_at != 0) and not st.flags & STREAM_COPY and persist_response(st, m) != 0:
            fail(st, 500, b"the answer leaves no room for a persistence cookie", c'P', c'H')
            return PUMP_GONE
        if UNLIKELY((st.frontend.flags & FRONTEND_MARKS_RESPONSE) != 0) and forward_response(st, m) != 0:
            fail(st, 500, b"rules have left no room for what is added to the answer", c'P', c'H')
            return PUMP_GONE
        st.response_ms = <long> (e.now_ms - st.connected_ms)
        if UNLIKELY(st.sticky != NULL) and target_cookie(st, m) != 0:
            return PUMP_MEMORY
        if UNLIKELY(st.limited.shown != 0):
            limited_fields(st, m)
        if UNLIKELY((st.backend.phases.after | st.frontend.phases.after) != 0):
            if rules_after(st, m) != 0:
                st.engine.rows[judge_oid(st)].internal_errors += 1
                fail(st, 500, b"a rule asks for an edit that is not possible", c'P', c'H')
                return PUMP_GONE
            st.status = m.status
        if st.client.codec.send_head(&st.client, m) != 0:
            return PUMP_SINK
        return PUMP_END


# Both directions are bytes from now on.
cdef bint start_tunnel(stream_t *st) noexcept nogil:
    cdef link_t *c = st.client.codec.raw(&st.client)
    cdef link_t *s = st.server.codec.raw(&st.server)
    if c == NULL or s == NULL or st.client.codec.flush(&st.client) < 0:
        return False
    st.phase = PHASE_TUNNEL
    side_deadline(&st.client, 0, 0)           # from here on the server's link keeps the tunnel's
    st.flags |= STREAM_UP_FLOW | STREAM_DOWN_FLOW
    c.flags |= LINK_CLOSE
    s.flags |= LINK_CLOSE
    flow_init(&st.up, &c.conn, &s.conn, &st.engine.flows, <uint64_t> -1, 0)
    flow_init(&st.down, &s.conn, &c.conn, &st.engine.flows, <uint64_t> -1, 0)
    # What either sent behind its head is the tunnel's.
    if flow_preload(&st.up, c.window + c.at, c.end - c.at) != 0 \
            or flow_preload(&st.down, s.window + s.at, s.end - s.at) != 0:
        return False
    link_window_drop(c)
    link_window_drop(s)
    return True


cdef void run_tunnel(stream_t *st) noexcept nogil:
    cdef uint64_t up = st.up.moved
    cdef uint64_t down = st.down.moved
    cdef int a, b
    if st.client.link.out != NULL:            # the 101 itself first
        a = link_flush(st.client.link)
        if a < 0:
            cut(st, c'C', c'D')
            return
        if a > 0:
            return
    a = flow_run(&st.up)
    b = flow_run(&st.down)
    st.bytes_in += st.up.moved - up
    st.bytes_out += st.down.moved - down
    if a == FLOW_READ_ERROR or b == FLOW_WRITE_ERROR:
        cut(st, c'C', c'D')
        return
    if b == FLOW_READ_ERROR or a == FLOW_WRITE_ERROR:
        cut(st, c'S', c'D')
        return
    if a == FLOW_MEMORY or b == FLOW_MEMORY:
        cut(st, c'R', c'D')
        return
    if a == FLOW_DONE and b == FLOW_DONE:
        stream_account(st)
        st.client.codec.abort(&st.client)
        drop_server(st)
        done(st)
        return
    if a == FLOW_MORE:
        conn_run(st.up.src)
    if b == FLOW_MORE:
        conn_run(st.down.src)
    if (a == FLOW_DONE or b == FLOW_DONE) and stream_half_closed(st, a == FLOW_DONE):
        return
    side_deadline(&st.client, 0, 0)
    side_deadline(&st.server, st.engine.now_ms, stream_tunnel_ms(st))


# The reading side of the request failed.
cdef void client_broke(stream_t *st) noexcept nogil:
    if st.client.fault == FAULT_SYNTAX:
        st.reason = st.client.reason
        st.client.flags |= SIDE_LAST
        fail(st, 400, b"the request's body is not framed as HTTP allows", c'P', phase_letter(st))
    elif st.phase < PHASE_ASSIGN:
        cut(st, c'C', c'R')
    else:
        cut(st, c'C', c'D' if st.client.flags & SIDE_OUT_HEAD else c'H')


# The reading side of the response failed.
cdef void server_broke(stream_t *st) noexcept nogil:
    cdef bint answered = (st.client.flags & SIDE_OUT_HEAD) != 0
    if st.server.reason:
        st.reason = st.server.reason
    if not answered and (st.server.fault == FAULT_CLOSED or st.server.fault == FAULT_ERROR):
        if UNLIKELY(st.server.link.flags & LINK_EARLY):
            server_missed(st)
        if resend(st):
            return
        fail(st, 502, b"the server closed the connection without an answer", c'S', c'H')
        return
    if not answered and st.server.fault == FAULT_RESET:
        fail(st, 502, b"the server gave the request up", c'S', c'H')
        return
    if not answered:
        fail(st, 502, b"the server's answer is not valid HTTP", c'P', c'H')
        return
    cut(st, c'S', c'D')


# Do all that can be done now.
cdef void run(stream_t *st) noexcept nogil:
    cdef int r, up = PUMP_END
    if not (st.server.flags & SIDE_OUT_END):
        up = pump(st, &st.client, &st.server, &st.up, STREAM_UP_FLOW)
        if up == PUMP_SOURCE:
            client_broke(st)
            return
        if up == PUMP_MEMORY:
            fail(st, 503, b"out of memory", c'R', phase_letter(st))
            return
        if UNLIKELY(st.mirror != NULL) and up != PUMP_SINK and (up == PUMP_END or mirror_is_whole(st)):
            send_copy(st)
        # PUMP_SINK: the server stopped reading; it may have answered before (an early response)
    elif st.server.codec.flush(&st.server) < 0:
        up = PUMP_SINK
    if not (st.client.flags & SIDE_OUT_HEAD):
        r = response_head(st)
        if r == PUMP_GONE:
            return
        if r == PUMP_SOURCE:
            server_broke(st)
            return
        if r == PUMP_SINK:
            cut(st, c'C', c'H')
            return
        if r == PUMP_MEMORY:
            fail(st, 503, b"out of memory", c'R', c'H')
            return
        if r == PUMP_WAIT:
            if up == PUMP_SINK:               # broken for writing and nothing to read
                st.server.fault = FAULT_ERROR
                server_broke(st)
                return
            arm(st)
            return
        if st.status == 101:
            if start_tunnel(st):
                run_tunnel(st)
            else:
                cut(st, c'R', c'D')
            return
        st.phase = PHASE_BODY
    r = pump(st, &st.server, &st.client, &st.down, STREAM_DOWN_FLOW)
    if r == PUMP_SOURCE:
        server_broke(st)
        return
    if r == PUMP_SINK:
        cut(st, c'C', c'D')
        return
    if r == PUMP_MEMORY:
        cut(st, c'R', c'D')
        return
    if r == PUMP_END:
        finish_reply(st)
        return
    arm(st)


# Deadlines of what is waited for now: each side's own inactivity, and nobody's who waits for the other.
cdef void arm(stream_t *st) noexcept nogil:
    cdef side_t *c = &st.client
    cdef side_t *s = &st.server
    cdef int at_client = c.codec.waits(c)
    cdef int at_server = s.codec.waits(s)
    cdef bint client_full = at_client & WAITS_OUT or (st.flags & STREAM_DOWN_FLOW and flow_held(&st.down) != 0) \
        or (st.phase == PHASE_BODY and at_server & WAITS_IN)
    cdef bint server_full = at_server & WAITS_OUT or (st.flags & STREAM_UP_FLOW and flow_held(&st.up) != 0) \
        or at_client & WAITS_IN or body_held(st)
    cdef bint sending = not (st.client.flags & SIDE_IN_END) and not server_full
    # Whoever is waited for now may have had to wait before, for the other's bytes: these begin its time.
    cdef uint64_t since = s.active_ms[0] if s.active_ms[0] > c.active_ms[0] else c.active_ms[0]
    if client_full or sending:
        side_deadline(c, since, stream_client_ms(st))
    else:
        side_deadline(c, 0, 0)
    if client_full or (sending and not (st.client.flags & SIDE_OUT_HEAD) and not (st.server.flags & SIDE_OUT_END)):
        side_deadline(s, 0, 0)                # it is the client that is waited for
    else:
        side_deadline(s, since, stream_server_ms(st))


cdef void http_wake(stream_t *st, side_t *who) noexcept nogil:
    cdef int r
    if st.phase == PHASE_TUNNEL:
        run_tunnel(st)
        return
    if who == &st.client and st.phase != PHASE_END:
        if who.flags & SIDE_LEFT and st.phase < PHASE_BODY and st.client.flags & SIDE_IN_END:
            # The client has left: its request is cancelled. (One that only closed its half cannot be told apart.)
            cut(st, c'C', phase_letter(st))
            return
        if who.flags & SIDE_LOST and st.phase == PHASE_BODY and not (st.client.flags & SIDE_OUT_END):
            # Reset in the middle of the answer. A server that is silent now would never let us notice by a failing write.
            cut(st, c'C', c'D')
            return
    if st.phase == PHASE_PARKED:
        if who.flags & SIDE_LOST:
            cut(st, c'C', phase_letter(st))
        elif st.waits == WAIT_BODY and st.client.codec.flush(&st.client) < 0:    # it was told to go on
            cut(st, c'C', c'R')
        elif st.waits == WAIT_BYTES or st.waits == WAIT_BODY:
            resume(st)
        return
    if st.phase == PHASE_CONNECT:
        if st.flags & STREAM_DEFERRED:
            if who.flags & SIDE_LEFT:
                cut(st, c'C', c'C')
            return
        if who == &st.client:
            if who.flags & SIDE_LOST:
                cut(st, c'C', c'C')
            return
        r = server_check(st)
        if r > 0:
            send_request(st)
        elif r < 0:
            assigned(st, server_failed(st))
        return
    if st.flags & STREAM_REPLIED:
        finish_reply(st)
        return
    if st.phase == PHASE_BODY and st.client.flags & SIDE_OUT_END:
        finish_reply(st)
        return
    run(st)


cdef void http_timeout(stream_t *st, side_t *who) noexcept nogil:
    cdef int r
    if st.flags & STREAM_DEFERRED and who == &st.client:
        assigned(st, server_retry(st))
        return
    if st.phase == PHASE_PARKED and st.waits != WAIT_DECISION:
        overdue(st)
        return
    if st.phase == PHASE_PARKED and st.held:
        if st.settings != NULL and st.settings.held != NULL:
            refuse(st, st.settings.held, 1, b"the request is not allowed", c'T')
        else:
            fail(st, st.held, b"the request is not allowed", c'P', c'T')
        return
    if st.phase == PHASE_PARKED:
        fail(st, 503, b"no decision about the request was made in time", c'P', c'R')
        return
    if st.phase == PHASE_TUNNEL:
        if st.flags & STREAM_HALF:
            cut(st, c'c' if who == &st.client else c's', c'D')
        else:
            cut(st, c'c' if st.up.moved <= st.down.moved else c's', c'D')
        return
    if who == &st.client:
        if st.client.flags & SIDE_OUT_HEAD or st.flags & STREAM_REPLIED:
            cut(st, c'c', c'D')
        else:
            st.client.flags |= SIDE_LAST
            fail(st, 408, b"the request's body did not arrive in time", c'c', phase_letter(st))
        return
    if st.phase == PHASE_CONNECT:
        r = server_failed(st)
        if r == SERVER_NONE:
            stream_cause(st, c's', c'C')
        assigned(st, r)
        return
    if st.client.flags & SIDE_OUT_HEAD:
        cut(st, c's', c'D')
    else:
        fail(st, 504, b"the server did not answer in time", c's', c'H')
