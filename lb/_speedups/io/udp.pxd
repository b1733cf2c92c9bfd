# Datagrams in batches: recvmmsg and sendmmsg, and the local address each one was sent to.
#
# A batch is UDP_BATCH slots, each with room for the largest datagram there is, so nothing is ever cut (a jumbogram of IPv6
# would be, and is refused). The memory is mapped once and touched only where datagrams were: a worker that sees small ones
# holds a page a slot. Slots stand UDP_STRIDE bytes apart, which is no power of two: otherwise the heads of all datagrams
# would share a few lines of the cache.
#
# Local addresses. A socket that is bound to a wildcard gets each datagram's destination as ancillary data, and an answer
# names it as its source, so that a client hears from the address it asked. A socket bound to one address needs neither.
#
# Nothing here waits, and nothing is kept: what the kernel does not take is the caller's to drop.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.io.sys cimport iovec, mmsghdr, sockaddr_in6

cdef enum:
    UDP_BATCH = 32               # datagrams of one system call
    UDP_SIZE = 65536             # more than any datagram
    UDP_STRIDE = 65856
    UDP_CONTROL = 8              # words of ancillary data: one packet info of either family
    UDP_BUFFER = 4194304         # what the kernel is asked to keep for a listening socket; it gives at most rmem_max

ctypedef struct udp_address_t:   # the address of one end
    uint16_t family              # AF_INET (also of an IPv4 client on an IPv6 socket), AF_INET6; 0 = not known
    uint16_t port                # host order
    uint32_t scope               # interface of a link-local address, 0 = none
    uint8_t address[16]          # network order, padded with zeros

ctypedef struct udp_batch_t:
    char *memory                 # the slots
    uint32_t count               # slots in use; the caller's
    mmsghdr messages[UDP_BATCH]
    iovec pieces[UDP_BATCH]      # of each message: its slot
    sockaddr_in6 peers[UDP_BATCH]    # room for both families
    uint64_t control[UDP_BATCH][UDP_CONTROL]

# 0, or -1 without memory.
cdef int udp_batch_init(udp_batch_t *b) noexcept nogil
cdef void udp_batch_free(udp_batch_t *b) noexcept nogil

# Receive into slots [at, at + n). With `addresses` each message has its sender and its destination. Returns how many came,
# fewer than n = the socket was empty then (or failed: the next call says so); -1 with errno.
cdef int udp_receive(int fd, udp_batch_t *b, uint32_t at, uint32_t n, bint addresses) noexcept nogil

# Send messages [0, n) in order. Returns how many left; fewer than n: errno is why the next one did not.
cdef uint32_t udp_send(int fd, mmsghdr *messages, uint32_t n) noexcept nogil

# The sender of a received message; `local` is where it was sent to, left as it is when the kernel did not say.
cdef void udp_sender(udp_batch_t *b, uint32_t i, udp_address_t *peer, udp_address_t *local) noexcept nogil

# Slot i holds n bytes to be sent to `peer`, from `local` if `names_source`, through a socket of `family`.
cdef void udp_address_to(
    udp_batch_t *b, uint32_t i, size_t n, uint16_t family, const udp_address_t *peer, const udp_address_t *local,
    bint names_source
) noexcept nogil

# Ready a bound datagram socket: room for bursts and, on a wildcard, packet info. *family and *local are its own, and *is_any
# whether it is bound to a wildcard. 0, or -1 with errno.
cdef int udp_prepare(int fd, uint16_t *family, udp_address_t *local, bint *is_any) noexcept nogil

cdef inline char *udp_slot(udp_batch_t *b, uint32_t i) noexcept nogil:
    return b.memory + <size_t> i * UDP_STRIDE
