/* A training pass's sequences packed into rows, on the host: what they begin with in common stands
 * once, and the packed order is cut where several processes share a pass. */
#ifndef DUQ_MODEL_TRAINING_BATCH_H
#define DUQ_MODEL_TRAINING_BATCH_H

#include "common/model/batch.h"

/* What a pass is over: n sequences, of which this process computes the part numbered `part` of
 * `parts`. The sequences are grouped and their rows numbered for dropout as one part would have
 * them, then the packed order is cut where about as many tokens fall to each part; so what is
 * computed of a sequence does not depend on the number of parts. A part may be empty. */
struct pass {
    const struct sequence *sequences; /* [n] */
    int n;
    const struct answer_tree *tree; /* where they are read, NULL: at their last positions */
    int part, parts;
    double dropout; /* rate */
    uint64_t seed;
    uint32_t number; /* of the pass, for dropout */
};

/* Grows; start from {0}. Spans are of each group its shared prefix, then its sequences in the
 * packed order, of which this part's are those from `first` on, each with the tree's branches as in
 * struct batch. */
struct training_batch {
    int rows, first, sequences, n_spans, max_position;
    int reads, n_copies;
    int32_t *order;                      /* of the whole pass: each one's number in it */
    int32_t *tokens, *positions;         /* [rows] */
    int32_t *last_rows, *last_positions; /* [reads]: a sequence's nodes together */
    int32_t *dropout_rows;               /* [rows]: their numbers where one part does all */
    int32_t *last_dropout_rows;          /* [reads]: the same of what is read */
    struct attention_span *spans;        /* [n_spans] */
    struct attention_span *last_spans;   /* [n_spans]: asked for where they are read alone */
    int32_t *copies;                     /* [n_copies] */
};

void training_batch_pack(struct training_batch *b, const struct pass *p);
void training_batch_free(struct training_batch *b);

#endif
