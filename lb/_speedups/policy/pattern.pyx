from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from lb._speedups.policy.plan cimport plan_array_fits, plan_text_fits
from lb._speedups.policy.program cimport (
    MATCH_BEG, MATCH_BIN, MATCH_BOOL, MATCH_DOM, MATCH_END, MATCH_FOUND, MATCH_INT, MATCH_IP, MATCH_LEN,
    MATCH_METHODS, MATCH_REG, MATCH_STR, MATCH_SUB, SET_IGNORE_CASE, WORD_BASE, WORD_ROLLED, WORD_SEED, WORD_SLOTS_FEW, net_t,
    range_t, set_has_length, set_has_start, word_fold, word_roll, word_slot, word_step, word_t,
)
from lb._speedups.policy.reference cimport image_t, reference_find, reference_fits
from lb._speedups.policy.regex cimport REGEX_LIMIT, REGEX_YES
from lb._speedups.policy.regexes cimport regexes_match
from lb._speedups.policy.sample cimport SAMPLE_FOUND, SAMPLE_IPV4, SAMPLE_IPV6, SAMPLE_TYPES, sample_cast


cdef inline const char *at(const eval_t *c, uint32_t offset) noexcept nogil:
    return <const char *> c.view.plan + offset


# ---- words ----


# Whether n bytes are this word of the set.
cdef inline bint same(const set_t *set_, const char *word, const char *p, size_t n) noexcept nogil:
    cdef size_t k
    if not set_.flags & SET_IGNORE_CASE:
        return memcmp(word, p, n) == 0
    for k in range(n):
        if <uint8_t> word[k] != word_fold(<uint8_t> p[k], SET_IGNORE_CASE):
            return False
    return True


# Whether these n bytes are a word of the set; `back` reads them from the last one on.
cdef inline bint is_word(const eval_t *c, const set_t *set_, const char *p, size_t n, uint32_t hash_) noexcept nogil:
    cdef const word_t *words = <const word_t *> at(c, set_.words_at)
    cdef uint32_t mask = set_.size - 1
    cdef uint32_t i = word_slot(hash_, mask)
    while words[i].text.len != 0:
        if words[i].hash == hash_ and words[i].text.len == n and same(set_, at(c, words[i].text.at), p, n):
            return True
        i = (i + 1) & mask
    return False


cdef bint match_whole(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t i
    if n == 0:
        return set_.empty
    if set_.size == 0 or n > set_.longest or not set_has_length(set_, n):
        return False
    for i in range(n):
        h = word_step(h, word_fold(<uint8_t> p[i], set_.flags))
    return is_word(c, set_, p, n, h)


cdef inline bint is_delimiter(uint8_t method, char c) noexcept nogil:
    return c == c'/' or c == c'?' or (method == MATCH_DOM and (c == c'.' or c == c':'))


# Whether a word of the set begins the value.
cdef bint match_prefix(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t i = 0
    while i < n and i < set_.longest:
        h = word_step(h, word_fold(<uint8_t> p[i], set_.flags))
        i += 1
        if set_has_length(set_, i) and is_word(c, set_, p, i, h):
            return True
    return False


# The same from the end. Words of such a set are hashed from their last byte on.
cdef bint match_suffix(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef uint32_t h = <uint32_t> WORD_SEED
    cdef size_t i = 0
    while i < n and i < set_.longest:
        h = word_step(h, word_fold(<uint8_t> p[n - 1 - i], set_.flags))
        i += 1
        if set_has_length(set_, i) and is_word(c, set_, p + n - i, i, h):
            return True
    return False


# Whether n bytes at p[i] of p[0:end] stand between delimiters or ends.
cdef inline bint is_piece(uint8_t method, const char *p, size_t end, size_t i, size_t n) noexcept nogil:
    return (i == 0 or is_delimiter(method, p[i - 1])) and (i + n == end or is_delimiter(method, p[i + n]))


# Whether a word of `len` bytes stands somewhere in the value.
cdef bint match_length(const eval_t *c, const set_t *set_, const char *p, size_t n, size_t len) noexcept nogil:
    cdef bint bounded = set_.method != MATCH_SUB
    cdef uint32_t h = 0
    cdef uint32_t top = 1                     # what the first byte of the window counts for
    cdef size_t i
    for i in range(len):
        h = word_roll(h, word_fold(<uint8_t> p[i], set_.flags))
        if i:
            top *= <uint32_t> WORD_BASE
    i = 0
    while True:
        if (not bounded or is_piece(set_.method, p, n, i, len)) and is_word(c, set_, p + i, len, h):
            return True
        if i + len >= n:
            return False
        h = word_roll(h - word_fold(<uint8_t> p[i], set_.flags) * top, word_fold(<uint8_t> p[i + len], set_.flags))
        i += 1


# Whether a word of a small set stands at p[i] of p[0:end]. What was compared is taken from the budget.
cdef bint stands_at(const eval_t *c, const set_t *set_, const char *p, size_t end, size_t i, int64_t *budget) noexcept nogil:
    cdef const word_t *words = <const word_t *> at(c, set_.words_at)
    cdef bint bounded = set_.method != MATCH_SUB
    cdef uint32_t k
    cdef size_t n
    for k in range(set_.size):
        n = words[k].text.len
        if n == 0 or n > end - i:
            continue
        if same(set_, at(c, words[k].text.at), p + i, n) and (not bounded or is_piece(set_.method, p, end, i, n)):
            return True
        budget[0] -= n
    return False


# Small sets: only where two bytes look like the beginning of a word is there more to do. A text made to look so everywhere
# exhausts the budget; -1 says so.
cdef int match_few(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef int64_t budget = <int64_t> (16 * n)
    cdef size_t i
    for i in range(n - 1):
        if set_has_start(set_, p + i):
            if stands_at(c, set_, p, n, i, &budget):
                return True
            if budget < 0:
                return -1
    return stands_at(c, set_, p, n, n - 1, &budget)


cdef bint match_inside(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef size_t len
    cdef int found
    if n != 0 and set_.size <= WORD_SLOTS_FEW:
        found = match_few(c, set_, p, n)
        if found >= 0:
            return found
    for len in range(1, WORD_ROLLED + 1):
        if len > n or len > set_.longest:
            return False
        if set_has_length(set_, len) and match_length(c, set_, p, n, len):
            return True
    return False


cdef bint match_words(const eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    if set_.method == MATCH_STR or set_.method == MATCH_BIN:
        return match_whole(c, set_, p, n)
    if set_.empty:                            # the empty word begins, ends and is in everything
        return True
    if set_.size == 0:
        return False
    if set_.method == MATCH_BEG:
        return match_prefix(c, set_, p, n)
    if set_.method == MATCH_END:
        return match_suffix(c, set_, p, n)
    return match_inside(c, set_, p, n)


# ---- numbers and addresses ----


cdef bint match_number(const eval_t *c, const set_t *set_, int64_t n) noexcept nogil:
    cdef const range_t *ranges = <const range_t *> at(c, set_.ranges_at)
    cdef uint32_t low = 0, high = set_.ranges, middle
    while low < high:
        middle = (low + high) // 2
        if ranges[middle].high < n:
            low = middle + 1
        elif ranges[middle].low > n:
            high = middle
        else:
            return True
    return False


cdef bint match_net(const eval_t *c, uint32_t offset, uint32_t count, const uint8_t *address, size_t n) noexcept nogil:
    cdef const net_t *nets = <const net_t *> at(c, offset)
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = (low + high) // 2
        if memcmp(nets[middle].high, address, n) < 0:
            low = middle + 1
        elif memcmp(nets[middle].low, address, n) > 0:
            high = middle
        else:
            return True
    return False


cdef bint is_zero(const uint8_t *p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if p[i] != 0:
            return False
    return True


# An address matches networks of its own kind, and of the other one where it can be written as one (HAProxy's pat_match_ip).
cdef bint match_address(eval_t *c, const set_t *set_, sample_t *s) noexcept nogil:
    cdef sample_t other
    if s.type == SAMPLE_IPV4:
        if match_net(c, set_.nets4_at, set_.nets4, s.address, 4):
            return True
        if set_.nets6 == 0:
            return False
        memcpy(&other, s, sizeof(sample_t))
        return sample_cast(c, &other, SAMPLE_IPV6) == SAMPLE_FOUND \
            and match_net(c, set_.nets6_at, set_.nets6, other.address, 16)
    if s.type != SAMPLE_IPV6:
        return False
    if match_net(c, set_.nets6_at, set_.nets6, s.address, 16):
        return True
    if set_.nets4 == 0:
        return False
    memcpy(&other, s, sizeof(sample_t))
    if is_zero(s.address, 12):                # the old IPv4-compatible form, which only patterns know
        return match_net(c, set_.nets4_at, set_.nets4, s.address + 12, 4)
    return sample_cast(c, &other, SAMPLE_IPV4) == SAMPLE_FOUND \
        and match_net(c, set_.nets4_at, set_.nets4, other.address, 4)


# ---- regular expressions ----


cdef bint match_regexes(eval_t *c, const set_t *set_, const char *p, size_t n) noexcept nogil:
    cdef uint32_t i
    cdef int r
    for i in range(set_.nregexes):
        r = regexes_match(c, set_.regexes + i, p, n, False, NULL)
        if r == REGEX_YES:
            return True
        if r == REGEX_LIMIT:
            return False
    return False


cdef bint set_match(eval_t *c, const set_t *set_, sample_t *s) noexcept nogil:
    cdef const image_t *image
    if set_.method == MATCH_FOUND:
        return True
    if set_.reference != 0:
        return reference_find(c, c.view.mapping, set_.reference, s, True, &image) != NULL
    if sample_cast(c, s, set_.cast) != SAMPLE_FOUND:
        return False
    if set_.method == MATCH_BOOL:
        return s.i != 0
    if set_.method == MATCH_INT:
        return match_number(c, set_, s.i)
    if set_.method == MATCH_LEN:
        return match_number(c, set_, s.len)
    if set_.method == MATCH_IP:
        return match_address(c, set_, s)
    if set_.method == MATCH_REG:
        return match_regexes(c, set_, s.p, s.len)
    return match_words(c, set_, s.p, s.len)


# ---- the image ----


cdef int check_words(const plan_t *p, const set_t *set_) noexcept nogil:
    cdef const word_t *words
    cdef uint32_t i, used = 0
    if set_.size == 0:
        return 0
    if set_.size & (set_.size - 1) or not plan_array_fits(p, set_.words_at, set_.size, sizeof(word_t)):
        return -1
    words = <const word_t *> (<const char *> p + set_.words_at)
    for i in range(set_.size):
        if words[i].text.len == 0:
            continue
        used += 1
        if not plan_text_fits(p, words[i].text):
            return -1
    # A lookup ends at an empty slot, so there must be one.
    return 0 if used < set_.size else -1


cdef int set_check(const plan_t *p, const set_t *set_) noexcept nogil:
    if not MATCH_FOUND <= set_.method < MATCH_METHODS or set_.cast >= SAMPLE_TYPES or check_words(p, set_) != 0:
        return -1
    if set_.reference and not reference_fits(set_.reference):
        return -1
    if set_.ranges and not plan_array_fits(p, set_.ranges_at, set_.ranges, sizeof(range_t)):
        return -1
    if set_.nets4 and not plan_array_fits(p, set_.nets4_at, set_.nets4, sizeof(net_t)):
        return -1
    if set_.nets6 and not plan_array_fits(p, set_.nets6_at, set_.nets6, sizeof(net_t)):
        return -1
    return 0
