/* A training pass over the model: class logits of a batch, and from the loss's gradient by them the
 * gradients of an adapter. The base weights are constants.
 *
 * The batch is packed; what sequences begin with in common is computed once, and what they send
 * back to it is summed. Of every layer the input is kept, of the last ones all that they compute,
 * as many as memory is given for: the others are computed again when their turn comes on the way
 * back (Chen et al. 2016). The gradients have the same bytes either way. Past the last layer's keys
 * and values only the last positions are computed, on the way back as well. */
#ifndef DUQ_MODEL_BACKWARD_H
#define DUQ_MODEL_BACKWARD_H

#include "common/model/lora.h"
#include "common/model/training_batch.h"
#include "common/model/weights.h"

struct backward;

/* The model's classes are set, and the adapter's are the same. kept: layers that keep what they
 * compute, beside the last one, which always does. */
struct backward *backward_open(struct model *m, struct lora_set *lora, int kept);
void backward_close(struct backward *b);

/* The part's class logits. */
struct pass_logits {
    float *logits;        /* on the device: [n, nodes, n_classes], in the packed order */
    const int32_t *order; /* [n]: i is the pass's sequence order[i] */
    int n;
};
/* Those of the model with its adapter, where each sequence is read (struct pass); they stay until
 * the next pass. */
struct pass_logits backward_logits(struct backward *b, const struct pass *p);

/* From the loss's gradient by the logits, which has taken their place: adds to the lora's
 * gradients. */
void backward_gradients(struct backward *b);

#endif
