#include "common/train/optimizer.h"

#include <math.h>

struct adamw_factors adamw_factors(const struct adamw *o, double rate, unsigned long step)
{
    double correction1 = 1 - pow(o->beta1, (double)step);
    return (struct adamw_factors){
        .rest1 = (float)(1 - o->beta1),
        .beta2 = (float)o->beta2,
        .rest2 = (float)(1 - o->beta2),
        .root_correction2 = (float)sqrt(1 - pow(o->beta2, (double)step)),
        .epsilon = (float)o->epsilon,
        .keep = (float)(1 - rate * o->weight_decay),
        .size = (float)(rate / correction1),
    };
}

float clip_factor(double norm, double limit)
{
    float factor = (float)(limit / (norm + 1e-6));
    return factor < 1 ? factor : 1;
}

double schedule_factor(const struct schedule *s, unsigned long step)
{
    if (step < s->warmup)
        return (double)step / (double)s->warmup;
    if (s->kind == SCHEDULE_CONSTANT)
        return 1;
    unsigned long span = s->total > s->warmup ? s->total - s->warmup : 1;
    double done = (double)(step - s->warmup) / (double)span;
    return fmax(0, 0.5 * (1 + cos(3.14159265358979323846 * done)));
}
