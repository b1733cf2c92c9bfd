# Routes: exact host, then path. Tables live in the plan image (route_table_t and what it leads to, in policy/plan.pxd).
#
# A frontend's routes are compiled to one hash table of hosts, each host leading to the root node of a tree of path
# segments. A node stands for a path that ends in "/" ("/", "/static/"); it knows the backend of that path as a prefix
# (`/static/*`) and as an exact path (`/static/`). An edge leads from a node by one segment: to the node behind it
# (there are deeper paths), to the backend of an exact path that ends with this segment (`/static/logo`), or to both.
# All edges of a frontend stand in one hash table with the key (node, segment).
#
# A path is walked from its root, one lookup a segment, and the walk ends at the first segment that leads nowhere: what
# a client sends cannot make it longer than the deepest route. The longest matching prefix wins, an exact path before a
# prefix of the same length, a named host before "any host" (which is asked when the host has no match). The cost does
# not depend on the number of routes.
#
# Hashes are not keyed: what is in the tables comes from the configuration, and a lookup changes nothing. Tables are at
# most half full.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.plan cimport plan_frontend_t, plan_t

cdef enum:
    ROUTE_HOST_MAX = 255         # bytes of a host; a longer one matches no named host

# The index of the backend for this authority (host[:port], any case; the port is ignored) and path, else
# f.default_backend (-1 = none). An empty path (`OPTIONS *`) matches like "/*" does, and no exact path.
cdef int32_t route_find(const plan_t *p, const plan_frontend_t *f, const char *authority, size_t authority_len,
                        const char *path, size_t path_len) noexcept nogil

# Check that every offset and index of a frontend's tables lies inside the image, and that every lookup ends. 0 or -1.
cdef int route_check(const plan_t *p, const plan_frontend_t *f) noexcept nogil

# The hash of both tables. Eight bytes a step; equal on every machine of one byte order, and an image does not travel.
cdef inline uint32_t route_hash(const char *bytes, size_t len, uint32_t seed) noexcept nogil:
    cdef uint64_t h = (<uint64_t> seed + 1) * 0x9E3779B97F4A7C15ULL ^ len
    cdef uint64_t word
    while len >= 8:
        memcpy(&word, bytes, 8)
        h = (h ^ word) * 0xD6E8FEB86659FD93ULL
        h ^= h >> 32
        bytes += 8
        len -= 8
    if len:
        word = 0
        memcpy(&word, bytes, len)
        h = (h ^ word) * 0xD6E8FEB86659FD93ULL
        h ^= h >> 32
    return <uint32_t> (h ^ (h >> 29))
