# Log formats that a configuration makes: programs in the plan image, one op for each variable.
#
# An op writes the literal text in front of its variable, then the variable. HAProxy's language (`%ci:%cp [%tr] %{+Q}r`) and
# chosen JSON fields are both read by lb/config/logformat.py, which knows the names; here are numbers only. What HAProxy prints
# for a flag that has no meaning for a variable is decided there too: an op has just the flags that change something.
#
# Blanks need no code: HAProxy merges neighbouring blanks while it writes, but only variables that print nothing could bring
# two together, and which these are is known when the format is read.
#
# Length. Each op has a width that it never passes, except those that show the request target, captures and expressions ("open"
# ones): these share what the widths of the others leave of LOGLINE_CAP. That is computed where the plan is made and checked by
# logformat_check.pyx, so that nothing is checked while a line is written.
from libc.stdint cimport int64_t, uint32_t

from lb._speedups.policy.logline cimport log_view_t, logline_t
from lb._speedups.policy.plan cimport log_op_t, plan_log_t, plan_t
from lb._speedups.policy.sample cimport eval_t

cdef enum:
    LOGFORMAT_OPEN_MIN = 256     # least width of an open op

cdef enum:                       # log_op_t.kind, HAProxy's name behind it
    LOGOP_TEXT = 0               # the text alone
    LOGOP_CLIENT                 # ci
    LOGOP_CLIENT_PORT            # cp
    LOGOP_LOCAL                  # fi
    LOGOP_LOCAL_PORT             # fp
    LOGOP_SOURCE                 # bi
    LOGOP_SOURCE_PORT            # bp
    LOGOP_PEER                   # si
    LOGOP_PEER_PORT              # sp
    LOGOP_FRONTEND               # f
    LOGOP_FRONTEND_TLS           # ft
    LOGOP_BACKEND                # b
    LOGOP_SERVER                 # s
    LOGOP_DATE                   # t
    LOGOP_REQUEST_DATE           # tr
    LOGOP_GMT                    # T
    LOGOP_ZONED                  # Tl
    LOGOP_REQUEST_GMT            # trg
    LOGOP_REQUEST_ZONED          # trl
    LOGOP_SECOND                 # Ts
    LOGOP_MS                     # ms
    LOGOP_REQUEST_MS             # TR
    LOGOP_QUEUE_MS               # Tw
    LOGOP_CONNECT_MS             # Tc
    LOGOP_RESPONSE_MS            # Tr
    LOGOP_ACTIVE_MS              # Ta, Tu of a connection that is known by its requests
    LOGOP_TOTAL_MS               # Tt
    LOGOP_DATA_MS                # Td
    LOGOP_HANDSHAKE_MS           # Th
    LOGOP_IDLE_MS                # Ti
    LOGOP_HEAD_MS                # Tq
    LOGOP_STATUS                 # ST
    LOGOP_BYTES_OUT              # B
    LOGOP_BYTES_IN               # U
    LOGOP_NOTHING                # CC, CS: what is never there
    LOGOP_STATE                  # ts
    LOGOP_STATE_COOKIE           # tsc
    LOGOP_ACTCONN                # ac
    LOGOP_FECONN                 # fc
    LOGOP_BECONN                 # bc
    LOGOP_SRVCONN                # sc
    LOGOP_RETRIES                # rc
    LOGOP_SRVQUEUE               # sq
    LOGOP_BEQUEUE                # bq
    LOGOP_REQUEST                # r
    LOGOP_METHOD                 # HM
    LOGOP_TARGET_PATH            # HP
    LOGOP_PATH                   # HPO
    LOGOP_QUERY                  # HQ
    LOGOP_TARGET                 # HU
    LOGOP_VERSION                # HV
    LOGOP_ID                     # ID
    LOGOP_HOSTNAME               # H
    LOGOP_PID                    # pid
    LOGOP_NUMBER                 # rt
    LOGOP_LOGGED                 # lc
    # JSON fields that are none of HAProxy's variables
    LOGOP_TIME                   # RFC 3339, UTC
    LOGOP_TLS
    LOGOP_REUSED
    LOGOP_REDISPATCHED
    LOGOP_RETRY_COUNT
    LOGOP_REASON
    LOGOP_HOST
    LOGOP_VERSION_NUMBER
    LOGOP_LIMIT
    LOGOP_LIMIT_SHADOW
    LOGOP_CUT                    # `,"cut":true` if something was cut, and `}`
    # what is asked of the stream
    LOGOP_EXPRESSION             # %[...]
    LOGOP_CAPTURED_REQUEST       # hr: {one|two}
    LOGOP_CAPTURED_RESPONSE      # hs
    LOGOP_CAPTURED_REQUEST_LIST  # hrl: one two
    LOGOP_CAPTURED_RESPONSE_LIST  # hsl
    LOGOP_COUNT

cdef enum:                       # log_op_t.flags
    LOGOP_AROUND = 1 << 0        # quotes around it
    LOGOP_HEX = 1 << 1           # in hexadecimal digits
    LOGOP_ESCAPE = 1 << 2        # a backslash before `"`, `\` and `]`
    LOGOP_DASH = 1 << 3          # `-` when there is nothing
    LOGOP_JSON = 1 << 4          # inside a JSON string
    LOGOP_NULL = 1 << 5          # a JSON value on its own: `null` when there is nothing, else quotes around what is no number
    LOGOP_RAW = 1 << 6           # bytes as they are: for who writes them elsewhere
    LOGOP_FLAGS = (1 << 6) - 1  # of a plan

# Most bytes that the variable of an op takes, of an open one without the target.
cdef uint32_t logformat_width(const log_op_t *op) noexcept nogil

# Whether it shows the target.
cdef bint logformat_is_open(const log_op_t *op) noexcept nogil

# Write one line without its newline into dst[0:LOGLINE_CAP]; returns its bytes. `log` was checked. `c` is what its expressions
# look at, NULL: there is no stream to ask.
cdef size_t logformat_write(
    logline_t *state, const log_view_t *v, const plan_t *p, const plan_log_t *log, char *dst, eval_t *c
) noexcept nogil

# Milliseconds between the response head and its end, -1 = there is none (Td).
cdef int64_t logformat_data_ms(const log_view_t *v) noexcept nogil

# The bytes of one variable, LOGOP_CLIENT to LOGOP_LOGGED, written to out[0:LOGFORMAT_VALUE + room]: formats of rules have them too.
# `room` is for the target.
cdef enum:
    LOGFORMAT_VALUE = 512

cdef size_t logformat_value(
    logline_t *state, const log_view_t *v, uint32_t kind, uint32_t flags, size_t room, char *out
) noexcept nogil
