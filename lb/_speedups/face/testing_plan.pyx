"""The plan image as workers see it, for tests."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lb._speedups.policy.netset cimport netset_check, netset_has
from lb._speedups.policy.plan cimport (
    net4_t, net6_t, netset_t, plan_backend, plan_backend_t, plan_check, plan_frontend, plan_frontend_t,
    plan_listener, plan_listener_t, plan_log, plan_log_op, plan_log_t, plan_mirror, plan_mirror_t, plan_server,
    plan_server_by_oid, plan_server_t, plan_split, plan_split_t, plan_t, plan_text, text_t,
)
from lb._speedups.policy.plan cimport plan_socket, plan_socket_t
from lb._speedups.policy.route cimport ROUTE_HOST_MAX as HOST_MAX
from lb._speedups.policy.route cimport route_allow, route_find, route_is_plain, route_trace_t
from lb._speedups.policy.split cimport split_backend, split_cookie, split_point
from lb._speedups.proto.message cimport (
    MESSAGE_HEAD_MAX, MESSAGE_REQUEST, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH,
    METHOD_POST, METHOD_PUT, METHOD_TRACE, NAME_OTHER, message_add, message_reset, message_t, span_t,
)

import time

ROUTE_HOST_MAX = HOST_MAX

METHODS = {
    b"GET": METHOD_GET, b"HEAD": METHOD_HEAD, b"POST": METHOD_POST, b"PUT": METHOD_PUT, b"DELETE": METHOD_DELETE,
    b"OPTIONS": METHOD_OPTIONS, b"TRACE": METHOD_TRACE, b"PATCH": METHOD_PATCH,
}


cdef class Request:
    """A message with no more than routes look at, of any bytes."""

    cdef message_t m

    def __cinit__(self, bytes authority, bytes path, bytes query, bytes method, fields):
        cdef bytes name, value
        if len(authority) + len(path) + len(query) + len(method) > MESSAGE_HEAD_MAX:
            raise ValueError("the request is too long")
        message_reset(&self.m, MESSAGE_REQUEST)
        self.put(&self.m.authority, authority)
        self.put(&self.m.path, path)
        self.put(&self.m.query, query)
        self.put(&self.m.method_at, method)
        self.m.method = METHODS.get(method, METHOD_OTHER)
        for name, value in fields:
            if message_add(&self.m, NAME_OTHER, name, len(name), value, len(value)):
                raise ValueError(f"not a field: {name!r}")

    cdef put(self, span_t *span, bytes text):
        span.at = self.m.fill
        span.len = len(text)
        memcpy(self.m.block + self.m.fill, <char *> text, len(text))
        self.m.fill += <uint16_t> len(text)


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

    def route(self, uint32_t frontend, bytes authority, bytes path, bytes query=b"", bytes method=b"GET", fields=()):
        cdef Request m = Request(authority, path, query, method, fields)
        cdef route_trace_t trace
        memset(&trace, 0, sizeof(trace))
        found = route_find(self.p, plan_frontend(self.p, frontend), &m.m, &trace)
        return found.route, found.allowed, trace.steps

    def allow(self, uint32_t frontend, uint32_t methods, size_t cap):
        cdef char text[1024]
        return text[:route_allow(self.p, plan_frontend(self.p, frontend), methods, text, min(cap, sizeof(text)))]

    @staticmethod
    def is_plain(bytes path):
        return route_is_plain(path, len(path))

    def route_many(self, uint32_t frontend, bytes authority, bytes path, int times):
        cdef plan_frontend_t *f = plan_frontend(self.p, frontend)
        cdef Request m = Request(authority, path, b"", b"GET", ())
        cdef int _i
        cdef int found = 0
        begin = time.perf_counter_ns()
        for _i in range(times):
            found += route_find(self.p, f, &m.m, NULL).route
        return (time.perf_counter_ns() - begin) / times

    cdef plan_split_t *split_at(self, uint32_t number) except NULL:
        if number >= self.p.nsplits:
            raise IndexError(number)
        return plan_split(self.p, number)

    def split(self, uint32_t number, uint64_t point):
        return split_backend(self.p, self.split_at(number), point)

    def split_many(self, uint32_t number, int times):
        cdef plan_split_t *split = self.split_at(number)
        cdef uint32_t found = 0
        cdef int i
        begin = time.perf_counter_ns()
        for i in range(times):
            found += split_backend(self.p, split, <uint64_t> i * <uint64_t> 0x9e3779b97f4a7c15)
        return (time.perf_counter_ns() - begin) / times

    def point(self, uint32_t number, fields=(), int family=2, bytes address=bytes(4), uint64_t drawn=0):
        cdef Request m = Request(b"x", b"/", b"", b"GET", fields)
        cdef uint64_t point
        how = split_point(self.p, self.split_at(number), &m.m, family, <const uint8_t *> <const char *> address,
                          drawn, &point)
        return how, point

    def cookie(self, uint32_t number, uint64_t point, size_t cap=1024):
        cdef char text[1024]
        return text[:split_cookie(self.p, self.split_at(number), point, text, min(cap, sizeof(text)))]

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
        cdef plan_socket_t *o
        cdef plan_log_t *log
        cdef uint32_t i
        listeners, frontends, backends, servers, logs, proxies, mirrors = [], [], [], [], [], [], []
        sockets = []
        for i in range(p.nlisteners):
            bind = plan_listener(p, i)
            listeners.append({"oid": bind.oid, "frontend": bind.frontend, "flags": bind.flags, "name": self.text(bind.name)})
            proxies.append((
                bind.proxies.v4, bind.proxies.v6, bind.proxies.flags, bind.proxy_max, bind.proxy_ms, bind.proxy_flags,
            ))
        for i in range(p.nfrontends):
            f = plan_frontend(p, i)
            frontends.append({
                "oid": f.oid, "name": self.text(f.name), "mode": f.mode, "flags": f.flags, "maxconn": f.maxconn,
                "default_route": f.default_route, "client_ms": f.client_ms, "http_request_ms": f.http_request_ms,
                "http_keep_alive_ms": f.http_keep_alive_ms, "tunnel_ms": f.tunnel_ms, "routes": f.routes,
                "log_flags": f.log_flags, "logs": (f.logs_at, f.logs),
                "keepalive": (f.keepalive_idle_s, f.keepalive_interval_s, f.keepalive_count),
                "max_requests": f.max_requests, "http_connection": f.http_connection, "close_both": f.close_both,
            })
        for i in range(p.nbackends):
            b = plan_backend(p, i)
            backends.append({
                "oid": b.oid, "name": self.text(b.name), "mode": b.mode, "balance": b.balance, "retries": b.retries,
                "flags": b.flags, "servers_at": b.servers_at, "servers": b.servers, "balance_at": b.balance_at,
                "connect_ms": b.connect_ms, "server_ms": b.server_ms, "tunnel_ms": b.tunnel_ms, "queue_ms": b.queue_ms,
                "reuse": b.reuse, "http_connection": b.http_connection,
                "key": (b.key.source, b.key.hash, b.key.flags, b.key.depth, b.key.len, self.text(b.key.name)),
            })
        for i in range(p.nservers):
            s = plan_server(p, i)
            servers.append({
                "oid": s.oid, "name": self.text(s.name), "backend": s.backend, "weight": s.weight, "flags": s.flags,
                "family": s.family, "address": (<char *> s.address)[:s.address_len], "socket": s.socket,
                "send_proxy": s.send_proxy, "pool": (s.max_idle, s.idle_ms, s.max_requests, s.max_age_ms), "link_hash": s.link_hash,
            })
        for i in range(p.nsockets):
            o = plan_socket(p, i)
            sockets.append({
                "flags": o.flags, "user_timeout_ms": o.user_timeout_ms, "mss": o.mss, "interface": self.text(o.interface),
                "keepalive": (o.keepalive_idle_s, o.keepalive_interval_s, o.keepalive_count), "family": o.source_family,
                "source": (<char *> o.source)[:o.source_len], "ports": (o.port_low, o.port_high),
            })
        for i in range(p.nlogs):
            log = plan_log(p, i)
            logs.append({
                "target": log.target, "format": log.format, "flags": log.flags, "error_level": log.error_level,
                "least": log.least, "gravest": log.gravest,
                "room": log.room, "sample_size": log.sample_size, "sample": self.text(log.sample),
                "ops": [
                    (plan_log_op(p, j).kind, plan_log_op(p, j).flags, self.text(plan_log_op(p, j).text))
                    for j in range(log.ops_at, log.ops_at + log.ops)
                ],
            })
        for i in range(p.nmirrors):
            m = plan_mirror(p, i)
            mirrors.append({"backend": m.backend, "percent": m.percent, "max_body": m.max_body,
                            "max_copies": m.max_copies, "timeout_ms": m.timeout_ms})
        return {
            "generation": p.generation, "maxconn": p.maxconn, "maxconn_oid": p.maxconn_oid, "grace_ms": p.grace_ms,
            "listeners": listeners, "frontends": frontends, "backends": backends, "servers": servers, "logs": logs,
            "proxies": proxies,
            "mirrors": mirrors,
            "sockets": sockets, "workers": p.workers, "max_idle": p.max_idle,
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
