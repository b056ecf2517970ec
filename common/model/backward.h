/* A training pass over the model: class logits of a batch, and from the loss's gradient by them the
 * gradients of an adapter. The base weights are constants.
 *
 * The batch is packed; what sequences begin with in common is computed once, and what they send
 * back to it is summed. Of every layer only the input is kept: the rest is computed again when its
 * turn comes on the way back (Chen et al. 2016). Past the last layer's keys and values only the
 * last positions are computed, on the way back as well. */
#ifndef DUQ_MODEL_BACKWARD_H
#define DUQ_MODEL_BACKWARD_H

#include "common/model/batch.h"
#include "common/model/lora.h"
#include "common/model/weights.h"

struct backward;

/* The model's classes and its lora are set, and the set's classes are the same. */
struct backward *backward_open(struct model *m);
void backward_close(struct backward *b);

/* logits (host) [n, n_classes]: the model's with the adapter, at each sequence's last position. */
void backward_logits(struct backward *b, const struct sequence *s, int n, float *logits);

/* d_logits (host) [n, n_classes]: the loss's gradient by what backward_logits() gave last. Adds to
 * the lora's gradients. Dropout must not have been set anew since. */
void backward_gradients(struct backward *b, const float *d_logits);

#endif
