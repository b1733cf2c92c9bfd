# The nouns of the relay and how they hold each other.
#
#     engine ──┬── client links (sessions) ── stream ── server link
#              ├── idle server links, by server; those of one client alone, by client
#              └── plans (generations)
#
# A link is one connection, of a client or to a server, with what its codec must remember. A stream is one request and
# its response, or one TCP relay; it joins two sides, a side being a stream's end on a link. An HTTP/1 link carries one
# stream at a time, a multiplexing link several; the relay knows a side only through its codec's table (codec_t).
#
# Ownership. The engine's pools own all memory. A client link lives from accept to link_free; a server link from connect
# until it is closed, idle ones in a list (relay/idle.pxd). A stream is freed by stream_free only, after both sides were
# finished or aborted; it owns its request and response messages and a reference to the plan it began with.
# The state of a multiplexing codec belongs to its link (link.state) and its stream's part to that (side.state).
# What is woken may free itself: after calling a wake, touch nothing that it could own.
#
# Every stream ends with exactly one termination state (end_cause, end_phase): the first one set wins.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from lb._speedups.base.clock cimport clock_t_
from lb._speedups.base.mapping cimport counters_t, mapping_t, worker_t
from lb._speedups.base.password cimport password_waiter_t, passwords_t
from lb._speedups.base.pool cimport pool_t
from lb._speedups.base.timers cimport lb_timer_t, timers_t
from lb._speedups.io.conn cimport conn_t, loop_t
from lb._speedups.io.flow cimport flow_pool_t, flow_t
from lb._speedups.io.sys cimport sockaddr_storage
from lb._speedups.policy.limit cimport limit_verdict_t
from lb._speedups.policy.logline cimport log_end_t, log_view_t, logline_t
from lb._speedups.policy.persistence cimport persisted_t
from lb._speedups.policy.table cimport TABLE_TRACKS, track_t
from lb._speedups.policy.plan cimport (
    LOG_TARGETS, plan_backend_t, plan_frontend_t, plan_mirror_t, plan_route_t, plan_server_t, plan_split_t, plan_t,
)
from lb._speedups.policy.crypto cimport crypto_t
from lb._speedups.policy.program cimport rule_t
from lb._speedups.policy.regex cimport regex_shelf_t
from lb._speedups.policy.regexes cimport regexes_t
from lb._speedups.policy.sample cimport SAMPLE_SCRATCH, address_t, eval_t, view_t
from lb._speedups.policy.variable cimport variable_pools_t, variables_t
from lb._speedups.proto.h1 cimport chunked_t
from lb._speedups.proto.message cimport message_t, span_t

cdef enum:
    BUFFER_SIZE = 16384          # bytes of every buffer
    SCRATCH_SIZE = 32768         # where heads are written before they are sent
    REQUEST_ID_MAX = 64          # bytes of a request id; those made here have 32 or 36
    INTERIM_MAX = 16             # 1xx responses forwarded for one request
    LINGER_MS = 1000             # how long a refused client may go on sending before the connection is cut
    LINGER_BYTES = 262144        # and how much
    TURNAROUND_MS = 1000         # pause before the same server is tried again

# --- sides and codecs ---

cdef enum offer_t:               # answers of codec_t.offer and codec_t.head
    OFFER_WAIT = 0               # nothing now; the side will be woken
    OFFER_DATA = 1               # a slice of body
    OFFER_END = 2                # the message has ended (trailers were read and dropped)
    OFFER_HEAD = 3               # side.head is complete
    OFFER_ABORT = -1             # ended too early or broken: side.fault says how
    OFFER_MEMORY = -2            # no buffer to be had

cdef enum fault_t:               # side_t.fault
    FAULT_NONE = 0
    FAULT_CLOSED                 # the peer closed where more was due
    FAULT_ERROR                  # the connection failed
    FAULT_SYNTAX                 # what came is not HTTP; side.reason is its h1_reason
    FAULT_RESET                  # the peer gave this stream up; its connection lives

cdef enum:                       # side_t.flags
    SIDE_IN_HEAD = 1 << 0        # its message's head was read
    SIDE_IN_END = 1 << 1         # its message was read to the end
    SIDE_OUT_HEAD = 1 << 2       # the other's head was written to it
    SIDE_OUT_END = 1 << 3        # the other's message was written to the end
    SIDE_GONE = 1 << 4           # finished or aborted: the codec knows it no more
    SIDE_LEFT = 1 << 5           # set by the codec: the peer sends no more on this side, and may have left
    SIDE_LOST = 1 << 6           # set by the codec: the peer has certainly left
    SIDE_LAST = 1 << 7           # set by the relay: what follows this message cannot be read or is not wanted

cdef enum:                       # answers of codec_t.waits
    WAITS_OUT = 1 << 0           # bytes written to this side have not left yet
    WAITS_IN = 1 << 1            # bytes of its message were read and not consumed

ctypedef struct slice_out_t:
    const char *p
    size_t n

ctypedef struct codec_t:
    const char *name
    # The link is connected (client: accepted). From here on the codec may take conn.wake and the timer over. 0, or -1
    # without memory: close the link.
    int (*open)(link_t *l) noexcept nogil
    # Give link.state back: the link closes. Called only when there is one.
    void (*free)(link_t *l) noexcept nogil
    # Client links, when the engine drains: take no stream that is not here yet, close when there is none.
    void (*drain)(link_t *l) noexcept nogil
    # Server side: its stream begins on this link, which has room for it; writes link.room anew.
    void (*attach)(side_t *s) noexcept nogil
    # Read a head (server side: a response). OFFER_HEAD sets side.head; the message belongs to the stream then.
    int (*head)(side_t *s) noexcept nogil
    # Show the next body bytes without taking them.
    int (*offer)(side_t *s, slice_out_t *out) noexcept nogil
    # Take n of the bytes offered; gives that much credit back to the sender.
    void (*consume)(side_t *s, size_t n) noexcept nogil
    # Write a head. 0, or -1: the connection failed or the head does not fit.
    int (*send_head)(side_t *s, message_t *m) noexcept nogil
    # Write body bytes; returns how many were taken (0 = no credit or blocked), or -1: the connection failed.
    ssize_t (*send_data)(side_t *s, const char *p, size_t n) noexcept nogil
    # Write a small body (at most 1 KiB) whole: kept where the connection does not take it now. 0 or -1.
    int (*send_whole)(side_t *s, const char *p, size_t n) noexcept nogil
    # The message written to this side is complete. 0 or -1.
    int (*send_end)(side_t *s) noexcept nogil
    # Push out what is held back for coalescing. 0 = all left, 1 = blocked, -1 = the connection failed.
    int (*flush)(side_t *s) noexcept nogil
    # What waits on this side: WAITS_*.
    int (*waits)(side_t *s) noexcept nogil
    # Wake the stream for this side in the next pass.
    void (*again)(side_t *s) noexcept nogil
    # Client side: offer the body from its beginning again (STREAM_REPLAY holds). 0, or -1: it cannot.
    int (*rewind)(side_t *s) noexcept nogil
    # Both messages of the stream have ended on this side and all was flushed: keep the link, or close it. The side is gone
    # afterwards.
    void (*finish)(side_t *s) noexcept nogil
    # End this side before its time. The side is gone afterwards.
    void (*abort)(side_t *s) noexcept nogil
    # The link's connection when bytes may pass between connections unseen (tunnel, plain bodies), else NULL.
    link_t *(*raw)(side_t *s) noexcept nogil

ctypedef struct side_t:
    const codec_t *codec         # NULL = no side yet
    link_t *link                 # the link it lives on
    void *state                  # the codec's own (multiplexing codecs: their stream)
    stream_t *stream
    message_t *head              # the head read last, owned by the stream
    lb_timer_t *timer            # the one deadline that applies to this side now: the link's, or its stream's on it
    uint64_t *active_ms          # when bytes last moved on it: the link's, or its stream's on it
    uint8_t flags                # SIDE_*
    uint8_t fault                # fault_t
    uint8_t reason               # h1_reason of FAULT_SYNTAX
    uint8_t interim              # 1xx heads seen

# --- links ---

cdef enum:                       # link_t.kind
    LINK_CLIENT = 1
    LINK_SERVER = 2

cdef enum:                       # link_t.flags
    LINK_TCP = 1 << 0            # no codec: bytes only
    LINK_REUSED = 1 << 1         # has carried a stream before
    LINK_IDLE = 1 << 2           # server: on its server's list, because it has room for a stream
    LINK_CLOSE = 1 << 3          # must not carry another stream
    LINK_BUFFERED = 1 << 4       # unread bytes of the next message are here: no event will announce them
    LINK_LINGER = 1 << 5         # reading and dropping before the close
    LINK_HEARD = 1 << 6          # a byte of the present message has arrived
    LINK_PROXY = 1 << 7          # client: waits for its PROXY header, without codec and stream
    LINK_BROKEN = 1 << 8         # bytes written to it were lost: nothing more is sent
    LINK_RESTING = 1 << 9        # server: listed and without a stream (relay/idle.pxd)
    LINK_EARLY = 1 << 10         # server: the server has not answered yet, the first bytes open the connection (fast open)
    LINK_KEEP_TLVS = 1 << 11     # client: TLVs of its PROXY header are kept
    LINK_PARKS = 1 << 12         # client: its requests are parked (debug)
    LINK_PROXIED = 1 << 13       # client: a PROXY header was read

cdef enum:                       # link_t.window_kind: whose memory the window is
    WINDOW_NONE = 0
    WINDOW_MESSAGE = 1           # the block of link.in, or of the stream's message
    WINDOW_BUFFER = 2            # a buffer of the link's own

ctypedef struct link_t:
    conn_t conn                  # first: a conn_t pointer is a link_t pointer
    engine_t *engine
    const codec_t *codec
    lb_timer_t timer             # the one deadline that applies now
    stream_t *stream             # NULL = none (multiplexing links: only while connecting)
    link_t *next                 # client: the engine's list; server: that of its server or its owner
    link_t *prev
    void *state                  # a multiplexing codec's, NULL = none
    uint8_t kind                 # LINK_CLIENT, LINK_SERVER
    uint8_t window_kind          # WINDOW_*
    uint16_t flags               # LINK_*
    # reading
    uint16_t at                  # window[at:end] are unread bytes
    uint16_t end
    uint16_t slice               # chunked: window[at:at+slice] is decoded data
    uint8_t body                 # framing_id of the message being read
    uint8_t body_done            # its end was reached
    uint8_t out_body             # framing_id of the message being written
    uint8_t bytes_seen           # LINK_PROXY: a byte has come
    uint16_t streams             # multiplexing links: streams on it now
    uint16_t room                # server: streams it can begin now
    char *window
    message_t *in_               # head being read; NULL = none begun
    uint64_t left                # FRAMING_LENGTH: bytes still to read. LINK_PROXY: bytes that the header may have
    chunked_t chunked
    # writing
    char *out                    # buffer with bytes the connection did not take yet, NULL = none
    uint16_t out_at
    uint16_t out_end
    uint32_t requests            # streams carried so far
    # client
    const plan_frontend_t *frontend  # valid while `generation` is the current one, or a stream holds its plan
    uint32_t frontend_oid
    uint32_t listener_oid
    uint64_t generation          # the generation its frontend was looked up in
    uint64_t accept_ms           # when it was accepted, or its last request ended; server: when it was opened
    uint64_t began_ms            # first byte of the present head (or the accept)
    uint64_t heard_ms            # first byte of the present head, of the first one too
    uint64_t linger              # bytes dropped while lingering
    uint16_t family              # its address
    uint16_t port                # host order
    uint8_t address[16]          # network order
    uint16_t to_port             # the port it came to, 0 = not asked for yet
    link_t *own                  # listed server links that serve this client only
    proxied_t *proxied           # what else its PROXY header told, NULL = nothing
    variables_t *variables       # that rules have set for as long as the connection lives, NULL = none
    tracked_t *tracked           # keys of stick tables that it holds, NULL = none
    # server
    uint32_t server_oid
    uint32_t max_requests        # carries no more streams than this, 0 = no limit
    uint64_t address_hash        # plan_server_t.link_hash it was opened by: a server whose address changed is another
    uint32_t idle_ms             # rests no longer than this
    uint64_t dies_ms             # carries no stream from then on, 0 = no limit
    link_t *owner                # the client it serves alone, NULL = any; lives longer than every stream of this link
    link_t *rest_next            # the engine's list of resting links
    link_t *rest_prev
    # both
    uint64_t active_ms           # bytes last moved on it (or it began to serve its stream)

# --- PROXY headers: relay/proxied.pxd ---

cdef enum:
    PROXIED_TLVS = 232           # bytes of TLVs that need no buffer

ctypedef struct proxied_t:
    uint16_t family              # where the client connected to: AF_INET, AF_INET6; 0 = not told
    uint16_t port                # host order
    uint16_t tlvs_len
    uint8_t address[16]          # network order
    char *tlvs                   # `own`, or a pooled buffer; NULL = none
    char own[PROXIED_TLVS]

# --- admission: relay/admit.pxd ---

ctypedef struct tracked_t:
    track_t tracks[TABLE_TRACKS]

# --- bodies that rules look at: relay/body.pxd ---

cdef enum:
    BODY_ROOM = 15360            # bytes of a body that are gathered at most

ctypedef struct body_t:          # stands in a pooled buffer
    uint32_t len                 # bytes gathered
    uint32_t at                  # of these, bytes that the server has taken
    uint64_t size                # of the whole body, as far as is known
    uint8_t ended                # it has not more bytes than these
    uint8_t pad[7]
    char bytes[BODY_ROOM]

# --- streams ---

cdef enum stage_t:               # stream_t.stage: the rules that come next, or wait
    STAGE_CONTENT = 0            # the frontend's content rules
    STAGE_REQUEST                # its request rules
    STAGE_BACKEND_CONTENT
    STAGE_BACKEND                # the backend's request rules
    STAGE_RESPONSE

cdef enum wait_t:                # stream_t.waits: what a parked stream waits for
    WAIT_DECISION = 0            # somebody else's, or nothing (`tarpit`)
    WAIT_BYTES                   # content rules: more bytes, or the end of inspect_ms
    WAIT_BODY                    # wait_for_body
    WAIT_PASSWORD                # an answer of base/password.pxd, for PASSWORD_MS at most
    WAIT_PAUSE                   # the end of a pause

cdef enum phase_t:               # stream_t.phase: where in its life it is (DESIGN: life of a request)
    PHASE_REQUEST = 0            # reading the head
    PHASE_PARKED                 # waiting for a decision that is made elsewhere
    PHASE_ASSIGN                 # choosing a server
    PHASE_CONNECT
    PHASE_SEND                   # request going out, no response yet
    PHASE_BODY                   # response head was sent on
    PHASE_TUNNEL
    PHASE_END

cdef enum:                       # stream_t.flags
    STREAM_HTTP = 1 << 0
    STREAM_REPLAY = 1 << 1       # the request can be sent again: all its bytes are still here
    STREAM_REUSED = 1 << 2       # on a reused server connection
    STREAM_REDISPATCHED = 1 << 3
    STREAM_REPLIED = 1 << 4      # answered by lb itself
    STREAM_UPGRADE = 1 << 5      # the client asked for an upgrade
    STREAM_QUIET = 1 << 6        # no access log record
    STREAM_LOGGED = 1 << 7
    STREAM_RESENT = 1 << 8       # was sent again after a stale connection
    STREAM_UP_FLOW = 1 << 9      # `up` is in use
    STREAM_DOWN_FLOW = 1 << 10   # `down` is in use
    STREAM_HALF = 1 << 11        # one direction has ended, and the deadline that runs is client_fin or server_fin
    STREAM_PICKED = 1 << 12      # counted as current on backend and server
    STREAM_DEFERRED = 1 << 13    # waits for its turnaround
    STREAM_COPY = 1 << 14        # a mirrored request: nobody waits for its answer, and its frontend does not count it
    STREAM_ANSWER = 1 << 15      # mode tcp: rules still look at the server's first bytes

ctypedef struct stream_t:
    side_t client
    side_t server
    engine_t *engine
    void (*wake)(stream_t *st, side_t *who) noexcept nogil     # something happened on this side; may free the stream
    void (*timeout)(stream_t *st, side_t *who) noexcept nogil  # the side's deadline has passed; may free the stream
    plan_ref_t *plan             # the generation it began with, referenced
    const plan_frontend_t *frontend
    const plan_backend_t *backend    # NULL = none chosen
    const plan_server_t *server_at   # NULL = none chosen
    const plan_route_t *route        # NULL = none found yet, or none
    const plan_route_t *times        # the route if it has timeouts or retries of its own, else NULL
    const plan_split_t *sticky       # of the cookie that the answer must bring, NULL = none
    uint64_t point                   # and its value
    const char *reply_at             # body of an answer made here that the client did not take yet
    uint32_t reply_left              # its bytes
    char *reply_buffer               # a buffer that holds it, when a rule made it; NULL = none
    uint32_t allowed                 # 405: the methods that would have found a route, 0 = those that lb knows
    message_t *request
    message_t *response
    uint8_t phase                # phase_t
    char end_cause               # termination state: 0 = not ended yet
    char end_phase
    uint8_t reason               # h1_reason or proxy_reason to log, 0 = none
    uint16_t flags               # STREAM_*
    uint16_t status              # answered, 0 = none
    uint16_t retries             # connection attempts beyond the first
    uint8_t id_len               # bytes of `id`, 0 = it has none yet
    uint16_t port                # the client's, as the log and balancing see it: its connection's, or who a trusted proxy
    uint16_t family              # says it is
    uint8_t address[16]
    uint64_t handle              # what a parked stream is resumed by; never a pointer, never used twice
    uint32_t failed_oid          # server to avoid: its connection failed
    span_t asked_method          # what the client asked for, kept for the log when rules may edit it; len 0 = not edited
    uint16_t held                # status that a request held by `tarpit` is answered with, 0 = it is not held
    uint32_t use_backend         # index + 1 of the backend that a rule chose, 0 = routes decide
    uint8_t stage                # stage_t
    uint8_t waits                # wait_t
    uint8_t is_final             # rules that wait are looked at a last time
    uint8_t lax                  # verdict_t.lax of the rules that wait
    uint32_t rule_at             # the rule of its stage that is looked at next
    uint32_t mirror_rule         # of the route or rule that chose its backend: index of a mirror + 1, 0 = none
    uint32_t seen                # most bytes that a look has shown
    uint64_t wait_ms             # when the waiting ends
    uint64_t wanted              # WAIT_BODY: bytes that are enough, 0 = all
    body_t *body                 # what was gathered of the request's, NULL = nothing
    uint64_t accept_us           # times for the log: CLOCK_REALTIME us of the request's start
    uint64_t start_ms            # CLOCK_MONOTONIC ms of it
    uint32_t idle_ms             # before it, from the accept or the end of the last request
    uint32_t number              # among the streams of this engine
    int64_t request_ms           # relative: head complete
    int64_t connect_ms           # relative to assignment: connected, -1 = not
    int64_t response_ms          # relative to connect: response head, -1 = none
    uint64_t assigned_ms
    uint64_t connected_ms
    uint64_t bytes_in            # from the client, heads included
    uint64_t bytes_out           # to the client
    stream_t *next               # the engine's list
    stream_t *prev
    mirror_t *mirror             # what is gathered for a copy of its request, NULL = nothing
    track_t tracks[TABLE_TRACKS]  # keys of stick tables that it holds
    variables_t *variables       # that rules have set, and captures; NULL = none
    const rule_t *last_rule      # the last that ended a list, NULL = none
    limit_verdict_t limited      # what rate limits said of it
    persisted_t persisted        # how it came to its server
    settings_t *settings         # what rules have set on it, NULL = nothing
    # Not zeroed, from `up` on, because a stream costs a memset: whoever sets the condition writes them first.
    flow_t up                    # STREAM_UP_FLOW: client to server, unseen (TCP, tunnel, large bodies)
    flow_t down                  # STREAM_DOWN_FLOW: server to client
    log_end_t local              # LOGS_ENDS: where the client connected to
    log_end_t source             # LOGS_ENDS and connect_ms >= 0: where the server connection comes from
    span_t asked_target          # asked_method.len != 0
    span_t asked_path
    span_t asked_host
    char id[REQUEST_ID_MAX]      # id_len != 0: request id

# --- what rules have set on a stream: relay/settings.pxd ---

ctypedef struct settings_t:
    uint32_t client_ms           # timeouts, 0 = not set
    uint32_t server_ms
    uint32_t tunnel_ms
    uint32_t use_server          # index + 1 of the server it shall have, 0 = balancing decides
    address_t destination        # where the client connected to, family 0 = its socket tells
    uint8_t log_level            # severity of its records + 1, 0 = that of their targets
    message_t *hints             # head of the 103 that is being gathered, NULL = none
    password_waiter_t password   # what it has asked of a password,
    uint8_t asked                # and how often
    const rule_t *held           # the `tarpit` that holds it and says what is answered, NULL = none

# --- mirroring: relay/mirror.pxd ---

ctypedef struct mirror_t:
    link_t link                  # of a copy: stands where its client's would; never connected, on no list
    lb_timer_t life              # of a copy: how long it may take
    const plan_mirror_t *rule    # of the stream's generation
    char *first                  # chain of pooled buffers with the body: the next one's address, then bytes; NULL = none
    char *last
    size_t length                # bytes of body gathered
    size_t at                    # of these, bytes taken by the copy's server

# --- generations and the engine ---

ctypedef struct plan_ref_t:
    const plan_t *plan
    uint64_t size
    uint64_t generation
    uint32_t streams             # streams that began with it
    uint32_t noids               # entries of `frontends`
    uint32_t *frontends          # by oid: index of the frontend + 1, 0 = not one
    uint32_t sampled[LOG_TARGETS]    # by target: place in its sample's period
    regexes_t regexes            # compiled while it is prepared
    plan_ref_t *next             # the engine's list, newest first

ctypedef struct idle_t:          # connections of one server in this worker that have room for a stream
    link_t *head                 # most recently used first
    link_t *tail
    uint32_t resting             # of them without a stream
    uint32_t most                # of these, in this worker

ctypedef struct listen_t:        # a listening socket
    int fd
    uint32_t oid                 # its listener
    bint shared                  # other workers accept from it too
    void *udp                    # its udp_listener_t, NULL = connections are accepted
    int stash                    # accepted when a limit was reached: waits here as in the kernel's queue; -1 = none
    sockaddr_storage stash_address
    listen_t *next

ctypedef struct engine_t:
    loop_t loop
    timers_t timers
    clock_t_ clock
    mapping_t *mapping
    worker_t *worker
    counters_t *rows             # this worker's row 0 object: index with an oid
    char *ring                   # this worker's log ring
    uint32_t slot
    uint8_t draining
    uint8_t debug
    uint8_t resume               # a limit has room again
    uint8_t switched             # a new generation has come into use
    uint64_t now_ms
    uint64_t now_us              # CLOCK_REALTIME us, read when first needed in a step, 0 = not yet
    plan_ref_t *plans            # all mapped plans
    plan_ref_t *current          # NULL = none
    link_t *clients              # all client links
    stream_t *streams            # all streams
    listen_t *listening
    idle_t *idle                 # by server oid, MAPPING_OBJECTS of them
    uint32_t process_oid         # object that counts the process's connections
    uint32_t connections         # client links
    uint32_t resting             # listed server links without a stream, those of clients included
    uint32_t rest_most           # of these
    uint32_t descriptors         # that this process may have
    uint32_t next_port           # counts the ports tried of ranges (relay/dial.pxd)
    link_t *rest_head            # resting links, used last first
    link_t *rest_tail
    uint32_t datagram_sessions   # sessions of mode udp
    void *udp                    # its udp_t, NULL = never had a datagram socket
    pool_t link_pool
    pool_t stream_pool
    pool_t message_pool
    pool_t buffer_pool
    pool_t mirror_pool
    pool_t proxied_pool
    variable_pools_t variable_pools
    pool_t settings_pool
    pool_t tracked_pool
    flow_pool_t flows
    logline_t logline
    uint32_t streams_begun       # ever, for their numbers
    uint32_t *logged             # by frontend oid: streams that were logged
    codec_t h1                   # the HTTP/1 codec's table
    codec_t mux                  # debug builds: that of the multiplexing codec
    codec_t mirror               # that of the client side of copies
    uint32_t *copies             # by backend oid, MAPPING_OBJECTS of them: mirrored requests being gathered or under way
    uint64_t random              # what is drawn next
    uint64_t parked              # handles given to parked streams so far
    uint64_t dealt               # clients dealt to shares at random so far
    uint64_t id_prefix           # of request ids
    uint64_t id_next
    # what rules look at and write to; good for one evaluation
    passwords_t passwords
    view_t view
    eval_t eval
    log_view_t record            # PROGRAM_RECORD
    regex_shelf_t shelf
    uint64_t limits_told         # shelf.limits when that was said last
    uint64_t limits_ms           # and when it may be said again
    crypto_t crypto
    uint8_t counts_rates         # the current plan asks for rates
    char rule_scratch[SAMPLE_SCRATCH]
    char peeked[BUFFER_SIZE]     # bytes of a connection that were looked at and not taken
    # what is written but not sent within one pump
    link_t *scratch_link         # whose bytes are in the scratch, NULL = none
    uint32_t scratch_used
    char scratch[SCRATCH_SIZE]
