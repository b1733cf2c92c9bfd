# host[:port] of a request, the form shared by Host and the authority of a target (RFC 9110 7.2, RFC 3986 3.2).
#
# host is a registered name, an IPv4 address or a bracketed IPv6 address; port is 0..65535. No user information, no
# empty host, no empty port, no zone id, no IPvFuture, no comma (two Hosts folded into one list). A percent sign must
# begin an escape; escapes are not decoded.

# True if p[0:len] is such an authority.
cdef bint authority_is_valid(const char *p, size_t len) noexcept nogil
