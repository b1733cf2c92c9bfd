from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from lb._speedups.base.mapping cimport counters_t, mapping_sum
from lb._speedups.policy.balance cimport balance_t, balance_usable
from lb._speedups.policy.fetch cimport (
    FETCH_ACT_CONN, FETCH_ALWAYS_FALSE, FETCH_ALWAYS_TRUE, FETCH_BE_CONN, FETCH_BE_ID, FETCH_BE_NAME, FETCH_BIN,
    FETCH_BOOL, FETCH_DATE, FETCH_DATE_US, FETCH_FE_CONN, FETCH_FE_ID, FETCH_FE_NAME, FETCH_HOSTNAME, FETCH_INT,
    FETCH_IPV4, FETCH_IPV6, FETCH_METH, FETCH_NBSRV, FETCH_RAND, FETCH_SRV_CONN, FETCH_SRV_ID, FETCH_SRV_NAME,
    FETCH_STOPPING, FETCH_UUID, arg_at,
)
from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.plan cimport (
    plan_backend, plan_backend_t, plan_frontend, plan_frontend_t, plan_server, plan_server_t, plan_text,
)
from lb._speedups.policy.program cimport ARG_BACKEND, ARG_FRONTEND, ARG_INT, ARG_NET, ARG_SERVER, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_METH, SAMPLE_NONE, sample_bool,
    sample_cast, sample_int, sample_plan_text, sample_room, sample_text,
)


cdef extern from "<unistd.h>" nogil:
    int gethostname(char *name, size_t len)


cdef enum:
    HOSTNAME_MAX = 256


cdef uint64_t draw(eval_t *c) noexcept nogil:
    c.random += 1
    return hash_mix(c.random)


# The backend of an argument, or the stream's; NULL: none yet.
cdef const plan_backend_t *backend_of(eval_t *c, const program_t *g, const op_t *op) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_BACKEND)
    if arg != NULL:
        return plan_backend(c.view.plan, <uint32_t> arg.i)
    return c.view.backend


cdef int current(eval_t *c, uint32_t oid, sample_t *s) noexcept nogil:
    cdef counters_t sum_
    mapping_sum(c.view.mapping, oid, &sum_)
    return sample_int(s, sum_.cur)


cdef int constant(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg
    if code == FETCH_INT or code == FETCH_BOOL:
        arg = arg_at(c, g, op, 0, ARG_INT)
        if arg == NULL:
            return SAMPLE_NONE
        return sample_int(s, arg.i) if code == FETCH_INT else sample_bool(s, arg.i != 0)
    if code == FETCH_IPV4 or code == FETCH_IPV6:
        arg = arg_at(c, g, op, 0, ARG_NET)
        if arg == NULL or arg.text.len != (4 if code == FETCH_IPV4 else 16):
            return SAMPLE_NONE
        memcpy(s.address, plan_text(c.view.plan, arg.text), arg.text.len)
        s.type = SAMPLE_IPV4 if code == FETCH_IPV4 else SAMPLE_IPV6
        return SAMPLE_FOUND
    arg = arg_at(c, g, op, 0, ARG_TEXT)
    if arg == NULL:
        return SAMPLE_NONE
    sample_plan_text(c, arg.text, s)
    if code == FETCH_BIN:
        s.type = SAMPLE_BIN
    elif code == FETCH_METH:
        return sample_cast(c, s, SAMPLE_METH)
    return SAMPLE_FOUND


cdef int date(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    # date([offset[,unit]]): the offset is in the unit that is answered, as in HAProxy.
    cdef const arg_t *offset = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *unit = arg_at(c, g, op, 1, ARG_INT)
    cdef uint64_t per = <uint64_t> unit.i if unit != NULL and unit.i > 0 else 1000000
    return sample_int(s, <int64_t> (c.view.now_us // per) + (offset.i if offset != NULL else 0))


cdef int rand(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *limit = arg_at(c, g, op, 0, ARG_INT)
    cdef uint64_t number = draw(c) >> 32
    if limit != NULL:
        number = number * <uint64_t> limit.i >> 32
    return sample_int(s, <int64_t> number)


cdef int uuid(eval_t *c, sample_t *s) noexcept nogil:
    # RFC 9562, version 4
    cdef const char *hex = b"0123456789abcdef"
    cdef char *room = sample_room(c, 36)
    cdef uint64_t words[2]
    cdef uint8_t *raw = <uint8_t *> words
    cdef int i
    cdef char *at = room
    if room == NULL:
        return SAMPLE_NONE
    words[0] = draw(c)
    words[1] = draw(c)
    raw[6] = (raw[6] & 0x0f) | 0x40
    raw[8] = (raw[8] & 0x3f) | 0x80
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            at[0] = c'-'
            at += 1
        at[0] = hex[raw[i] >> 4]
        at[1] = hex[raw[i] & 15]
        at += 2
    sample_text(s, room, 36, 0)
    return SAMPLE_FOUND


cdef int hostname(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room = sample_room(c, HOSTNAME_MAX)
    if room == NULL or gethostname(room, HOSTNAME_MAX - 1) != 0:
        return SAMPLE_NONE
    room[HOSTNAME_MAX - 1] = 0
    sample_text(s, room, strlen(room), 0)
    return SAMPLE_FOUND


cdef int of_frontend(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_FRONTEND)
    cdef const plan_frontend_t *f = c.view.frontend
    if arg != NULL:
        f = plan_frontend(c.view.plan, <uint32_t> arg.i)
    if f == NULL:
        return SAMPLE_NONE
    if code == FETCH_FE_NAME:
        return sample_plan_text(c, f.name, s)
    if code == FETCH_FE_ID:
        return sample_int(s, f.oid)
    return current(c, f.oid, s)


cdef int of_backend(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const plan_backend_t *b = backend_of(c, g, op)
    if b == NULL:
        return SAMPLE_NONE
    if code == FETCH_BE_NAME:
        return sample_plan_text(c, b.name, s)
    if code == FETCH_BE_ID:
        return sample_int(s, b.oid)
    if code == FETCH_NBSRV:
        return sample_int(s, balance_usable(<balance_t *> (<char *> c.view.mapping + b.balance_at)))
    return current(c, b.oid, s)


cdef int of_server(eval_t *c, const program_t *g, const op_t *op, unsigned int code, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_SERVER)
    cdef const plan_server_t *server = c.view.server
    if arg != NULL:
        server = plan_server(c.view.plan, <uint32_t> arg.i)
    if server == NULL:
        return SAMPLE_NONE
    if code == FETCH_SRV_NAME:
        return sample_plan_text(c, server.name, s)
    if code == FETCH_SRV_ID:
        return sample_int(s, server.oid)
    return current(c, server.oid, s)


cdef int fetch_internal(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == FETCH_ALWAYS_TRUE or code == FETCH_ALWAYS_FALSE:
        return sample_bool(s, code == FETCH_ALWAYS_TRUE)
    if FETCH_INT <= code <= FETCH_METH:
        return constant(c, g, op, code, s)
    if code == FETCH_DATE:
        return date(c, g, op, s)
    if code == FETCH_DATE_US:
        return sample_int(s, <int64_t> (c.view.now_us % 1000000))
    if code == FETCH_RAND:
        return rand(c, g, op, s)
    if code == FETCH_UUID:
        return uuid(c, s)
    if code == FETCH_HOSTNAME:
        return hostname(c, s)
    if code == FETCH_FE_NAME or code == FETCH_FE_ID or code == FETCH_FE_CONN:
        return of_frontend(c, g, op, code, s)
    if code == FETCH_BE_NAME or code == FETCH_BE_ID or code == FETCH_BE_CONN or code == FETCH_NBSRV:
        return of_backend(c, g, op, code, s)
    if code == FETCH_SRV_NAME or code == FETCH_SRV_ID or code == FETCH_SRV_CONN:
        return of_server(c, g, op, code, s)
    if code == FETCH_ACT_CONN:
        return current(c, c.view.plan.maxconn_oid, s)
    if code == FETCH_STOPPING:
        return sample_bool(s, c.view.stopping)
    return SAMPLE_NONE
