from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.base.mapping cimport MAPPING_ARENA, MAPPING_ARENA_AT, MAPPING_OBJECTS
from lb._speedups.policy.limit cimport LIMIT_BURST_MAX, LIMIT_FIELD_MAX, LIMITS_MAX, plan_limit, plan_limit_t
from lb._speedups.policy.plan cimport plan_array_fits, plan_text_fits
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.table cimport table_t


cdef bint limit_list_fits(const plan_t *p, limit_list_t limits) noexcept nogil:
    return limits.n <= LIMITS_MAX and <uint64_t> limits.at + limits.n <= p.nlimit_lists


cdef int limits_check(const plan_t *p) noexcept nogil:
    cdef const plan_limit_t *limit
    cdef const uint32_t *lists
    cdef uint32_t i
    if not plan_array_fits(p, p.limits_at, p.nlimits, sizeof(plan_limit_t)) \
            or not plan_array_fits(p, p.limit_lists_at, p.nlimit_lists, sizeof(uint32_t)):
        return -1
    for i in range(p.nlimits):
        limit = plan_limit(p, i)
        if not plan_text_fits(p, limit.name) or not plan_text_fits(p, limit.policy) or limit.policy.len > LIMIT_FIELD_MAX:
            return -1
        # What a key may owe fits a word with the time of the clock.
        if not 1 <= limit.burst <= LIMIT_BURST_MAX \
                or not 1 <= limit.interval_ns <= <uint64_t> 4000000000000000000ULL // limit.burst:
            return -1
        if limit.oid >= MAPPING_OBJECTS or p.program_at == 0 or limit.expr >= program_of(p).exprs:
            return -1
        if limit.table_at < MAPPING_ARENA_AT or limit.table_at % 64 != 0 \
                or limit.table_at > MAPPING_ARENA_AT + MAPPING_ARENA - sizeof(table_t):
            return -1
    lists = <const uint32_t *> (<const char *> p + p.limit_lists_at)
    for i in range(p.nlimit_lists):
        if lists[i] >= p.nlimits:
            return -1
    return 0
