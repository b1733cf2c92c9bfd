# Where a stream meets its rules: the view that policy looks at is filled here. What a verdict means for the stream is decided
# in http.pyx.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

from lb._speedups.policy.rule cimport verdict_t
from lb._speedups.policy.sample cimport address_t
from lb._speedups.policy.table cimport track_t
from lb._speedups.proto.message cimport message_t
from lb._speedups.relay.relay cimport link_t, stream_t

# Fill the view, which e.eval looks at: before an expression is asked. Whatever the stream has is seen as it is then.
cdef void rules_look(stream_t *st) noexcept nogil

# Run the rules of set `ruleset` (its number + 1; 0 = none) from verdict.at on, editing `m`. RULES_*.
cdef int rules_apply(stream_t *st, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil

# The index of the backend that a rule names, -1 = there is none of the name that it makes.
cdef int64_t rules_backend(stream_t *st, const verdict_t *verdict) noexcept nogil

# Where the client connected to: what a rule has set, its PROXY header says, or its socket. That costs a system call.
cdef void rules_destination(stream_t *st, address_t *out) noexcept nogil

# Run the `after` rules of backend and frontend over a response that goes out. 0, or -1: an edit was not possible.
cdef int rules_after(stream_t *st, message_t *m) noexcept nogil

# The same as rules_apply over bytes of a connection, the server's or the client's, where there is no head to edit.
cdef int rules_apply_bytes(stream_t *st, uint32_t ruleset, bint is_answer, const char *p, size_t n, bint is_final,
                           verdict_t *verdict) noexcept nogil

# The same over a client's connection that has no stream, of the current generation; `tracks` gets what it tracks.
cdef int rules_apply_link(link_t *l, uint32_t ruleset, track_t *tracks, verdict_t *verdict) noexcept nogil

# The number k of the rule that a verdict names, or `otherwise`.
cdef int rules_number(stream_t *st, const verdict_t *verdict, uint32_t k, int otherwise) noexcept nogil

# Its text k, written to out[0:cap]: bytes, or -1. The view must still be that of the stream that was judged.
cdef ssize_t rules_text(stream_t *st, const verdict_t *verdict, uint32_t k, char *out, size_t cap) noexcept nogil
