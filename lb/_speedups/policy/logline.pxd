# Access log lines: HAProxy's httplog and tcplog, and a JSON object. Pure formatting into a caller's buffer. Formats that a
# configuration makes are programs: logformat.pxd.
#
# The formats are HAProxy's, byte for byte (manual 8.2.2, 8.2.3, 8.5), so that halog and every parser written for it
# work unchanged:
#
#     httplog  %ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %{+Q}r
#     tcplog   %ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq
#
# Captured headers (%hr, %hs) are left out with their blanks, as HAProxy does when none is declared. JSON is one flat
# object with the same keys in every line of a mode; docs/logging.md lists them.
#
# What a client or a server sent is never trusted; how it is written: logtext.pxd. JSON is valid whatever was sent.
#
# Length. Everything but the request target is cut at a width of its own, so a buffer of LOGLINE_MIN always holds a
# whole line; the target takes what is left and is cut there, never inside an escape. A line that was cut says so in
# JSON ("cut":true). With LOGLINE_CAP a line and its newline are at most PIPE_BUF: one write to a pipe is never torn.
#
# Time of day. Local time needs the zone's rules; asking libc for every line would be the dearest part of it. The
# state keeps the offset and the date for the quarter of an hour it last saw (no zone changes within one today) and
# computes the rest. A change of TZ or /etc/localtime takes effect when the process is restarted.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    LOGLINE_MIN = 2048          # least `cap` of the functions below
    LOGLINE_CAP = 4095          # what to reserve for a line: PIPE_BUF with its newline

ctypedef struct slice_t:
    const char *p
    uint32_t len

ctypedef struct logline_t:      # one per worker, owned by the engine
    int64_t from_s              # `offset_s` and `date` hold for from_s <= time < until_s
    int64_t until_s
    int64_t offset_s            # local time minus UTC
    char date[12]               # 22/Nov/2026 of local time, and a NUL
    int64_t utc_day             # days since 1970 that `utc_date` shows
    char utc_date[12]           # 2026-11-22 and a NUL
    uint32_t pid                # of this worker
    char host[64]               # the machine's name and a NUL

ctypedef struct log_end_t:      # an end of a connection
    uint16_t family             # AF_INET, AF_INET6, AF_UNIX; 0 = not known
    uint16_t port               # host order
    uint8_t address[16]         # network order

ctypedef struct log_view_t:      # what relay knows when a stream ends
    uint8_t mode                 # MODE_*: the keys of a JSON line
    char end_cause               # termination state, first letter: - C S P R I D L U K c s
    char cookie                  # third: N I D V E O U; 0 = the backend has no persistence cookie (printed -)
    char set_cookie              # fourth: N P D I R U
    char end_phase               # second: - R Q C H D L T
    uint8_t http10               # request version 1.0
    uint8_t is_tls               # the client came by TLS: `~` behind the frontend's name
    uint8_t redispatched         # print + before the retries
    uint8_t has_request          # a request was read: method and target are valid, else <BADREQ>
    uint8_t reused               # the server connection was reused
    uint16_t status              # answered, 0 = none (printed -1; null in JSON)
    uint16_t retries
    uint16_t family              # client's address: AF_INET, AF_INET6, AF_UNIX
    uint16_t port                # host order; of AF_UNIX the listener's number, which HAProxy prints there
    uint8_t address[16]          # network order
    uint64_t accept_us           # CLOCK_REALTIME us when the session was accepted (%t) / the request began (%tr)
    int64_t request_ms           # TR: reading the request head, -1 = never complete
    int64_t queue_ms             # Tw, -1 = never queued or connected
    int64_t connect_ms           # Tc, -1 = not connected
    int64_t response_ms          # Tr: until the response head, -1 = none
    int64_t active_ms            # Ta (http), Tt (tcp)
    int64_t idle_ms              # Ti: from the connection, or the end of its last request, until this one's first byte
    uint64_t bytes_out           # to the client, head included (%B)
    uint64_t bytes_in            # from the client
    uint64_t datagrams_in        # mode udp: from the client, and to it
    uint64_t datagrams_out
    slice_t frontend
    slice_t backend              # the frontend's name when none was chosen
    slice_t server               # empty = none (printed <NOSRV>; null in JSON)
    slice_t method               # request line parts
    slice_t target
    slice_t path                 # without scheme, authority and query
    slice_t host
    slice_t request_id           # printed in JSON, and in HAProxy's line only by custom formats
    slice_t reason               # why it was refused, empty = not
    slice_t limit                # the rate limit that refused it, empty = none
    slice_t limit_shadow         # one in shadow mode that would have
    uint32_t actconn             # connections of the process, frontend, backend, server
    uint32_t feconn
    uint32_t beconn
    uint32_t srvconn
    uint32_t srvqueue            # requests that waited before this one, for the server and for the backend
    uint32_t bequeue
    uint32_t number              # of this stream among all of its worker
    uint32_t logged              # records before it of its frontend and worker
    log_end_t local              # where the client connected to
    log_end_t source             # where the server connection came from
    log_end_t peer               # and where it went

# Ready the state of a worker.
cdef void logline_init(logline_t *state) noexcept nogil

# Write one line without its newline into dst[0:cap], cap >= LOGLINE_MIN; returns its bytes. 0 when cap is less.
cdef size_t logline_http(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil
cdef size_t logline_tcp(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil

# The same stream as a JSON object; `mode` chooses its keys.
cdef size_t logline_json(logline_t *state, const log_view_t *v, char *dst, size_t cap) noexcept nogil
