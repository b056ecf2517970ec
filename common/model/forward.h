/* The transformer's forward pass over a packed batch: tokens to class logits, computing only what
 * those need. */
#ifndef DUQ_MODEL_FORWARD_H
#define DUQ_MODEL_FORWARD_H

#include "common/model/batch.h"
#include "common/model/lora.h"
#include "common/model/vocabulary.h"
#include "common/model/weights.h"

/* Keys and values of shared prefixes, by layer: [rows, kv_heads * head_dim], f32, on the device. */
struct prefix_cache {
    int rows; /* room for so many tokens */
    float **k, **v;
};

/* Working memory of passes, on the device; grows to the largest batch. */
struct forward;

/* lora: what is added to the model's products, or NULL. */
struct forward *forward_open(struct model *m, struct lora_set *lora);
void forward_close(struct forward *f);

/* Sets cache up for `rows` tokens (keeping nothing); start from {0}. */
void prefix_cache_reserve(struct prefix_cache *c, const struct model *m, int rows);
void prefix_cache_free(struct prefix_cache *c, const struct model *m);

/* Computes the batch's keys and values into rows 0 .. n_tokens - 1 of the cache. The batch's
 * sequences are prefixes themselves and have none. */
void forward_prefixes(struct forward *f, const struct batch *b, struct prefix_cache *c);

/* logits (host) [n_reads, n_classes]: those of the model's class tokens at the positions that are
 * read at, in the order of the spans. c may be NULL when no sequence has a prefix. norms (host)
 * [n_reads]: log sum exp of all tokens' logits there, where `all` is not NULL. */
void forward_logits(struct forward *f, const struct batch *b, const struct prefix_cache *c,
                    float *logits, struct vocabulary *all, double *norms);

#endif
