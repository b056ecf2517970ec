#include "common/model/gguf_config.h"

#include "common/model/gguf_family.h"
#include "common/util/diag.h"
#include "common/util/gguf_type.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    const struct gguf *file;
    const struct gguf_family *family;
    json_t *config;
};

/* The file's key of a setting of the model; the caller frees it. */
static char *full_key(const struct reading *r, const char *name)
{
    return xasprintf("%s.%s", r->family->name, name);
}

/* A setting of the model, or NULL. New reference. */
static json_t *value_of(const struct reading *r, const char *name)
{
    char *key = full_key(r, name);
    const struct gguf_setting *s = gguf_find(r->file, key);
    free(key);
    return s ? gguf_json(r->file, s) : NULL;
}

static bool is(const struct reading *r, const char *name, json_t *wanted)
{
    json_t *value = value_of(r, name);
    bool equal = !value || json_equal(value, wanted);
    json_decref(value);
    json_decref(wanted);
    return equal;
}

/* ---- settings that are followed only at one value, or not at all ---- */

/* In the file, and of no account for class logits; "rope." ones are read with the rotary tables. */
static bool is_read_elsewhere(const char *name)
{
    static const char *const names[] = {"attention.value_length",
                                        "attention.causal",
                                        "expert_count",
                                        "expert_used_count",
                                        "rope.dimension_count",
                                        "rope.scaling.type",
                                        "rope.scaling.factor",
                                        "rope.scaling.finetuned",
                                        "rope.scaling.attn_factor",
                                        "rope.scaling.yarn_beta_fast",
                                        "rope.scaling.yarn_beta_slow",
                                        "rope.scaling.original_context_length",
                                        "tensor_data_layout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static void need(const struct reading *r, bool good, const char *name, const char *what)
{
    if (!good)
        die(EX_DATAERR, "%s: %s.%s: %s not supported", gguf_path(r->file), r->family->name, name,
            what);
}

static void check_values(const struct reading *r)
{
    need(r, is(r, "expert_count", json_integer(0)), "expert_count", "a mixture of experts is");
    need(r, is(r, "attention.causal", json_true()), "attention.causal",
         "attention that is not causal is");
    json_t *key = json_incref(json_object_get(r->config, "head_dim"));
    need(r, is(r, "attention.value_length", key), "attention.value_length",
         "values of another length than keys are");
}

static void read_settings(const struct reading *r)
{
    size_t prefix = strlen(r->family->name);
    for (size_t i = 0; i < gguf_setting_count(r->file); i++) {
        const struct gguf_setting *s = gguf_setting_at(r->file, i);
        if (strncmp(s->key, r->family->name, prefix) != 0 || s->key[prefix] != '.')
            continue;
        const char *name = s->key + prefix + 1, *there = gguf_setting_name(r->family, name);
        if (!there && !is_read_elsewhere(name))
            die(EX_DATAERR,
                "%s: %s is not known: it may say that the model computes something else",
                gguf_path(r->file), s->key);
        if (there && s->is_array)
            die(EX_DATAERR, "%s: %s by layers is not supported", gguf_path(r->file), s->key);
        if (there)
            json_object_set_new(r->config, there, gguf_json(r->file, s));
    }
}

/* What the format leaves out where it is usual. */
static void complete_settings(const struct reading *r)
{
    static const char *const needed[] = {
        "context_length",      "embedding_length",     "block_count",
        "feed_forward_length", "attention.head_count", "attention.layer_norm_rms_epsilon"};
    json_t *c = r->config;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!json_object_get(c, gguf_setting_name(r->family, needed[i])))
            die(EX_DATAERR, "%s: %s.%s is missing", gguf_path(r->file), r->family->name, needed[i]);
    json_t *heads = json_object_get(c, "num_attention_heads");
    json_int_t width = json_integer_value(json_object_get(c, "hidden_size"));
    json_int_t n = json_integer_value(heads);
    if (!json_object_get(c, "num_key_value_heads"))
        json_object_set(c, "num_key_value_heads", heads);
    if (!json_object_get(c, "head_dim") && n > 0)
        json_object_set_new(c, "head_dim", json_integer(width / n));
    if (!json_object_get(c, "rope_theta"))
        json_object_set_new(c, "rope_theta", json_integer(10000));
    json_t *window = json_object_get(c, "sliding_window");
    if (json_is_integer(window) && json_integer_value(window) == 0)
        json_object_set_new(c, "sliding_window", json_null());
}

/* ---- rotary positions ---- */

static void copy_to(const struct reading *r, const char *name, json_t *to, const char *there)
{
    json_t *value = value_of(r, name);
    if (value)
        json_object_set_new(to, there, value);
}

/* A vector of F32, which says how frequencies are scaled one by one; NULL: there is none. */
static const struct gguf_tensor *factors_of(const struct reading *r, const char *name)
{
    const struct gguf_tensor *t = gguf_tensor_find(r->file, name);
    if (t && (t->type->number != GGML_F32 || t->n_dims != 1))
        die(EX_DATAERR, "%s: tensor %s is not a vector of F32", gguf_path(r->file), name);
    return t;
}

static json_t *factor_list(const struct gguf_tensor *t)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < t->shape[0]; i++) {
        float factor;
        memcpy(&factor, t->bytes + (size_t)i * sizeof factor, sizeof factor);
        json_array_append_new(list, json_real((double)factor));
    }
    return list;
}

/* Phi 3's, which are lists of factors for short and for long texts. */
static bool read_longrope(const struct reading *r)
{
    const struct gguf_tensor *shorter = factors_of(r, "rope_factors_short.weight");
    const struct gguf_tensor *longer = factors_of(r, "rope_factors_long.weight");
    if (!shorter != !longer)
        die(EX_DATAERR, "%s: rope_factors_%s.weight is missing", gguf_path(r->file),
            shorter ? "long" : "short");
    if (!shorter)
        return false;
    json_t *rope = json_pack("{s:s, s:o, s:o}", "rope_type", "longrope", "short_factor",
                             factor_list(shorter), "long_factor", factor_list(longer));
    copy_to(r, "rope.scaling.attn_factor", rope, "attention_factor");
    copy_to(r, "rope.scaling.original_context_length", r->config,
            "original_max_position_embeddings");
    json_object_set_new(r->config, "rope_scaling", rope);
    return true;
}

static void read_rope_scaling(const struct reading *r)
{
    if (read_longrope(r))
        return;
    need(r, is(r, "rope.scaling.attn_factor", json_real(1)), "rope.scaling.attn_factor",
         "another factor than 1 is");
    json_t *type = value_of(r, "rope.scaling.type");
    json_t *factor = value_of(r, "rope.scaling.factor");
    const char *name = type ? json_string_value(type) : factor ? "linear" : "none";
    if (!name || strcmp(name, "none") != 0) {
        json_t *rope = json_pack("{s:s}", "rope_type", name ? name : "?");
        copy_to(r, "rope.scaling.factor", rope, "factor");
        copy_to(r, "rope.scaling.original_context_length", rope,
                "original_max_position_embeddings");
        copy_to(r, "rope.scaling.yarn_beta_fast", rope, "beta_fast");
        copy_to(r, "rope.scaling.yarn_beta_slow", rope, "beta_slow");
        json_object_set_new(r->config, "rope_scaling", rope);
    }
    json_decref(type);
    json_decref(factor);
}

/* Only a part of each head may rotate. */
static void read_rotated_part(const struct reading *r)
{
    json_t *part = value_of(r, "rope.dimension_count");
    json_int_t rotated = json_integer_value(part);
    json_int_t head = json_integer_value(json_object_get(r->config, "head_dim"));
    if (part && head > 0 && rotated != head)
        json_object_set_new(r->config, "partial_rotary_factor",
                            json_real((double)rotated / (double)head));
    json_decref(part);
}

/* Of files made from models whose frequencies are scaled one by one (Llama 3.1 and later). */
static float *read_factors(const struct reading *r, size_t *n)
{
    const struct gguf_tensor *t = factors_of(r, "rope_freqs.weight");
    if (!t)
        return NULL;
    *n = (size_t)t->shape[0];
    float *factors = xmalloc(t->size);
    memcpy(factors, t->bytes, t->size);
    return factors;
}

/* ---- what tensors tell ---- */

static void set_bool_by_tensor(const struct reading *r, const char *key, const char *tensor,
                               bool if_there)
{
    bool there = gguf_tensor_find(r->file, tensor);
    json_object_set_new(r->config, key, json_boolean(there == if_there));
}

/* As config.json calls it: packed numbers are unpacked to single precision. */
static const char *read_as(const struct gguf_type *type)
{
    return !strcmp(type->name, "BF16")  ? "bfloat16"
           : !strcmp(type->name, "F16") ? "float16"
                                        : "float32";
}

static void read_tensors(const struct reading *r)
{
    set_bool_by_tensor(r, "tie_word_embeddings", "output.weight", false);
    set_bool_by_tensor(r, "attention_bias", "blk.0.attn_q.bias", true);
    set_bool_by_tensor(r, "mlp_bias", "blk.0.ffn_gate.bias", true);
    const struct gguf_tensor *embedding = gguf_tensor_find(r->file, "token_embd.weight");
    if (embedding)
        json_object_set_new(r->config, "dtype", json_string(read_as(embedding->type)));
    if (embedding && !json_object_get(r->config, "vocab_size"))
        json_object_set_new(r->config, "vocab_size", json_integer(embedding->shape[0]));
}

json_t *gguf_config(const struct gguf *g, float **factors, size_t *n_factors)
{
    char *type = gguf_text(g, "general.type");
    if (type && strcmp(type, "model") != 0)
        die(EX_DATAERR, "%s: general.type is '%s', not a model", gguf_path(g), type);
    free(type);
    struct reading r = {.file = g, .family = gguf_family(g)};
    r.config = json_pack("{s:[s]}", "architectures", r.family->architecture);
    read_settings(&r);
    complete_settings(&r);
    check_values(&r);
    read_rope_scaling(&r);
    read_rotated_part(&r);
    read_tensors(&r);
    if (r.family->complete)
        r.family->complete(g, r.config);
    *factors = read_factors(&r, n_factors);
    return r.config;
}
