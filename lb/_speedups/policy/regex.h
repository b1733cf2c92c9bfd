/*
 * regex.h - PCRE2 as policy/regex.pyx sees it, or nothing where lb is built without it (LB_PCRE2, setup.py).
 *
 * Without PCRE2 nothing can be compiled, so nothing is ever matched; the bodies only make the same module link.
 */
#ifndef LB_REGEX_H
#define LB_REGEX_H

#include <stddef.h>
#include <stdint.h>

#ifndef LB_PCRE2
#define LB_PCRE2 0
#endif

/* What a match answers beside 0 and more (found) and -1 (not found): any other number is a limit or a fault. */
#define RX_NO_MATCH (-1)
#define RX_LIMITED (-47)

#if LB_PCRE2

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* A context for compiling, shared by all patterns of a shelf. */
static inline void *rx_new_compiler(uint32_t nesting, size_t longest)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context != NULL) {
        pcre2_set_parens_nest_limit(context, nesting);
        pcre2_set_max_pattern_length(context, longest);
    }
    return context;
}

static inline void rx_free_compiler(void *context)
{
    pcre2_compile_context_free((pcre2_compile_context *)context);
}

/* Bytes, never UTF: what is matched comes from strangers. */
static inline void *rx_compile(const char *pattern, size_t n, int ignore_case, int is_watched, void *context, int *code,
                               size_t *at)
{
    uint32_t options = PCRE2_NEVER_UTF | PCRE2_USE_OFFSET_LIMIT | (ignore_case ? PCRE2_CASELESS : 0) |
                       (is_watched ? PCRE2_AUTO_CALLOUT : 0);
    return pcre2_compile((PCRE2_SPTR)pattern, n, options, code, at, (pcre2_compile_context *)context);
}

static inline int rx_jit(void *regex)
{
    size_t made = 0;                          /* none, without an error, for a pattern that says (*NO_JIT) */
    return pcre2_jit_compile((pcre2_code *)regex, PCRE2_JIT_COMPLETE) == 0 &&
           pcre2_pattern_info((const pcre2_code *)regex, PCRE2_INFO_JITSIZE, &made) == 0 && made != 0;
}

static inline void rx_free(void *regex)
{
    pcre2_code_free((pcre2_code *)regex);
}

static inline void *rx_new_matcher(uint32_t heap_kib)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    if (context != NULL)
        pcre2_set_heap_limit(context, heap_kib);
    return context;
}

static inline void rx_free_matcher(void *context)
{
    pcre2_match_context_free((pcre2_match_context *)context);
}

/* NULL where the library has no JIT; then the matcher does without. */
static inline void *rx_new_stack(size_t least, size_t most, void *matcher)
{
    pcre2_jit_stack *stack = pcre2_jit_stack_create(least, most, NULL);
    if (stack != NULL)
        pcre2_jit_stack_assign((pcre2_match_context *)matcher, NULL, stack);
    return stack;
}

static inline void rx_free_stack(void *stack)
{
    pcre2_jit_stack_free((pcre2_jit_stack *)stack);
}

static inline void *rx_new_found(uint32_t spans)
{
    return pcre2_match_data_create(spans, NULL);
}

static inline void rx_free_found(void *found)
{
    pcre2_match_data_free((pcre2_match_data *)found);
}

/* Called before each item of a pattern that is watched: every RX_WATCH times it asks whether to go on. */
struct rx_watch {
    uint32_t left;
    int (*goes_on)(void *);
    void *who;
};

#define RX_WATCH 1024

static int rx_callout(pcre2_callout_block *block, void *data)
{
    struct rx_watch *watch = (struct rx_watch *)data;
    (void)block;
    if (--watch->left != 0)
        return 0;
    watch->left = RX_WATCH;
    return watch->goes_on(watch->who) ? 0 : PCRE2_ERROR_CALLOUT;
}

static inline int rx_match_watched(const void *regex, int is_jit, const char *p, size_t n, int not_begin, uint32_t steps,
                                   int (*goes_on)(void *), void *who, void *found, void *matcher)
{
    struct rx_watch watch = {RX_WATCH, goes_on, who};
    int answer;
    pcre2_set_match_limit((pcre2_match_context *)matcher, steps);
    pcre2_set_offset_limit((pcre2_match_context *)matcher, PCRE2_UNSET);
    pcre2_set_callout((pcre2_match_context *)matcher, rx_callout, &watch);
    answer = (is_jit ? pcre2_jit_match : pcre2_match)((const pcre2_code *)regex, (PCRE2_SPTR)p, n, 0,
                                                      not_begin ? PCRE2_NOTBOL : 0, (pcre2_match_data *)found,
                                                      (pcre2_match_context *)matcher);
    pcre2_set_callout((pcre2_match_context *)matcher, NULL, NULL);
    return answer;
}

/* Look for a match that begins at p[from..last], with at most `steps` for each of these places. */
static inline int rx_match(const void *regex, int is_jit, const char *p, size_t n, size_t from, size_t last, int not_begin,
                           uint32_t steps, void *found, void *matcher)
{
    uint32_t options = not_begin ? PCRE2_NOTBOL : 0;
    pcre2_set_match_limit((pcre2_match_context *)matcher, steps);
    pcre2_set_offset_limit((pcre2_match_context *)matcher, last);
    return (is_jit ? pcre2_jit_match : pcre2_match)((const pcre2_code *)regex, (PCRE2_SPTR)p, n, from, options,
                                                    (pcre2_match_data *)found, (pcre2_match_context *)matcher);
}

/* Pairs of offsets; (size_t)-1 = that group took no part. */
static inline const size_t *rx_spans(void *found)
{
    return pcre2_get_ovector_pointer((pcre2_match_data *)found);
}

static inline int rx_message(int code, char *out, size_t cap)
{
    return pcre2_get_error_message(code, (PCRE2_UCHAR *)out, cap);
}

/* NUL-terminated, at most 64 bytes. */
static inline int rx_version(char *out)
{
    return pcre2_config(PCRE2_CONFIG_VERSION, out);
}

#else

static inline void *rx_new_compiler(uint32_t nesting, size_t longest) { return NULL; }
static inline void rx_free_compiler(void *context) { }
static inline void *rx_compile(const char *p, size_t n, int i, int w, void *c, int *code, size_t *at) { return NULL; }
static inline int rx_match_watched(const void *regex, int is_jit, const char *p, size_t n, int not_begin, uint32_t steps,
                                   int (*goes_on)(void *), void *who, void *found, void *matcher) { return RX_NO_MATCH; }
static inline int rx_jit(void *regex) { return 0; }
static inline void rx_free(void *regex) { }
static inline void *rx_new_matcher(uint32_t heap_kib) { return NULL; }
static inline void rx_free_matcher(void *context) { }
static inline void *rx_new_stack(size_t least, size_t most, void *matcher) { return NULL; }
static inline void rx_free_stack(void *stack) { }
static inline void *rx_new_found(uint32_t spans) { return NULL; }
static inline void rx_free_found(void *found) { }
static inline int rx_match(const void *regex, int is_jit, const char *p, size_t n, size_t from, size_t last, int not_begin,
                           uint32_t steps, void *found, void *matcher) { return RX_NO_MATCH; }
static inline const size_t *rx_spans(void *found) { return NULL; }
static inline int rx_message(int code, char *out, size_t cap) { return -1; }
static inline int rx_version(char *out) { return -1; }

#endif
#endif
