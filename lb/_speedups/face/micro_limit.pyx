"""Rate limits as a worker asks them, for tests and benches."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.base.mapping cimport mapping_counters
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.limit cimport limit_verdict_t, limits_take, plan_limit
from lb._speedups.policy.plan cimport limit_list_t, plan_backend, plan_check, plan_frontend, plan_t, plan_text
from lb._speedups.policy.sample cimport SAMPLE_SCRATCH, eval_t, view_t
from lb._speedups.proto.h1 cimport h1_read_request
from lb._speedups.proto.message cimport MESSAGE_REQUEST, message_reset, message_t

import socket


cdef class Limiter:
    """A plan, and requests that its limits are asked for."""

    cdef plan_t *p
    cdef message_t *request
    cdef view_t view
    cdef eval_t eval
    cdef Mapping mapping

    def __cinit__(self, bytes image, Mapping mapping, uint32_t slot=0):
        self.mapping = mapping
        self.p = <plan_t *> malloc(len(image))
        self.request = <message_t *> calloc(1, sizeof(message_t))
        self.eval.scratch = <char *> malloc(SAMPLE_SCRATCH)
        if self.p == NULL or self.request == NULL or self.eval.scratch == NULL:
            raise MemoryError
        memcpy(self.p, <char *> image, len(image))
        if plan_check(self.p, len(image)):
            raise ValueError("plan_check refuses the image")
        self.view.plan = self.p
        self.view.mapping = mapping.m
        self.view.rows = mapping_counters(mapping.m, slot, 0)
        self.view.frontend = plan_frontend(self.p, 0)
        self.view.request = self.request
        self.eval.view = &self.view

    def __dealloc__(self):
        free(self.p)
        free(self.request)
        free(self.eval.scratch)

    def set_request(self, bytes head, str source):
        message_reset(self.request, MESSAGE_REQUEST)
        memcpy(self.request.block, <char *> head, len(head))
        self.request.fill = len(head)
        if h1_read_request(self.request) <= 0:
            raise ValueError("not a request")
        memset(&self.view.source, 0, sizeof(self.view.source))
        if source:
            raw = socket.inet_pton(socket.AF_INET6 if ":" in source else socket.AF_INET, source)
            self.view.source.family = socket.AF_INET6 if ":" in source else socket.AF_INET
            memcpy(self.view.source.bytes, <char *> raw, len(raw))

    def take(self, uint64_t now_ms, uint64_t times=1, bint backend=True):
        """Ask the limits of the first frontend and the first backend together, so often."""
        cdef limit_verdict_t said
        cdef limit_list_t first = plan_frontend(self.p, 0).limits
        cdef limit_list_t second = plan_backend(self.p, 0).limits
        cdef uint64_t _i, passed = 0
        memset(&said, 0, sizeof(said))
        if not backend:
            second = first
        self.view.now_ms = now_ms
        with nogil:
            for _i in range(times):
                memset(&said, 0, sizeof(said))
                passed += not limits_take(&self.eval, first, second, &said)
        return passed, self.name(said.shown), said.left, said.wait_s, self.name(said.shadow)

    cdef str name(self, uint32_t number):
        if number == 0:
            return ""
        text = plan_limit(self.p, number - 1).name
        return plan_text(self.p, text)[:text.len].decode()
