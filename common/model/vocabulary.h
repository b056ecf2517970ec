/* The logits of the whole vocabulary, and what they sum to: the denominator of a token's
 * probability. */
#ifndef DUQ_MODEL_VOCABULARY_H
#define DUQ_MODEL_VOCABULARY_H

#include "common/model/lora.h"
#include "common/model/weights.h"

struct vocabulary;

/* The model is loaded, what is merged into it with it. lora: what passes add, or NULL. Both must
 * outlive the vocabulary. */
struct vocabulary *vocabulary_open(struct model *m, const struct lora_set *lora);
void vocabulary_close(struct vocabulary *v);

/* Makes room for so many rows. */
void vocabulary_reserve(struct vocabulary *v, int rows);

/* norms (host) [rows]: log sum exp of all tokens' logits, from hidden (device) [rows, width], past
 * the final norm. Products in f32, some thousand tokens at a time; the sum in double precision, in
 * the order of the tokens. */
void vocabulary_norms(struct vocabulary *v, const float *hidden, int rows, double *norms);

#endif
