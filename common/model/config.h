/* A model's config.json: what shapes its computation, for the architectures we know. */
#ifndef DUQ_MODEL_CONFIG_H
#define DUQ_MODEL_CONFIG_H

#include "kernels/ops.h"

#include <jansson.h>
#include <stdbool.h>

/* How queries and keys turn with their positions. */
struct rotary {
    int dims;         /* of each head, from the first on */
    float *frequency; /* [dims / 2]: angle per position, RoPE scaling included */
    float magnitude;  /* what cosines and sines are multiplied by (YaRN) */
    /* Queries at position p are times 1 + growth ln(1 + floor(p / growth_step)); 0: they are not
     * (Llama 4's attention temperature). */
    float growth;
    int growth_step;
};
enum { MOST_ROTARIES = 2, NO_ROTARY = -1 };

/* Where a layer has norms: before attention and MLP, before and after each, or after each. */
enum norm_places { NORMS_BEFORE, NORMS_AROUND, NORMS_AFTER };

/* What is normed of queries and keys before they turn: each head, or all heads of a row at once. */
enum qk_norms { NO_QK_NORMS, QK_NORMS_OF_HEADS, QK_NORMS_OF_ROWS };

struct config {
    char *folder;       /* the model's; or the file that stands for it */
    char *path;         /* what was read: its config.json, or a GGUF file */
    char *architecture; /* "MistralForCausalLM" ... */
    int vocab, width, layers, intermediate;
    int heads, kv_heads, head_dim;
    int max_positions;
    float norm_eps;
    bool tied;         /* output matrix = embedding */
    enum dtype stored; /* what most weights are said to be; BF16 where nothing is said */
    bool qkv_bias, o_bias, mlp_bias;
    bool fused; /* files have qkv_proj and gate_up_proj */
    enum activation activation;
    enum norm_places norms;
    enum qk_norms qk_norms;
    float gain_shift; /* norms multiply by what is stored and this */
    int *window;      /* [layers]: positions a query sees, its own included; 0: all */
    struct rotary rotaries[MOST_ROTARIES];
    int n_rotaries;
    int *rotary; /* [layers]: one of these, or NO_ROTARY */
    float embedding_scale, residual_scale, attention_scale, logit_scale;
    float attention_cap, logit_cap; /* x becomes cap tanh(x / cap); 0: it stays */
};

/* Reads FOLDER/config.json, or the GGUF file that the folder, or what is named instead of one,
 * stands for (gguf_of_model()). Dies (EX_DATAERR), naming the file and the field, at anything it
 * does not know to compute exactly: other architectures, activations, RoPE scalings, quantisation.
 */
struct config *config_read(const char *folder);
/* The same of a file by whatever name; `folder` is then its path. */
struct config *config_read_file(const char *path);
void config_free(struct config *c);
/* The fields above that shape results, for digests and messages. New reference. */
json_t *config_json(const struct config *c);

#endif
