from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_WAIT, sample_bool, sample_int, sample_room, sample_text,
)
from lb._speedups.proto.clienthello cimport (
    HELLO_EXTENSIONS, HELLO_FOUND, HELLO_GROUPS, HELLO_MAX, HELLO_NO_TICKET, HELLO_PART, HELLO_TICKET, hello_read,
    hello_t, hello_type, hello_version,
)

cdef enum:
    BUFFER = 16384               # what is looked at, at most: what lies beyond will never be there
    RDP_AT = 11                  # TPKT and X.224 in front of a cookie
    LENGTH_MOST = 8              # bytes of a length


cdef inline int late(const eval_t *c) noexcept nogil:
    return SAMPLE_NONE if c.view.is_final else SAMPLE_WAIT


cdef inline int64_t number_at(const eval_t *c, const program_t *g, const op_t *op, uint32_t k) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, k, ARG_INT)
    return arg.i if arg != NULL else 0


cdef int slice_of(const char *p, uint64_t at, uint64_t n, sample_t *s) noexcept nogil:
    s.type = SAMPLE_BIN
    s.flags = SAMPLE_CONST
    s.p = p + at
    s.len = <uint32_t> n
    return SAMPLE_FOUND


# payload(offset,length): length 0 is all that is there, which may become more.
cdef int part(eval_t *c, const program_t *g, const op_t *op, const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef uint64_t at = <uint64_t> number_at(c, g, op, 0)
    cdef uint64_t length = <uint64_t> number_at(c, g, op, 1)
    if at > BUFFER or length > BUFFER or at + length > BUFFER:
        return SAMPLE_NONE
    if at + length > n:
        return late(c)
    if length == 0:
        length = n - at
        c.changes = not c.view.is_final
    return slice_of(p, at, length, s)


# payload_lv(offset of the length,its bytes[,offset of the value]): the lowest bit of the last says that it counts from the end
# of the length.
cdef int part_by_length(eval_t *c, const program_t *g, const op_t *op, const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef uint64_t at = <uint64_t> number_at(c, g, op, 0)
    cdef uint64_t size = <uint64_t> number_at(c, g, op, 1)
    cdef const arg_t *offset = arg_at(c, g, op, 2, ARG_INT)
    cdef uint32_t length = 0
    cdef int64_t begin
    cdef uint64_t i
    if at > BUFFER or not 1 <= size <= LENGTH_MOST:
        return SAMPLE_NONE
    if at + size > n:
        return late(c)
    for i in range(size):
        length = length << 8 | <uint8_t> p[at + i]
    begin = <int64_t> (at + size)
    if offset != NULL:
        begin = begin + (offset.i >> 1) if offset.i & 1 else offset.i >> 1
    if length == 0 or length > BUFFER or begin < 0 or begin > BUFFER or begin + length > BUFFER:
        return SAMPLE_NONE
    if <uint64_t> begin + length > n:
        return late(c)
    return slice_of(p, <uint64_t> begin, length, s)


cdef int hello(eval_t *c, unsigned int code, const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef char *room = sample_room(c, HELLO_MAX)
    cdef hello_t h
    cdef int r
    if room == NULL:
        return SAMPLE_NONE
    r = hello_read(p, n, room, &h)
    if r != HELLO_FOUND:
        return late(c) if r == HELLO_PART else SAMPLE_NONE
    if code == FETCH_REQ_SSL_SNI:
        if h.sni == NULL:
            return SAMPLE_NONE
        sample_text(s, h.sni, h.sni_len, SAMPLE_CONST)
        return SAMPLE_FOUND
    if code == FETCH_REQ_SSL_EC_EXT:
        return sample_bool(s, True) if h.flags & HELLO_GROUPS else SAMPLE_NONE
    if code == FETCH_REQ_SSL_ST_EXT:
        if not h.flags & HELLO_EXTENSIONS:
            return SAMPLE_NONE
        return sample_int(s, 2 if h.flags & HELLO_TICKET else 1 if h.flags & HELLO_NO_TICKET else 0)
    if h.alpn == NULL:
        return SAMPLE_NONE
    sample_text(s, h.alpn + 1, <uint8_t> h.alpn[0], SAMPLE_CONST)    # HAProxy's: the first, which the client likes best
    return SAMPLE_FOUND


cdef inline bint is_same(const char *p, const char *word, size_t n) noexcept nogil:
    cdef size_t i
    cdef uint8_t a, b
    for i in range(n):
        a = <uint8_t> p[i]
        b = <uint8_t> word[i]
        if c'A' <= a <= c'Z':
            a |= 0x20
        if c'A' <= b <= c'Z':
            b |= 0x20
        if a != b:
            return False
    return True


# rdp_cookie[(name)]: what the client's first packet says behind `Cookie: name=`, up to the end of its line. SAMPLE_WAIT when it may
# go on, whoever waits.
cdef int rdp_cookie(eval_t *c, const program_t *g, const op_t *op, const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef const arg_t *name = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const char *end = p + n
    cdef const char *begin
    if n <= RDP_AT + 7:
        return SAMPLE_WAIT
    p += RDP_AT
    if not is_same(p, b"cookie:", 7):
        return SAMPLE_NONE
    p += 7
    while p < end and p[0] == c' ':
        p += 1
    if name != NULL and name.text.len:
        if <size_t> (end - p) <= name.text.len:
            return SAMPLE_WAIT
        if p[name.text.len] != c'=' or not is_same(p, <const char *> c.view.plan + name.text.at, name.text.len):
            return SAMPLE_NONE
        p += name.text.len + 1
    else:
        while p < end and p[0] != c'=':
            if p[0] == c'\r' or p[0] == c'\n':
                return SAMPLE_NONE
            p += 1
        if p == end:
            return SAMPLE_WAIT
        p += 1
    begin = p
    while p < end and p[0] != c'\r':
        p += 1
    if end - p < 2:
        return SAMPLE_WAIT
    if p[1] != c'\n':
        return SAMPLE_NONE
    sample_text(s, begin, <size_t> (p - begin), SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int length_of(eval_t *c, size_t n, sample_t *s) noexcept nogil:
    c.changes = not c.view.is_final
    return sample_int(s, <int64_t> n)


cdef int type_of(eval_t *c, const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef uint32_t type_
    cdef int r = hello_type(p, n, &type_)
    if r == HELLO_FOUND:
        return sample_int(s, type_)
    return late(c) if r == HELLO_PART else SAMPLE_NONE


cdef int fetch_payload(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const char *p = c.view.payload
    cdef size_t n = c.view.payload_len
    cdef uint32_t version
    cdef int r
    if code == FETCH_WAIT_END:
        return sample_bool(s, True) if c.view.is_final else SAMPLE_WAIT
    if code >= FETCH_RES_LEN or (code >= FETCH_PAYLOAD and p == NULL):
        p = c.view.answer
        n = c.view.answer_len
    if p == NULL:
        return SAMPLE_NONE
    if code == FETCH_REQ_LEN or code == FETCH_RES_LEN:
        return length_of(c, n, s)
    if code == FETCH_REQ_PAYLOAD or code == FETCH_PAYLOAD or code == FETCH_RES_PAYLOAD:
        return part(c, g, op, p, n, s)
    if code == FETCH_REQ_PAYLOAD_LV or code == FETCH_PAYLOAD_LV or code == FETCH_RES_PAYLOAD_LV:
        return part_by_length(c, g, op, p, n, s)
    if code == FETCH_REQ_SSL_HELLO_TYPE or code == FETCH_RES_SSL_HELLO_TYPE:
        return type_of(c, p, n, s)
    if code == FETCH_REQ_SSL_VER:
        r = hello_version(p, n, BUFFER, &version)
        if r == HELLO_FOUND:
            return sample_int(s, version)
        return late(c) if r == HELLO_PART else SAMPLE_NONE
    if code == FETCH_REQ_RDP_COOKIE or code == FETCH_REQ_RDP_COOKIE_CNT:
        r = rdp_cookie(c, g, op, p, n, s)
        if r == SAMPLE_WAIT:
            return late(c)
        return r if code == FETCH_REQ_RDP_COOKIE else sample_int(s, r == SAMPLE_FOUND)
    return hello(c, code, p, n, s)
