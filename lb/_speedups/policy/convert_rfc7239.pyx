from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.program cimport ARG_INT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_CONST, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_NONE, sample_int, sample_text,
)


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET
        AF_INET6
    int inet_pton(int family, const char *text, void *out)


cdef enum:                       # node_t.name_kind, port_kind
    NODE_NONE = 0
    NODE_UNKNOWN
    NODE_HIDDEN                  # `_name`
    NODE_IPV4
    NODE_IPV6
    NODE_PORT

cdef enum:
    TEXT4 = 15                   # characters of the longest address
    TEXT6 = 45

ctypedef struct text_left_t:     # what is left to read
    const char *p
    size_t n

ctypedef struct node_t:
    const char *name             # as it is written, `_` and all
    size_t name_len
    const char *port
    size_t port_len
    uint8_t name_kind
    uint8_t port_kind
    uint8_t address[16]
    uint32_t port_number


cdef inline char now(const text_left_t *t) noexcept nogil:
    return t.p[0] if t.n != 0 else 0


cdef inline void skip(text_left_t *t, size_t n) noexcept nogil:
    t.p += n
    t.n -= n


cdef inline bint is_alnum(char c) noexcept nogil:
    return c'0' <= c <= c'9' or c'a' <= (c | 0x20) <= c'z'


cdef bint begins(const text_left_t *t, const char *word, size_t n) noexcept nogil:
    return t.n >= n and memcmp(t.p, word, n) == 0


cdef bint read_hidden(text_left_t *t) noexcept nogil:
    # behind `_`
    cdef size_t n = 0
    skip(t, 1)
    while t.n != 0 and (is_alnum(t.p[0]) or t.p[0] == c'.' or t.p[0] == c'-' or t.p[0] == c'_'):
        skip(t, 1)
        n += 1
    return n != 0


cdef bint read_port(text_left_t *t, uint32_t *port) noexcept nogil:
    cdef uint32_t n = 0
    while t.n != 0 and c'0' <= t.p[0] <= c'9':
        n = n * 10 + <uint32_t> (t.p[0] - c'0')
        if n > 65535:
            return False
        skip(t, 1)
    port[0] = n
    return n != 0


cdef bint read_ipv4(text_left_t *t, uint8_t *out) noexcept nogil:
    cdef char text[TEXT4 + 1]
    cdef size_t n = 0
    while n < t.n and n < TEXT4 and (c'0' <= t.p[n] <= c'9' or t.p[n] == c'.'):
        text[n] = t.p[n]
        n += 1
    text[n] = 0
    if inet_pton(AF_INET, text, out) != 1:
        return False
    skip(t, n)
    return True


cdef bint read_ipv6(text_left_t *t, uint8_t *out) noexcept nogil:
    # in brackets
    cdef char text[TEXT6 + 1]
    cdef size_t n = 0
    skip(t, 1)
    while n < t.n and n < TEXT6 and (is_alnum(t.p[n]) or t.p[n] == c':'):
        text[n] = t.p[n]
        n += 1
    text[n] = 0
    if n >= t.n or t.p[n] != c']' or inet_pton(AF_INET6, text, out) != 1:
        return False
    skip(t, n + 1)
    return True


cdef bint read_name(text_left_t *t, bint quoted, node_t *node) noexcept nogil:
    if now(t) == c'_':
        node.name_kind = NODE_HIDDEN
        return read_hidden(t)
    if now(t) == c'u':
        node.name_kind = NODE_UNKNOWN
        if not begins(t, b"unknown", 7):
            return False
        skip(t, 7)
        return True
    if quoted and now(t) == c'[':
        node.name_kind = NODE_IPV6
        return read_ipv6(t, node.address)
    node.name_kind = NODE_IPV4
    return read_ipv4(t, node.address)


cdef bint read_node(text_left_t *t, bint quoted, node_t *node) noexcept nogil:
    memset(node, 0, sizeof(node_t))
    node.name = t.p
    if not read_name(t, quoted, node):
        return False
    node.name_len = <size_t> (t.p - node.name)
    if now(t) != c':':
        return True
    if not quoted:                            # a colon needs quotes
        return False
    skip(t, 1)
    node.port = t.p
    if now(t) == c'_':
        node.port_kind = NODE_HIDDEN
        if not read_hidden(t):
            return False
    else:
        node.port_kind = NODE_PORT
        if not read_port(t, &node.port_number):
            return False
    node.port_len = <size_t> (t.p - node.port)
    return True


cdef bint read_host(text_left_t *t, bint quoted) noexcept nogil:
    cdef uint8_t address[16]
    cdef uint32_t port
    if t.n == 0:
        return False
    if quoted and t.p[0] == c'[':
        if not read_ipv6(t, address):
            return False
    else:
        while t.n != 0 and (is_alnum(t.p[0]) or t.p[0] == c'.'):
            skip(t, 1)
    if now(t) != c':':
        return True
    if not quoted:
        return False
    skip(t, 1)
    return read_port(t, &port)


cdef bint read_proto(text_left_t *t) noexcept nogil:
    if not begins(t, b"http", 4):
        return False
    skip(t, 5 if begins(t, b"https", 5) else 4)
    return True


# Which parameter begins here, or -1; its name and `=` are skipped, and something follows them.
cdef int parameter(text_left_t *t) noexcept nogil:
    cdef int which = -1
    cdef size_t n = 0
    if begins(t, b"for=", 4):
        which = RFC7239_FOR
        n = 4
    elif begins(t, b"by=", 3):
        which = RFC7239_BY
        n = 3
    elif begins(t, b"host=", 5):
        which = RFC7239_HOST
        n = 5
    elif begins(t, b"proto=", 6):
        which = RFC7239_PROTO
        n = 6
    if t.n <= n:
        return -1
    skip(t, n)
    return which


# Read an element; where its parameters are: values[RFC7239_*], p NULL when it has none. False: it is wrong.
cdef bint read_element(const sample_t *s, text_left_t *values) noexcept nogil:
    cdef text_left_t t
    cdef node_t node
    cdef uint32_t seen = 0
    cdef bint quoted, right
    cdef int which
    memset(values, 0, RFC7239_PARAMETERS * sizeof(text_left_t))
    t.p = s.p
    t.n = s.len
    while t.n != 0 and seen != (1 << RFC7239_PARAMETERS) - 1:      # what follows all four is not looked at
        if seen:
            if t.p[0] != c';':
                return False
            skip(&t, 1)
        which = parameter(&t)
        if which < 0 or seen & (<uint32_t> 1 << which):
            return False
        seen |= <uint32_t> 1 << which
        quoted = which != RFC7239_PROTO and t.p[0] == c'"'
        if quoted:
            skip(&t, 1)
        values[which].p = t.p
        if which == RFC7239_PROTO:
            right = read_proto(&t)
        elif which == RFC7239_HOST:
            right = read_host(&t, quoted)
        else:
            right = read_node(&t, quoted, &node)
        if not right:
            return False
        values[which].n = <size_t> (t.p - values[which].p)
        if quoted:
            if now(&t) != c'"':
                return False
            skip(&t, 1)
    return seen != 0


cdef bint rfc7239_is_valid(const sample_t *s) noexcept nogil:
    cdef text_left_t values[RFC7239_PARAMETERS]
    return read_element(s, values)


cdef int rfc7239_field(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const arg_t *which = arg_at(c, g, op, 0, ARG_INT)
    cdef text_left_t values[RFC7239_PARAMETERS]
    if which == NULL or not 0 <= which.i < RFC7239_PARAMETERS or not read_element(s, values) \
            or values[which.i].p == NULL:
        return SAMPLE_NONE
    sample_text(s, values[which.i].p, values[which.i].n, s.flags | SAMPLE_CONST)
    return SAMPLE_FOUND


cdef int rfc7239_node(sample_t *s, bint port) noexcept nogil:
    cdef text_left_t t
    cdef node_t node
    t.p = s.p
    t.n = s.len
    if not read_node(&t, True, &node) or (port and node.port_kind == NODE_NONE):
        return SAMPLE_NONE
    if port and node.port_kind == NODE_PORT:
        return sample_int(s, node.port_number)
    if port:
        sample_text(s, node.port, node.port_len, s.flags | SAMPLE_CONST)
    elif node.name_kind == NODE_IPV4 or node.name_kind == NODE_IPV6:
        s.type = SAMPLE_IPV4 if node.name_kind == NODE_IPV4 else SAMPLE_IPV6
        memcpy(s.address, node.address, 16)
    else:
        sample_text(s, node.name, node.name_len, s.flags | SAMPLE_CONST)
    return SAMPLE_FOUND
