from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from lb._speedups.proto.authority cimport authority_is_valid
from lb._speedups.proto.h1 cimport H1_METHOD_MAX, h1_method_id
from lb._speedups.proto.message cimport (
    MESSAGE_ABSOLUTE, MESSAGE_BLOCK, MESSAGE_EDIT_MAX, MESSAGE_REQUEST, MESSAGE_STAR, MESSAGE_TARGET_MAX, METHOD_CONNECT,
    METHOD_HEAD, METHOD_OPTIONS, NAME_CONNECTION, NAME_CONTENT_LENGTH, NAME_EXPECT, NAME_HOST, NAME_KEEP_ALIVE,
    NAME_PROXY_CONNECTION,
    NAME_TE, NAME_TRAILER, NAME_TRANSFER_ENCODING, NAME_UPGRADE, message_add, message_delete, message_find,
)


cdef extern from "proto/h1_tables.h" nogil:
    const char *h1_skip_token(const char *p, const char *end)
    const char *h1_skip_target(const char *p, const char *end)
    const char *h1_skip_value(const char *p, const char *end)
    uint8_t h1_name_id(const char *p, size_t len)


# Room for n bytes of the edit area; 0 = there is none (no edit stands at offset 0).
cdef inline uint16_t room_for(message_t *m, size_t n) noexcept nogil:
    cdef uint16_t at = m.edit_at
    if n > <size_t> (MESSAGE_BLOCK - at):
        return 0
    m.edit_at += <uint16_t> n
    return at


cdef int edit_method(message_t *m, const char *p, size_t n) noexcept nogil:
    cdef uint8_t id
    cdef uint16_t at
    if n == 0 or n > H1_METHOD_MAX or h1_skip_token(p, p + n) != p + n:
        return -1
    id = h1_method_id(p, n)
    if (id == METHOD_HEAD) != (m.method == METHOD_HEAD) or id == METHOD_CONNECT:
        return -1
    if m.flags & MESSAGE_STAR and id != METHOD_OPTIONS:
        return -1                             # RFC 9112 3.2.4: no other method has this target
    at = room_for(m, n)
    if at == 0:
        return -1
    memcpy(m.block + at, p, n)
    m.method = id
    m.method_at.at = at
    m.method_at.len = <uint16_t> n
    return 0


# `path` and `?query` are put together as the new target; `query` NULL: there is none, not even an empty one.
cdef int put_target(message_t *m, const char *path, size_t path_len, const char *query, size_t query_len) noexcept nogil:
    cdef size_t n = path_len + (query_len + 1 if query != NULL else 0)
    cdef char made[MESSAGE_EDIT_MAX]
    cdef uint16_t at
    if path_len == 0 or path[0] != c'/' or n > MESSAGE_EDIT_MAX or n > MESSAGE_TARGET_MAX:
        return -1
    memcpy(made, path, path_len)
    if query != NULL:
        made[path_len] = c'?'
        memcpy(made + path_len + 1, query, query_len)
    if h1_skip_target(made, made + n) != made + n:
        return -1
    at = room_for(m, n)
    if at == 0:
        return -1
    memcpy(m.block + at, made, n)
    m.target.at = at
    m.target.len = <uint16_t> n
    m.path.at = at
    m.path.len = <uint16_t> path_len
    m.query.at = <uint16_t> (at + n - query_len) if query != NULL else 0
    m.query.len = <uint16_t> query_len
    m.flags &= <uint16_t> ~(MESSAGE_ABSOLUTE | MESSAGE_STAR)
    return 0


cdef int edit_target(message_t *m, const char *p, size_t n) noexcept nogil:
    cdef size_t i = 0
    while i < n and p[i] != c'?':
        i += 1
    return put_target(m, p, i, p + i + 1 if i < n else NULL, n - i - 1 if i < n else 0)


cdef int edit_path(message_t *m, const char *p, size_t n) noexcept nogil:
    cdef bint asked = m.target.at + m.target.len > m.path.at + m.path.len and not m.flags & MESSAGE_STAR
    cdef size_t i
    for i in range(n):
        if p[i] == c'?':
            return -1                         # it would begin a query
    return put_target(m, p, n, m.block + m.path.at + m.path.len + 1 if asked else NULL, m.query.len if asked else 0)


cdef int edit_query(message_t *m, const char *p, size_t n) noexcept nogil:
    if m.flags & MESSAGE_STAR:
        return -1
    if m.path.len == 0:                       # `http://host?query`
        return put_target(m, b"/", 1, p if n else NULL, n)
    return put_target(m, m.block + m.path.at, m.path.len, p if n else NULL, n)


cdef inline bint is_bodiless(uint16_t status) noexcept nogil:
    return status == 204 or status == 304


cdef int edit_status(message_t *m, uint16_t status, const char *reason, size_t n) noexcept nogil:
    cdef uint16_t at
    if not 200 <= status <= 599 or m.status < 200:
        return -1
    if status != m.status and (is_bodiless(status) or is_bodiless(m.status)):
        return -1
    if h1_skip_value(reason, reason + n) != reason + n:
        return -1
    at = room_for(m, n)
    if at == 0:
        return -1
    memcpy(m.block + at, reason, n)
    m.status = status
    m.reason.at = at
    m.reason.len = <uint16_t> n
    return 0


cdef void edit_drop(message_t *m, const char *name, size_t len) noexcept nogil:
    cdef int i = message_find(m, name, len, 0)
    while i >= 0:
        message_delete(m, <unsigned int> i)
        i = message_find(m, name, len, <unsigned int> i + 1)


cdef int edit_add(message_t *m, const char *name, size_t len, const char *value, size_t n) noexcept nogil:
    cdef uint8_t id = h1_name_id(name, len)
    # White space around a value is no part of it, and a line may not begin or end with it.
    while n and (value[0] == c' ' or value[0] == c'\t'):
        value += 1
        n -= 1
    while n and (value[n - 1] == c' ' or value[n - 1] == c'\t'):
        n -= 1
    if id == NAME_HOST and m.kind == MESSAGE_REQUEST:
        if not authority_is_valid(value, n):
            return -1
        if message_add(m, id, name, len, value, n) != 0:
            return -1
        # The new one alone remains, and is what routes look at.
        m.authority.at = m.fields[m.nfields - 1].value_at
        m.authority.len = <uint16_t> n
        while m.by_name[id] != m.nfields:
            message_delete(m, m.by_name[id] - 1)
        return 0
    if id == NAME_CONTENT_LENGTH or id == NAME_TRANSFER_ENCODING or id == NAME_CONNECTION or id == NAME_KEEP_ALIVE \
            or id == NAME_PROXY_CONNECTION or id == NAME_TE or id == NAME_TRAILER or id == NAME_UPGRADE \
            or id == NAME_EXPECT:
        return -1                             # the codec's own
    return message_add(m, id, name, len, value, n)
