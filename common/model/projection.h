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

/* The first projection of the same input, and the one after the last: of q, k and v; of gate and
 * up; of others themselves. */
enum projection shared_first(enum projection p);
enum projection shared_end(enum projection p);

/* Where files have several projections of one input in one matrix, one after another: q, k and v,
 * gate and up. Which rows of it are a projection's; of one that is not fused, or in a model that
 * has none, all. */
struct fused_projection {
    int first, out; /* its first row; the matrix's rows */
};
struct fused_projection fused_projection(const struct config *c, enum projection p);
/* Its module in a fused checkpoint, "model.layers.0.self_attn.qkv_proj", as a new string. */
char *fused_module(enum projection p, int layer);

#endif
