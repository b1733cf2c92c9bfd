# The values of a message's fields, cookies and parameters, one by one, the way HAProxy's fetches walk them. Values are
# slices of the message; nothing is copied or decoded.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from lb._speedups.policy.sample cimport iterator_t
from lb._speedups.proto.message cimport message_t

ctypedef struct bytes_t:
    const char *p
    size_t n

# The next value of the fields with this name: of a list one element (split at commas outside quotes, trimmed; an empty
# one is a value too), or with `whole` the whole line. An iterator of zeros begins. False: there is none left.
cdef bint field_next(const message_t *m, const char *name, size_t len, bint whole, iterator_t *at,
                     bytes_t *out) noexcept nogil

# The value number `occurrence`: 1 is the first, -1 the last, down to -10 (HAProxy's MAX_HDR_HISTORY). False: no such.
cdef bint field_at(const message_t *m, const char *name, size_t len, bint whole, int occurrence,
                   bytes_t *out) noexcept nogil

# Values of the list in field number i.
cdef uint32_t field_values(const message_t *m, uint32_t i) noexcept nogil

# The next cookie of this name in the fields `cookie` (or, of a response, `set-cookie`, one each).
cdef bint cookie_next(const message_t *m, bint is_response, const char *name, size_t len, iterator_t *at,
                      bytes_t *out) noexcept nogil

# The last cookie of this name. False: there is none.
cdef bint cookie_last(const message_t *m, bint is_response, const char *name, size_t len, bytes_t *out) noexcept nogil

# The name of the next cookie, whatever it is.
cdef bint cookie_name_next(const message_t *m, bint is_response, iterator_t *at, bytes_t *out) noexcept nogil

# The next parameter of this name in `n` bytes of a query; `at.at` is where to go on.
cdef bint param_next(const char *query, size_t n, const char *name, size_t len, iterator_t *at,
                     bytes_t *out) noexcept nogil
