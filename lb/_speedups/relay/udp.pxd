# Datagrams: sessions between clients and servers, and flows that need none.
#
# A *session* is what a client address and port, seen on one listening socket and one local address, has with one server:
# its datagrams go there until the session ends. It has a socket of its own, connected to that server, so that the kernel
# refuses answers from anywhere else and tells when nobody listens there (ICMP). It ends when the answers that were due
# have come (`responses`, and after `requests` datagrams if that is said), or by its deadline: the server's while an answer
# is due, else the client's. Nothing is ever queued: what a socket does not take is dropped and counted.
#
# Without answers (`responses: 0` and no `requests`) there are no sessions: each datagram is balanced alone, and leaves
# through one connected socket a server (udp_oneway_t). What comes back there is dropped.
#
#     listening socket ─ udp_listener_t ─┬─ keyed table ─ udp_session_t ─ connected socket
#       (in the epoll set, input only)   └─ udp_oneway_t ─ connected socket, one a server
#
# Batches. A listening socket is read UDP_BATCH datagrams at a time; those for one server socket leave in one sendmmsg.
# Answers of all sessions gather in the `out` batch and leave when it is full and after each round of events, in one
# sendmmsg a listening socket. udp_flush() is that end of a round.
#
# Room. A session is counted in the gauges of process and frontend as a connection is. At a limit, at UDP_SESSIONS_MAX of a
# frontend in this worker, and without descriptors the least recently used session of the frontend ends for the new one:
# a flood of forged addresses cannot lock out who comes after it. One that has none to end drops the datagram.
#
# A *retired* session is out of the table: it gets no more datagrams, and ends when what is due has come, or after
# UDP_LINGER_MS. Sessions retire when a reload takes their server, their backend or their socket away, when their number of
# datagrams is reached, and when the worker drains because others take its sockets over.
#
# A server that refuses (ICMP) is left: what was being sent when that was heard goes to another one, else the session ends;
# new sessions avoid the server for UDP_AVOID_MS.
#
# Ownership. udp_t belongs to the engine and is made with its first datagram socket. Sessions are objects of its pool; a
# session refers to its listener, its plan and its front. A closed listener lives on, for answers, until its last session
# has gone.
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from lb._speedups.base.keyed cimport keyed_age_t, keyed_node_t, keyed_t
from lb._speedups.base.pool cimport pool_t
from lb._speedups.base.timers cimport lb_timer_t
from lb._speedups.io.conn cimport conn_t
from lb._speedups.io.sys cimport iovec, mmsghdr
from lb._speedups.io.udp cimport UDP_BATCH, udp_address_t, udp_batch_t
from lb._speedups.policy.plan cimport plan_backend_t, plan_frontend_t, plan_server_t
from lb._speedups.relay.relay cimport engine_t, plan_ref_t

cdef enum:
    UDP_SESSIONS_MAX = 65536     # sessions of a frontend in one worker
    UDP_ROUNDS = 8               # batches of a listening socket in one wake
    UDP_ANSWERS = 16             # datagrams of a server socket in one call
    UDP_LINGER_MS = 1000         # how long a retired session that owes nothing is kept for late answers
    UDP_AVOID_MS = 1000          # how long new sessions avoid a server that refused
    UDP_PROXY = 256              # room for a PROXY header: PROXY_WRITE_MAX

cdef enum:                       # udp_session_t.flags
    UDP_KEYED = 1 << 0           # in the table
    UDP_PICKED = 1 << 1          # booked on its server
    UDP_RETIRED = 1 << 2         # gets no more datagrams, and waits only for what is due
    UDP_HEADED = 1 << 3          # its first datagram, with a PROXY header, has left

ctypedef struct udp_front_t:     # a frontend in this worker
    uint32_t oid
    uint32_t users               # listeners and sessions that refer to it
    keyed_age_t sessions         # least recently used first
    udp_front_t *next

ctypedef struct udp_listener_t:
    conn_t conn                  # first: a conn_t pointer is a udp_listener_t pointer
    engine_t *engine
    uint32_t oid
    uint32_t number              # of this socket, never used twice: part of the keys
    uint32_t sessions            # that answer through it
    uint16_t family              # of the socket
    bint is_any                  # bound to a wildcard: datagrams say where they went
    bint closing                 # begins nothing new
    bint deaf                    # closing, and not read any more
    udp_address_t local          # what it is bound to
    # of the generation it was last looked up in
    uint64_t generation
    const plan_frontend_t *frontend   # NULL = that generation does not have it
    const plan_backend_t *backend
    udp_front_t *front
    udp_listener_t *next

ctypedef struct udp_session_t:
    conn_t conn                  # first; to the server
    keyed_node_t node
    lb_timer_t timer
    engine_t *engine
    udp_listener_t *listener
    udp_front_t *front
    plan_ref_t *plan             # the generation it began with, referenced
    const plan_frontend_t *frontend
    const plan_backend_t *backend
    const plan_server_t *server  # NULL = none: the session is about to end, or to be sent elsewhere
    uint32_t flags               # UDP_*
    uint32_t listener_oid
    uint32_t failed_oid          # the server it was refused by last, 0 = none
    uint16_t retries             # servers it was moved from
    char end_cause               # termination state; also why it has no server now, 0 = it has one
    char end_phase
    udp_address_t client
    udp_address_t local          # what the client asked; family 0 = not known
    uint64_t requests            # datagrams from the client
    uint64_t answers             # and to it
    uint64_t bytes_in
    uint64_t bytes_out
    uint64_t accept_us           # CLOCK_REALTIME us of its first datagram
    uint64_t start_ms
    int64_t answer_ms            # relative: first answer, -1 = none
    uint64_t asked_ms            # last datagram from the client
    uint64_t active_ms           # last datagram either way

ctypedef struct udp_oneway_t:    # the socket to a server that answers nothing
    conn_t conn                  # first
    engine_t *engine
    uint32_t server_oid
    uint32_t backend_oid
    uint64_t address_hash        # plan_server_t.link_hash it was opened by
    udp_oneway_t *next

ctypedef struct udp_t:
    keyed_t table
    pool_t session_pool
    pool_t oneway_pool
    udp_listener_t *listeners
    udp_front_t *fronts
    udp_oneway_t **oneways       # by server oid
    udp_oneway_t *oneway_list
    uint64_t *failed_until_ms    # by server oid: new sessions avoid it until then
    uint32_t numbers             # given to listeners so far
    uint32_t filled              # targets decided of the batch being taken
    udp_listener_t *reading      # whose batch that is: not to be freed now
    udp_listener_t *out_listener  # whose answers are in `out`
    # the batch being taken
    void *targets[UDP_BATCH]     # a session or a one-way socket, NULL = dropped or sent
    udp_address_t peers[UDP_BATCH]
    udp_address_t locals[UDP_BATCH]
    mmsghdr up[UDP_BATCH]        # to one server
    iovec up_pieces[UDP_BATCH][2]
    char proxies[UDP_BATCH][UDP_PROXY]
    udp_batch_t in_
    # answers on their way
    udp_batch_t out
    uint32_t out_oids[UDP_BATCH]  # the frontend of each

# Listen on a bound datagram socket for listener `oid`; owns fd from now on. NULL with errno (fd is closed).
cdef udp_listener_t *udp_listen(engine_t *e, uint32_t oid, int fd) noexcept nogil

# Begin nothing new on it. With `stays` sessions go on being read; without, they retire. It goes with the last of them.
cdef void udp_unlisten(udp_listener_t *ul, bint stays) noexcept nogil

# Take what has arrived, a bounded part of it.
cdef void udp_read(udp_listener_t *ul) noexcept nogil

# Take all that has arrived: what the kernel let in before the generation changed is served.
cdef void udp_empty(udp_listener_t *ul) noexcept nogil

# Send the answers that were gathered.
cdef void udp_flush(engine_t *e) noexcept nogil

# A new generation is in use: retire what it does not have.
cdef void udp_switched(engine_t *e) noexcept nogil

# End everything; the pools are left to be asked, udp_free() gives the rest back.
cdef void udp_stop(engine_t *e) noexcept nogil
cdef void udp_free(engine_t *e) noexcept nogil

cdef inline udp_t *udp_of(engine_t *e) noexcept nogil:
    return <udp_t *> e.udp
