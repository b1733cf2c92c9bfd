# The kernel's interface: every system call and constant of the data plane, declared once.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "errno.h" nogil:
    int errno
    enum: EAGAIN, EINTR, EINPROGRESS, EALREADY, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, ECONNREFUSED, ECONNRESET, EPIPE
    enum: EADDRINUSE
    enum: ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EPROTO, EINVAL, ENOTCONN, EPERM, EMSGSIZE

cdef extern from "unistd.h" nogil:
    int close(int fd)
    int dup(int fd)
    ssize_t read(int fd, void *buf, size_t n)
    ssize_t write(int fd, const void *buf, size_t n)
    int pipe2(int fds[2], int flags)

cdef extern from "fcntl.h" nogil:
    int fcntl(int fd, int cmd, ...)
    enum: F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, O_NONBLOCK, O_CLOEXEC
    enum: SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE
    ssize_t splice(int fd_in, void *off_in, int fd_out, void *off_out, size_t n, unsigned int flags)

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "sys/socket.h" nogil:
    ctypedef uint32_t socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_storage:
        uint16_t ss_family
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    struct linger:
        int l_onoff
        int l_linger
    enum: AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC
    enum: SOL_SOCKET, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SO_REUSEADDR, SO_BINDTODEVICE
    enum: SO_REUSEPORT, SO_TYPE, SO_RCVBUF, SO_SNDBUF, MSG_TRUNC
    enum: MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, MSG_PEEK, SHUT_RD, SHUT_WR, SHUT_RDWR
    int socket(int domain, int kind, int protocol)
    int connect(int fd, const sockaddr *address, socklen_t len)
    int accept4(int fd, sockaddr *address, socklen_t *len, int flags)
    int getsockname(int fd, sockaddr *address, socklen_t *len)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
    int bind(int fd, const sockaddr *address, socklen_t len)
    ssize_t recv(int fd, void *buf, size_t n, int flags)
    ssize_t send(int fd, const void *buf, size_t n, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int n, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int n, int flags)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *at)
    void *CMSG_DATA(cmsghdr *at)
    size_t CMSG_LEN(size_t n)
    size_t CMSG_SPACE(size_t n)

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    enum: IPPROTO_TCP, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, IPPROTO_IPV6, IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO

cdef extern from "netinet/tcp.h" nogil:
    enum: TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK
    enum: TCP_USER_TIMEOUT, TCP_MAXSEG, TCP_FASTOPEN_CONNECT

cdef extern from "arpa/inet.h" nogil:
    uint16_t ntohs(uint16_t n)
    uint16_t htons(uint16_t n)
    const char *inet_ntop(int family, const void *address, char *dst, socklen_t size)

cdef extern from "sys/epoll.h" nogil:
    union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum: EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    enum: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR
    const uint32_t EPOLLET
    int epoll_create1(int flags)
    int epoll_ctl(int fd, int op, int target, epoll_event *event)
    int epoll_wait(int fd, epoll_event *events, int max, int timeout)

cdef extern from "sys/eventfd.h" nogil:
    enum: EFD_NONBLOCK, EFD_CLOEXEC
    int eventfd(unsigned int initial, int flags)

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    enum: CLOCK_MONOTONIC

cdef extern from "sys/timerfd.h" nogil:
    struct itimerspec:
        timespec it_interval
        timespec it_value
    enum: TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *value, itimerspec *old)

cdef extern from "sys/resource.h" nogil:
    struct rlimit:
        uint64_t rlim_cur
        uint64_t rlim_max
    enum: RLIMIT_NOFILE
    int getrlimit(int what, rlimit *limit)

cdef extern from "sys/random.h" nogil:
    ssize_t getrandom(void *buf, size_t n, unsigned int flags)
