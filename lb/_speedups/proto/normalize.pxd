# Normalizers of request targets: HAProxy's, each a function from bytes to bytes without state (its manual 4.2,
# `http-request normalize-uri`).
#
# Each writes to `out`, which has room for 3 * n + 1 bytes, and answers how many; or NORMALIZE_BAD: the text is wrong where the
# strict form was asked for. NORMALIZE_MERGE_SLASHES, _DOT and _DOTDOT take a path; NORMALIZE_SORT_QUERY a query without its
# `?`; the others path and query.
from libc.stddef cimport size_t

cdef enum:
    NORMALIZE_MERGE_SLASHES = 1
    NORMALIZE_DOT
    NORMALIZE_DOTDOT             # full: also what is above the root goes
    NORMALIZE_UNRESERVED         # strict: an escape that is none is refused, here and of the next
    NORMALIZE_UPPERCASE
    NORMALIZE_SORT_QUERY
    NORMALIZE_STRIP_FRAGMENT
    NORMALIZE_ENCODE_FRAGMENT
    NORMALIZERS_END

cdef enum:
    NORMALIZE_BAD = -1
    NORMALIZE_PARAMS = 1024      # parameters of a query that are sorted; of more, all that follow stay behind these

cdef inline bint normalize_wants_path(int normalizer) noexcept nogil:
    return normalizer <= NORMALIZE_DOTDOT

# `firm`: full or strict.
cdef ssize_t normalize(int normalizer, bint firm, const char *p, size_t n, char *out) noexcept nogil
