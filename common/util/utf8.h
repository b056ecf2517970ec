/* Whether bytes are UTF-8. */
#ifndef DUQ_UTIL_UTF8_H
#define DUQ_UTIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Where the first byte stands that does not belong to well-formed UTF-8 (Unicode 15, table 3-7: no
 * surrogates, no overlong forms, nothing above U+10FFFF); len when all do. */
size_t utf8_invalid_at(const char *bytes, size_t len);

/* Nothing, or nothing but ASCII's white space. */
bool text_is_blank(const char *bytes, size_t len);

#endif
