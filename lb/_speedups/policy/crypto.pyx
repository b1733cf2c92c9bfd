from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset


cdef extern from "policy/crypto.h" nogil:
    enum:
        CR_RSA
        CR_EC
    void *cr_digest(const char *name)
    void cr_free_digest(void *digest)
    size_t cr_digest_size(const void *digest)
    size_t cr_digest_block(const void *digest)
    void *cr_new_context()
    void cr_free_context(void *context)
    bint cr_hash(void *context, const void *digest, const void *a, size_t an, const void *b, size_t bn, unsigned char *out)
    void *cr_key(const unsigned char *der, size_t n)
    void cr_free_key(void *key)
    int cr_key_type(const void *key)
    int cr_key_bits(const void *key)
    int cr_read_pem(const char *text, size_t n, unsigned char **out)
    void cr_free(void *p)
    bint cr_verify(void *context, const void *digest, void *key, int pss, const void *text, size_t n,
                   const unsigned char *signature, size_t size)
    bint cr_equal(const void *a, const void *b, size_t n)
    void *cr_cipher(const char *name)
    void cr_free_cipher(void *cipher)
    void *cr_new_ciphering()
    void cr_free_ciphering(void *context)
    bint cr_gcm(void *context, const void *cipher, int encrypt, const unsigned char *key, const unsigned char *nonce,
                size_t nonce_len, unsigned char *tag, size_t tag_len, const unsigned char *text, size_t n, unsigned char *out)
    const char *cr_version()


cdef enum:
    INTEGER_MAX = 66             # bytes of a number of the largest curve, P-521
    DER_SIGNATURE_MAX = 160


cdef const char *crypto_name(unsigned int digest) noexcept nogil:
    if digest == CRYPTO_MD5:
        return b"md5"
    if digest == CRYPTO_SHA1:
        return b"sha1"
    if digest == CRYPTO_SHA224:
        return b"sha224"
    if digest == CRYPTO_SHA256:
        return b"sha256"
    if digest == CRYPTO_SHA384:
        return b"sha384"
    if digest == CRYPTO_SHA512:
        return b"sha512"
    if digest == CRYPTO_SHA512_224:
        return b"sha512-224"
    if digest == CRYPTO_SHA512_256:
        return b"sha512-256"
    if digest == CRYPTO_SHA3_224:
        return b"sha3-224"
    if digest == CRYPTO_SHA3_256:
        return b"sha3-256"
    if digest == CRYPTO_SHA3_384:
        return b"sha3-384"
    if digest == CRYPTO_SHA3_512:
        return b"sha3-512"
    if digest == CRYPTO_BLAKE2B512:
        return b"blake2b512"
    if digest == CRYPTO_BLAKE2S256:
        return b"blake2s256"
    if digest == CRYPTO_RIPEMD160:
        return b"ripemd160"
    if digest == CRYPTO_SM3:
        return b"sm3"
    if digest == CRYPTO_MD5_SHA1:
        return b"md5-sha1"
    return NULL


# The algorithm, and a context to run it in; NULL: there is none.
cdef void *digest_of(crypto_t *c, unsigned int digest) noexcept nogil:
    cdef const char *name = crypto_name(digest)
    if name == NULL:
        return NULL
    if c.digesting == NULL:
        c.digesting = cr_new_context()
    if c.digests[digest] == NULL:
        c.digests[digest] = cr_digest(name)
        if c.digests[digest] != NULL and (cr_digest_size(c.digests[digest]) > CRYPTO_DIGEST_MAX
                                          or cr_digest_block(c.digests[digest]) > CRYPTO_BLOCK_MAX):
            cr_free_digest(c.digests[digest])
            c.digests[digest] = NULL
    return c.digests[digest] if c.digesting != NULL else NULL


cdef void crypto_free(crypto_t *c) noexcept nogil:
    cdef int i
    for i in range(CRYPTO_KEYS):
        cr_free_key(c.keys[i].key)
        free(c.keys[i].der)
    for i in range(CRYPTO_DIGESTS):
        cr_free_digest(c.digests[i])
    for i in range(3):
        cr_free_cipher(c.ciphers[i])
    cr_free_context(c.digesting)
    cr_free_ciphering(c.ciphering)
    memset(c, 0, sizeof(crypto_t))


cdef size_t crypto_hash(crypto_t *c, unsigned int digest, const char *p, size_t n, char *out) noexcept nogil:
    cdef void *algorithm = digest_of(c, digest)
    if algorithm == NULL or not cr_hash(c.digesting, algorithm, p, n, b"", 0, <unsigned char *> out):
        return 0
    return cr_digest_size(algorithm)


cdef size_t crypto_hmac(crypto_t *c, unsigned int digest, const char *key, size_t key_len, const char *p, size_t n,
                        char *out) noexcept nogil:
    cdef void *algorithm = digest_of(c, digest)
    cdef unsigned char pad[CRYPTO_BLOCK_MAX]
    cdef unsigned char inner[CRYPTO_DIGEST_MAX]
    cdef size_t block, size, i
    if algorithm == NULL:
        return 0
    block = cr_digest_block(algorithm)
    size = cr_digest_size(algorithm)
    memset(pad, 0, sizeof(pad))
    if key_len <= block:
        memcpy(pad, key, key_len)
    elif not cr_hash(c.digesting, algorithm, key, key_len, b"", 0, pad):
        return 0
    for i in range(block):
        pad[i] ^= 0x36
    if not cr_hash(c.digesting, algorithm, pad, block, p, n, inner):
        return 0
    for i in range(block):
        pad[i] ^= 0x36 ^ 0x5c
    return size if cr_hash(c.digesting, algorithm, pad, block, inner, size, <unsigned char *> out) else 0


# ---- signatures ----


# The key of these bytes, kept for the next time; the one that was not asked for the longest makes room.
cdef void *key_of(crypto_t *c, const char *der, size_t n) noexcept nogil:
    cdef crypto_key_t *oldest = &c.keys[0]
    cdef crypto_key_t *k
    cdef void *key
    cdef int i
    c.clock += 1
    for i in range(CRYPTO_KEYS):
        k = &c.keys[i]
        if k.der != NULL and k.len == n and memcmp(k.der, der, n) == 0:
            k.used = c.clock
            return k.key
        if k.used < oldest.used:
            oldest = k
    key = cr_key(<const unsigned char *> der, n)
    if key == NULL:
        return NULL
    cr_free_key(oldest.key)
    free(oldest.der)
    memset(oldest, 0, sizeof(crypto_key_t))
    oldest.der = <uint8_t *> malloc(n)
    if oldest.der == NULL:
        cr_free_key(key)
        return NULL
    memcpy(oldest.der, der, n)
    oldest.len = n
    oldest.key = key
    oldest.used = c.clock
    return key


# An INTEGER of DER from an unsigned number: without leading zeros, and with one where it would be negative.
cdef size_t put_integer(const unsigned char *p, size_t n, unsigned char *out) noexcept nogil:
    cdef size_t zero
    while n > 1 and p[0] == 0:
        p += 1
        n -= 1
    zero = 1 if p[0] & 0x80 else 0
    out[0] = 2
    out[1] = <unsigned char> (n + zero)
    out[2] = 0
    memcpy(out + 2 + zero, p, n)
    return 2 + zero + n


# Both numbers of an ECDSA signature as DER; 0: they cannot be those of a curve.
cdef size_t ecdsa_der(const char *signature, size_t size, unsigned char *out) noexcept nogil:
    cdef unsigned char body[DER_SIGNATURE_MAX]
    cdef size_t half = size // 2, n
    if size % 2 or half == 0 or half > INTEGER_MAX:
        return 0
    n = put_integer(<const unsigned char *> signature, half, body)
    n += put_integer(<const unsigned char *> signature + half, half, body + n)
    out[0] = 0x30
    if n < 128:
        out[1] = <unsigned char> n
        memcpy(out + 2, body, n)
        return n + 2
    out[1] = 0x81
    out[2] = <unsigned char> n
    memcpy(out + 3, body, n)
    return n + 3


cdef int crypto_verify(crypto_t *c, unsigned int type, unsigned int digest, const char *der, size_t der_len, const char *p,
                       size_t n, const char *signature, size_t size) noexcept nogil:
    cdef void *algorithm = digest_of(c, digest)
    cdef void *key
    cdef unsigned char made[DER_SIGNATURE_MAX + 3]
    cdef const unsigned char *given = <const unsigned char *> signature
    if algorithm == NULL:
        return -1
    key = key_of(c, der, der_len)
    if key == NULL or cr_key_type(key) != (CR_EC if type == CRYPTO_ECDSA else CR_RSA):
        return -1
    if type == CRYPTO_ECDSA:
        size = ecdsa_der(signature, size, made)
        given = made
    if size == 0:
        return 0
    return cr_verify(c.digesting, algorithm, key, type == CRYPTO_RSA_PSS, p, n, given, size)


cdef bint crypto_equal(const char *a, const char *b, size_t n) noexcept nogil:
    return cr_equal(a, b, n)


# ---- AES-GCM ----


cdef bint crypto_gcm(crypto_t *c, bint encrypt, const char *key, size_t key_len, const char *nonce, size_t nonce_len, char *tag,
                     size_t tag_len, const char *p, size_t n, char *out) noexcept nogil:
    cdef size_t which = (key_len - 16) // 8
    if (key_len != 16 and key_len != 24 and key_len != 32) or nonce_len == 0 or nonce_len > 16 or tag_len == 0 or tag_len > 16:
        return False
    if c.ciphering == NULL:
        c.ciphering = cr_new_ciphering()
    if c.ciphers[which] == NULL:
        c.ciphers[which] = cr_cipher(b"AES-128-GCM" if which == 0 else (b"AES-192-GCM" if which == 1 else b"AES-256-GCM"))
    if c.ciphering == NULL or c.ciphers[which] == NULL:
        return False
    return cr_gcm(c.ciphering, c.ciphers[which], encrypt, <const unsigned char *> key, <const unsigned char *> nonce, nonce_len,
                  <unsigned char *> tag, tag_len, <const unsigned char *> p, n, <unsigned char *> out)


# ---- for the control plane ----


cdef const char *crypto_version() noexcept nogil:
    return cr_version()


cdef bint crypto_knows(unsigned int digest) noexcept nogil:
    cdef const char *name = crypto_name(digest)
    cdef void *made = cr_digest(name) if name != NULL else NULL
    cr_free_digest(made)
    return made != NULL


cdef ssize_t crypto_read_pem(const char *text, size_t n, char *out, size_t cap, int *type, int *bits) noexcept nogil:
    cdef unsigned char *der
    cdef int made = cr_read_pem(text, n, &der)
    cdef void *key
    type[0] = 0
    bits[0] = 0
    if made <= 0:
        return 0
    if <size_t> made <= cap:
        memcpy(out, der, <size_t> made)
        key = cr_key(der, <size_t> made)
        if key != NULL:
            type[0] = CRYPTO_RSA if cr_key_type(key) == CR_RSA else (CRYPTO_ECDSA if cr_key_type(key) == CR_EC else 0)
            bits[0] = cr_key_bits(key)
            cr_free_key(key)
    cr_free(der)
    return made if <size_t> made <= cap else -1
