"""The door through which unit tests reach log rings and log lines. Not in the release build."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.base.logring cimport (
    LOGRING_DATA, logrecord_t, logring_adopt, logring_commit, logring_init, logring_next, logring_peek,
    logring_reserve, logring_t,
)
from lb._speedups.base.mapping cimport mapping_ring
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.logline cimport (
    LOGLINE_CAP, LOGLINE_MIN, log_end_t, log_view_t, logline_http, logline_init, logline_json, logline_t, logline_tcp,
    slice_t,
)
from lb._speedups.policy.logformat cimport logformat_is_open, logformat_width, logformat_write
from lb._speedups.policy.plan cimport (
    MODE_HTTP, MODE_TCP, log_op_t, plan_check, plan_log, plan_t,
)

import socket

RING_DATA = LOGRING_DATA
LINE_MIN = LOGLINE_MIN
LINE_CAP = LOGLINE_CAP


cdef class Ring:
    cdef Py_buffer view
    cdef Mapping mapping
    cdef char *ring
    cdef char *room

    def __cinit__(self, memory, uint32_t slot=0, bint init=True):
        if isinstance(memory, Mapping):
            self.mapping = memory
            self.ring = mapping_ring(self.mapping.m, slot)
            return
        PyObject_GetBuffer(memory, &self.view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.ring = <char *>self.view.buf
        if init:
            logring_init(self.ring, self.view.len)

    def __dealloc__(self):
        if self.mapping is None:
            PyBuffer_Release(&self.view)

    def adopt(self):
        logring_adopt(self.ring, self.view.len)

    def reserve(self, uint64_t size):
        self.room = logring_reserve(self.ring, size)
        return self.room != NULL

    def fill(self, const uint8_t[::1] text):
        if text.shape[0]:
            memcpy(self.room, &text[0], text.shape[0])

    def commit(self, size, target=0, level=0):
        logring_commit(self.ring, size, target, level)

    def write(self, const uint8_t[::1] text, target=0, level=0):
        if not self.reserve(text.shape[0]):
            return False
        self.fill(text)
        self.commit(text.shape[0], target, level)
        return True

    def repeat(self, const uint8_t[::1] text, uint64_t count, target=0):
        cdef uint64_t _i
        cdef size_t n = text.shape[0]
        cdef int to = target
        with nogil:
            for _i in range(count):
                self.room = logring_reserve(self.ring, n)
                if self.room != NULL:
                    memcpy(self.room, &text[0], n)
                    logring_commit(self.ring, n, to, 0)

    def peek(self):
        cdef logrecord_t record
        cdef const char *text = logring_peek(self.ring, &record)
        if text == NULL:
            return None
        return text[:record.len], record.target, record.level

    def read(self):
        cdef logrecord_t record
        cdef const char *text = logring_peek(self.ring, &record)
        if text == NULL:
            return None
        found = text[:record.len]
        logring_next(self.ring, &record)
        return found

    @property
    def head(self):
        return (<logring_t *>self.ring).head

    @head.setter
    def head(self, value):
        (<logring_t *>self.ring).head = value

    @property
    def size(self):
        return (<logring_t *>self.ring).size

    @size.setter
    def size(self, value):
        (<logring_t *>self.ring).size = value

    @property
    def tail(self):
        return (<logring_t *>self.ring).tail

    @tail.setter
    def tail(self, value):
        (<logring_t *>self.ring).tail = value

    @property
    def dropped(self):
        return (<logring_t *>self.ring).dropped

    @property
    def broken(self):
        return (<logring_t *>self.ring).broken


cdef set_end(log_end_t *end, given):
    cdef bytes packed
    if given is None:
        return
    host, port = given
    end.family = socket.AF_UNIX if not host else socket.AF_INET6 if ":" in host else socket.AF_INET
    end.port = port
    if host:
        packed = socket.inet_pton(end.family, host)
        memcpy(end.address, <const char *>packed, len(packed))


def width(int kind):
    cdef log_op_t op
    memset(&op, 0, sizeof(op))
    op.kind = kind
    return logformat_width(&op), bool(logformat_is_open(&op))


cdef class Lines:
    cdef logline_t state
    cdef log_view_t view
    cdef list kept

    def __cinit__(self):
        logline_init(&self.state)

    cdef slice_t keep(self, text):
        cdef slice_t out
        if isinstance(text, str):
            text = text.encode()
        # A copy of exact size, so that a byte read behind the end is seen by ASan.
        exact = bytearray(text)
        self.kept.append(exact)
        out.p = <const char *>exact if text else NULL
        out.len = len(text)
        return out

    cdef set_view(self, dict f):
        cdef bytes packed
        self.kept = []
        memset(&self.view, 0, sizeof(self.view))
        v = &self.view
        v.mode = MODE_TCP if f.get("mode") == "tcp" else MODE_HTTP
        termination = f.get("termination", "--").encode()
        v.end_cause = termination[0]
        v.end_phase = termination[1]
        if len(termination) == 4:
            v.cookie = termination[2]
            v.set_cookie = termination[3]
        v.http10 = f.get("http10", False)
        v.is_tls = f.get("is_tls", False)
        v.redispatched = f.get("redispatched", False)
        v.has_request = f.get("has_request", True)
        v.reused = f.get("reused", False)
        v.status = f.get("status", 200)
        v.retries = f.get("retries", 0)
        v.family = f.get("family", socket.AF_INET)
        v.port = f.get("port", 44682)
        packed = b"" if v.family == socket.AF_UNIX else socket.inet_pton(v.family, f.get("address", "127.0.0.1"))
        memcpy(v.address, <const char *>packed, len(packed))
        v.accept_us = f.get("accept_us", 0)
        v.request_ms = f.get("request_ms", 0)
        v.queue_ms = f.get("queue_ms", 0)
        v.connect_ms = f.get("connect_ms", 0)
        v.response_ms = f.get("response_ms", 0)
        v.active_ms = f.get("active_ms", 0)
        v.bytes_out = f.get("bytes_out", 0)
        v.bytes_in = f.get("bytes_in", 0)
        v.frontend = self.keep(f.get("frontend", "web"))
        v.backend = self.keep(f.get("backend", "app"))
        v.server = self.keep(f.get("server", "a"))
        v.method = self.keep(f.get("method", "GET"))
        v.target = self.keep(f.get("target", "/"))
        v.host = self.keep(f.get("host", ""))
        v.request_id = self.keep(f.get("request_id", ""))
        v.reason = self.keep(f.get("reason", ""))
        v.limit = self.keep(f.get("limit", ""))
        v.limit_shadow = self.keep(f.get("limit_shadow", ""))
        v.actconn = f.get("actconn", 0)
        v.feconn = f.get("feconn", 0)
        v.beconn = f.get("beconn", 0)
        v.srvconn = f.get("srvconn", 0)
        v.srvqueue = f.get("srvqueue", 0)
        v.bequeue = f.get("bequeue", 0)
        v.path = self.keep(f.get("path", "/"))
        v.idle_ms = f.get("idle_ms", 0)
        v.number = f.get("number", 0)
        v.logged = f.get("logged", 0)
        set_end(&v.local, f.get("local"))
        set_end(&v.source, f.get("source"))
        set_end(&v.peer, f.get("peer"))

    def line(self, str form, size_t cap=LOGLINE_CAP, **fields):
        self.set_view(fields)
        # Of exact size, for the same reason.
        cdef char *dst = <char *>malloc(cap)
        try:
            if form == "http":
                return dst[:logline_http(&self.state, &self.view, dst, cap)]
            if form == "tcp":
                return dst[:logline_tcp(&self.state, &self.view, dst, cap)]
            return dst[:logline_json(&self.state, &self.view, dst, cap)]
        finally:
            free(dst)

    def program(self, bytes image, log=0, **fields):
        cdef size_t n = len(image)
        cdef plan_t *plan = <plan_t *>malloc(n)
        cdef char *dst = <char *>malloc(LOGLINE_CAP)
        memcpy(plan, <const char *>image, n)
        self.set_view(fields)
        try:
            if plan_check(plan, n) or log >= plan.nlogs:
                raise ValueError("plan_check refuses the image")
            return dst[:logformat_write(&self.state, &self.view, plan, plan_log(plan, log), dst, NULL)]
        finally:
            free(plan)
            free(dst)
