/* Cutting a text into the words that byte-pair encoding stays within, as a tokenizer.json says. */
#ifndef DUQ_TEXT_PRETOKENIZE_H
#define DUQ_TEXT_PRETOKENIZE_H

#include "common/text/arena.h"
#include "common/text/pieces.h"

#include <jansson.h>
#include <stdbool.h>

struct pretokenizer;

/* The "pre_tokenizer" of a tokenizer.json: ByteLevel, CharDelimiterSplit, Digits, Metaspace, Split,
 * Whitespace, WhitespaceSplit, Sequence, or null (NULL is returned). Dies (EX_DATAERR) naming any
 * other. ByteLevel must come last: the model takes bytes. path: the file. */
struct pretokenizer *pretokenizer_from_json(const json_t *value, const char *path);
void pretokenizer_free(struct pretokenizer *p);
/* Are words handed to the model as bytes? */
bool pretokenizer_is_byte_level(const struct pretokenizer *p);
/* Cuts the pieces that are no tokens; in and out change places as often as needed, the result is in
 * in. Changed text is in the arena. p may be NULL. */
void pretokenize(const struct pretokenizer *p, struct arena *arena, struct pieces *in,
                 struct pieces *out);

#endif
