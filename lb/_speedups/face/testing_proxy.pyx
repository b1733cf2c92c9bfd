"""The door to the PROXY protocol's parser. Not in the release build."""

from libc.string cimport memcpy
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap,
)

from lb._speedups.proto.proxy cimport PROXY_OK, PROXY_REASONS, proxy_read, proxy_reason_text, proxy_t

import time

cdef enum:
    PAGE = 4096
    ROOM = 81920                 # accessible bytes in front of the guard page


def reasons():
    """Return all reasons: number -> text."""
    numbers = [PROXY_OK, *range(128, PROXY_REASONS)]
    return {number: proxy_reason_text(number).decode() for number in numbers}


cdef class Reader:
    cdef char *base

    def __cinit__(self):
        self.base = <char *> mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *> self.base == MAP_FAILED:
            self.base = NULL
            raise MemoryError
        if mprotect(self.base + ROOM, PAGE, PROT_NONE):
            raise MemoryError

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, ROOM + PAGE)

    def read(self, bytes data, size_t limit=16384):
        cdef char *at = self.base + ROOM - len(data)
        cdef proxy_t out
        if len(data) > ROOM:
            raise ValueError(f"{len(data)} bytes; at most {ROOM} fit")
        memcpy(at, <char *> data, len(data))
        size = proxy_read(at, len(data), limit, &out)
        if size <= 0:
            return size, None
        return size, {
            "version": out.version, "local": bool(out.is_local), "datagram": bool(out.is_datagram), "family": out.family,
            "source": ((<char *> out.source)[:16], out.source_port), "target": ((<char *> out.target)[:16], out.target_port),
            "tlvs": data[out.tlvs_at:out.tlvs_at + out.tlvs_len],
        }

    def read_many(self, bytes data, int times):
        cdef const char *at = data
        cdef size_t n = len(data)
        cdef proxy_t out
        cdef int _i
        cdef long sum_ = 0
        begin = time.perf_counter_ns()
        for _i in range(times):
            sum_ += proxy_read(at, n, 16384, &out)
        return (time.perf_counter_ns() - begin) / times
