/* SentencePiece's precompiled_charsmap: character sequences and what they are replaced by (nmt_nfkc
 * and the like), a double-array trie of the first and a list of the second. */
#ifndef DUQ_TEXT_CHARSMAP_H
#define DUQ_TEXT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>

struct charsmap;

/* NULL when the bytes are not a charsmap. They are copied. */
struct charsmap *charsmap_read(const char *bytes, size_t len);
void charsmap_free(struct charsmap *c);
/* The longest rule that the text starts with: how much of the text it takes, and its replacement
 * (NUL-terminated in the map). False, and nothing set, when there is none. */
bool charsmap_find(const struct charsmap *c, const char *text, size_t len, size_t *taken,
                   const char **replacement, size_t *replacement_len);

#endif
