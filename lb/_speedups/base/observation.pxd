# Observation: what traffic shows of a server's health, noticed by workers, judged by the supervisor.
#
# Each server has a word in its object_t that counts failures in a row over all workers. A worker adds one when a
# connection fails through the server's fault, and writes 0 when one is made, if it was not 0 already: a server that is
# well costs a look at a word that nobody writes. When the count comes to a multiple of the server's limit, the worker
# sets the server's bit among the suspects and writes the supervisor's eventfd. That is all: the worker takes nobody
# out. The supervisor takes the bits when it gets to it and decides; if it is stopped, traffic goes on with retries.
#
# The words are atomics without an order: a success and a failure at the same time may settle either way.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.base.mapping cimport mapping_object, mapping_t, object_t

cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    uint32_t lb_load_relaxed_u32(const uint32_t *p)
    void lb_store_relaxed_u32(uint32_t *p, uint32_t value)

# A connection to this server was made.
cdef inline void observation_good(mapping_t *m, uint32_t oid) noexcept nogil:
    cdef object_t *o = mapping_object(m, oid)
    if UNLIKELY(lb_load_relaxed_u32(&o.failures) != 0):
        lb_store_relaxed_u32(&o.failures, 0)

# A connection to this server could not be made.
cdef void observation_bad(mapping_t *m, uint32_t oid) noexcept nogil

# Supervisor. This many failures in a row are told, and each further such number; 0 = nothing is counted. The count
# begins anew.
cdef void observation_limit(mapping_t *m, uint32_t oid, uint32_t limit) noexcept nogil

# Supervisor. Take up to `max` suspects; returns their number. Called until it returns 0.
cdef uint32_t observation_take(mapping_t *m, uint32_t *oids, uint32_t max) noexcept nogil
