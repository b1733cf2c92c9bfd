/*
 * Tables and leaves of the HTTP/1 codec that Cython cannot spell: byte classes, the perfect hash of known field
 * names, and scans that stop at the first byte outside a class. Nothing here depends on the locale.
 *
 * All scans work on [p, end) and never read at or behind `end`: sixteen bytes at a time while as many are left
 * (SSE2, which every x86-64 has), then one by one. They return the first byte that stops them, or `end`.
 *
 * LB_DEBUG counts the bytes looked at in h1_worked, so that tests can show that reading is linear. It is the one
 * variable of this codec outside a struct, and only in builds for tests.
 */
#ifndef LB_PROTO_H1_TABLES_H
#define LB_PROTO_H1_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lb.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if LB_DEBUG
static uint64_t h1_worked;
#define H1_WORK(n) (h1_worked += (uint64_t)(n))
static inline uint64_t h1_work_done(void)
{
    return h1_worked;
}
#else
#define H1_WORK(n) ((void)0)
static inline uint64_t h1_work_done(void)
{
    return 0;
}
#endif

/* ---- byte classes ----------------------------------------------------------------------------------- */

enum {
    H1_TOKEN = 1,    /* RFC 9110 5.6.2 tchar */
    H1_VALUE = 2,    /* RFC 9110 5.5: HTAB, SP, VCHAR, obs-text; no other control, no DEL */
    H1_TARGET = 4,   /* VCHAR without '#': what may stand in a request target */
    H1_HEX = 8,      /* HEXDIG */
    H1_REGNAME = 16, /* RFC 3986 3.2.2 unreserved and sub-delims, without ',' (two Hosts in one list) */
};

static const uint8_t h1_class[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,  /* 0_ */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  /* 1_ */
     2, 23,  6,  3, 23,  7, 23, 23, 22, 22, 23, 23,  6, 23, 23,  6,  /* 2_ */
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6, 22,  6, 22,  6,  6,  /* 3_ */
     6, 31, 31, 31, 31, 31, 31, 23, 23, 23, 23, 23, 23, 23, 23, 23,  /* 4_ */
    23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23,  6,  6,  6,  7, 23,  /* 5_ */
     7, 31, 31, 31, 31, 31, 31, 23, 23, 23, 23, 23, 23, 23, 23, 23,  /* 6_ */
    23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23,  6,  7,  6, 23,  0,  /* 7_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* 8_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* 9_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* a_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* b_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* c_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* d_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* e_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  /* f_ */
};

static inline int h1_is(uint8_t byte, int cls)
{
    return h1_class[byte] & cls;
}

/* ASCII only: 'A'..'Z' to 'a'..'z', all else as it is. */
static inline uint8_t h1_lower(uint8_t byte)
{
    return byte | (uint8_t)(((uint8_t)(byte - 'A') < 26) << 5);
}

/* ---- scans ------------------------------------------------------------------------------------------ */

/* Sixteen at a time over letters, digits and '-', of which nearly all names are made; the rest by the table. */
static inline const char *h1_skip_token(const char *p, const char *end)
{
    const char *from = p;
#if defined(__SSE2__)
    const __m128i fold = _mm_set1_epi8(0x20), dash = _mm_set1_epi8('-');
    const __m128i before_a = _mm_set1_epi8('a' - 1), behind_z = _mm_set1_epi8('z' + 1);
    const __m128i before_0 = _mm_set1_epi8('0' - 1), behind_9 = _mm_set1_epi8('9' + 1);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_or_si128(x, fold);
        /* signed: obs-text is below all of these */
        __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(low, before_a), _mm_cmpgt_epi8(behind_z, low));
        __m128i digit = _mm_and_si128(_mm_cmpgt_epi8(x, before_0), _mm_cmpgt_epi8(behind_9, x));
        __m128i good = _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(x, dash));
        unsigned mask = (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;
        if (mask) {
            p += __builtin_ctz(mask);
            break;
        }
        p += 16;
    }
#endif
    while (p < end && h1_is((uint8_t)*p, H1_TOKEN))
        p++;
    H1_WORK(p - from);
    return p;
}

/* To the first byte that may not stand in a field value: the CR of a good line. */
static inline const char *h1_skip_value(const char *p, const char *end)
{
    const char *from = p;
#if defined(__SSE2__)
    const __m128i top = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8(9), del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, top), x);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(x, tab), low), _mm_cmpeq_epi8(x, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask) {
            p += __builtin_ctz(mask);
            H1_WORK(p - from);
            return p;
        }
        p += 16;
    }
#endif
    while (p < end && h1_is((uint8_t)*p, H1_VALUE))
        p++;
    H1_WORK(p - from);
    return p;
}

/* To the first byte that may not stand in a request target: the SP behind a good one. */
static inline const char *h1_skip_target(const char *p, const char *end)
{
    const char *from = p;
#if defined(__SSE2__)
    const __m128i sp = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f), hash = _mm_set1_epi8('#');
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* signed: obs-text is below SP */
        __m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(x, hash),
                                        _mm_and_si128(_mm_cmpgt_epi8(x, sp), _mm_cmpgt_epi8(del, x)));
        unsigned mask = (unsigned)_mm_movemask_epi8(good) ^ 0xffffu;
        if (mask) {
            p += __builtin_ctz(mask);
            H1_WORK(p - from);
            return p;
        }
        p += 16;
    }
#endif
    while (p < end && h1_is((uint8_t)*p, H1_TARGET))
        p++;
    H1_WORK(p - from);
    return p;
}

/* The first line feed, or NULL. */
static inline const char *h1_find_lf(const char *p, const char *end)
{
    const char *lf;
    if (p >= end)
        return NULL;
    lf = (const char *)memchr(p, '\n', (size_t)(end - p));
    H1_WORK((lf ? lf : end) - p);
    return lf;
}

/* ---- names ------------------------------------------------------------------------------------------ */

/* `text` is lower case. 1 if p[0:len] is the same in any case. Only right where p[0:len] is made of token
 * bytes or text is made of letters, digits and '-': then |0x20 makes nothing equal that was not. */
static inline int h1_same(const char *p, const char *text, size_t len)
{
    uint64_t a, b, diff = 0;
    const uint64_t fold = 0x2020202020202020u;
    size_t i = 0;
    if (len >= 8) {
        for (; i + 8 <= len; i += 8) {
            memcpy(&a, p + i, 8);
            memcpy(&b, text + i, 8);
            diff |= (a | fold) ^ (b | fold);
        }
        memcpy(&a, p + len - 8, 8);
        memcpy(&b, text + len - 8, 8);
        return (diff | ((a | fold) ^ (b | fold))) == 0;
    }
    if (len >= 4) {
        uint32_t c, d, e, f;
        memcpy(&c, p, 4);
        memcpy(&d, text, 4);
        memcpy(&e, p + len - 4, 4);
        memcpy(&f, text + len - 4, 4);
        return ((((c ^ d) | (e ^ f)) & ~(uint32_t)fold)) == 0;
    }
    for (; i < len; i++)
        diff |= (uint64_t)((uint8_t)(p[i] | 0x20) ^ (uint8_t)(text[i] | 0x20));
    return diff == 0;
}

/* Eight bytes at once, each as h1_lower has it. */
static inline uint64_t h1_lower8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = x & (ones * 0x7f);
    uint64_t upper = (low + ones * (0x80 - 'A')) ^ (low + ones * (0x7f - 'Z'));
    return x | ((upper & ~x & (ones * 0x80)) >> 2);
}

/* 1 if the two are equal but for ASCII case, whatever bytes they are. */
static inline int h1_equal(const char *a, const char *b, size_t len)
{
    uint64_t x, y;
    size_t i = 0;
    H1_WORK(len);
    for (; i + 8 <= len; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        if (h1_lower8(x) != h1_lower8(y))
            return 0;
    }
    for (; i < len; i++)
        if (h1_lower((uint8_t)a[i]) != h1_lower((uint8_t)b[i]))
            return 0;
    return 1;
}

typedef struct {
    char text[24];
    uint8_t len;
    uint8_t id; /* known_name of message.pxd */
} h1_name_t;

/* A perfect hash over the known names: (7 * length + first letter) modulo 64. A new name that collides needs
 * new factors; tests/unit/proto compares this table with the enum. */
static const h1_name_t h1_names[64] = {
    [0] = {"date", 4, 22},
    [2] = {"te", 2, 7},
    [4] = {"host", 4, 1},
    [5] = {"content-length", 14, 3},
    [10] = {"http2-settings", 14, 10},
    [11] = {"accept", 6, 16},
    [12] = {"x-request-id", 12, 15},
    [13] = {"cookie", 6, 19},
    [15] = {"expect", 6, 13},
    [29] = {"server", 6, 23},
    [32] = {"proxy-connection", 16, 6},
    [33] = {"x-forwarded-for", 15, 14},
    [35] = {"referer", 7, 18},
    [36] = {"location", 8, 24},
    [37] = {"trailer", 7, 8},
    [38] = {"upgrade", 7, 9},
    [41] = {"connection", 10, 2},
    [42] = {"sec-websocket-key", 17, 25},
    [43] = {"transfer-encoding", 17, 4},
    [46] = {"proxy-authenticate", 18, 11},
    [49] = {"keep-alive", 10, 5},
    [53] = {"proxy-authorization", 19, 12},
    [55] = {"content-type", 12, 21},
    [57] = {"set-cookie", 10, 20},
    [59] = {"user-agent", 10, 17},
    [63] = {"sec-websocket-accept", 20, 26},
};

/* The known_name of a token, 0 = none. */
static inline uint8_t h1_name_id(const char *p, size_t len)
{
    const h1_name_t *known;
    if (len == 0)
        return 0;
    known = &h1_names[(len * 7 + (uint8_t)(p[0] | 0x20)) & 63];
    return known->len == len && h1_same(p, known->text, len) ? known->id : 0;
}

#endif /* LB_PROTO_H1_TABLES_H */
