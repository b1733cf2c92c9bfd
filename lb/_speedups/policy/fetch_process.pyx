from libc.stdint cimport int64_t, uint32_t, uint64_t

from lb._speedups.base.mapping cimport (
    MAPPING_COUNTERS_AT, MAPPING_OBJECTS, MAPPING_WORKERS, RATE_REQUESTS, RATE_SESSIONS, WORKER_DRAINING, WORKER_RUNNING,
    counters_t, mapping_rate, mapping_worker,
)
from lb._speedups.policy.balance cimport BALANCE_DOWN, BALANCE_DRAIN, balance_member_t, balance_members, balance_t
from lb._speedups.policy.fetch cimport (
    FETCH_BE_SERVER_TIMEOUT, FETCH_BE_SESS_RATE, FETCH_BE_TUNNEL_TIMEOUT, FETCH_ENV, FETCH_FE_CLIENT_TIMEOUT,
    FETCH_FE_DEFBE, FETCH_FE_REQ_RATE, FETCH_FE_SESS_RATE, FETCH_NBPROC, FETCH_NBTHREAD, FETCH_PID, FETCH_PROC,
    FETCH_SRV_IS_UP, FETCH_SRV_IWEIGHT, FETCH_SRV_SESS_RATE, FETCH_SRV_WEIGHT, FETCH_THREAD, arg_at,
)
from lb._speedups.policy.plan cimport (
    TARGET_BACKEND, plan_backend, plan_backend_t, plan_frontend, plan_frontend_t, plan_route, plan_route_t, plan_server,
    plan_server_t,
)
from lb._speedups.policy.program cimport ARG_BACKEND, ARG_FRONTEND, ARG_SERVER, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_NONE, sample_bool, sample_int, sample_plan_text,
)


cdef extern from "<unistd.h>" nogil:
    int getpid()

cdef extern from "lb.h" nogil:
    uint32_t lb_load_u32(const uint32_t *p)


# Workers that serve; one where none is known (tests, `workers: 0`).
cdef int64_t workers(const eval_t *c) noexcept nogil:
    cdef int64_t n = 0
    cdef uint32_t slot, state
    if c.view.mapping == NULL:
        return 1
    for slot in range(1, MAPPING_WORKERS + 1):
        state = lb_load_u32(&mapping_worker(c.view.mapping, slot).state)
        if state == WORKER_RUNNING or state == WORKER_DRAINING:
            n += 1
    return n if n else 1


# The slot whose rows these are.
cdef int64_t slot_of(const eval_t *c) noexcept nogil:
    cdef uint64_t at
    if c.view.mapping == NULL or c.view.rows == NULL:
        return 1
    at = <uint64_t> (<const char *> c.view.rows - <const char *> c.view.mapping) - MAPPING_COUNTERS_AT
    return <int64_t> (at // (<uint64_t> sizeof(counters_t) * MAPPING_OBJECTS))


cdef int rate(const eval_t *c, uint32_t oid, int which, sample_t *s) noexcept nogil:
    if c.view.mapping == NULL:
        return SAMPLE_NONE
    return sample_int(s, <int64_t> mapping_rate(c.view.mapping, oid, which, c.view.now_ms))


cdef int of_process(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg
    if code == FETCH_ENV:
        # What the environment had when the configuration was read.
        arg = arg_at(c, g, op, 0, ARG_TEXT)
        return sample_plan_text(c, arg.text, s) if arg != NULL else SAMPLE_NONE
    if code == FETCH_NBPROC:
        return sample_int(s, workers(c))
    if code == FETCH_NBTHREAD:
        return sample_int(s, 1)
    if code == FETCH_THREAD:
        return sample_int(s, 0)
    return sample_int(s, slot_of(c) if code == FETCH_PROC else getpid())


cdef int of_frontend(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_FRONTEND)
    cdef const plan_frontend_t *f = c.view.frontend
    cdef const plan_route_t *route
    if arg != NULL:
        f = plan_frontend(c.view.plan, <uint32_t> arg.i)
    if f == NULL:
        return SAMPLE_NONE
    if code == FETCH_FE_CLIENT_TIMEOUT:
        return sample_int(s, f.client_ms)
    if code == FETCH_FE_SESS_RATE or code == FETCH_FE_REQ_RATE:
        return rate(c, f.oid, RATE_REQUESTS if code == FETCH_FE_REQ_RATE else RATE_SESSIONS, s)
    if f.default_route < 0:
        return SAMPLE_NONE
    route = plan_route(c.view.plan, <uint32_t> f.default_route)
    if route.kind != TARGET_BACKEND:
        return SAMPLE_NONE
    return sample_plan_text(c, plan_backend(c.view.plan, route.target).name, s)


cdef int of_backend(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_BACKEND)
    cdef const plan_backend_t *b = c.view.backend
    if arg != NULL:
        b = plan_backend(c.view.plan, <uint32_t> arg.i)
    if b == NULL:
        return SAMPLE_NONE
    if code == FETCH_BE_SESS_RATE:
        return rate(c, b.oid, RATE_SESSIONS, s)
    return sample_int(s, b.server_ms if code == FETCH_BE_SERVER_TIMEOUT else b.tunnel_ms)


cdef int of_server(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_SERVER)
    cdef const plan_server_t *server
    cdef const plan_backend_t *b
    cdef balance_t *balance
    cdef const balance_member_t *member
    cdef uint32_t index
    if arg == NULL:
        return SAMPLE_NONE
    server = plan_server(c.view.plan, <uint32_t> arg.i)
    if code == FETCH_SRV_SESS_RATE:
        return rate(c, server.oid, RATE_SESSIONS, s)
    if code == FETCH_SRV_IWEIGHT or c.view.mapping == NULL:
        return sample_int(s, server.weight) if code != FETCH_SRV_IS_UP else SAMPLE_NONE
    b = plan_backend(c.view.plan, server.backend)
    index = <uint32_t> arg.i - b.servers_at
    balance = <balance_t *> (<char *> c.view.mapping + b.balance_at)
    if index >= balance.size:
        return SAMPLE_NONE
    # A glance: the supervisor changes it under a lock.
    member = &balance_members(balance)[index]
    if code == FETCH_SRV_IS_UP:
        return sample_bool(s, not member.flags & BALANCE_DOWN)
    return sample_int(s, 0 if code == FETCH_SRV_WEIGHT and member.flags & BALANCE_DRAIN else member.weight)


cdef int fetch_process(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code <= FETCH_PID:
        return of_process(c, g, op, code, s)
    if code == FETCH_FE_DEFBE or code == FETCH_FE_CLIENT_TIMEOUT or code == FETCH_FE_SESS_RATE or code == FETCH_FE_REQ_RATE:
        return of_frontend(c, g, op, code, s)
    if code == FETCH_BE_SERVER_TIMEOUT or code == FETCH_BE_TUNNEL_TIMEOUT or code == FETCH_BE_SESS_RATE:
        return of_backend(c, g, op, code, s)
    return of_server(c, g, op, code, s)
