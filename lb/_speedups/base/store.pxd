# The store: room behind the mapping for what is big and shared, such as maps of a million entries.
#
# It is the end of the same memfd and of the same stretch of addresses, so a place in it is an offset from the mapping's
# start, and every process that has the mapping has it. It is sparse: 16 GiB of addresses, no memory until some is
# reserved. Only the supervisor gives places out (lb/supervisor/references.py keeps the list); they begin at pages, and
# are zero.
from libc.stdint cimport uint64_t

from lb._speedups.base.mapping cimport MAPPING_BYTES, mapping_t

cdef enum:
    STORE_PAGE = 4096
    STORE_AT = 10510991360       # MAPPING_BYTES
    STORE_BYTES = 17179869184

# Whether size bytes at this place lie in the store.
cdef inline bint store_holds(uint64_t at, uint64_t size) noexcept nogil:
    return STORE_AT <= at <= STORE_AT + <uint64_t> STORE_BYTES and size <= STORE_AT + <uint64_t> STORE_BYTES - at

# Give memory to size bytes at a page of the store. 0, or -1 with errno.
cdef int store_reserve(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil

# Take it away again: the bytes are zero from then on.
cdef void store_release(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil
