cdef extern from "<fcntl.h>" nogil:
    int fallocate(int fd, int mode, long offset, long len)
    int FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE


cdef int store_reserve(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil:
    return fallocate(<int> m.fd, 0, <long> at, <long> size)


cdef void store_release(mapping_t *m, uint64_t at, uint64_t size) noexcept nogil:
    fallocate(<int> m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, <long> at, <long> size)
