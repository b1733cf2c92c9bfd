from libc.stdint cimport int64_t
from libc.string cimport memcpy

from lb._speedups.base.clock cimport clock_real_us
from lb._speedups.base.ledger cimport ledger_of
from lb._speedups.io.sys cimport sockaddr_storage
from lb._speedups.policy.logline cimport log_end_t
from lb._speedups.policy.plan cimport plan_t
from lb._speedups.policy.program cimport (
    PROGRAM_DESTINATION, PROGRAM_ID, PROGRAM_RECORD, program_of, program_t,
)
from lb._speedups.policy.rule cimport RULES_DONE, rule_backend, rule_number, rule_text, rules_run
from lb._speedups.policy.sample cimport address_t, view_t
from lb._speedups.proto.message cimport FRAMING_LENGTH
from lb._speedups.relay.relay cimport (
    SIDE_GONE, SIDE_IN_HEAD, STAGE_BACKEND_CONTENT, STAGE_CONTENT, STREAM_COPY, engine_t,
)
from lb._speedups.relay.sockets cimport sockets_ask, sockets_target
from lb._speedups.relay.stream cimport stream_end_of, stream_id, stream_record


cdef void destination(const link_t *l, address_t *out) noexcept nogil:
    cdef log_end_t end
    sockets_target(l, &end)
    out.family = end.family
    out.port = end.port
    memcpy(out.bytes, end.address, 16)


cdef void rules_destination(stream_t *st, address_t *out) noexcept nogil:
    if st.settings != NULL and st.settings.destination.family != 0:
        out[0] = st.settings.destination
    else:
        destination(st.client.link, out)


# What every evaluation begins with: nothing of the bytes, and nobody waits.
cdef void look_around(engine_t *e) noexcept nogil:
    cdef view_t *v = &e.view
    if e.now_us == 0:
        e.now_us = clock_real_us(&e.clock)
    v.mapping = e.mapping
    v.rows = e.rows
    v.ledger = ledger_of(e.mapping, e.slot)
    v.now_ms = e.now_ms
    v.now_us = e.now_us
    v.stopping = e.draining
    v.is_final = 1
    v.pools = &e.variable_pools
    v.line = &e.logline
    v.payload = NULL
    v.payload_len = 0
    v.answer = NULL
    v.answer_len = 0
    v.body = NULL
    v.body_len = 0
    v.body_size = 0
    v.passwords = &e.passwords
    e.passwords.told = NULL
    e.passwords.wanted = False
    e.passwords.can_ask = False
    e.eval.view = v
    e.eval.scratch = e.rule_scratch
    e.eval.used = 0
    e.eval.budget.calls = 0
    e.eval.erred = False


cdef void rules_look(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef view_t *v = &e.view
    cdef uint32_t uses = program_of(st.plan.plan).uses if st.plan.plan.program_at != 0 else 0
    cdef bint has_link = not st.client.flags & SIDE_GONE   # else a record is written, and its link may be no more
    look_around(e)
    v.plan = st.plan.plan
    v.tracks = st.tracks
    v.session_tracks = NULL
    if has_link and st.client.link.tracked != NULL:
        v.session_tracks = st.client.link.tracked.tracks
    v.frontend = st.frontend
    v.backend = st.backend
    v.server = st.server_at
    v.regexes = st.plan.regexes.all_
    v.request = st.request
    v.response = st.response
    v.source.family = st.family
    v.source.port = st.port
    memcpy(v.source.bytes, st.address, 16)
    if uses & PROGRAM_DESTINATION and has_link:
        rules_destination(st, &v.destination)
    v.listener_oid = st.client.link.listener_oid if has_link else 0
    v.requests = st.client.link.requests if has_link else 0
    if st.settings != NULL:
        e.passwords.told = &st.settings.password
    v.id = stream_id(st) if uses & PROGRAM_ID else NULL
    v.id_len = st.id_len
    v.status = st.status
    v.variables = &st.variables
    v.session = &st.client.link.variables if has_link else NULL
    v.last_line = st.last_rule.line if st.last_rule != NULL else 0
    v.record = NULL
    if uses & PROGRAM_RECORD:
        stream_record(st, &e.record)
        e.record.logged = e.logged[st.frontend.oid]
        if st.server_at != NULL:
            stream_end_of(&e.record.peer, <const sockaddr_storage *> st.server_at.address)
        v.record = &e.record
    v.stream = st
    v.ask = NULL
    if has_link:
        v.ask = sockets_ask


cdef int rules_apply(stream_t *st, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil:
    cdef view_t *v = &st.engine.view
    rules_look(st)
    st.engine.passwords.can_ask = m == st.request
    v.is_final = st.is_final or not (st.stage == STAGE_CONTENT or st.stage == STAGE_BACKEND_CONTENT)
    if st.request.framing == FRAMING_LENGTH:
        v.body_size = st.request.length
    if st.body != NULL:
        v.body = st.body.bytes
        v.body_len = st.body.len
        v.body_size = st.body.size
    return rules_run(&st.engine.eval, program_of(st.plan.plan), ruleset - 1, m, verdict)


cdef int rules_after(stream_t *st, message_t *m) noexcept nogil:
    cdef const program_t *g
    cdef verdict_t verdict
    cdef uint32_t sets[2]
    cdef int i, r
    if st.flags & STREAM_COPY or not (st.client.flags & SIDE_IN_HEAD):
        return 0                              # nobody gets it; or there is no request that rules could look at
    sets[0] = st.backend.phases.after if st.backend != NULL else 0
    sets[1] = st.frontend.phases.after
    g = program_of(st.plan.plan)
    for i in range(2):
        if sets[i] == 0:
            continue
        rules_look(st)
        st.engine.view.response = m
        st.engine.view.status = m.status
        verdict.at = 0
        verdict.lax = 0
        r = rules_run(&st.engine.eval, g, sets[i] - 1, m, &verdict)
        if r != RULES_DONE:
            return -1
    return 0


cdef int rules_apply_bytes(stream_t *st, uint32_t ruleset, bint is_answer, const char *p, size_t n, bint is_final,
                           verdict_t *verdict) noexcept nogil:
    cdef view_t *v = &st.engine.view
    rules_look(st)
    v.is_final = is_final
    if is_answer:
        v.answer = p
        v.answer_len = <uint32_t> n
    else:
        v.payload = p
        v.payload_len = <uint32_t> n
    return rules_run(&st.engine.eval, program_of(st.plan.plan), ruleset - 1, NULL, verdict)


cdef int rules_apply_link(link_t *l, uint32_t ruleset, track_t *tracks, verdict_t *verdict) noexcept nogil:
    cdef engine_t *e = l.engine
    cdef const plan_t *p = e.current.plan
    cdef view_t *v = &e.view
    look_around(e)
    v.plan = p
    v.tracks = tracks
    v.session_tracks = NULL
    v.frontend = l.frontend
    v.backend = NULL
    v.server = NULL
    v.request = NULL
    v.response = NULL
    v.source.family = l.family
    v.source.port = l.port
    memcpy(v.source.bytes, l.address, 16)
    if program_of(p).uses & PROGRAM_DESTINATION:
        destination(l, &v.destination)
    v.listener_oid = l.listener_oid
    v.requests = 0
    v.variables = NULL
    v.session = &l.variables
    v.last_line = 0
    v.record = NULL
    v.stream = NULL
    v.ask = NULL
    v.id = NULL
    v.id_len = 0
    v.status = 0
    return rules_run(&e.eval, program_of(p), ruleset - 1, NULL, verdict)


cdef int64_t rules_backend(stream_t *st, const verdict_t *verdict) noexcept nogil:
    return rule_backend(&st.engine.eval, program_of(st.plan.plan), verdict.rule, st.frontend.mode)


cdef int rules_number(stream_t *st, const verdict_t *verdict, uint32_t k, int otherwise) noexcept nogil:
    return rule_number(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, otherwise)


cdef ssize_t rules_text(stream_t *st, const verdict_t *verdict, uint32_t k, char *out, size_t cap) noexcept nogil:
    return rule_text(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, out, cap)
