/* Rotary positions: the tables that the device's rope operation reads. */
#ifndef DUQ_MODEL_ROPE_H
#define DUQ_MODEL_ROPE_H

#include "common/model/config.h"
#include "kernels/ops.h"

/* [positions, dims / 2] each. */
struct rotation_table {
    float *cosine, *sine;
    float *minus_sine; /* for rotating back; NULL where that was not asked for */
};

/* On a device; start from {0}. */
struct rotation {
    int positions; /* room */
    /* Of keys; of queries the same ones, unless they are scaled by their positions. */
    struct rotation_table keys[MOST_ROTARIES], queries[MOST_ROTARIES];
};

/* Makes the tables reach that many positions at least. They are times the configuration's
 * magnitude; angles are products of floats, as transformers has them. back: minus_sine as well. */
void rotation_reserve(struct rotation *r, struct device *d, const struct config *c, int positions,
                      bool back);
void rotation_release(struct rotation *r, struct device *d);

#endif
