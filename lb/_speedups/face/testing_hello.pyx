"""The door to the reader of TLS hellos. Not in the release build."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap,
)

from lb._speedups.proto.clienthello cimport (
    HELLO_FOUND, HELLO_GROUPS, HELLO_MAX, HELLO_NO_TICKET, HELLO_TICKET, hello_read, hello_t, hello_type, hello_version,
)

import time

cdef enum:
    PAGE = 4096
    ROOM = 81920                 # accessible bytes in front of the guard page


cdef class Reader:
    cdef char *base
    cdef char *room

    def __cinit__(self):
        self.base = <char *> mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *> self.base == MAP_FAILED:
            self.base = NULL
            raise MemoryError
        self.room = <char *> malloc(HELLO_MAX)
        if self.room == NULL or mprotect(self.base + ROOM, PAGE, PROT_NONE):
            raise MemoryError

    def __dealloc__(self):
        free(self.room)
        if self.base != NULL:
            munmap(self.base, ROOM + PAGE)

    cdef char *put(self, bytes data) except NULL:
        if len(data) > ROOM:
            raise ValueError(f"{len(data)} bytes; at most {ROOM} fit")
        memcpy(self.base + ROOM - len(data), <char *> data, len(data))
        return self.base + ROOM - len(data)

    def read(self, bytes data):
        cdef hello_t out
        r = hello_read(self.put(data), len(data), self.room, &out)
        if r != HELLO_FOUND:
            return r, None
        return r, {
            "version": out.version,
            "sni": None if out.sni == NULL else out.sni[:out.sni_len],
            "alpn": None if out.alpn == NULL else out.alpn[:out.alpn_len],
            "groups": (out.flags & HELLO_GROUPS) != 0,
            "ticket": 2 if out.flags & HELLO_TICKET else 1 if out.flags & HELLO_NO_TICKET else 0,
        }

    def type(self, bytes data):
        cdef uint32_t found = 0
        r = hello_type(self.put(data), len(data), &found)
        return r, found if r == HELLO_FOUND else None

    def version(self, bytes data, size_t most=16384):
        cdef uint32_t found = 0
        r = hello_version(self.put(data), len(data), most, &found)
        return r, found if r == HELLO_FOUND else None

    def read_ns(self, bytes data, int times):
        cdef const char *at = data
        cdef size_t n = len(data)
        cdef hello_t out
        cdef int _i
        begin = time.perf_counter_ns()
        for _i in range(times):
            hello_read(at, n, self.room, &out)
        return (time.perf_counter_ns() - begin) / times
