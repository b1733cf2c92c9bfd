# What log lines are made of: numbers, times, addresses and text that others sent, each written at `p`; the answer is where
# it ends. All inline: a line takes thirty of them. Whoever calls sees to the room; a number takes at most 21 bytes, an
# address NUMERIC_WIDTH, a time TIME_WIDTH.
#
# What a client or a server sent is never trusted. put_hashed writes control bytes, bytes from 0x7f up, `"` and `#` as
# #XX, HAProxy's own escape. put_escaped keeps valid UTF-8 and writes everything else as \u00XX, for JSON.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from lb._speedups.policy.logline cimport logline_t, log_view_t, slice_t


cdef extern from "lb.h" nogil:
    bint LIKELY(bint condition)
    bint UNLIKELY(bint condition)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_INET6


cdef extern from "<time.h>" nogil:
    ctypedef int64_t time_t
    ctypedef struct tm_t "struct tm":
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int64_t tm_gmtoff
    tm_t *localtime_r(const time_t *at, tm_t *out)
    tm_t *gmtime_r(const time_t *at, tm_t *out)


cdef enum:
    ZONE_STEP = 900             # every zone in use changes its offset at a multiple of 15 minutes of UTC
    DAY = 86400

cdef enum:                      # most bytes a part of a line takes, escapes included
    NAME_WIDTH = 104            # a name in the mapping is shorter
    METHOD_WIDTH = 64
    REASON_WIDTH = 64
    LIMIT_WIDTH = 64
    ID_WIDTH = 128
    HOST_WIDTH = 260            # a DNS name and a port
    NUMERIC_WIDTH = 46          # an address: ::ffff:255.255.255.255 and the longest of IPv6
    TIME_WIDTH = 32


# ---- numbers and constant text ----------------------------------------------------------------------------

cdef inline char *put_char(char *p, char c) noexcept nogil:
    p[0] = c
    return p + 1


# Inlined, strlen of a literal is a constant and the copy one or two stores.
cdef inline char *put_text(char *p, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(p, text, n)
    return p + n


cdef inline const char *pair_of(uint32_t n) noexcept nogil:
    cdef const char *pairs = (
        b"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        b"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        b"8081828384858687888990919293949596979899"
    )
    return pairs + 2 * n


cdef inline char *put_pair(char *p, uint32_t n) noexcept nogil:
    memcpy(p, pair_of(n), 2)
    return p + 2


cdef inline char *put_long(char *p, uint64_t n) noexcept nogil:
    cdef char digits[20]
    cdef char *first = digits + 20
    cdef uint32_t high
    if LIKELY(n < 10000):
        high = <uint32_t>n // 100
        if high < 10:
            p = put_char(p, <char>(48 + high))
        else:
            p = put_pair(p, high)
        return put_pair(p, <uint32_t>n % 100)
    while n >= 100:
        first -= 2
        memcpy(first, pair_of(<uint32_t>(n % 100)), 2)
        n //= 100
    if n >= 10:
        first -= 2
        memcpy(first, pair_of(<uint32_t>n), 2)
    else:
        first -= 1
        first[0] = <char>(48 + n)
    memcpy(p, first, digits + 20 - first)
    return p + (digits + 20 - first)


cdef inline char *put_uint(char *p, uint64_t n) noexcept nogil:
    if n < 10:
        p[0] = <char>(48 + n)
        return p + 1
    if n < 100:
        return put_pair(p, <uint32_t>n)
    return put_long(p, n)


cdef inline char *put_int(char *p, int64_t n) noexcept nogil:
    if UNLIKELY(n < 0):
        p[0] = 45
        return put_uint(p + 1, -<uint64_t>n)
    return put_uint(p, <uint64_t>n)


# ---- time of day ------------------------------------------------------------------------------------------

cdef inline char *put_year(char *p, int year) noexcept nogil:
    return put_pair(put_pair(p, year // 100 % 100), year % 100)


cdef inline void learn_local(logline_t *state, int64_t second) noexcept nogil:
    cdef tm_t local
    cdef time_t at = second
    cdef int64_t midnight
    cdef char *p = state.date
    localtime_r(&at, &local)
    p = put_pair(p, local.tm_mday)
    p = put_char(p, 47)
    memcpy(p, <const char *>b"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * local.tm_mon, 3)
    p = put_char(p + 3, 47)
    put_year(p, local.tm_year + 1900)[0] = 0
    state.offset_s = local.tm_gmtoff
    state.from_s = second - second % ZONE_STEP
    state.until_s = state.from_s + ZONE_STEP
    # Local midnight may lie inside only for an offset that is no multiple of 15 minutes.
    midnight = second - (second + state.offset_s) % DAY
    if midnight > state.from_s:
        state.from_s = midnight
    if midnight + DAY < state.until_s:
        state.until_s = midnight + DAY


cdef inline void learn_utc(logline_t *state, int64_t day) noexcept nogil:
    cdef tm_t utc
    cdef time_t at = day * DAY
    cdef char *p = state.utc_date
    gmtime_r(&at, &utc)
    p = put_char(put_year(p, utc.tm_year + 1900), 45)
    p = put_char(put_pair(p, utc.tm_mon + 1), 45)
    put_pair(p, utc.tm_mday)[0] = 0
    state.utc_day = day


# hh:mm:ss.mmm of a second of the day.
cdef inline char *put_clock(char *p, uint32_t second, uint32_t ms) noexcept nogil:
    p = put_char(put_pair(p, second // 3600), 58)
    p = put_char(put_pair(p, second // 60 % 60), 58)
    p = put_char(put_pair(p, second % 60), 46)
    p = put_char(p, <char>(48 + ms // 100))
    return put_pair(p, ms % 100)


# 22/Nov/2026:08:14:00.123
cdef inline char *put_local(logline_t *state, char *p, uint64_t us) noexcept nogil:
    cdef int64_t second = <int64_t>(us // 1000000)
    if UNLIKELY(second < state.from_s or second >= state.until_s):
        learn_local(state, second)
    memcpy(p, state.date, 11)
    p = put_char(p + 11, 58)
    return put_clock(p, <uint32_t>((second + state.offset_s) % DAY), <uint32_t>(us // 1000 % 1000))


# 22/Nov/2026:08:14:00 +0100, or the same in UTC
cdef inline char *put_zoned(logline_t *state, char *p, int64_t second, bint is_local) noexcept nogil:
    cdef int64_t offset = 0
    cdef uint32_t of_day, month
    if is_local:
        if UNLIKELY(second < state.from_s or second >= state.until_s):
            learn_local(state, second)
        memcpy(p, state.date, 11)
        offset = state.offset_s
        p += 11
    else:
        if UNLIKELY(second // DAY != state.utc_day):
            learn_utc(state, second // DAY)
        month = <uint32_t>(state.utc_date[5] - 48) * 10 + <uint32_t>(state.utc_date[6] - 48)
        memcpy(p, state.utc_date + 8, 2)
        p = put_char(p + 2, 47)
        memcpy(p, <const char *>b"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * (month - 1), 3)
        p = put_char(p + 3, 47)
        memcpy(p, state.utc_date, 4)
        p += 4
    of_day = <uint32_t>((second + offset) % DAY)
    p = put_char(put_pair(put_char(p, 58), of_day // 3600), 58)
    p = put_char(put_pair(p, of_day // 60 % 60), 58)
    p = put_char(put_pair(p, of_day % 60), 32)
    p = put_char(p, 45 if offset < 0 else 43)
    offset = (-offset if offset < 0 else offset) // 60
    return put_pair(put_pair(p, <uint32_t>offset // 60), <uint32_t>offset % 60)


# 2026-11-22T08:14:00.123Z
cdef inline char *put_utc(logline_t *state, char *p, uint64_t us) noexcept nogil:
    cdef int64_t second = <int64_t>(us // 1000000)
    if UNLIKELY(second // DAY != state.utc_day):
        learn_utc(state, second // DAY)
    memcpy(p, state.utc_date, 10)
    p = put_char(p + 10, 84)
    p = put_clock(p, <uint32_t>(second % DAY), <uint32_t>(us // 1000 % 1000))
    return put_char(p, 90)


# ---- addresses --------------------------------------------------------------------------------------------

cdef inline char *put_ipv4(char *p, const uint8_t *a) noexcept nogil:
    p = put_char(put_uint(p, a[0]), 46)
    p = put_char(put_uint(p, a[1]), 46)
    p = put_char(put_uint(p, a[2]), 46)
    return put_uint(p, a[3])


cdef inline char *put_ipv6(char *p, const uint8_t *a) noexcept nogil:
    # The text of inet_ntop, which HAProxy prints: RFC 5952, and ::ffff:1.2.3.4 and ::1.2.3.4 for mapped addresses.
    cdef const char *hex = b"0123456789abcdef"
    cdef uint16_t groups[8]
    cdef int i, first = -1, longest = 1, run = 0, n = 8
    cdef uint16_t g
    for i in range(8):
        groups[i] = (a[2 * i] << 8) | a[2 * i + 1]
        run = 0 if groups[i] else run + 1
        if run > longest:
            longest = run
            first = i - run + 1
    if first == 0 and (longest == 6 or (longest == 5 and groups[5] == 0xffff)):
        n = 6
    i = 0
    while i < n:
        if i == first:
            p = put_char(p, 58)
            i += longest
            if i >= n:
                p = put_char(p, 58)
            continue
        if i:
            p = put_char(p, 58)
        g = groups[i]
        if g > 0xfff:
            p = put_char(p, hex[g >> 12])
        if g > 0xff:
            p = put_char(p, hex[(g >> 8) & 15])
        if g > 0xf:
            p = put_char(p, hex[(g >> 4) & 15])
        p = put_char(p, hex[g & 15])
        i += 1
    if n == 6:
        if first + longest != 6:
            p = put_char(p, 58)
        p = put_ipv4(p, a + 12)
    return p


cdef inline char *put_numeric(char *p, uint16_t family, const uint8_t *address) noexcept nogil:
    if LIKELY(family == AF_INET):
        return put_ipv4(p, address)
    if family == AF_INET6:
        return put_ipv6(p, address)
    return put_text(p, b"unix")


cdef inline char *put_address(char *p, const log_view_t *v) noexcept nogil:
    return put_numeric(p, v.family, v.address)


# ---- text that others sent --------------------------------------------------------------------------------

# The tests of 8 bytes at once: the answer is non-zero if one of them is special, and may be non-zero if none is. What is
# borrowed or carried comes from a byte that is special itself.

# Below 0x20, above 0x7e, `"` or `#`. The last two differ in the lowest bit alone.
cdef inline uint64_t has_special(uint64_t w) noexcept nogil:
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t quote = (w | ones) ^ (ones * 0x23)
    return (w | (w - ones * 0x20) | (w + ones) | (quote - ones)) & (ones * 0x80)


# Below 0x20, above 0x7e, `"` or a backslash.
cdef inline uint64_t has_special_json(uint64_t w) noexcept nogil:
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t quote = w ^ (ones * 0x22)
    cdef uint64_t slash = w ^ (ones * 0x5c)
    return (w | (w - ones * 0x20) | (w + ones) | (quote - ones) | (slash - ones)) & (ones * 0x80)


# The n bytes at s, 1..7 of them, as the low bytes of a word; spaces above.
cdef inline uint64_t load_short(const char *s, size_t n) noexcept nogil:
    cdef uint32_t low, high
    cdef uint64_t spaces = <uint64_t>0x2020202020202020 << (8 * n)
    if n >= 4:
        memcpy(&low, s, 4)
        memcpy(&high, s + n - 4, 4)
        return spaces | low | (<uint64_t>high << (8 * (n - 4)))
    return spaces | <uint8_t>s[0] | (<uint64_t><uint8_t>s[n >> 1] << (8 * (n >> 1))) \
        | (<uint64_t><uint8_t>s[n - 1] << (8 * (n - 1)))


# Copy text to p[0:end-p] with HAProxy's escape #XX; what does not fit is left out.
cdef inline char *put_hashed(char *p, const char *end, slice_t text) noexcept nogil:
    cdef uint64_t w
    # Most names and methods are short and plain: one word, in place.
    if LIKELY(<uint32_t> (text.len - 1) < 8 and end - p >= 8):
        if text.len == 8:
            memcpy(&w, text.p, 8)
        else:
            w = load_short(text.p, text.len)
        if LIKELY(not has_special(w)):
            memcpy(p, &w, 8)
            return p + text.len
    return put_hashed_long(p, end, text)


cdef inline char *put_hashed_long(char *p, const char *end, slice_t text) noexcept nogil:
    cdef const char *hex = b"0123456789ABCDEF"
    cdef const char *s = text.p
    cdef const char *last = text.p + text.len
    cdef uint64_t w
    cdef uint8_t c
    cdef size_t n
    while s < last:
        if end - p >= 8:
            n = last - s
            if n >= 8:
                n = 8
                memcpy(&w, s, 8)
            else:
                w = load_short(s, n)
            if LIKELY(not has_special(w)):
                memcpy(p, &w, 8)
                p += n
                s += n
                continue
        c = <uint8_t>s[0]
        if LIKELY(0x20 <= c < 0x7f and c != 0x22 and c != 0x23):
            if p == end:
                return p
            p[0] = <char>c
            p += 1
        else:
            if end - p < 3:
                return p
            p[0] = 35
            p[1] = hex[c >> 4]
            p[2] = hex[c & 15]
            p += 3
        s += 1
    return p


# Bytes of the UTF-8 sequence at s[0:n], 0 if it is none (RFC 3629: overlong, surrogate, too large, cut) or if it is a
# C1 control, which some terminals obey.
cdef inline size_t utf8_length(const uint8_t *s, size_t n) noexcept nogil:
    cdef uint8_t c = s[0]
    cdef size_t length, i
    if c < 0xc2 or c > 0xf4 or n < 2:
        return 0
    length = 2 if c < 0xe0 else 3 if c < 0xf0 else 4
    if n < length:
        return 0
    for i in range(1, length):
        if s[i] & 0xc0 != 0x80:
            return 0
    if (
        (c == 0xc2 and s[1] < 0xa0) or (c == 0xe0 and s[1] < 0xa0) or (c == 0xed and s[1] > 0x9f)
        or (c == 0xf0 and s[1] < 0x90) or (c == 0xf4 and s[1] > 0x8f)
    ):
        return 0
    return length


# Copy text to p[0:end-p] as the inside of a JSON string. What does not fit is left out and *cut set.
cdef inline char *put_escaped(char *p, const char *end, slice_t text, bint *cut) noexcept nogil:
    cdef const char *hex = b"0123456789abcdef"
    cdef const char *s = text.p
    cdef const char *last = text.p + text.len
    cdef uint64_t w
    cdef uint8_t c
    cdef size_t n
    while s < last:
        if end - p >= 8:
            n = last - s
            if n >= 8:
                n = 8
                memcpy(&w, s, 8)
            else:
                w = load_short(s, n)
            if LIKELY(not has_special_json(w)):
                memcpy(p, &w, 8)
                p += n
                s += n
                continue
        c = <uint8_t>s[0]
        n = 1
        if c >= 0x80:
            n = utf8_length(<const uint8_t *>s, last - s)
        elif c < 0x20 or c == 0x7f:
            n = 0
        elif c == 0x22 or c == 0x5c:
            if end - p < 2:
                break
            p[0] = 92
            p[1] = <char>c
            p += 2
            s += 1
            continue
        if LIKELY(n != 0):
            if <size_t>(end - p) < n:
                break
            memcpy(p, s, n)
            p += n
            s += n
        else:
            if end - p < 6:
                break
            memcpy(p, <const char *>b"\\u00", 4)
            p[4] = hex[c >> 4]
            p[5] = hex[c & 15]
            p += 6
            s += 1
    if UNLIKELY(s < last):
        cut[0] = True
    return p
