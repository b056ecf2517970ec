/* Unicode normal forms and lower case (UAX 15; data from utf8proc, held to what `tokenizers` knows:
 * unicode_recent.h). */
#ifndef DUQ_TEXT_UNICODE_FORMS_H
#define DUQ_TEXT_UNICODE_FORMS_H

#include "common/util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unicode_form { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD };

/* True only when the text is in the form already; found out quickly, so false may be said of text
 * that is. */
bool unicode_is_in_form(enum unicode_form form, const char *s, size_t len);
/* Appends the text (UTF-8) in the form. Time grows with the length, runs of combining marks
 * included (n log n). */
void unicode_to_form(enum unicode_form form, const char *s, size_t len, struct buf *out);
/* Appends a character's lower case. */
void unicode_add_lower(struct buf *out, uint32_t code);

#endif
