/* What a tokenizer is made of; its file's reader fills it in (tokenizer_json.c, sentencepiece.c).
 */
#ifndef DUQ_TEXT_TOKENIZER_PARTS_H
#define DUQ_TEXT_TOKENIZER_PARTS_H

#include "common/text/added_tokens.h"
#include "common/text/arena.h"
#include "common/text/bpe.h"
#include "common/text/decode.h"
#include "common/text/ids.h"
#include "common/text/normalize.h"
#include "common/text/pieces.h"
#include "common/text/pretokenize.h"
#include "common/text/string_table.h"
#include "common/text/tokenizer.h"

struct sentencepiece;

struct tokenizer {
    char *path, digest[32];
    struct bpe *bpe;
    struct string_table *added; /* all added tokens, by id */
    bool *is_special;           /* [size] */
    int32_t size;
    struct added_tokens *raw;        /* looked for in the text as it is, */
    struct added_tokens *normalized; /* and in what normalizing leaves of it */
    struct ids before, after;        /* put around a text: BOS and the like */
    struct normalizer *normalizer;   /* these three: tokenizer.json */
    struct pretokenizer *pretokenizer;
    struct decoder *decoder;
    struct sentencepiece *sentencepiece; /* tokenizer.model; NULL: a tokenizer.json */
    /* one text's work */
    struct arena arena;
    struct pieces pieces, spare;
};

/* The largest id either kind of file may use: far above any vocabulary, low enough that a damaged
 * file does not ask for all memory. */
enum { LARGEST_TOKEN_ID = 1 << 24 };

/* Fill in a tokenizer from a file's bytes; t->path is set. */
void tokenizer_json_read(struct tokenizer *t, const char *bytes, size_t len);
void sentencepiece_read(struct tokenizer *t, const char *bytes, size_t len);

/* ---- SentencePiece's own steps; sentencepiece.c ---- */

void sentencepiece_free(struct sentencepiece *s);
/* The text as SentencePiece normalizes it: spaces as U+2581, one before the text. */
struct piece sentencepiece_normalize(const struct sentencepiece *s, struct arena *arena,
                                     const char *text, size_t len);
void sentencepiece_decode(const struct tokenizer *t, const int32_t *ids, size_t n, struct buf *out);

#endif
