# Persistence: a client comes back to the server it had, by a cookie or by an entry of a stick table.
#
# Cookies are HAProxy's (manual 4.2, `cookie`), byte for byte. The one of a backend has the value of a server, perhaps with two
# dates behind bars: of the last visit and the first one, in units of 4 seconds since 1970, as 5 digits of base 64. In prefix mode
# it is the application's own cookie with the server's value and `~` in front. What stands in a Cookie field is read and
# changed in place, so the server sees the rest of the field where it was; blanks around `=` go.
#
# Stick rules (stick_t) are asked after the cookie, in order. A match leads to the server whose object id the entry keeps: it
# is found by name in this backend if another one stored it, so tables can be shared. What is to be stored is found when the
# server has answered, from the request as it was sent and the answer as it came; of several rules for one table the first
# that has a key counts.
#
# A server that is down is not led to, unless the backend says `persist` or a rule of `force`. Weight and backup do not
# matter: who was there comes back. Where a rule of `ignore` holds, cookies are neither believed nor set.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from lb._speedups.policy.balance cimport balance_t
from lb._speedups.policy.plan cimport plan_backend_t, plan_server_t, plan_t, text_t
from lb._speedups.policy.sample cimport eval_t
from lb._speedups.proto.message cimport message_t

cdef enum:                       # persistence_t.flags
    PERSIST_INSERT = 1 << 0      # modes: at most one; none = only read
    PERSIST_REWRITE = 1 << 1
    PERSIST_PREFIX = 1 << 2
    PERSIST_INDIRECT = 1 << 3
    PERSIST_NOCACHE = 1 << 4
    PERSIST_PRESERVE = 1 << 5
    PERSIST_POSTONLY = 1 << 6
    PERSIST_DOWN = 1 << 7        # to servers that are down too
    PERSIST_NO_REDISPATCH = 1 << 8   # never to another one than its own

cdef enum:                       # stick_t.flags
    STICK_MATCH = 1 << 0
    STICK_STORE_REQUEST = 1 << 1
    STICK_STORE_RESPONSE = 1 << 2
    STICK_UNLESS = 1 << 3

cdef enum:                       # most of a backend
    STICKS_MAX = 32
    STICK_STORES = 8             # tables that one stream is stored in

ctypedef struct persistence_t:   # at plan_backend_t.persistence_at
    text_t name                  # of the cookie, empty = none
    text_t tail                  # what follows its value in Set-Cookie: `; path=/; HttpOnly`
    text_t removal               # what follows its name when it is taken back: `=; Expires=...; path=/`
    uint32_t flags               # PERSIST_*
    int32_t max_idle_s           # 0 = any
    int32_t max_life_s
    uint32_t sticks_at           # offset of stick_t[sticks]
    uint32_t sticks
    uint32_t exceptions_at       # offset of stick_t[exceptions]: conditions only
    uint32_t exceptions
    uint32_t forces              # of these: the first ones force, the others ignore
    uint32_t pad

ctypedef struct stick_t:
    uint64_t table_at            # place of the stick table in the mapping
    uint32_t flags               # STICK_*
    uint32_t expr                # of the key
    uint32_t cond                # index + 1, 0 = always
    uint32_t pad

cdef enum:                       # persisted_t.flags
    PERSISTED_DIRECT = 1 << 0    # it goes to the server that a cookie or an entry named
    PERSISTED_FORCED = 1 << 1    # also if that is down
    PERSISTED_IGNORED = 1 << 2
    PERSISTED_NAMED = 1 << 3     # a rule has chosen its server already

ctypedef struct persisted_t:     # of a stream; zero = nothing was asked
    uint8_t cookie               # what the request's cookie was: I D V E O U as in the log, 0 = there was none
    uint8_t set_                 # what became of the answer's: P D I R U, 0 = nothing
    uint8_t flags                # PERSISTED_*
    uint8_t pad
    uint32_t server              # object id of the server that it must have, 0 = balance decides
    int32_t first_s              # dates of the request's cookie, s of CLOCK_REALTIME; 0 = none
    int32_t last_s

cdef inline const persistence_t *persistence_of(const plan_t *p, const plan_backend_t *b) noexcept nogil:
    return <const persistence_t *> (<const char *> p + b.persistence_at)

# Look at the persistence cookie of a request, and change what the server will see of it; the view of `c` is that of the
# stream, with its backend. What is found goes into `out`.
cdef void persistence_request(eval_t *c, message_t *m, balance_t *balance, persisted_t *out) noexcept nogil

# Change the cookies of an answer from this server. 0, or -1: no room.
cdef int persistence_response(
    eval_t *c, const plan_server_t *server, const message_t *request, message_t *m, persisted_t *st
) noexcept nogil

# Remember the server where rules say so; the answer is in the view.
cdef void persistence_store(eval_t *c, const plan_server_t *server) noexcept nogil
