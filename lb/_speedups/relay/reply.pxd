# Replies made here: errors as problem JSON (RFC 9457) or a short text, by what the client accepts; redirects and fixed
# replies that routes lead to.
#
# A reply's body is never copied whole: errors are short, and what a route says stands in the plan, which the stream holds,
# and what a rule makes stands in a buffer of the stream's (st.reply_buffer).
# What the client does not take at once is remembered (st.reply_at, st.reply_left) and goes out with reply_rest.
from libc.stdint cimport uint16_t, uint32_t
from lb._speedups.policy.program cimport rule_t
from lb._speedups.policy.rule cimport verdict_t
from lb._speedups.relay.relay cimport stream_t

# Write a whole response with this status to the client's side: the error page that the backend or else the frontend has for it
# (their `errors`, a ruleset: the first argument of each rule is the status that it stands for), or one made here; `detail` is
# one sentence for people. (200 is a monitor's, and always a text.) Nothing may have been written to that side for this stream
# before, except interim heads. The body may not be through afterwards (st.reply_left). 0, or -1: the connection failed, or a
# page says that it closes without an answer.
cdef int reply_error(stream_t *st, uint16_t status, const char *detail) noexcept nogil

# The same for a rule that refuses (deny, tarpit): its arguments from `first` on say what, as those of `return` do; without a body
# it is reply_error's, with the rule's fields.
cdef int reply_denial(stream_t *st, const rule_t *rule, uint32_t first, const char *detail) noexcept nogil

# The same for the redirect or reply of st.route; its body may not be through afterwards (st.reply_left). 0, -1, or the
# status of the error to answer instead, nothing having been written: 400 (the request names no host), 414 (the location
# would be too long).
cdef int reply_target(stream_t *st) noexcept nogil

# The same for a rule that returns an answer or redirects. 0, -1, or the status of the error to answer instead, nothing
# having been written: 400 and 414 as above, 500 (a text does not fit, or may not stand in a head).
cdef int reply_rule(stream_t *st, const verdict_t *verdict) noexcept nogil

# Go on with the body: 0 = all has been written, 1 = blocked, -1 = the connection failed.
cdef int reply_rest(stream_t *st) noexcept nogil
