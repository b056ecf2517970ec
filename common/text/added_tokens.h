/* Tokens that are found in the text before anything else cuts it: special tokens such as
 * "<|im_start|>", and others added to a vocabulary. Leftmost first, of those the longest. */
#ifndef DUQ_TEXT_ADDED_TOKENS_H
#define DUQ_TEXT_ADDED_TOKENS_H

#include "common/text/pieces.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added_token {
    int32_t id;
    bool single_word;    /* only where no word character stands beside it */
    bool lstrip, rstrip; /* takes the white space before, after it along */
};

/* Parts of a text in which no added token is looked for: pairs of byte offsets, where each begins
 * and ends, ascending. */
struct literal_parts {
    const int32_t *offsets;
    size_t n; /* offsets */
};

struct added_tokens;

struct added_tokens *added_tokens_new(void);
void added_tokens_free(struct added_tokens *a);
/* s is what is looked for in the text; an empty one is never found. */
void added_tokens_add(struct added_tokens *a, const char *s, size_t len, struct added_token token);
bool added_tokens_empty(const struct added_tokens *a);
/* Appends the parts of a piece: found tokens and the text between them. None is found in the
 * piece's literal parts. */
void added_tokens_split(const struct added_tokens *a, const struct piece *piece,
                        const struct literal_parts *literal, struct pieces *out);

#endif
