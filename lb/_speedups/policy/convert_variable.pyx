from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcpy

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.fetch_variable cimport acls_hold
from lb._speedups.policy.logline cimport log_view_t
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, ARG_VARIABLE, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_SINT, SAMPLE_STR, SAMPLE_TEXT_MAX, SAMPLE_WAIT, sample_bool, sample_cast,
    sample_int, sample_room, sample_text,
)
from lb._speedups.policy.variable_sample cimport variable_detach, variable_read, variable_unset, variable_write


cdef extern from *:
    """
    typedef volatile unsigned char lb_volatile_byte;
    """
    ctypedef unsigned char volatile_t "lb_volatile_byte"


# The variable that argument k names, as a type.
cdef int operand(eval_t *c, const program_t *g, const op_t *op, uint32_t k, uint8_t type, sample_t *s) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, k, ARG_VARIABLE)
    if arg == NULL or variable_read(c, <uint64_t> arg.i, s) != SAMPLE_FOUND:
        return SAMPLE_NONE
    return sample_cast(c, s, type)


cdef int convert_operand(eval_t *c, const program_t *g, const op_t *op, uint32_t k, int64_t *n) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, k, ARG_INT)
    cdef sample_t s
    if arg != NULL:
        n[0] = arg.i
        return 0
    if operand(c, g, op, k, SAMPLE_SINT, &s) != SAMPLE_FOUND:
        return -1
    n[0] = s.i
    return 0


# set-var(name[,conditions]) and unset-var(name): the sample goes on as it was, or ends there if it was not kept.
cdef int keep(eval_t *c, const program_t *g, const op_t *op, bint set_, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_VARIABLE)
    cdef const arg_t *conditions = arg_at(c, g, op, 1, ARG_INT)
    if name == NULL or not variable_detach(c, s):    # its bytes may be those of the variable that changes
        return SAMPLE_NONE
    if not set_:
        variable_unset(c, <uint64_t> name.i)
        return SAMPLE_FOUND
    if variable_write(c, <uint64_t> name.i, <uint32_t> conditions.i if conditions != NULL else 0, s) != 0:
        return SAMPLE_NONE
    return SAMPLE_FOUND


cdef inline char *put(char *at, const char *p, size_t n) noexcept nogil:
    memcpy(at, p, n)
    return at + n


# concat(start,variable,end), each optional. Of binary values what stands before a NUL counts, as in HAProxy. Of add_item the first
# is a delimiter: it stands only between two texts.
cdef int concat(eval_t *c, const program_t *g, const op_t *op, bint item, sample_t *s) noexcept nogil:
    cdef const arg_t *start = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const arg_t *end = arg_at(c, g, op, 2, ARG_TEXT)
    cdef sample_t middle
    cdef const char *nul
    cdef size_t n = s.len
    cdef char *room
    cdef char *at
    middle.type = SAMPLE_STR
    middle.len = 0
    if arg_at(c, g, op, 1, ARG_VARIABLE) != NULL and operand(c, g, op, 1, SAMPLE_STR, &middle) != SAMPLE_FOUND:
        middle.len = 0
    if middle.len:
        nul = <const char *> memchr(middle.p, 0, middle.len)
        if nul != NULL:
            middle.len = <uint32_t> (nul - middle.p)
    n += middle.len
    if item and (s.len == 0 or (middle.len == 0 and (end == NULL or end.text.len == 0))):
        start = NULL
    if start != NULL:
        n += start.text.len
    if end != NULL:
        n += end.text.len
    if n > SAMPLE_TEXT_MAX:
        c.overflows += 1
        return SAMPLE_NONE
    room = sample_room(c, n)
    if room == NULL:
        return SAMPLE_NONE
    at = put(room, s.p, s.len)
    if start != NULL:
        at = put(at, plan_text(c.view.plan, start.text), start.text.len)
    if middle.len:
        at = put(at, middle.p, middle.len)
    if end != NULL:
        put(at, plan_text(c.view.plan, end.text), end.text.len)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


# when(condition): the sample, or nothing.
cdef int when(eval_t *c, const program_t *g, const op_t *op) noexcept nogil:
    cdef const arg_t *which = arg_at(c, g, op, 0, ARG_INT)
    cdef const log_view_t *v = c.view.record
    cdef bint failed, forwarded
    cdef int held
    if which == NULL:
        return SAMPLE_NONE
    if which.i == WHEN_STOPPING:
        return SAMPLE_FOUND if c.view.stopping else SAMPLE_NONE
    if which.i == WHEN_ACL:
        held = acls_hold(c, g, op, 1)
        return SAMPLE_WAIT if held < 0 else SAMPLE_FOUND if held else SAMPLE_NONE
    if v == NULL:
        return SAMPLE_NONE
    failed = (v.end_cause != c'-' and v.end_cause != c'L') or v.redispatched or v.retries != 0 or v.status >= 500
    forwarded = v.connect_ms >= 0
    if which.i == WHEN_ERROR:
        return SAMPLE_FOUND if failed else SAMPLE_NONE
    if which.i == WHEN_NORMAL:
        return SAMPLE_NONE if failed else SAMPLE_FOUND
    if which.i == WHEN_FORWARDED:
        return SAMPLE_FOUND if forwarded else SAMPLE_NONE
    if which.i == WHEN_TOAPPLET:
        return SAMPLE_FOUND if not forwarded and v.status != 0 else SAMPLE_NONE
    return SAMPLE_FOUND if forwarded or v.status != 0 else SAMPLE_NONE


# As C's strncmp over what both have, then by length.
cdef int compare(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef sample_t other
    cdef uint32_t i, n
    cdef uint8_t a, b
    if operand(c, g, op, 0, SAMPLE_STR, &other) != SAMPLE_FOUND:
        return SAMPLE_NONE
    n = s.len if s.len < other.len else other.len
    for i in range(n):
        a = <uint8_t> s.p[i]
        b = <uint8_t> other.p[i]
        if a != b:
            return sample_int(s, <int> a - <int> b)
        if a == 0:
            break
    return sample_int(s, (s.len > other.len) - (s.len < other.len))


# How long it takes says nothing about where two values of one length differ.
cdef int compare_securely(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef sample_t other
    cdef uint32_t i
    cdef uint8_t difference = 0
    cdef volatile_t _seen
    if operand(c, g, op, 0, SAMPLE_BIN, &other) != SAMPLE_FOUND:
        return SAMPLE_NONE
    if s.len != other.len:
        return sample_bool(s, False)
    for i in range(s.len):
        difference |= <uint8_t> s.p[i] ^ <uint8_t> other.p[i]
        _seen = difference                     # so that no compiler stops at the first difference
    return sample_bool(s, difference == 0)


cdef int convert_variable(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == CONVERT_SET_VAR or code == CONVERT_UNSET_VAR:
        return keep(c, g, op, code == CONVERT_SET_VAR, s)
    if code == CONVERT_CONCAT or code == CONVERT_ADD_ITEM:
        return concat(c, g, op, code == CONVERT_ADD_ITEM, s)
    if code == CONVERT_WHEN:
        return when(c, g, op)
    if code == CONVERT_STRCMP:
        return compare(c, g, op, s)
    if code == CONVERT_SECURE_MEMCMP:
        return compare_securely(c, g, op, s)
    return SAMPLE_NONE
