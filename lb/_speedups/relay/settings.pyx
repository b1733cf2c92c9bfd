from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from lb._speedups.base.password cimport PASSWORD_WAIT, password_ask, password_forget
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.io.sys cimport AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET, setsockopt
from lb._speedups.policy.action cimport (
    ACTION_EARLY_HINT, ACTION_SET_DST, ACTION_SET_DST_PORT, ACTION_SET_FC_MARK, ACTION_SET_FC_TOS, ACTION_SET_LOG_LEVEL,
    ACTION_SET_SRC, ACTION_SET_SRC_PORT, ACTION_SET_TIMEOUT, ACTION_USE_SERVER,
)
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.program cimport ARG_EXPR, ARG_INT, arg_t, program_of
from lb._speedups.policy.rule cimport rule_arg, rule_number, rule_server
from lb._speedups.policy.sample cimport (
    SAMPLE_ADDR, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_SINT, address_t, sample_cast, sample_t,
)
from lb._speedups.proto.edit cimport edit_add
from lb._speedups.proto.message cimport MESSAGE_EDIT_MAX, MESSAGE_HTTP10, MESSAGE_RESPONSE, message_reset, message_t
from lb._speedups.proto.status cimport status_reason
from lb._speedups.relay.relay cimport STREAM_QUIET
from lb._speedups.relay.rules cimport rules_destination, rules_text

cdef enum:
    ASKED_MOST = 32              # passwords that one request may have checked


cdef extern from "netinet/in.h" nogil:
    enum: IP_TOS, IP_TTL, IPV6_TCLASS, IPV6_UNICAST_HOPS

cdef extern from "netinet/tcp.h" nogil:
    enum: TCP_REPAIR

cdef extern from "sys/socket.h" nogil:
    enum: SO_MARK


cdef settings_t *settings_of(stream_t *st) noexcept nogil:
    if st.settings == NULL:
        st.settings = <settings_t *> pool_take(&st.engine.settings_pool)
        if st.settings != NULL:
            memset(st.settings, 0, sizeof(settings_t))
            st.settings.password.answer = PASSWORD_WAIT    # nobody has answered yet
    return st.settings


# Argument k of the rule as a number: a constant, or an expression. False: it finds none.
cdef bint number_of(stream_t *st, const verdict_t *verdict, uint32_t k, int64_t *out) noexcept nogil:
    cdef const arg_t *arg = rule_arg(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, ARG_INT)
    cdef sample_t s
    if arg != NULL:
        out[0] = arg.i
        return True
    if not sample_of(st, verdict, k, &s) or sample_cast(&st.engine.eval, &s, SAMPLE_SINT) != SAMPLE_FOUND:
        return False
    out[0] = s.i
    return True


cdef bint sample_of(stream_t *st, const verdict_t *verdict, uint32_t k, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = rule_arg(&st.engine.eval, program_of(st.plan.plan), verdict.rule, k, ARG_EXPR)
    return arg != NULL and expr_run(&st.engine.eval, program_of(st.plan.plan), <uint32_t> arg.i, s) == SAMPLE_FOUND


cdef int set_timeouts(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef settings_t *set_ = settings_of(st)
    cdef uint32_t *out[TIMEOUTS]
    cdef int64_t ms
    cdef uint32_t k
    if set_ == NULL:
        return -1
    out[<int> TIMEOUT_CLIENT] = &set_.client_ms
    out[<int> TIMEOUT_SERVER] = &set_.server_ms
    out[<int> TIMEOUT_TUNNEL] = &set_.tunnel_ms
    for k in range(TIMEOUTS):
        if number_of(st, verdict, k, &ms) and ms > 0:
            out[k][0] = <uint32_t> ms if ms < 0x7fffffff else 0x7fffffff
    return 0


cdef int set_log_level(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef int level = rule_number(&st.engine.eval, program_of(st.plan.plan), verdict.rule, 0, -1)
    cdef settings_t *set_
    if level < 0:                             # silent
        st.flags |= STREAM_QUIET
        return 0
    set_ = settings_of(st)
    if set_ == NULL:
        return -1
    st.flags &= <uint16_t> ~STREAM_QUIET
    set_.log_level = <uint8_t> (level + 1)
    return 0


# The address that the expression gives, into `out`; the port stays where the family does.
cdef void take_address(stream_t *st, const verdict_t *verdict, address_t *out) noexcept nogil:
    cdef sample_t s
    cdef uint16_t family
    if not sample_of(st, verdict, 0, &s) or sample_cast(&st.engine.eval, &s, SAMPLE_ADDR) != SAMPLE_FOUND:
        return
    family = AF_INET if s.type == SAMPLE_IPV4 else AF_INET6
    if out.family != AF_INET and out.family != AF_INET6:
        out.port = 0
    out.family = family
    memset(out.bytes, 0, 16)
    memcpy(out.bytes, s.address, 4 if family == AF_INET else 16)


cdef void take_port(stream_t *st, const verdict_t *verdict, address_t *out) noexcept nogil:
    cdef int64_t port
    if not number_of(st, verdict, 0, &port):
        return
    if out.family != AF_INET and out.family != AF_INET6:    # as in HAProxy: 0.0.0.0 and this port
        memset(out, 0, sizeof(address_t))
        out.family = AF_INET
    out.port = <uint16_t> port


cdef void set_source(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef address_t who
    who.family = st.family
    who.port = st.port
    memcpy(who.bytes, st.address, 16)
    if verdict.rule.action == ACTION_SET_SRC:
        take_address(st, verdict, &who)
    else:
        take_port(st, verdict, &who)
    st.family = who.family
    st.port = who.port
    memcpy(st.address, who.bytes, 16)
    st.engine.view.source = who


cdef int set_destination(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef settings_t *set_ = settings_of(st)
    if set_ == NULL:
        return -1
    if set_.destination.family == 0:
        rules_destination(st, &set_.destination)
    if verdict.rule.action == ACTION_SET_DST:
        take_address(st, verdict, &set_.destination)
    else:
        take_port(st, verdict, &set_.destination)
    st.engine.view.destination = set_.destination
    return 0


# The first rule that names a server decides; one that the backend does not have, or another one's, is none.
cdef int use_server(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef settings_t *set_
    cdef int64_t index
    if st.backend == NULL or (st.settings != NULL and st.settings.use_server != 0):
        return 0
    index = rule_server(&st.engine.eval, program_of(st.plan.plan), verdict.rule)
    if index < 0:
        return 0
    set_ = settings_of(st)
    if set_ == NULL:
        return -1
    set_.use_server = <uint32_t> index + 1
    return 0


# The head of a 103, begun by its first field.
cdef message_t *hints_of(stream_t *st) noexcept nogil:
    cdef settings_t *set_ = settings_of(st)
    cdef const char *reason = status_reason(103)
    cdef message_t *m
    if set_ == NULL or set_.hints != NULL:
        return set_.hints if set_ != NULL else NULL
    m = <message_t *> pool_take(&st.engine.message_pool)
    if m == NULL:
        return NULL
    message_reset(m, MESSAGE_RESPONSE)
    m.status = 103
    m.method = st.request.method
    m.reason.len = 11
    memcpy(m.block, reason, m.reason.len)
    m.fill = m.reason.len
    m.edit_at = m.reason.len                  # nothing was received, so all of the block is for edits
    set_.hints = m
    return m


cdef int add_hint(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef char name[256]
    cdef char value[MESSAGE_EDIT_MAX]
    cdef ssize_t len, n
    cdef message_t *m
    if st.request == NULL or st.request.flags & MESSAGE_HTTP10:
        return 0                              # RFC 9110 15.2: no interim answer to HTTP/1.0
    m = hints_of(st)
    len = rules_text(st, verdict, 0, name, sizeof(name))
    n = rules_text(st, verdict, 1, value, sizeof(value))
    if m == NULL or len < 0 or n < 0:
        return -1
    return edit_add(m, name, <size_t> len, value, <size_t> n)


cdef int settings_hint(stream_t *st) noexcept nogil:
    cdef message_t *m
    cdef int r = 0
    if st.settings == NULL or st.settings.hints == NULL:
        return 0
    m = st.settings.hints
    st.settings.hints = NULL
    if m.nfields != 0:
        r = st.client.codec.send_head(&st.client, m)
        if r == 0 and st.client.codec.flush(&st.client) < 0:
            r = -1
    pool_give(&st.engine.message_pool, m)
    return r


cdef int settings_apply(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef unsigned int action = verdict.rule.action
    if action == ACTION_SET_LOG_LEVEL:
        return set_log_level(st, verdict)
    if action == ACTION_SET_TIMEOUT:
        return set_timeouts(st, verdict)
    if action == ACTION_SET_SRC or action == ACTION_SET_SRC_PORT:
        set_source(st, verdict)
        return 0
    if action == ACTION_SET_DST or action == ACTION_SET_DST_PORT:
        return set_destination(st, verdict)
    if action == ACTION_USE_SERVER:
        return use_server(st, verdict)
    if action == ACTION_EARLY_HINT:
        return add_hint(st, verdict)
    if action == ACTION_SET_FC_MARK or action == ACTION_SET_FC_TOS:
        set_option(st, verdict)
    return 0


# A number that stands for the client's network, so that one client's guesses do not keep others waiting: of IPv6 a /64 is one.
cdef uint64_t network_of(const stream_t *st) noexcept nogil:
    cdef uint64_t who = 0
    memcpy(&who, st.address, 4 if st.family == AF_INET else 8)
    return hash_mix(who ^ st.family)


cdef int settings_ask(stream_t *st) noexcept nogil:
    cdef settings_t *set_ = settings_of(st)
    if set_ == NULL or set_.asked == ASKED_MOST:
        st.engine.passwords.wanted = False
        return -1
    set_.asked += 1
    set_.password.owner = st
    return 0 if password_ask(&st.engine.passwords, &set_.password, network_of(st)) == PASSWORD_WAIT else -1


cdef uint32_t settings_pause(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef int64_t ms
    if not number_of(st, verdict, 0, &ms) or ms <= 0:
        return 0
    return <uint32_t> ms if ms < 0x7fffffff else 0x7fffffff


# The client's connection and its packets, from here on.
cdef void set_option(stream_t *st, const verdict_t *verdict) noexcept nogil:
    cdef int fd = st.client.link.conn.fd
    cdef int64_t number
    cdef int value
    if not number_of(st, verdict, 0, &number):
        return
    value = <int> <uint32_t> number
    if verdict.rule.action == ACTION_SET_FC_MARK:
        setsockopt(fd, SOL_SOCKET, SO_MARK, &value, sizeof(value))
        return
    setsockopt(fd, IPPROTO_IP, IP_TOS, &value, sizeof(value))
    setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value))


cdef void settings_free(stream_t *st) noexcept nogil:
    if st.settings == NULL:
        return
    if st.settings.hints != NULL:
        pool_give(&st.engine.message_pool, st.settings.hints)
    password_forget(&st.engine.passwords, &st.settings.password)
    pool_give(&st.engine.settings_pool, st.settings)
    st.settings = NULL


cdef void settings_silence(link_t *l) noexcept nogil:
    cdef int one = 1
    if setsockopt(l.conn.fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one)) == 0:
        return
    setsockopt(l.conn.fd, IPPROTO_IP, IP_TTL, &one, sizeof(one))
    setsockopt(l.conn.fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &one, sizeof(one))
