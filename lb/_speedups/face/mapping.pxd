# The shared mapping's owner. Other doors cimport it, keep a reference and work on `m`, which stays mapped
# while the object lives and close() was not called.
from lb._speedups.base.mapping cimport mapping_t


cdef class Mapping:
    cdef mapping_t *m            # NULL after close()
    cdef int descriptor          # the memfd
    cdef bint owns               # this object closes the descriptor
    cdef readonly int users      # doors that work on `m`: close() refuses while there are any
