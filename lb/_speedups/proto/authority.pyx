from libc.stdint cimport uint8_t


cdef extern from "proto/h1_tables.h" nogil:
    const int H1_HEX
    const int H1_REGNAME
    bint h1_is(uint8_t byte, int cls)


cdef inline bint is_digit(char byte) noexcept nogil:
    return c'0' <= byte <= c'9'


# dec-octet: 0..255 without leading zeros (RFC 3986 3.2.2), four of them.
cdef bint is_ipv4(const char *p, const char *end) noexcept nogil:
    cdef int part, value, digits
    for part in range(4):
        if part:
            if p == end or p[0] != c'.':
                return False
            p += 1
        value = 0
        digits = 0
        while p < end and is_digit(p[0]) and digits < 4:
            value = value * 10 + (p[0] - c'0')
            digits += 1
            p += 1
        if digits == 0 or digits > 3 or value > 255:
            return False
        if digits > 1 and (p - digits)[0] == c'0':
            return False
    return p == end


# Eight groups of 1 to 4 hex digits; one `::` stands for one or more zero groups; the last two may be an IPv4 address.
cdef bint is_ipv6(const char *p, const char *end) noexcept nogil:
    cdef int groups = 0, digits
    cdef bint gap = False
    cdef const char *from_
    if end - p >= 2 and p[0] == c':' and p[1] == c':':
        gap = True
        p += 2
        if p == end:
            return True
    while True:
        from_ = p
        digits = 0
        while p < end and h1_is(<uint8_t>p[0], H1_HEX) and digits < 5:
            digits += 1
            p += 1
        if p < end and p[0] == c'.':
            return is_ipv4(from_, end) and (groups < 6 if gap else groups == 6)
        if digits == 0 or digits > 4:
            return False
        groups += 1
        if groups > 8:
            return False
        if p == end:
            return groups < 8 if gap else groups == 8
        if p[0] != c':':
            return False
        p += 1
        if p < end and p[0] == c':':
            if gap:
                return False
            gap = True
            p += 1
            if p == end:
                return groups < 8
        elif p == end:
            return False


cdef bint authority_is_valid(const char *p, size_t len) noexcept nogil:
    cdef const char *end = p + len
    cdef const char *from_ = p
    cdef int port
    if len == 0:
        return False
    if p[0] == c'[':
        p += 1
        while p < end and p[0] != c']':
            p += 1
        if p == end or not is_ipv6(from_ + 1, p):
            return False
        p += 1
    else:
        while p < end and p[0] != c':':
            if not h1_is(<uint8_t>p[0], H1_REGNAME):
                if p[0] != c'%' or end - p < 3:
                    return False
                if not h1_is(<uint8_t>p[1], H1_HEX) or not h1_is(<uint8_t>p[2], H1_HEX):
                    return False
                p += 2
            p += 1
        if p == from_:
            return False
    if p == end:
        return True
    if p[0] != c':':
        return False
    p += 1
    if end - p < 1 or end - p > 5:
        return False
    port = 0
    while p < end:
        if not is_digit(p[0]):
            return False
        port = port * 10 + (p[0] - c'0')
        p += 1
    return port <= 65535
