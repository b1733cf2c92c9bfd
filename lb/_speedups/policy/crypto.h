/*
 * crypto.h - libcrypto (OpenSSL 3) as policy/crypto.pyx sees it, or nothing where lb is built without it (LB_CRYPTO, setup.py).
 *
 * Without libcrypto no digest can be found and no key read, so nothing is ever computed; the bodies only make the same module
 * link.
 */
#ifndef LB_CRYPTO_H
#define LB_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#ifndef LB_CRYPTO
#define LB_CRYPTO 0
#endif

enum { CR_RSA = 1, CR_EC };

#if LB_CRYPTO

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static inline void *cr_digest(const char *name)
{
    void *made = EVP_MD_fetch(NULL, name, NULL);
    ERR_clear_error();
    return made;
}

static inline void cr_free_digest(void *digest)
{
    EVP_MD_free((EVP_MD *)digest);
}

static inline size_t cr_digest_size(const void *digest)
{
    return (size_t)EVP_MD_get_size((const EVP_MD *)digest);
}

static inline size_t cr_digest_block(const void *digest)
{
    return (size_t)EVP_MD_get_block_size((const EVP_MD *)digest);
}

static inline void *cr_new_context(void)
{
    return EVP_MD_CTX_new();
}

static inline void cr_free_context(void *context)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)context);
}

/* A digest of two pieces. What the context had of the same digest is used again: no memory is taken. */
static inline int cr_hash(void *context, const void *digest, const void *a, size_t an, const void *b, size_t bn, unsigned char *out)
{
    EVP_MD_CTX *c = (EVP_MD_CTX *)context;
    return EVP_DigestInit_ex2(c, (const EVP_MD *)digest, NULL) == 1 && EVP_DigestUpdate(c, a, an) == 1 &&
           EVP_DigestUpdate(c, b, bn) == 1 && EVP_DigestFinal_ex(c, out, NULL) == 1;
}

static inline void *cr_key(const unsigned char *der, size_t n)
{
    void *made = d2i_PUBKEY(NULL, &der, (long)n);
    ERR_clear_error();
    return made;
}

static inline void cr_free_key(void *key)
{
    EVP_PKEY_free((EVP_PKEY *)key);
}

static inline int cr_key_type(const void *key)
{
    int id = EVP_PKEY_get_base_id((const EVP_PKEY *)key);
    return id == EVP_PKEY_RSA ? CR_RSA : id == EVP_PKEY_EC ? CR_EC : 0;
}

static inline int cr_key_bits(const void *key)
{
    return EVP_PKEY_get_bits((const EVP_PKEY *)key);
}

/* The public key in a PEM text, of its own or of a certificate, as DER: bytes, to be freed with cr_free. */
static inline int cr_read_pem(const char *text, size_t n, unsigned char **out)
{
    int made = 0;
    BIO *bio = BIO_new_mem_buf(text, (int)n);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    if (key == NULL && bio != NULL && BIO_reset(bio) == 1) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (certificate != NULL)
            key = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    *out = NULL;
    if (key != NULL)
        made = i2d_PUBKEY(key, out);
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return made;
}

static inline void cr_free(void *p)
{
    OPENSSL_free(p);
}

/* Whether `signature` (of ECDSA: as DER) is that of the text: 1 or 0. */
static inline int cr_verify(void *context, const void *digest, void *key, int pss, const void *text, size_t n,
                            const unsigned char *signature, size_t size)
{
    EVP_MD_CTX *c = (EVP_MD_CTX *)context;
    EVP_PKEY_CTX *how = NULL;
    int right = EVP_DigestVerifyInit(c, &how, (const EVP_MD *)digest, NULL, (EVP_PKEY *)key) == 1 &&
                (!pss || EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1) &&
                EVP_DigestVerify(c, signature, size, (const unsigned char *)text, n) == 1;
    EVP_MD_CTX_reset(c);
    ERR_clear_error();
    return right;
}

static inline int cr_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

static inline void *cr_cipher(const char *name)
{
    return EVP_CIPHER_fetch(NULL, name, NULL);
}

static inline void cr_free_cipher(void *cipher)
{
    EVP_CIPHER_free((EVP_CIPHER *)cipher);
}

static inline void *cr_new_ciphering(void)
{
    return EVP_CIPHER_CTX_new();
}

static inline void cr_free_ciphering(void *context)
{
    EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *)context);
}

/* AES-GCM: n bytes of text become n bytes of `out`. 1, or 0 when something does not fit or the tag is wrong. */
static inline int cr_gcm(void *context, const void *cipher, int encrypt, const unsigned char *key, const unsigned char *nonce,
                         size_t nonce_len, unsigned char *tag, size_t tag_len, const unsigned char *text, size_t n,
                         unsigned char *out)
{
    EVP_CIPHER_CTX *c = (EVP_CIPHER_CTX *)context;
    unsigned char rest[16];
    int made = 0, more = 0;
    int right = EVP_CipherInit_ex2(c, (const EVP_CIPHER *)cipher, NULL, NULL, encrypt, NULL) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce_len, NULL) == 1 &&
                EVP_CipherInit_ex2(c, NULL, key, nonce, encrypt, NULL) == 1 &&
                (encrypt || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, (int)tag_len, tag) == 1) &&
                EVP_CipherUpdate(c, out, &made, text, (int)n) == 1 && EVP_CipherFinal_ex(c, rest, &more) == 1 &&
                (!encrypt || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, (int)tag_len, tag) == 1);
    EVP_CIPHER_CTX_reset(c);
    ERR_clear_error();
    return right && made == (int)n && more == 0;
}

static inline const char *cr_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

#else

static inline void *cr_digest(const char *name) { return NULL; }
static inline void cr_free_digest(void *digest) { }
static inline size_t cr_digest_size(const void *digest) { return 0; }
static inline size_t cr_digest_block(const void *digest) { return 0; }
static inline void *cr_new_context(void) { return NULL; }
static inline void cr_free_context(void *context) { }
static inline int cr_hash(void *c, const void *d, const void *a, size_t an, const void *b, size_t bn, unsigned char *out) { return 0; }
static inline void *cr_key(const unsigned char *der, size_t n) { return NULL; }
static inline void cr_free_key(void *key) { }
static inline int cr_key_type(const void *key) { return 0; }
static inline int cr_key_bits(const void *key) { return 0; }
static inline int cr_read_pem(const char *text, size_t n, unsigned char **out) { return 0; }
static inline void cr_free(void *p) { }
static inline int cr_verify(void *c, const void *d, void *k, int pss, const void *t, size_t n, const unsigned char *s, size_t size) { return 0; }
static inline int cr_equal(const void *a, const void *b, size_t n) { return 0; }
static inline void *cr_cipher(const char *name) { return NULL; }
static inline void cr_free_cipher(void *cipher) { }
static inline void *cr_new_ciphering(void) { return NULL; }
static inline void cr_free_ciphering(void *context) { }
static inline int cr_gcm(void *c, const void *cipher, int encrypt, const unsigned char *key, const unsigned char *nonce, size_t nn,
                         unsigned char *tag, size_t tn, const unsigned char *text, size_t n, unsigned char *out) { return 0; }
static inline const char *cr_version(void) { return ""; }

#endif
#endif
