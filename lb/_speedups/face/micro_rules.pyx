"""The door for bench/micro: rules and expressions repeated in compiled code. Also in the release build, which is timed."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from lb._speedups.policy.crypto cimport crypto_free, crypto_t
from lb._speedups.policy.expression cimport expr_run
from lb._speedups.policy.plan cimport plan_check, plan_frontend, plan_t
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.regex cimport regex_shelf_free, regex_shelf_init, regex_shelf_t
from lb._speedups.policy.regexes cimport REGEXES_READY, regexes_compile, regexes_free, regexes_init, regexes_t
from lb._speedups.policy.rule cimport rules_run, verdict_t
from lb._speedups.policy.sample cimport SAMPLE_SCRATCH, eval_t, sample_t, view_t
from lb._speedups.proto.h1 cimport h1_read_request
from lb._speedups.proto.message cimport MESSAGE_REQUEST, message_reset, message_t

import socket


cdef class Judge:
    cdef bytes image
    cdef const plan_t *p
    cdef message_t *m
    cdef view_t view
    cdef eval_t eval
    cdef crypto_t crypto
    cdef regex_shelf_t shelf
    cdef regexes_t regexes

    def __cinit__(self, bytes image, bytes head):
        self.image = image
        self.p = <const plan_t *> <const char *> self.image
        self.m = <message_t *> calloc(1, sizeof(message_t))
        self.eval.scratch = <char *> calloc(1, SAMPLE_SCRATCH)
        if self.m == NULL or self.eval.scratch == NULL:
            raise MemoryError
        if plan_check(self.p, len(image)):
            raise ValueError("plan_check refuses the image")
        message_reset(self.m, MESSAGE_REQUEST)
        memcpy(self.m.block, <const char *> head, len(head))
        self.m.fill = len(head)
        if h1_read_request(self.m) <= 0:
            raise ValueError("not a request")
        self.view.plan = self.p
        self.view.frontend = plan_frontend(self.p, 0)
        self.view.request = self.m
        self.view.source.family = socket.AF_INET
        memcpy(self.view.source.bytes, <const char *> b"\xc0\x00\x02\x07", 4)
        self.view.now_us = 1795335240_123_456
        self.eval.view = &self.view
        self.eval.crypto = &self.crypto
        if regex_shelf_init(&self.shelf) != 0 or regexes_init(&self.regexes, self.p) != 0 \
                or regexes_compile(&self.regexes, self.p, &self.shelf, 0) != REGEXES_READY:
            raise MemoryError
        self.view.regexes = self.regexes.all_
        self.eval.shelf = &self.shelf

    def __dealloc__(self):
        regexes_free(&self.regexes, &self.shelf)
        regex_shelf_free(&self.shelf)
        crypto_free(&self.crypto)
        free(self.m)
        free(self.eval.scratch)

    def rules(self, int n):
        cdef verdict_t verdict
        cdef int r = 0, _i
        if not self.view.frontend.request_rules:
            raise ValueError("the frontend has no rules")
        with nogil:
            for _i in range(n):
                memset(&verdict, 0, sizeof(verdict))
                self.eval.used = 0
                r = rules_run(&self.eval, program_of(self.p), self.view.frontend.request_rules - 1, self.m, &verdict)
        return r

    def sample(self, int n, uint32_t expr=0):
        cdef sample_t s
        cdef int r = 0, _i
        if self.p.program_at == 0 or expr >= program_of(self.p).exprs:
            raise IndexError(expr)
        memset(&s, 0, sizeof(s))
        with nogil:
            for _i in range(n):
                self.eval.used = 0
                self.eval.budget.calls = 0
                r = expr_run(&self.eval, program_of(self.p), expr, &s)
        return r
