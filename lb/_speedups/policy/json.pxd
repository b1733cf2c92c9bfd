# A value of a JSON text, found by its path: `$.user.roles[1]`. Nothing is built and nothing is copied: one pass over the text,
# which stops behind the value, so what follows it is not looked at.
#
# The reader and its paths are those of HAProxy's json_query, with what they allow and what they miss: a name in a path is
# compared with a key as it is written (escapes are not decoded; `\` in a path takes the next character as it is), a list may end
# in a comma, a number is whatever begins like one, and nesting beyond JSON_DEPTH is an error.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    JSON_DEPTH = 20              # nested arrays and objects

cdef enum json_type:
    JSON_NONE = 0                # not there, or the text is wrong before it
    JSON_NULL
    JSON_TRUE
    JSON_FALSE
    JSON_NUMBER
    JSON_STRING                  # with its quotes, not decoded
    JSON_ARRAY                   # with its brackets
    JSON_OBJECT

ctypedef struct json_value_t:
    const char *p                # in the text
    size_t n
    uint8_t type                 # json_type

# Find the value at `path`. What it is: value.type.
cdef void json_find(const char *text, size_t n, const char *path, size_t path_len, json_value_t *value) noexcept nogil

# A number at the beginning of a text; `used` (may be NULL) are the bytes it has, 0 when it is none.
cdef double json_number(const char *p, size_t n, size_t *used) noexcept nogil

# The same as C's strtoll with base 0 reads it: `0x` and a leading `0` are other bases, what is too large is the limit.
cdef int64_t json_integer(const char *p, size_t n) noexcept nogil

# Decode what stands between a string's quotes. Bytes written to `out`, at most n; -1: an escape that is not known. \u0000 to
# \u00ff are bytes, as HAProxy has them; characters beyond these are not known.
cdef ssize_t json_unescape(const char *p, size_t n, char *out) noexcept nogil
