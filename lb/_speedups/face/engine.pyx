"""One worker's data plane: the Python side of relay/engine."""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t
from lb._speedups.base.pool cimport pool_t
from lb._speedups.face.mapping cimport Mapping
from lb._speedups.io.flow cimport FLOW_PIPES
from lb._speedups.io.sys cimport AF_INET, AF_INET6, inet_ntop
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.regex cimport regex_shelf_t
from lb._speedups.policy.regexes cimport REGEXES_MEMORY, REGEXES_READY, REGEXES_WRONG
from lb._speedups.relay.engine cimport (
    engine_accept, engine_compile, engine_discard, engine_drain, engine_free, engine_listen, engine_new, engine_prepare,
    engine_resume, engine_step, engine_stop, engine_unlisten,
)
from lb._speedups.relay.relay cimport (
    LINK_LINGER, LINK_TCP, PHASE_ASSIGN, PHASE_BODY, PHASE_CONNECT, PHASE_PARKED, PHASE_SEND, PHASE_TUNNEL, engine_t, link_t,
    listen_t, stream_t,
)
from lb._speedups.relay.udp cimport udp_of

cdef extern from "lb.h" nogil:
    const bint LB_DEBUG

STEP_AGAIN = 1
STEP_ACCEPT = 2
STEP_DRAINED = 4
STEP_SWITCHED = 8
STEP_LIMITED = 16
ACCEPT_LIMIT = -1
ACCEPT_DESCRIPTORS = -2
ACCEPT_OTHERS = -3
PIPES_MAX = FLOW_PIPES


cdef dict pool_dict(const pool_t *p):
    return {
        "size": p.size, "live": p.live, "peak": p.peak, "cached": p.cached, "taken": p.taken, "failed": p.failed,
    }


cdef class Engine:
    cdef engine_t *e
    cdef Mapping mapping          # keeps the memory that e points into
    cdef bint stopped

    def __init__(self, Mapping mapping not None, int slot, *, int eventfd=-1, bint alone=False):
        if not 1 <= slot <= 64:
            raise ValueError(f"worker slot {slot} is outside 1..64")
        if self.e is not NULL:
            raise RuntimeError("an engine is made once")
        self.mapping = mapping
        self.e = engine_new(mapping.m, <unsigned int> slot, eventfd)
        if self.e is NULL:
            raise OSError(errno, os.strerror(errno))
        self.e.loop.alone = alone

    def __dealloc__(self):
        if self.e is not NULL:
            if not self.stopped:
                engine_stop(self.e)
            engine_free(self.e)
            self.e = NULL

    cdef engine_t *running(self) except NULL:
        if self.e is NULL or self.stopped:
            raise RuntimeError("the engine is closed")
        return self.e

    def fileno(self):
        return self.running().loop.epoll

    def step(self):
        cdef engine_t *e = self.running()
        cdef int answer
        with nogil:
            answer = engine_step(e)
        return answer

    def prepare(self, int plan):
        cdef engine_t *e = self.running()
        cdef int64_t generation = engine_prepare(e, plan)
        if generation == -2:
            raise ValueError("not a plan image of this version")
        if generation < 0:
            raise OSError(errno, os.strerror(errno))
        return generation

    def compile(self, uint64_t generation):
        cdef int answer = engine_compile(self.running(), generation)
        if answer == REGEXES_MEMORY:
            raise MemoryError
        if answer == REGEXES_WRONG:
            raise ValueError("a regular expression of the plan cannot be compiled here")
        return answer == REGEXES_READY

    def regexes(self):
        cdef regex_shelf_t *s = &self.running().shelf
        return {
            "patterns": s.count, "slow": s.slow, "compiled": s.compiled, "matches": s.matches, "limits": s.limits,
            "limited": b"" if s.limited is NULL else s.limited.pattern[:s.limited.len],
        }

    def discard(self, uint64_t generation):
        engine_discard(self.running(), generation)

    @property
    def generation(self):
        cdef engine_t *e = self.running()
        return 0 if e.current is NULL else e.current.generation

    def listen(self, unsigned int oid, int fd):
        cdef listen_t *at = engine_listen(self.running(), oid, fd)
        if at is NULL:
            raise OSError(errno, os.strerror(errno))
        return at.udp is not NULL

    def listening(self):
        cdef listen_t *at = self.running().listening
        found = []
        while at is not NULL:
            found.append((at.oid, at.fd))
            at = at.next
        found.reverse()
        return found

    def accept(self, int fd, bint is_turn=False):
        cdef engine_t *e = self.running()
        cdef int answer
        with nogil:
            answer = engine_accept(e, fd, is_turn)
        return answer

    def unlisten(self, int fd, *, bint stays=False):
        engine_unlisten(self.running(), fd, stays)

    def drain(self):
        engine_drain(self.running())

    def connections(self):
        return self.running().connections

    def close(self):
        if self.e is not NULL and not self.stopped:
            self.stopped = True
            engine_stop(self.e)

    def pools(self):
        cdef pool_t *pools[10]
        cdef int i
        if self.e is NULL:
            return {}
        pools[0] = &self.e.link_pool
        pools[1] = &self.e.stream_pool
        pools[2] = &self.e.message_pool
        pools[3] = &self.e.buffer_pool
        pools[4] = &self.e.mirror_pool
        pools[5] = &self.e.proxied_pool
        pools[6] = &self.e.variable_pools.stores
        pools[7] = &self.e.variable_pools.nodes
        pools[8] = &self.e.variable_pools.values
        pools[9] = &self.e.tracked_pool
        found = {}
        for i in range(10):
            found[pools[i].name.decode()] = pool_dict(pools[i])
        if self.e.udp is not NULL:
            found["udp session"] = pool_dict(&udp_of(self.e).session_pool)
            found["udp oneway"] = pool_dict(&udp_of(self.e).oneway_pool)
        # Pipes are not a pool of equal memory, but leak like one.
        found["pipe"] = {
            "size": 65536, "live": self.e.flows.open - self.e.flows.idle, "peak": self.e.flows.open,
            "cached": self.e.flows.idle, "taken": self.e.flows.spliced, "failed": 0,
        }
        return found

    def runnable(self):
        return self.running().loop.run_count

    def sessions(self):
        cdef engine_t *e = self.running()
        cdef link_t *l = e.clients
        found = []
        while l is not NULL:
            found.append(describe(e, l))
            l = l.next
        return found

    def parked(self):
        cdef stream_t *st = self.running().streams
        found = []
        while st is not NULL:
            if st.phase == PHASE_PARKED:
                found.append(st.handle)
            st = st.next
        found.sort()
        return found

    def resume(self, uint64_t handle):
        return engine_resume(self.running(), handle) == 0

    def chaos(self, uint64_t seed, *, unsigned int scarce=0):
        if not LB_DEBUG:
            raise RuntimeError("chaos is built into debug builds only")
        cdef engine_t *e = self.running()
        if scarce and not seed:
            raise ValueError("seed: 0 is calm; expected another number beside 'scarce'")
        e.loop.chaos = seed
        e.loop.scarce = scarce
        # Different strides, so that every place meets a failure after every other.
        e.link_pool.fail_every = scarce
        e.stream_pool.fail_every = scarce + 1 if scarce else 0
        e.message_pool.fail_every = scarce + 2 if scarce else 0
        e.buffer_pool.fail_every = scarce + 3 if scarce else 0
        e.mirror_pool.fail_every = scarce + 4 if scarce else 0
        e.variable_pools.stores.fail_every = scarce + 5 if scarce else 0
        e.variable_pools.nodes.fail_every = scarce + 6 if scarce else 0
        e.variable_pools.values.fail_every = scarce + 7 if scarce else 0


cdef dict describe(engine_t *e, link_t *l):
    cdef stream_t *st = l.stream
    cdef char text[64]
    address = "unix"
    if l.family == AF_INET or l.family == AF_INET6:
        if inet_ntop(l.family, l.address, text, sizeof(text)) is not NULL:
            address = (<bytes> (<char *> text)).decode()
    state = "linger" if l.flags & LINK_LINGER else "streams" if l.streams else "idle"
    backend = server = None
    if st is not NULL:
        state = {PHASE_PARKED: "parked", PHASE_ASSIGN: "assign", PHASE_CONNECT: "connect", PHASE_SEND: "send", PHASE_BODY: "body",
                 PHASE_TUNNEL: "tunnel"}.get(st.phase, "request")
        if st.backend is not NULL:
            backend = plan_text(st.plan.plan, st.backend.name)[:st.backend.name.len].decode()
        if st.server_at is not NULL:
            server = plan_text(st.plan.plan, st.server_at.name)[:st.server_at.name.len].decode()
    elif l.in_ is not NULL:
        state = "request"
    frontend = None
    if e.current is not NULL and l.generation == e.current.generation:
        frontend = plan_text(e.current.plan, l.frontend.name)[:l.frontend.name.len].decode()
    return {
        "address": address, "port": l.port, "mode": "tcp" if l.flags & LINK_TCP else "http",
        "age_ms": e.now_ms - l.accept_ms, "idle_ms": e.now_ms - l.active_ms, "requests": l.requests,
        "frontend": frontend, "backend": backend, "server": server, "state": state,
    }
