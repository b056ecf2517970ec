/* Regular expressions of one dialect written in another. */
#ifndef DUQ_TEXT_REGEX_DIALECT_H
#define DUQ_TEXT_REGEX_DIALECT_H

#include "common/util/mem.h"

/* Appends a pattern in Oniguruma's Ruby syntax as PCRE2 pattern (for PCRE2_UTF, PCRE2_UCP and
 * PCRE2_MULTILINE, newline LF). Where both spell the same but mean something else (\s, \w, \h, \v,
 * scripts, flags, intervals), PCRE2 gets what Oniguruma means. NULL when done; else the name of
 * what cannot be said (static, or good until the next call). */
const char *regex_from_oniguruma(const char *pattern, struct buf *out);

#endif
