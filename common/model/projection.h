/* The matrices of a model that products and adapters are about: what they are called in files, and
 * their shapes. */
#ifndef DUQ_MODEL_PROJECTION_H
#define DUQ_MODEL_PROJECTION_H

#include "common/model/config.h"

#include <stdbool.h>

/* Those of a layer in the order of their use, and the output matrix. */
enum projection { Q_PROJ, K_PROJ, V_PROJ, O_PROJ, GATE_PROJ, UP_PROJ, DOWN_PROJ, LM_HEAD };
enum { LAYER_PROJECTIONS = LM_HEAD, PROJECTIONS };

/* "q_proj" ... */
const char *projection_name(enum projection p);
/* Its module in a checkpoint, "model.layers.0.self_attn.q_proj", as a new string. layer is not
 * looked at for LM_HEAD. */
char *projection_module(enum projection p, int layer);

struct projection_shape {
    int out, in;
    bool bias;
};
struct projection_shape projection_shape(const struct config *c, enum projection p);

#endif
