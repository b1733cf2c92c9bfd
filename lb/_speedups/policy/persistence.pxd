# Persistence: a client comes back to the server it had, by a cookie or by an entry of a stick table.
from libc.stdint cimport uint8_t, uint32_t

ctypedef struct persisted_t:     # of a stream; zero = nothing was asked
    uint8_t cookie               # COOKIE_*: what the request's cookie was
    uint8_t set_                 # SET_*: what became of the answer's
    uint8_t flags                # PERSISTED_*
    uint8_t pad
    uint32_t server              # object id of the server that it must have, 0 = balance decides
    uint32_t first_s             # dates of the request's cookie, s of CLOCK_REALTIME; 0 = none
    uint32_t last_s
