# The plan image: the only bridge between Python and the data plane.
#
# A plan is one generation of the configuration as a position-independent image in a sealed memfd: a header, then arrays
# of the structs below, then bytes. Every reference is an offset from the image's start or an index into an array, never
# a pointer. It is written once by face/plan.pyx from flat tuples of ints and bytes (lb/config/plan.py), mapped read-only
# by every worker and never changed. A keyword has no spelling here, only a number.
#
# Object ids (`oid`) come from the registry of the shared mapping: they outlive generations and index counters.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PLAN_MAGIC = 0x6c62706c      # "lbpl"
    PLAN_VERSION = 1

cdef enum:
    MODE_TCP = 1
    MODE_HTTP = 2

cdef enum:                       # plan_frontend_t.flags
    FRONTEND_FORWARDING = 1 << 0      # has a forwarding_t that heads of requests go through
    FRONTEND_LOG = 1 << 1             # write an access log record per stream
    FRONTEND_KEEPALIVE = 1 << 2       # TCP keep-alive on accepted connections, with the options below
    FRONTEND_MARKS_RESPONSE = 1 << 8  # its forwarding_t adds to heads of responses too
    FRONTEND_MONITOR = 1 << 9         # has a monitor_t

cdef enum:                       # plan_backend_t.flags
    BACKEND_KEEPALIVE = 1 << 0   # TCP keep-alive on server connections, with the options below

cdef enum:                       # plan_backend_t.key: what of a stream is hashed
    KEY_NONE = 0
    KEY_SOURCE                   # the client's address
    KEY_URI                      # the request target, as key_flags, key_depth and key_len say
    KEY_FIELD                    # the first value of a header field: `balance hdr`
    KEY_LAST_FIELD               # the last one: `req.hdr`
    KEY_COOKIE                   # the last cookie of this name: `req.cook`
    KEY_PARAM                    # a parameter of the query
    KEY_COUNT

cdef enum:                       # plan_backend_t.key_flags
    KEY_AVALANCHE = 1 << 0       # mix the hash once more
    KEY_WHOLE = 1 << 1           # uri: with the query
    KEY_PATH_ONLY = 1 << 2       # uri: without scheme and authority
    KEY_DOMAIN_ONLY = 1 << 3     # field: of a host name only the label before the last

cdef enum:                       # plan_listener_t.flags, plan_server_t.flags (debug builds only)
    LINK_TWISTED = 1 << 0        # the `twisted` transport
    LINK_MUX = 1 << 1            # the multiplexing debug codec
    LINK_PARK = 1 << 2           # listeners: every request is parked until it is resumed by hand

cdef enum:                       # plan_log_t.format
    LOG_HAPROXY = 1              # httplog or tcplog by the frontend's mode
    LOG_JSON = 2

cdef enum:                       # netset_t.flags
    NETSET_UNIX = 1 << 0         # whoever comes over a unix socket is in the set

ctypedef struct text_t:
    uint32_t at                  # offset from the image's start
    uint32_t len                 # bytes, without a terminating NUL (one follows all the same)

# Sets of networks; how they are asked: policy/netset.pxd.

ctypedef struct net4_t:          # host order, both ends included
    uint32_t first
    uint32_t last

ctypedef struct net6_t:          # host order, two words an address, both ends included
    uint64_t first_high
    uint64_t first_low
    uint64_t last_high
    uint64_t last_low

ctypedef struct netset_t:
    uint32_t at                  # offset of net4_t[v4], behind them net6_t[v6]; any when there are none
    uint32_t v4                  # their numbers
    uint32_t v6
    uint32_t flags               # NETSET_*

ctypedef struct plan_listener_t:
    uint32_t oid                 # object id
    uint32_t frontend            # index of its frontend
    uint32_t flags               # LINK_*
    uint32_t pad
    text_t name                  # as configured, for logs and `show stat`
    netset_t proxies             # whose connections begin with a PROXY header

ctypedef struct plan_frontend_t:
    uint32_t oid
    text_t name
    uint8_t mode                 # MODE_*
    uint8_t pad0
    uint16_t pad1
    uint32_t flags               # FRONTEND_*
    uint32_t maxconn             # connections over all workers; 0 = no limit
    int32_t default_backend      # index, -1 = none
    uint32_t client_ms           # timeouts in ms, 0 = none
    uint32_t http_request_ms
    uint32_t http_keep_alive_ms
    uint32_t tunnel_ms
    uint32_t keepalive_idle_s    # TCP_KEEPIDLE, 0 = kernel's
    uint32_t keepalive_interval_s
    uint32_t keepalive_count
    uint32_t hosts_at            # offset of its route_table_t below, 0 = it has no routes
    uint32_t routes              # their number
    uint32_t mirror              # index of its plan_mirror_t + 1, 0 = nothing is mirrored
    uint32_t client_fin_ms       # timeout of a half-closed client connection, 0 = none of its own
    uint32_t forwarding_at       # offset of its forwarding_t, 0 = none
    uint32_t monitor_at          # offset of its monitor_t, 0 = none

ctypedef struct plan_backend_t:
    uint32_t oid
    text_t name
    uint8_t mode
    uint8_t balance              # BALANCE_* of policy/balance.pxd
    uint16_t retries             # connection attempts beyond the first
    uint32_t flags               # BACKEND_*
    uint32_t servers_at          # index of its first server
    uint32_t servers             # their number
    uint64_t balance_at          # offset of its balance_t in the shared mapping
    uint32_t connect_ms
    uint32_t server_ms
    uint32_t tunnel_ms
    uint32_t queue_ms
    uint32_t keepalive_idle_s
    uint32_t keepalive_interval_s
    uint32_t keepalive_count
    text_t key_name              # of the field (lower case), cookie or parameter
    uint8_t key                  # KEY_*, KEY_NONE unless balance is BALANCE_HASH
    uint8_t key_hash             # HASH_* of policy/hash.pxd
    uint8_t key_flags            # KEY_AVALANCHE...
    uint8_t pad0
    uint16_t key_depth           # uri: segments, 0 = all
    uint16_t key_len             # uri: bytes, 0 = all
    uint32_t server_fin_ms       # timeout of a half-closed server connection, 0 = none of its own

ctypedef struct plan_server_t:
    uint32_t oid
    text_t name
    uint32_t backend             # index
    uint32_t weight              # 0-256
    uint32_t flags               # LINK_*
    uint16_t family              # AF_INET, AF_INET6, AF_UNIX
    uint16_t address_len         # bytes of `address` in use
    uint8_t address[112]         # a sockaddr

ctypedef struct plan_mirror_t:   # copies of requests for another backend (relay/mirror.pxd)
    uint32_t backend             # index
    uint32_t percent             # of the requests, 0-100
    uint32_t max_body            # bytes; a request with a longer body is not copied
    uint32_t max_copies          # at a time in a worker, of this backend
    uint32_t timeout_ms          # longest life of a copy
    uint32_t pad

# What a frontend tells servers about its clients; how: policy/forwarding.pxd.

cdef enum:                       # forward_field_t.kind
    FORWARD_STRIP = 0            # not written: only kept from servers
    FORWARD_FOR                  # X-Forwarded-For
    FORWARD_FORWARDED            # Forwarded (RFC 7239)
    FORWARD_PROTO
    FORWARD_HOST
    FORWARD_PORT
    FORWARD_REAL_IP
    FORWARD_ID
    FORWARD_COUNT

cdef enum:                       # forwarding_t.flags
    FORWARDING_REPLACE = 1 << 0       # FORWARD_FOR: also what trusted peers sent is dropped
    FORWARDING_IF_NONE = 1 << 1       # FORWARD_FOR: nothing is added to that
    FORWARDING_CLIENT = 1 << 2        # the client's address is taken from `client`
    FORWARDING_RFC7239 = 1 << 3       # which is Forwarded
    FORWARDING_PROTO = 1 << 4         # parts of Forwarded
    FORWARDING_HOST = 1 << 5
    FORWARDING_VIA_REQUEST = 1 << 6
    FORWARDING_VIA_RESPONSE = 1 << 7
    FORWARDING_LOOPS = 1 << 8         # a request that has our Via is refused
    FORWARDING_ID_ANY = 1 << 9        # request ids are taken from anybody
    FORWARDING_ID_NEVER = 1 << 10     # from nobody; else from trusted peers
    FORWARDING_ID_RESPONSE = 1 << 11

cdef enum:                       # forwarding_t.by, for_: nodes of RFC 7239
    NODE_NONE = 0                # not said
    NODE_ADDRESS
    NODE_ADDRESS_PORT
    NODE_TEXT                    # by_text, for_text
    NODE_COUNT

cdef enum:                       # forwarding_t.id_format
    ID_HEX32 = 0
    ID_UUID4
    ID_UUID7
    ID_FORMATS

ctypedef struct forward_field_t:
    text_t name                  # as it is written
    text_t key                   # lower case, `-` for `_`
    uint8_t kind                 # FORWARD_*
    uint8_t id                   # known_name of proto/message.pxd
    uint16_t pad0
    uint32_t pad1

ctypedef struct forwarding_t:    # at plan_frontend_t.forwarding_at
    uint64_t lengths             # bit n - 1: a field of `fields_at` has a name of n bytes (n modulo 64)
    uint32_t fields_at           # offset of forward_field_t[fields]: those that are written come first
    uint32_t fields
    uint32_t written             # of them
    uint32_t flags               # FORWARDING_*
    netset_t trusted             # peers whose headers are believed
    netset_t excepted            # peers for which FORWARD_FOR adds nothing
    text_t client                # header that says who the client is, lower case
    text_t via                   # our pseudonym
    text_t by_text
    text_t for_text
    text_t id_name               # header of request ids, empty = the usual one, and none is written
    uint8_t by                   # NODE_*
    uint8_t for_
    uint8_t id_format            # ID_*
    uint8_t pad0
    uint32_t pad1

ctypedef struct monitor_t:       # at plan_frontend_t.monitor_at
    text_t path                  # the whole target
    uint32_t needs_at            # offset of monitor_need_t[needs]
    uint32_t needs

ctypedef struct monitor_need_t:
    uint32_t backend             # index
    uint32_t least               # usable servers it must have

# Routes of a frontend; how they are found: policy/route.pxd.

ctypedef struct route_host_t:    # open addressing by route_hash(host, 0)
    text_t name                  # lower case, without port and closing dot
    uint32_t hash
    uint32_t root                # its root node + 1, 0 = empty slot

ctypedef struct route_edge_t:    # open addressing by route_hash(segment, node)
    uint32_t node                # where it begins
    uint32_t hash
    text_t segment               # without slashes; may be empty (`/a//b`)
    uint32_t child               # the node behind it + 1, 0 = nothing is deeper
    uint32_t leaf                # backend of the exact path that ends here + 1, 0 = none; neither = empty slot

ctypedef struct route_node_t:
    int32_t prefix               # backend of this path and all below it, -1 = none
    int32_t exact                # backend of just this path, -1 = none
    uint32_t edges               # edges that begin here: 0 spares the hashing

ctypedef struct route_table_t:   # at plan_frontend_t.hosts_at
    uint32_t hosts_at            # offset of route_host_t[hosts_size]
    uint32_t hosts_size          # a power of two
    uint32_t edges_at            # offset of route_edge_t[edges_size]
    uint32_t edges_size          # a power of two
    uint32_t nodes_at            # offset of route_node_t[nodes]
    uint32_t nodes
    uint32_t any_root            # root node + 1 of routes without a host, 0 = there are none
    uint32_t pad

ctypedef struct plan_log_t:
    uint32_t target              # number of the supervisor's target: its place in Part.logs
    uint32_t format              # LOG_*

ctypedef struct plan_t:
    uint32_t magic
    uint32_t version
    uint64_t size                # bytes of the image
    uint64_t generation
    uint32_t maxconn             # of the process, over all workers; 0 = no limit
    uint32_t grace_ms            # drain time
    uint32_t maxconn_oid         # object whose gauge counts the process's connections
    uint32_t nlisteners
    uint32_t listeners_at        # offset of plan_listener_t[nlisteners]
    uint32_t nfrontends
    uint32_t frontends_at
    uint32_t nbackends
    uint32_t backends_at
    uint32_t nservers
    uint32_t servers_at
    uint32_t nlogs
    uint32_t logs_at
    uint32_t by_oid_at           # offset of uint32_t[by_oid_size]: open addressing by plan_oid_hash, server index + 1
    uint32_t by_oid_size         # a power of two, at most half full; 0 in a slot = empty
    uint32_t nmirrors
    uint32_t mirrors_at
    uint32_t pad

cdef inline plan_listener_t *plan_listener(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_listener_t *> (<char *> p + p.listeners_at)) + i

cdef inline plan_frontend_t *plan_frontend(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_frontend_t *> (<char *> p + p.frontends_at)) + i

cdef inline plan_backend_t *plan_backend(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_backend_t *> (<char *> p + p.backends_at)) + i

cdef inline plan_server_t *plan_server(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_server_t *> (<char *> p + p.servers_at)) + i

cdef inline plan_log_t *plan_log(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_log_t *> (<char *> p + p.logs_at)) + i

cdef inline plan_mirror_t *plan_mirror(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_mirror_t *> (<char *> p + p.mirrors_at)) + i

# Only for frontends whose flags say that there is one.
cdef inline const forwarding_t *plan_forwarding(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    return <const forwarding_t *> (<const char *> p + f.forwarding_at)

cdef inline const monitor_t *plan_monitor(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    return <const monitor_t *> (<const char *> p + f.monitor_at)

cdef inline const char *plan_text(const plan_t *p, text_t t) noexcept nogil:
    return <const char *> p + t.at

cdef inline uint32_t plan_oid_hash(uint32_t oid) noexcept nogil:
    return (oid * <uint32_t> 0x9E3779B1) >> 7

# Whether an array of `n` items of `size` bytes at this offset lies inside the image, aligned, behind the header.
cdef inline bint plan_array_fits(const plan_t *p, uint64_t offset, uint64_t n, uint64_t size) noexcept nogil:
    return offset >= sizeof(plan_t) and offset % 8 == 0 and offset + n * size <= p.size

cdef inline bint plan_text_fits(const plan_t *p, text_t t) noexcept nogil:
    return <uint64_t> t.at + t.len < p.size

# Check magic, version, size and that every offset and index lies inside the image of `size` bytes. 0 or -1.
cdef int plan_check(const void *image, uint64_t size) noexcept nogil

# The server with this object id, or NULL.
cdef plan_server_t *plan_server_by_oid(const plan_t *p, uint32_t oid) noexcept nogil
