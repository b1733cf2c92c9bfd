# The time as HTTP writes it (RFC 9110 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
from libc.stdint cimport uint64_t

cdef enum:
    DATE_LEN = 29                # bytes, always

# Seconds since 1970, before the year 10000, into out[0:DATE_LEN].
cdef void date_write(uint64_t seconds, char *out) noexcept nogil
