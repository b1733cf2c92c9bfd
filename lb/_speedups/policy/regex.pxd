# Regular expressions: the one door to PCRE2.
#
# A *regex* is one compiled pattern of bytes (never UTF). A *shelf* is what a worker matches with: its compiled patterns by
# content, the memory of a match, one JIT stack. Whoever wants a pattern takes it from the shelf and gives it back; the same
# pattern with the same flags is compiled once, and lives as long as somebody has it: so a reload compiles only what is new.
# Compiled code is full of pointers and cannot stand in the plan image, hence each worker has a shelf of its own
# (policy/regexes.pxd takes the patterns of a plan). Taking may be slow (10 to 100 us) and belongs into prepare; matching
# allocates nothing.
#
# Nothing that is matched can hold a worker. A short value is matched with at most REGEX_STEPS steps from each place. A longer
# one is matched by code that is called back before each item of the pattern, because PCRE2 does not count all that a match
# does; after REGEX_BUDGET_US of an evaluation's time on the wall, and as much of the processor (see regex_budget_t), it is
# given up. Both answer REGEX_LIMIT and are counted: nobody knows whether the pattern would have matched, and the caller must
# take the careful side. Memory is bounded too: a JIT stack of REGEX_STACK bytes, or REGEX_HEAP_KIB where there is no JIT (a
# kernel that forbids writable code: `MemoryDenyWriteExecute` of systemd; matching is then some five times slower).
#
# lb can be built without PCRE2 (setup.py). regex_is_available() says so; then no pattern can be taken, and a plan that has any
# is refused.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    REGEX_SPANS = 10             # the match and groups 1..9, as many as references can name
    REGEX_PATTERN_MAX = 8192     # bytes of a pattern
    REGEX_NESTING = 100          # parentheses in each other
    REGEX_STEPS = 32768          # of a match that begins at one place: about 70 us, without JIT 400 us
    REGEX_SLOWER = 8             # without JIT each place counts as so many
    REGEX_FREE = 2048            # places that an evaluation may try between two looks at the clock
    REGEX_BUDGET_US = 2000       # of an evaluation
    REGEX_STACK = 1048576        # bytes of a worker's JIT stack
    REGEX_HEAP_KIB = 4096        # of a match without JIT
    REGEX_MESSAGE = 256          # bytes that regex_message() may write

cdef enum:                       # flags of a pattern; they stand in plan images
    REGEX_IGNORE_CASE = 1 << 0
    REGEX_FLAGS = 1              # all of them

cdef enum:                       # answers of regex_match
    REGEX_NO = 0
    REGEX_YES = 1
    REGEX_LIMIT = -1             # a limit was reached: it cannot be told

ctypedef struct regex_span_t:    # where a group stands in what was matched; at < 0 = it took no part
    int32_t at
    int32_t end

ctypedef struct regex_t:
    # immutable after it was made
    void *code
    uint64_t hash
    uint32_t len                 # bytes of the pattern
    uint8_t flags                # REGEX_*
    uint8_t is_jit
    uint8_t pad0[2]
    # this worker
    uint32_t users               # who took it
    uint32_t pad
    regex_t *next                # in its bucket
    char pattern[1]              # `len` bytes

# The time of one evaluation (a rule, say), over all matches in it. Whoever begins one sets `calls` to 0.
ctypedef struct regex_budget_t:
    uint32_t calls               # places tried; one at least for each match
    uint32_t next                # calls > REGEX_FREE: of these, when the clock is looked at again
    uint64_t clock_ns            # and when the time is over; a CPU clock's once `is_cpu`
    uint64_t is_cpu              # the time has passed, but perhaps others had the CPU: what runs is our own time

ctypedef struct regex_shelf_t:
    # immutable after regex_shelf_init
    void *compiler
    void *matcher
    void *found
    void *stack                  # NULL = no JIT
    # this worker
    regex_t **buckets
    uint32_t size                # of buckets, a power of two
    uint32_t count               # patterns on the shelf
    uint32_t slow                # of these, without JIT
    uint32_t pad
    uint64_t compiled            # ever
    uint64_t matches             # calls of regex_match
    uint64_t limits              # of these, REGEX_LIMIT
    const regex_t *limited       # the pattern that reached a limit last, valid while it is on the shelf; NULL = none

ctypedef struct regex_fault_t:   # why a pattern cannot be compiled
    int code                     # PCRE2's number; 0 = no memory
    uint32_t at                  # byte of the pattern that it was noticed at

# Whether lb was built with PCRE2.
cdef bint regex_is_available() noexcept nogil

# Ready a shelf (all zero before). 0, or -1: no memory. Without PCRE2 it succeeds, and has nothing.
cdef int regex_shelf_init(regex_shelf_t *s) noexcept nogil

# Free a shelf and whatever is still on it; one that was never readied too.
cdef void regex_shelf_free(regex_shelf_t *s) noexcept nogil

# The regex of this pattern, compiled if it is not on the shelf; NULL and `fault` when it cannot be. One reference is the
# caller's, who gives it back with regex_drop(). `flags` has no other bits than REGEX_FLAGS.
cdef regex_t *regex_take(regex_shelf_t *s, const char *pattern, size_t n, uint8_t flags,
                         regex_fault_t *fault) noexcept nogil
cdef void regex_drop(regex_shelf_t *s, regex_t *regex) noexcept nogil

# Look for the first match in p[0:n]. `spans` is NULL, or gets REGEX_SPANS pairs on REGEX_YES. `not_begin`: p is not the
# beginning of a line, `^` does not hold there.
cdef int regex_match(regex_shelf_t *s, const regex_t *regex, const char *p, size_t n, bint not_begin,
                     regex_budget_t *budget, regex_span_t *spans) noexcept nogil

# Write `format` to out[0:cap] with references to a match in p: \0..\9 is a group (nothing when it took no part), \xHH a byte,
# any other escaped byte itself. HAProxy's exp_replace: the written bytes, or -1 when they do not fit or the format ends in the
# middle of an escape.
cdef ssize_t regex_expand(const char *p, const regex_span_t *spans, const char *format, size_t n,
                          char *out, size_t cap) noexcept nogil

# Text of a fault's code, and PCRE2's version (empty without it), at out[0:REGEX_MESSAGE]; its length.
cdef size_t regex_message(int code, char *out) noexcept nogil
cdef size_t regex_version(char *out) noexcept nogil
