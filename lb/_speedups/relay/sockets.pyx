from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset
from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, IPPROTO_TCP, SOCK_CLOEXEC, SOCK_DGRAM, bind, close, getsockname, getsockopt, sockaddr, sockaddr_in,
    sockaddr_in6, sockaddr_storage, socket, socklen_t,
)
from lb._speedups.policy.fetch cimport (
    FETCH_BC_DST, FETCH_BC_DST_PORT, FETCH_BC_HTTP_MAJOR, FETCH_BC_RTT, FETCH_BC_RTTVAR, FETCH_BC_SRC, FETCH_BC_SRC_PORT,
    FETCH_DST_IS_LOCAL, FETCH_FC_DST, FETCH_FC_DST_IS_LOCAL, FETCH_FC_DST_PORT, FETCH_FC_FACKETS, FETCH_FC_HTTP_MAJOR,
    FETCH_FC_LOST, FETCH_FC_PP_AUTHORITY, FETCH_FC_PP_TLV, FETCH_FC_PP_UNIQUE_ID, FETCH_FC_RCVD_PROXY,
    FETCH_FC_REORDERING, FETCH_FC_RETRANS, FETCH_FC_RTT, FETCH_FC_SACKED, FETCH_FC_SRC,
    FETCH_FC_SRC_IS_LOCAL, FETCH_FC_SRC_PORT, FETCH_FC_UNACKED, FETCH_SRC_IS_LOCAL,
)
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, sample_bool, sample_int, sample_text,
)
from lb._speedups.proto.proxy cimport PROXY_AUTHORITY, PROXY_UNIQUE_ID, proxy_next_tlv, proxy_tlv_t
from lb._speedups.relay.relay cimport LINK_PROXIED, LINK_TCP, SIDE_GONE, stream_t
from lb._speedups.relay.stream cimport stream_end_of


cdef extern from "<sys/socket.h>" nogil:
    int getpeername(int fd, sockaddr *address, socklen_t *size)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_INFO
    struct tcp_info:
        uint32_t tcpi_unacked
        uint32_t tcpi_sacked
        uint32_t tcpi_lost
        uint32_t tcpi_retrans
        uint32_t tcpi_fackets
        uint32_t tcpi_rtt
        uint32_t tcpi_rttvar
        uint32_t tcpi_reordering


cdef void sockets_name(int fd, bint peer, log_end_t *out) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    memset(out, 0, sizeof(log_end_t))
    memset(&address, 0, sizeof(address))
    if (getpeername(fd, <sockaddr *> &address, &size) if peer else getsockname(fd, <sockaddr *> &address, &size)) == 0:
        stream_end_of(out, &address)


# The client as its connection has it: what its PROXY header said, or else its socket. Rules and trusted headers that say
# otherwise (`src`) do not count.
cdef void client_end(const link_t *l, log_end_t *out) noexcept nogil:
    memset(out, 0, sizeof(log_end_t))
    out.family = l.family
    out.port = l.port
    memcpy(out.address, l.address, 16)


cdef void sockets_target(const link_t *l, log_end_t *out) noexcept nogil:
    if l.proxied == NULL or l.proxied.family == 0:
        sockets_name(l.conn.fd, False, out)
        return
    memset(out, 0, sizeof(log_end_t))
    out.family = l.proxied.family
    out.port = l.proxied.port
    memcpy(out.address, l.proxied.address, 16)


cdef int show(const log_end_t *end, bint port, sample_t *s) noexcept nogil:
    if end.family != AF_INET and end.family != AF_INET6:
        return SAMPLE_NONE
    if port:
        return sample_int(s, end.port)
    s.type = SAMPLE_IPV4 if end.family == AF_INET else SAMPLE_IPV6
    s.flags = 0
    memcpy(s.address, end.address, 16)
    return SAMPLE_FOUND


# Whether this machine has the address: whether a socket can be bound to it.
cdef int is_local(const log_end_t *end, sample_t *s) noexcept nogil:
    cdef sockaddr_storage name
    cdef sockaddr_in *v4 = <sockaddr_in *> &name
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *> &name
    cdef int fd, answer
    if end.family != AF_INET and end.family != AF_INET6:
        return SAMPLE_NONE
    memset(&name, 0, sizeof(name))
    name.ss_family = end.family
    if end.family == AF_INET:
        memcpy(&v4.sin_addr, end.address, 4)
    else:
        memcpy(v6.sin6_addr.s6_addr, end.address, 16)
    fd = socket(end.family, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    if fd < 0:
        return SAMPLE_NONE
    answer = bind(fd, <sockaddr *> &name, sizeof(sockaddr_in) if end.family == AF_INET else sizeof(sockaddr_in6))
    close(fd)
    return sample_bool(s, answer == 0)


# `n`: 1 = microseconds, else milliseconds, rounded; of numbers that are no times it says nothing.
cdef int measured(const link_t *l, unsigned int code, int64_t n, sample_t *s) noexcept nogil:
    cdef tcp_info info
    cdef socklen_t size = sizeof(info)
    cdef int64_t us
    if l == NULL:
        return SAMPLE_NONE
    memset(&info, 0, sizeof(info))
    if getsockopt(l.conn.fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0:
        return SAMPLE_NONE
    if code == FETCH_FC_UNACKED:
        return sample_int(s, info.tcpi_unacked)
    if code == FETCH_FC_SACKED:
        return sample_int(s, info.tcpi_sacked)
    if code == FETCH_FC_LOST:
        return sample_int(s, info.tcpi_lost)
    if code == FETCH_FC_RETRANS:
        return sample_int(s, info.tcpi_retrans)
    if code == FETCH_FC_FACKETS:
        return sample_int(s, info.tcpi_fackets)
    if code == FETCH_FC_REORDERING:
        return sample_int(s, info.tcpi_reordering)
    us = info.tcpi_rtt if code == FETCH_FC_RTT or code == FETCH_BC_RTT else info.tcpi_rttvar
    return sample_int(s, us if n == 1 else (us + 500) // 1000)


cdef int http_major(const link_t *l, sample_t *s) noexcept nogil:
    if l == NULL or l.codec == NULL or l.flags & LINK_TCP:
        return SAMPLE_NONE
    return sample_int(s, 1 if l.codec == &l.engine.h1 else 2)


# The first TLV of this kind.
cdef int tlv(const link_t *l, int64_t kind, sample_t *s) noexcept nogil:
    cdef proxy_tlv_t found
    cdef size_t at = 0
    if l.proxied == NULL or l.proxied.tlvs == NULL:
        return SAMPLE_NONE
    while proxy_next_tlv(l.proxied.tlvs, l.proxied.tlvs_len, &at, &found):
        if found.kind == kind:
            sample_text(s, found.value, found.len, SAMPLE_CONST)
            return SAMPLE_FOUND
    return SAMPLE_NONE


cdef int ask_client(const stream_t *st, unsigned int code, int64_t n, sample_t *s) noexcept nogil:
    cdef const link_t *l = st.client.link
    cdef log_end_t end
    if l == NULL or l.conn.fd < 0 or st.client.flags & SIDE_GONE:      # a copy of a request has no client
        return SAMPLE_NONE
    if code == FETCH_FC_SRC or code == FETCH_FC_SRC_PORT or code == FETCH_FC_SRC_IS_LOCAL:
        client_end(l, &end)
        return is_local(&end, s) if code == FETCH_FC_SRC_IS_LOCAL else show(&end, code == FETCH_FC_SRC_PORT, s)
    if code == FETCH_FC_DST or code == FETCH_FC_DST_PORT or code == FETCH_FC_DST_IS_LOCAL or code == FETCH_DST_IS_LOCAL:
        if code == FETCH_DST_IS_LOCAL and st.settings != NULL and st.settings.destination.family != 0:
            memset(&end, 0, sizeof(end))
            end.family = st.settings.destination.family
            memcpy(end.address, st.settings.destination.bytes, 16)
        else:
            sockets_target(l, &end)
        if code == FETCH_FC_DST or code == FETCH_FC_DST_PORT:
            return show(&end, code == FETCH_FC_DST_PORT, s)
        return is_local(&end, s)
    if code == FETCH_SRC_IS_LOCAL:
        memset(&end, 0, sizeof(end))
        end.family = st.family
        memcpy(end.address, st.address, 16)
        return is_local(&end, s)
    if code == FETCH_FC_HTTP_MAJOR:
        return http_major(l, s)
    if code == FETCH_FC_RCVD_PROXY:
        return sample_bool(s, l.flags & LINK_PROXIED != 0)
    if code == FETCH_FC_PP_AUTHORITY:
        return tlv(l, PROXY_AUTHORITY, s)
    if code == FETCH_FC_PP_UNIQUE_ID:
        return tlv(l, PROXY_UNIQUE_ID, s)
    if code == FETCH_FC_PP_TLV:
        return tlv(l, n, s)
    return measured(l, code, n, s)


cdef int sockets_ask(void *stream, unsigned int code, int64_t n, sample_t *s) noexcept nogil:
    cdef const stream_t *st = <const stream_t *> stream
    cdef const link_t *l = st.server.link
    cdef log_end_t end
    if code < FETCH_BC_SRC:
        return ask_client(st, code, n, s)
    if l == NULL or l.conn.fd < 0 or st.server.flags & SIDE_GONE:
        return SAMPLE_NONE
    if code == FETCH_BC_HTTP_MAJOR:
        return http_major(l, s)
    if code == FETCH_BC_RTT or code == FETCH_BC_RTTVAR:
        return measured(l, code, n, s)
    sockets_name(l.conn.fd, code == FETCH_BC_DST or code == FETCH_BC_DST_PORT, &end)
    return show(&end, code == FETCH_BC_SRC_PORT or code == FETCH_BC_DST_PORT, s)
