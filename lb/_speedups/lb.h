/*
 * lb.h - what Cython cannot spell, and nothing else.
 *
 * Branch hints, atomics, the cache line, the invariant check. Everything is a macro or a static inline
 * function, so a .pxd declares what it needs and pays nothing:
 *
 *     cdef extern from "lb.h" nogil:
 *         bint LB_DEBUG
 *         bint LIKELY(bint)
 *         uint64_t lb_load_u64(const uint64_t *) noexcept
 *         void LB_ASSERT(bint) noexcept
 *
 * Memory order is part of each name's contract: load is acquire, store is release, cas and fetch_* are
 * acquire-release, `_relaxed` orders nothing (counters with one writer that others read).
 */
#ifndef LB_H
#define LB_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1 in the debug and sanitize builds: invariants abort, time can be faked, chaos and kill points exist. */
#ifndef LB_DEBUG
#define LB_DEBUG 0
#endif

/* 1 in the sanitize build: pools are malloc and free, buffers have exact size. */
#ifndef LB_SANITIZE
#define LB_SANITIZE 0
#endif

#ifndef LIKELY
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#endif

/* x86-64 and most ARM64. Fields that several processes write are kept this far apart. */
#define LB_CACHE_LINE 64

/* In a spin: tells the core that this is one, and leaves room to its sibling thread. */
static inline void lb_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/* The compiler may not move memory accesses across this. For a word that only a signal handler or a kill
 * point of the same thread looks at. */
static inline void lb_compiler_barrier(void)
{
    __asm__ __volatile__("" ::: "memory");
}

/* ---- atomics ---------------------------------------------------------------------------------------- */

#define LB_ATOMICS(suffix, type)                                                                            \
    static inline type lb_load_##suffix(const type *p)                                                      \
    {                                                                                                       \
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);                                                        \
    }                                                                                                       \
    static inline type lb_load_relaxed_##suffix(const type *p)                                              \
    {                                                                                                       \
        return __atomic_load_n(p, __ATOMIC_RELAXED);                                                        \
    }                                                                                                       \
    static inline void lb_store_##suffix(type *p, type value)                                               \
    {                                                                                                       \
        __atomic_store_n(p, value, __ATOMIC_RELEASE);                                                       \
    }                                                                                                       \
    static inline void lb_store_relaxed_##suffix(type *p, type value)                                       \
    {                                                                                                       \
        __atomic_store_n(p, value, __ATOMIC_RELAXED);                                                       \
    }                                                                                                       \
    /* 1 and *p == value if *p was *expected; else 0 and *expected is what was found. */                    \
    static inline int lb_cas_##suffix(type *p, type *expected, type value)                                  \
    {                                                                                                       \
        return __atomic_compare_exchange_n(p, expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);      \
    }                                                                                                       \
    /* These return what was there before. */                                                               \
    static inline type lb_fetch_add_##suffix(type *p, type n)                                               \
    {                                                                                                       \
        return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL);                                                  \
    }                                                                                                       \
    static inline type lb_fetch_sub_##suffix(type *p, type n)                                               \
    {                                                                                                       \
        return __atomic_fetch_sub(p, n, __ATOMIC_ACQ_REL);                                                  \
    }                                                                                                       \
    static inline type lb_fetch_or_##suffix(type *p, type bits)                                             \
    {                                                                                                       \
        return __atomic_fetch_or(p, bits, __ATOMIC_ACQ_REL);                                                \
    }                                                                                                       \
    static inline type lb_fetch_and_##suffix(type *p, type bits)                                            \
    {                                                                                                       \
        return __atomic_fetch_and(p, bits, __ATOMIC_ACQ_REL);                                               \
    }                                                                                                       \
    static inline type lb_exchange_##suffix(type *p, type value)                                            \
    {                                                                                                       \
        return __atomic_exchange_n(p, value, __ATOMIC_ACQ_REL);                                             \
    }                                                                                                       \
    /* A counter with one writer: a plain addition that a reader in another process never sees torn. */     \
    static inline void lb_count_##suffix(type *p, type n)                                                   \
    {                                                                                                       \
        __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);                    \
    }

LB_ATOMICS(u32, uint32_t)
LB_ATOMICS(u64, uint64_t)

/* ---- locks ------------------------------------------------------------------------------------------ */

/* base/lock.pxd says what it does. Alone on its cache line: the mutex is 40 or 48 bytes. */
typedef struct {
    pthread_mutex_t mutex;
    char pad[LB_CACHE_LINE - sizeof(pthread_mutex_t)];
} __attribute__((aligned(LB_CACHE_LINE))) lb_lock_t;

_Static_assert(sizeof(lb_lock_t) == LB_CACHE_LINE, "lb_lock_t is one cache line");

/* ---- kill points ------------------------------------------------------------------------------------ */

/*
 * LB_KILL_POINT("balance.locked"): debug builds die here by SIGKILL when the environment says
 * LB_KILL_AT=balance.locked. With LB_KILL_AT=balance.locked@/path/of/a/file only the process that manages to
 * remove that file dies, so one worker of many dies once. A lock held for 100 ns is never hit by a random
 * SIGKILL. Read each time, so that a forked child can be sent to its death.
 */
#if LB_DEBUG
static inline void lb_kill_point(const char *name)
{
    const char *at = getenv("LB_KILL_AT");
    size_t len = strlen(name);
    if (at == NULL || strncmp(at, name, len) != 0)
        return;
    if (at[len] == '@' ? unlink(at + len + 1) == 0 : at[len] == 0)
        raise(SIGKILL);
}
#define LB_KILL_POINT(name) lb_kill_point(name)
#else
#define LB_KILL_POINT(name) ((void)sizeof(name))
#endif

/* ---- invariants ------------------------------------------------------------------------------------- */

/*
 * An invariant of ours does not hold: one line on stderr, then abort, so that the core shows the moment.
 * Only for what no input can bring about. An input that is wrong is a return value.
 */
static inline __attribute__((noreturn, cold)) void lb_abort_at(const char *message, const char *file,
                                                               int line)
{
    fprintf(stderr, "%s:%d: invariant failed: %s\n", file, line, message);
    fflush(stderr);
    abort();
}

/* The place is the .pyx line: the debug build emits #line. */
#define lb_abort(message) lb_abort_at((message), __FILE__, __LINE__)

/*
 * LB_ASSERT(cond): cond is true, or the program is wrong. Debug: checked, aborts. Release: gone, cond is
 * not evaluated (but still compiled, so it cannot rot, and names only used here are not "unused").
 */
#if LB_DEBUG
#define LB_ASSERT(cond) ((cond) ? (void)0 : lb_abort_at(#cond, __FILE__, __LINE__))
#else
#define LB_ASSERT(cond) ((void)sizeof(!(cond)))
#endif

#endif /* LB_H */
