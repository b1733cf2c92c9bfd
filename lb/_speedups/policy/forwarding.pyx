from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.netset cimport netset_check, netset_has
from lb._speedups.policy.plan cimport (
    FORWARD_COUNT, FORWARD_FOR, FORWARD_ID, FORWARD_REAL_IP, FORWARDING_CLIENT, FORWARDING_HOST, FORWARDING_ID_ANY,
    FORWARDING_ID_NEVER, FORWARDING_PROTO, FORWARDING_REPLACE, FORWARDING_RFC7239, FRONTEND_FORWARDING,
    FRONTEND_MARKS_RESPONSE, ID_FORMATS, NODE_ADDRESS, NODE_ADDRESS_PORT, NODE_COUNT, NODE_NONE, forward_field_t,
    plan_array_fits, plan_forwarding, plan_text, plan_text_fits, text_t,
)
from lb._speedups.proto.message cimport (
    FIELD_DELETED, FIELD_HOP, NAME_COUNT, field_t, message_delete, message_find,
)


cdef extern from "lb.h" nogil:
    bint LIKELY(bint x)


cdef extern from "proto/h1_tables.h" nogil:
    const char *h1_skip_token(const char *p, const char *end)
    bint h1_equal(const char *a, const char *b, size_t len)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6


cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address)
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size)


cdef inline const forward_field_t *fields_of(const plan_t *p, const forwarding_t *fw) noexcept nogil:
    return <const forward_field_t *> (<const char *> p + fw.fields_at)


# ---- the plan ----


cdef bint is_short(const plan_t *p, text_t text) noexcept nogil:
    return text.len <= NODE_TEXT_MAX and plan_text_fits(p, text)


cdef int forwarding_check(const plan_t *p, const plan_frontend_t *f) noexcept nogil:
    cdef const forwarding_t *fw = plan_forwarding(p, f)
    cdef const forward_field_t *fields
    cdef uint32_t i
    if not f.flags & FRONTEND_FORWARDING:
        return -1 if f.flags & FRONTEND_MARKS_RESPONSE else 0
    if not plan_array_fits(p, f.forwarding_at, 1, sizeof(forwarding_t)):
        return -1
    if not plan_array_fits(p, fw.fields_at, fw.fields, sizeof(forward_field_t)) or fw.written > fw.fields:
        return -1
    if netset_check(p, &fw.trusted) or netset_check(p, &fw.excepted):
        return -1
    if not (is_short(p, fw.client) and is_short(p, fw.via) and is_short(p, fw.by_text) and is_short(p, fw.for_text)
            and is_short(p, fw.id_name)):
        return -1
    if fw.by >= NODE_COUNT or fw.for_ >= NODE_COUNT or fw.id_format >= ID_FORMATS:
        return -1
    fields = fields_of(p, fw)
    for i in range(fw.fields):
        if not is_short(p, fields[i].name) or not is_short(p, fields[i].key) or fields[i].name.len == 0:
            return -1
        if fields[i].key.len != fields[i].name.len or fields[i].kind >= FORWARD_COUNT or fields[i].id >= NAME_COUNT:
            return -1
        # One of each kind is written, so that the room suffices.
        if i < fw.written and (fields[i].kind == 0 or (i and fields[i].kind <= fields[i - 1].kind)):
            return -1
    return 0


# ---- fields ----


cdef enum:                       # answers of spelled
    SPELLED_NOT = 0
    SPELLED_ALIKE                # with `_` where the name has `-`
    SPELLED_SO


cdef int spelled(const char *name, const char *key, size_t n) noexcept nogil:
    cdef int answer = SPELLED_SO
    cdef size_t i
    cdef char c
    for i in range(n):
        c = name[i]
        if c'A' <= c <= c'Z':
            c += 32
        elif c == c'_':
            c = c'-'
            answer = SPELLED_ALIKE
        if c != key[i]:
            return SPELLED_NOT
    return answer


cdef bint is_kept(const forwarding_t *fw, int kind, bint trusted, uint32_t seen) noexcept nogil:
    if kind == FORWARD_ID:
        # One id: of several the first.
        if fw.flags & FORWARDING_ID_NEVER or seen & <uint32_t> 1 << FORWARD_ID:
            return False
        return trusted or (fw.flags & FORWARDING_ID_ANY) != 0
    if kind == FORWARD_FOR and fw.flags & FORWARDING_REPLACE:
        return False
    if kind == FORWARD_REAL_IP and fw.flags & FORWARDING_CLIENT:
        return False                          # we know better
    return trusted


cdef uint32_t forwarding_sweep(
    const plan_t *p, const forwarding_t *fw, message_t *m, bint trusted, uint16_t *id
) noexcept nogil:
    cdef const forward_field_t *fields = fields_of(p, fw)
    cdef field_t *field
    cdef uint32_t seen = 0, i, k
    cdef uint32_t n
    cdef int how
    id[0] = 0
    for i in range(m.nfields):
        n = m.fields[i].name_len
        if LIKELY(not fw.lengths >> ((n - 1) & 63) & 1):
            continue
        field = &m.fields[i]
        if field.flags & FIELD_DELETED:
            continue
        for k in range(fw.fields):
            if fields[k].key.len != n:
                continue
            how = spelled(m.block + field.name_at, plan_text(p, fields[k].key), n)
            if how == SPELLED_NOT:
                continue
            if how == SPELLED_SO and is_kept(fw, fields[k].kind, trusted, seen):
                field.flags &= <uint8_t> ~FIELD_HOP
                seen |= <uint32_t> 1 << fields[k].kind
                if fields[k].kind == FORWARD_ID:
                    id[0] = <uint16_t> (i + 1)
            else:
                message_delete(m, i)
            break
    return seen


cdef bint forwarding_loops(const plan_t *p, const forwarding_t *fw, const message_t *m) noexcept nogil:
    # Via = #( received-protocol RWS received-by [ RWS comment ] ): RFC 9110 7.6.3. Words are compared wherever they stand:
    # a comment that has our name is a loop of its own.
    cdef const char *name = plan_text(p, fw.via)
    cdef const char *at
    cdef const char *end
    cdef const char *stop
    cdef int i = message_find(m, b"via", 3, 0)
    while i >= 0:
        at = m.block + m.fields[i].value_at
        end = at + m.fields[i].value_len
        while at < end:
            stop = h1_skip_token(at, end)
            if stop - at == <int32_t> fw.via.len and h1_equal(at, name, fw.via.len):
                return True
            at = stop + 1
        i = message_find(m, b"via", 3, <unsigned int> i + 1)
    return False


cdef bint forwarding_is_id(const char *text, size_t n) noexcept nogil:
    cdef size_t i
    cdef char c
    if n == 0 or n > NODE_TEXT_MAX:
        return False
    for i in range(n):
        c = text[i]
        if not (c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'-' <= c <= c':' or c == c'@' or c == c'_' or c == c'~'
                or c == c'+' or c == c'='):
            return False
    return True


# ---- reading addresses ----


cdef inline bint is_digit(char c) noexcept nogil:
    return c'0' <= c <= c'9'


cdef bint parse_port(const char *p, size_t n, bint strict, uint16_t *port) noexcept nogil:
    cdef uint32_t value = 0
    cdef size_t i
    if strict and n > 1 and p[0] == c'_':     # RFC 7239 6.3: a port nobody shall know
        port[0] = 0
        return h1_skip_token(p, p + n) == p + n
    if n == 0 or n > 5:
        return False
    for i in range(n):
        if not is_digit(p[i]):
            return False
        value = value * 10 + <uint32_t> (p[i] - c'0')
    if value > 65535:
        return False
    port[0] = <uint16_t> value
    return True


cdef bint parse_v4(const char *p, size_t n, uint8_t *address) noexcept nogil:
    cdef size_t at = 0, from_
    cdef uint32_t value
    cdef int i
    for i in range(4):
        if i:
            if at >= n or p[at] != c'.':
                return False
            at += 1
        from_ = at
        value = 0
        while at < n and at - from_ < 3 and is_digit(p[at]):
            value = value * 10 + <uint32_t> (p[at] - c'0')
            at += 1
        # No leading zeros: some read them as octal.
        if at == from_ or value > 255 or (at - from_ > 1 and p[from_] == c'0'):
            return False
        address[i] = <uint8_t> value
    return at == n


cdef bint parse_v6(const char *p, size_t n, peer_t *out) noexcept nogil:
    cdef char text[ADDRESS_TEXT]
    cdef size_t i
    if n >= sizeof(text):
        return False
    for i in range(n):
        if p[i] == 0:
            return False
    memcpy(text, p, n)
    text[n] = 0
    if inet_pton(AF_INET6, text, out.address) != 1:
        return False
    out.family = AF_INET6
    for i in range(10):
        if out.address[i] != 0:
            return True
    if out.address[10] == 0xff and out.address[11] == 0xff:
        out.family = AF_INET
        memcpy(out.address, out.address + 12, 4)
    return True


cdef bint forwarding_parse(const char *text, size_t n, bint strict, peer_t *out) noexcept nogil:
    cdef size_t i, colon = n, colons = 0
    out.port = 0
    if n > 1 and text[0] == c'[':
        i = 1
        while i < n and text[i] != c']':
            i += 1
        if i == n or not parse_v6(text + 1, i - 1, out):
            return False
        if i + 1 == n:
            return True
        return text[i + 1] == c':' and parse_port(text + i + 2, n - i - 2, strict, &out.port)
    for i in range(n):
        if text[i] == c':':
            colons += 1
            if colons == 1:
                colon = i
    if colons > 1:
        return not strict and parse_v6(text, n, out)
    out.family = AF_INET
    if not parse_v4(text, colon, out.address):
        return False
    return colons == 0 or parse_port(text + colon + 1, n - colon - 1, strict, &out.port)


# ---- reading lists from the right ----


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\t'


# Whether the byte at p[at] is not taken for itself by backslashes before it.
cdef inline bint is_bare(const char *p, size_t at) noexcept nogil:
    cdef size_t n = at
    while n > 0 and p[n - 1] == c'\\':
        n -= 1
    return not (at - n) & 1


# Where the last element of p[0:end] begins; -1 when its quotes do not fit together.
cdef ssize_t element_start(const char *p, size_t end, bint quotes) noexcept nogil:
    cdef size_t at = end
    while at > 0:
        if p[at - 1] == c',':
            return <ssize_t> at
        at -= 1
        if quotes and p[at] == c'"':
            while True:                       # back to where the string opens
                if at == 0:
                    return -1
                at -= 1
                if p[at] == c'"' and is_bare(p, at):
                    break
    return 0


# An element of Forwarded (RFC 7239 4): pairs of names and values; one of them says for whom.
cdef bint parse_element(const char *p, size_t n, peer_t *out) noexcept nogil:
    cdef const char *end = p + n
    cdef const char *name
    cdef const char *value
    cdef char node[80]
    cdef size_t len_
    cdef bint is_for, found = False
    while p < end:
        if p[0] == c';':
            p += 1
            continue
        name = p
        p = h1_skip_token(p, end)
        if p == name or p == end or p[0] != c'=':
            return False
        is_for = p - name == 3 and h1_equal(name, b"for", 3)
        p += 1
        if p < end and p[0] == c'"':
            p += 1
            len_ = 0
            while p < end and p[0] != c'"':
                if p[0] == c'\\':
                    p += 1
                    if p == end:
                        return False
                if len_ < sizeof(node):
                    node[len_] = p[0]
                len_ += 1
                p += 1
            if p == end:
                return False
            p += 1
            value = node
        else:
            value = p
            p = h1_skip_token(p, end)
            len_ = <size_t> (p - value)
            if len_ == 0:
                return False
        if p < end and p[0] != c';':
            return False
        if is_for:
            if found or len_ > sizeof(node) or not forwarding_parse(value, len_, True, out):
                return False
            found = True
    return found


cdef bint forwarding_client(const plan_t *p, const forwarding_t *fw, const message_t *m, peer_t *out) noexcept nogil:
    cdef const char *name = plan_text(p, fw.client)
    cdef const char *text
    cdef bint rfc = (fw.flags & FORWARDING_RFC7239) != 0
    cdef bint found = False
    cdef peer_t each
    cdef uint32_t i = m.nfields
    cdef size_t end, stop
    cdef ssize_t start
    memset(&each, 0, sizeof(each))
    while i > 0:
        i -= 1
        if m.fields[i].name_len != fw.client.len or m.fields[i].flags & FIELD_DELETED:
            continue
        text = m.block + m.fields[i].value_at
        if not h1_equal(m.block + m.fields[i].name_at, name, fw.client.len):
            continue
        end = m.fields[i].value_len
        while end > 0:
            start = element_start(text, end, rfc)
            if start < 0:
                return False
            stop = end
            end = <size_t> start - 1 if start > 0 else 0
            while stop > <size_t> start and is_blank(text[stop - 1]):
                stop -= 1
            while <size_t> start < stop and is_blank(text[start]):
                start += 1
            if <size_t> start == stop:
                continue                      # RFC 9110 5.6.1: empty elements mean nothing
            if rfc:
                if not parse_element(text + start, stop - <size_t> start, &each):
                    return False
            elif not forwarding_parse(text + start, stop - <size_t> start, False, &each):
                return False
            found = True
            if not netset_has(p, &fw.trusted, each.family, each.address):
                out[0] = each
                return True
    if found:
        out[0] = each
    return found


# ---- writing ----


cdef inline char *put(char *at, const char *text, size_t n) noexcept nogil:
    memcpy(at, text, n)
    return at + n


cdef inline char *put_octet(char *at, uint8_t n) noexcept nogil:
    if n >= 100:
        at[0] = <char> (48 + n // 100)
        at[1] = <char> (48 + n // 10 % 10)
        at[2] = <char> (48 + n % 10)
        return at + 3
    if n >= 10:
        at[0] = <char> (48 + n // 10)
        at[1] = <char> (48 + n % 10)
        return at + 2
    at[0] = <char> (48 + n)
    return at + 1


cdef char *put_port(char *at, uint16_t n) noexcept nogil:
    cdef char digits[5]
    cdef int i = 5
    while True:
        i -= 1
        digits[i] = <char> (48 + n % 10)
        n //= 10
        if n == 0:
            return put(at, digits + i, <size_t> (5 - i))


cdef size_t forwarding_address(const peer_t *peer, char *dst) noexcept nogil:
    cdef char *at = dst
    cdef size_t n = 0
    if LIKELY(peer.family == AF_INET):        # libc's printing costs as much as all else that is done to a head
        at = put_octet(at, peer.address[0])
        at[0] = c'.'
        at = put_octet(at + 1, peer.address[1])
        at[0] = c'.'
        at = put_octet(at + 1, peer.address[2])
        at[0] = c'.'
        at = put_octet(at + 1, peer.address[3])
        return <size_t> (at - dst)
    if peer.family == AF_INET6 and inet_ntop(AF_INET6, peer.address, dst, ADDRESS_TEXT) != NULL:
        while dst[n] != 0:
            n += 1
    return n


cdef char *put_node(const plan_t *p, char *at, uint8_t node, text_t text, const peer_t *who) noexcept nogil:
    cdef bint with_port = node == NODE_ADDRESS_PORT and who.port != 0
    cdef bint is_v6 = who.family == AF_INET6
    if node != NODE_ADDRESS and node != NODE_ADDRESS_PORT:
        return put(at, plan_text(p, text), text.len)
    if who.family != AF_INET and not is_v6:
        return put(at, b"unknown", 7)
    # RFC 7239 4: a colon or a bracket makes it a quoted string; 6: IPv6 has brackets.
    if is_v6 or with_port:
        at = put(at, b"\"", 1)
    if is_v6:
        at = put(at, b"[", 1)
    at += forwarding_address(who, at)
    if is_v6:
        at = put(at, b"]", 1)
    if with_port:
        at = put_port(put(at, b":", 1), who.port)
    if is_v6 or with_port:
        at = put(at, b"\"", 1)
    return at


# The semicolon between two parts.
cdef inline char *part(const char *dst, char *at) noexcept nogil:
    return at if at == dst else put(at, b";", 1)


cdef size_t forwarding_element(
    const plan_t *p, const forwarding_t *fw, const message_t *m, const peer_t *peer, const peer_t *own, char *dst
) noexcept nogil:
    cdef char *at = dst
    cdef const char *host = m.block + m.authority.at
    cdef size_t n = m.authority.len
    cdef bint is_token
    if fw.flags & FORWARDING_PROTO:
        at = put(at, b"proto=http", 10)
    if fw.flags & FORWARDING_HOST and n != 0:
        is_token = h1_skip_token(host, host + n) == host + n
        at = put(part(dst, at), b"host=", 5)
        if not is_token:                      # no host has a quote or a backslash in it
            at = put(at, b"\"", 1)
        at = put(at, host, n)
        if not is_token:
            at = put(at, b"\"", 1)
    if fw.by != NODE_NONE:
        at = put_node(p, put(part(dst, at), b"by=", 3), fw.by, fw.by_text, own)
    if fw.for_ != NODE_NONE:
        at = put_node(p, put(part(dst, at), b"for=", 4), fw.for_, fw.for_text, peer)
    return <size_t> (at - dst)
