from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr

from lb._speedups.policy.convert cimport (
    CONVERT_AES_GCM_DEC, CONVERT_AES_GCM_ENC, CONVERT_DIGEST, CONVERT_HMAC, CONVERT_JWT_VERIFY, CONVERT_MD5,
    CONVERT_SHA1, CONVERT_SHA2,
)
from lb._speedups.policy.convert_codec cimport codec_from_base64, codec_to_base64
from lb._speedups.policy.crypto cimport (
    CRYPTO_DIGEST_MAX, CRYPTO_ECDSA, CRYPTO_MD5, CRYPTO_RSA, CRYPTO_RSA_PSS, CRYPTO_SHA1, CRYPTO_SHA256, CRYPTO_SHA384,
    CRYPTO_SHA512, CRYPTO_SIGNATURE_MAX, crypto_equal, crypto_gcm, crypto_hash,
    crypto_hmac, crypto_verify,
)
from lb._speedups.policy.fetch cimport arg_at
from lb._speedups.policy.plan cimport plan_text
from lb._speedups.policy.program cimport ARG_INT, ARG_TEXT, ARG_VARIABLE, arg_t
from lb._speedups.policy.sample cimport (
    SAMPLE_BIN, SAMPLE_FOUND, SAMPLE_NONE, SAMPLE_STR, SAMPLE_TEXT_MAX, sample_cast, sample_int, sample_room, sample_text,
)
from lb._speedups.policy.variable_sample cimport variable_read, variable_write


cdef enum:                       # answers of jwt_verify: HAProxy's
    JWT_WRONG = 0
    JWT_RIGHT = 1
    JWT_UNKNOWN_ALGORITHM = -1
    JWT_INVALID_TOKEN = -3
    JWT_UNKNOWN_KEY = -5


cdef enum:
    TAG = 16                     # bytes of the tag that encrypting makes


# The bytes that argument k is: they stand there, or a variable holds their base64.
cdef int given(eval_t *c, const program_t *g, const op_t *op, uint32_t k, sample_t *out) noexcept nogil:
    cdef const arg_t *arg = arg_at(c, g, op, k, ARG_TEXT)
    out.flags = 0
    if arg != NULL:
        sample_text(out, plan_text(c.view.plan, arg.text), arg.text.len, 0)
        return SAMPLE_FOUND
    arg = arg_at(c, g, op, k, ARG_VARIABLE)
    if arg == NULL or variable_read(c, <uint64_t> arg.i, out) != SAMPLE_FOUND \
            or sample_cast(c, out, SAMPLE_STR) != SAMPLE_FOUND:
        return SAMPLE_NONE
    return codec_from_base64(c, out, False)


# aes_gcm_dec(bits,nonce,key,tag) and aes_gcm_enc(bits,nonce,key,variable): the tag that is made is kept in the variable, as base64.
cdef int gcm(eval_t *c, const program_t *g, const op_t *op, bint encrypt, sample_t *s) noexcept nogil:
    cdef const arg_t *size = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *name = arg_at(c, g, op, 3, ARG_VARIABLE)
    cdef sample_t nonce, key, tag
    cdef char made[TAG]
    cdef char *room
    if size == NULL or s.len > SAMPLE_TEXT_MAX or given(c, g, op, 1, &nonce) != SAMPLE_FOUND \
            or given(c, g, op, 2, &key) != SAMPLE_FOUND or key.len != size.i:
        return SAMPLE_NONE
    sample_text(&tag, made, TAG, 0)
    if (name == NULL if encrypt else given(c, g, op, 3, &tag) != SAMPLE_FOUND):
        return SAMPLE_NONE
    room = sample_room(c, s.len)
    if room == NULL or not crypto_gcm(c.crypto, encrypt, key.p, key.len, nonce.p, nonce.len, <char *> tag.p, tag.len, s.p,
                                      s.len, room):
        return SAMPLE_NONE
    if encrypt and (codec_to_base64(c, &tag, False) != SAMPLE_FOUND or variable_write(c, <uint64_t> name.i, 0, &tag) != 0):
        return SAMPLE_NONE
    sample_text(s, room, s.len, 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef int digest(eval_t *c, sample_t *s, unsigned int which, const char *key, size_t key_len) noexcept nogil:
    cdef char *room = sample_room(c, CRYPTO_DIGEST_MAX)
    cdef size_t n
    if room == NULL:
        return SAMPLE_NONE
    if key == NULL:
        n = crypto_hash(c.crypto, which, s.p, s.len, room)
    else:
        n = crypto_hmac(c.crypto, which, key, key_len, s.p, s.len, room)
    if n == 0:
        return SAMPLE_NONE
    c.used -= <uint32_t> (CRYPTO_DIGEST_MAX - n)
    sample_text(s, room, n, 0)
    s.type = SAMPLE_BIN
    return SAMPLE_FOUND


cdef inline unsigned int digest_of(unsigned int algorithm) noexcept nogil:
    # three digests each, in the order of their length
    cdef unsigned int which = (algorithm - JWT_HS256) % 3
    return CRYPTO_SHA256 if which == 0 else (CRYPTO_SHA384 if which == 1 else CRYPTO_SHA512)


cdef inline unsigned int type_of(unsigned int algorithm) noexcept nogil:
    if algorithm <= JWT_RS512:
        return CRYPTO_RSA
    return CRYPTO_ECDSA if algorithm <= JWT_ES512 else CRYPTO_RSA_PSS


# jwt_verify(algorithm,key): whether the token's signature is that of its other two parts (RFC 7515 5.2, compact). The algorithm
# is the configuration's, whatever the token says of itself.
cdef int verify(eval_t *c, const program_t *g, const op_t *op, const sample_t *s) noexcept nogil:
    cdef const arg_t *algorithm = arg_at(c, g, op, 0, ARG_INT)
    cdef const arg_t *key = arg_at(c, g, op, 1, ARG_TEXT)
    cdef char made[CRYPTO_DIGEST_MAX]
    cdef sample_t signature = s[0]
    cdef const char *dot
    cdef size_t signed_, n
    cdef int right
    if algorithm == NULL or key == NULL or not 0 <= algorithm.i < JWT_ALGORITHMS:
        return JWT_UNKNOWN_ALGORITHM
    dot = <const char *> memchr(s.p, c'.', s.len)
    if dot != NULL:
        dot = <const char *> memchr(dot + 1, c'.', s.len - <size_t> (dot + 1 - s.p))
    if dot == NULL:
        # An unsecured token may lack the dot before its signature.
        return JWT_RIGHT if algorithm.i == JWT_NONE and memchr(s.p, c'.', s.len) != NULL else JWT_INVALID_TOKEN
    signed_ = <size_t> (dot - s.p)
    signature.p = dot + 1
    signature.len = s.len - <uint32_t> signed_ - 1
    if memchr(signature.p, c'.', signature.len) != NULL:
        return JWT_INVALID_TOKEN
    if algorithm.i == JWT_NONE:
        return JWT_RIGHT if signature.len == 0 else JWT_WRONG
    if signature.len == 0 or signature.len > 2 * CRYPTO_SIGNATURE_MAX \
            or codec_from_base64(c, &signature, True) != SAMPLE_FOUND:
        return JWT_INVALID_TOKEN
    if algorithm.i <= JWT_HS512:
        n = crypto_hmac(c.crypto, digest_of(<unsigned int> algorithm.i), plan_text(c.view.plan, key.text), key.text.len, s.p,
                        signed_, made)
        return JWT_RIGHT if n != 0 and n == signature.len and crypto_equal(made, signature.p, n) else JWT_WRONG
    if signature.len % 2 and type_of(<unsigned int> algorithm.i) == CRYPTO_ECDSA:
        return JWT_INVALID_TOKEN              # two numbers are equally long
    if signature.len > CRYPTO_SIGNATURE_MAX:
        return JWT_WRONG
    right = crypto_verify(c.crypto, type_of(<unsigned int> algorithm.i), digest_of(<unsigned int> algorithm.i),
                          plan_text(c.view.plan, key.text), key.text.len, s.p, signed_, signature.p, signature.len)
    return right if right >= 0 else JWT_UNKNOWN_KEY


cdef int convert_digest(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil:
    cdef unsigned int code = op.code & 255
    cdef const arg_t *which
    cdef sample_t key
    if c.crypto == NULL:
        return SAMPLE_NONE
    if code == CONVERT_JWT_VERIFY:
        return sample_int(s, verify(c, g, op, s))
    if code == CONVERT_SHA1 or code == CONVERT_MD5:
        return digest(c, s, CRYPTO_SHA1 if code == CONVERT_SHA1 else CRYPTO_MD5, NULL, 0)
    which = arg_at(c, g, op, 0, ARG_INT)
    if code == CONVERT_SHA2 and which == NULL:
        return digest(c, s, CRYPTO_SHA256, NULL, 0)
    if which == NULL:
        return SAMPLE_NONE
    if code == CONVERT_SHA2 or code == CONVERT_DIGEST:
        return digest(c, s, <unsigned int> which.i, NULL, 0)
    if code == CONVERT_AES_GCM_DEC or code == CONVERT_AES_GCM_ENC:
        return gcm(c, g, op, code == CONVERT_AES_GCM_ENC, s)
    if code == CONVERT_HMAC and given(c, g, op, 1, &key) == SAMPLE_FOUND:
        return digest(c, s, <unsigned int> which.i, key.p, key.len)
    return SAMPLE_NONE
