/* A model: its configuration and its weights, first as they lie in the files, then on a device. */
#ifndef DUQ_MODEL_WEIGHTS_H
#define DUQ_MODEL_WEIGHTS_H

#include "common/model/adapter.h"
#include "common/model/config.h"
#include "common/model/safetensors.h"
#include "kernels/ops.h"

/* Gains of norms and biases are f32 on the device; what the architecture lacks is NULL. */
struct layer {
    float *attention_norm, *attention_out_norm; /* before attention and after it, [width] */
    float *mlp_norm, *mlp_out_norm;             /* the same of the MLP */
    float *q_norm, *k_norm;                     /* [head_dim], or [heads * head_dim] */
    struct weight *weights[LAYER_PROJECTIONS];
    float *biases[LAYER_PROJECTIONS];
};

/* The whole output matrix, for the logits of all tokens. */
struct output_matrix {
    const void *rows; /* imported, [vocab, width] */
    enum dtype type;
    void *merged; /* on the host, where something is merged into it */
};

struct model {
    struct config *config;
    struct safetensors *tensors;
    char digest[DIGEST_SIZE]; /* "xxh64:" and 16 hex digits; see model_open */

    /* From model_load() on. */
    struct device *device;
    struct layer *layers;
    const void *embedding; /* imported, [vocab, width] of type embedding_type */
    enum dtype embedding_type;
    float *norm; /* [width], before the output matrix */

    const struct adapter *merged; /* see model_merge() */

    /* From model_set_classes() on: the output matrix's rows of these tokens. */
    int n_classes;
    float *class_rows; /* [n_classes, width] */

    struct output_matrix output; /* from model_output() on */
};

/* Maps the folder's weights and checks every tensor's presence, shape and type. Dies (EX_DATAERR,
 * EX_NOINPUT) naming what is wrong.
 *
 * The digest tells models apart without reading all of them: XXH64 over config_json() (sorted keys,
 * compact) and, in order of names, each tensor's "name dtype [shape]" and sampled bytes: all of
 * them up to 64 KiB, otherwise sixteen pieces of 4 KiB at even distances, first and last included.
 */
struct model *model_open(const char *folder);

/* A model of a configuration's shape with no weights: all are zero, of the type given, and take no
 * memory. path: a config.json. For counting what a pass takes (count_device.h). No digest. */
struct model *model_without_weights(const char *path, enum dtype stored);

/* The type that most of the weights are stored in. */
enum dtype model_stored_type(const struct model *m);
/* Weights in the products of one token's pass (each gives a multiplication and an addition). */
double model_products(const struct model *m);

/* Before model_load(): weights are the base's plus the adapter's scale B A, rounded to the type
 * they are stored in, as PEFT's merge_and_unload() has them. The adapter must outlive the model. */
void model_merge(struct model *m, const struct adapter *a);

/* Prepares all weights on the device, which must outlive the model. */
void model_load(struct model *m, struct device *device);

/* Which tokens' logits forward_logits() gives. Dies (EX_DATAERR) at one outside the vocabulary. */
void model_set_classes(struct model *m, const int32_t *tokens, int n);

/* Imports the output matrix when first called; the model is loaded. */
const struct output_matrix *model_output(struct model *m);

void model_close(struct model *m);

#endif
