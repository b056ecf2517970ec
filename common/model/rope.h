/* Rotary positions: the tables that the device's rope operation reads. */
#ifndef DUQ_MODEL_ROPE_H
#define DUQ_MODEL_ROPE_H

#include "common/model/config.h"

/* Both [positions, head_dim / 2], times the configuration's magnitude. Angles are products of
 * floats, as transformers has them. */
void rope_tables(const struct config *c, int positions, float *cosine, float *sine);

#endif
