# Access log lines: HAProxy's httplog and tcplog, and a JSON line. Pure formatting into a caller's buffer.
#
# Everything a client or server sent is escaped: control bytes, DEL, quotes and non-ASCII as #XX in HAProxy's lines (its
# own escape), as JSON escapes in JSON. Formats: shared facts in the HAProxy manual 8.2.2, 8.2.3, 8.5.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef struct slice_t:
    const char *p
    uint32_t len

ctypedef struct log_view_t:      # what relay knows when a stream ends
    uint8_t mode                 # MODE_TCP, MODE_HTTP
    char end_cause               # termination state, first letter: - C S P R I D L U K c s
    char end_phase               # second: - R Q C H D L T
    uint8_t http10               # request version 1.0
    uint16_t status              # answered, 0 = none (printed -1)
    uint16_t retries
    uint8_t redispatched         # print + before the retries
    uint8_t has_request          # a request was read: method/target are valid, else <BADREQ>
    uint8_t reused               # the server connection was reused
    uint8_t pad
    uint64_t accept_us           # CLOCK_REALTIME us when the session was accepted (%t) / the request began (%tr)
    int64_t request_ms           # TR: reading the request head, -1 = never complete
    int64_t queue_ms             # Tw
    int64_t connect_ms           # Tc, -1 = not connected
    int64_t response_ms          # Tr: until the response head, -1 = none
    int64_t active_ms            # Ta (http), Tt (tcp)
    uint64_t bytes_out           # to the client, head included (%B)
    uint64_t bytes_in            # from the client
    slice_t frontend
    slice_t backend              # the frontend's name when none was chosen
    slice_t server               # `<NOSRV>` when none
    slice_t method               # request line parts
    slice_t target
    slice_t host
    slice_t request_id           # printed in JSON, and in HAProxy's line only by custom formats
    slice_t reason               # why it was refused, empty = not
    uint32_t actconn             # connections of the process, frontend, backend, server
    uint32_t feconn
    uint32_t beconn
    uint32_t srvconn
    uint16_t family              # client's address: AF_INET, AF_INET6, AF_UNIX
    uint16_t port                # host order
    uint8_t address[16]          # network order

# Write one line without its newline into dst[0:cap]; returns its bytes (cut at cap, never beyond; JSON stays valid).
cdef size_t logline_http(const log_view_t *v, char *dst, size_t cap) noexcept nogil
cdef size_t logline_tcp(const log_view_t *v, char *dst, size_t cap) noexcept nogil
cdef size_t logline_json(const log_view_t *v, char *dst, size_t cap) noexcept nogil
