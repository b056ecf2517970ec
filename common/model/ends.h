/* Both ends of a pass, which scoring and training share: the embedding, and the class logits. */
#ifndef DUQ_MODEL_ENDS_H
#define DUQ_MODEL_ENDS_H

#include "common/model/lora.h"
#include "common/model/weights.h"

/* x [n, width] = the tokens' embeddings; tokens and x are on the device. */
void embed_tokens(const struct model *m, const int32_t *tokens, int n, float *x);

/* What the model does to logits past its output matrix: their scale and soft cap, in place. */
void finish_logits(const struct model *m, float *logits, size_t n);

/* hidden [n, width] = the norm of x, the last layer's result; logits [n, n_classes] are those of
 * the classes, with what the adapter adds unless lora is NULL. */
void class_logits(const struct model *m, struct lora_set *lora, const float *x, int n,
                  float *hidden, float *logits);

/* From the gradients by the logits, which it changes, to d_hidden [n, width], those by hidden; adds
 * to the adapter's. capped: the logits of class_logits(), read where the model caps them. */
void class_logits_backward(const struct model *m, struct lora_set *lora, const float *hidden,
                           const float *capped, float *d_logits, int n, float *d_hidden);

#endif
