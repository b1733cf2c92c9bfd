# What a request's head says about the client: which fields are believed, who the client is, how our own are written.
#
# A forwarding_t (policy/plan.pxd) names the fields that lb writes and those it keeps from servers. What a peer sent under
# these names is believed only if the peer is trusted; from anybody else it is deleted before ours are written, so that a
# server never sees a claim that nobody stands for. Many servers read `_` as `-` (X_Forwarded_For), so such a spelling is
# deleted too, also from trusted peers: these pass it on from their clients unread. Fields that are kept are not removed by
# Connection, whoever named them there.
#
# The client. Lists of addresses grow to the right, one entry a proxy. So they are read from the right: entries that are
# trusted proxies are passed over, the first other one is the client; if all are trusted, the leftmost. Nothing that a
# client wrote stands to the right of its own address, so nothing that it wrote is read before that. An entry that is no
# address ends the search without a result.
#
# Room. Names and constant values are bounded when the configuration is loaded (lb/model/kinds.py: 64 bytes each), so the
# edit area of a message holds them all: six names of 64 bytes, two fixed ones, and values of 382 bytes without the host,
# 778 in all. Only `host` in Forwarded has a length that a client chooses.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from lb._speedups.policy.plan cimport forwarding_t, plan_frontend_t, plan_t
from lb._speedups.proto.message cimport message_t

cdef enum:
    ADDRESS_TEXT = 46            # bytes of the longest address as text, and one
    NODE_TEXT_MAX = 64           # bytes of an identifier, of a pseudonym, of a name
    ELEMENT_MAX = 160            # bytes of an element of Forwarded without its host

ctypedef struct peer_t:
    uint16_t family              # AF_INET, AF_INET6; anything else has no address
    uint16_t port                # host order, 0 = not known
    uint8_t address[16]          # network order

# Check that every offset and number of a frontend's forwarding lies where it may. 0 or -1.
cdef int forwarding_check(const plan_t *p, const plan_frontend_t *f) noexcept nogil

# The client that the header fw.client of a trusted peer names. True if there is one; else `out` is not changed.
cdef bint forwarding_client(const plan_t *p, const forwarding_t *fw, const message_t *m, peer_t *out) noexcept nogil

# Delete what must not reach servers. Returns bit FORWARD_* for each kind of field that was kept, and in `id` the index of
# the kept field with the request id + 1, 0 = none.
cdef uint32_t forwarding_sweep(
    const plan_t *p, const forwarding_t *fw, message_t *m, bint trusted, uint16_t *id
) noexcept nogil

# Whether a request's Via has been given our pseudonym before.
cdef bint forwarding_loops(const plan_t *p, const forwarding_t *fw, const message_t *m) noexcept nogil

# Whether this can be a request id: 1 to 64 letters, digits and `._~:@+/=-`.
cdef bint forwarding_is_id(const char *text, size_t n) noexcept nogil

# Write an address as text, at most ADDRESS_TEXT bytes; returns their number, 0 for another family.
cdef size_t forwarding_address(const peer_t *peer, char *dst) noexcept nogil

# Write an element of Forwarded, at most ELEMENT_MAX bytes and the host of m; returns their number, 0 = it says nothing.
cdef size_t forwarding_element(
    const plan_t *p, const forwarding_t *fw, const message_t *m, const peer_t *peer, const peer_t *own, char *dst
) noexcept nogil

# Read an address with or without port, as such lists have it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1],
# [2001:db8::1]:80. An IPv4 address in IPv6 form is an IPv4 one. With `strict` as nodes of RFC 7239 are: brackets around
# IPv6, and the port may be an identifier. False: it is none.
cdef bint forwarding_parse(const char *text, size_t n, bint strict, peer_t *out) noexcept nogil
