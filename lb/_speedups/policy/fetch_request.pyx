from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.fetch cimport (
    FETCH_BASE, FETCH_BASE32, FETCH_BASE32_SRC, FETCH_BASEQ, FETCH_HTTP_FIRST_REQ, FETCH_METHOD, FETCH_PATH,
    FETCH_PATHQ, FETCH_QUERY, FETCH_REQ_COOK, FETCH_REQ_COOK_CNT, FETCH_REQ_COOK_NAMES, FETCH_REQ_COOK_VAL,
    FETCH_REQ_FHDR, FETCH_REQ_FHDR_CNT, FETCH_REQ_HDR, FETCH_REQ_HDRS, FETCH_REQ_HDRS_BIN, FETCH_REQ_HDR_CNT,
    FETCH_REQ_HDR_IP, FETCH_REQ_HDR_NAMES, FETCH_REQ_HDR_VAL, FETCH_REQ_PROTO_HTTP, FETCH_REQ_VER, FETCH_UNIQUE_ID,
    FETCH_URL, FETCH_URL32, FETCH_URL32_SRC, FETCH_URLP, FETCH_URLP_VAL, FETCH_URL_IP, FETCH_URL_PORT, arg_at,
)
from lb._speedups.policy.fetch_head cimport (
    head_cookie, head_cookie_count, head_cookie_names, head_cookie_val, head_field, head_field_count, head_field_ip, head_field_val,
    head_lines, head_names, head_version,
)
from lb._speedups.policy.fields cimport bytes_t, field_at, param_next
from lb._speedups.policy.hash cimport hash_avalanche
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_METH, SAMPLE_MORE, SAMPLE_NONE, iterator_t, sample_bool,
    sample_int, sample_read_address, sample_read_number, sample_room, sample_text,
)
from lb._speedups.proto.message cimport MESSAGE_STAR, METHOD_OPTIONS, message_t


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6


# Whether the target has a `?`, be its query empty or not.
cdef inline bint has_query(const message_t *m) noexcept nogil:
    return m.target.at + m.target.len > m.path.at + m.path.len


# Of `http://host` and `http://host?query` the path is `/`: so they are sent on (RFC 9110 4.2.3), and a rule must see the
# path that the server sees. OPTIONS of such a target without a query is sent on as `*`, which has none.
cdef int empty_path(eval_t *c, const message_t *m, unsigned int code, sample_t *s) noexcept nogil:
    cdef size_t n = <size_t> (m.target.at + m.target.len - m.path.at)
    cdef char *room
    if n == 0 and m.method == METHOD_OPTIONS:
        return SAMPLE_NONE
    if code != FETCH_PATHQ or n == 0:
        sample_text(s, b"/", 1, SAMPLE_CONST)
        return SAMPLE_FOUND
    room = sample_room(c, n + 1)
    if room == NULL:
        return SAMPLE_NONE
    room[0] = c'/'
    memcpy(room + 1, m.block + m.path.at, n)
    sample_text(s, room, n + 1, 0)
    return SAMPLE_FOUND


cdef int target_part(eval_t *c, const message_t *m, unsigned int code, sample_t *s) noexcept nogil:
    if code == FETCH_URL:
        sample_text(s, m.block + m.target.at, m.target.len, SAMPLE_CONST)
        return SAMPLE_FOUND
    if m.flags & MESSAGE_STAR:
        return SAMPLE_NONE
    if code == FETCH_QUERY:
        if not has_query(m):
            return SAMPLE_NONE
        sample_text(s, m.block + m.path.at + m.path.len + 1, m.query.len, SAMPLE_CONST)
        return SAMPLE_FOUND
    if m.path.len == 0:
        return empty_path(c, m, code, s)
    sample_text(s, m.block + m.path.at, m.path.len, SAMPLE_CONST)
    if code == FETCH_PATHQ:
        s.len = <uint32_t> (m.target.at + m.target.len - m.path.at)
    return SAMPLE_FOUND


# The value of Host, then the path.
cdef int base(eval_t *c, const message_t *m, sample_t *s) noexcept nogil:
    cdef bytes_t host
    cdef char *room
    host.n = 0
    field_at(m, b"host", 4, False, 1, &host)
    if host.n == 0:
        return target_part(c, m, FETCH_PATH, s)
    if target_part(c, m, FETCH_PATH, s) != SAMPLE_FOUND:
        s.len = 0
    room = sample_room(c, host.n + s.len)
    if room == NULL:
        return SAMPLE_NONE
    memcpy(room, host.p, host.n)
    memcpy(room + host.n, s.p, s.len)
    sample_text(s, room, host.n + s.len, 0)
    return SAMPLE_FOUND


# baseq: with the query.
cdef int baseq(eval_t *c, const message_t *m, sample_t *s) noexcept nogil:
    cdef sample_t host = s[0]
    cdef size_t n = 0
    cdef char *room
    if base(c, m, &host) == SAMPLE_FOUND:
        n = host.len
    if m.flags & MESSAGE_STAR or not has_query(m):
        s[0] = host
        return SAMPLE_FOUND if n else SAMPLE_NONE
    room = sample_room(c, n + 1 + m.query.len)
    if room == NULL:
        return SAMPLE_NONE
    memcpy(room, host.p, n)
    memcpy(room + n, m.block + m.path.at + m.path.len, 1 + m.query.len)
    sample_text(s, room, n + 1 + m.query.len, 0)
    return SAMPLE_FOUND


# base32 and url32: HAProxy's hash (sdbm of signed bytes, then the avalanche) of Host and path, or of Host, path and query; with
# the client's address behind it as bytes.
cdef int hashed(eval_t *c, const message_t *m, bint with_query, bint with_source, sample_t *s) noexcept nogil:
    cdef uint32_t hash = 0
    cdef bytes_t host
    cdef char *room
    cdef uint32_t i, n
    host.n = 0
    field_at(m, b"host", 4, False, 1, &host)
    for i in range(host.n):
        hash = <uint32_t> <int> <signed char> host.p[i] + (hash << 6) + (hash << 16) - hash
    if target_part(c, m, FETCH_PATHQ if with_query else FETCH_PATH, s) == SAMPLE_FOUND:
        for i in range(s.len):
            hash = <uint32_t> <int> <signed char> s.p[i] + (hash << 6) + (hash << 16) - hash
    hash = hash_avalanche(hash)
    if not with_source:
        return sample_int(s, hash)
    n = 4 if c.view.source.family == AF_INET else (16 if c.view.source.family == AF_INET6 else 0)
    room = sample_room(c, 4 + n)
    if room == NULL:
        return SAMPLE_NONE
    for i in range(4):
        room[i] = <char> (hash >> (24 - 8 * i) & 255)
    memcpy(room + 4, c.view.source.bytes, n)
    sample_text(s, room, 4 + n, 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


# url_ip and url_port: of an absolute target whose host is an IPv4 address. Names are not resolved.
cdef int url_address(const message_t *m, bint port, sample_t *s) noexcept nogil:
    cdef const char *p = m.block + m.target.at
    cdef size_t n = m.target.len
    cdef size_t i = 0, end
    cdef bint secure
    cdef sample_t ip
    while i + 3 <= n and not (p[i] == c':' and p[i + 1] == c'/' and p[i + 2] == c'/'):
        if not c'a' <= (p[i] | 0x20) <= c'z' \
                and (i == 0 or not (c'0' <= p[i] <= c'9' or p[i] == c'+' or p[i] == c'-' or p[i] == c'.')):
            return SAMPLE_NONE
        i += 1
    if i == 0 or i + 3 > n:
        return SAMPLE_NONE
    secure = i == 5
    p += i + 3
    n -= i + 3
    end = 0
    while end < n and (c'0' <= p[end] <= c'9' or p[end] == c'.'):
        end += 1
    if (end < n and p[end] != c':' and p[end] != c'/' and p[end] != c'?') or sample_read_address(p, end, &ip) != 0 \
            or ip.type != SAMPLE_IPV4:
        return SAMPLE_NONE
    if not port:
        s.type = SAMPLE_IPV4
        memcpy(s.address, ip.address, 4)
        return SAMPLE_FOUND
    if end < n and p[end] == c':':
        return sample_int(s, sample_read_number(p + end + 1, n - end - 1) & 0xffff)
    return sample_int(s, 443 if secure else 80)


cdef int param(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    cdef iterator_t first
    cdef bytes_t value
    if name == NULL or not has_query(m):
        return SAMPLE_NONE
    memset(&first, 0, sizeof(first))
    if not param_next(m.block + m.path.at + m.path.len + 1, m.query.len, plan_text(c.view.plan, name.text),
                      name.text.len, &c.iterator if c.iterating else &first, &value):
        return SAMPLE_NONE
    sample_text(s, value.p, value.n, SAMPLE_CONST | SAMPLE_MORE if c.iterating else SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int param_val(eval_t *c, const program_t *g, const op_t *op, const message_t *m, sample_t *s) noexcept nogil:
    cdef int r = param(c, g, op, m, s)
    cdef uint8_t more = s.flags & SAMPLE_MORE
    if r != SAMPLE_FOUND:
        return r
    sample_int(s, sample_read_number(s.p, s.len))
    s.flags = more
    return SAMPLE_FOUND


cdef int fetch_request(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const message_t *m = c.view.request
    if m == NULL:
        return SAMPLE_NONE
    if code == FETCH_REQ_HDR or code == FETCH_REQ_FHDR:
        return head_field(c, g, op, m, code == FETCH_REQ_FHDR, s)
    if code == FETCH_PATH or code == FETCH_PATHQ or code == FETCH_QUERY or code == FETCH_URL:
        return target_part(c, m, code, s)
    if code == FETCH_METHOD:
        s.type = SAMPLE_METH
        s.flags = SAMPLE_CONST
        s.method = m.method
        s.p = m.block + m.method_at.at
        s.len = m.method_at.len
        return SAMPLE_FOUND
    if code == FETCH_REQ_COOK:
        return head_cookie(c, g, op, m, False, s)
    if code == FETCH_URLP:
        return param(c, g, op, m, s)
    if code == FETCH_BASE:
        return base(c, m, s)
    if code == FETCH_REQ_VER:
        return head_version(m, s)
    if code == FETCH_REQ_HDR_CNT or code == FETCH_REQ_FHDR_CNT:
        return head_field_count(c, g, op, m, code == FETCH_REQ_FHDR_CNT, s)
    if code == FETCH_REQ_HDR_NAMES:
        return head_names(c, g, op, m, s)
    if code == FETCH_REQ_HDR_IP:
        return head_field_ip(c, g, op, m, s)
    if code == FETCH_REQ_HDR_VAL:
        return head_field_val(c, g, op, m, s)
    if code == FETCH_REQ_COOK_CNT:
        return head_cookie_count(c, g, op, m, False, s)
    if code == FETCH_REQ_COOK_VAL:
        return head_cookie_val(c, g, op, m, False, s)
    if code == FETCH_URLP_VAL:
        return param_val(c, g, op, m, s)
    if code == FETCH_HTTP_FIRST_REQ:
        return sample_bool(s, c.view.requests == 0)
    if code == FETCH_UNIQUE_ID:
        if c.view.id == NULL:
            return SAMPLE_NONE
        sample_text(s, c.view.id, c.view.id_len, SAMPLE_CONST)
        return SAMPLE_FOUND
    if code == FETCH_BASEQ:
        return baseq(c, m, s)
    if FETCH_BASE32 <= code <= FETCH_URL32_SRC:
        return hashed(
            c, m, code >= FETCH_URL32, code == FETCH_BASE32_SRC or code == FETCH_URL32_SRC, s)
    if code == FETCH_URL_IP or code == FETCH_URL_PORT:
        return url_address(m, code == FETCH_URL_PORT, s)
    if code == FETCH_REQ_HDRS or code == FETCH_REQ_HDRS_BIN:
        return head_lines(c, m, code == FETCH_REQ_HDRS_BIN, s)
    if code == FETCH_REQ_COOK_NAMES:
        return head_cookie_names(c, g, op, m, False, s)
    if code == FETCH_REQ_PROTO_HTTP:
        return sample_bool(s, True)
    return SAMPLE_NONE
