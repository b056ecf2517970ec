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

/* What a pass is over: n sequences, of which this process computes the part numbered `part` of
 * `parts`. The sequences are grouped and their rows numbered for dropout as one part would have
 * them, then the packed order is cut where about as many tokens fall to each part; so what is
 * computed of a sequence does not depend on the number of parts. A part may be empty. */
struct pass {
    const struct sequence *sequences; /* [n] */
    int n;
    int part, parts;
    double dropout; /* rate */
    uint64_t seed;
    uint32_t number; /* of the pass, for dropout */
};

/* The part's class logits. */
struct pass_logits {
    float *logits;        /* on the device: [n, n_classes], in the packed order */
    const int32_t *order; /* [n]: row i is of the pass's sequence order[i] */
    int n;
};
/* Those of the model with its adapter, at each sequence's last position; they stay until the next
 * pass. */
struct pass_logits backward_logits(struct backward *b, const struct pass *p);

/* From the loss's gradient by the logits, which has taken their place: adds to the lora's
 * gradients. */
void backward_gradients(struct backward *b);

#endif
