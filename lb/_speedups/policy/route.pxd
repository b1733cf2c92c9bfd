# Routes: host, path and conditions. Tables live in the plan image (route_table_t and what it leads to, in policy/plan.pxd).
#
# A frontend's routes are compiled to one hash table of hosts, each host leading to the root node of a tree of path
# segments. A node stands for a path that ends in "/" ("/", "/static/"); it knows the leaf of that path as a prefix
# (`/static/*`) and as an exact path (`/static/`). An edge leads from a node by one segment: to the node behind it
# (there are deeper paths), to the leaf of an exact path that ends with this segment (`/static/logo`), or to both. A
# parameter (`{id}`) is the node's own: any segment that is not empty leads there. All edges of a frontend stand in one
# hash table with the key (node, segment). A leaf is a list of routes, those with more conditions first.
#
# Which route wins. Hosts: the exact one, then wildcards, the one with most labels first, then any. Within a host the tree
# is walked from the left, and at each node first the edge, then the parameter, then the prefix is tried; the first route
# whose conditions hold is the answer. So two paths are compared at the first segment where they differ, and there a literal
# beats a parameter and a parameter `/*`. A branch that leads nowhere is left the way it came, by the nodes' parents, so
# that a literal which fails deeper falls back to the parameter beside it.
#
# Cost. A walk ends where the tree ends: what a client sends cannot make it longer than the deepest route. Beside each
# other, at one depth, a request can match at most OVERLAP_MAX (16) branches and at one leaf CANDIDATES_MAX (64) routes,
# each of at most PLAN_CONDITIONS_MAX conditions: lb/config/routing.py refuses what would pass that. So the cost is at most
# hosts tried x depth x constants, whatever the number of routes.
#
# Hashes are not keyed: what is in the tables comes from the configuration, and a lookup changes nothing. Tables are at
# most half full.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.plan cimport plan_frontend_t, plan_t
from lb._speedups.proto.message cimport message_t

cdef enum:
    ROUTE_HOST_MAX = 255         # bytes of a host; a longer one matches no named host
    ROUTE_TRACE_MAX = 64         # routes that a trace takes

cdef enum:                       # route_trace_t.why: what kept a route from matching that has host and path right
    ROUTE_METHOD = 255           # its methods; else the number of the condition, from 0

ctypedef struct route_trace_t:   # what was looked at, for people
    uint32_t n                   # entries in use
    uint32_t steps               # nodes that were entered
    uint32_t route[ROUTE_TRACE_MAX]
    uint8_t why[ROUTE_TRACE_MAX]

ctypedef struct route_found_t:
    int32_t route                # index of the plan_route_t, -1 = none
    uint32_t allowed             # methods with which there would have been one (bits as in plan_route_t.methods)

# The route of this request, else f.default_route. `allowed` is told only when there is neither. An empty path
# (`OPTIONS *`) matches like "/*" does, and no exact path. `trace` is NULL but for people.
cdef route_found_t route_find(
    const plan_t *p, const plan_frontend_t *f, const message_t *m, route_trace_t *trace
) noexcept nogil

# Write these methods as the value of Allow into `out`; returns its length, cut at a whole method if cap does not suffice.
cdef size_t route_allow(
    const plan_t *p, const plan_frontend_t *f, uint32_t methods, char *out, size_t cap
) noexcept nogil

# Whether a path means the same to whoever reads it: no `.` or `..` segment, also not one that shows when `%2e`, `%2f`,
# `%5c` or a backslash are read as what they stand for, or when a parameter (`..;x`) is cut off; and no `%00`.
cdef bint route_is_plain(const char *path, size_t len) noexcept nogil

# The n-th segment (from 1) of a path, its length into *len; NULL if there are fewer.
cdef const char *route_segment(const char *path, size_t path_len, uint32_t n, size_t *len) noexcept nogil

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
