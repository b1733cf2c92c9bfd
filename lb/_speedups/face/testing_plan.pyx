"""The plan image as workers see it, for tests."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.policy.netset cimport netset_check, netset_has
from lb._speedups.policy.plan cimport (
    net4_t, net6_t, netset_t, plan_backend, plan_backend_t, plan_check, plan_frontend, plan_frontend_t, plan_listener,
    plan_listener_t, plan_log, plan_mirror, plan_mirror_t, plan_server, plan_server_by_oid, plan_server_t, plan_t,
    plan_text, text_t,
)
from lb._speedups.policy.route cimport ROUTE_HOST_MAX as HOST_MAX
from lb._speedups.policy.route cimport route_find

import time

ROUTE_HOST_MAX = HOST_MAX


cdef class Plan:
    cdef plan_t *p
    cdef size_t size

    def __cinit__(self, bytes image):
        self.size = len(image)
        self.p = <plan_t *> malloc(self.size or 1)
        if self.p == NULL:
            raise MemoryError
        memcpy(self.p, <char *> image, self.size)
        if plan_check(self.p, self.size):
            raise ValueError("plan_check refuses the image")

    def __dealloc__(self):
        free(self.p)

    @staticmethod
    def is_sound(bytes image):
        cdef char *copy = <char *> malloc(len(image) or 1)
        memcpy(copy, <char *> image, len(image))
        sound = plan_check(copy, len(image)) == 0
        free(copy)
        return sound

    def route(self, uint32_t frontend, bytes authority, bytes path):
        return route_find(self.p, plan_frontend(self.p, frontend), authority, len(authority), path, len(path))

    def route_many(self, uint32_t frontend, bytes authority, bytes path, int times):
        cdef plan_frontend_t *f = plan_frontend(self.p, frontend)
        cdef const char *a = authority
        cdef const char *b = path
        cdef size_t n = len(authority), m = len(path)
        cdef int _i
        cdef int found = 0
        begin = time.perf_counter_ns()
        for _i in range(times):
            found += route_find(self.p, f, a, n, b, m)
        return (time.perf_counter_ns() - begin) / times

    def is_proxy(self, uint32_t listener, int family, bytes address):
        return netset_has(self.p, &plan_listener(self.p, listener).proxies, family, <const uint8_t *> <const char *> address)

    def server_by_oid(self, uint32_t oid):
        cdef plan_server_t *found = plan_server_by_oid(self.p, oid)
        return None if found == NULL else found - plan_server(self.p, 0)

    cdef bytes text(self, text_t text):
        assert plan_text(self.p, text)[text.len] == 0
        return plan_text(self.p, text)[:text.len]

    def describe(self):
        cdef plan_t *p = self.p
        cdef plan_listener_t *bind
        cdef plan_frontend_t *f
        cdef plan_backend_t *b
        cdef plan_server_t *s
        cdef plan_mirror_t *m
        cdef uint32_t i
        listeners, frontends, backends, servers, logs, proxies, mirrors = [], [], [], [], [], [], []
        for i in range(p.nlisteners):
            bind = plan_listener(p, i)
            listeners.append({"oid": bind.oid, "frontend": bind.frontend, "flags": bind.flags, "name": self.text(bind.name)})
            proxies.append((bind.proxies.v4, bind.proxies.v6, bind.proxies.flags))
        for i in range(p.nfrontends):
            f = plan_frontend(p, i)
            frontends.append({
                "oid": f.oid, "name": self.text(f.name), "mode": f.mode, "flags": f.flags, "maxconn": f.maxconn,
                "default_backend": f.default_backend, "client_ms": f.client_ms, "http_request_ms": f.http_request_ms,
                "http_keep_alive_ms": f.http_keep_alive_ms, "tunnel_ms": f.tunnel_ms, "routes": f.routes,
                "mirror": f.mirror,
                "keepalive": (f.keepalive_idle_s, f.keepalive_interval_s, f.keepalive_count),
            })
        for i in range(p.nbackends):
            b = plan_backend(p, i)
            backends.append({
                "oid": b.oid, "name": self.text(b.name), "mode": b.mode, "balance": b.balance, "retries": b.retries,
                "flags": b.flags, "servers_at": b.servers_at, "servers": b.servers, "balance_at": b.balance_at,
                "connect_ms": b.connect_ms, "server_ms": b.server_ms, "tunnel_ms": b.tunnel_ms, "queue_ms": b.queue_ms,
                "keepalive": (b.keepalive_idle_s, b.keepalive_interval_s, b.keepalive_count),
                "key": (b.key, b.key_hash, b.key_flags, b.key_depth, b.key_len, self.text(b.key_name)),
            })
        for i in range(p.nservers):
            s = plan_server(p, i)
            servers.append({
                "oid": s.oid, "name": self.text(s.name), "backend": s.backend, "weight": s.weight, "flags": s.flags,
                "family": s.family, "address": (<char *> s.address)[:s.address_len],
            })
        for i in range(p.nlogs):
            logs.append((plan_log(p, i).target, plan_log(p, i).format))
        for i in range(p.nmirrors):
            m = plan_mirror(p, i)
            mirrors.append({"backend": m.backend, "percent": m.percent, "max_body": m.max_body,
                            "max_copies": m.max_copies, "timeout_ms": m.timeout_ms})
        return {
            "generation": p.generation, "maxconn": p.maxconn, "maxconn_oid": p.maxconn_oid, "grace_ms": p.grace_ms,
            "listeners": listeners, "frontends": frontends, "backends": backends, "servers": servers, "logs": logs,
            "proxies": proxies,
            "mirrors": mirrors,
        }


cdef class Netset:
    cdef plan_t *p
    cdef netset_t set

    def __cinit__(self, bytes v4, bytes v6, uint32_t flags):
        cdef size_t size = sizeof(plan_t) + len(v4) + len(v6)
        self.p = <plan_t *> malloc(size)
        if self.p == NULL:
            raise MemoryError
        memset(self.p, 0, sizeof(plan_t))
        self.p.size = size
        self.set.at = sizeof(plan_t)
        self.set.v4 = len(v4) // sizeof(net4_t)
        self.set.v6 = len(v6) // sizeof(net6_t)
        self.set.flags = flags
        memcpy(<char *> self.p + self.set.at, <char *> v4, len(v4))
        memcpy(<char *> self.p + self.set.at + len(v4), <char *> v6, len(v6))
        if netset_check(self.p, &self.set):
            raise ValueError("netset_check refuses the set")

    def __dealloc__(self):
        free(self.p)

    def has(self, int family, bytes address):
        return netset_has(self.p, &self.set, family, <const uint8_t *> <const char *> address)

    def has_many(self, int family, bytes address, int times):
        cdef const uint8_t *a = <const uint8_t *> <const char *> address
        cdef int found = 0, _i
        begin = time.perf_counter_ns()
        for _i in range(times):
            found += netset_has(self.p, &self.set, family, a)
        return (time.perf_counter_ns() - begin) / times
