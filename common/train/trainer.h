/* Optimizer steps on a device. An adapter's values, its gradients and AdamW's averages stay there;
 * what goes there is each pass's tokens and targets, what comes back the examples' losses and the
 * gradients' norm.
 *
 * Several ranks take a step together: each computes a part of every pass (backward.h), their
 * gradients are summed in the order of the ranks, and all step alike. */
#ifndef DUQ_TRAIN_TRAINER_H
#define DUQ_TRAIN_TRAINER_H

#include "common/math/loss.h"
#include "common/model/adapter.h"
#include "common/model/weights.h"
#include "common/train/checkpoint.h"
#include "common/train/optimizer.h"
#include "common/train/ranks.h"
#include "common/train/training_set.h"

struct trainer_settings {
    struct loss loss; /* but for kl_weight, which each step has */
    struct adapter_settings adapter;
    struct adamw adamw;
    double clip;    /* limit on the gradients' norm; 0: none */
    int batch;      /* examples of one pass */
    int accumulate; /* passes of one optimizer step */
    int kept;       /* layers that keep what they compute (backward.h); changes no result */
    uint64_t seed;
};

struct trainer;

/* The model's device and classes are set, these to the set's outputs; the adapter becomes its lora.
 * All but the set must outlive the trainer. */
struct trainer *trainer_open(struct model *m, const struct adapter *a,
                             const struct training_set *set, const struct trainer_settings *s,
                             struct ranks *r);
void trainer_close(struct trainer *t);

struct step {
    const struct training_set *set;
    const int *examples; /* [n]: their numbers in the set */
    int n;               /* from 1 to batch * accumulate */
    double rate;         /* AdamW's learning rate */
    double alpha0_rate;  /* of the learned ln a0 */
    double kl_weight;    /* of LOSS_EDL */
    bool whole_input;    /* without the adapter's dropout */
};

struct step_result {
    double loss;     /* the examples' mean, by their weights, before the step */
    int bad_example; /* its number in the set: the first whose loss is not finite; or -1 */
    bool finite;     /* of all losses and gradients; if not, the step was not taken */
};

/* Of the whole step in every rank. */
struct step_result trainer_step(struct trainer *t, const struct step *s);

/* Optimizer steps taken, those before a restored state among them. */
unsigned long trainer_steps(const struct trainer *t);
/* The learned ln a0, with ALPHA0_LEARNED. */
double trainer_log_alpha0(const struct trainer *t);

/* Room for a state; its parameters are named, its arrays zero. */
struct training_state *trainer_state(const struct trainer *t);
void training_state_free(struct training_state *s);
/* Copies the state from the trainer, or to it. */
void trainer_save(struct trainer *t, struct training_state *s);
void trainer_restore(struct trainer *t, const struct training_state *s);
/* The parameters alone, as a state has them: [state's n]. */
void trainer_values(struct trainer *t, float *to);
void trainer_set_values(struct trainer *t, const float *from);
/* Copies the values to the adapter. */
void trainer_fetch(struct trainer *t, struct adapter *a);

/* What the student adds to the model's products, without dropout until the next step; for
 * forward passes between steps. */
struct lora_set *trainer_lora(struct trainer *t);

#endif
