# Converters: samples into samples. A family of them is a module. The input has been cast to op_t.cast; what a converter makes
# stands in the scratch, or is a slice of its input.
from lb._speedups.policy.program cimport op_t, program_t
from lb._speedups.policy.sample cimport eval_t, sample_t

# Numbers of the low byte of op_t.code, family by family. Names follow lb/language/catalog.py.
cdef enum:                       # CONVERTERS_TEXT
    CONVERT_LOWER = 1
    CONVERT_UPPER
    CONVERT_LENGTH
    CONVERT_BYTES
    CONVERT_FIELD
    CONVERT_WORD
    CONVERT_LTRIM
    CONVERT_RTRIM
    CONVERT_REVERSE
    CONVERT_IIF
    CONVERT_URL_DEC
    CONVERT_CUT_CRLF
    CONVERT_PARAM
    CONVERT_LANGUAGE
    CONVERTERS_TEXT_END

cdef enum:                       # CONVERTERS_NUMBER
    CONVERT_ADD = 1
    CONVERT_SUB
    CONVERT_MUL
    CONVERT_DIV
    CONVERT_MOD
    CONVERT_NEG
    CONVERT_AND
    CONVERT_OR
    CONVERT_XOR
    CONVERT_CPL
    CONVERT_NOT
    CONVERT_BOOL
    CONVERT_ODD
    CONVERT_EVEN
    CONVERTERS_NUMBER_END

cdef enum:                       # CONVERTERS_CODEC
    CONVERT_HEX = 1
    CONVERT_HEX2I
    CONVERT_BASE64
    CONVERT_B64DEC
    CONVERT_UB64ENC
    CONVERT_UB64DEC
    CONVERT_BE2DEC
    CONVERT_BE2HEX
    CONVERT_HTONL
    CONVERT_URL_ENC
    CONVERT_BASE2
    CONVERT_LE2DEC
    CONVERTERS_CODEC_END

cdef enum:                       # CONVERTERS_HASH
    CONVERT_CRC32 = 1
    CONVERT_CRC32C
    CONVERT_DJB2
    CONVERT_SDBM
    CONVERT_WT6
    CONVERT_XXH3
    CONVERT_XXH32
    CONVERT_XXH64
    CONVERTERS_HASH_END

cdef enum:                       # CONVERTERS_NET
    CONVERT_IPMASK = 1
    CONVERT_HOST_ONLY
    CONVERT_PORT_ONLY
    CONVERTERS_NET_END

cdef enum:                       # CONVERTERS_TIME
    CONVERT_HTTP_DATE = 1
    CONVERT_LTIME
    CONVERT_UTIME
    CONVERT_MS_LTIME
    CONVERT_MS_UTIME
    CONVERT_US_LTIME
    CONVERT_US_UTIME
    CONVERTERS_TIME_END

cdef enum:                       # CONVERTERS_DIGEST
    CONVERT_SHA1 = 1
    CONVERT_SHA2
    CONVERT_MD5
    CONVERT_DIGEST
    CONVERT_HMAC
    CONVERT_JWT_VERIFY
    CONVERT_AES_GCM_DEC
    CONVERT_AES_GCM_ENC
    CONVERTERS_DIGEST_END

cdef enum:                       # CONVERTERS_JSON
    CONVERT_JSON = 1
    CONVERT_JSON_QUERY
    CONVERT_JWT_HEADER_QUERY
    CONVERT_JWT_PAYLOAD_QUERY
    CONVERT_RFC7239_IS_VALID
    CONVERT_RFC7239_FIELD
    CONVERT_RFC7239_N2NN
    CONVERT_RFC7239_N2NP
    CONVERTERS_JSON_END

cdef enum:                       # CONVERTERS_REGEX
    CONVERT_REGSUB = 1
    CONVERTERS_REGEX_END

# Convert `s` in place. SAMPLE_*.
cdef int convert_run(eval_t *c, const program_t *g, const op_t *op, sample_t *s) noexcept nogil
