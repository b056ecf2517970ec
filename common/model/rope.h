/* Rotary positions: the tables that the device's rope operation reads. */
#ifndef DUQ_MODEL_ROPE_H
#define DUQ_MODEL_ROPE_H

#include "common/model/config.h"
#include "kernels/ops.h"

/* On a device; start from {0}. */
struct rotation {
    int positions;        /* room */
    float *cosine, *sine; /* [positions, head_dim / 2] */
    float *minus_sine;    /* the same, for rotating back; NULL where that was not asked for */
};

/* Makes the tables reach that many positions at least. They are times the configuration's
 * magnitude; angles are products of floats, as transformers has them. back: minus_sine as well. */
void rotation_reserve(struct rotation *r, struct device *d, const struct config *c, int positions,
                      bool back);
void rotation_release(struct rotation *r, struct device *d);

#endif
