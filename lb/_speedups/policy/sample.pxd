# Samples: typed values that rules look at, and what surrounds their evaluation.
#
# A *fetch* takes a sample from the stream, *converters* change it, an expression is one fetch and the converters behind
# it (policy/program.pxd). Types, casts and results are HAProxy's (configuration manual 7.3), bit for bit.
#
# Memory. The bytes of a sample stand in a message, in the plan, or in the evaluation's scratch: a bump arena of the
# worker, emptied before each rule. Nothing allocates, and what outlives a rule is copied by who keeps it. A sample
# whose bytes do not fit the scratch is "not found", and the evaluation counts it.
#
# The view is all that policy sees of a stream: relay fills it once per stream that meets a rule, and keeps it right when
# the stream moves on (a backend is chosen, a response arrives). A pointer that is NULL there means "not yet" or "never":
# a fetch that needs it finds nothing.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lb._speedups.base.ledger cimport ledger_t
from lb._speedups.base.mapping cimport counters_t, mapping_t
from lb._speedups.base.password cimport passwords_t
from lb._speedups.policy.crypto cimport crypto_t
from lb._speedups.policy.logline cimport log_view_t, logline_t
from lb._speedups.policy.plan cimport plan_backend_t, plan_frontend_t, plan_server_t, plan_t, text_t
from lb._speedups.policy.regex cimport regex_budget_t, regex_shelf_t, regex_t
from lb._speedups.policy.table cimport track_t
from lb._speedups.policy.variable cimport variable_pools_t, variables_t
from lb._speedups.proto.message cimport message_t

cdef enum:
    SAMPLE_SCRATCH = 65536       # bytes of a worker's scratch
    SAMPLE_TEXT_MAX = 16384      # bytes of one string sample that a converter makes

cdef enum sample_type:           # of a value; SAMPLE_ANY and SAMPLE_ADDR only in declarations
    SAMPLE_ANY = 0
    SAMPLE_BOOL
    SAMPLE_SINT
    SAMPLE_ADDR                  # either kind of address
    SAMPLE_IPV4
    SAMPLE_IPV6
    SAMPLE_STR
    SAMPLE_BIN
    SAMPLE_METH
    SAMPLE_TYPES

cdef enum:                       # sample_t.flags
    SAMPLE_MORE = 1 << 0         # iterating: the fetch has another value behind this one
    SAMPLE_CONST = 1 << 1        # the bytes must not be changed in place (they are a message's or the plan's)

cdef enum:                       # answers of fetches, converters, expressions
    SAMPLE_NONE = 0              # nothing there
    SAMPLE_FOUND = 1
    SAMPLE_WAIT = 2              # more must arrive before anybody can tell

ctypedef struct sample_t:
    uint8_t type                 # sample_type
    uint8_t flags                # SAMPLE_*
    uint8_t method               # SAMPLE_METH: method_id; METHOD_OTHER has its bytes at p
    uint8_t pad
    uint32_t len                 # SAMPLE_STR, SAMPLE_BIN, SAMPLE_METH: bytes at p
    const char *p
    int64_t i                    # SAMPLE_BOOL, SAMPLE_SINT
    uint8_t address[16]          # SAMPLE_IPV4 (4 bytes), SAMPLE_IPV6; network order

ctypedef struct address_t:
    uint16_t family              # AF_INET, AF_INET6, AF_UNIX, 0 = not known
    uint16_t port                # host order
    uint8_t bytes[16]            # network order

# What policy cannot see because it costs a system call, or is a connection's alone, is asked of whoever filled the view: fetch
# number `code` (of FETCHES_SOCKET) with the argument `n`. SAMPLE_FOUND or SAMPLE_NONE; bytes of a sample belong to the stream.
ctypedef int (*ask_t)(void *stream, unsigned int code, int64_t n, sample_t *s) noexcept nogil

ctypedef struct view_t:
    const plan_t *plan
    mapping_t *mapping
    counters_t *rows             # of this worker
    ledger_t *ledger             # of this worker, NULL = there are no tables
    track_t *tracks              # the stream's TABLE_TRACKS, NULL = there is no stream
    const plan_frontend_t *frontend
    const plan_backend_t *backend    # NULL = none chosen yet
    const plan_server_t *server      # NULL = none chosen yet
    regex_t **regexes            # of the plan, by index (policy/regexes.pxd)
    const message_t *request     # NULL = none was read
    const message_t *response
    address_t source             # the client's, as the session knows it
    address_t destination        # where it connected to
    uint32_t listener_oid
    uint32_t requests            # requests on this connection before this one
    uint64_t now_ms              # CLOCK_MONOTONIC
    uint64_t now_us              # CLOCK_REALTIME, of the step
    const char *id               # the request id; NULL = none
    uint16_t status              # of the answer, 0 = none yet
    uint8_t stopping             # the worker drains
    uint8_t id_len
    uint8_t is_final             # what is not here will not be waited for
    uint8_t pad[3]
    variable_pools_t *pools      # of this worker, NULL = nothing can be kept
    variables_t **variables      # the stream's, NULL = there is no stream
    variables_t **session        # the client connection's, NULL = there is none
    const log_view_t *record     # what a record would say now, NULL = nobody asks (PROGRAM_RECORD)
    logline_t *line              # the worker's state of times in records
    uint32_t last_line           # line of the last rule that ended a list, 0 = none
    uint32_t pad1
    void *stream                 # for `ask` alone
    ask_t ask                    # NULL = there are no connections
    passwords_t *passwords       # who knows which passwords are right, NULL = nobody
    track_t *session_tracks      # the connection's TABLE_TRACKS, NULL = it tracks nothing
    # Bytes of the connections themselves, where rules look at these (mode tcp); NULL = they do not.
    const char *payload          # the client's
    const char *answer           # the server's
    uint32_t payload_len
    uint32_t answer_len
    const char *body             # the request's, as much of it as was waited for; NULL = nothing was
    uint64_t body_size           # of all of it, as far as is known
    uint32_t body_len
    uint32_t pad2

ctypedef struct iterator_t:      # where a fetch with several values stands; all zero at the beginning
    uint32_t field               # index of the header field + 1
    uint32_t at                  # offset in its value, or in the query

ctypedef struct eval_t:
    const view_t *view
    char *scratch                # SAMPLE_SCRATCH bytes
    uint32_t used
    uint32_t overflows           # samples that did not fit
    uint64_t random              # state of a PRNG
    crypto_t *crypto             # of the worker; NULL = digests find nothing
    bint changes                 # what was fetched may be another when more has arrived: set by fetches, unless view.is_final
    bint iterating               # a test looks at every value in turn: `iterator` is in use
    iterator_t iterator
    regex_shelf_t *shelf         # of this worker
    regex_budget_t budget        # of this rule; `calls` is set to 0 before each
    bint erred                   # a regular expression reached a limit in this rule: what was found is not the truth

# n bytes of scratch, or NULL (and counted).
cdef inline char *sample_room(eval_t *c, size_t n) noexcept nogil:
    cdef char *at
    if n > SAMPLE_SCRATCH - c.used:
        c.overflows += 1
        return NULL
    at = c.scratch + c.used
    c.used += <uint32_t> n
    return at

cdef inline void sample_text(sample_t *s, const char *p, size_t n, uint8_t flags) noexcept nogil:
    s.type = SAMPLE_STR
    s.flags = flags
    s.p = p
    s.len = <uint32_t> n

cdef inline int sample_int(sample_t *s, int64_t i) noexcept nogil:
    s.type = SAMPLE_SINT
    s.flags = 0
    s.i = i
    return SAMPLE_FOUND

cdef inline int sample_bool(sample_t *s, bint b) noexcept nogil:
    s.type = SAMPLE_BOOL
    s.flags = 0
    s.i = b
    return SAMPLE_FOUND

# A sample of `text` (of the plan), type string.
cdef inline int sample_plan_text(const eval_t *c, text_t text, sample_t *s) noexcept nogil:
    sample_text(s, <const char *> c.view.plan + text.at, text.len, SAMPLE_CONST)
    return SAMPLE_FOUND

# Turn a sample into another type, in place. SAMPLE_FOUND or SAMPLE_NONE. Every cast that HAProxy has is here, and no other.
cdef int sample_cast(eval_t *c, sample_t *s, uint8_t type) noexcept nogil

# Whether there is such a cast; the same table that lb/language knows.
cdef bint sample_casts(uint8_t from_, uint8_t to) noexcept nogil

# Put text of an integer, and of an address (64 bytes are enough for either), at `out`; its length.
cdef size_t sample_put_int(int64_t n, char *out) noexcept nogil
cdef size_t sample_put_address(const sample_t *s, char *out) noexcept nogil

# Read an address of n bytes of text, IPv4 in dotted form or IPv6; 0 or -1.
cdef int sample_read_address(const char *p, size_t n, sample_t *s) noexcept nogil

# A leading signed decimal number, as HAProxy's read_int64 reads it: 0 when there is none, saturated when it is too large.
cdef int64_t sample_read_int(const char *p, size_t n, size_t *used) noexcept nogil

# What the `_val` fetches make of text, as HAProxy's strl2ic: 32 bits that wrap, up to the first byte behind `9`; bytes before
# `0` count as digits below it.
cdef int64_t sample_read_number(const char *p, size_t n) noexcept nogil
