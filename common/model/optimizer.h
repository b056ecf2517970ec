/* AdamW, gradient clipping and learning-rate schedules, as PyTorch and transformers compute them.
 * Parameters, gradients and state are single precision; sums over parameters are double and in a
 * fixed order, so that results do not depend on the number of threads. */
#ifndef DUQ_MODEL_OPTIMIZER_H
#define DUQ_MODEL_OPTIMIZER_H

#include "common/model/adamw.h"

#include <stddef.h>

struct parameter {
    char *name;      /* as in the adapter's file */
    float *value;    /* [n] */
    float *gradient; /* [n] */
    float *m, *v;    /* [n], AdamW's moving averages */
    size_t n;
    double rate_scale; /* of the schedule's learning rate */
};

struct adamw {
    double beta1, beta2, epsilon, weight_decay;
};

/* torch.optim.AdamW's defaults. */
#define ADAMW_DEFAULTS ((struct adamw){0.9, 0.999, 1e-8, 0.01})

/* step counts from 1. */
struct adamw_factors adamw_factors(const struct adamw *o, double rate, unsigned long step);

/* One step of torch.optim.AdamW at the given learning rate; step counts from 1. */
void adamw_step(const struct adamw *o, struct parameter *parameters, size_t count, double rate,
                unsigned long step);

/* The 2-norm of all gradients together. */
double gradient_norm(const struct parameter *parameters, size_t count);
/* Scales all gradients by min(1, limit / (norm + 1e-6)), as torch's clip_grad_norm_. */
void clip_gradients(struct parameter *parameters, size_t count, double norm, double limit);

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
