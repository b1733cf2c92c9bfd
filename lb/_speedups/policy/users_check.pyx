from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.plan cimport plan_array_fits, plan_text_fits
from lb._speedups.policy.users cimport user_t, userlist_t, users_t


cdef int check_list(const users_t *users, const userlist_t *list, const user_t *slots) noexcept nogil:
    cdef uint32_t i
    if list.slots == 0 or list.slots & (list.slots - 1) or <uint64_t> list.slots_at + list.slots > users.slots:
        return -1
    for i in range(list.slots):               # a lookup ends at an empty slot, so there must be one
        if slots[list.slots_at + i].name.len == 0:
            return 0
    return -1


cdef int users_check(const plan_t *p) noexcept nogil:
    cdef const users_t *users
    cdef const user_t *slots
    cdef uint32_t i
    if p.users_at == 0:
        return 0
    if not plan_array_fits(p, p.users_at, 1, sizeof(users_t)):
        return -1
    users = <const users_t *> (<const char *> p + p.users_at)
    if not plan_array_fits(p, users.lists_at, users.lists, sizeof(userlist_t)) \
            or not plan_array_fits(p, users.slots_at, users.slots, sizeof(user_t)):
        return -1
    slots = <const user_t *> (<const char *> p + users.slots_at)
    for i in range(users.slots):
        if not plan_text_fits(p, slots[i].name) or not plan_text_fits(p, slots[i].secret):
            return -1
    for i in range(users.lists):
        if check_list(users, (<const userlist_t *> (<const char *> p + users.lists_at)) + i, slots) != 0:
            return -1
    return 0
