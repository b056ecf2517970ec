/* What a student learns from, or is measured on: token sequences, each with its teacher's word on
 * it. */
#ifndef DUQ_TRAIN_TRAINING_SET_H
#define DUQ_TRAIN_TRAINING_SET_H

#include "common/math/loss.h"
#include "common/model/answer_tree.h"
#include "common/model/batch.h"
#include "common/model/config.h"
#include "common/stream/stream.h"
#include "common/train/ranks.h"
#include "common/util/digest.h"

struct training_set {
    int n, n_classes;
    char **ids;                     /* [n] */
    struct sequence *sequences;     /* [n], in stream order */
    double *targets;                /* [n, n_classes], what loss_value() takes, but for draws */
    int *labels;                    /* [n], the tokens' or else the teacher's; or NO_LABEL */
    double *weights;                /* [n], of their losses in a mean; NULL: 1 each */
    int n_outputs;                  /* tokens whose logits a student has */
    const struct answer_tree *tree; /* of the classes' answers; NULL: a token for each */
    int32_t *class_tokens;          /* [n_outputs]: the tree's, then any of deviations */
    json_t *classes;                /* names, as in the header; may be NULL */
    json_t *layout;                 /* of the prompts, as in the header; NULL: plain */
    json_t *asked;                  /* how texts were asked, as in the header; may be NULL */
    json_t *instructions;           /* the numbers of those they were asked by */
    char digest[DIGEST_SIZE];       /* "xxh64:" and 16 digits, of all but labels and weights */
};

/* Reads a tokens stream and, but for a loss on labels, the prediction stream `teacher` (NULL then),
 * which must hold each of its ids; records of one id under several prompts are examples each. Dies
 * (EX_DATAERR), naming file and record: a text that comes twice under one prompt, no or another
 * teacher's word on an id, a teacher of another task, labels or classes that disagree, no members
 * where the loss needs them, probabilities that are none, no label under a loss on labels (the
 * message says which options need it), ib-edl with answers that take several tokens to tell. */
struct training_set *training_set_read(struct stream_reader *tokens, const char *teacher,
                                       const struct config *c, enum loss_kind loss,
                                       const char *options);
/* Gives rank 0's set t to all ranks; theirs is NULL. */
struct training_set *training_set_share(struct training_set *t, struct ranks *r);
void training_set_free(struct training_set *t);

/* Of each class, n / (classes * its examples), as scikit-learn's "balanced"; the caller frees them.
 * Dies (EX_DATAERR) where a class has none. */
double *balanced_weights(const struct training_set *t);
/* Gives each example the weight of its label, of which there must be one; weights: [n_classes]. */
void training_set_weigh(struct training_set *t, const double *weights);

#endif
