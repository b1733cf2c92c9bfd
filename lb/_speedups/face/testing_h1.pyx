"""The door to messages, the HTTP/1 codec and the chunked coding. Not in the release build.

A guard page, mapped without any right, stands right behind the bytes fed: a message is moved on each feed so
that m.fill ends there (spans are offsets, so it may be moved; up to seven bytes of alignment hold poison).
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap,
)

from lb._speedups.proto.authority cimport authority_is_valid
from lb._speedups.proto.h1 cimport (
    CHUNKED_BAD, CHUNKED_DATA, CHUNKED_END, CHUNKED_MORE, chunked_init, chunked_is_last, chunked_read, chunked_t,
    chunked_write_size, h1_read_request, h1_read_response, h1_reason_text, h1_work, h1_write_request,
    h1_write_response,
)
from lb._speedups.proto.message cimport (
    MESSAGE_BLOCK, MESSAGE_EDIT_MAX, MESSAGE_REQUEST, MESSAGE_RESPONSE, NAME_COUNT, field_t, message_add,
    message_delete, message_find, message_reset, message_strip_hop, message_t, span_t,
)


cdef extern from "proto/h1_tables.h" nogil:
    const uint8_t h1_class[256]
    uint8_t h1_name_id(const char *p, size_t len)


cdef enum:
    PAGE = 4096
    ROOM = 32768                # accessible bytes in front of the guard page


def byte_class(uint8_t byte):
    return h1_class[byte]


def name_id(bytes name):
    return h1_name_id(name, len(name))


def is_authority(bytes text):
    cdef char *exact = <char *>malloc(len(text) or 1)
    if exact == NULL:
        raise MemoryError
    memcpy(exact, <char *>text, len(text))
    try:
        return authority_is_valid(exact, len(text))
    finally:
        free(exact)


def reason_text(uint8_t reason):
    return h1_reason_text(reason).decode()


def write_size(uint64_t n):
    cdef char line[32]
    memset(line, 0, sizeof(line))
    return line[:chunked_write_size(n, line)]


def work():
    """Bytes the head reader has looked at so far, in this process."""
    return h1_work()


cdef class Guarded:
    """ROOM bytes that end at a page nobody may touch."""

    cdef char *base

    def __cinit__(self):
        self.base = <char *>mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *>self.base == MAP_FAILED:
            self.base = NULL
            raise MemoryError
        if mprotect(self.base + ROOM, PAGE, PROT_NONE):
            raise MemoryError

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, ROOM + PAGE)


cdef class Head:
    cdef Guarded guarded
    cdef message_t *m
    cdef message_t *whole       # where the message may be written to: edits need the block behind fill
    cdef uint8_t method
    cdef char poison

    def __cinit__(self, uint8_t kind, uint8_t method=1, char poison=0):
        self.guarded = Guarded()
        self.whole = <message_t *>malloc(sizeof(message_t))
        if self.whole == NULL:
            raise MemoryError
        memset(self.whole, 0xdd, sizeof(message_t))
        self.m = self.whole
        self.method = method
        self.poison = poison
        message_reset(self.m, kind)

    def __dealloc__(self):
        free(self.whole)

    cdef void place(self, size_t fill) noexcept:
        """Move the message so that block[fill] is the guard page, but for alignment."""
        cdef size_t head = <size_t>(&self.whole.block[0] - <char *>self.whole)
        cdef size_t at = (ROOM - head - fill) & ~<size_t>7
        cdef size_t kept = self.m.fill
        cdef message_t *to = <message_t *>(self.guarded.base + at)
        memmove(to, self.m, head + kept)
        self.m = to
        memset(&to.block[fill], self.poison, ROOM - at - head - fill)

    cdef void settle(self) noexcept:
        """Move the message where all of its block is, for edits."""
        cdef size_t head = <size_t>(&self.whole.block[0] - <char *>self.whole)
        if self.m != self.whole:
            memmove(self.whole, self.m, head + self.m.fill)
            self.m = self.whole

    def feed(self, bytes data):
        cdef size_t n = len(data)
        cdef size_t fill = self.m.fill + n
        cdef size_t kept = self.m.fill
        cdef int got
        if fill > MESSAGE_BLOCK - MESSAGE_EDIT_MAX:
            raise ValueError("more than a head may be")
        self.place(fill)
        memcpy(&self.m.block[kept], <char *>data, n)
        self.m.fill = <unsigned short>fill
        if self.m.kind == MESSAGE_REQUEST:
            got = h1_read_request(self.m)
        else:
            got = h1_read_response(self.m, self.method)
        return got

    cdef bytes part(self, size_t at, size_t n):
        return PyBytes_FromStringAndSize(&self.m.block[at], n)

    cdef object text(self, span_t s):
        return self.part(s.at, s.len)

    def dump(self):
        cdef message_t *m = self.m
        return {
            "kind": m.kind, "method_id": m.method, "framing": m.framing, "reason_id": m.reason_id,
            "status": m.status, "flags": m.flags, "nfields": m.nfields, "nlive": m.nlive, "head_len": m.head_len,
            "length": m.length, "method": self.text(m.method_at), "target": self.text(m.target),
            "scheme": self.text(m.scheme), "authority": self.text(m.authority), "path": self.text(m.path),
            "query": self.text(m.query), "reason_phrase": self.text(m.reason), "fields": self.fields(),
            "by_name": {i: m.by_name[i] - 1 for i in range(NAME_COUNT) if m.by_name[i]},
        }

    def fields(self):
        cdef field_t *f
        found = []
        for i in range(self.m.nfields):
            f = &self.m.fields[i]
            found.append((self.part(f.name_at, f.name_len), self.part(f.value_at, f.value_len), f.id, f.flags))
        return found

    def make(self, uint16_t status, uint8_t method, uint8_t framing, uint64_t length):
        """Be a reply made here, without a phrase."""
        self.settle()
        message_reset(self.m, MESSAGE_RESPONSE)
        self.m.status = status
        self.m.method = method
        self.m.framing = framing
        self.m.length = length

    def add(self, uint8_t id, bytes name, bytes value):
        self.settle()
        return message_add(self.m, id, name, len(name), value, len(value))

    def delete(self, unsigned int i):
        message_delete(self.m, i)

    def strip_hop(self):
        message_strip_hop(self.m)

    def find(self, bytes name, unsigned int start=0):
        return message_find(self.m, name, len(name), start)

    def write(self, uint32_t flags=0, size_t cap=20000):
        """The head written in front of the guard page, or None if `cap` bytes do not suffice."""
        cdef Guarded out = Guarded()
        cdef char *dst = out.base + ROOM - cap
        cdef ssize_t n
        if cap > ROOM:
            raise ValueError("more than there is room for")
        if self.m.kind == MESSAGE_RESPONSE:
            n = h1_write_response(self.m, flags, dst, cap)
        else:
            n = h1_write_request(self.m, flags, dst, cap)
        return None if n < 0 else dst[:n]


cdef class Chunked:
    cdef chunked_t c
    cdef Guarded guarded

    def __cinit__(self):
        self.guarded = Guarded()
        chunked_init(&self.c)

    def feed(self, bytes data):
        """Feed all of `data`. Answer (data, bytes not used, "more", "end" or "bad")."""
        cdef size_t n = len(data)
        cdef size_t at = 0
        cdef size_t used, data_at, data_len
        cdef const char *p
        cdef int got
        if n > ROOM:
            raise ValueError("more than there is room for")
        p = self.guarded.base + ROOM - n
        memcpy(<char *>p, <char *>data, n)
        found = []
        while True:
            got = chunked_read(&self.c, p + at, n - at, &used, &data_at, &data_len)
            if data_at + data_len > used or used > n - at:
                raise AssertionError("slice outside of what was used")
            if got == CHUNKED_DATA:
                if data_len == 0 or data_at + data_len != used:
                    raise AssertionError("slice does not end what was used")
                found.append(p[at + data_at:at + data_at + data_len])
                at += used
                continue
            if data_len:
                raise AssertionError("slice without CHUNKED_DATA")
            at += used
            if got == CHUNKED_MORE and at != n:
                raise AssertionError("more wanted before all was used")
            break
        name = {CHUNKED_MORE: "more", CHUNKED_END: "end", CHUNKED_BAD: "bad"}[got]
        return b"".join(found), n - at, name

    @property
    def reason(self):
        return self.c.reason

    @property
    def is_last(self):
        return chunked_is_last(&self.c)
