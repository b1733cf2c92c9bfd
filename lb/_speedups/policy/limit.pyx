from libc.string cimport memcpy, memset

from lb._speedups.base.mapping cimport counters_t, mapping_t
from lb._speedups.base.siphash cimport siphash13
from lb._speedups.io.sys cimport AF_INET, AF_INET6
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, SAMPLE_STR, sample_cast, sample_put_address, sample_t,
)
from lb._speedups.policy.table cimport (
    STORE_ARRIVAL, STORE_REFUSED, TABLE_IPV6, table_add_locked, table_at, table_enter, table_entry_t, table_key,
    table_key_t, table_leave, table_read_locked, table_set_locked, table_t,
)


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_KILL_POINT(const char *name)


cdef enum:
    NS_OF_MS = 1000000
    DIGEST = 17                  # `~` and 16 hex digits
    WORDS = 64                   # of a key being hashed at a time


# One limit of those that hold together.
cdef struct claim_t:
    const plan_limit_t *limit
    table_t *table
    table_entry_t *entry         # NULL = not counted
    uint64_t owed_ns             # by the key, before this request
    uint32_t number              # index of the limit
    bint fits
    table_key_t key


# ---- keys ----


# The client's address as a sample. SAMPLE_NONE: it has none.
cdef int address_of(const eval_t *c, sample_t *s) noexcept nogil:
    s.flags = 0
    if c.view.source.family == AF_INET:
        s.type = SAMPLE_IPV4
    elif c.view.source.family == AF_INET6:
        s.type = SAMPLE_IPV6
    else:
        return SAMPLE_NONE
    memcpy(s.address, c.view.source.bytes, 16)
    return SAMPLE_FOUND


# A hash of any number of bytes, a run of words at a time.
cdef uint64_t digest(const table_t *t, const char *p, size_t n) noexcept nogil:
    cdef uint64_t words[WORDS]
    cdef uint64_t h = 0
    cdef size_t part
    while n:
        part = min(n, <size_t> (WORDS - 1) * 8)
        words[0] = h
        words[(part + 7) // 8] = 0
        memcpy(&words[1], p, part)
        if part % 8:
            memset(<char *> &words[1] + part, 0, 8 - part % 8)
        h = siphash13(t.secret, words, <uint32_t> (1 + (part + 7) // 8), <uint64_t> part << 56 | part)
        p += part
        n -= part
    return h


cdef void string_key(const table_t *t, table_key_t *key, const char *p, size_t n) noexcept nogil:
    cdef char text[LIMIT_KEY]
    cdef const char *hex = b"0123456789abcdef"
    cdef uint64_t h
    cdef int i
    if n <= LIMIT_KEY:
        table_key(t, key, p, n)
        return
    h = digest(t, p, n)
    memcpy(text, p, LIMIT_KEY - DIGEST)
    text[LIMIT_KEY - DIGEST] = c'~'
    for i in range(16):
        text[LIMIT_KEY - 1 - i] = hex[h >> (4 * i) & 15]
    table_key(t, key, text, LIMIT_KEY)


# The key of the request. False: it has none, and that of its client stands for it.
cdef bint find_key(eval_t *c, const plan_limit_t *limit, const table_t *t, table_key_t *key) noexcept nogil:
    cdef char text[65]
    cdef sample_t s
    cdef size_t n = 1
    cdef bint found
    s.flags = 0
    c.used = 0
    found = expr_run(c, program_of(c.view.plan), limit.expr, &s) == SAMPLE_FOUND
    if t.key_type == TABLE_IPV6:
        found = found and (s.type == SAMPLE_IPV6 or sample_cast(c, &s, SAMPLE_IPV6) == SAMPLE_FOUND)
        if not found and (address_of(c, &s) != SAMPLE_FOUND or sample_cast(c, &s, SAMPLE_IPV6) != SAMPLE_FOUND):
            memset(s.address, 0, 16)          # a unix socket: all of them are one
        table_key(t, key, <const char *> s.address, 16)
        return found
    found = found and (s.type == SAMPLE_STR or sample_cast(c, &s, SAMPLE_STR) == SAMPLE_FOUND) and s.len != 0
    if found:
        string_key(t, key, s.p, s.len)
        return True
    text[0] = 0
    if address_of(c, &s) == SAMPLE_FOUND:
        n += sample_put_address(&s, text + 1)
    table_key(t, key, text, n)
    return False


# ---- claims ----


# Add the limits of a list, by the places of their tables, each once.
cdef uint32_t gather(const plan_t *p, limit_list_t limits, claim_t *claims, uint32_t n, mapping_t *m) noexcept nogil:
    cdef const uint32_t *list_ = (<const uint32_t *> (<const char *> p + p.limit_lists_at)) + limits.at
    cdef const plan_limit_t *limit
    cdef uint32_t i, at
    for i in range(limits.n):
        limit = plan_limit(p, list_[i])
        at = n
        while at > 0 and claims[at - 1].limit.table_at > limit.table_at:
            at -= 1
        if at > 0 and claims[at - 1].limit == limit:
            continue
        if n == 2 * LIMITS_MAX:
            break
        shift(claims, at, n)
        claims[at].limit = limit
        claims[at].number = list_[i]
        claims[at].table = table_at(m, limit.table_at)
        n += 1
    return n


cdef void shift(claim_t *claims, uint32_t at, uint32_t n) noexcept nogil:
    # Keys are found later: what moves is the beginning.
    while n > at:
        claims[n].limit = claims[n - 1].limit
        claims[n].number = claims[n - 1].number
        claims[n].table = claims[n - 1].table
        n -= 1


cdef inline uint64_t seconds(uint64_t ns) noexcept nogil:
    return (ns + 999999999) // 1000000000


# What answers tell of a limit, if it is the one that matters most.
cdef void show(const claim_t *claim, uint64_t owed_ns, bint refused, limit_verdict_t *out) noexcept nogil:
    cdef const plan_limit_t *limit = claim.limit
    cdef uint64_t most_ns = limit.burst * limit.interval_ns
    cdef uint32_t left = <uint32_t> ((most_ns - owed_ns) // limit.interval_ns)
    cdef uint64_t next_ns = most_ns - (left + 1) * limit.interval_ns if left < limit.burst else most_ns
    cdef uint32_t wait_s = <uint32_t> seconds(owed_ns - next_ns) if owed_ns > next_ns else 0
    if out.shown != 0 and not (refused and not out.refused):
        # Of several that refuse the one that does so longest, of several that do not the one with least left.
        if refused and wait_s <= out.wait_s:
            return
        if not refused and (left > out.left or (left == out.left and wait_s <= out.wait_s)):
            return
    out.shown = claim.number + 1
    out.left = left
    out.wait_s = wait_s
    out.refused = refused


cdef bint limits_take(eval_t *c, limit_list_t first, limit_list_t second, limit_verdict_t *out) noexcept nogil:
    cdef claim_t claims[2 * LIMITS_MAX]
    cdef claim_t *claim
    cdef counters_t *row
    cdef uint64_t now_ns = c.view.now_ms * NS_OF_MS, arrival, most_ns
    cdef uint32_t n, i
    cdef bint refused = False
    n = gather(c.view.plan, first, claims, 0, c.view.mapping)
    n = gather(c.view.plan, second, claims, n, c.view.mapping)
    for i in range(n):
        if not find_key(c, claims[i].limit, claims[i].table, &claims[i].key):
            c.view.rows[claims[i].limit.oid].err_req += 1
    for i in range(n):
        claim = &claims[i]
        claim.entry = table_enter(c.view.mapping, claim.table, &claim.key, c.view.now_ms, True)
        claim.fits = True
        if UNLIKELY(claim.entry == NULL):
            continue
        most_ns = claim.limit.burst * claim.limit.interval_ns
        arrival = table_read_locked(claim.table, claim.entry, STORE_ARRIVAL, 0, c.view.now_ms)
        # What was owed under an older, slower limit is not owed longer than this one can make it.
        claim.owed_ns = min(arrival - now_ns, most_ns) if arrival > now_ns else 0
        claim.fits = claim.owed_ns + claim.limit.interval_ns <= most_ns
        refused |= not claim.fits and not claim.limit.flags & LIMIT_SHADOW
    LB_KILL_POINT("limit.asked")
    for i in range(n):
        claim = &claims[i]
        row = &c.view.rows[claim.limit.oid]
        if UNLIKELY(claim.entry == NULL):
            row.internal_errors += 1
            continue
        if claim.fits and not refused:
            table_set_locked(
                claim.table, claim.entry, STORE_ARRIVAL, 0, now_ns + claim.owed_ns + claim.limit.interval_ns
            )
            LB_KILL_POINT("limit.moved")
        elif not claim.fits:
            table_add_locked(claim.table, claim.entry, STORE_REFUSED, 0, 1, c.view.now_ms)
        table_leave(claim.table, claim.key.shard)
        if not claim.fits and claim.limit.flags & LIMIT_SHADOW:
            row.intercepted += 1
            if out.shadow == 0:
                out.shadow = claim.number + 1
        elif not claim.fits:
            row.denied_req += 1
            show(claim, claim.owed_ns, True, out)
        elif not refused:
            row.req_total += 1
            if not claim.limit.flags & LIMIT_SHADOW:
                show(claim, claim.owed_ns + claim.limit.interval_ns, False, out)
    return refused
