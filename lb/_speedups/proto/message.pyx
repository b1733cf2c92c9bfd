from libc.string cimport memcpy, memset


cdef extern from "lb.h" nogil:
    void LB_ASSERT(bint condition)


cdef extern from "proto/h1_tables.h" nogil:
    const char *h1_skip_token(const char *p, const char *end)
    const char *h1_skip_value(const char *p, const char *end)
    bint h1_equal(const char *a, const char *b, size_t len)


cdef void message_reset(message_t *m, uint8_t kind) noexcept nogil:
    memset(m, 0, <size_t>(<char *>&m.fields[0] - <char *>m))
    m.kind = kind
    m.edit_at = MESSAGE_HEAD_MAX


cdef int message_add(message_t *m, uint8_t id, const char *name, size_t name_len,
                     const char *value, size_t value_len) noexcept nogil:
    cdef field_t *field
    if name_len == 0 or name_len > 255 or m.nfields >= MESSAGE_FIELDS_ALL:
        return -1
    if value_len > MESSAGE_BLOCK or name_len + value_len > <size_t>(MESSAGE_BLOCK - m.edit_at):
        return -1
    # Splitting is refused here, whatever the value was made from.
    if h1_skip_token(name, name + name_len) != name + name_len:
        return -1
    if h1_skip_value(value, value + value_len) != value + value_len:
        return -1
    field = &m.fields[m.nfields]
    field.name_at = m.edit_at
    field.name_len = <uint8_t>name_len
    field.value_at = <uint16_t>(m.edit_at + name_len)
    field.value_len = <uint16_t>value_len
    field.line_end = 0
    field.id = id
    field.flags = FIELD_EDIT
    field.pad = 0
    if id == NAME_CONTENT_LENGTH or id == NAME_TRANSFER_ENCODING:
        field.flags |= FIELD_FRAMING
    memcpy(&m.block[field.name_at], name, name_len)
    if value_len:
        memcpy(&m.block[field.value_at], value, value_len)
    m.edit_at = <uint16_t>(field.value_at + value_len)
    m.nfields += 1
    if id and m.by_name[id] == 0:
        m.by_name[id] = m.nfields
    return 0


cdef char *message_begin(message_t *m, uint8_t id, const char *name, size_t name_len, size_t most) noexcept nogil:
    cdef field_t *field
    if m.nfields >= MESSAGE_FIELDS_ALL or name_len + most > <size_t>(MESSAGE_BLOCK - m.edit_at):
        return NULL
    field = &m.fields[m.nfields]
    field.name_at = m.edit_at
    field.name_len = <uint8_t>name_len
    field.value_at = <uint16_t>(m.edit_at + name_len)
    field.value_len = 0
    field.line_end = 0
    field.id = id
    field.flags = FIELD_EDIT
    field.pad = 0
    memcpy(&m.block[field.name_at], name, name_len)
    m.edit_at = field.value_at
    m.nfields += 1
    if id and m.by_name[id] == 0:
        m.by_name[id] = m.nfields
    return &m.block[field.value_at]


cdef int message_refer(message_t *m, uint8_t id, const char *name, size_t name_len, span_t value) noexcept nogil:
    if message_begin(m, id, name, name_len, 0) == NULL:
        return -1
    m.fields[m.nfields - 1].value_at = value.at
    m.fields[m.nfields - 1].value_len = value.len
    return 0


cdef void message_delete(message_t *m, unsigned int i) noexcept nogil:
    cdef unsigned int n
    cdef uint8_t id
    LB_ASSERT(i < m.nfields)
    m.fields[i].flags |= FIELD_DELETED
    id = m.fields[i].id
    if id == NAME_OTHER or m.by_name[id] != i + 1:
        return
    m.by_name[id] = 0
    for n in range(i + 1, m.nfields):
        if m.fields[n].id == id and not m.fields[n].flags & FIELD_DELETED:
            m.by_name[id] = <uint16_t>(n + 1)
            return


cdef void message_strip_hop(message_t *m) noexcept nogil:
    cdef unsigned int i
    for i in range(m.nfields):
        if not m.fields[i].flags & FIELD_HOP:
            continue
        if m.fields[i].id == NAME_UPGRADE and m.flags & MESSAGE_UPGRADE:
            continue
        message_delete(m, i)


cdef int message_find(const message_t *m, const char *name, size_t len, unsigned int start) noexcept nogil:
    cdef unsigned int i
    for i in range(start, m.nfields):
        if m.fields[i].name_len != len or m.fields[i].flags & FIELD_DELETED:
            continue
        if h1_equal(&m.block[m.fields[i].name_at], name, len):
            return <int>i
    return -1
