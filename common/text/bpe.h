/* Byte-pair encoding: a vocabulary, ranked merges, and a word's ids. The same rules serve Hugging
 * Face's BPE (merges listed in order) and SentencePiece's (merges ranked by the score of what they
 * make): of all neighbours that may merge, always the lowest rank, of those the leftmost.
 * Source: Sennrich et al. 2016 (arXiv 1508.07909). */
#ifndef DUQ_TEXT_BPE_H
#define DUQ_TEXT_BPE_H

#include "common/text/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NO_TOKEN = -1 };

struct bpe;

struct bpe_options {
    int32_t unknown;                        /* id for a character without a token, or NO_TOKEN */
    bool fuse_unknown;                      /* a run of unknown characters is one token */
    bool byte_fallback;                     /* unknown characters become <0xNN> tokens */
    bool ignore_merges;                     /* a whole word that is a token is taken as it is */
    bool byte_level;                        /* words are bytes, tokens spell them as characters */
    const char *continuing_prefix, *suffix; /* NULL: none; copied */
};

/* Built in this order: new, tokens, options, merges, ready. */
struct bpe *bpe_new(void);
void bpe_free(struct bpe *m);
/* False when the id or the token is there already. The bytes are copied. */
bool bpe_add_token(struct bpe *m, const char *token, size_t len, int32_t id);
void bpe_set_options(struct bpe *m, const struct bpe_options *options);
/* left and right become merged at this rank; said twice of one pair, the last holds. Several pairs
 * may share a rank. */
void bpe_add_merge(struct bpe *m, int32_t left, int32_t right, int32_t merged, uint32_t rank);
/* Call when all is added: prepares the tables for encoding. */
void bpe_ready(struct bpe *m);

/* One more than the largest id added. */
int32_t bpe_size(const struct bpe *m);
/* NO_TOKEN when there is none. */
int32_t bpe_find(const struct bpe *m, const char *token, size_t len);
/* NULL when there is none; NUL-terminated. */
const char *bpe_token(const struct bpe *m, int32_t id, size_t *len);

/* Appends the ids of one word (what the pre-tokenizer leaves whole; may be a whole text), in UTF-8;
 * for a byte-level model any bytes. O(n log n) at worst; words seen before come from a cache. */
void bpe_encode(struct bpe *m, const char *word, size_t len, struct ids *out);

#endif
