/* Tokens back to text, as a tokenizer.json says. */
#ifndef DUQ_TEXT_DECODE_H
#define DUQ_TEXT_DECODE_H

#include "common/text/arena.h"
#include "common/text/pieces.h"
#include "common/util/mem.h"

#include <jansson.h>

struct decoder;

/* The "decoder" of a tokenizer.json: BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace,
 * Strip, Sequence, or null (NULL is returned). Dies (EX_DATAERR) naming any other. path: the file.
 */
struct decoder *decoder_from_json(const json_t *value, const char *path);
void decoder_free(struct decoder *d);
/* Turns the tokens' spellings into parts of a text; join them. The first list is changed, and
 * changed text is in the arena. */
void decode(const struct decoder *d, struct arena *arena, struct pieces *tokens);

#endif
