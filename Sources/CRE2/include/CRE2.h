#ifndef KEEL_CRE2_H
#define KEEL_CRE2_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// RE2 (https://github.com/google/re2) behind C: patterns are matched in time linear in the text, without recursion.

typedef struct keel_re2 keel_re2;

/// Compiles a pattern. On failure NULL is returned, and `message` holds what is wrong, cut to fit and ending with a zero byte.
keel_re2 *keel_re2_compile(const char *pattern, size_t length, int64_t memory, char *message, size_t capacity);

/// How many instructions the pattern became: what one byte of text can cost.
int32_t keel_re2_size(const keel_re2 *pattern);

/// Whether the whole text matches. Any thread may call it, several at once.
int32_t keel_re2_matches(const keel_re2 *pattern, const char *text, size_t length);

void keel_re2_free(keel_re2 *pattern);

#ifdef __cplusplus
}
#endif

#endif
