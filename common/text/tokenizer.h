/* Text to token ids and back, as the model's own tokenizer does it: Hugging Face tokenizer.json
 * (BPE) and SentencePiece tokenizer.model (BPE), id for id the same as the libraries `tokenizers`
 * and `sentencepiece`, and what a GGUF file has of either. A file that asks for something else is
 * refused by name when it is opened. */
#ifndef DUQ_TEXT_TOKENIZER_H
#define DUQ_TEXT_TOKENIZER_H

#include "common/text/added_tokens.h"
#include "common/text/ids.h"
#include "common/util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* A model folder (its tokenizer.json, else its tokenizer.model or tokenizer.model.v3, else its GGUF
 * file) or one such file. Dies with EX_NOINPUT when there is none, EX_DATAERR when it is damaged or
 * asks for a part that is not supported, the part named. */
struct tokenizer *tokenizer_open(const char *path_or_folder);
void tokenizer_free(struct tokenizer *t);

/* "xxh64:" and 16 hex digits, of the tokenizer file's bytes, and where other files of the folder
 * change what it does a "+" and 16 of those; of a GGUF file's, its tokenizer settings. */
const char *tokenizer_digest(const struct tokenizer *t);
/* The file that was read, for messages. */
const char *tokenizer_path(const struct tokenizer *t);
/* One more than the largest token id. */
int32_t tokenizer_size(const struct tokenizer *t);
/* A token as the file spells it, NUL-terminated; NULL when there is none with this id. */
const char *tokenizer_token(const struct tokenizer *t, int32_t id);

/* Appends the ids of a text, with the tokens that the tokenizer puts around one text (BOS) when
 * add_special. Dies (EX_DATAERR) at text that is not UTF-8; utf8_invalid_at() (utf8.h) finds that
 * first where a better message can be given. Keeps a cache: one thread at a time per tokenizer. */
void tokenizer_encode(struct tokenizer *t, const char *text, size_t len, bool add_special,
                      struct ids *out);

/* The same with literal parts. Dies (EX_DATAERR) where there are some and the tokenizer is a
 * tokenizer.model. */
void tokenizer_encode_parts(struct tokenizer *t, const char *text, size_t len,
                            const struct literal_parts *literal, bool add_special, struct ids *out);
/* Whether control tokens (BOS, "[INST]" ...) are found in a text that spells them: those of a
 * tokenizer.model are not. */
bool tokenizer_finds_control_tokens(const struct tokenizer *t);

/* Appends the text of ids; ids without a token are passed over. skip_special leaves out special
 * tokens (control tokens of a tokenizer.model are never text). Bytes that are not UTF-8 together
 * become U+FFFD. */
void tokenizer_decode(struct tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                      struct buf *out);

/* Narrows ids to what stands between the tokens that tokenizer_encode() puts around a text; such
 * tokens that are not there are not missed. */
void tokenizer_trim(const struct tokenizer *t, const int32_t **ids, size_t *n);

/* The first id of a bare word, where a class is read. Dies (EX_DATAERR) when the word has none. */
int32_t tokenizer_first_token(struct tokenizer *t, const char *word);

#endif
