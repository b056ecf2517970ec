/* Characters that Unicode has added or changed of late. `tokenizers` 0.23 knows another version of
 * Unicode in each of its parts, and PCRE2 and utf8proc have the system's; to give the same ids
 * everywhere, characters on which they disagree go by these tables. */
#ifndef DUQ_TEXT_UNICODE_RECENT_H
#define DUQ_TEXT_UNICODE_RECENT_H

#include <stdbool.h>
#include <stdint.h>

/* For patterns, which go by Unicode 16: an old character of the category (and of Han, if it is)
 * that Unicode 16 gives this one, as long in UTF-8; the character itself when nothing changed. */
uint32_t unicode_stand_in(uint32_t code);
/* A number since Unicode 17. */
bool unicode_is_recent_number(uint32_t code);
/* The lower case of characters added in Unicode 15 to 17; of others, the character itself. */
uint32_t unicode_recent_lower(uint32_t code);
/* Normal forms go by Unicode 9: later characters neither decompose nor compose nor change places.
 */
bool unicode_is_inert(uint32_t code);

#endif
