"""The door for bench/micro: log lines and rings repeated in compiled code. Also in the release build, which is timed."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from lb._speedups.base.logring cimport (
    logrecord_t, logring_commit, logring_next, logring_peek, logring_reserve,
)
from lb._speedups.base.mapping cimport mapping_ring
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.logline cimport (
    LOGLINE_CAP, log_view_t, logline_http, logline_init, logline_json, logline_t, logline_tcp, slice_t,
)
from lb._speedups.policy.logformat cimport logformat_write
from lb._speedups.policy.plan cimport MODE_HTTP, plan_log, plan_t


cdef extern from "<sys/socket.h>":
    int AF_INET


cdef inline slice_t literal(const char *text) noexcept nogil:
    cdef slice_t out
    out.p = text
    out.len = strlen(text)
    return out


cdef class Line:
    cdef logline_t state
    cdef log_view_t view
    cdef int form
    cdef char out[LOGLINE_CAP]
    cdef bytes image            # of a plan whose first log is the program
    cdef const plan_t *plan     # the same

    def __cinit__(self, form, image=b""):
        self.form = ("http", "tcp", "json", "program").index(form)
        self.image = image
        self.plan = <const plan_t *><const char *>self.image
        logline_init(&self.state)
        memset(&self.view, 0, sizeof(self.view))
        v = &self.view
        v.mode = MODE_HTTP
        v.end_cause = b"-"
        v.end_phase = b"-"
        v.has_request = True
        v.status = 200
        v.family = AF_INET
        v.port = 44682
        memcpy(v.address, <const char *>b"\xcb\x00\x71\x4d", 4)
        v.accept_us = 1795335240_123_456
        v.connect_ms = 1
        v.response_ms = 12
        v.active_ms = 13
        v.bytes_out = 1289
        v.bytes_in = 312
        v.frontend = literal(b"web")
        v.backend = literal(b"app")
        v.server = literal(b"orders-1")
        v.method = literal(b"GET")
        v.target = literal(b"/v1/orders/12345?expand=items&limit=20")
        v.path = v.target
        v.host = literal(b"api.example.com")
        v.request_id = literal(b"01HF3K5V9Q8ZJ4")
        v.actconn = 120
        v.feconn = 118
        v.beconn = 33
        v.srvconn = 11

    cdef size_t format(self) noexcept nogil:
        self.view.accept_us += 1000
        if self.form == 0:
            return logline_http(&self.state, &self.view, self.out, LOGLINE_CAP)
        if self.form == 1:
            return logline_tcp(&self.state, &self.view, self.out, LOGLINE_CAP)
        if self.form == 3:
            return logformat_write(&self.state, &self.view, self.plan, plan_log(self.plan, 0), self.out, NULL)
        return logline_json(&self.state, &self.view, self.out, LOGLINE_CAP)

    def text(self):
        return self.out[:self.format()]

    def write(self, uint64_t n):
        cdef uint64_t _i
        with nogil:
            for _i in range(n):
                self.format()


cdef class Producer:
    cdef Mapping mapping
    cdef char *ring
    cdef bytes text

    def __cinit__(self, Mapping mapping, uint32_t slot, bytes text):
        self.mapping = mapping
        self.ring = mapping_ring(mapping.m, slot)
        self.text = text

    cdef void put(self, const char *text, size_t size) noexcept nogil:
        cdef char *room = logring_reserve(self.ring, LOGLINE_CAP)
        if room != NULL:
            memcpy(room, text, size)
            logring_commit(self.ring, size, 0, 0)

    def write(self, uint64_t n):
        cdef const char *text = self.text
        cdef size_t size = len(self.text)
        cdef uint64_t _i
        with nogil:
            for _i in range(n):
                self.put(text, size)

    def pass_through(self, uint64_t n):
        cdef const char *text = self.text
        cdef size_t size = len(self.text)
        cdef logrecord_t record
        cdef uint64_t _i
        with nogil:
            for _i in range(n):
                self.put(text, size)
                if logring_peek(self.ring, &record) != NULL:
                    logring_next(self.ring, &record)
