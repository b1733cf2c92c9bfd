# Weighted splits: which share of a split a client falls into.
#
# Every client has a point, 64 bits: what its cookie says, the hash of a key it brings, else a number drawn for this request
# or connection. Point and share make a number u in (0, 1), evenly spread and unrelated for another share, and the share
# with the least -ln(u) / weight takes the client (weighted rendezvous hashing). Among all points a share gets exactly its
# weight's part, and whether a client prefers share A to share B depends on nothing but the ratio of their two weights.
# Hence, when weights change by reload:
#
# - a client moves only to a share whose weight grew in relation to that of the share it leaves; who is on a canary that
#   grows stays there, and with two shares not one client more moves than the change of percentages demands;
# - a new share takes its part from all others alike, one that goes gives its clients to all others alike;
# - the order of shares, their backends' servers and the number of workers have no influence.
#
# The cookie holds the point and not the share, so it is written once and never again: percentages hold for the clients that
# are there already as well as for new ones. A share is known by its backend's name. The cookie is no secret: a client can
# choose its share, as it can by deleting a cookie that names one.
#
# Cost: about 15 ns a share (one hash, one logarithm), and a split has at most PLAN_SHARES_MAX.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.policy.plan cimport plan_split_t, plan_t
from lb._speedups.proto.message cimport message_t

cdef enum:
    SPLIT_COOKIE_LEN = 16        # hex digits of a point

cdef enum:                       # how a client got its point
    SPLIT_DRAWN = 0
    SPLIT_KEY = 1                # by the key
    SPLIT_KNOWN = 2              # by its cookie
    SPLIT_NEW = 3                # drawn; the answer must bring the cookie

# The client's point into *point; returns SPLIT_*. `drawn` is a random number; `m` is NULL outside HTTP; `address` as in
# hashkey_find.
cdef int split_point(
    const plan_t *p, const plan_split_t *split, const message_t *m, uint16_t family, const uint8_t *address,
    uint64_t drawn, uint64_t *point
) noexcept nogil

# The backend's index of the share that this point falls into.
cdef uint32_t split_backend(const plan_t *p, const plan_split_t *split, uint64_t point) noexcept nogil

# The value of the Set-Cookie field, `name=point; attributes`, into `out`; its length, or 0 if cap does not suffice.
cdef size_t split_cookie(
    const plan_t *p, const plan_split_t *split, uint64_t point, char *out, size_t cap
) noexcept nogil
