from libc.stdint cimport uint32_t

from lb._speedups.base.mapping cimport MAPPING_ARENA, MAPPING_ARENA_AT
from lb._speedups.policy.persistence cimport (
    PERSIST_INSERT, PERSIST_PREFIX, PERSIST_REWRITE, STICKS_MAX, persistence_of, persistence_t, stick_t,
)
from lb._speedups.policy.plan cimport plan_array_fits, plan_text_fits
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.table cimport table_t


cdef int check_sticks(const plan_t *p, uint32_t at, uint32_t n, bint with_tables) noexcept nogil:
    cdef const stick_t *sticks
    cdef uint32_t i
    if n == 0:
        return 0
    if n > STICKS_MAX or p.program_at == 0 or not plan_array_fits(p, at, n, sizeof(stick_t)):
        return -1
    sticks = <const stick_t *> (<const char *> p + at)
    for i in range(n):
        if sticks[i].cond > program_of(p).conds:
            return -1
        if not with_tables:
            continue
        if sticks[i].expr >= program_of(p).exprs:
            return -1
        if sticks[i].table_at < MAPPING_ARENA_AT or sticks[i].table_at % 64 != 0 \
                or sticks[i].table_at > MAPPING_ARENA_AT + MAPPING_ARENA - sizeof(table_t):
            return -1
    return 0


cdef int persistence_check(const plan_t *p, const plan_backend_t *b) noexcept nogil:
    cdef const persistence_t *c
    cdef uint32_t modes
    if b.persistence_at == 0:
        return 0
    # There is a program, if only an empty one: evaluation begins with it.
    if p.program_at == 0 or not plan_array_fits(p, b.persistence_at, 1, sizeof(persistence_t)):
        return -1
    c = persistence_of(p, b)
    modes = c.flags & (PERSIST_INSERT | PERSIST_REWRITE | PERSIST_PREFIX)
    if modes & (modes - 1):
        return -1
    if not plan_text_fits(p, c.name) or not plan_text_fits(p, c.tail) or not plan_text_fits(p, c.removal):
        return -1
    if c.max_idle_s < 0 or c.max_life_s < 0 or c.forces > c.exceptions:
        return -1
    return -1 if check_sticks(p, c.sticks_at, c.sticks, True) or check_sticks(p, c.exceptions_at, c.exceptions, False) else 0
