from libc.stdint cimport int64_t
from libc.string cimport memcpy


cdef void put_two(char *at, int64_t n) noexcept nogil:
    at[0] = <char> (c'0' + n // 10)
    at[1] = <char> (c'0' + n % 10)


# libc's gmtime and strftime look at locales and take as long as a whole request.
cdef void date_write(uint64_t seconds, char *out) noexcept nogil:
    cdef int64_t days = <int64_t> (seconds // 86400)
    cdef int64_t left = <int64_t> (seconds % 86400)
    cdef const char *names = b"ThuFriSatSunMonTueWed"
    cdef const char *months = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    # Days to a date in the proleptic Gregorian calendar, years beginning in March: a leap day is then a year's last.
    cdef int64_t z = days + 719468
    cdef int64_t era = z // 146097
    cdef int64_t of_era = z - era * 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153
    cdef int64_t day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (1 if month <= 2 else 0)
    memcpy(out, &names[3 * (days % 7)], 3)
    memcpy(out + 3, b", ", 2)
    put_two(out + 5, day)
    out[7] = c' '
    memcpy(out + 8, &months[3 * (month - 1)], 3)
    out[11] = c' '
    put_two(out + 12, year // 100)
    put_two(out + 14, year % 100)
    out[16] = c' '
    put_two(out + 17, left // 3600)
    out[19] = c':'
    put_two(out + 20, left // 60 % 60)
    out[22] = c':'
    put_two(out + 23, left % 60)
    memcpy(out + 25, b" GMT", 4)
