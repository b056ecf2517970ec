/* LoRA adapters in PEFT's folder format: adapter_config.json and adapter_model.safetensors, which
 * PEFT reads and writes, and duq.json with what only we record. Hu et al. 2021.
 *
 * A targeted module's product W x becomes W x + scale B A x, with scale = alpha / rank, or
 * alpha / sqrt(rank) for rsLoRA. lm_head's B has a row for each token of the vocabulary, as PEFT
 * expects, though only the class tokens' rows see gradient: the others keep their initial zero.
 * With tied embeddings lm_head's adapter is of the output product alone, as in PEFT.
 *
 * Where a model's files fuse projections (qkv_proj), so do PEFT's: the parts of one module are
 * trained each by itself, and written as one of as many times the rank. Read, they share A. */
#ifndef DUQ_MODEL_ADAPTER_H
#define DUQ_MODEL_ADAPTER_H

#include "common/model/projection.h"
#include "common/util/digest.h"
#include "common/util/dtype.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The adapter of one matrix [out, in]. */
struct lora {
    char *module; /* "model.layers.0.self_attn.q_proj", "lm_head"; the same of fused projections */
    int in, out, rank;
    struct fused_projection fused; /* which rows of its module are its own */
    float scale;
    float *a, *b; /* [rank, in], [out, rank]; NULL where the adapter has none */
};

struct adapter_settings {
    int rank;
    double alpha, dropout;
    bool rslora;
    bool targets[PROJECTIONS]; /* in every layer; not looked at where there is a pattern */
    const char *pattern;       /* of modules' names (target_pattern.h), or NULL */
};

/* Sets the targets that a list names: "q,k,lm_head", with or without their _proj; "all-linear", all
 * but lm_head, as PEFT has it; "pattern:REGEX", whose text must outlive the settings. NULL, or what
 * is wrong with the list, which the caller frees. */
char *adapter_targets(const char *list, struct adapter_settings *s);
#define ADAPTER_TARGETS "q,k,v,o,lm_head"

struct adapter {
    struct adapter_settings settings;
    int layers;
    struct lora *parts;       /* [layers * LAYER_PROJECTIONS + 1]; see adapter_part() */
    json_t *facts;            /* duq.json, or NULL where it has none */
    char digest[DIGEST_SIZE]; /* of what adapter_read() read: "xxh64:" and 16 digits */
};

/* layer is not looked at for LM_HEAD. */
struct lora *adapter_part(const struct adapter *a, int layer, enum projection p);
size_t adapter_parts(const struct adapter *a);
/* to [in] = row `row` of W + scale B A, with W [out, in] and `to` of the given type. */
void lora_merge_row(const struct lora *l, int row, enum dtype type, const void *w, void *to);

/* A new one: A Kaiming-uniform as PEFT has it (U(-1/sqrt(in), 1/sqrt(in))), B zero. Dies
 * (EX_DATAERR) where the pattern matches no module. */
struct adapter *adapter_create(const struct config *c, const struct adapter_settings *s,
                               uint64_t seed);

/* Reads a folder; digest: the base model's (model_open()). Dies (EX_DATAERR, EX_NOINPUT), naming
 * the file and the key, at a tensor that matches nothing or does not fit, a target without its
 * tensors, a PEFT feature we do not compute, and an adapter made for another base model. A copy of
 * the base's own weights, which PEFT saves along with an adapter of lm_head, is compared with
 * them (base). */
struct safetensors;
struct adapter *adapter_read(const char *folder, const struct config *c, const char *digest,
                             const struct safetensors *base);

/* Writes the folder so that a reader finds either a whole adapter or none: adapter_config.json goes
 * first and comes last. */
void adapter_write(const struct adapter *a, const char *folder, const char *base_folder);

void adapter_free(struct adapter *a);

#endif
