from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.sample cimport (
    SAMPLE_ANY, SAMPLE_BIN, SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_METH, SAMPLE_NONE, SAMPLE_SINT, SAMPLE_STR, sample_room,
)
from lb._speedups.policy.variable cimport (
    SCOPE_PROC, SCOPE_REQ, SCOPE_RES, SCOPE_SESS, VARIABLE_IF_EMPTY, VARIABLE_IF_EXISTS, VARIABLE_IF_GREATER,
    VARIABLE_IF_LESS, VARIABLE_IF_NOT_EMPTY, VARIABLE_IF_NOT_EXISTS, VARIABLE_IF_NOT_SET, VARIABLE_IF_SET,
    process_give, process_put, process_take, process_value, process_variable, process_variable_t, value_t,
    variable_drop, variable_find, variable_keep, variable_scope_of, variable_t, variables_t,
)
from lb._speedups.proto.message cimport METHOD_OTHER


cdef inline bint has_text(uint8_t type, uint8_t method) noexcept nogil:
    return type == SAMPLE_STR or type == SAMPLE_BIN or (type == SAMPLE_METH and method == METHOD_OTHER)


cdef void head_of(const sample_t *s, value_t *head) noexcept nogil:
    memset(head, 0, sizeof(value_t))
    head.type = s.type
    head.method = s.method
    head.i = s.i
    memcpy(head.address, s.address, 16)
    if has_text(s.type, s.method):
        head.len = s.len


cdef void fill(const value_t *head, const char *text, sample_t *s) noexcept nogil:
    s.type = head.type
    s.flags = SAMPLE_CONST
    s.method = head.method
    s.i = head.i
    memcpy(s.address, head.address, 16)
    s.p = text
    s.len = head.len


# Where variables of this id stand; NULL: nowhere, now.
cdef variables_t **place_of(const eval_t *c, uint64_t id) noexcept nogil:
    cdef uint8_t scope = variable_scope_of(id)
    cdef bint answered
    if scope == SCOPE_SESS:
        return c.view.session
    # An answer is one of a server, or one that was made here.
    answered = c.view.response != NULL or c.view.status != 0
    if scope == SCOPE_REQ and answered or scope == SCOPE_RES and not answered:
        return NULL
    return c.view.variables


cdef int read_process(eval_t *c, uint64_t id, sample_t *s) noexcept nogil:
    cdef process_variable_t *cell = process_variable(c.view.mapping, id) if c.view.mapping != NULL else NULL
    cdef char *room
    cdef int r = SAMPLE_NONE
    if cell == NULL or process_take(cell) != 0:
        return SAMPLE_NONE
    if cell.id == id and process_value(cell).value.type != SAMPLE_ANY:
        room = sample_room(c, process_value(cell).value.len)
        if room != NULL:
            memcpy(room, process_value(cell).text, process_value(cell).value.len)
            fill(&process_value(cell).value, room, s)
            r = SAMPLE_FOUND
    process_give(cell)
    return r


cdef int variable_read(eval_t *c, uint64_t id, sample_t *s) noexcept nogil:
    cdef variables_t **at
    cdef variable_t *v
    if variable_scope_of(id) == SCOPE_PROC:
        return read_process(c, id, s)
    at = place_of(c, id)
    v = variable_find(at[0], id) if at != NULL else NULL
    if v == NULL:
        return SAMPLE_NONE
    fill(&v.value, v.p, s)
    return SAMPLE_FOUND


# Whether the conditions hold. `old` is the value that is there, NULL = none.
cdef bint is_wanted(uint32_t conditions, const value_t *old, bint exists, const sample_t *s) noexcept nogil:
    cdef bint empty = has_text(s.type, s.method) and s.len == 0
    if conditions & VARIABLE_IF_EXISTS and not exists or conditions & VARIABLE_IF_NOT_EXISTS and exists:
        return False
    if conditions & VARIABLE_IF_SET and old == NULL or conditions & VARIABLE_IF_NOT_SET and old != NULL:
        return False
    if conditions & VARIABLE_IF_EMPTY and not empty or conditions & VARIABLE_IF_NOT_EMPTY and empty:
        return False
    # Of anything but two integers neither is greater, and then it is set, as in HAProxy.
    if old == NULL or old.type != SAMPLE_SINT or s.type != SAMPLE_SINT:
        return True
    if conditions & VARIABLE_IF_GREATER and old.i <= s.i or conditions & VARIABLE_IF_LESS and old.i >= s.i:
        return False
    return True


cdef int write_process(eval_t *c, uint64_t id, uint32_t conditions, const sample_t *s) noexcept nogil:
    cdef process_variable_t *cell = process_variable(c.view.mapping, id) if c.view.mapping != NULL else NULL
    cdef const value_t *old
    cdef value_t head
    cdef int r = -1
    if cell == NULL or process_take(cell) != 0:
        return -1
    old = &process_value(cell).value
    if old.type == SAMPLE_ANY:
        old = NULL
    if cell.id == id and is_wanted(conditions, old, True, s):
        head_of(s, &head)
        r = process_put(cell, &head, s.p)
        if r != 0:
            c.overflows += 1
    process_give(cell)
    return r


cdef int variable_write(eval_t *c, uint64_t id, uint32_t conditions, const sample_t *s) noexcept nogil:
    cdef variables_t **at
    cdef variable_t *v
    cdef value_t head
    if variable_scope_of(id) == SCOPE_PROC:
        return write_process(c, id, conditions, s)
    at = place_of(c, id)
    if at == NULL or c.view.pools == NULL:
        return -1
    if conditions:
        v = variable_find(at[0], id)
        if not is_wanted(conditions, &v.value if v != NULL else NULL, v != NULL, s):
            return -1
    head_of(s, &head)
    if variable_keep(c.view.pools, at, id, &head, s.p) != 0:
        c.overflows += 1
        return -1
    return 0


cdef void variable_unset(eval_t *c, uint64_t id) noexcept nogil:
    cdef variables_t **at
    cdef process_variable_t *cell
    cdef value_t unset
    if variable_scope_of(id) == SCOPE_PROC:
        cell = process_variable(c.view.mapping, id) if c.view.mapping != NULL else NULL
        if cell != NULL and process_take(cell) == 0:
            memset(&unset, 0, sizeof(unset))
            if cell.id == id:
                process_put(cell, &unset, b"")
            process_give(cell)
        return
    at = place_of(c, id)
    if at != NULL and c.view.pools != NULL:
        variable_drop(c.view.pools, at[0], id)


cdef bint variable_detach(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room
    if not s.flags & SAMPLE_CONST or not has_text(s.type, s.method):
        return True
    room = sample_room(c, s.len)
    if room == NULL:
        return False
    memcpy(room, s.p, s.len)
    s.p = room
    s.flags &= <uint8_t> ~SAMPLE_CONST
    return True
