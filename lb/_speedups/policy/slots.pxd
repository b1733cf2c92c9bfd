# Slots: the members of a balance in the order of their turns, each as often as its weight says.
#
# static-rr walks over them, a map-based hash takes slot `hash % number`. The order is HAProxy's (lb_map.c): the same
# servers and weights give the same slots, so a key finds the same server. Weights are divided by their greatest common
# divisor first: `divisor` is that of all members of the backend, usable or not.
from libc.stdint cimport uint32_t, uint64_t

# Greatest common divisor of those weights that are not 0; 1 when all are.
cdef uint32_t slots_divisor(const uint32_t *weights, uint32_t n) noexcept nogil

# Fill slots[sum of weights / divisor] with indexes into `weights` (0 = takes no part). Returns their number, or -1
# without memory. Takes sum x n steps at most.
cdef long slots_fill(uint32_t *slots, const uint32_t *weights, uint32_t n, uint32_t divisor) noexcept nogil
