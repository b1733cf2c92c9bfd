# The plan image: the only bridge between Python and the data plane.
#
# A plan is one generation of the configuration as a position-independent image in a sealed memfd: a header, then arrays
# of the structs below, then bytes. Every reference is an offset from the image's start or an index into an array, never
# a pointer. It is written once by face/plan.pyx from flat tuples of ints and bytes (lb/config/plan.py), mapped read-only
# by every worker and never changed. A keyword has no spelling here, only a number.
#
# Object ids (`oid`) come from the registry of the shared mapping: they outlive generations and index counters.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PLAN_MAGIC = 0x6c62706c      # "lbpl"
    PLAN_VERSION = 2

cdef enum:
    MODE_TCP = 1
    MODE_HTTP = 2
    MODE_UDP = 3

cdef enum:                       # plan_frontend_t.flags
    FRONTEND_FORWARDING = 1 << 0      # has a forwarding_t that heads of requests go through
    FRONTEND_LOG = 1 << 1             # write an access log record per stream
    FRONTEND_KEEPALIVE = 1 << 2       # TCP keep-alive on accepted connections, with the options below
    FRONTEND_MARKS_RESPONSE = 1 << 8  # its forwarding_t adds to heads of responses too
    FRONTEND_MONITOR = 1 << 9         # has a monitor_t
    FRONTEND_NO_DOTS = 1 << 10        # its routes compare paths, and dot segments are refused

cdef enum:                       # http_connection of frontend and backend: what lives longer than a request
    CONNECTION_KEEP = 0          # both connections
    CONNECTION_SERVER_CLOSE      # the client's
    CONNECTION_CLOSE             # neither (frontends)

cdef enum:                       # plan_backend_t.reuse: relay/idle.pxd
    REUSE_SAFE = 0
    REUSE_AGGRESSIVE
    REUSE_ALWAYS
    REUSE_NEVER

cdef enum:                       # plan_socket_t.flags
    SOCKET_TUNED = 1 << 0        # has an interface, a keep-alive, a timeout or a segment size
    SOCKET_KEEPALIVE = 1 << 1    # TCP keep-alive, with its options
    SOCKET_FAST_OPEN = 1 << 2    # TCP fast open

cdef enum:
    PLAN_UNLIMITED = 0xffffffff  # of limits where 0 means none at all
cdef enum:                       # plan_backend_t.flags
    BACKEND_UDP_PROXY = 1 << 0   # mode udp: a PROXY header before each datagram,
    BACKEND_UDP_PROXY_FIRST = 1 << 1  # or before the first one of a session only


cdef enum:                       # plan_key_t.source: what of a stream is hashed
    KEY_NONE = 0
    KEY_SOURCE                   # the client's address
    KEY_URI                      # the request target, as flags, depth and len say
    KEY_FIELD                    # the first value of a header field: `balance hdr`
    KEY_LAST_FIELD               # the last one: `req.hdr`
    KEY_COOKIE                   # the last cookie of this name: `req.cook`
    KEY_PARAM                    # a parameter of the query
    KEY_COUNT

cdef enum:                       # plan_key_t.flags
    KEY_AVALANCHE = 1 << 0       # mix the hash once more
    KEY_WHOLE = 1 << 1           # uri: with the query
    KEY_PATH_ONLY = 1 << 2       # uri: without scheme and authority
    KEY_DOMAIN_ONLY = 1 << 3     # field: of a host name only the label before the last

cdef enum:                       # plan_listener_t.flags, plan_server_t.flags (debug builds only)
    LINK_TWISTED = 1 << 0        # the `twisted` transport
    LINK_MUX = 1 << 1            # the multiplexing debug codec
    LINK_PARK = 1 << 2           # listeners: every request is parked until it is resumed by hand

cdef enum:                       # plan_listener_t.proxy_flags
    LISTENER_OTHERS = 1 << 0     # connections from elsewhere are served without a header, not refused
    LISTENER_KEEP_TLVS = 1 << 1  # some server gets TLVs of the headers that are read

cdef enum:                       # plan_server_t.send_proxy; 0 = no header
    SEND_PROXY_V1 = 1
    SEND_PROXY_V2 = 2
    SEND_PROXY_VERSION = 3       # mask of these; what follows belongs to version 2
    SEND_PROXY_CRC32C = 1 << 2
    SEND_PROXY_UNIQUE_ID = 1 << 3
    SEND_PROXY_AUTHORITY = 1 << 4   # that of the client's header
    SEND_PROXY_TLVS = 1 << 5        # all TLVs of the client's header
    SEND_PROXY_ALL = (1 << 6) - 1

cdef enum:                       # plan_log_t.format
    LOG_HAPROXY = 1              # httplog or tcplog by the frontend's mode
    LOG_JSON = 2
    LOG_PROGRAM = 3              # its ops say

cdef enum:                       # plan_log_t.flags
    LOG_SKIP_NORMAL = 1 << 0     # only records of streams that failed (frontends with LOGS_SEPARATE)
    LOG_SKIP_ERRORS = 1 << 1     # only the others
    LOG_NUMBERED = 1 << 2        # it wants the request's id
    LOG_LOOKS = 1 << 3           # it has expressions or captures: they look at the stream

cdef enum:                       # plan_frontend_t.log_flags
    LOGS_NO_NORMAL = 1 << 0      # no record of what ended as it should
    LOGS_NO_NULL = 1 << 1        # nor of connections on which the client sent nothing (mode tcp)
    LOGS_SEPARATE = 1 << 2       # failures have a severity of their own
    LOGS_ENDS = 1 << 3           # a record wants the addresses of lb's own sockets

cdef enum:
    LOG_TARGETS = 128            # targets of a plan
    LOG_ERROR = 3                # severity of failures where they have one of their own
    LOG_SAMPLE_MAX = 65536       # records of a sample's period

cdef enum:                       # plan_route_t.kind: what its target is
    TARGET_BACKEND = 1
    TARGET_SPLIT
    TARGET_REDIRECT
    TARGET_REPLY

cdef enum:                       # plan_condition_t.kind
    CONDITION_FIELD = 1          # a header field
    CONDITION_PARAM              # a parameter of the query

cdef enum:                       # plan_condition_t.test
    TEST_PRESENT = 1
    TEST_ABSENT
    TEST_IS                      # one of its occurrences has one of the values

cdef enum:                       # plan_redirect_t.kind
    REDIRECT_LOCATION = 1        # the pieces are all
    REDIRECT_PREFIX              # path and query follow
    REDIRECT_SCHEME              # authority, path and query follow

cdef enum:                       # plan_redirect_t.flags
    REDIRECT_DROP_QUERY = 1 << 0

cdef enum:                       # plan_route_t.flags
    ROUTE_TIMES = 1 << 0         # has timeouts or retries of its own

cdef enum:                       # limits: what one request may cost, and what replies may be
    PLAN_CONDITIONS_MAX = 16     # of a route
    PLAN_VALUES_MAX = 64         # of a condition
    PLAN_SHARES_MAX = 64         # of a split
    PLAN_PIECES_MAX = 128        # of a redirect

cdef enum:                       # netset_t.flags
    NETSET_UNIX = 1 << 0         # whoever comes over a unix socket is in the set

ctypedef struct text_t:
    uint32_t at                  # offset from the image's start
    uint32_t len                 # bytes, without a terminating NUL (one follows all the same)

ctypedef struct limit_list_t:    # rate limits that hold somewhere: policy/limit.pxd
    uint32_t at                  # index of the first in plan_t.limit_lists_at
    uint32_t n

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

ctypedef struct phases_t:        # rulesets of the program + 1, 0 = none, beside request and response rules
    uint32_t connection          # frontends: before a byte of the connection is read
    uint32_t session             # frontends: once it is known who the client is
    uint32_t content             # before HTTP, or (mode tcp) before a server is chosen: may wait for bytes,
    uint32_t inspect_ms          # this long; 0 = not at all
    uint32_t answer              # backends, mode tcp: before the server's first bytes go on,
    uint32_t answer_inspect_ms
    uint32_t after               # of every response, those made here too
    uint32_t pad

ctypedef struct plan_listener_t:
    uint32_t oid                 # object id
    uint32_t frontend            # index of its frontend
    uint32_t flags               # LINK_*
    uint32_t proxy_flags         # LISTENER_*
    text_t name                  # as configured, for logs and `show stat`
    netset_t proxies             # whose connections begin with a PROXY header
    uint32_t proxy_max           # bytes that one may have, 0 = no headers are read here
    uint32_t proxy_ms            # its timeout

ctypedef struct plan_frontend_t:
    uint32_t oid
    text_t name
    uint8_t mode                 # MODE_*
    uint8_t log_flags            # LOGS_*
    uint16_t logs                # what a stream is logged to: plan_log_t[logs_at..], none without FRONTEND_LOG
    uint32_t flags               # FRONTEND_*
    uint32_t maxconn             # connections over all workers; 0 = no limit
    int32_t default_route        # index of the route for what no other matches, -1 = none
    uint32_t client_ms           # timeouts in ms, 0 = none
    uint32_t http_request_ms
    uint32_t http_keep_alive_ms
    uint32_t tunnel_ms
    uint32_t keepalive_idle_s    # TCP_KEEPIDLE, 0 = kernel's
    uint32_t keepalive_interval_s
    uint32_t keepalive_count
    uint32_t hosts_at            # offset of its route_table_t below, 0 = it has no routes
    uint32_t routes              # their number, by host and path
    uint32_t client_fin_ms       # timeout of a half-closed client connection, 0 = none of its own
    uint32_t forwarding_at       # offset of its forwarding_t, 0 = none
    uint32_t monitor_at          # offset of its monitor_t, 0 = none
    uint32_t max_requests        # that one connection carries, at least 1; PLAN_UNLIMITED
    uint8_t http_connection      # CONNECTION_*
    uint8_t close_both           # mode tcp: the first end of a direction ends both
    uint16_t pad2
    uint32_t logs_at             # index
    uint32_t mirror              # of what a rule sends to a backend: index of its plan_mirror_t + 1, 0 = none
    uint32_t request_rules       # ruleset of the program + 1, 0 = none
    uint32_t response_rules
    phases_t phases
    limit_list_t limits
    uint32_t errors              # ruleset + 1 whose rules are the answers to its errors (relay/reply.pxd), 0 = none
    uint32_t request_captures    # rulesets too: what is captured before any rule
    uint32_t response_captures

ctypedef struct plan_key_t:      # what is hashed: policy/hashkey.pxd
    text_t name                  # of the field (lower case), cookie or parameter
    uint8_t source               # KEY_*
    uint8_t hash                 # HASH_* of policy/hash.pxd
    uint8_t flags                # KEY_AVALANCHE...
    uint8_t pad0
    uint16_t depth               # uri: segments, 0 = all
    uint16_t len                 # uri: bytes, 0 = all

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
    plan_key_t key               # source is KEY_NONE unless balance is BALANCE_HASH
    uint32_t server_fin_ms       # timeout of a half-closed server connection, 0 = none of its own
    uint8_t reuse                # REUSE_*
    uint8_t http_connection      # CONNECTION_KEEP, CONNECTION_SERVER_CLOSE
    uint16_t pad1
    int32_t udp_responses        # mode udp: answers to one datagram, -1 = not known
    uint32_t udp_requests        # mode udp: datagrams of a session, 0 = any number
    uint32_t request_rules       # ruleset of the program + 1, 0 = none
    uint32_t response_rules
    phases_t phases
    limit_list_t limits
    uint32_t persistence_at      # offset of its persistence_t (policy/persistence.pxd), 0 = none
    uint32_t pad2
    uint32_t errors              # ruleset + 1 whose rules are the answers to its errors (relay/reply.pxd), 0 = none

ctypedef struct plan_server_t:
    uint32_t oid
    text_t name
    uint32_t backend             # index
    uint32_t weight              # 0-256
    uint32_t flags               # LINK_*
    uint32_t send_proxy          # SEND_PROXY_*
    uint16_t family              # AF_INET, AF_INET6, AF_UNIX
    uint16_t address_len         # bytes of `address` in use
    uint8_t address[112]         # a sockaddr
    uint32_t socket              # index of its plan_socket_t
    uint32_t max_idle            # connections without a stream over all workers, PLAN_UNLIMITED
    uint64_t link_hash           # of address, socket and flags: a connection made by another hash is another server's
    uint32_t idle_ms             # longest rest of a connection
    uint32_t max_requests        # that a connection carries, 0 = no limit
    uint32_t max_age_ms          # older ones carry no stream, 0 = no limit
    uint32_t pad
    text_t cookie                # its value in persistence cookies, empty = it has none

ctypedef struct plan_socket_t:   # options of server connections; servers share them
    uint32_t flags               # SOCKET_*
    uint32_t user_timeout_ms     # TCP_USER_TIMEOUT, 0 = kernel's
    uint32_t mss                 # TCP_MAXSEG, 0 = kernel's
    uint32_t keepalive_idle_s    # 0 = kernel's, as the next two
    uint32_t keepalive_interval_s
    uint32_t keepalive_count
    text_t interface             # to leave by, empty = any
    uint16_t source_family       # AF_INET, AF_INET6; 0 = no source address
    uint16_t source_len          # bytes of `source` in use
    uint16_t port_low            # range of source ports, 0 = kernel's choice
    uint16_t port_high
    uint8_t source[32]           # a sockaddr

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
    text_t path                  # with its query
    uint32_t needs_at            # offset of monitor_need_t[needs]
    uint32_t needs

ctypedef struct monitor_need_t:
    uint32_t backend             # index
    uint32_t least               # usable servers it must have

# Routes. What they lead to: policy/target.pxd.

ctypedef struct plan_route_t:    # of any frontend, in the order of the file; a frontend's default is one too
    text_t name                  # as configured, may be empty
    uint32_t number              # its place in the frontend's routes, from 1; 0 = the default
    uint8_t kind                 # TARGET_*
    uint8_t flags                # ROUTE_*
    int16_t retries              # instead of the backend's, -1 = that holds
    uint32_t target              # index of the backend, split, redirect or reply
    uint32_t methods             # bits by method_id, behind METHOD_PATCH by route_table_t.extra; 0 = any
    uint32_t conditions_at       # index of its first condition
    uint32_t conditions          # their number
    uint32_t connect_ms          # timeouts of its own, 0 = the backend's or frontend's holds
    uint32_t server_ms
    uint32_t tunnel_ms
    uint32_t client_ms
    uint32_t mirror              # index of its plan_mirror_t + 1, 0 = nothing is copied
    limit_list_t limits

ctypedef struct plan_condition_t:
    text_t name                  # of a field in lower case
    uint8_t kind                 # CONDITION_*
    uint8_t test                 # TEST_*
    uint16_t values              # TEST_IS: their number
    uint32_t values_at           # index of the first text

ctypedef struct plan_split_t:    # policy/split.pxd
    uint32_t shares_at           # index of its first share
    uint32_t shares
    plan_key_t key               # whose hash is the point, KEY_NONE = none
    text_t cookie                # name of the cookie with the point, empty = none
    text_t attributes            # what follows its value: "; Path=/; HttpOnly"

ctypedef struct plan_share_t:
    uint64_t identity            # of its backend's name
    uint32_t backend             # index
    uint32_t weight              # 0 = nothing

ctypedef struct plan_redirect_t:
    uint8_t kind                 # REDIRECT_*
    uint8_t flags
    uint16_t status
    uint32_t pieces_at           # index of its first piece
    uint32_t pieces
    uint32_t pad

ctypedef struct plan_piece_t:    # of a location
    text_t text
    uint32_t segment             # instead: this segment of the request's path, from 1; 0 = the text
    uint32_t pad

ctypedef struct plan_reply_t:
    text_t type                  # Content-Type, empty = none
    text_t body
    uint32_t headers_at          # index of the first of its texts: name, value, name, value...
    uint32_t headers             # number of pairs
    uint16_t status
    uint16_t pad0
    uint32_t pad

# How the routes of a frontend are found: policy/route.pxd. A `leaf` there is 0 (none), an odd number (twice the index of its
# only route, and 1) or an even one (twice the place, from 1, of its first entry in `leaves`).

ctypedef struct route_host_t:    # open addressing by route_hash(host, 0)
    text_t name                  # lower case, without port and closing dot; `.example.com` of a wildcard
    uint32_t hash
    uint32_t root                # its root node + 1, 0 = empty slot

ctypedef struct route_edge_t:    # open addressing by route_hash(segment, node)
    uint32_t node                # where it begins
    uint32_t hash
    text_t segment               # without slashes; may be empty (`/a//b`)
    uint32_t child               # the node behind it + 1, 0 = nothing is deeper
    uint32_t leaf                # of the exact path that ends here; neither = empty slot

ctypedef struct route_node_t:
    uint32_t prefix              # leaf of this path and all below it
    uint32_t exact               # leaf of just this path
    uint32_t edges               # edges that begin here: 0 spares the hashing
    uint32_t param               # the node behind a segment of any bytes + 1, 0 = none
    uint32_t param_leaf          # leaf of the exact path that ends with such a segment
    uint32_t parent              # twice the node in front, + 1 if the segment between may be any; a root: twice itself

ctypedef struct route_table_t:   # at plan_frontend_t.hosts_at
    uint64_t wildcards           # bit n: there are wildcards of n labels
    uint32_t hosts_at            # offset of route_host_t[hosts_size]
    uint32_t hosts_size          # a power of two
    uint32_t edges_at            # offset of route_edge_t[edges_size]
    uint32_t edges_size          # a power of two
    uint32_t nodes_at            # offset of route_node_t[nodes]
    uint32_t nodes
    uint32_t leaves_at           # offset of uint32_t[leaves]: twice the index of a route, + 1 if it is the last of its leaf
    uint32_t leaves
    uint32_t any_root            # root node + 1 of routes without a host, 0 = there are none
    uint32_t extra_at            # index of the first text: methods beyond method_id
    uint32_t extra               # their number
    uint32_t pad

ctypedef struct log_op_t:        # what programs are made of: policy/logformat.pxd
    text_t text                  # printed before its variable
    uint8_t kind                 # LOGOP_*
    uint8_t flags
    uint16_t pad0
    uint32_t number              # LOGOP_EXPRESSION: index of the expression; of captures: how many slots

ctypedef struct plan_log_t:      # a line of one sort for one target
    uint16_t target              # number of the supervisor's target: its place in Part.logs
    uint8_t format               # LOG_HAPROXY...
    uint8_t flags                # LOG_SKIP_NORMAL...
    uint16_t error_level         # severity of failures: LOG_ERROR, or what the target makes of it
    uint8_t least                # severities that rules set: the least grave one that the target takes,
    uint8_t gravest              # and the gravest that it is told
    uint32_t ops_at              # LOG_PROGRAM: index of its first op
    uint32_t ops                 # their number
    uint32_t room                # width of each op that shows the target
    uint32_t sample_size         # records of a period, 0 = all are written
    text_t sample                # a bit for each record of a period, lowest first: whether it is written

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
    uint32_t nlogops
    uint32_t logops_at           # offset of log_op_t[nlogops]
    uint32_t by_oid_at           # offset of uint32_t[by_oid_size]: open addressing by plan_oid_hash, server index + 1
    uint32_t by_oid_size         # a power of two, at most half full; 0 in a slot = empty
    uint32_t nmirrors
    uint32_t mirrors_at
    uint32_t nroutes
    uint32_t routes_at           # offset of plan_route_t[nroutes], and so on
    uint32_t nconditions
    uint32_t conditions_at
    uint32_t nsplits
    uint32_t splits_at
    uint32_t nshares
    uint32_t shares_at
    uint32_t nredirects
    uint32_t redirects_at
    uint32_t npieces
    uint32_t pieces_at
    uint32_t nreplies
    uint32_t replies_at
    uint32_t ntexts
    uint32_t texts_at            # offset of text_t[ntexts]: values, headers, methods
    uint32_t nsockets
    uint32_t sockets_at          # offset of plan_socket_t[nsockets]
    uint32_t workers             # that share what is for all; 0 = one, in the calling process
    uint32_t max_idle            # server connections without a stream, over all workers; PLAN_UNLIMITED
    uint32_t program_at          # offset of the program_t of policy/program.pxd, 0 = there are no rules
    uint32_t nlimits
    uint32_t limits_at           # offset of plan_limit_t[nlimits]: policy/limit.pxd
    uint32_t nlimit_lists
    uint32_t limit_lists_at      # offset of uint32_t[nlimit_lists]: indexes of limits, list by list
    uint32_t users_at            # offset of the users_t of policy/users.pxd, 0 = there are no user lists
    uint32_t names_at            # offset of uint32_t[names_size]: open addressing by route_hash of names of backends (seed 0:
    uint32_t names_size          # index + 1) and servers (seed: index of the backend + 1: nbackends + index + 1); 0 = empty

cdef inline plan_listener_t *plan_listener(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_listener_t *> (<char *> p + p.listeners_at)) + i

cdef inline plan_frontend_t *plan_frontend(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_frontend_t *> (<char *> p + p.frontends_at)) + i

cdef inline plan_backend_t *plan_backend(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_backend_t *> (<char *> p + p.backends_at)) + i

cdef inline plan_server_t *plan_server(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_server_t *> (<char *> p + p.servers_at)) + i

cdef inline plan_socket_t *plan_socket(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_socket_t *> (<char *> p + p.sockets_at)) + i

cdef inline plan_log_t *plan_log(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_log_t *> (<char *> p + p.logs_at)) + i

cdef inline plan_mirror_t *plan_mirror(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_mirror_t *> (<char *> p + p.mirrors_at)) + i

# Only for frontends whose flags say that there is one.
cdef inline const forwarding_t *plan_forwarding(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    return <const forwarding_t *> (<const char *> p + f.forwarding_at)

cdef inline const monitor_t *plan_monitor(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    return <const monitor_t *> (<const char *> p + f.monitor_at)

cdef inline plan_route_t *plan_route(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_route_t *> (<char *> p + p.routes_at)) + i

cdef inline plan_condition_t *plan_condition(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_condition_t *> (<char *> p + p.conditions_at)) + i

cdef inline plan_split_t *plan_split(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_split_t *> (<char *> p + p.splits_at)) + i

cdef inline plan_share_t *plan_share(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_share_t *> (<char *> p + p.shares_at)) + i

cdef inline plan_redirect_t *plan_redirect(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_redirect_t *> (<char *> p + p.redirects_at)) + i

cdef inline plan_piece_t *plan_piece(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_piece_t *> (<char *> p + p.pieces_at)) + i

cdef inline plan_reply_t *plan_reply(const plan_t *p, uint32_t i) noexcept nogil:
    return (<plan_reply_t *> (<char *> p + p.replies_at)) + i

cdef inline text_t *plan_texts(const plan_t *p, uint32_t i) noexcept nogil:
    return (<text_t *> (<char *> p + p.texts_at)) + i

cdef inline const log_op_t *plan_log_op(const plan_t *p, uint32_t i) noexcept nogil:
    return (<const log_op_t *> (<const char *> p + p.logops_at)) + i

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

# The index of the backend of this name, and of the server of this name that backend `backend` has; -1 = there is none.
cdef int64_t plan_backend_named(const plan_t *p, const char *name, size_t n) noexcept nogil
cdef int64_t plan_server_named(const plan_t *p, uint32_t backend, const char *name, size_t n) noexcept nogil

# The server with this object id, or NULL.
cdef plan_server_t *plan_server_by_oid(const plan_t *p, uint32_t oid) noexcept nogil
