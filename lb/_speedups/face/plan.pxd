# The image being filled, for the modules that write parts of it.
from libc.stdint cimport uint32_t, uint64_t

from lb._speedups.policy.plan cimport netset_t, text_t


cdef class Image:
    """One image being filled."""

    cdef bytearray raw
    cdef char *base
    cdef uint64_t end                # bytes in use
    cdef dict texts                  # text -> its offset
    cdef dict netsets                # bytes of a set of networks -> their offset

    cdef uint32_t place(self, uint64_t n, uint64_t size) except? 0
    cdef place_netset(self, row)
    cdef put_netset(self, netset_t *out, row)
    cdef allocate(self)
    cdef text(self, text_t *out, bytes text)
    cdef bytes finish(self)
