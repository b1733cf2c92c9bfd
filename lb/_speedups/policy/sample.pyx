from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from lb._speedups.policy.logtext cimport put_ipv4, put_ipv6
from lb._speedups.proto.message cimport (
    METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH, METHOD_POST,
    METHOD_PUT, METHOD_TRACE,
)


cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *p, size_t most)


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET
        AF_INET6
    int inet_pton(int family, const char *text, void *out)


cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *p, size_t n)


cdef enum:
    ADDRESS_TEXT = 64            # bytes that hold the text of any address and its NUL
    NUMBER_TEXT = 24


# Row: from, column: to; a bit per type. HAProxy's table of casts.
cdef uint16_t casts_from(uint8_t from_) noexcept nogil:
    cdef uint16_t any_ = 1 << SAMPLE_ANY
    if from_ == SAMPLE_BOOL:
        return any_ | 1 << SAMPLE_BOOL | 1 << SAMPLE_SINT | 1 << SAMPLE_STR
    if from_ == SAMPLE_SINT:
        return any_ | 1 << SAMPLE_BOOL | 1 << SAMPLE_SINT | 1 << SAMPLE_ADDR | 1 << SAMPLE_IPV4 | 1 << SAMPLE_IPV6 \
            | 1 << SAMPLE_STR | 1 << SAMPLE_BIN
    if from_ == SAMPLE_ADDR:
        return any_ | 1 << SAMPLE_ADDR
    if from_ == SAMPLE_IPV4:
        return any_ | 1 << SAMPLE_SINT | 1 << SAMPLE_ADDR | 1 << SAMPLE_IPV4 | 1 << SAMPLE_IPV6 | 1 << SAMPLE_STR \
            | 1 << SAMPLE_BIN
    if from_ == SAMPLE_IPV6:
        return any_ | 1 << SAMPLE_ADDR | 1 << SAMPLE_IPV4 | 1 << SAMPLE_IPV6 | 1 << SAMPLE_STR | 1 << SAMPLE_BIN
    if from_ == SAMPLE_STR:
        return any_ | 1 << SAMPLE_BOOL | 1 << SAMPLE_SINT | 1 << SAMPLE_ADDR | 1 << SAMPLE_IPV4 | 1 << SAMPLE_IPV6 \
            | 1 << SAMPLE_STR | 1 << SAMPLE_BIN | 1 << SAMPLE_METH
    if from_ == SAMPLE_BIN:
        return any_ | 1 << SAMPLE_STR | 1 << SAMPLE_BIN | 1 << SAMPLE_METH
    if from_ == SAMPLE_METH:
        return any_ | 1 << SAMPLE_STR | 1 << SAMPLE_BIN | 1 << SAMPLE_METH
    return 0xffff                             # any: the value decides


cdef bint sample_casts(uint8_t from_, uint8_t to) noexcept nogil:
    return to < SAMPLE_TYPES and (casts_from(from_) >> to) & 1


# ---- text of values ----


cdef size_t sample_put_int(int64_t n, char *out) noexcept nogil:
    cdef char digits[NUMBER_TEXT]
    cdef int at = NUMBER_TEXT
    cdef uint64_t rest = <uint64_t> n if n >= 0 else 0 - <uint64_t> n
    while True:
        at -= 1
        digits[at] = <char> (48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if n < 0:
        at -= 1
        digits[at] = c'-'
    memcpy(out, digits + at, NUMBER_TEXT - at)
    return NUMBER_TEXT - at


cdef size_t sample_put_address(const sample_t *s, char *out) noexcept nogil:
    return (put_ipv4(out, s.address) if s.type == SAMPLE_IPV4 else put_ipv6(out, s.address)) - out


cdef const char *method_name(uint8_t method, size_t *n) noexcept nogil:
    n[0] = 3
    if method == METHOD_GET:
        return b"GET"
    if method == METHOD_PUT:
        return b"PUT"
    n[0] = 4
    if method == METHOD_HEAD:
        return b"HEAD"
    if method == METHOD_POST:
        return b"POST"
    n[0] = 5
    if method == METHOD_TRACE:
        return b"TRACE"
    if method == METHOD_PATCH:
        return b"PATCH"
    n[0] = 6
    if method == METHOD_DELETE:
        return b"DELETE"
    n[0] = 7
    if method == METHOD_CONNECT:
        return b"CONNECT"
    if method == METHOD_OPTIONS:
        return b"OPTIONS"
    n[0] = 0
    return b""


# ---- values of text ----


cdef int64_t sample_read_int(const char *p, size_t n, size_t *used) noexcept nogil:
    cdef size_t i = 0
    cdef bint minus = False
    cdef uint64_t value = 0
    cdef uint64_t most = <uint64_t> 0x7fffffffffffffff
    cdef uint64_t digit
    if n != 0 and (p[0] == c'-' or p[0] == c'+'):
        minus = p[0] == c'-'
        i = 1
    if minus:
        most += 1
    while i < n and c'0' <= p[i] <= c'9':
        digit = <uint64_t> (p[i] - 48)
        if value > (most - digit) // 10:
            value = most
        else:
            value = value * 10 + digit
        i += 1
    if used != NULL:
        used[0] = i
    return <int64_t> (0 - value) if minus else <int64_t> value


cdef int64_t sample_read_number(const char *p, size_t n) noexcept nogil:
    cdef uint32_t value = 0
    cdef size_t i = 1 if n != 0 and p[0] == c'-' else 0
    cdef bint minus = i == 1
    cdef int digit
    while i < n:
        digit = <int> <signed char> p[i] - 48
        if digit > 9:
            break
        value = value * 10 + (0 - <uint32_t> digit if minus else <uint32_t> digit)
        i += 1
    return <int32_t> value


cdef int sample_read_address(const char *p, size_t n, sample_t *s) noexcept nogil:
    cdef char text[ADDRESS_TEXT]
    if n == 0 or n >= ADDRESS_TEXT:
        return -1
    memcpy(text, p, n)
    text[n] = 0
    if inet_pton(AF_INET, text, s.address) == 1:
        s.type = SAMPLE_IPV4
        return 0
    if inet_pton(AF_INET6, text, s.address) == 1:
        s.type = SAMPLE_IPV6
        return 0
    return -1


# ---- casts ----


cdef bint is_mapped(const uint8_t *a) noexcept nogil:
    # IPv4-mapped (::ffff:0:0/96) and 6to4 (2002::/16), as HAProxy's v6tov4
    cdef int i
    if a[0] == 0x20 and a[1] == 0x02:
        return True
    for i in range(10):
        if a[i] != 0:
            return False
    return a[10] == 0xff and a[11] == 0xff


cdef int to_ipv4(sample_t *s) noexcept nogil:
    cdef uint8_t four[4]
    if s.type == SAMPLE_IPV6:
        if not is_mapped(s.address):
            return SAMPLE_NONE
        memcpy(four, s.address + (2 if s.address[0] == 0x20 else 12), 4)
        memcpy(s.address, four, 4)
    s.type = SAMPLE_IPV4
    return SAMPLE_FOUND


cdef int to_ipv6(sample_t *s) noexcept nogil:
    cdef uint8_t four[4]
    if s.type == SAMPLE_IPV4:
        memcpy(four, s.address, 4)
        memset(s.address, 0, 10)
        s.address[10] = 0xff
        s.address[11] = 0xff
        memcpy(s.address + 12, four, 4)
    s.type = SAMPLE_IPV6
    return SAMPLE_FOUND


# An IPv4 address that text begins with, as HAProxy's buf2ip: what follows it (a port) does not matter.
cdef bint read_leading(const char *p, size_t n, uint8_t *out) noexcept nogil:
    cdef uint8_t four[4]
    cdef unsigned int octets = 0, value = 0
    cdef bint in_number = False
    cdef size_t i = 0
    while i < n and (c'0' <= p[i] <= c'9' or p[i] == c'.'):
        if p[i] != c'.':
            if not in_number:
                if octets == 4:
                    return False
                octets += 1
                in_number = True
                value = 0
            value = value * 10 + <unsigned int> (p[i] - 48)
            if value > 255:
                return False
            four[octets - 1] = <uint8_t> value
        elif not in_number or octets == 4:
            return False
        else:
            in_number = False
        i += 1
    if octets != 4:
        return False
    memcpy(out, four, 4)
    return True


cdef int to_address(sample_t *s, uint8_t type) noexcept nogil:
    cdef uint32_t n
    cdef int k
    if s.type == SAMPLE_STR:
        if not read_leading(s.p, s.len, s.address):
            if sample_read_address(s.p, s.len, s) != 0 or s.type != SAMPLE_IPV6:
                return SAMPLE_NONE
        else:
            s.type = SAMPLE_IPV4
    elif s.type == SAMPLE_SINT:
        n = <uint32_t> s.i
        for k in range(4):
            s.address[k] = <uint8_t> (n >> (24 - 8 * k))
        s.type = SAMPLE_IPV4
    if type == SAMPLE_IPV4:
        return to_ipv4(s)
    if type == SAMPLE_IPV6:
        return to_ipv6(s)
    return SAMPLE_FOUND


cdef int to_int(sample_t *s) noexcept nogil:
    if s.type == SAMPLE_STR:
        if s.len == 0:
            return SAMPLE_NONE
        s.i = sample_read_int(s.p, s.len, NULL)
    elif s.type == SAMPLE_IPV4:
        s.i = <uint32_t> s.address[0] << 24 | <uint32_t> s.address[1] << 16 | <uint32_t> s.address[2] << 8 | s.address[3]
    s.type = SAMPLE_SINT
    return SAMPLE_FOUND


cdef int to_text(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room
    cdef size_t n
    if s.type == SAMPLE_METH:
        if s.method != METHOD_OTHER:
            s.p = method_name(s.method, &n)
            s.len = <uint32_t> n
        s.flags |= SAMPLE_CONST
    elif s.type == SAMPLE_BIN:                # bytes are text as they are, printable or not, and a NUL is its end
        n = strnlen(s.p, s.len)
        s.len = <uint32_t> n
    else:
        room = sample_room(c, ADDRESS_TEXT)
        if room == NULL:
            return SAMPLE_NONE
        n = sample_put_int(s.i, room) if s.type <= SAMPLE_SINT else sample_put_address(s, room)
        c.used -= <uint32_t> (ADDRESS_TEXT - n)
        s.p = room
        s.len = <uint32_t> n
        s.flags &= <uint8_t> ~SAMPLE_CONST
    s.type = SAMPLE_STR
    return SAMPLE_FOUND


cdef int to_bytes(eval_t *c, sample_t *s) noexcept nogil:
    cdef char *room
    cdef uint32_t n, k
    if s.type == SAMPLE_METH:
        return to_text(c, s)
    if s.type != SAMPLE_STR:                  # text is bytes already, and goes on as text: HAProxy's cast does nothing
        n = 8 if s.type == SAMPLE_SINT else (4 if s.type == SAMPLE_IPV4 else 16)
        room = sample_room(c, n)
        if room == NULL:
            return SAMPLE_NONE
        if s.type == SAMPLE_SINT:
            for k in range(8):
                room[k] = <char> (<uint64_t> s.i >> (56 - 8 * k))
        else:
            memcpy(room, s.address, n)
        s.p = room
        s.len = n
        s.flags &= <uint8_t> ~SAMPLE_CONST
        s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef uint8_t method_of(const char *p, size_t n) noexcept nogil:
    cdef uint8_t k
    cdef size_t len_, i
    cdef const char *name
    for k in range(METHOD_GET, METHOD_PATCH + 1):
        name = method_name(k, &len_)
        if len_ == n:
            i = 0
            while i < n and name[i] == p[i]:
                i += 1
            if i == n:
                return k
    return METHOD_OTHER


cdef int sample_cast(eval_t *c, sample_t *s, uint8_t type) noexcept nogil:
    if s.type == type or type == SAMPLE_ANY:
        return SAMPLE_FOUND
    if not sample_casts(s.type, type):
        return SAMPLE_NONE
    if type == SAMPLE_STR:
        return to_text(c, s)
    if type == SAMPLE_SINT:
        return to_int(s)
    if type == SAMPLE_BOOL:
        # A number that is not 0 is true, and stays the number it is, as in HAProxy.
        if s.type == SAMPLE_STR and to_int(s) != SAMPLE_FOUND:
            return SAMPLE_NONE
        s.type = SAMPLE_BOOL
        return SAMPLE_FOUND
    if type == SAMPLE_BIN:
        return to_bytes(c, s)
    if type == SAMPLE_METH:
        s.method = method_of(s.p, s.len)
        s.type = SAMPLE_METH
        return SAMPLE_FOUND
    return to_address(s, type)
