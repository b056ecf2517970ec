/* What a tokenizer.json does to the text before cutting it: Unicode normal forms, replacements. */
#ifndef DUQ_TEXT_NORMALIZE_H
#define DUQ_TEXT_NORMALIZE_H

#include "common/text/arena.h"
#include "common/text/pieces.h"

#include <jansson.h>

struct normalizer;

/* The "normalizer" of a tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip,
 * Sequence, or null (NULL is returned). Dies (EX_DATAERR) naming any other. path: the file. */
struct normalizer *normalizer_from_json(const json_t *value, const char *path);
void normalizer_free(struct normalizer *n);
/* Normalizes a piece of UTF-8; changed text is in the arena. n may be NULL. */
void normalize(const struct normalizer *n, struct arena *arena, struct piece *piece);

#endif
