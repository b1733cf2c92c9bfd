# Digests, message authentication, signatures and AES-GCM: libcrypto's, behind one door. Where lb is built without it everything
# here says no, and a configuration that needs it is refused (face/crypto.pyx).
#
# What a worker needs for it is in its crypto_t: contexts and algorithms, made when they are first asked for and used again, so that
# a digest takes no memory; and public keys, which are read from the plan's DER when a signature is first verified with them.
# These are known by their bytes: a reload keeps them.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

cdef enum crypto_digest_id:      # names: crypto_name
    CRYPTO_MD5 = 1
    CRYPTO_SHA1
    CRYPTO_SHA224
    CRYPTO_SHA256
    CRYPTO_SHA384
    CRYPTO_SHA512
    CRYPTO_SHA512_224
    CRYPTO_SHA512_256
    CRYPTO_SHA3_224
    CRYPTO_SHA3_256
    CRYPTO_SHA3_384
    CRYPTO_SHA3_512
    CRYPTO_BLAKE2B512
    CRYPTO_BLAKE2S256
    CRYPTO_RIPEMD160
    CRYPTO_SM3
    CRYPTO_MD5_SHA1
    CRYPTO_DIGESTS

cdef enum crypto_key_type:
    CRYPTO_RSA = 1
    CRYPTO_RSA_PSS               # the same keys
    CRYPTO_ECDSA

cdef enum:
    CRYPTO_DIGEST_MAX = 64       # bytes of the longest digest
    CRYPTO_BLOCK_MAX = 144       # and of the longest block that one works on
    CRYPTO_KEYS = 64             # public keys that a worker keeps
    CRYPTO_SIGNATURE_MAX = 1024  # bytes of a signature: RSA with 8192 bits

ctypedef struct crypto_key_t:
    uint8_t *der                 # its bytes, NULL = none
    size_t len
    void *key
    uint64_t used                # crypto_t.clock when it was asked for last

ctypedef struct crypto_t:        # all zero at the beginning
    void *digesting
    void *ciphering
    void *digests[CRYPTO_DIGESTS]
    void *ciphers[3]             # AES with 128, 192, 256 bits
    uint64_t clock
    crypto_key_t keys[CRYPTO_KEYS]

cdef void crypto_free(crypto_t *c) noexcept nogil

# The name of a digest; NULL for another number.
cdef const char *crypto_name(unsigned int digest) noexcept nogil

# A digest, its bytes at `out` (room for CRYPTO_DIGEST_MAX). 0: there is no such.
cdef size_t crypto_hash(crypto_t *c, unsigned int digest, const char *p, size_t n, char *out) noexcept nogil

# The same keyed: HMAC (RFC 2104).
cdef size_t crypto_hmac(crypto_t *c, unsigned int digest, const char *key, size_t key_len, const char *p, size_t n,
                        char *out) noexcept nogil

# Whether `signature` is that of p[0:n] under a public key (DER, SubjectPublicKeyInfo). Of ECDSA it is both numbers, equally long
# (RFC 7518 3.4). 1, 0, or -1: the key cannot be read.
cdef int crypto_verify(crypto_t *c, unsigned int type, unsigned int digest, const char *der, size_t der_len, const char *p,
                       size_t n, const char *signature, size_t size) noexcept nogil

# Whether n bytes are equal, in a time that does not tell where they differ.
cdef bint crypto_equal(const char *a, const char *b, size_t n) noexcept nogil

# AES-GCM with a key of 16, 24 or 32 bytes: n bytes of `p` to `out`. Encrypting writes the tag, decrypting compares it. False:
# something does not fit, or the tag is another.
cdef bint crypto_gcm(crypto_t *c, bint encrypt, const char *key, size_t key_len, const char *nonce, size_t nonce_len, char *tag,
                     size_t tag_len, const char *p, size_t n, char *out) noexcept nogil

# For the control plane.
cdef const char *crypto_version() noexcept nogil
cdef bint crypto_knows(unsigned int digest) noexcept nogil

# The public key of a PEM text (a key or a certificate) as DER in `out` (room for `cap`), its type (CRYPTO_RSA, CRYPTO_ECDSA, 0 =
# another) and bits. Bytes; 0 = there is none, -1 = it is longer.
cdef ssize_t crypto_read_pem(const char *text, size_t n, char *out, size_t cap, int *type, int *bits) noexcept nogil
