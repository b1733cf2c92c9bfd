from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, getsockname, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)
from lb._speedups.policy.forwarding cimport (
    ADDRESS_TEXT, ELEMENT_MAX, forwarding_address, forwarding_client, forwarding_element, forwarding_is_id,
    forwarding_loops, forwarding_sweep, peer_t,
)
from lb._speedups.policy.netset cimport netset_has, netset_is_empty
from lb._speedups.policy.plan cimport (
    FORWARD_FOR, FORWARD_FORWARDED, FORWARD_HOST, FORWARD_ID, FORWARD_PORT, FORWARD_PROTO, FORWARD_REAL_IP,
    FORWARDING_CLIENT, FORWARDING_IF_NONE, FORWARDING_ID_RESPONSE, FORWARDING_LOOPS, FORWARDING_VIA_REQUEST,
    FORWARDING_VIA_RESPONSE, NODE_ADDRESS, NODE_ADDRESS_PORT, forward_field_t, forwarding_t, plan_forwarding, plan_t,
    plan_text,
)
from lb._speedups.proto.message cimport (
    MESSAGE_HTTP10, NAME_OTHER, message_add, message_begin, message_delete, message_end,
    message_find, message_refer,
)
from lb._speedups.relay.relay cimport BUFFER_SIZE, link_t
from lb._speedups.relay.stream cimport stream_id


cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)
    bint UNLIKELY(bint x)
    void LB_ASSERT(bint condition)


cdef enum:
    FRAMING_ROOM = 64            # bytes that a codec may add to a head it has read: an empty Host, a slash, Connection
    ROOMY = 7000                 # a head of this length fits twice with all edits, so its host does


cdef inline void peer_of(const link_t *l, peer_t *out) noexcept nogil:
    out.family = l.family
    out.port = l.port
    memcpy(out.address, l.address, 16)


# Where the client's connection came in.
cdef void own_of(link_t *l, peer_t *out) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef sockaddr_in *v4 = <sockaddr_in *> &address
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *> &address
    out.family = 0
    out.port = 0
    if l.proxied != NULL and l.proxied.family != 0:
        out.family = l.proxied.family         # its PROXY header told
        out.port = l.proxied.port
        memcpy(out.address, l.proxied.address, 16)
        return
    if getsockname(l.conn.fd, <sockaddr *> &address, &size) != 0:
        return                                # it has just gone: the stream ends soon
    if address.ss_family == AF_INET:
        out.port = ntohs(v4.sin_port)
        memcpy(out.address, &v4.sin_addr, 4)
    elif address.ss_family == AF_INET6:
        out.port = ntohs(v6.sin6_port)
        memcpy(out.address, v6.sin6_addr.s6_addr, 16)
        if l.family == AF_INET:               # a v4 client on a v6 socket
            memcpy(out.address, out.address + 12, 4)
    else:
        return
    out.family = l.family


# An id that came and may stay: it is this stream's. False: it is none.
cdef bint take_id(stream_t *st, const message_t *m, uint32_t i) noexcept nogil:
    cdef const char *text = m.block + m.fields[i].value_at
    cdef size_t n = m.fields[i].value_len
    if not forwarding_is_id(text, n):
        return False
    memcpy(st.id, text, n)
    st.id_len = <uint8_t> n
    return True


cdef size_t put_number(char *at, uint32_t n) noexcept nogil:
    cdef char digits[10]
    cdef int i = 10
    while True:
        i -= 1
        digits[i] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            break
    memcpy(at, digits + i, <size_t> (10 - i))
    return <size_t> (10 - i)


cdef int add_address(message_t *m, const forward_field_t *field, const char *name, const peer_t *who) noexcept nogil:
    cdef char *at
    if who.family != AF_INET and who.family != AF_INET6:
        return 0                              # a unix socket's client has no address
    at = message_begin(m, field.id, name, field.name.len, ADDRESS_TEXT)
    if at == NULL:
        return -1
    message_end(m, forwarding_address(who, at))
    return 0


cdef int add_text(message_t *m, const forward_field_t *field, const char *name, const char *text, size_t n) noexcept nogil:
    cdef char *at = message_begin(m, field.id, name, field.name.len, n)
    if at == NULL:
        return -1
    memcpy(at, text, n)
    message_end(m, n)
    return 0


# One field; `seen` are the kinds that came from a trusted peer. 0, or -1: no room.
cdef int add(stream_t *st, const plan_t *p, const forwarding_t *fw, const forward_field_t *field, const peer_t *peer,
             uint32_t seen) noexcept nogil:
    cdef message_t *m = st.request
    cdef const char *name = plan_text(p, field.name)
    cdef bint came = (seen >> field.kind & 1) != 0
    cdef peer_t who
    cdef char *at
    cdef char digits[10]
    cdef size_t n
    who.family = 0
    if LIKELY(field.kind == FORWARD_FOR):
        if came and fw.flags & FORWARDING_IF_NONE:
            return 0
        if not netset_is_empty(&fw.excepted) and netset_has(p, &fw.excepted, peer.family, peer.address):
            return 0
        return add_address(m, field, name, peer)
    if field.kind == FORWARD_FORWARDED:
        if fw.by == NODE_ADDRESS or fw.by == NODE_ADDRESS_PORT:
            own_of(st.client.link, &who)
        at = message_begin(m, field.id, name, field.name.len, ELEMENT_MAX + m.authority.len)
        if at == NULL:
            return -1
        n = forwarding_element(p, fw, m, peer, &who, at)
        message_end(m, n)
        if n == 0:                            # all that was to be said is a host, and there is none
            message_delete(m, <unsigned int> m.nfields - 1)
        return 0
    if came:
        return 0
    if field.kind == FORWARD_PROTO:
        return add_text(m, field, name, b"http", 4)
    if field.kind == FORWARD_HOST:
        if m.authority.len == 0:
            return 0
        return message_refer(m, field.id, name, field.name.len, m.authority)
    if field.kind == FORWARD_PORT:
        if st.client.link.to_port == 0:
            own_of(st.client.link, &who)
            st.client.link.to_port = who.port
        if st.client.link.to_port == 0:
            return 0                          # a unix socket has none
        n = put_number(digits, st.client.link.to_port)
        return add_text(m, field, name, digits, n)
    if field.kind == FORWARD_REAL_IP:
        who.family = st.family
        memcpy(who.address, st.address, 16)
        return add_address(m, field, name, &who)
    LB_ASSERT(field.kind == FORWARD_ID)
    stream_id(st)
    return add_text(m, field, name, st.id, st.id_len)


# `1.1 edge`: the version is that of the message as it was received.
cdef int add_via(const plan_t *p, const forwarding_t *fw, message_t *m) noexcept nogil:
    cdef char *at = message_begin(m, NAME_OTHER, b"Via", 3, 4 + fw.via.len)
    if at == NULL:
        return -1
    memcpy(at, <const char *> b"1.0 " if m.flags & MESSAGE_HTTP10 else <const char *> b"1.1 ", 4)
    memcpy(at + 4, plan_text(p, fw.via), fw.via.len)
    message_end(m, 4 + fw.via.len)
    return 0


cdef uint16_t forward_request(stream_t *st) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const forwarding_t *fw = plan_forwarding(p, st.frontend)
    cdef const forward_field_t *fields = <const forward_field_t *> (<const char *> p + fw.fields_at)
    cdef message_t *m = st.request
    cdef bint trusted = False
    cdef peer_t peer, client
    cdef uint32_t seen, i
    cdef uint16_t id = 0
    peer_of(st.client.link, &peer)
    if not netset_is_empty(&fw.trusted):
        trusted = netset_has(p, &fw.trusted, peer.family, peer.address)
    if fw.flags & FORWARDING_LOOPS and forwarding_loops(p, fw, m):
        return 508
    if trusted and fw.flags & FORWARDING_CLIENT and forwarding_client(p, fw, m, &client):
        st.family = client.family
        st.port = client.port
        memcpy(st.address, client.address, 16)
    seen = forwarding_sweep(p, fw, m, trusted, &id)
    if id != 0 and not take_id(st, m, id - 1):
        message_delete(m, id - 1)
        seen &= ~(<uint32_t> 1 << FORWARD_ID)
    for i in range(fw.written):
        if add(st, p, fw, &fields[i], &peer, seen) != 0:
            return 431
    if fw.flags & FORWARDING_VIA_REQUEST and add_via(p, fw, m) != 0:
        return 431
    # Without a long host all that can be configured fits behind the longest head.
    return 431 if UNLIKELY(m.head_len > ROOMY) and not fits(m) else 0


# Whether the head with its edits fits what it is written to: values that stand elsewhere, colons and line ends included.
cdef bint fits(const message_t *m) noexcept nogil:
    cdef size_t n = m.head_len + FRAMING_ROOM
    cdef unsigned int i
    for i in range(m.nlive, m.nfields):
        n += <size_t> m.fields[i].name_len + m.fields[i].value_len + 4
    return n <= BUFFER_SIZE


cdef int forward_response(stream_t *st, message_t *m) noexcept nogil:
    cdef const plan_t *p = st.plan.plan
    cdef const forwarding_t *fw = plan_forwarding(p, st.frontend)
    cdef const char *name = plan_text(p, fw.id_name)
    cdef int i
    # A head as it was received has its edit area to itself, and both fit; rules may have used it up.
    if fw.flags & FORWARDING_VIA_RESPONSE and add_via(p, fw, m) != 0:
        return -1
    if fw.flags & FORWARDING_ID_RESPONSE:
        i = message_find(m, name, fw.id_name.len, 0)
        while i >= 0:                         # a server that says it too would say it twice
            message_delete(m, <unsigned int> i)
            i = message_find(m, name, fw.id_name.len, <unsigned int> i + 1)
        stream_id(st)
        return message_add(m, NAME_OTHER, name, fw.id_name.len, st.id, st.id_len)
    return 0
