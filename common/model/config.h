/* A model's config.json: what shapes its computation, for the architectures we know. */
#ifndef DUQ_MODEL_CONFIG_H
#define DUQ_MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

struct config {
    char *folder;
    char *architecture; /* "MistralForCausalLM", "LlamaForCausalLM" or "Qwen2ForCausalLM" */
    int vocab, width, layers, intermediate;
    int heads, kv_heads, head_dim;
    int max_positions;
    float norm_eps;
    bool tied; /* output matrix = embedding */
    bool qkv_bias, o_bias, mlp_bias;
    int *window;          /* [layers]: positions a query sees, its own included; 0: all */
    float *frequency;     /* [head_dim / 2]: angle per position, RoPE scaling included */
    float rope_magnitude; /* what cosines and sines are multiplied by (YaRN) */
};

/* Reads FOLDER/config.json. Dies (EX_DATAERR), naming the file and the field, at anything it does
 * not know to compute exactly: other architectures, activations, RoPE scalings, quantisation. */
struct config *config_read(const char *folder);
/* The same of a file by whatever name; `folder` is then its path. */
struct config *config_read_file(const char *path);
void config_free(struct config *c);
/* The fields above that shape results, for digests and messages. New reference. */
json_t *config_json(const struct config *c);

#endif
