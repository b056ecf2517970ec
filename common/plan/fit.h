/* What work takes of a device's memory, and how much of it to do at once so that it fits. Counted
 * by the engine itself on a device that only counts (count_device.h). */
#ifndef DUQ_PLAN_FIT_H
#define DUQ_PLAN_FIT_H

#include "common/score/score.h"
#include "common/train/trainer.h"

/* Bytes. */
struct score_memory {
    double weights, adapter;
    double pass; /* of one of batch_tokens, whether they are as many records' last or all of one's:
                  * activations, and what attention takes */
    double prefixes; /* keys and values of batch_tokens shared tokens; 0 without sharing */
};

/* The model is on its device, with its classes. a: the adapter that its passes add, or NULL. */
struct score_memory score_memory(const struct model *m, const struct adapter *a,
                                 struct score_options options);

enum { LEAST_BATCH_TOKENS = 64, CPU_BATCH_TOKENS = 2048, MOST_BATCH_TOKENS = 16384 };

/* For these options but batch_tokens: on the processor CPU_BATCH_TOKENS. Elsewhere the largest
 * power of two, from LEAST_BATCH_TOKENS to MOST_BATCH_TOKENS, whose pass and prefixes fit in nine
 * tenths of the memory that is free now, for a library's kernels take some when they first run; if
 * none does, the least. Powers of two: so that a little more or less of free memory mostly changes
 * nothing. */
int fitting_batch_tokens(const struct model *m, const struct adapter *a,
                         struct score_options options);

/* Bytes of training: the adapter with its gradients and AdamW's averages, and the most that a pass
 * holds beside it, taken over the longest examples; and what a pass of validation holds beside
 * both, for what training has taken stays. */
struct train_memory {
    double weights, adapter, pass, validation;
};

/* validation: the set, or NULL for none. */
struct train_memory train_memory(const struct model *m, const struct trainer_settings *s,
                                 const struct training_set *set,
                                 const struct training_set *validation);

/* How many layers can keep what they compute (struct trainer_settings) in a pass over the longest
 * examples: as many as fit in nine tenths of the memory that is free now; on the processor, which
 * others use as well, in half of it. */
int fitting_kept_layers(const struct model *m, const struct trainer_settings *s,
                        const struct training_set *set, const struct training_set *validation);

#endif
