from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, strlen
from posix.time cimport CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

cdef extern from "policy/regex.h" nogil:
    enum:
        LB_PCRE2
        RX_NO_MATCH
        RX_LIMITED
    void *rx_new_compiler(uint32_t nesting, size_t longest)
    void rx_free_compiler(void *context)
    void *rx_compile(const char *pattern, size_t n, bint ignore_case, bint is_watched, void *context, int *code, size_t *at)
    int rx_match_watched(const void *regex, bint is_jit, const char *p, size_t n, bint not_begin, uint32_t steps,
                         bint (*goes_on)(void *) noexcept nogil, void *who, void *found, void *matcher)
    bint rx_jit(void *regex)
    void rx_free(void *regex)
    void *rx_new_matcher(uint32_t heap_kib)
    void rx_free_matcher(void *context)
    void *rx_new_stack(size_t least, size_t most, void *matcher)
    void rx_free_stack(void *stack)
    void *rx_new_found(uint32_t spans)
    void rx_free_found(void *found)
    int rx_match(const void *regex, bint is_jit, const char *p, size_t n, size_t from_, size_t last, bint not_begin,
                 uint32_t steps, void *found, void *matcher)
    const size_t *rx_spans(void *found)
    int rx_message(int code, char *out, size_t cap)
    int rx_version(char *out)

cdef enum:
    BUCKETS = 64                 # of a shelf at first
    STACK_LEAST = 32768          # bytes of the JIT stack that are there from the first match on
    SHORT = 64                   # longest value that is matched without being watched: even n * n * n steps are few then
    STEPS_WATCHED = 1 << 20      # of each place of a longer one, where the clock is the limit


# What regex_t.code points to. Steps are not all that a match does: PCRE2 does not count what a repeated character scans, so on
# a long value `a*a*\d` takes n * n within few steps. Long values are therefore matched by code that looks at the clock.
ctypedef struct codes_t:
    void *plain
    void *watched


cdef bint regex_is_available() noexcept nogil:
    return LB_PCRE2 != 0


cdef size_t regex_message(int code, char *out) noexcept nogil:
    if code == 0:
        memcpy(out, b"out of memory", 14)
    elif rx_message(code, out, REGEX_MESSAGE) < 0:
        out[0] = 0
    return strlen(out)


cdef size_t regex_version(char *out) noexcept nogil:
    if rx_version(out) < 0:
        out[0] = 0
    return strlen(out)


# ---- the shelf ----


cdef int regex_shelf_init(regex_shelf_t *s) noexcept nogil:
    if not LB_PCRE2:
        return 0
    s.compiler = rx_new_compiler(REGEX_NESTING, REGEX_PATTERN_MAX)
    s.matcher = rx_new_matcher(REGEX_HEAP_KIB)
    s.found = rx_new_found(REGEX_SPANS)
    s.buckets = <regex_t **> calloc(BUCKETS, sizeof(regex_t *))
    if s.compiler == NULL or s.matcher == NULL or s.found == NULL or s.buckets == NULL:
        regex_shelf_free(s)
        return -1
    s.size = BUCKETS
    s.stack = rx_new_stack(STACK_LEAST, REGEX_STACK, s.matcher)
    return 0


cdef void regex_shelf_free(regex_shelf_t *s) noexcept nogil:
    cdef regex_t *regex
    cdef uint32_t i
    for i in range(s.size):
        while s.buckets[i] != NULL:
            regex = s.buckets[i]
            s.buckets[i] = regex.next
            codes_free(<codes_t *> regex.code)
            free(regex)
    free(s.buckets)
    if s.stack != NULL:
        rx_free_stack(s.stack)
    if s.found != NULL:
        rx_free_found(s.found)
    if s.matcher != NULL:
        rx_free_matcher(s.matcher)
    if s.compiler != NULL:
        rx_free_compiler(s.compiler)
    s.compiler = s.matcher = s.found = s.stack = NULL
    s.buckets = NULL
    s.size = s.count = s.slow = 0
    s.limited = NULL


# Patterns come from the configuration, which is trusted not to look for collisions: FNV-1a.
cdef uint64_t hash_of(const char *p, size_t n, uint8_t flags) noexcept nogil:
    cdef uint64_t h = (<uint64_t> 0xcbf29ce484222325) ^ flags
    cdef size_t i
    for i in range(n):
        h = (h ^ <uint8_t> p[i]) * <uint64_t> 0x100000001b3
    return h ^ h >> 32


# Twice the buckets when there are as many patterns. Without memory it stays as it is, only slower.
cdef void grow(regex_shelf_t *s) noexcept nogil:
    cdef uint32_t size = 2 * s.size, i
    cdef regex_t **buckets = <regex_t **> calloc(size, sizeof(regex_t *))
    cdef regex_t *regex
    if buckets == NULL:
        return
    for i in range(s.size):
        while s.buckets[i] != NULL:
            regex = s.buckets[i]
            s.buckets[i] = regex.next
            regex.next = buckets[regex.hash & (size - 1)]
            buckets[regex.hash & (size - 1)] = regex
    free(s.buckets)
    s.buckets = buckets
    s.size = size


cdef void codes_free(codes_t *codes) noexcept nogil:
    if codes.plain != NULL:
        rx_free(codes.plain)
    if codes.watched != NULL:
        rx_free(codes.watched)
    free(codes)


cdef codes_t *codes_of(regex_shelf_t *s, const char *pattern, size_t n, uint8_t flags, regex_fault_t *fault) noexcept nogil:
    cdef codes_t *codes = <codes_t *> calloc(1, sizeof(codes_t))
    cdef bint folds = (flags & REGEX_IGNORE_CASE) != 0
    cdef size_t at = 0
    if codes == NULL:
        return NULL
    codes.plain = rx_compile(pattern, n, folds, False, s.compiler, &fault.code, &at)
    if codes.plain != NULL:
        codes.watched = rx_compile(pattern, n, folds, True, s.compiler, &fault.code, &at)
    if codes.watched == NULL:
        fault.at = <uint32_t> at
        codes_free(codes)
        return NULL
    return codes


cdef regex_t *make(regex_shelf_t *s, const char *pattern, size_t n, uint8_t flags, regex_fault_t *fault) noexcept nogil:
    cdef regex_t *regex
    cdef codes_t *code = codes_of(s, pattern, n, flags, fault)
    if code == NULL:
        return NULL
    regex = <regex_t *> malloc(sizeof(regex_t) + n)
    if regex == NULL:
        codes_free(code)
        fault.code = 0
        return NULL
    regex.code = code
    regex.len = <uint32_t> n
    regex.flags = flags
    regex.is_jit = s.stack != NULL and rx_jit(code.plain) and rx_jit(code.watched)
    regex.users = 1
    memcpy(regex.pattern, pattern, n)
    return regex


cdef regex_t *regex_take(regex_shelf_t *s, const char *pattern, size_t n, uint8_t flags,
                         regex_fault_t *fault) noexcept nogil:
    cdef uint64_t h = hash_of(pattern, n, flags)
    cdef regex_t *regex
    fault.code = 0
    fault.at = 0
    if s.compiler == NULL:
        return NULL
    regex = s.buckets[h & (s.size - 1)]
    while regex != NULL:
        if regex.hash == h and regex.len == n and regex.flags == flags and memcmp(regex.pattern, pattern, n) == 0:
            regex.users += 1
            return regex
        regex = regex.next
    regex = make(s, pattern, n, flags, fault)
    if regex == NULL:
        return NULL
    if s.count == s.size:
        grow(s)
    regex.hash = h
    regex.next = s.buckets[h & (s.size - 1)]
    s.buckets[h & (s.size - 1)] = regex
    s.count += 1
    s.compiled += 1
    s.slow += not regex.is_jit
    return regex


cdef void regex_drop(regex_shelf_t *s, regex_t *regex) noexcept nogil:
    cdef regex_t **at
    regex.users -= 1
    if regex.users != 0:
        return
    at = &s.buckets[regex.hash & (s.size - 1)]
    while at[0] != regex:
        at = &at[0].next
    at[0] = regex.next
    s.count -= 1
    s.slow -= not regex.is_jit
    if s.limited == regex:
        s.limited = NULL
    codes_free(<codes_t *> regex.code)
    free(regex)


# ---- matching ----


cdef inline uint64_t time_of(int clock) noexcept nogil:
    cdef timespec t
    clock_gettime(clock, &t)
    return <uint64_t> t.tv_sec * 1000000000 + <uint64_t> t.tv_nsec


# Count places; whether they may still be tried. Reading the CPU's time is a system call, so it is done only when the time on
# the wall has passed.
cdef inline bint may_try(regex_budget_t *b, size_t places) noexcept nogil:
    cdef bint is_first = b.calls <= REGEX_FREE
    b.calls += <uint32_t> places
    if b.calls <= REGEX_FREE or (not is_first and b.calls < b.next):
        return True
    b.next = b.calls + REGEX_FREE
    return has_time(b, is_first)


cdef bint has_time(regex_budget_t *b, bint is_first) noexcept nogil:
    if is_first:
        b.is_cpu = 0
        b.clock_ns = time_of(CLOCK_MONOTONIC) + REGEX_BUDGET_US * <uint64_t> 1000
        return True
    if b.is_cpu:
        return time_of(CLOCK_THREAD_CPUTIME_ID) < b.clock_ns
    if time_of(CLOCK_MONOTONIC) >= b.clock_ns:
        b.is_cpu = 1
        b.clock_ns = time_of(CLOCK_THREAD_CPUTIME_ID) + REGEX_BUDGET_US * <uint64_t> 1000
    return True


cdef void copy_spans(regex_shelf_t *s, int pairs, regex_span_t *spans) noexcept nogil:
    cdef const size_t *found = rx_spans(s.found)
    cdef int i
    if pairs == 0:                            # there are more groups than fit
        pairs = REGEX_SPANS
    for i in range(REGEX_SPANS):
        if i < pairs and found[2 * i] != <size_t> -1:
            # \K in a lookahead can put the beginning behind the end.
            spans[i].at = <int32_t> found[2 * i]
            spans[i].end = <int32_t> found[2 * i + 1]
            if spans[i].at > spans[i].end:
                spans[i].at = spans[i].end
        else:
            spans[i].at = spans[i].end = -1


# Whether a match of a long value may go on.
cdef bint goes_on(void *budget) noexcept nogil:
    cdef regex_budget_t *b = <regex_budget_t *> budget
    cdef bint is_first = b.calls <= REGEX_FREE
    b.calls += REGEX_FREE + 1
    b.next = b.calls + REGEX_FREE
    return has_time(b, is_first)


cdef int regex_match(regex_shelf_t *s, const regex_t *regex, const char *p, size_t n, bint not_begin,
                     regex_budget_t *budget, regex_span_t *spans) noexcept nogil:
    cdef const codes_t *codes = <const codes_t *> regex.code
    cdef int r = RX_LIMITED
    s.matches += 1
    if may_try(budget, n + 1 if regex.is_jit else REGEX_SLOWER * (n + 1)):
        if n > SHORT:
            r = rx_match_watched(
                codes.watched, regex.is_jit, p, n, not_begin, STEPS_WATCHED, goes_on, budget, s.found, s.matcher)
        else:
            r = rx_match(codes.plain, regex.is_jit, p, n, 0, n, not_begin, REGEX_STEPS, s.found, s.matcher)
    if r >= 0:
        if spans != NULL:
            copy_spans(s, r, spans)
        return REGEX_YES
    if r == RX_NO_MATCH:
        return REGEX_NO
    s.limits += 1
    s.limited = regex
    return REGEX_LIMIT


cdef inline int digit_of(char c) noexcept nogil:
    # As exp_replace counts: whatever is no digit of base 16 gives something all the same, so it is refused at load.
    if c'0' <= c <= c'9':
        return c - 48
    return ((c | 0x20) - 87) & 15


cdef ssize_t regex_expand(const char *p, const regex_span_t *spans, const char *format, size_t n,
                          char *out, size_t cap) noexcept nogil:
    cdef size_t i = 0, made = 0, len
    cdef int group
    cdef char byte
    while i < n:
        byte = format[i]
        i += 1
        if byte == c'\\':
            if i == n:
                return -1
            byte = format[i]
            i += 1
            if c'0' <= byte <= c'9':
                group = byte - 48
                if spans[group].at >= 0:
                    len = <size_t> (spans[group].end - spans[group].at)
                    if len > cap - made:
                        return -1
                    memcpy(out + made, p + spans[group].at, len)
                    made += len
                continue
            if byte == c'x':
                if n - i < 2:
                    return -1
                byte = <char> (digit_of(format[i]) << 4 | digit_of(format[i + 1]))
                i += 2
        if made == cap:
            return -1
        out[made] = byte
        made += 1
    return <ssize_t> made
