# User lists in the plan: names with what their passwords are kept as. Groups are none of its business: a condition that names one
# has become the names of its users when the configuration was read (lb/language/condition.py).
#
# A list is a range of slots, open addressing by route_hash of the name.
from libc.stdint cimport uint32_t

from lb._speedups.policy.plan cimport plan_t, text_t

ctypedef struct user_t:
    text_t name                  # len 0 = empty slot
    text_t secret                # a hash of crypt(3), or the password itself
    uint32_t plain               # 1: the password itself
    uint32_t pad

ctypedef struct userlist_t:
    uint32_t slots_at            # index of its first slot
    uint32_t slots               # a power of two, with an empty one among them

ctypedef struct users_t:         # at plan_t.users_at
    uint32_t lists_at            # offset of userlist_t[lists]
    uint32_t lists
    uint32_t slots_at            # offset of user_t[slots]
    uint32_t slots

# The user of this name, or NULL (also when there is no such list).
cdef const user_t *users_find(const plan_t *p, uint32_t list, const char *name, size_t n) noexcept nogil
