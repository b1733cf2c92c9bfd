from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "policy/hash_tables.h" nogil:
    const uint32_t hash_crc32_table[256]
    const unsigned char hash_xxh3_secret[192]
    uint32_t hash_read32(const void *p)
    uint64_t hash_read64(const void *p)
    void hash_write64(void *p, uint64_t v)
    uint64_t hash_fold(uint64_t a, uint64_t b)
    uint32_t hash_swap32(uint32_t v)
    uint64_t hash_swap64(uint64_t v)


cdef uint32_t hash_sdbm(const char *p, size_t n) noexcept nogil:
    cdef uint32_t hash = 0
    cdef size_t i
    for i in range(n):
        hash = <uint8_t> p[i] + (hash << 6) + (hash << 16) - hash
    return hash


cdef uint32_t hash_djb2(const char *p, size_t n) noexcept nogil:
    cdef uint32_t hash = 5381
    cdef size_t i
    for i in range(n):
        hash = (hash << 5) + hash + <uint8_t> p[i]
    return hash


cdef inline uint32_t rotate32(uint32_t v, uint32_t by) noexcept nogil:
    return (v << (by & 31)) | (v >> (-by & 31))


cdef uint32_t hash_wt6(const char *p, size_t n) noexcept nogil:
    cdef uint32_t h0 = 0xa53c965a
    cdef uint32_t h1 = 0x5ca6953a
    cdef uint32_t step0 = 6
    cdef uint32_t step1 = 18
    cdef uint32_t t
    cdef size_t i
    for i in range(n):
        h0 = ~(h0 ^ <uint8_t> p[i])
        h1 = ~(h1 + <uint8_t> p[i])
        t = rotate32(h1, step0)
        h1 = rotate32(h0, step1)
        h0 = t
        t = ((h0 >> 16) ^ h1) & 0xffff
        step0 = t & 0x1f
        step1 = t >> 11
    return h0 ^ h1


cdef uint32_t hash_crc32(const char *p, size_t n) noexcept nogil:
    cdef uint32_t hash = 0xffffffff
    cdef size_t i
    for i in range(n):
        hash = (hash >> 8) ^ hash_crc32_table[(hash ^ <uint8_t> p[i]) & 0xff]
    return ~hash


# ---- XXH3: named after the steps of the specification ----


cdef enum:
    STRIPE = 64
    STRIPES = 16                 # of a block: (192 - 64) / 8
    BLOCK = 1024
    PRIME32_1 = 0x9e3779b1
    PRIME32_2 = 0x85ebca77
    PRIME32_3 = 0xc2b2ae3d
    PRIME32_4 = 0x27d4eb2f
    PRIME32_5 = 0x165667b1


cdef inline uint64_t prime(int number) noexcept nogil:
    if number == 1:
        return <uint64_t> 0x9e3779b185ebca87
    if number == 2:
        return <uint64_t> 0xc2b2ae3d27d4eb4f
    if number == 3:
        return <uint64_t> 0x165667b19e3779f9
    if number == 4:
        return <uint64_t> 0x85ebca77c2b2ae63
    return <uint64_t> 0x27d4eb2f165667c5


cdef inline uint64_t rotate64(uint64_t v, int by) noexcept nogil:
    return (v << by) | (v >> (64 - by))


cdef inline uint64_t avalanche(uint64_t h) noexcept nogil:
    h ^= h >> 37
    h *= <uint64_t> 0x165667919e3779f9
    return h ^ (h >> 32)


cdef inline uint64_t avalanche64(uint64_t h) noexcept nogil:
    h ^= h >> 33
    h *= prime(2)
    h ^= h >> 29
    h *= prime(3)
    return h ^ (h >> 32)


cdef inline uint64_t mix16(const char *p, const unsigned char *secret, uint64_t seed) noexcept nogil:
    return hash_fold(hash_read64(p) ^ (hash_read64(secret) + seed), hash_read64(p + 8) ^ (hash_read64(secret + 8) - seed))


cdef uint64_t upto16(const char *p, size_t n, uint64_t seed) noexcept nogil:
    cdef const unsigned char *secret = hash_xxh3_secret
    cdef uint64_t low, high, h
    if n > 8:
        low = hash_read64(p) ^ ((hash_read64(secret + 24) ^ hash_read64(secret + 32)) + seed)
        high = hash_read64(p + n - 8) ^ ((hash_read64(secret + 40) ^ hash_read64(secret + 48)) - seed)
        return avalanche(n + hash_swap64(low) + high + hash_fold(low, high))
    if n >= 4:
        seed ^= <uint64_t> hash_swap32(<uint32_t> seed) << 32
        h = hash_read32(p + n - 4) + (<uint64_t> hash_read32(p) << 32)
        h ^= (hash_read64(secret + 8) ^ hash_read64(secret + 16)) - seed
        h ^= rotate64(h, 49) ^ rotate64(h, 24)
        h *= <uint64_t> 0x9fb21c651e98df25
        h ^= (h >> 35) + n
        h *= <uint64_t> 0x9fb21c651e98df25
        return h ^ (h >> 28)
    if n > 0:
        h = <uint64_t> <uint8_t> p[0] << 16 | <uint64_t> <uint8_t> p[n >> 1] << 24 | <uint8_t> p[n - 1] | <uint64_t> n << 8
        return avalanche64(h ^ (<uint64_t> (hash_read32(secret) ^ hash_read32(secret + 4)) + seed))
    return avalanche64(seed ^ hash_read64(secret + 56) ^ hash_read64(secret + 64))


cdef uint64_t upto240(const char *p, size_t n, uint64_t seed) noexcept nogil:
    cdef const unsigned char *secret = hash_xxh3_secret
    cdef uint64_t acc = n * prime(1)
    cdef size_t i, rounds
    if n <= 128:
        rounds = (n - 1) // 32
        for i in range(rounds + 1):
            acc += mix16(p + 16 * i, secret + 32 * i, seed)
            acc += mix16(p + n - 16 * (i + 1), secret + 32 * i + 16, seed)
        return avalanche(acc)
    rounds = n // 16
    for i in range(8):
        acc += mix16(p + 16 * i, secret + 16 * i, seed)
    acc = avalanche(acc)
    for i in range(8, rounds):
        acc += mix16(p + 16 * i, secret + 16 * (i - 8) + 3, seed)
    acc += mix16(p + n - 16, secret + 136 - 17, seed)
    return avalanche(acc)


cdef inline void accumulate(uint64_t *acc, const char *p, const unsigned char *secret) noexcept nogil:
    cdef uint64_t value, key
    cdef int i
    for i in range(8):
        value = hash_read64(p + 8 * i)
        key = value ^ hash_read64(secret + 8 * i)
        acc[i ^ 1] += value
        acc[i] += <uint64_t> <uint32_t> key * (key >> 32)


cdef uint64_t long_input(const char *p, size_t n, const unsigned char *secret) noexcept nogil:
    cdef uint64_t acc[8]
    cdef uint64_t h
    cdef size_t block, blocks = (n - 1) // BLOCK
    cdef size_t stripes = (n - 1 - blocks * BLOCK) // STRIPE
    cdef size_t i
    acc[0] = <uint32_t> PRIME32_3
    for i in range(1, 5):
        acc[i] = prime(<int> i)
    acc[5] = <uint32_t> PRIME32_2
    acc[6] = prime(5)
    acc[7] = <uint32_t> PRIME32_1
    for block in range(blocks):
        for i in range(STRIPES):
            accumulate(acc, p + block * BLOCK + i * STRIPE, secret + 8 * i)
        for i in range(8):
            acc[i] = ((acc[i] ^ (acc[i] >> 47)) ^ hash_read64(secret + 192 - 64 + 8 * i)) * <uint32_t> PRIME32_1
    for i in range(stripes):
        accumulate(acc, p + blocks * BLOCK + i * STRIPE, secret + 8 * i)
    accumulate(acc, p + n - STRIPE, secret + 192 - 64 - 7)
    h = n * prime(1)
    for i in range(4):
        h += hash_fold(acc[2 * i] ^ hash_read64(secret + 11 + 16 * i), acc[2 * i + 1] ^ hash_read64(secret + 19 + 16 * i))
    return avalanche(h)


cdef uint64_t long_seeded(const char *p, size_t n, uint64_t seed) noexcept nogil:
    # a secret of its own: words of the default one plus and minus the seed
    cdef unsigned char secret[192]
    cdef int i
    for i in range(12):
        hash_write64(secret + 16 * i, hash_read64(hash_xxh3_secret + 16 * i) + seed)
        hash_write64(secret + 16 * i + 8, hash_read64(hash_xxh3_secret + 16 * i + 8) - seed)
    return long_input(p, n, secret)


cdef uint64_t hash_xxh3_seeded(const char *p, size_t n, uint64_t seed) noexcept nogil:
    if n <= 16:
        return upto16(p, n, seed)
    if n <= 240:
        return upto240(p, n, seed)
    return long_seeded(p, n, seed) if seed else long_input(p, n, hash_xxh3_secret)


# ---- XXH32 and XXH64 ----


cdef inline uint32_t round32(uint32_t acc, const char *p) noexcept nogil:
    return rotate32(acc + hash_read32(p) * <uint32_t> PRIME32_2, 13) * <uint32_t> PRIME32_1


cdef uint32_t hash_xxh32(const char *p, size_t n, uint32_t seed) noexcept nogil:
    cdef uint32_t a = seed + <uint32_t> PRIME32_1 + <uint32_t> PRIME32_2
    cdef uint32_t b = seed + <uint32_t> PRIME32_2
    cdef uint32_t c = seed
    cdef uint32_t d = seed - <uint32_t> PRIME32_1
    cdef uint32_t h = seed + <uint32_t> PRIME32_5
    cdef const char *end = p + n
    if n >= 16:
        while end - p >= 16:
            a = round32(a, p)
            b = round32(b, p + 4)
            c = round32(c, p + 8)
            d = round32(d, p + 12)
            p += 16
        h = rotate32(a, 1) + rotate32(b, 7) + rotate32(c, 12) + rotate32(d, 18)
    h += <uint32_t> n
    while end - p >= 4:
        h = rotate32(h + hash_read32(p) * <uint32_t> PRIME32_3, 17) * <uint32_t> PRIME32_4
        p += 4
    while p < end:
        h = rotate32(h + <uint8_t> p[0] * <uint32_t> PRIME32_5, 11) * <uint32_t> PRIME32_1
        p += 1
    h = (h ^ h >> 15) * <uint32_t> PRIME32_2
    h = (h ^ h >> 13) * <uint32_t> PRIME32_3
    return h ^ h >> 16


cdef inline uint64_t round64(uint64_t acc, uint64_t value) noexcept nogil:
    return rotate64(acc + value * prime(2), 31) * prime(1)


cdef uint64_t hash_xxh64(const char *p, size_t n, uint64_t seed) noexcept nogil:
    cdef uint64_t acc[4]
    cdef uint64_t h = seed + prime(5)
    cdef const char *end = p + n
    cdef int i
    if n >= 32:
        acc[0] = seed + prime(1) + prime(2)
        acc[1] = seed + prime(2)
        acc[2] = seed
        acc[3] = seed - prime(1)
        while end - p >= 32:
            for i in range(4):
                acc[i] = round64(acc[i], hash_read64(p + 8 * i))
            p += 32
        h = rotate64(acc[0], 1) + rotate64(acc[1], 7) + rotate64(acc[2], 12) + rotate64(acc[3], 18)
        for i in range(4):
            h = (h ^ round64(0, acc[i])) * prime(1) + prime(4)
    h += n
    while end - p >= 8:
        h = rotate64(h ^ round64(0, hash_read64(p)), 27) * prime(1) + prime(4)
        p += 8
    if end - p >= 4:
        h = rotate64(h ^ hash_read32(p) * prime(1), 23) * prime(2) + prime(3)
        p += 4
    while p < end:
        h = rotate64(h ^ <uint8_t> p[0] * prime(5), 11) * prime(1)
        p += 1
    return avalanche64(h)


cdef uint32_t hash_bytes(uint32_t function, const char *p, size_t n) noexcept nogil:
    if function == HASH_XXH3:
        return <uint32_t> hash_xxh3(p, n)
    if function == HASH_DJB2:
        return hash_djb2(p, n)
    if function == HASH_WT6:
        return hash_wt6(p, n)
    if function == HASH_CRC32:
        return hash_crc32(p, n)
    return hash_sdbm(p, n)
