from libc.stdint cimport uint64_t
from lb._speedups.base.mapping cimport counters_t, rate_count
from lb._speedups.policy.hash cimport hash_mix
from lb._speedups.policy.plan cimport ROUTE_TIMES, TARGET_SPLIT, plan_backend, plan_split, plan_split_t
from lb._speedups.policy.split cimport SPLIT_NEW, split_backend, split_cookie, split_point
from lb._speedups.proto.message cimport MESSAGE_EDIT_MAX, NAME_SET_COOKIE, message_add
from lb._speedups.relay.relay cimport engine_t


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint x)


cdef uint32_t deal(stream_t *st, const plan_split_t *split) noexcept nogil:
    cdef engine_t *e = st.engine
    cdef uint64_t point
    e.dealt += 1
    # Two mixes: request ids show the prefix.
    if split_point(st.plan.plan, split, st.request, st.family, st.address, hash_mix(hash_mix(e.id_prefix) ^ e.dealt),
                   &point) == SPLIT_NEW:
        st.sticky = split
        st.point = point
    return split_backend(st.plan.plan, split, point)


cdef void target_backend(stream_t *st, const plan_route_t *route) noexcept nogil:
    cdef uint32_t index = route.target
    st.route = route
    if route.flags & ROUTE_TIMES:
        st.times = route
    if route.kind == TARGET_SPLIT:
        index = deal(st, plan_split(st.plan.plan, index))
    target_enter(st, index)


cdef void target_enter(stream_t *st, uint32_t index) noexcept nogil:
    cdef counters_t *row
    st.backend = plan_backend(st.plan.plan, index)
    row = &st.engine.rows[st.backend.oid]
    row.cur += 1
    if <uint64_t> row.cur > row.cur_max:
        row.cur_max = <uint64_t> row.cur
    if UNLIKELY(st.engine.counts_rates):
        rate_count(&row.sess_rate, st.engine.now_ms)


cdef int target_cookie(stream_t *st, message_t *m) noexcept nogil:
    cdef char value[MESSAGE_EDIT_MAX]
    cdef size_t n = split_cookie(st.plan.plan, st.sticky, st.point, value, sizeof(value))
    if n == 0:
        return -1
    return message_add(m, NAME_SET_COOKIE, b"Set-Cookie", 10, value, n)
