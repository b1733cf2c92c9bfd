"""Expressions, conditions, formats and rules as a worker evaluates them, for tests."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.base.mapping cimport mapping_t
from lb._speedups.base.pool cimport pool_drain, pool_init, pool_t
from lb._speedups.policy.crypto cimport crypto_free, crypto_t
from lb._speedups.policy.expression cimport cond_run, expr_run, format_run
from lb._speedups.policy.plan cimport plan_check, plan_frontend, plan_t
from lb._speedups.policy.program cimport program_of, rule_t
from lb._speedups.policy.regex cimport regex_shelf_free, regex_shelf_init, regex_shelf_t
from lb._speedups.policy.regexes cimport REGEXES_READY, regexes_compile, regexes_free, regexes_init, regexes_t
from lb._speedups.policy.rule cimport RULES_BAD, RULES_DONE, RULES_ERROR, RULES_VERDICT, rules_run, verdict_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BOOL, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_METH, SAMPLE_SCRATCH, SAMPLE_SINT,
    SAMPLE_STR, eval_t, sample_cast, sample_put_address, sample_t, view_t,
)
from lb._speedups.policy.variable cimport (
    SCOPES, variable_pools_drain, variable_pools_init, variable_pools_t, variables_free, variables_t,
)
from lb._speedups.proto.h1 cimport h1_read_request, h1_read_response, h1_write_request, h1_write_response
from lb._speedups.proto.message cimport MESSAGE_REQUEST, MESSAGE_RESPONSE, METHOD_GET, message_reset, message_t

import socket
import time


cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
    void *MAP_FAILED
    void *mmap(void *at, size_t n, int protection, int flags, int fd, long offset)
    int munmap(void *at, size_t n)


cdef enum:
    ALL_BYTES = 19369361408      # MAPPING_BYTES and STORE_BYTES


cdef class Rules:
    """A plan, and a stream that its rules look at."""

    cdef plan_t *p
    cdef size_t size
    cdef message_t *request
    cdef message_t *response
    cdef view_t view
    cdef eval_t eval
    cdef pool_t buffers
    cdef variable_pools_t pools
    cdef variables_t *variables
    cdef variables_t *session
    cdef regex_shelf_t shelf
    cdef regexes_t regexes
    cdef crypto_t crypto

    def __cinit__(self, bytes image):
        self.size = len(image)
        self.p = <plan_t *> malloc(self.size)
        self.request = <message_t *> calloc(1, sizeof(message_t))
        self.response = <message_t *> calloc(1, sizeof(message_t))
        self.eval.scratch = <char *> malloc(SAMPLE_SCRATCH)
        if self.p == NULL or self.request == NULL or self.response == NULL or self.eval.scratch == NULL:
            raise MemoryError
        memcpy(self.p, <char *> image, self.size)
        if plan_check(self.p, self.size):
            raise ValueError("plan_check refuses the image")
        if regex_shelf_init(&self.shelf) != 0 or regexes_init(&self.regexes, self.p) != 0:
            raise MemoryError
        if regexes_compile(&self.regexes, self.p, &self.shelf, 0) != REGEXES_READY:
            raise ValueError("a regular expression of the image cannot be compiled")
        self.view.regexes = self.regexes.all_
        self.eval.shelf = &self.shelf
        self.view.plan = self.p
        self.view.frontend = plan_frontend(self.p, 0)
        self.view.is_final = 1
        self.eval.view = &self.view
        pool_init(&self.buffers, b"buffer", 16384, 4)
        variable_pools_init(&self.pools, &self.buffers)
        self.view.pools = &self.pools
        self.view.variables = &self.variables
        self.view.session = &self.session
        self.eval.crypto = &self.crypto

    def set_mapping(self):
        """Give the program counters to look at, and a store: all of it is 0."""
        if self.view.mapping == NULL:
            at = mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            if at == MAP_FAILED:
                raise MemoryError
            self.view.mapping = <mapping_t *> at

    def __dealloc__(self):
        crypto_free(&self.crypto)
        if self.view.mapping != NULL:
            munmap(self.view.mapping, ALL_BYTES)
        if self.view.pools != NULL:
            variables_free(&self.pools, self.variables)
            variables_free(&self.pools, self.session)
            variable_pools_drain(&self.pools)
            pool_drain(&self.buffers)
        regexes_free(&self.regexes, &self.shelf)
        regex_shelf_free(&self.shelf)
        free(self.p)
        free(self.request)
        free(self.response)
        free(self.eval.scratch)

    def set_request(self, bytes head):
        message_reset(self.request, MESSAGE_REQUEST)
        memcpy(self.request.block, <char *> head, len(head))
        self.request.fill = len(head)
        if h1_read_request(self.request) <= 0:
            raise ValueError("not a request")
        self.view.request = self.request

    def set_response(self, bytes head):
        message_reset(self.response, MESSAGE_RESPONSE)
        memcpy(self.response.block, <char *> head, len(head))
        self.response.fill = len(head)
        if h1_read_response(self.response, METHOD_GET) <= 0:
            raise ValueError("not a response")
        self.view.response = self.response
        self.view.status = self.response.status

    def set_source(self, str address, int port):
        raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        memset(&self.view.source, 0, sizeof(self.view.source))
        self.view.source.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.view.source.port = port
        memcpy(self.view.source.bytes, <char *> raw, len(raw))

    def set_clock(self, us):
        self.view.now_us = us

    def set_seed(self, n):
        self.eval.random = n

    def set_requests(self, n):
        self.view.requests = n

    cdef void begin(self) noexcept nogil:
        self.eval.used = 0
        self.eval.erred = False
        self.eval.budget.calls = 0

    cdef value(self, sample_t *s):
        cdef char text[64]
        if s.type == SAMPLE_BOOL:
            return s.i != 0
        if s.type == SAMPLE_SINT:
            return s.i
        if s.type == SAMPLE_IPV4 or s.type == SAMPLE_IPV6:
            return text[:sample_put_address(s, text)].decode()
        if s.type == SAMPLE_METH:
            sample_cast(&self.eval, s, SAMPLE_STR)
        return s.p[:s.len]

    def sample(self, uint32_t expr):
        """Return (answer, type, value) of an expression; the value is None unless it was found."""
        cdef sample_t s
        memset(&s, 0, sizeof(s))
        self.begin()
        r = expr_run(&self.eval, program_of(self.p), expr, &s)
        return (r, s.type, self.value(&s)) if r == SAMPLE_FOUND else (r, 0, None)

    def condition(self, uint32_t cond):
        self.begin()
        return cond_run(&self.eval, program_of(self.p), cond)

    def condition_ns(self, uint32_t cond, int times):
        """Return nanoseconds of one evaluation."""
        cdef int _i
        begin = time.perf_counter_ns()
        for _i in range(times):
            self.begin()
            cond_run(&self.eval, program_of(self.p), cond)
        return (time.perf_counter_ns() - begin) / times

    def format(self, uint32_t form, int cap=16384):
        out = bytearray(cap or 1)
        cdef char *p = out
        self.begin()
        n = format_run(&self.eval, program_of(self.p), form, p, cap)
        return None if n < 0 else bytes(out[:n])

    def rules(self, uint32_t ruleset, bint response=False):
        """Return ("done" | "verdict" | "error" | "wait", number of the rule, its action), having edited the head."""
        cdef verdict_t verdict
        cdef const rule_t *rule
        memset(&verdict, 0, sizeof(verdict))
        r = rules_run(&self.eval, program_of(self.p), ruleset, self.response if response else self.request, &verdict)
        rule = verdict.rule
        names = {RULES_DONE: "done", RULES_VERDICT: "verdict", RULES_ERROR: "error", RULES_BAD: "bad"}
        return names.get(r, "wait"), verdict.at, rule.action if r == RULES_VERDICT else 0

    def head(self, bint response=False):
        """Return the head as it would be written."""
        out = bytearray(32768)
        cdef char *p = out
        if response:
            n = h1_write_response(self.response, 0, p, len(out))
        else:
            n = h1_write_request(self.request, 0, p, len(out))
        return None if n < 0 else bytes(out[:n])

    def end(self):
        """End the stream; its connection and its variables stay."""
        variables_free(&self.pools, self.variables)
        self.variables = NULL
        self.view.response = NULL

    @property
    def kept(self):
        """Stores, variables, medium blocks and buffers that are out, and the bytes of each scope in both stores."""
        cdef uint32_t i
        scopes = {}
        for i in range(SCOPES):
            scopes[i] = (self.variables.bytes[i] if self.variables != NULL else 0) \
                + (self.session.bytes[i] if self.session != NULL else 0)
        return (self.pools.stores.live, self.pools.nodes.live, self.pools.values.live, self.buffers.live), scopes

    @property
    def counts(self):
        """Expressions, conditions, formats and rulesets that the program has."""
        g = program_of(self.p)
        return g.exprs, g.conds, g.formats, g.rulesets

    @property
    def limits(self):
        """Matches of regular expressions that reached a limit."""
        return self.shelf.limits

    @property
    def overflows(self):
        return self.eval.overflows
