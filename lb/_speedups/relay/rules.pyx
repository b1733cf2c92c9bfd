from libc.stdint cimport int64_t
from libc.string cimport memcpy

from lb._speedups.base.clock cimport clock_real_us
from lb._speedups.base.ledger cimport ledger_of
from lb._speedups.io.sys cimport sockaddr_storage
from lb._speedups.policy.logline cimport log_end_t
from lb._speedups.policy.program cimport PROGRAM_DESTINATION, PROGRAM_ID, PROGRAM_RECORD, program_of
from lb._speedups.policy.rule cimport rule_backend, rule_number, rule_text, rules_run
from lb._speedups.policy.sample cimport address_t, view_t
from lb._speedups.relay.relay cimport SIDE_GONE, engine_t
from lb._speedups.relay.sockets cimport sockets_ask, sockets_target
from lb._speedups.relay.stream cimport stream_end_of, stream_id, stream_record


cdef void rules_destination(stream_t *st, address_t *out) noexcept nogil:
    cdef log_end_t end
    if st.settings != NULL and st.settings.destination.family != 0:
        out[0] = st.settings.destination
        return
    sockets_target(st.client.link, &end)
    out.family = end.family
    out.port = end.port
    memcpy(out.bytes, end.address, 16)


cdef void rules_look(stream_t *st) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef view_t *v = &e.view
    cdef uint32_t uses = program_of(st.plan.plan).uses if st.plan.plan.program_at != 0 else 0
    cdef bint has_link = not st.client.flags & SIDE_GONE   # else a record is written, and its link may be no more
    if e.now_us == 0:
        e.now_us = clock_real_us(&e.clock)
    v.plan = st.plan.plan
    v.mapping = e.mapping
    v.rows = e.rows
    v.ledger = ledger_of(e.mapping, e.slot)
    v.tracks = st.tracks
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
    v.passwords = &e.passwords
    e.passwords.told = &st.settings.password if st.settings != NULL else NULL
    e.passwords.wanted = False
    e.passwords.can_ask = False
    v.now_ms = e.now_ms
    v.now_us = e.now_us
    v.id = stream_id(st) if uses & PROGRAM_ID else NULL
    v.id_len = st.id_len
    v.status = st.status
    v.stopping = e.draining
    v.pools = &e.variable_pools
    v.variables = &st.variables
    v.session = &st.client.link.variables if has_link else NULL
    v.last_line = st.last_rule.line if st.last_rule != NULL else 0
    v.line = &e.logline
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
    e.eval.view = v
    e.eval.scratch = e.rule_scratch
    e.eval.used = 0
    e.eval.budget.calls = 0
    e.eval.erred = False


cdef int rules_apply(stream_t *st, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil:
    rules_look(st)
    st.engine.passwords.can_ask = m == st.request
    return rules_run(&st.engine.eval, program_of(st.plan.plan), ruleset - 1, m, verdict)


cdef int64_t rules_backend(stream_t *st, const verdict_t *verdict) noexcept nogil:
    return rule_backend(&st.engine.eval, program_of(st.plan.plan), verdict.rule, st.frontend.mode)


cdef int rules_number(stream_t *st, const verdict_t *verdict, uint32_t k, int otherwise) noexcept nogil:
    return rule_number(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, otherwise)


cdef ssize_t rules_text(stream_t *st, const verdict_t *verdict, uint32_t k, char *out, size_t cap) noexcept nogil:
    return rule_text(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, out, cap)
