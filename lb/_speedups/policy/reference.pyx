from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcmp, memcpy, memset

from lb._speedups.base.lock cimport LOCK_BROKEN, LOCK_LOST, lock_give, lock_repaired, lock_take
from lb._speedups.base.mapping cimport mapping_alarm
from lb._speedups.policy.program cimport (
    MATCH_BEG, MATCH_BIN, MATCH_DIR, MATCH_DOM, MATCH_END, MATCH_INT, MATCH_IP, MATCH_LEN, MATCH_STR, MATCH_SUB,
    SET_IGNORE_CASE, WORD_BASE, WORD_ROLLED, WORD_SEED, word_fold, word_is_rolled, word_roll, word_slot, word_step,
)
from lb._speedups.policy.sample cimport (
    SAMPLE_ADDR, SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_SINT, SAMPLE_STR, sample_cast, sample_read_address,
)


cdef extern from "lb.h" nogil:
    bint UNLIKELY(bint condition)
    void LB_ASSERT(bint condition)
    void LB_KILL_POINT(const char *name)
    uint32_t lb_load_u32(const uint32_t *p)
    void lb_store_u32(uint32_t *p, uint32_t value)
    uint64_t lb_load_u64(const uint64_t *p)
    void lb_store_u64(uint64_t *p, uint64_t value)

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    int inet_pton(int family, const char *text, void *out)

cdef enum:
    LINE = 64
    FANOUT = 8                   # starts of a cache line
    BUILDING = 0xffffffff        # image_t.base while there are no segments


cdef inline uint32_t least32(uint32_t a, uint32_t b) noexcept nogil:
    return a if a < b else b


# ---- texts ----


# HAProxy's strl2llrc: an optional minus, digits and nothing else, in 64 bits.
cdef bint read_number(const char *p, size_t n, int64_t *out) noexcept nogil:
    cdef bint negative = n > 0 and p[0] == c'-'
    cdef uint64_t sum = 0
    cdef uint64_t limit = <uint64_t> 1 << 63
    cdef uint64_t digit
    cdef size_t i
    if negative:
        p += 1
        n -= 1
    for i in range(n):
        if not c'0' <= p[i] <= c'9':
            return False
        digit = <uint64_t> (p[i] - c'0')
        if sum > (limit - digit) // 10:
            return False
        sum = sum * 10 + digit
    if not negative and sum == limit:
        return False
    out[0] = <int64_t> (0 - sum) if negative else <int64_t> sum
    return True


cdef bint reference_read_span(const char *p, size_t n, span_t *out) noexcept nogil:
    cdef size_t at = 0
    if n == 0:
        return False
    while at < n and p[at] != c':' and p[at] != c'-':
        at += 1
    out.low = -(<int64_t> 0x7fffffffffffffff) - 1
    out.high = 0x7fffffffffffffff
    if at == n:
        if not read_number(p, n, &out.low):
            return False
        out.high = out.low
        return True
    if at == 0 and n > 1:
        return read_number(p + 1, n - 1, &out.high)
    if at == n - 1:
        return at > 0 and read_number(p, at, &out.low)
    return read_number(p, at, &out.low) and read_number(p + at + 1, n - at - 1, &out.high) and out.low <= out.high


cdef void mask_address(uint8_t *address, uint32_t size, uint32_t bits) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        if bits >= 8 * (i + 1):
            continue
        address[i] &= <uint8_t> (0xff00 >> (bits - 8 * i)) if bits > 8 * i else 0


# The bits of an IPv4 mask in dotted form; -1: it is none, or has a hole.
cdef int mask_bits(const char *text) noexcept nogil:
    cdef uint8_t[4] raw
    cdef uint32_t mask, bits = 0
    if inet_pton(AF_INET, text, raw) != 1:
        return -1
    mask = <uint32_t> raw[0] << 24 | <uint32_t> raw[1] << 16 | <uint32_t> raw[2] << 8 | raw[3]
    while bits < 32 and mask & (<uint32_t> 0x80000000 >> bits):
        bits += 1
    return <int> bits if bits == 32 or mask << bits == 0 else -1


cdef bint reference_read_net(const char *p, size_t n, net_part_t *out) noexcept nogil:
    cdef char[80] text
    cdef char *mask = NULL
    cdef size_t i
    cdef int bits = 0
    if n == 0 or n >= sizeof(text):
        return False
    memset(out, 0, sizeof(net_part_t))
    memcpy(text, p, n)
    text[n] = 0
    for i in range(n):
        if text[i] == 0:
            return False
        if text[i] == c'/' and mask == NULL:
            text[i] = 0
            mask = text + i + 1
    if inet_pton(AF_INET, text, out.address) == 1:
        out.family = 4
        out.bits = 32
    elif inet_pton(AF_INET6, text, out.address) == 1:
        out.family = 6
        out.bits = 128
    else:
        return False
    if mask == NULL:
        return True
    if mask[0] == 0:
        return False
    i = 0
    while mask[i] != 0 and bits <= 128:
        if not c'0' <= mask[i] <= c'9':
            break
        bits = bits * 10 + (mask[i] - c'0')
        i += 1
    if mask[i] != 0:
        if out.family != 4:
            return False
        bits = mask_bits(mask)
    if bits < 0 or bits > out.bits:
        return False
    out.bits = <uint8_t> bits
    mask_address(out.address, 4 if out.family == 4 else 16, out.bits)
    return True


cdef bint reference_read_integer(const char *p, size_t n, int64_t *out) noexcept nogil:
    # As strtoll on all of it: blanks and a sign before it, 0 if there is nothing, the largest if it is too large.
    cdef size_t i = 0
    cdef bint negative = False
    cdef uint64_t sum = 0, limit, digit
    while i < n and (p[i] == c' ' or 9 <= p[i] <= 13):
        i += 1
    if n == 0:
        out[0] = 0
        return True
    if i < n and (p[i] == c'-' or p[i] == c'+'):
        negative = p[i] == c'-'
        i += 1
    if i == n:
        return False
    limit = (<uint64_t> 1 << 63) - (0 if negative else 1)
    while i < n:
        if not c'0' <= p[i] <= c'9':
            return False
        digit = <uint64_t> (p[i] - c'0')
        sum = limit if sum > (limit - digit) // 10 else sum * 10 + digit
        i += 1
    out[0] = <int64_t> (0 - sum) if negative else <int64_t> sum
    return True


cdef int hex_digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= (c | 0x20) <= c'f':
        return (c | 0x20) - c'a' + 10
    return -1


cdef bint is_digits(const char *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if hex_digit(p[i]) < 0:
            return False
    return n % 2 == 0


cdef bint is_address(const char *p, size_t n) noexcept nogil:
    cdef sample_t s
    return sample_read_address(p, n, &s) == 0


cdef bint has_nul(const char *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if p[i] == 0:
            return True
    return False


cdef int reference_judge(uint32_t flags, const char *key, size_t n, const char *value, size_t value_n) noexcept nogil:
    cdef net_part_t net
    cdef span_t span
    cdef int64_t number
    if n > REFERENCE_KEY_MAX or has_nul(key, n) or (flags & REFERENCE_SHORT and n > WORD_ROLLED):
        return REFERENCE_BAD_KEY
    if flags & REFERENCE_NETS and not reference_read_net(key, n, &net):
        return REFERENCE_BAD_KEY
    if flags & REFERENCE_NUMBERS and not reference_read_span(key, n, &span):
        return REFERENCE_BAD_KEY
    if flags & REFERENCE_DIGITS and not is_digits(key, n):
        return REFERENCE_BAD_KEY
    if value == NULL:
        return REFERENCE_DONE
    if value_n > REFERENCE_KEY_MAX or has_nul(value, value_n):
        return REFERENCE_BAD_VALUE
    if flags & REFERENCE_INTEGERS and not reference_read_integer(value, value_n, &number):
        return REFERENCE_BAD_VALUE
    if flags & REFERENCE_ADDRESSES and not is_address(value, value_n):
        return REFERENCE_BAD_VALUE
    return REFERENCE_DONE


# ---- words ----


# What of a key is the word of a use: without the delimiters around it, as HAProxy's match_word has it.
cdef void word_of(const image_t *image, const record_t *r, uint8_t method, const char **p, size_t *n) noexcept nogil:
    cdef const char *at = record_key(image, r)
    cdef size_t size = r.key_len
    if method == MATCH_DIR or method == MATCH_DOM:
        while size > 0 and is_delimiter(method, at[0]):
            at += 1
            size -= 1
        while size > 0 and is_delimiter(method, at[size - 1]):
            size -= 1
    p[0] = at
    n[0] = size


cdef inline bint is_delimiter(uint8_t method, char c) noexcept nogil:
    return c == c'/' or c == c'?' or (method == MATCH_DOM and (c == c'.' or c == c':'))


cdef inline bint has_length(const index_t *x, size_t n) noexcept nogil:
    if n > 255:
        n = 255
    return (lb_load_u64(&x.lengths[n >> 6]) >> (n & 63)) & 1


# Whether a record's word is these n bytes.
cdef bint is_word(const image_t *image, const record_t *r, const use_t *use, const char *p, size_t n) noexcept nogil:
    cdef const char *word
    cdef size_t size, i
    if use.method == MATCH_BIN:
        word = record_key(image, r)
        if r.key_len != 2 * n:
            return False
        for i in range(n):
            if <uint8_t> (hex_digit(word[2 * i]) << 4 | hex_digit(word[2 * i + 1])) != <uint8_t> p[i]:
                return False
        return True
    word_of(image, r, use.method, &word, &size)
    if size != n:
        return False
    if not use.flags & SET_IGNORE_CASE:
        return memcmp(word, p, n) == 0
    for i in range(n):
        if word_fold(<uint8_t> word[i], use.flags) != word_fold(<uint8_t> p[i], use.flags):
            return False
    return True


# The first live record of an index with this word.
cdef record_t *find_word(const image_t *image, const index_t *x, const use_t *use, const char *p, size_t n,
                         uint32_t h) noexcept nogil:
    cdef const uint64_t *slots = <const uint64_t *> (<const char *> image + x.slots_at)
    cdef uint32_t i = word_slot(h, x.mask)
    cdef uint64_t slot
    cdef record_t *r
    while True:
        slot = lb_load_u64(&slots[i])
        if slot == 0:
            return NULL
        if slot >> 32 == h:
            r = image_record(image, <uint32_t> slot)
            if lb_load_u32(&r.state) == RECORD_LIVE and is_word(image, r, use, p, n):
                return r
        i = (i + 1) & x.mask


cdef inline const record_t *earlier(const record_t *a, const record_t *b) noexcept nogil:
    if a == NULL or (b != NULL and b.index < a.index):
        return b
    return a


cdef const record_t *find_whole(const image_t *image, const index_t *x, const use_t *use, const char *p,
                                size_t n) noexcept nogil:
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t i
    if n > lb_load_u32(&x.longest) or not has_length(x, n):
        return NULL
    for i in range(n):
        h = word_step(h, word_fold(<uint8_t> p[i], use.flags))
    return find_word(image, x, use, p, n, h)


# A word that begins the value, or ends it: the longest, or the first.
cdef const record_t *find_end(const image_t *image, const index_t *x, const use_t *use, const char *p, size_t n,
                              bint any) noexcept nogil:
    cdef bint backwards = use.method == MATCH_END
    cdef bint longest = use.method == MATCH_BEG and not use.flags & SET_IGNORE_CASE
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t most = lb_load_u32(&x.longest), i = 0
    cdef const record_t *best = NULL
    cdef const record_t *r
    while True:
        if has_length(x, i):
            r = find_word(image, x, use, p + n - i if backwards else p, i, h)
            if r != NULL:
                if any:
                    return r
                best = r if longest else earlier(best, r)
        if i == n or i == most:
            return best
        h = word_step(h, word_fold(<uint8_t> (p[n - 1 - i] if backwards else p[i]), use.flags))
        i += 1


# Whether n bytes at p[i] of p[0:end] stand between delimiters or ends.
cdef inline bint is_piece(uint8_t method, const char *p, size_t end, size_t i, size_t n) noexcept nogil:
    return (i == 0 or is_delimiter(method, p[i - 1])) and (i + n == end or is_delimiter(method, p[i + n]))


cdef const record_t *find_length(const image_t *image, const index_t *x, const use_t *use, const char *p, size_t n,
                                 size_t len, bint any) noexcept nogil:
    cdef bint bounded = use.method != MATCH_SUB
    cdef uint32_t h = 0
    cdef uint32_t top = 1                     # what the first byte of the window counts for
    cdef size_t i
    cdef const record_t *best = NULL
    for i in range(len):
        h = word_roll(h, word_fold(<uint8_t> p[i], use.flags))
        if i:
            top *= <uint32_t> WORD_BASE
    i = 0
    while True:
        if not bounded or is_piece(use.method, p, n, i, len):
            best = earlier(best, find_word(image, x, use, p + i, len, h))
            if any and best != NULL:
                return best
        if i + len >= n:
            return best
        h = word_roll(h - word_fold(<uint8_t> p[i], use.flags) * top, word_fold(<uint8_t> p[i + len], use.flags))
        i += 1


cdef const record_t *find_inside(const image_t *image, const index_t *x, const use_t *use, const char *p, size_t n,
                                 bint any) noexcept nogil:
    cdef uint32_t most = lb_load_u32(&x.longest)
    cdef const record_t *best = NULL
    cdef size_t len
    if use.method == MATCH_SUB and has_length(x, 0):  # the empty word is in everything, and is no piece
        best = find_word(image, x, use, p, 0, 0)
    for len in range(1, WORD_ROLLED + 1):
        if (any and best != NULL) or len > n or len > most:
            break
        if has_length(x, len):
            best = earlier(best, find_length(image, x, use, p, n, len, any))
    return best


cdef const record_t *find_text(const image_t *image, uint32_t use, const char *p, size_t n, bint any) noexcept nogil:
    cdef const use_t *u = &image.uses[use]
    cdef const index_t *x = &image.indexes[use]
    if x.slots_at == 0:
        x = &image.keys
    if u.method == MATCH_STR or u.method == MATCH_BIN:
        return find_whole(image, x, u, p, n)
    if u.method == MATCH_BEG or u.method == MATCH_END:
        return find_end(image, x, u, p, n, any)
    return find_inside(image, x, u, p, n, any)


# ---- networks and numbers ----


# The number of the segment that holds a value: the last start that is not above it. The first start is the least value.
cdef uint32_t find_segment(const image_t *image, const segments_t *s, uint64_t high, uint64_t low) noexcept nogil:
    cdef const uint64_t *starts
    cdef const uint64_t *lows = NULL
    cdef uint32_t level = s.levels, found = 0, block, k, end
    while level > 0:
        level -= 1
        starts = <const uint64_t *> (<const char *> image + s.levels_at[level])
        block = found * FANOUT
        end = least32(block + FANOUT, s.sizes[level])
        k = block
        if s.lows_at == 0:
            while k + 1 < end and starts[k + 1] <= high:
                k += 1
        else:
            lows = <const uint64_t *> (<const char *> image + s.levels_at[level] + s.lows_at - s.starts_at)
            while k + 1 < end and (starts[k + 1] < high or (starts[k + 1] == high and lows[k + 1] <= low)):
                k += 1
        found = k
    return found


cdef inline const record_t *segment_owner(const image_t *image, const segments_t *s, uint64_t high,
                                          uint64_t low) noexcept nogil:
    cdef const uint32_t *owners = <const uint32_t *> (<const char *> image + s.owners_at)
    cdef uint32_t place
    if s.n == 0:
        return NULL
    place = owners[find_segment(image, s, high, low)]
    return image_record(image, place) if place != 0 else NULL


cdef inline uint64_t big64(const uint8_t *p) noexcept nogil:
    return (
        <uint64_t> p[0] << 56 | <uint64_t> p[1] << 48 | <uint64_t> p[2] << 40 | <uint64_t> p[3] << 32
        | <uint64_t> p[4] << 24 | <uint64_t> p[5] << 16 | <uint64_t> p[6] << 8 | p[7]
    )


cdef inline uint64_t big32(const uint8_t *p) noexcept nogil:
    return <uint64_t> p[0] << 24 | <uint64_t> p[1] << 16 | <uint64_t> p[2] << 8 | p[3]


cdef inline uint64_t biased(int64_t n) noexcept nogil:
    return <uint64_t> n ^ (<uint64_t> 1 << 63)


cdef uint32_t net_hash(const uint8_t *address, uint8_t family, uint32_t bits) noexcept nogil:
    cdef uint64_t h
    h = big32(address) if family == 4 else big64(address) * <uint64_t> 0x9e3779b97f4a7c15 ^ big64(address + 8)
    h = (h ^ bits << 8 ^ family) * <uint64_t> 0xff51afd7ed558ccd
    return <uint32_t> (h >> 32)


# Networks appended since the image was built: the longest that holds the address.
cdef const record_t *find_appended(const image_t *image, const uint8_t *address, uint8_t family) noexcept nogil:
    cdef const index_t *x = &image.nets
    cdef const uint64_t *slots = <const uint64_t *> (<const char *> image + x.slots_at)
    cdef uint32_t size = 4 if family == 4 else 16
    cdef int bits = <int> size * 8
    cdef uint32_t first = 0 if family == 4 else 64
    cdef uint8_t[16] masked
    cdef uint32_t h, i
    cdef uint64_t slot
    cdef const record_t *r
    cdef const net_part_t *net
    memcpy(masked, address, size)
    while bits >= 0:
        if lb_load_u64(&x.lengths[(first + bits) >> 6]) >> ((first + bits) & 63) & 1:
            mask_address(masked, size, <uint32_t> bits)
            h = net_hash(masked, family, <uint32_t> bits)
            i = word_slot(h, x.mask)
            while True:
                slot = lb_load_u64(&slots[i])
                if slot == 0:
                    break
                if slot >> 32 == h:
                    r = image_record(image, <uint32_t> slot)
                    net = record_net(r)
                    if (
                        lb_load_u32(&r.state) == RECORD_LIVE and net.bits == bits and net.family == family
                        and memcmp(net.address, masked, size) == 0
                    ):
                        return r
                i = (i + 1) & x.mask
        bits -= 1
    return NULL


cdef const record_t *find_net(const image_t *image, const uint8_t *address, uint8_t family) noexcept nogil:
    cdef const record_t *r
    cdef const record_t *other
    if family == 4:
        r = segment_owner(image, &image.nets4, big32(address), 0)
    else:
        r = segment_owner(image, &image.nets6, big64(address), big64(address + 8))
    while r != NULL and lb_load_u32(&r.state) != RECORD_LIVE:
        r = image_record(image, r.next) if r.next != 0 else NULL
    if lb_load_u32(&image.appended) == 0:
        return r
    other = find_appended(image, address, family)
    if r == NULL or (other != NULL and record_net(other).bits > record_net(r).bits):
        return other
    return r


cdef bint is_zero(const uint8_t *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if p[i] != 0:
            return False
    return True


# An address matches networks of its own kind, and of the other one where it can be written as one (HAProxy's pat_match_ip).
cdef const record_t *find_address(eval_t *c, const image_t *image, const sample_t *s) noexcept nogil:
    cdef sample_t other
    cdef const record_t *r
    memcpy(&other, s, sizeof(sample_t))
    if s.type == SAMPLE_IPV4:
        r = find_net(image, s.address, 4)
        if r == NULL and sample_cast(c, &other, SAMPLE_IPV6) == SAMPLE_FOUND:
            r = find_net(image, other.address, 6)
        return r
    if s.type != SAMPLE_IPV6:
        return NULL
    r = find_net(image, s.address, 6)
    if r != NULL:
        return r
    if is_zero(s.address, 12):                # the old IPv4-compatible form, which only patterns know
        return find_net(image, s.address + 12, 4)
    if sample_cast(c, &other, SAMPLE_IPV4) != SAMPLE_FOUND:
        return NULL
    return find_net(image, other.address, 4)


cdef inline bint holds(const image_t *image, const record_t *r, int64_t n) noexcept nogil:
    cdef const span_t *span = record_span(image, r)
    return span.low <= n <= span.high and lb_load_u32(&r.state) == RECORD_LIVE


cdef const record_t *find_number(const image_t *image, int64_t n) noexcept nogil:
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const record_t *r = segment_owner(image, &image.numbers, biased(n), 0)
    cdef uint32_t place, i
    if r != NULL:
        if lb_load_u32(&r.state) == RECORD_LIVE:
            return r
        if r.flags & RECORD_OVERLAID:
            for i in range(r.index + 1, image.base):
                if holds(image, image_record(image, order[i]), n):
                    return image_record(image, order[i])
    place = lb_load_u32(&image.first_number)
    while place != 0:
        r = image_record(image, place)
        if holds(image, r, n):
            return r
        place = lb_load_u32(&r.next)
    return NULL


cdef const record_t *reference_find(
    eval_t *c, mapping_t *m, uint64_t place, sample_t *s, bint any, const image_t **out
) noexcept nogil:
    cdef const reference_t *ref = reference_at(m, place)
    cdef uint64_t at = lb_load_u64(&ref.image_at)
    cdef const image_t *image = reference_image(m, at)
    cdef uint32_t use = place & 63
    cdef uint8_t method
    if UNLIKELY(at == 0):                     # nobody has built it: only of a damaged plan
        return NULL
    method = image.uses[use].method
    out[0] = image
    if method == MATCH_IP:
        return find_address(c, image, s) if sample_cast(c, s, SAMPLE_ADDR) == SAMPLE_FOUND else NULL
    if method == MATCH_INT:
        return find_number(image, s.i) if sample_cast(c, s, SAMPLE_SINT) == SAMPLE_FOUND else NULL
    if sample_cast(c, s, SAMPLE_BIN if method == MATCH_BIN else SAMPLE_STR) != SAMPLE_FOUND:
        return NULL
    if method == MATCH_LEN:
        return find_number(image, s.len)
    return find_text(image, use, s.p, s.len, any)


# ---- appending ----


cdef uint64_t aligned(uint64_t n, uint64_t to) noexcept nogil:
    return (n + to - 1) & ~(to - 1)


cdef uint64_t record_bytes(uint32_t flags, size_t key_n, size_t value_n, bint valued) noexcept nogil:
    cdef uint64_t n = sizeof(record_t) + key_n + 1
    if flags & REFERENCE_NETS:
        n += sizeof(net_part_t)
    if flags & REFERENCE_NUMBERS:
        n += sizeof(span_t)
    n = aligned(n, 8)
    if valued:
        n += aligned(sizeof(value_t) + value_n + 1, 8)
    return n


cdef uint64_t slots_for(uint64_t n) noexcept nogil:
    cdef uint64_t size = 16
    while size < n + n // 2:
        size *= 2
    return size


# Whether a use has an index of its own: str and beg go by the keys as they are.
cdef inline bint needs_index(const use_t *use) noexcept nogil:
    if use.method == MATCH_IP or use.method == MATCH_INT or use.method == MATCH_LEN:
        return False
    return use.flags & SET_IGNORE_CASE or not (use.method == MATCH_STR or use.method == MATCH_BEG)


cdef uint64_t levels_of(segments_t *s, uint64_t n) noexcept nogil:
    cdef uint64_t bytes_ = 0
    s.levels = 0
    while True:
        s.levels_at[s.levels] = s.starts_at + bytes_
        s.sizes[s.levels] = <uint32_t> n
        s.levels += 1
        bytes_ += aligned(n * 8, LINE)
        if n <= FANOUT:
            return bytes_
        n = (n + FANOUT - 1) // FANOUT


cdef uint64_t segments_bytes(uint64_t records, bint wide) noexcept nogil:
    cdef segments_t scratch
    cdef uint64_t n = 2 * records + 1
    cdef uint64_t bytes_
    if records == 0:
        return 0
    scratch.starts_at = 0
    bytes_ = levels_of(&scratch, n)
    return aligned(n * 4, LINE) + (2 * bytes_ if wide else bytes_)


# Bytes of an image; counts uses as if each had an index. image_begin lays out the same.
cdef uint64_t image_bytes(uint32_t flags, uint32_t nuses, uint64_t capacity, uint64_t base, uint64_t heap) noexcept nogil:
    cdef uint64_t n = aligned(sizeof(image_t), LINE)
    n += aligned(heap + 8, LINE) + aligned(capacity * 4, LINE) + aligned(log_for(capacity, base) * 4, LINE)
    n += slots_for(capacity) * 8 * (1 + <uint64_t> nuses)
    if flags & REFERENCE_NETS:
        # Every record may be of either kind.
        n += segments_bytes(base, False) + segments_bytes(base, True) + slots_for(capacity - base) * 8
    if flags & REFERENCE_NUMBERS:
        n += segments_bytes(base, False)
    return aligned(n, 4096)


cdef inline uint64_t log_for(uint64_t capacity, uint64_t base) noexcept nogil:
    return capacity - base


cdef uint64_t lay(uint64_t *at, uint64_t size) noexcept nogil:
    cdef uint64_t here = at[0]
    at[0] += aligned(size, LINE)
    return here


cdef void image_begin(
    image_t *image, const reference_t *ref, uint32_t version, uint64_t capacity, uint64_t base, uint64_t heap
) noexcept nogil:
    cdef uint64_t at = aligned(sizeof(image_t), LINE)
    cdef uint32_t i
    image.version = version
    image.flags = ref.flags
    image.nuses = ref.nuses
    image.capacity = <uint32_t> capacity
    image.log_size = <uint32_t> log_for(capacity, base)
    memcpy(image.uses, ref.uses, sizeof(image.uses))
    image.order_at = lay(&at, capacity * 4)
    image.log_at = lay(&at, <uint64_t> image.log_size * 4)
    image.keys.mask = <uint32_t> (slots_for(capacity) - 1)
    image.keys.slots_at = lay(&at, slots_for(capacity) * 8)
    for i in range(image.nuses):
        if needs_index(&image.uses[i]):
            image.indexes[i].mask = image.keys.mask
            image.indexes[i].slots_at = lay(&at, slots_for(capacity) * 8)
    if image.flags & REFERENCE_NETS:
        image.nets4.starts_at = lay(&at, segments_bytes(base, False))
        image.nets6.starts_at = lay(&at, segments_bytes(base, True))
        image.nets.mask = <uint32_t> (slots_for(capacity - base) - 1)
        image.nets.slots_at = lay(&at, slots_for(capacity - base) * 8)
    if image.flags & REFERENCE_NUMBERS:
        image.numbers.starts_at = lay(&at, segments_bytes(base, False))
    image.heap_used = at + 8
    image.heap_end = at + 8 + heap
    image.size = image_bytes(image.flags, image.nuses, capacity, base, heap)
    image.base = <uint32_t> BUILDING                   # until image_settle: what is appended is not looked up beside the segments


cdef void put_slot(image_t *image, index_t *x, uint32_t h, uint32_t place) noexcept nogil:
    cdef uint64_t *slots = <uint64_t *> (<char *> image + x.slots_at)
    cdef uint32_t i = word_slot(h, x.mask)
    while slots[i] != 0:
        i = (i + 1) & x.mask
    lb_store_u64(&slots[i], <uint64_t> h << 32 | place)


cdef inline void put_length(index_t *x, size_t n) noexcept nogil:
    cdef size_t bit = n if n < 255 else 255
    if n > x.longest:
        lb_store_u32(&x.longest, <uint32_t> n)
    lb_store_u64(&x.lengths[bit >> 6], x.lengths[bit >> 6] | <uint64_t> 1 << (bit & 63))


cdef void index_word(image_t *image, index_t *x, const use_t *use, const record_t *r, uint32_t place) noexcept nogil:
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef const char *p
    cdef size_t n, i
    if use.method == MATCH_BIN:
        p = record_key(image, r)
        n = r.key_len // 2
        for i in range(n):
            h = word_step(h, <uint8_t> (hex_digit(p[2 * i]) << 4 | hex_digit(p[2 * i + 1])))
    else:
        word_of(image, r, use.method, &p, &n)
        if word_is_rolled(use.method):
            h = 0
            for i in range(n):
                h = word_roll(h, word_fold(<uint8_t> p[i], use.flags))
        elif use.method == MATCH_END:
            for i in range(n):
                h = word_step(h, word_fold(<uint8_t> p[n - 1 - i], use.flags))
        else:
            for i in range(n):
                h = word_step(h, word_fold(<uint8_t> p[i], use.flags))
    put_slot(image, x, h, place)
    put_length(x, n)


cdef void append_net(image_t *image, const record_t *r, uint32_t place) noexcept nogil:
    cdef const net_part_t *net = record_net(r)
    cdef uint32_t bit = net.bits + (0 if net.family == 4 else 64)
    put_slot(image, &image.nets, net_hash(net.address, net.family, net.bits), place)
    lb_store_u64(&image.nets.lengths[bit >> 6], image.nets.lengths[bit >> 6] | <uint64_t> 1 << (bit & 63))


cdef void append_number(image_t *image, uint32_t place) noexcept nogil:
    if image.last_number == 0:
        lb_store_u32(&image.first_number, place)
    else:
        lb_store_u32(&image_record(image, image.last_number).next, place)
    image.last_number = place


# Make a record findable, but for its state.
cdef void index_record(image_t *image, record_t *r, uint32_t place) noexcept nogil:
    cdef use_t exact
    cdef uint32_t i
    exact.method = MATCH_STR
    exact.flags = 0
    index_word(image, &image.keys, &exact, r, place)
    for i in range(image.nuses):
        if image.indexes[i].slots_at != 0:
            index_word(image, &image.indexes[i], &image.uses[i], r, place)
    if image.base == <uint32_t> BUILDING:
        return
    if image.flags & REFERENCE_NETS:
        append_net(image, r, place)
    if image.flags & REFERENCE_NUMBERS:
        append_number(image, place)
    if image.flags & (REFERENCE_NETS | REFERENCE_NUMBERS):
        lb_store_u32(&image.appended, image.appended + 1)


cdef uint32_t put_value(image_t *image, uint64_t at, const char *value, size_t n) noexcept nogil:
    cdef value_t *v = <value_t *> (<char *> image + at)
    v.len = <uint32_t> n
    memcpy(<char *> v + sizeof(value_t), value, n)
    return <uint32_t> (at >> 3)


cdef record_t *image_append(
    image_t *image, const char *key, size_t n, const char *value, size_t value_n, bint valued, uint32_t version,
    uint32_t serial
) noexcept nogil:
    cdef uint32_t *order = <uint32_t *> (<char *> image + image.order_at)
    cdef uint64_t at = image.heap_used
    cdef uint64_t here = record_bytes(image.flags, n, 0, False)
    cdef uint64_t need = record_bytes(image.flags, n, value_n, valued)
    cdef uint32_t place = <uint32_t> (at >> 3)
    cdef record_t *r
    if image.used == image.capacity or need > image.heap_end - at:
        return NULL
    image.heap_used = at + need
    LB_KILL_POINT("reference.taken")
    r = image_record(image, place)
    r.state = RECORD_WRITTEN
    r.version = version
    r.index = image.used
    r.serial = serial
    r.key_len = <uint32_t> n
    r.flags = RECORD_VALUED if valued else 0
    memcpy(<char *> record_key(image, r), key, n)
    if image.flags & REFERENCE_NETS:
        reference_read_net(key, n, <net_part_t *> record_net(r))
    if image.flags & REFERENCE_NUMBERS:
        reference_read_span(key, n, <span_t *> record_span(image, r))
    if valued:
        r.value = put_value(image, at + here, value, value_n)
    LB_KILL_POINT("reference.written")
    if version == image.version:
        index_record(image, r, place)
    LB_KILL_POINT("reference.indexed")
    order[r.index] = place
    lb_store_u32(&image.used, image.used + 1)
    lb_store_u32(&r.state, RECORD_LIVE)
    return r


# ---- segments ----


ctypedef struct cut_t:           # a network or range to be cut up
    uint64_t low                 # IPv4, numbers: all; IPv6: the upper half
    uint64_t low2
    uint64_t high
    uint64_t high2
    uint32_t place
    uint32_t index


cdef inline int compare64(uint64_t a, uint64_t b) noexcept nogil:
    return (a > b) - (a < b)


# By where they begin, larger ones first, then by their order.
cdef int compare_cuts(const void *a, const void *b) noexcept nogil:
    cdef const cut_t *x = <const cut_t *> a
    cdef const cut_t *y = <const cut_t *> b
    cdef int r = compare64(x.low, y.low)
    if r == 0:
        r = compare64(x.low2, y.low2)
    if r == 0:
        r = compare64(y.high, x.high)
    if r == 0:
        r = compare64(y.high2, x.high2)
    return r if r != 0 else compare64(x.index, y.index)


cdef void put_start(image_t *image, segments_t *s, uint64_t high, uint64_t low, uint32_t owner) noexcept nogil:
    cdef uint64_t *starts = <uint64_t *> (<char *> image + s.starts_at)
    cdef uint64_t *lows = <uint64_t *> (<char *> image + s.lows_at)
    cdef uint32_t *owners = <uint32_t *> (<char *> image + s.owners_at)
    if s.n and starts[s.n - 1] == high and (s.lows_at == 0 or lows[s.n - 1] == low):
        owners[s.n - 1] = owner               # nothing was between
        return
    if s.n and owners[s.n - 1] == owner:
        return
    starts[s.n] = high
    if s.lows_at:
        lows[s.n] = low
    owners[s.n] = owner
    s.n += 1


# Lay the upper levels over the starts. Room for all of them was left before.
cdef void raise_levels(image_t *image, uint64_t behind_, const segments_t *s) noexcept nogil:
    cdef const uint64_t *below
    cdef uint64_t *above
    cdef uint32_t level, i
    for level in range(1, s.levels):
        below = <const uint64_t *> (<const char *> image + s.levels_at[level - 1] + behind_)
        above = <uint64_t *> (<char *> image + s.levels_at[level] + behind_)
        for i in range(s.sizes[level]):
            above[i] = below[i * FANOUT]


cdef void open_segments(segments_t *s, uint64_t cuts, bint wide) noexcept nogil:
    cdef segments_t most
    cdef uint64_t bytes_
    most.starts_at = 0
    bytes_ = levels_of(&most, 2 * cuts + 1)
    s.lows_at = s.starts_at + bytes_ if wide else 0
    s.owners_at = s.starts_at + (2 * bytes_ if wide else bytes_)
    s.n = 0


cdef void close_segments(image_t *image, segments_t *s) noexcept nogil:
    levels_of(s, s.n)
    raise_levels(image, 0, s)
    if s.lows_at:
        raise_levels(image, s.lows_at - s.starts_at, s)


# Where the next one behind a cut begins; False: it ends with everything.
cdef inline bint behind(const cut_t *cut, bint wide, uint64_t *high, uint64_t *low) noexcept nogil:
    high[0] = cut.high
    low[0] = 0
    if wide:
        low[0] = cut.high2 + 1
        if low[0] != 0:
            return True
    high[0] += 1
    return high[0] != 0


cdef inline bint is_before(const cut_t *cut, uint64_t high, uint64_t low) noexcept nogil:
    return cut.high < high or (cut.high == high and cut.high2 < low)


# Networks lie in each other or apart: a stack of those that are open. Equal ones stand there once; a record names the next of
# its equals, and the last of these the network around it.
cdef int cut_nets(image_t *image, segments_t *s, cut_t *cuts, uint32_t n, bint wide) noexcept nogil:
    cdef uint32_t *open_                      # of cuts
    cdef uint32_t *last                       # of each: place of the last of its equals
    cdef uint32_t depth = 0, i
    cdef uint64_t high = 0, low = 0
    cdef record_t *r
    cdef record_t *tail
    if n == 0:
        return 0
    open_segments(s, n, wide)
    # No more can be open than there are lengths.
    open_ = <uint32_t *> malloc(2 * 130 * sizeof(uint32_t))
    if open_ == NULL:
        return -1
    last = open_ + 130
    qsort(cuts, n, sizeof(cut_t), compare_cuts)
    put_start(image, s, 0, 0, 0)
    for i in range(n):
        while depth and is_before(&cuts[open_[depth - 1]], cuts[i].low, cuts[i].low2):
            depth -= 1
            if behind(&cuts[open_[depth]], wide, &high, &low):
                put_start(image, s, high, low, cuts[open_[depth - 1]].place if depth else 0)
        r = image_record(image, cuts[i].place)
        if depth and record_net(image_record(image, cuts[open_[depth - 1]].place)).bits == record_net(r).bits:
            tail = image_record(image, last[depth - 1])
            r.next = tail.next
            tail.next = cuts[i].place
            last[depth - 1] = cuts[i].place
            continue
        r.next = cuts[open_[depth - 1]].place if depth else 0
        put_start(image, s, cuts[i].low, cuts[i].low2, cuts[i].place)
        open_[depth] = i
        last[depth] = cuts[i].place
        depth += 1
    while depth:
        depth -= 1
        if behind(&cuts[open_[depth]], wide, &high, &low):
            put_start(image, s, high, low, cuts[open_[depth - 1]].place if depth else 0)
    free(open_)
    close_segments(image, s)
    return 0


# A heap of open ranges, the first of the order on top.
cdef void heap_push(const cut_t *cuts, uint32_t *heap, uint32_t n, uint32_t cut) noexcept nogil:
    cdef uint32_t up
    while n:
        up = (n - 1) // 2
        if cuts[heap[up]].index <= cuts[cut].index:
            break
        heap[n] = heap[up]
        n = up
    heap[n] = cut


cdef void heap_pop(const cut_t *cuts, uint32_t *heap, uint32_t n) noexcept nogil:
    cdef uint32_t i = 0, down, cut = heap[n - 1]
    n -= 1
    while True:
        down = 2 * i + 1
        if down >= n:
            break
        if down + 1 < n and cuts[heap[down + 1]].index < cuts[heap[down]].index:
            down += 1
        if cuts[cut].index <= cuts[heap[down]].index:
            break
        heap[i] = heap[down]
        i = down
    heap[i] = cut


# Ranges overlap as they like: the first of the order that is open owns what follows.
cdef int cut_numbers(image_t *image, segments_t *s, cut_t *cuts, uint32_t n) noexcept nogil:
    cdef uint32_t *heap
    cdef uint32_t size = 0, i = 0, owner
    cdef uint64_t at
    if n == 0:
        return 0
    open_segments(s, n, False)
    heap = <uint32_t *> malloc(<size_t> n * sizeof(uint32_t))
    if heap == NULL:
        return -1
    qsort(cuts, n, sizeof(cut_t), compare_cuts)
    put_start(image, s, 0, 0, 0)
    while size or i < n:
        if size == 0 or (i < n and cuts[i].low <= cuts[heap[0]].high):
            at = cuts[i].low
        else:
            at = cuts[heap[0]].high + 1
            if at == 0:
                break
        while size and cuts[heap[0]].high < at:
            heap_pop(cuts, heap, size)
            size -= 1
        while i < n and cuts[i].low == at:
            heap_push(cuts, heap, size, i)
            size += 1
            i += 1
        owner = cuts[heap[0]].place if size else 0
        if size > 1:
            image_record(image, owner).flags |= RECORD_OVERLAID
        put_start(image, s, at, 0, owner)
    free(heap)
    close_segments(image, s)
    return 0


cdef void cut_net(cut_t *cut, const net_part_t *net) noexcept nogil:
    cdef uint32_t free_ = 128 - net.bits
    if net.family == 4:
        cut.low = big32(net.address)
        cut.high = cut.low + (<uint64_t> 1 << (32 - net.bits)) - 1
        return
    cut.low = cut.high = big64(net.address)
    cut.low2 = cut.high2 = big64(net.address + 8)
    if free_ >= 64:
        cut.high2 = ~<uint64_t> 0
        free_ -= 64
        cut.high |= ~<uint64_t> 0 if free_ == 64 else (<uint64_t> 1 << free_) - 1
    else:
        cut.high2 |= (<uint64_t> 1 << free_) - 1


cdef int image_settle(image_t *image) noexcept nogil:
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const record_t *r
    cdef cut_t *cuts
    cdef uint32_t i, n4 = 0, n6 = 0, at4 = 0, at6 = 0
    cdef int failed = 0
    image.base = image.used
    image.heap_base = image.heap_used
    if not image.flags & (REFERENCE_NETS | REFERENCE_NUMBERS) or image.used == 0:
        return 0
    for i in range(image.used):
        r = image_record(image, order[i])
        if r.version == image.version:
            if image.flags & REFERENCE_NETS and record_net(r).family == 6:
                n6 += 1
            else:
                n4 += 1
    cuts = <cut_t *> malloc((<size_t> n4 + n6 + 1) * sizeof(cut_t))
    if cuts == NULL:
        return -1
    memset(cuts, 0, (<size_t> n4 + n6 + 1) * sizeof(cut_t))
    at6 = n4
    for i in range(image.used):
        r = image_record(image, order[i])
        if r.version != image.version:
            continue
        if image.flags & REFERENCE_NETS and record_net(r).family == 6:
            cut_net(&cuts[at6], record_net(r))
            cuts[at6].place = order[i]
            cuts[at6].index = i
            at6 += 1
            continue
        if image.flags & REFERENCE_NETS:
            cut_net(&cuts[at4], record_net(r))
        else:
            cuts[at4].low = biased(record_span(image, r).low)
            cuts[at4].high = biased(record_span(image, r).high)
        cuts[at4].place = order[i]
        cuts[at4].index = i
        at4 += 1
    if image.flags & REFERENCE_NETS:
        failed = cut_nets(image, &image.nets4, cuts, n4, False)
        if failed == 0:
            failed = cut_nets(image, &image.nets6, cuts + n4, n6, True)
    else:
        failed = cut_numbers(image, &image.numbers, cuts, n4)
    free(cuts)
    return failed


# ---- changes ----


# Take the lock and return the image; NULL: the lock is lost. What a dead owner left is nothing that lookups see: a record
# that is not live, lost bytes, or a change half told.
cdef image_t *take(mapping_t *m, reference_t *ref) noexcept nogil:
    cdef int taken = lock_take(&ref.lock)
    cdef image_t *image
    cdef const uint32_t *order
    cdef uint32_t i
    if UNLIKELY(taken == LOCK_LOST):
        return NULL
    if UNLIKELY(lb_load_u64(&ref.image_at) == 0):
        lock_give(&ref.lock)
        return NULL
    image = reference_image(m, lb_load_u64(&ref.image_at))
    if UNLIKELY(taken == LOCK_BROKEN):
        order = <const uint32_t *> (<const char *> image + image.order_at)
        ref.entries = 0
        for i in range(image.used):
            ref.entries += lb_load_u32(&image_record(image, order[i]).state) == RECORD_LIVE
        image.torn = 1
        lock_repaired(&ref.lock)
    return image


cdef record_t *image_key(const image_t *image, const char *key, size_t n) noexcept nogil:
    cdef use_t exact
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t i
    exact.method = MATCH_STR
    exact.flags = 0
    for i in range(n):
        h = word_step(h, <uint8_t> key[i])
    return find_word(image, &image.keys, &exact, key, n, h)


# Write down that a record has changed, for a fold; False: there is no room, and so nothing may change.
cdef bint note(image_t *image, const record_t *r) noexcept nogil:
    cdef uint32_t *log = <uint32_t *> (<char *> image + image.log_at)
    if image.logged >= image.log_size:
        return False
    log[image.logged] = r.index
    image.logged += 1
    return True


cdef bint set_value(image_t *image, record_t *r, const char *value, size_t n) noexcept nogil:
    cdef uint64_t at = image.heap_used
    cdef uint64_t need = aligned(sizeof(value_t) + n + 1, 8)
    if need > image.heap_end - at or not note(image, r):
        return False
    image.heap_used = at + need
    lb_store_u32(&r.value, put_value(image, at, value, n))
    return True


cdef int full(mapping_t *m, reference_t *ref) noexcept nogil:
    ref.refused += 1
    mapping_alarm(m)
    return REFERENCE_FULL


# Whether the supervisor should hear that there is little room: once, at the half.
cdef inline void warn(mapping_t *m, const image_t *image, uint32_t used, uint32_t logged) noexcept nogil:
    cdef uint32_t half = (image.capacity - image.base) // 2
    if (used - image.base < half <= image.used - image.base) or (logged < half <= image.logged):
        mapping_alarm(m)


# All records of the present version with this key, from the last to the first: a lookup finds the first of them, so what it
# finds changes by one store.
cdef int change_all(image_t *image, const char *key, size_t n, const char *value, size_t value_n, bint removes,
                    uint64_t *gone) noexcept nogil:
    cdef const uint64_t *slots = <const uint64_t *> (<const char *> image + image.keys.slots_at)
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef uint32_t first, i
    cdef size_t k
    cdef record_t *r
    cdef int answer = REFERENCE_NONE
    for k in range(n):
        h = word_step(h, <uint8_t> key[k])
    first = i = word_slot(h, image.keys.mask)
    while slots[i] != 0:
        i = (i + 1) & image.keys.mask
    while i != first:
        i = (i - 1) & image.keys.mask
        if slots[i] >> 32 != h:
            continue
        r = image_record(image, <uint32_t> slots[i])
        if r.state != RECORD_LIVE or r.key_len != n or memcmp(record_key(image, r), key, n) != 0:
            continue
        if not removes:
            if not set_value(image, r, value, value_n):
                return REFERENCE_FULL
        else:
            if not note(image, r):
                return REFERENCE_FULL
            LB_KILL_POINT("reference.noted")
            lb_store_u32(&r.state, RECORD_GONE)
            image.gone += 1
            gone[0] += 1
        LB_KILL_POINT("reference.changed")
        answer = REFERENCE_DONE
    return answer


cdef int add_locked(
    mapping_t *m, reference_t *ref, image_t *image, const char *key, size_t n, const char *value, size_t value_n,
    bint valued, uint32_t version
) noexcept nogil:
    if image_append(image, key, n, value, value_n, valued, version, ref.serial + 1) == NULL:
        return full(m, ref)
    ref.serial += 1
    ref.entries += 1
    return REFERENCE_DONE


cdef int reference_set(
    mapping_t *m, reference_t *ref, const char *key, size_t n, const char *value, size_t value_n
) noexcept nogil:
    cdef int r = reference_judge(ref.flags, key, n, value, value_n)
    cdef image_t *image
    cdef uint32_t used, logged
    cdef uint64_t gone = 0
    if r != REFERENCE_DONE:
        return r
    image = take(m, ref)
    if image == NULL:
        return REFERENCE_LOST
    used = image.used
    logged = image.logged
    LB_KILL_POINT("reference.locked")
    if value == NULL:
        r = REFERENCE_DONE if image_key(image, key, n) != NULL else REFERENCE_NONE
    else:
        r = change_all(image, key, n, value, value_n, False, &gone)
        if r == REFERENCE_FULL:
            full(m, ref)
    if r == REFERENCE_NONE:
        if ref.entries >= ref.entries_max:
            ref.refused += 1
            r = REFERENCE_FULL
        else:
            r = add_locked(m, ref, image, key, n, value, value_n, value != NULL, image.version)
    if image.used != used or image.logged != logged:
        ref.changes += 1
        warn(m, image, used, logged)
    lock_give(&ref.lock)
    return r


cdef int reference_delete(mapping_t *m, reference_t *ref, const char *key, size_t n) noexcept nogil:
    cdef image_t *image
    cdef uint32_t logged
    cdef uint64_t gone = 0
    cdef int r
    image = take(m, ref)
    if image == NULL:
        return REFERENCE_LOST
    logged = image.logged
    LB_KILL_POINT("reference.locked")
    r = change_all(image, key, n, NULL, 0, True, &gone)
    ref.entries -= gone
    if r == REFERENCE_FULL:
        full(m, ref)
    if image.logged != logged:
        ref.changes += 1
        warn(m, image, image.used, logged)
    lock_give(&ref.lock)
    return r


cdef int reference_append(
    mapping_t *m, reference_t *ref, const char *key, size_t n, const char *value, size_t value_n, uint32_t version
) noexcept nogil:
    cdef int r = reference_judge(ref.flags, key, n, value, value_n)
    cdef image_t *image
    if r != REFERENCE_DONE:
        return r
    image = take(m, ref)
    if image == NULL:
        return REFERENCE_LOST
    if image_append(image, key, n, value, value_n, value != NULL, version, ref.serial + 1) == NULL:
        r = REFERENCE_FULL                    # the caller makes room
    else:
        ref.serial += 1
        ref.entries += 1
        ref.changes += 1
    lock_give(&ref.lock)
    return r


cdef int reference_set_record(
    mapping_t *m, reference_t *ref, uint32_t index, const char *value, size_t value_n
) noexcept nogil:
    cdef int r = reference_judge(ref.flags & ~<uint32_t> (REFERENCE_NETS | REFERENCE_NUMBERS | REFERENCE_DIGITS), b"", 0,
                                 value, value_n)
    cdef image_t *image
    if r != REFERENCE_DONE:
        return r
    image = take(m, ref)
    if image == NULL:
        return REFERENCE_LOST
    if not set_value(image, image_record(image, (<const uint32_t *> (<const char *> image + image.order_at))[index]),
                     value, value_n):
        r = REFERENCE_FULL
    else:
        ref.changes += 1
    lock_give(&ref.lock)
    return r


cdef int reference_delete_record(mapping_t *m, reference_t *ref, uint32_t index) noexcept nogil:
    cdef image_t *image = take(m, ref)
    cdef record_t *record
    cdef int r = REFERENCE_DONE
    if image == NULL:
        return REFERENCE_LOST
    record = image_record(image, (<const uint32_t *> (<const char *> image + image.order_at))[index])
    if not note(image, record):
        r = REFERENCE_FULL
    elif record.state == RECORD_LIVE:
        lb_store_u32(&record.state, RECORD_GONE)
        image.gone += 1
        ref.entries -= 1
        ref.changes += 1
    lock_give(&ref.lock)
    return r


# ---- folds ----


cdef void reference_measure(mapping_t *m, reference_t *ref, uint32_t version, bint keeps, uint64_t *records,
                            uint64_t *heap) noexcept nogil:
    cdef const image_t *image = reference_image(m, lb_load_u64(&ref.image_at))
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const record_t *r
    cdef uint32_t i, used = lb_load_u32(&image.used)
    records[0] = heap[0] = 0
    for i in range(used):
        r = image_record(image, order[i])
        if not is_kept(image, r, version, keeps):
            continue
        records[0] += 1
        heap[0] += record_bytes(image.flags, r.key_len, value_len(image, r), r.flags & RECORD_VALUED)


# Whether a fold to a version takes a record over: those of the version, unless they are to be cleared, and later ones.
cdef inline bint is_kept(const image_t *image, const record_t *r, uint32_t version, bint keeps) noexcept nogil:
    if lb_load_u32(&r.state) != RECORD_LIVE:
        return False
    if r.version == version:
        return keeps
    return <int32_t> (r.version - version) > 0


cdef inline size_t value_len(const image_t *image, const record_t *r) noexcept nogil:
    return image_value(image, lb_load_u32(&r.value)).len if r.flags & RECORD_VALUED else 0


cdef bint take_over(const image_t *image, const record_t *r, image_t *to) noexcept nogil:
    cdef const value_t *v = image_value(image, lb_load_u32(&r.value)) if r.flags & RECORD_VALUED else NULL
    return image_append(
        to, record_key(image, r), r.key_len, value_text(v) if v != NULL else NULL, v.len if v != NULL else 0,
        v != NULL, r.version, r.serial,
    ) != NULL


# Make again in the new image what has happened to a record since it was taken over; `twins` are the new indexes + 1.
cdef bint catch_up(const image_t *image, const record_t *r, image_t *to, const uint32_t *twins) noexcept nogil:
    cdef record_t *twin
    cdef const value_t *v
    if twins[r.index] == 0:
        return True
    twin = image_record(to, (<const uint32_t *> (<const char *> to + to.order_at))[twins[r.index] - 1])
    if lb_load_u32(&r.state) != RECORD_LIVE:
        if twin.state == RECORD_LIVE:
            twin.state = RECORD_GONE
            to.gone += 1
        return True
    if not r.flags & RECORD_VALUED:
        return True
    v = image_value(image, lb_load_u32(&r.value))
    if v.len == image_value(to, twin.value).len and memcmp(
        value_text(v), value_text(image_value(to, twin.value)), v.len
    ) == 0:
        return True
    return set_value(to, twin, value_text(v), v.len)


cdef int reference_fold(
    mapping_t *m, reference_t *ref, uint64_t at, uint32_t version, bint keeps, uint64_t capacity, uint64_t base,
    uint64_t heap
) noexcept nogil:
    cdef image_t *image = reference_image(m, lb_load_u64(&ref.image_at))
    cdef image_t *to = reference_image(m, at)
    cdef const uint32_t *order = <const uint32_t *> (<const char *> image + image.order_at)
    cdef const uint32_t *log = <const uint32_t *> (<const char *> image + image.log_at)
    cdef const record_t *r
    cdef uint32_t *twins
    cdef uint32_t i, used, logged
    cdef bint same = version == image.version and keeps
    cdef bint fits = True
    # What is changed from here on is written down behind this.
    if take(m, ref) == NULL:
        return REFERENCE_LOST
    logged = image.logged
    used = image.used
    image.torn = 0
    lock_give(&ref.lock)
    twins = <uint32_t *> malloc((<size_t> used + 1) * sizeof(uint32_t))
    if twins == NULL:
        return REFERENCE_FULL
    memset(twins, 0, (<size_t> used + 1) * sizeof(uint32_t))
    image_begin(to, ref, version, capacity, base, heap)
    for i in range(used):
        r = image_record(image, order[i])
        if not is_kept(image, r, version, keeps):
            continue
        if to.used == base or not take_over(image, r, to):
            fits = False
            break
        twins[i] = to.used
    if not fits or image_settle(to) != 0:
        free(twins)
        return REFERENCE_FULL
    image = take(m, ref)
    if image == NULL:
        free(twins)
        return REFERENCE_LOST
    LB_KILL_POINT("reference.folding")
    if same:
        if image.torn:
            for i in range(used):
                fits = fits and catch_up(image, image_record(image, order[i]), to, twins)
        else:
            for i in range(logged, image.logged):
                if log[i] < used:
                    fits = fits and catch_up(image, image_record(image, order[log[i]]), to, twins)
        for i in range(used, image.used):
            r = image_record(image, order[i])
            if fits and lb_load_u32(&r.state) == RECORD_LIVE:
                fits = take_over(image, r, to)
    if fits:
        ref.entries = to.used - to.gone
        lb_store_u64(&ref.image_at, at)
    lock_give(&ref.lock)
    free(twins)
    return REFERENCE_DONE if fits else REFERENCE_FULL
