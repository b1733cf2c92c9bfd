from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memset
from lb._speedups.base.pool cimport pool_give, pool_take
from lb._speedups.io.conn cimport CONN_AGAIN, CONN_HUP, CONN_RDHUP, CONN_READABLE, conn_peek, conn_skip
from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, getsockname, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)
from lb._speedups.policy.plan cimport (
    SEND_PROXY_AUTHORITY, SEND_PROXY_CRC32C, SEND_PROXY_TLVS, SEND_PROXY_UNIQUE_ID, SEND_PROXY_VERSION,
)
from lb._speedups.proto.proxy cimport (
    PROXY_CUT, proxy_read, proxy_say_t, proxy_t, proxy_write,
)
from lb._speedups.relay.link cimport link_close, link_flush
from lb._speedups.relay.relay cimport (
    BUFFER_SIZE, LINK_KEEP_TLVS, LINK_PROXIED, PHASE_END, PROXIED_TLVS, engine_t, link_t,
    proxied_t, stream_t,
)
from lb._speedups.relay.stream cimport stream_cause, stream_free, stream_id, stream_new

cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition)

cdef enum:
    FLUSHED = 512                # a longer header leaves first, so that there is room for the largest head


# --- in ---


# An address in its plain form: IPv4 that came as IPv6 is IPv4. Returns its family.
cdef uint16_t put_address(uint8_t *out, uint16_t family, const uint8_t *address) noexcept nogil:
    if family == AF_INET6:
        if memcmp(address, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) != 0:
            memcpy(out, address, 16)
            return AF_INET6
        address += 12
    memset(out, 0, 16)
    memcpy(out, address, 4)
    return AF_INET


cdef int keep_tlvs(engine_t *e, proxied_t *p, const char *tlvs, uint16_t n) noexcept nogil:
    p.tlvs = p.own
    if n > PROXIED_TLVS:
        p.tlvs = <char *> pool_take(&e.buffer_pool)
        if p.tlvs == NULL:
            return -1
    memcpy(p.tlvs, tlvs, n)
    p.tlvs_len = n
    return 0


# Take over what the header says. 0, or -1 without memory.
cdef int adopt(link_t *l, const char *head, const proxy_t *said) noexcept nogil:
    cdef proxied_t *p
    cdef uint16_t n = said.tlvs_len if l.flags & LINK_KEEP_TLVS else 0
    if said.family != AF_INET and said.family != AF_INET6 and n == 0:
        if said.family != 0:                  # a unix socket's client
            l.family = said.family
            l.port = 0
        return 0
    p = <proxied_t *> pool_take(&l.engine.proxied_pool)
    if p == NULL:
        return -1
    l.proxied = p
    p.family = 0
    p.tlvs = NULL
    p.tlvs_len = 0
    if said.family == AF_INET or said.family == AF_INET6:
        l.family = put_address(l.address, said.family, said.source)
        l.port = said.source_port
        p.family = put_address(p.address, said.family, said.target)
        p.port = said.target_port
    elif said.family != 0:
        l.family = said.family
        l.port = 0
    return keep_tlvs(l.engine, p, head + said.tlvs_at, n) if n != 0 else 0


cdef int proxied_read(link_t *l) noexcept nogil:
    cdef char head[BUFFER_SIZE]
    cdef proxy_t said
    cdef ssize_t n = conn_peek(&l.conn, head, <size_t> l.left)
    cdef int size
    if n == CONN_AGAIN:
        return PROXIED_WAIT
    if n <= 0:
        return -PROXY_CUT if l.bytes_seen else PROXIED_GONE
    l.bytes_seen = 1
    size = proxy_read(head, <size_t> n, <size_t> l.left, &said)
    if size < 0:
        return size
    if size == 0:
        # All that will come is here when the peer has ended its direction and the look was not cut short.
        if l.conn.flags & (CONN_RDHUP | CONN_HUP) and not (l.conn.flags & CONN_READABLE):
            return -PROXY_CUT
        return PROXIED_WAIT
    if conn_skip(&l.conn, head, <size_t> size) != 0:
        return PROXIED_GONE
    if adopt(l, head, &said) != 0:
        return PROXIED_GONE
    l.flags |= LINK_PROXIED
    l.conn.flags |= CONN_READABLE             # what is behind it was not announced, and its end perhaps before
    return PROXIED_DONE


cdef void proxied_refuse(link_t *l, uint8_t reason, char cause) noexcept nogil:
    cdef stream_t *st = stream_new(l.engine, l)
    if st != NULL:
        st.reason = reason
        st.phase = PHASE_END
        stream_cause(st, cause, c'R')
        stream_free(st)
    link_close(l)


cdef void proxied_free(link_t *l) noexcept nogil:
    cdef proxied_t *p = l.proxied
    if p.tlvs != NULL and p.tlvs != p.own:
        pool_give(&l.engine.buffer_pool, p.tlvs)
    pool_give(&l.engine.proxied_pool, p)
    l.proxied = NULL


# --- out ---


# Where the client connected to, as its header or its socket says. A copy of a request has neither.
cdef void put_target(link_t *client, proxy_say_t *say, uint8_t *out) noexcept nogil:
    cdef sockaddr_storage name
    cdef sockaddr_in *v4 = <sockaddr_in *> &name
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *> &name
    cdef socklen_t size = sizeof(name)
    memset(out, 0, 16)
    if client.proxied != NULL and client.proxied.family != 0:
        say.target_family = client.proxied.family
        say.target_port = client.proxied.port
        memcpy(out, client.proxied.address, 16)
    elif client.conn.fd < 0:
        say.target_family = client.family
    elif getsockname(client.conn.fd, <sockaddr *> &name, &size) != 0:
        return
    elif name.ss_family == AF_INET:
        say.target_family = put_address(out, AF_INET, <const uint8_t *> &v4.sin_addr)
        say.target_port = ntohs(v4.sin_port)
    elif name.ss_family == AF_INET6:
        say.target_family = put_address(out, AF_INET6, v6.sin6_addr.s6_addr)
        say.target_port = ntohs(v6.sin6_port)


cdef int proxied_greet(stream_t *st) noexcept nogil:
    cdef link_t *client = st.client.link
    cdef link_t *l = st.server.link
    cdef uint32_t how = st.server_at.send_proxy
    cdef uint8_t target[16]
    cdef proxy_say_t say
    cdef int n
    if l.out != NULL:                         # it was written before
        n = link_flush(l)
        return n if n < 0 else n == 0
    memset(&say, 0, sizeof(say))
    say.version = <uint8_t> (how & SEND_PROXY_VERSION)
    say.with_crc32c = (how & SEND_PROXY_CRC32C) != 0
    say.source_family = client.family
    say.source_port = client.port
    say.source = client.address
    put_target(client, &say, target)
    say.target = target
    if how & SEND_PROXY_UNIQUE_ID:
        say.unique_id = stream_id(st)
        say.unique_id_len = st.id_len
    if how & (SEND_PROXY_TLVS | SEND_PROXY_AUTHORITY) and client.proxied != NULL:
        say.tlvs = client.proxied.tlvs
        say.tlvs_len = client.proxied.tlvs_len
        say.only_authority = not (how & SEND_PROXY_TLVS)
    # Where unsent bytes wait: whatever the codec writes stands behind it, and leaves with it.
    l.out = <char *> pool_take(&l.engine.buffer_pool)
    if l.out == NULL:
        return -1
    n = proxy_write(&say, l.out, BUFFER_SIZE)
    LB_ASSERT(n > 0)                          # max_header leaves room for what is ours
    l.out_at = 0
    l.out_end = <uint16_t> n
    if n <= FLUSHED:
        return 1
    n = link_flush(l)
    return n if n < 0 else n == 0
