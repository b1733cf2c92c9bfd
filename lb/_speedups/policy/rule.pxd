# Rules: conditions and actions, in order. What concerns a head is done here; what concerns the stream is a verdict, which relay
# carries out. An action changes nothing before its condition is known, so rules can be stopped at any of them and taken
# up there again. A condition that nobody can tell, because a regular expression reached a limit, makes a rule that refuses do so,
# and any other is passed over.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from lb._speedups.policy.program cimport arg_t, program_t, rule_t
from lb._speedups.policy.sample cimport eval_t
from lb._speedups.proto.message cimport message_t

cdef enum:                       # answers of rules_run
    RULES_DONE = 0               # all have been looked at, or one said `allow`
    RULES_VERDICT = 1            # a rule ends the stream, or says more than an edit: verdict.rule
    RULES_WAIT = 2               # nobody can tell yet: come again with verdict.at
    RULES_ERROR = 3              # an edit was not possible (no room, or not allowed), in strict mode: the stream must not go on
    RULES_BAD = 4                # the request is wrong (400): a strict normalizer refuses it

ctypedef struct verdict_t:
    uint32_t at                  # the rule that decided or waits, counted in its set
    uint32_t lax                 # `strict_mode: false` holds: an edit that is not possible is left out; set by rules_run
    const rule_t *rule

# Run the rules of a set from verdict.at on. `m` is the head that edits are made to.
cdef int rules_run(eval_t *c, const program_t *g, uint32_t ruleset, message_t *m, verdict_t *verdict) noexcept nogil

# The argument k of a rule when it is there and of this kind (ARG_*), else NULL.
cdef const arg_t *rule_arg(const eval_t *c, const program_t *g, const rule_t *rule, uint32_t k,
                           uint8_t kind) noexcept nogil

# A rule's argument k as a number, or as a format written to `out` (-1: it is no format, does not fit, or erred).
cdef int rule_number(const eval_t *c, const program_t *g, const rule_t *rule, uint32_t k, int otherwise) noexcept nogil
cdef ssize_t rule_text(eval_t *c, const program_t *g, const rule_t *rule, uint32_t k, char *out, size_t cap) noexcept nogil

# The index of the backend, of mode `mode`, or the server of the view's backend, that a rule names; a format may make the name.
# -1: there is none.
cdef int64_t rule_backend(eval_t *c, const program_t *g, const rule_t *rule, uint8_t mode) noexcept nogil
cdef int64_t rule_server(eval_t *c, const program_t *g, const rule_t *rule) noexcept nogil
