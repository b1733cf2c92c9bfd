from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from lb._speedups.io.sys cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, EINTR, IP_PKTINFO, IPPROTO_IP,
    IPPROTO_IPV6, IPV6_PKTINFO, IPV6_RECVPKTINFO, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SO_RCVBUF, SO_SNDBUF,
    SOL_SOCKET, cmsghdr, errno, getsockname, htons, in6_pktinfo, in_pktinfo, mmsghdr, msghdr, ntohs, recv, recvmmsg,
    sendmmsg, sendmsg, setsockopt, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t,
)


cdef int udp_batch_init(udp_batch_t *b) noexcept nogil:
    cdef void *memory
    cdef uint32_t i
    memset(b, 0, sizeof(udp_batch_t))
    memory = mmap(NULL, <size_t> UDP_BATCH * UDP_STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if memory == MAP_FAILED:
        return -1
    b.memory = <char *> memory
    for i in range(UDP_BATCH):
        b.messages[i].msg_hdr.msg_iov = &b.pieces[i]
        b.messages[i].msg_hdr.msg_iovlen = 1
        b.pieces[i].iov_base = udp_slot(b, i)
    return 0


cdef void udp_batch_free(udp_batch_t *b) noexcept nogil:
    if b.memory != NULL:
        munmap(b.memory, <size_t> UDP_BATCH * UDP_STRIDE)
        b.memory = NULL


# The calls for many cost more than those for one, and recvmmsg() looks for another datagram behind the last.
cdef int receive_one(int fd, udp_batch_t *b, uint32_t at) noexcept nogil:
    cdef ssize_t got
    while True:
        got = recv(fd, b.pieces[at].iov_base, UDP_SIZE, MSG_DONTWAIT | MSG_TRUNC)
        if got >= 0:
            b.messages[at].msg_len = <unsigned int> got
            b.messages[at].msg_hdr.msg_flags = MSG_TRUNC if got > UDP_SIZE else 0
            return 1
        if errno != EINTR:
            return -1


cdef int udp_receive(int fd, udp_batch_t *b, uint32_t at, uint32_t n, bint addresses) noexcept nogil:
    cdef msghdr *m
    cdef uint32_t i
    cdef int got
    if n == 1 and not addresses:
        return receive_one(fd, b, at)
    for i in range(at, at + n):
        m = &b.messages[i].msg_hdr
        b.pieces[i].iov_len = UDP_SIZE
        m.msg_name = &b.peers[i] if addresses else NULL
        m.msg_namelen = sizeof(sockaddr_in6) if addresses else 0
        m.msg_control = b.control[i] if addresses else NULL
        m.msg_controllen = sizeof(b.control[i]) if addresses else 0
        m.msg_flags = 0
    while True:
        got = recvmmsg(fd, b.messages + at, n, MSG_DONTWAIT, NULL)
        if got >= 0 or errno != EINTR:
            return got


cdef uint32_t udp_send(int fd, mmsghdr *messages, uint32_t n) noexcept nogil:
    cdef uint32_t done = 0
    cdef int sent
    if n == 1:
        while sendmsg(fd, &messages.msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
            if errno != EINTR:
                return 0
        return 1
    while done < n:
        sent = sendmmsg(fd, messages + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent > 0:
            done += <uint32_t> sent
        elif errno != EINTR:
            break
    return done


# An address as one family has it: IPv4 inside IPv6 is IPv4.
cdef void take_v6(udp_address_t *a, const void *bytes, uint32_t scope) noexcept nogil:
    cdef const unsigned char *p = <const unsigned char *> bytes
    cdef const unsigned char *mapped = <const unsigned char *> b"\0\0\0\0\0\0\0\0\0\0\xff\xff"
    cdef int i
    memset(a.address, 0, 16)
    for i in range(12):
        if p[i] != mapped[i]:
            break
    else:
        a.family = AF_INET
        a.scope = 0
        memcpy(a.address, p + 12, 4)
        return
    a.family = AF_INET6
    # fe80::/10: the same address may be on several links
    a.scope = scope if p[0] == 0xfe and p[1] & 0xc0 == 0x80 else 0
    memcpy(a.address, p, 16)


cdef void take_v4(udp_address_t *a, const void *bytes) noexcept nogil:
    a.family = AF_INET
    a.scope = 0
    memset(a.address, 0, 16)
    memcpy(a.address, bytes, 4)


cdef void take_name(udp_address_t *a, const void *name) noexcept nogil:
    cdef const sockaddr_in *v4 = <const sockaddr_in *> name
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *> name
    if v4.sin_family == AF_INET:
        take_v4(a, &v4.sin_addr)
        a.port = ntohs(v4.sin_port)
    else:
        take_v6(a, &v6.sin6_addr, v6.sin6_scope_id)
        a.port = ntohs(v6.sin6_port)


cdef void udp_sender(udp_batch_t *b, uint32_t i, udp_address_t *peer, udp_address_t *local) noexcept nogil:
    cdef msghdr *m = &b.messages[i].msg_hdr
    cdef cmsghdr *c = CMSG_FIRSTHDR(m)
    cdef in6_pktinfo *v6
    take_name(peer, &b.peers[i])
    while c != NULL:
        if c.cmsg_level == IPPROTO_IP and c.cmsg_type == IP_PKTINFO:
            # Of a broadcast this is the address that may answer it.
            take_v4(local, &(<in_pktinfo *> CMSG_DATA(c)).ipi_spec_dst)
        elif c.cmsg_level == IPPROTO_IPV6 and c.cmsg_type == IPV6_PKTINFO:
            v6 = <in6_pktinfo *> CMSG_DATA(c)
            take_v6(local, &v6.ipi6_addr, v6.ipi6_ifindex)
        c = CMSG_NXTHDR(m, c)


# An address as an IPv6 socket writes it.
cdef void put_v6(unsigned char *out, const udp_address_t *a) noexcept nogil:
    if a.family == AF_INET:
        memcpy(out, <const char *> b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)
        memcpy(out + 12, a.address, 4)
    else:
        memcpy(out, a.address, 16)


cdef void udp_address_to(
    udp_batch_t *b, uint32_t i, size_t n, uint16_t family, const udp_address_t *peer, const udp_address_t *local,
    bint names_source
) noexcept nogil:
    cdef msghdr *m = &b.messages[i].msg_hdr
    cdef sockaddr_in6 *v6 = &b.peers[i]
    cdef sockaddr_in *v4 = <sockaddr_in *> v6
    cdef cmsghdr *c
    cdef in_pktinfo *from4
    cdef in6_pktinfo *from6
    b.pieces[i].iov_len = n
    m.msg_flags = 0
    m.msg_name = v6
    memset(v6, 0, sizeof(sockaddr_in6))
    if family == AF_INET:
        v4.sin_family = AF_INET
        v4.sin_port = htons(peer.port)
        memcpy(&v4.sin_addr, peer.address, 4)
        m.msg_namelen = sizeof(sockaddr_in)
    else:
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(peer.port)
        put_v6(<unsigned char *> &v6.sin6_addr, peer)
        v6.sin6_scope_id = peer.scope
        m.msg_namelen = sizeof(sockaddr_in6)
    if not names_source or local.family == 0:
        m.msg_control = NULL
        m.msg_controllen = 0
        return
    memset(b.control[i], 0, sizeof(b.control[i]))
    m.msg_control = b.control[i]
    m.msg_controllen = sizeof(b.control[i])
    c = CMSG_FIRSTHDR(m)
    if family == AF_INET:
        c.cmsg_level = IPPROTO_IP
        c.cmsg_type = IP_PKTINFO
        c.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
        from4 = <in_pktinfo *> CMSG_DATA(c)
        memcpy(&from4.ipi_spec_dst, local.address, 4)
        m.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo))
    else:
        c.cmsg_level = IPPROTO_IPV6
        c.cmsg_type = IPV6_PKTINFO
        c.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
        from6 = <in6_pktinfo *> CMSG_DATA(c)
        put_v6(<unsigned char *> &from6.ipi6_addr, local)
        from6.ipi6_ifindex = local.scope
        m.msg_controllen = CMSG_SPACE(sizeof(in6_pktinfo))


cdef int udp_prepare(int fd, uint16_t *family, udp_address_t *local, bint *is_any) noexcept nogil:
    cdef sockaddr_storage name
    cdef socklen_t size = sizeof(name)
    cdef int value = UDP_BUFFER
    cdef int one = 1
    cdef int i
    memset(&name, 0, sizeof(name))
    if getsockname(fd, <sockaddr *> &name, &size) != 0:
        return -1
    family[0] = name.ss_family
    memset(local, 0, sizeof(udp_address_t))
    take_name(local, &name)
    is_any[0] = True
    for i in range(16):
        if local.address[i] != 0:
            is_any[0] = False
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof(value))
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof(value))
    if not is_any[0]:
        return 0
    if name.ss_family == AF_INET:
        return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one))
    return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one))
