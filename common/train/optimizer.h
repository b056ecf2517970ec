/* What the steps of AdamW, gradient clipping and learning-rate schedules come to, as PyTorch and
 * transformers have them. Their work on arrays is the device's (kernels/ops.h). */
#ifndef DUQ_TRAIN_OPTIMIZER_H
#define DUQ_TRAIN_OPTIMIZER_H

#include "common/math/adamw.h"

struct adamw {
    double beta1, beta2, epsilon, weight_decay;
};

/* torch.optim.AdamW's defaults. */
#define ADAMW_DEFAULTS ((struct adamw){0.9, 0.999, 1e-8, 0.01})

/* A step of torch.optim.AdamW at the given learning rate; step counts from 1. */
struct adamw_factors adamw_factors(const struct adamw *o, double rate, unsigned long step);

/* What gradients of this norm are scaled by: min(1, limit / (norm + 1e-6)), as torch's
 * clip_grad_norm_. */
float clip_factor(double norm, double limit);

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_COSINE };
struct schedule {
    enum schedule_kind kind;
    unsigned long warmup, total; /* optimizer steps */
};

/* The factor on the learning rate at a step counted from 0: rises linearly from 0 over the warm-up,
 * then stays at 1 or falls to 0 along half a cosine (transformers'
 * get_constant_schedule_with_warmup and get_cosine_schedule_with_warmup). */
double schedule_factor(const struct schedule *s, unsigned long step);

#endif
