"""The door for bench/micro: the HTTP/1 codec repeated in compiled code. Also in the release build, which is timed."""

from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from lb._speedups.proto.h1 cimport (
    CHUNKED_END, chunked_init, chunked_read, chunked_t, h1_read_request, h1_read_response, h1_write_request,
    h1_write_response,
)
from lb._speedups.proto.message cimport (
    MESSAGE_HEAD_MAX, MESSAGE_REQUEST, MESSAGE_RESPONSE, METHOD_GET, message_reset, message_t,
)


cdef class Codec:
    """One head, read and written as often as wanted."""

    cdef message_t *m
    cdef bint is_response
    cdef size_t fill
    cdef char out[20000]

    def __cinit__(self, bytes head, bint is_response):
        if len(head) > MESSAGE_HEAD_MAX:
            raise ValueError(f"a head has at most {MESSAGE_HEAD_MAX} bytes, got {len(head)}")
        self.m = <message_t *>malloc(sizeof(message_t))
        if self.m == NULL:
            raise MemoryError
        self.is_response = is_response
        self.fill = len(head)
        memcpy(self.m.block, <char *>head, self.fill)
        if self.fill == 0 or self.parse() != <int>self.fill:
            raise ValueError("not exactly one good head")

    def __dealloc__(self):
        free(self.m)

    cdef int parse(self) noexcept nogil:
        message_reset(self.m, MESSAGE_RESPONSE if self.is_response else MESSAGE_REQUEST)
        self.m.fill = <unsigned short>self.fill
        if self.is_response:
            return h1_read_response(self.m, METHOD_GET)
        return h1_read_request(self.m)

    def read(self, unsigned long n):
        cdef unsigned long _
        with nogil:
            for _ in range(n):
                self.parse()

    def write(self, unsigned long n):
        cdef unsigned long _
        with nogil:
            for _ in range(n):
                if self.is_response:
                    h1_write_response(self.m, 0, self.out, sizeof(self.out))
                else:
                    h1_write_request(self.m, 0, self.out, sizeof(self.out))


def unchunk(bytes body, unsigned long n):
    """Read one whole chunked body n times; answer the bytes of data in it."""
    cdef chunked_t c
    cdef const char *p = body
    cdef size_t size = len(body)
    cdef size_t at, used, data_at, data_len
    cdef size_t data = 0
    cdef int got = CHUNKED_END
    cdef unsigned long _
    with nogil:
        for _ in range(n):
            chunked_init(&c)
            at = 0
            data = 0
            while True:
                got = chunked_read(&c, p + at, size - at, &used, &data_at, &data_len)
                at += used
                data += data_len
                if got <= 0 or got == CHUNKED_END:
                    break
    if got != CHUNKED_END:
        raise ValueError("not a whole chunked body")
    return data
