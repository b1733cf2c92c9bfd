from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lb._speedups.policy.convert cimport (
    CONVERT_HTTP_DATE, CONVERT_LTIME, CONVERT_MS_LTIME, CONVERT_MS_UTIME, CONVERT_US_LTIME, CONVERT_US_UTIME,
    CONVERT_UTIME,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_TEXT_MAX, sample_put_int, sample_room, sample_text,
)


cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
    tm *gmtime_r(const time_t *at, tm *out)
    tm *localtime_r(const time_t *at, tm *out)
    size_t strftime(char *out, size_t size, const char *form, const tm *at)


cdef enum:
    FRACTION = 9                 # digits of nanoseconds
    DATE_TEXT = 128              # bytes that hold any date as HTTP writes it, with a fraction

cdef enum:
    SECONDS_MASK = 0x007fffffffffffff    # HAProxy's: no moment before 1970


cdef inline int64_t plus(int64_t a, int64_t b) noexcept nogil:
    return <int64_t> (<uint64_t> a + <uint64_t> b)


cdef size_t put_number(char *out, int64_t n, int digits) noexcept nogil:
    # with leading zeros
    cdef char text[24]
    cdef size_t len_ = sample_put_int(n, text)
    cdef size_t zeros = <size_t> digits - len_ if len_ < <size_t> digits else 0
    cdef size_t i
    for i in range(zeros):
        out[i] = c'0'
    memcpy(out + zeros, text, len_)
    return zeros + len_


# http_date([offset[,unit]]): RFC 9110 5.6.7. With a unit below seconds what is beyond them stands behind a dot, as a number.
cdef int http_date(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef const char *days = b"SunMonTueWedThuFriSat"
    cdef const char *months = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef const arg_t *offset = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *unit = arg_at(c, g, op, 1, ARG_INT)
    cdef int64_t parts = 1000000 // unit.i if unit != NULL and 0 < unit.i <= 1000000 else 1
    cdef int64_t moment = plus(s.i, offset.i) if offset != NULL else s.i
    cdef int64_t fraction = moment % parts
    cdef time_t seconds = (moment // parts) & <int64_t> SECONDS_MASK
    cdef char *room = sample_room(c, DATE_TEXT)
    cdef size_t n
    cdef tm at
    if room == NULL or gmtime_r(&seconds, &at) == NULL:
        return SAMPLE_NONE
    memcpy(room, &days[3 * at.tm_wday], 3)
    memcpy(room + 3, b", ", 2)
    n = 5 + put_number(room + 5, at.tm_mday, 2)
    room[n] = c' '
    memcpy(room + n + 1, &months[3 * at.tm_mon], 3)
    room[n + 4] = c' '
    n += 5
    n += put_number(room + n, <int64_t> at.tm_year + 1900, 4)
    room[n] = c' '
    n += 1 + put_number(room + n + 1, at.tm_hour, 2)
    room[n] = c':'
    n += 1 + put_number(room + n + 1, at.tm_min, 2)
    room[n] = c':'
    n += 1 + put_number(room + n + 1, at.tm_sec, 2)
    if parts != 1:
        room[n] = c'.'
        n += 1 + put_number(room + n + 1, fraction, 1)
    memcpy(room + n, b" GMT", 4)
    n += 4
    c.used -= <uint32_t> (DATE_TEXT - n)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


# A copy of a format that ends in NUL, %N and %3N replaced by that many digits of the nanoseconds. NULL: it does not fit.
cdef char *format_of(eval_t *c, const char *form, size_t n, int64_t nanoseconds, bint fractions) noexcept nogil:
    # A %N is two bytes and becomes nine at most.
    cdef char *room = sample_room(c, (n // 2 * FRACTION + 1 if fractions else n) + 1)
    cdef char digits[24]
    cdef size_t i = 0, used = 0, k, wide
    if room == NULL:
        return NULL
    put_number(digits, nanoseconds, FRACTION)
    while i < n:
        if fractions and form[i] == c'%':
            k = i + 1
            wide = 0
            while k < n and c'0' <= form[k] <= c'9':
                wide = wide * 10 + <size_t> (form[k] - c'0') if wide < FRACTION else FRACTION
                k += 1
            if k < n and form[k] == c'N':
                if k == i + 1 or wide > FRACTION:
                    wide = FRACTION
                memcpy(room + used, digits, wide)
                used += wide
                i = k + 1
                continue
            if k == i + 1 and k < n and form[k] == c'%':
                room[used] = c'%'
                used += 1
                i += 1
        room[used] = form[i]
        used += 1
        i += 1
    room[used] = 0
    return room


# ltime(format[,offset in seconds]) and its like; `parts` are what a second has of the unit, 0 = whole seconds only.
cdef int written(eval_t *c, const program_t *g, const op_t *op, sample_t *s, bint local, int64_t parts) noexcept nogil:
    cdef const arg_t *form = arg_at(c, g, op, 0, ARG_TEXT)
    cdef const arg_t *offset = arg_at(c, g, op, 1, ARG_INT)
    cdef int64_t nanoseconds = 0
    cdef char *copy
    cdef char *room
    cdef time_t seconds
    cdef size_t n
    cdef tm at
    if form == NULL:
        return SAMPLE_NONE
    if parts == 0:
        seconds = s.i & <int64_t> SECONDS_MASK
    else:
        seconds = s.i // parts
        nanoseconds = s.i % parts
        if nanoseconds < 0:
            nanoseconds += parts
            seconds -= 1
        nanoseconds *= 1000000000 // parts
    if offset != NULL:
        seconds = plus(seconds, offset.i)
    if (localtime_r(&seconds, &at) if local else gmtime_r(&seconds, &at)) == NULL:
        return SAMPLE_NONE
    copy = format_of(c, plan_text(c.view.plan, form.text), form.text.len, nanoseconds, parts != 0)
    room = sample_room(c, SAMPLE_TEXT_MAX)
    if copy == NULL or room == NULL:
        return SAMPLE_NONE
    n = strftime(room, SAMPLE_TEXT_MAX, copy, &at)
    c.used -= <uint32_t> (SAMPLE_TEXT_MAX - n)
    sample_text(s, room, n, 0)
    return SAMPLE_FOUND


cdef int convert_time(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    if code == CONVERT_HTTP_DATE:
        return http_date(c, g, op, s)
    if code == CONVERT_LTIME or code == CONVERT_UTIME:
        return written(c, g, op, s, code == CONVERT_LTIME, 0)
    if code == CONVERT_MS_LTIME or code == CONVERT_MS_UTIME:
        return written(c, g, op, s, code == CONVERT_MS_LTIME, 1000)
    if code == CONVERT_US_LTIME or code == CONVERT_US_UTIME:
        return written(c, g, op, s, code == CONVERT_US_LTIME, 1000000)
    return SAMPLE_NONE
