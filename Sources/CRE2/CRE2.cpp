#include "CRE2.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstring>
#include <new>

struct keel_re2 {
    RE2 expression;
    keel_re2(const re2::StringPiece &pattern, const RE2::Options &options) : expression(pattern, options) {}
};

keel_re2 *keel_re2_compile(const char *pattern, size_t length, int64_t memory, char *message, size_t capacity) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(memory);
    options.set_never_capture(true);
    keel_re2 *made = new (std::nothrow) keel_re2(re2::StringPiece(pattern, length), options);
    if (made != nullptr && made->expression.ok()) return made;
    if (capacity > 0) {
        const std::string &text = made == nullptr ? "out of memory" : made->expression.error();
        size_t count = std::min(capacity - 1, text.size());
        std::memcpy(message, text.data(), count);
        message[count] = 0;
    }
    delete made;
    return nullptr;
}

int32_t keel_re2_size(const keel_re2 *pattern) { return pattern->expression.ProgramSize(); }

int32_t keel_re2_matches(const keel_re2 *pattern, const char *text, size_t length) {
    return RE2::FullMatch(re2::StringPiece(text, length), pattern->expression) ? 1 : 0;
}

void keel_re2_free(keel_re2 *pattern) { delete pattern; }
