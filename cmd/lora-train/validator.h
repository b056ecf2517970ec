/* What lora-train's validation is computed by: lm-score's passes, dir-eval's figures. */
#ifndef DUQ_CMD_LORA_TRAIN_VALIDATOR_H
#define DUQ_CMD_LORA_TRAIN_VALIDATOR_H

#include "common/model/weights.h"
#include "common/train/ranks.h"
#include "common/train/trainer.h"

/* taught: whether the set has a teacher's targets, or labels under a loss on labels; if not, the
 * validation loss is the labels' negative log-likelihood. Each rank scores a part of the set. All
 * must outlive the validator. */
struct validator *validator_open(struct model *m, const struct training_set *set, bool taught,
                                 const struct trainer_settings *s, struct ranks *r);
void validator_close(struct validator *v);

#endif
