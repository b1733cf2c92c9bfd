from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memchr, memcmp, memcpy

from lb._speedups.proto.authority cimport authority_is_valid
from lb._speedups.proto.h1 cimport H1_METHOD_MAX, h1_method_id
from lb._speedups.proto.message cimport (
    FIELD_EDIT, MESSAGE_ABSOLUTE, MESSAGE_BLOCK, MESSAGE_EDIT_MAX, MESSAGE_FIELDS_ALL, MESSAGE_REQUEST, MESSAGE_STAR,
    MESSAGE_TARGET_MAX, METHOD_CONNECT, METHOD_HEAD, METHOD_OPTIONS, NAME_CONNECTION, NAME_CONTENT_LENGTH,
    NAME_EXPECT, NAME_HOST, NAME_KEEP_ALIVE, NAME_PROXY_CONNECTION, NAME_TE, NAME_TRAILER, NAME_TRANSFER_ENCODING,
    NAME_UPGRADE, field_t, message_add, message_delete, message_find,
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


# Of a path and query: where the path ends, the query behind `?` (NULL: there is none) and its length.
cdef inline size_t path_end(const char *p, size_t n) noexcept nogil:
    cdef const char *mark = <const char *> memchr(p, c'?', n)
    return n if mark == NULL else <size_t> (mark - p)


cdef inline const char *query_of(const char *p, size_t n) noexcept nogil:
    cdef size_t end = path_end(p, n)
    return p + end + 1 if end < n else NULL


cdef inline size_t query_len(const char *p, size_t n) noexcept nogil:
    cdef size_t end = path_end(p, n)
    return n - end - 1 if end < n else 0


cdef int edit_target(message_t *m, const char *p, size_t n) noexcept nogil:
    return put_target(m, p, path_end(p, n), query_of(p, n), query_len(p, n))


cdef int edit_uri(message_t *m, const char *p, size_t n) noexcept nogil:
    cdef const char *path = b"/"
    cdef size_t i = 0, from_, len = 1
    if n and p[0] == c'/':
        return edit_target(m, p, n)
    if n == 1 and p[0] == c'*':
        return 0 if m.flags & MESSAGE_STAR else -1
    while i < n and (c'a' <= (p[i] | 0x20) <= c'z' or (i and (c'0' <= p[i] <= c'9' or p[i] in (c'+', c'-', c'.')))):
        i += 1
    if i == 0 or n - i < 4 or memcmp(p + i, b"://", 3) != 0:
        return -1
    from_ = i + 3
    i = from_
    while i < n and p[i] != c'/' and p[i] != c'?':
        i += 1
    if i < n and p[i] == c'/':                # else `http://host?query` means `/?query`
        path = p + i
        len = path_end(p + i, n - i)
    # Room for Host too: a refused edit changes nothing.
    if m.nfields >= MESSAGE_FIELDS_ALL or n + 8 > <size_t> (MESSAGE_BLOCK - m.edit_at):
        return -1
    if not authority_is_valid(p + from_, i - from_):
        return -1
    if put_target(m, path, len, query_of(p + i, n - i), query_len(p + i, n - i)) != 0:
        return -1
    return edit_host(m, b"Host", 4, p + from_, i - from_)


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


# Another Host, which was checked. It alone remains, and is what routes look at.
cdef int edit_host(message_t *m, const char *name, size_t len, const char *value, size_t n) noexcept nogil:
    if message_add(m, NAME_HOST, name, len, value, n) != 0:
        return -1
    m.authority.at = m.fields[m.nfields - 1].value_at
    m.authority.len = <uint16_t> n
    while m.by_name[NAME_HOST] != m.nfields:
        message_delete(m, m.by_name[NAME_HOST] - 1)
    return 0


cdef int edit_value(message_t *m, unsigned int i, const char *value, size_t n) noexcept nogil:
    cdef field_t *field = &m.fields[i]
    cdef uint16_t at
    while n and (value[0] == c' ' or value[0] == c'\t'):
        value += 1
        n -= 1
    while n and (value[n - 1] == c' ' or value[n - 1] == c'\t'):
        n -= 1
    if is_own(field.id) or h1_skip_value(value, value + n) != value + n:
        return -1
    if field.id == NAME_HOST and m.kind == MESSAGE_REQUEST and not authority_is_valid(value, n):
        return -1
    at = room_for(m, n)
    if at == 0:
        return -1
    memcpy(m.block + at, value, n)
    field.value_at = at
    field.value_len = <uint16_t> n
    field.line_end = 0
    field.flags |= FIELD_EDIT
    if field.id == NAME_HOST and m.kind == MESSAGE_REQUEST:
        m.authority.at = at
        m.authority.len = <uint16_t> n
    return 0


# What the codec writes itself.
cdef inline bint is_own(uint8_t id) noexcept nogil:
    return id == NAME_CONTENT_LENGTH or id == NAME_TRANSFER_ENCODING or id == NAME_CONNECTION or id == NAME_KEEP_ALIVE \
        or id == NAME_PROXY_CONNECTION or id == NAME_TE or id == NAME_TRAILER or id == NAME_UPGRADE or id == NAME_EXPECT


cdef int edit_add(message_t *m, const char *name, size_t len, const char *value, size_t n) noexcept nogil:
    cdef uint8_t id = h1_name_id(name, len)
    # White space around a value is no part of it, and a line may not begin or end with it.
    while n and (value[0] == c' ' or value[0] == c'\t'):
        value += 1
        n -= 1
    while n and (value[n - 1] == c' ' or value[n - 1] == c'\t'):
        n -= 1
    if id == NAME_HOST and m.kind == MESSAGE_REQUEST:
        return edit_host(m, name, len, value, n) if authority_is_valid(value, n) else -1
    if is_own(id):
        return -1
    return message_add(m, id, name, len, value, n)
