from lb._speedups.base.mapping cimport counters_t, mapping_sum
from lb._speedups.policy.fetch cimport FETCH_DST_CONN, arg_at
from lb._speedups.policy.program cimport ARG_INT, arg_t
from lb._speedups.policy.sample cimport SAMPLE_NONE, sample_int


cdef int fetch_socket(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *arg = arg_at(c, g, op, 0, ARG_INT)
    cdef counters_t sum_
    if code == FETCH_DST_CONN:
        if c.view.listener_oid == 0 or c.view.mapping == NULL:
            return SAMPLE_NONE
        mapping_sum(c.view.mapping, c.view.listener_oid, &sum_)
        return sample_int(s, sum_.cur)
    if c.view.ask == NULL:
        return SAMPLE_NONE
    return c.view.ask(c.view.stream, code, arg.i if arg != NULL else 0, s)
