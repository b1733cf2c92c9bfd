# Status codes and the reason phrases that stand behind them when nobody says another (RFC 9110 15, the IANA registry).
from libc.stdint cimport uint16_t

# The phrase of a status; of an unknown one that of its class, as HAProxy has them.
cdef const char *status_reason(uint16_t status) noexcept nogil
