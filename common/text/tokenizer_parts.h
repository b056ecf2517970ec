/* What a tokenizer is made of; its file's reader fills it in (tokenizer_json.c, tokenizer_gguf.c,
 * sentencepiece.c). */
#ifndef DUQ_TEXT_TOKENIZER_PARTS_H
#define DUQ_TEXT_TOKENIZER_PARTS_H
#include "common/util/digest.h"

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
    char *path, digest[64];
    struct bpe *bpe;
    struct string_table *added; /* all added tokens, by id */
    bool *is_special;           /* [size] */
    int32_t size;
    struct added_tokens *raw;        /* looked for in the text as it is, */
    struct added_tokens *normalized; /* and in what normalizing leaves of it */
    struct ids before, after;        /* put around a text: BOS and the like */
    struct normalizer *normalizer;   /* these three: tokenizer.json, GGUF */
    struct pretokenizer *pretokenizer;
    struct decoder *decoder;
    struct sentencepiece *sentencepiece; /* tokenizer.model; NULL: another file */
    /* one text's work */
    struct arena arena;
    struct pieces pieces, spare;
};

/* The largest id either kind of file may use: far above any vocabulary, low enough that a damaged
 * file does not ask for all memory. */
enum { LARGEST_TOKEN_ID = 1 << 24 };

/* The tokenizer file of a folder, NULL when it holds none; a file's own path. The caller frees it.
 */
char *tokenizer_find(const char *path);

/* Fill in a tokenizer from a file's bytes; t->path and the file's digest are set. folder: what
 * stands beside the file counts too; NULL: the file alone. */
void tokenizer_json_read(struct tokenizer *t, const char *bytes, size_t len, const char *folder);
void sentencepiece_read(struct tokenizer *t, const char *bytes, size_t len);
/* The same from the GGUF file t->path, which may be far larger; sets the digest as well. */
void tokenizer_gguf_read(struct tokenizer *t);
/* That digest alone: of the settings of its tokenizer. */
void tokenizer_gguf_digest(const char *path, char digest[DIGEST_SIZE]);

/* ---- SentencePiece's own steps; sentencepiece.c ---- */

void sentencepiece_free(struct sentencepiece *s);
/* A piece of text, as control, unknown and user-defined pieces are not. */
bool sentencepiece_is_word(const struct sentencepiece *s, int32_t id);
/* The text as SentencePiece normalizes it: spaces as U+2581, one before the text. */
struct piece sentencepiece_normalize(const struct sentencepiece *s, struct arena *arena,
                                     const char *text, size_t len);
void sentencepiece_decode(const struct tokenizer *t, const int32_t *ids, size_t n, struct buf *out);

/* ---- what stands beside a tokenizer.model; sentencepiece_folder.c ---- */

/* A BOS is put before a text unless tokenizer_config.json says otherwise. Dies (EX_DATAERR) where
 * it asks for an EOS. */
bool sentencepiece_wants_bos(const char *model_path);
/* Dies (EX_DATAERR) where the folder's files add tokens to the model, one of them named. */
void sentencepiece_check_folder(const struct tokenizer *t, const char *folder);

#endif
