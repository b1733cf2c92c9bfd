from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport program_of, regex_row_t
from lb._speedups.policy.regex cimport REGEX_LIMIT, regex_drop, regex_fault_t, regex_match, regex_take


cdef uint64_t now_us() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t> t.tv_sec * 1000000 + <uint64_t> t.tv_nsec // 1000


cdef int regexes_init(regexes_t *r, const plan_t *p) noexcept nogil:
    r.all_ = NULL
    r.n = program_of(p).regexes if p.program_at != 0 else 0
    r.ready = 0
    if r.n == 0:
        return 0
    r.all_ = <regex_t **> calloc(r.n, sizeof(regex_t *))
    return 0 if r.all_ != NULL else -1


cdef int regexes_compile(regexes_t *r, const plan_t *p, regex_shelf_t *s, uint64_t us) noexcept nogil:
    cdef const regex_row_t *rows
    cdef regex_fault_t fault
    cdef uint64_t end
    if r.ready == r.n:
        return REGEXES_READY
    rows = <const regex_row_t *> (<const char *> p + program_of(p).regexes_at)
    end = now_us() + us
    while r.ready < r.n:
        r.all_[r.ready] = regex_take(
            s, plan_text(p, rows[r.ready].text), rows[r.ready].text.len, <unsigned char> rows[r.ready].flags, &fault)
        if r.all_[r.ready] == NULL:
            return REGEXES_MEMORY if fault.code == 0 and s.compiler != NULL else REGEXES_WRONG
        r.ready += 1
        if us != 0 and r.ready < r.n and now_us() >= end:
            return REGEXES_MORE
    return REGEXES_READY


cdef void regexes_free(regexes_t *r, regex_shelf_t *s) noexcept nogil:
    cdef uint32_t i
    for i in range(r.ready):
        regex_drop(s, r.all_[i])
    free(r.all_)
    r.all_ = NULL
    r.n = r.ready = 0


cdef int regexes_match(eval_t *c, uint32_t index, const char *p, size_t n, bint not_begin,
                       regex_span_t *spans) noexcept nogil:
    cdef int r = REGEX_LIMIT                  # whoever evaluates has no shelf: nobody knows
    if c.shelf != NULL and c.view.regexes != NULL:
        r = regex_match(c.shelf, c.view.regexes[index], p, n, not_begin, &c.budget, spans)
    if r == REGEX_LIMIT:
        c.erred = True
    return r
