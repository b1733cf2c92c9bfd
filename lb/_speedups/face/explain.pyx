# What the data plane decides about one request, asked without a connection: the same parser, routes, shares and keys.
#
# Nothing is decided here: each answer is that of the function a worker would call.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.base.clock cimport clock_init, clock_mono_ms, clock_real_us, clock_t_
from lb._speedups.base.pool cimport pool_drain, pool_init, pool_t
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.policy.action cimport ACTION_TARPIT, ACTION_USE_BACKEND, ACTION_USE_SERVER, ACTIONS_PHASE, ACTIONS_STREAM
from lb._speedups.policy.hashkey cimport hashkey_find
from lb._speedups.policy.crypto cimport crypto_free, crypto_t
from lb._speedups.policy.plan cimport (
    FRONTEND_NO_DOTS, KEY_NONE, TARGET_BACKEND, TARGET_SPLIT, plan_backend, plan_check, plan_frontend, plan_route, plan_route_t,
    plan_split, plan_t,
)
from lb._speedups.policy.program cimport program_of
from lb._speedups.policy.regex cimport regex_shelf_free, regex_shelf_init, regex_shelf_t
from lb._speedups.policy.regexes cimport REGEXES_READY, regexes_compile, regexes_free, regexes_init, regexes_t
from lb._speedups.policy.route cimport (
    ROUTE_METHOD, route_allow, route_find, route_found_t, route_is_plain, route_trace_t,
)
from lb._speedups.policy.rule cimport (
    RULES_BAD, RULES_DONE, RULES_VERDICT, rule_backend, rule_number, rule_server, rules_run, verdict_t,
)
from lb._speedups.policy.sample cimport SAMPLE_SCRATCH, eval_t, view_t
from lb._speedups.policy.split cimport SPLIT_KEY, SPLIT_KNOWN, split_backend, split_point
from lb._speedups.policy.variable cimport (
    VARIABLE_LARGE, variable_pools_drain, variable_pools_init, variable_pools_t, variables_free, variables_t,
)
from lb._speedups.proto.h1 cimport h1_read_request, h1_reason_text
from lb._speedups.proto.message cimport MESSAGE_HEAD_MAX, MESSAGE_REQUEST, message_reset, message_t

import socket


cdef class Explainer:
    cdef plan_t *p
    cdef message_t *m
    cdef regex_shelf_t shelf
    cdef regexes_t regexes
    cdef pool_t buffers
    cdef variable_pools_t pools
    cdef variables_t *variables
    cdef variables_t *session

    def __cinit__(self, bytes image):
        pool_init(&self.buffers, b"buffer", VARIABLE_LARGE, 0)
        variable_pools_init(&self.pools, &self.buffers)
        self.p = <plan_t *> malloc(len(image) or 1)
        self.m = <message_t *> malloc(sizeof(message_t))
        if self.p == NULL or self.m == NULL:
            raise MemoryError
        memcpy(self.p, <char *> image, len(image))
        if plan_check(self.p, len(image)):
            raise ValueError("not a plan image")
        if regex_shelf_init(&self.shelf) != 0 or regexes_init(&self.regexes, self.p) != 0:
            raise MemoryError
        if regexes_compile(&self.regexes, self.p, &self.shelf, 0) != REGEXES_READY:
            raise ValueError("a regular expression of the plan cannot be compiled here")

    def __dealloc__(self):
        variables_free(&self.pools, self.variables)
        variables_free(&self.pools, self.session)
        variable_pools_drain(&self.pools)
        pool_drain(&self.buffers)
        regexes_free(&self.regexes, &self.shelf)
        regex_shelf_free(&self.shelf)
        free(self.p)
        free(self.m)

    def read(self, bytes head):
        cdef int r
        if len(head) > MESSAGE_HEAD_MAX:
            return 431, "head too large"
        message_reset(self.m, MESSAGE_REQUEST)
        memcpy(self.m.block, <char *> head, len(head))
        self.m.fill = len(head)
        r = h1_read_request(self.m)
        if r == 0:
            return 400, "the head does not end"
        if r < 0:
            return -r, (<bytes> h1_reason_text(self.m.reason_id)).decode()
        return None

    def is_plain(self, uint32_t frontend):
        if frontend >= self.p.nfrontends:
            raise IndexError(frontend)
        if not plan_frontend(self.p, frontend).flags & FRONTEND_NO_DOTS:
            return True
        return route_is_plain(self.m.block + self.m.path.at, self.m.path.len)

    def target(self):
        return self.m.block[self.m.target.at:self.m.target.at + self.m.target.len]

    def rules(self, uint32_t frontend, int backend, bytes address, Mapping mapping):
        cdef view_t view
        cdef eval_t c
        cdef clock_t_ clock
        cdef verdict_t verdict
        cdef crypto_t crypto
        cdef uint32_t ruleset
        cdef int r
        if frontend >= self.p.nfrontends or backend >= <int64_t> self.p.nbackends or len(address) not in (4, 16):
            raise IndexError(frontend)
        memset(&view, 0, sizeof(view))
        memset(&c, 0, sizeof(c))
        memset(&verdict, 0, sizeof(verdict))
        memset(&crypto, 0, sizeof(crypto))
        clock_init(&clock)
        view.plan = self.p
        view.mapping = mapping.m
        view.frontend = plan_frontend(self.p, frontend)
        view.backend = plan_backend(self.p, backend) if backend >= 0 else NULL
        view.regexes = self.regexes.all_
        view.request = self.m
        view.pools = &self.pools              # what the rules of a frontend keep, those of the backend find
        view.variables = &self.variables
        view.session = &self.session
        view.source.family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        memcpy(view.source.bytes, <char *> address, len(address))
        view.now_ms = clock_mono_ms(&clock)
        view.now_us = clock_real_us(&clock)
        view.is_final = 1
        ruleset = view.frontend.request_rules if backend < 0 else view.backend.request_rules
        if not ruleset:
            return "done", 0, 0, 0, None
        scratch = bytearray(SAMPLE_SCRATCH)
        c.view = &view
        c.shelf = &self.shelf
        c.scratch = scratch
        c.crypto = &crypto
        chosen = None
        while True:
            r = rules_run(&c, program_of(self.p), ruleset - 1, self.m, &verdict)
            if r != RULES_VERDICT or (verdict.rule.action != ACTION_USE_BACKEND
                                      and verdict.rule.action >> 8 != ACTIONS_STREAM
                                      and verdict.rule.action >> 8 != ACTIONS_PHASE):
                break
            if verdict.rule.action == ACTION_USE_BACKEND and chosen is None:
                chosen = rule_backend(&c, program_of(self.p), verdict.rule, view.frontend.mode), verdict.at
            elif verdict.rule.action == ACTION_USE_SERVER and chosen is None:
                server = rule_server(&c, program_of(self.p), verdict.rule)
                chosen = (server, verdict.at) if server >= 0 else None
            verdict.at += 1
        crypto_free(&crypto)
        if r == RULES_VERDICT:
            status = rule_number(&c, program_of(self.p), verdict.rule, verdict.rule.action == ACTION_TARPIT, 0)
            return "verdict", verdict.at, verdict.rule.action, status, chosen
        return {RULES_DONE: "done", RULES_BAD: "bad"}.get(r, "error"), verdict.at, 0, 0, chosen

    def route(self, uint32_t frontend):
        cdef route_trace_t trace
        cdef route_found_t found
        cdef char allow[512]
        cdef uint32_t i
        if frontend >= self.p.nfrontends:
            raise IndexError(frontend)
        memset(&trace, 0, sizeof(trace))
        found = route_find(self.p, plan_frontend(self.p, frontend), self.m, &trace)
        passed = [
            (trace.route[i], None if trace.why[i] == ROUTE_METHOD else <int> trace.why[i]) for i in range(trace.n)
        ]
        allowed = allow[:route_allow(self.p, plan_frontend(self.p, frontend), found.allowed, allow, sizeof(allow))]
        return None if found.route < 0 else found.route, allowed.decode(), passed

    def backend(self, uint32_t route, bytes address):
        cdef const plan_route_t *at
        cdef uint64_t point
        cdef uint16_t family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        cdef uint8_t bytes_[16]
        cdef int how
        if route >= self.p.nroutes or len(address) not in (4, 16):
            raise IndexError(route)
        memcpy(bytes_, <char *> address, len(address))
        at = plan_route(self.p, route)
        if at.kind == TARGET_BACKEND:
            return at.target
        if at.kind != TARGET_SPLIT:
            raise ValueError("the route leads to no backend")
        how = split_point(self.p, plan_split(self.p, at.target), self.m, family, bytes_, 0, &point)
        if how != SPLIT_KEY and how != SPLIT_KNOWN:
            return None
        return split_backend(self.p, plan_split(self.p, at.target), point)

    def key(self, uint32_t backend, bytes address):
        cdef uint16_t family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        cdef uint8_t bytes_[16]
        cdef uint32_t hash
        if backend >= self.p.nbackends or len(address) not in (4, 16):
            raise IndexError(backend)
        memcpy(bytes_, <char *> address, len(address))
        if plan_backend(self.p, backend).key.source == KEY_NONE:
            return None
        if not hashkey_find(self.p, &plan_backend(self.p, backend).key, self.m, family, bytes_, &hash):
            return None
        return hash
