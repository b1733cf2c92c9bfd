from libc.string cimport memcmp

from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.route cimport route_hash


cdef inline const users_t *users_of(const plan_t *p) noexcept nogil:
    return <const users_t *> (<const char *> p + p.users_at)


cdef const user_t *users_find(const plan_t *p, uint32_t list, const char *name, size_t n) noexcept nogil:
    cdef const users_t *users
    cdef const userlist_t *found
    cdef const user_t *slots
    cdef uint32_t i
    if p.users_at == 0 or n == 0:
        return NULL
    users = users_of(p)
    if list >= users.lists:
        return NULL
    found = (<const userlist_t *> (<const char *> p + users.lists_at)) + list
    slots = (<const user_t *> (<const char *> p + users.slots_at)) + found.slots_at
    i = route_hash(name, n, 0) & (found.slots - 1)
    while slots[i].name.len != 0:
        if slots[i].name.len == n and memcmp(plan_text(p, slots[i].name), name, n) == 0:
            return &slots[i]
        i = (i + 1) & (found.slots - 1)
    return NULL
