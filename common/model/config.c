#include "common/model/config_parts.h"

#include "common/model/gguf_config.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/model_folder.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool given(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

int get_int(const struct source *s, const char *key, int fallback)
{
    const json_t *v = json_object_get(s->root, key);
    if (!given(s->root, key) && fallback >= 0)
        return fallback;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1 << 28)
        die(EX_DATAERR, "%s: '%s' is missing or not a positive whole number", s->path, key);
    return (int)json_integer_value(v);
}

static bool get_bool(const struct source *s, const char *key, bool fallback)
{
    const json_t *v = json_object_get(s->root, key);
    if (!given(s->root, key))
        return fallback;
    if (!json_is_boolean(v))
        die(EX_DATAERR, "%s: '%s' is not true or false", s->path, key);
    return json_is_true(v);
}

double get_real(const struct source *s, const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    if (!given(o, key) && fallback > 0)
        return fallback;
    double value = json_number_value(v);
    if (!json_is_number(v) || !(value > 0))
        die(EX_DATAERR, "%s: '%s' is missing or not a positive number", s->path, key);
    if (value < (double)FLT_MIN || value > (double)FLT_MAX)
        die(EX_DATAERR, "%s: '%s' is %g, too %s for single precision", s->path, key, value,
            value < 1 ? "small" : "large");
    return value;
}

/* ---- scales and caps ---- */

static void need_none(const struct source *s, const char *key)
{
    if (given(s->root, key) && !json_is_false(json_object_get(s->root, key)))
        die(EX_DATAERR, "%s: '%s' is set, which is not supported", s->path, key);
}

/* A key that is there and null says that there is none. */
static float get_cap(const struct source *s, const char *key, double fallback)
{
    const json_t *v = json_object_get(s->root, key);
    if (json_is_null(v) || (!v && fallback <= 0))
        return 0;
    return (float)get_real(s, s->root, key, fallback);
}

static void read_gemma(const struct source *s, struct config *c)
{
    need_none(s, "use_bidirectional_attention");
    c->embedding_scale = (float)sqrt(c->width);
    c->attention_scale = (float)(1 / sqrt(get_real(s, s->root, "query_pre_attn_scalar", 256)));
}

static void read_gemma2(const struct source *s, struct config *c)
{
    read_gemma(s, c);
    c->attention_cap = get_cap(s, "attn_logit_softcapping", 50);
    c->logit_cap = get_cap(s, "final_logit_softcapping", 30);
}

static void read_gemma3(const struct source *s, struct config *c)
{
    read_gemma(s, c);
    /* transformers has the key and does not follow it. */
    need_none(s, "attn_logit_softcapping");
    c->logit_cap = get_cap(s, "final_logit_softcapping", 0);
}

static void read_granite(const struct source *s, struct config *c)
{
    c->embedding_scale = (float)get_real(s, s->root, "embedding_multiplier", 1);
    c->residual_scale = (float)get_real(s, s->root, "residual_multiplier", 1);
    c->attention_scale = (float)get_real(s, s->root, "attention_multiplier", 1);
    c->logit_scale = (float)(1 / get_real(s, s->root, "logits_scaling", 1));
}

/* ---- architectures ---- */

#define SILU_ACTIVATION .activation_key = "hidden_act", .activation = "silu"
#define GELU_ACTIVATION .activation_key = "hidden_activation", .activation = "gelu_pytorch_tanh"

static const char *const gemma2_keys[] = {"query_pre_attn_scalar",
                                          "attn_logit_softcapping",
                                          "final_logit_softcapping",
                                          "use_bidirectional_attention",
                                          "hidden_activation",
                                          "sliding_window_size",
                                          NULL};
static const char *const gemma3_keys[] = {"query_pre_attn_scalar",   "attn_logit_softcapping",
                                          "final_logit_softcapping", "use_bidirectional_attention",
                                          "hidden_activation",       "sliding_window_pattern",
                                          "rope_local_base_freq",    NULL};
static const char *const smollm3_keys[] = {"no_rope_layers", "no_rope_layer_interval", NULL};
/* The two last are of Microsoft's own code and 1 in every folder of theirs. */
static const char *const phi3_keys[] = {"full_attn_mod", "interpolate_factor", NULL};
static const char *const granite_keys[] = {"embedding_multiplier", "residual_multiplier",
                                           "attention_multiplier", "logits_scaling", NULL};

static const struct architecture architectures[] = {
    {"MistralForCausalLM", "mistral", .windows = ONE_WINDOW, .window = 4096, .kv_heads = 8,
     .norm_eps = 1e-6, .rope_theta = 10000, SILU_ACTIVATION},
    {"MinistralForCausalLM", "ministral", .windows = ONE_WINDOW, .window = 4096, .kv_heads = 8,
     .norm_eps = 1e-6, .rope_theta = 10000, SILU_ACTIVATION},
    {"Ministral3ForCausalLM", "ministral3", .windows = ONE_WINDOW, .untyped = true, .kv_heads = 8,
     .head_dim = 128, .norm_eps = 1e-5, .rope_theta = 1000000, .rope = GROWING_ROPE,
     SILU_ACTIVATION},
    {"LlamaForCausalLM", "llama", .biases = BIASES_AS_TOLD, .norm_eps = 1e-6, .rope_theta = 10000,
     SILU_ACTIVATION},
    {"SmolLM3ForCausalLM", "smollm3", .biases = BIASES_AS_TOLD, .windows = UNTURNED_WINDOWS,
     .kv_heads = 4, .norm_eps = 1e-6, .rope_theta = 2000000, .rope = SOME_UNTURNED_ROPE,
     .tied = true, .keys = smollm3_keys, SILU_ACTIVATION},
    {"Qwen2ForCausalLM", "qwen2", .biases = QKV_BIASES, .windows = SOME_WINDOWS, .window = 4096,
     .norm_eps = 1e-6, .rope_theta = 10000, SILU_ACTIVATION},
    {"Qwen3ForCausalLM", "qwen3", .biases = ATTENTION_BIASES_AS_TOLD, .windows = SOME_WINDOWS,
     .window = 4096, .kv_heads = 32, .head_dim = 128, .norm_eps = 1e-6, .rope_theta = 10000,
     .qk_norms = QK_NORMS_OF_HEADS, SILU_ACTIVATION},
    {"Gemma2ForCausalLM", "gemma2", .biases = ATTENTION_BIASES_AS_TOLD, .windows = MOST_WINDOWS,
     .window = 4096, .pattern = 2, .kv_heads = 4, .head_dim = 256, .norm_eps = 1e-6,
     .rope_theta = 10000, .tied = true, .norms = NORMS_AROUND, .gain_shift = 1,
     .read_own = read_gemma2, .keys = gemma2_keys, GELU_ACTIVATION},
    {"Gemma3ForCausalLM", "gemma3_text", .biases = ATTENTION_BIASES_AS_TOLD,
     .windows = MOST_WINDOWS, .window = 4096, .pattern = 6, .kv_heads = 4, .head_dim = 256,
     .norm_eps = 1e-6, .rope_theta = 1000000, .rope = ROPE_BY_LAYER_TYPE, .tied = true,
     .norms = NORMS_AROUND, .qk_norms = QK_NORMS_OF_HEADS, .gain_shift = 1, .read_own = read_gemma3,
     .keys = gemma3_keys, GELU_ACTIVATION},
    {"Phi3ForCausalLM", "phi3", .windows = ONE_WINDOW, .untyped = true, .norm_eps = 1e-5,
     .rope_theta = 10000, .rope = PARTIAL_ROPE, .fused = true, .keys = phi3_keys, SILU_ACTIVATION},
    {"GraniteForCausalLM", "granite", .biases = BIASES_AS_TOLD, .norm_eps = 1e-6,
     .rope_theta = 10000, .read_own = read_granite, .keys = granite_keys, SILU_ACTIVATION},
    {"Olmo2ForCausalLM", "olmo2", .biases = ATTENTION_BIASES_AS_TOLD, .norm_eps = 1e-5,
     .rope_theta = 10000, .norms = NORMS_AFTER, .qk_norms = QK_NORMS_OF_ROWS, SILU_ACTIVATION},
};

/* Which layers layer_types, or in its absence the architecture's own rule, calls sliding; the
 * caller frees them. */
static bool *read_sliding(const struct source *s, const struct architecture *a,
                          const struct config *c)
{
    bool *sliding = xcalloc((size_t)c->layers, sizeof *sliding);
    const json_t *types = json_object_get(s->root, "layer_types");
    if (given(s->root, "layer_types") && !json_is_array(types))
        die(EX_DATAERR, "%s: 'layer_types' is no list", s->path);
    if (given(s->root, "layer_types") && a->untyped)
        die(EX_DATAERR, "%s: 'layer_types' is nothing that %s has", s->path, a->name);
    if (json_is_array(types) && json_array_size(types) != (size_t)c->layers)
        die(EX_DATAERR, "%s: 'layer_types' does not name every layer", s->path);
    const json_t *from = json_object_get(s->root, "max_window_layers");
    if (given(s->root, "max_window_layers") &&
        (!json_is_integer(from) || json_integer_value(from) < 0 ||
         json_integer_value(from) > 1 << 28))
        die(EX_DATAERR, "%s: 'max_window_layers' is not a whole number", s->path);
    int first = json_is_integer(from) ? (int)json_integer_value(from) : 28;
    int pattern = a->pattern ? get_int(s, "sliding_window_pattern", a->pattern) : 1;
    for (int i = 0; i < c->layers; i++) {
        if (!json_is_array(types)) {
            sliding[i] = a->windows == ONE_WINDOW || (a->windows == SOME_WINDOWS && i >= first) ||
                         (a->windows == UNTURNED_WINDOWS && c->rotary[i] == NO_ROTARY) ||
                         (a->windows == MOST_WINDOWS && (i + 1) % pattern);
            continue;
        }
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (!type ||
            (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0))
            die(EX_DATAERR, "%s: layer type '%s' is not supported", s->path, type ? type : "?");
        sliding[i] = !strcmp(type, "sliding_attention");
        if (sliding[i] && a->windows == NO_WINDOWS)
            die(EX_DATAERR, "%s: 'layer_types' has windows, %s has none", s->path, a->name);
    }
    return sliding;
}

static void read_windows(const struct source *s, const struct architecture *a, const bool *sliding,
                         struct config *c)
{
    bool asked = a->windows == SOME_WINDOWS || a->windows == UNTURNED_WINDOWS
                     ? get_bool(s, "use_sliding_window", false)
                     : a->windows != NO_WINDOWS;
    int window = 0;
    if (asked && !json_is_null(json_object_get(s->root, "sliding_window")))
        window = get_int(s, "sliding_window", a->window);
    c->window = xcalloc((size_t)c->layers, sizeof *c->window);
    for (int i = 0; i < c->layers; i++) {
        if (sliding[i] && !window && (a->windows == MOST_WINDOWS || given(s->root, "layer_types")))
            die(EX_DATAERR,
                "%s: %s has windows, 'sliding_window' or 'use_sliding_window' has none: make them "
                "agree",
                s->path, given(s->root, "layer_types") ? "'layer_types'" : a->name);
        c->window[i] = sliding[i] ? window : 0;
    }
}

static void read_biases(const struct source *s, const struct architecture *a, struct config *c)
{
    if (a->biases == QKV_BIASES)
        c->qkv_bias = true;
    if (a->biases == ATTENTION_BIASES_AS_TOLD || a->biases == BIASES_AS_TOLD)
        c->qkv_bias = c->o_bias = get_bool(s, "attention_bias", false);
    if (a->biases == BIASES_AS_TOLD)
        c->mlp_bias = get_bool(s, "mlp_bias", false);
}

/* Libraries go by one or by the other. */
static void check_model_type(const struct source *s, const struct architecture *a)
{
    const json_t *type = json_object_get(s->root, "model_type");
    if (given(s->root, "model_type") &&
        (!json_is_string(type) || strcmp(json_string_value(type), a->model_type) != 0))
        die(EX_DATAERR, "%s: 'architectures' says %s, 'model_type' is not '%s'", s->path, a->name,
            a->model_type);
}

static const struct architecture *read_architecture(const struct source *s)
{
    const char *name =
        json_string_value(json_array_get(json_object_get(s->root, "architectures"), 0));
    if (!name)
        die(EX_DATAERR, "%s: 'architectures' is missing", s->path);
    size_t n = sizeof architectures / sizeof *architectures;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, architectures[i].name)) {
            check_model_type(s, &architectures[i]);
            return &architectures[i];
        }
    struct buf known = {0};
    for (size_t i = 0; i < n; i++)
        buf_addf(&known, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", architectures[i].name);
    die(EX_DATAERR, "%s: architecture %s is not supported (%s are)", s->path, name,
        buf_str(&known));
}

/* Products of what single keys may be, and of what there is an array before a tensor was seen. */
static void check_sizes(const struct source *s, const struct config *c)
{
    enum { MOST = 1 << 28, MOST_LAYERS = 1 << 12, MOST_HEAD = 1 << 16 };
    if (c->layers > MOST_LAYERS)
        die(EX_DATAERR, "%s: %d layers are more than a model can have", s->path, c->layers);
    if (c->heads % c->kv_heads)
        die(EX_DATAERR, "%s: %d attention heads cannot share %d key heads evenly", s->path,
            c->heads, c->kv_heads);
    if (c->head_dim < 2 || c->head_dim % 2)
        die(EX_DATAERR, "%s: head size %d is not even", s->path, c->head_dim);
    if (c->head_dim > MOST_HEAD || c->head_dim > MOST / c->heads)
        die(EX_DATAERR, "%s: %d heads of %d are more than a model can have", s->path, c->heads,
            c->head_dim);
}

static void read_activation(const struct source *s, const struct architecture *a, struct config *c)
{
    const char *name = json_string_value(json_object_get(s->root, a->activation_key));
    if (given(s->root, a->activation_key) && !name)
        die(EX_DATAERR, "%s: '%s' is not a name", s->path, a->activation_key);
    if (name && strcmp(name, a->activation) != 0)
        die(EX_DATAERR, "%s: activation '%s' is not supported (%s is, of a %s)", s->path, name,
            a->activation, a->name);
    c->activation = strcmp(a->activation, "silu") != 0 ? GELU_TANH : SILU;
}

static void read_sizes(const struct source *s, const struct architecture *a, struct config *c)
{
    c->vocab = get_int(s, "vocab_size", -1);
    c->width = get_int(s, "hidden_size", -1);
    c->layers = get_int(s, "num_hidden_layers", -1);
    c->intermediate = get_int(s, "intermediate_size", -1);
    c->heads = get_int(s, "num_attention_heads", -1);
    bool kv_null = json_is_null(json_object_get(s->root, "num_key_value_heads"));
    c->kv_heads =
        get_int(s, "num_key_value_heads", a->kv_heads && !kv_null ? a->kv_heads : c->heads);
    bool dim_null = json_is_null(json_object_get(s->root, "head_dim"));
    c->head_dim =
        get_int(s, "head_dim", a->head_dim && !dim_null ? a->head_dim : c->width / c->heads);
    c->max_positions = get_int(s, "max_position_embeddings", -1);
    check_sizes(s, c);
}

/* What the row of the table says, and what most models leave alone. */
static void take_architecture(const struct architecture *a, struct config *c)
{
    c->architecture = xstrdup(a->name);
    c->fused = a->fused;
    c->norms = a->norms;
    c->qk_norms = a->qk_norms;
    c->gain_shift = a->gain_shift;
    c->embedding_scale = c->residual_scale = c->logit_scale = 1;
    c->attention_scale = 1.0f / sqrtf((float)c->head_dim);
}

static void read_root(struct source *s)
{
    char *gguf = gguf_of_model(s->path);
    if (!gguf) {
        s->root = json_read_file(s->path);
        return;
    }
    struct gguf *g = gguf_open(gguf);
    s->root = gguf_config(g, &s->rope_factors, &s->n_rope_factors);
    gguf_close(g);
    free(gguf);
}

static enum dtype read_stored(const struct source *s)
{
    const json_t *said = json_object_get(s->root, "dtype");
    const char *name = json_string_value(said ? said : json_object_get(s->root, "torch_dtype"));
    return !name ? BF16 : !strcmp(name, "float32") ? F32 : !strcmp(name, "float16") ? F16 : BF16;
}

/* folder: what messages call the model. */
static struct config *read_config(const char *path, const char *folder)
{
    struct source s = {.path = path};
    read_root(&s);
    struct config *c = xcalloc(1, sizeof *c);
    c->folder = xstrdup(folder);
    c->path = xstrdup(path);
    const struct architecture *a = read_architecture(&s);
    if (given(s.root, "quantization_config"))
        die(EX_DATAERR, "%s: the model is quantised, which is not supported: use its bf16 folder",
            s.path);
    config_check_keys(&s, a);
    read_activation(&s, a, c);
    read_sizes(&s, a, c);
    take_architecture(a, c);
    c->norm_eps = (float)get_real(&s, s.root, "rms_norm_eps", a->norm_eps);
    c->tied = get_bool(&s, "tie_word_embeddings", a->tied);
    c->stored = read_stored(&s);
    read_biases(&s, a, c);
    config_read_unturned(&s, a, c);
    bool *sliding = read_sliding(&s, a, c);
    read_windows(&s, a, sliding, c);
    config_read_rope(&s, a, sliding, c);
    free(sliding);
    if (a->read_own)
        a->read_own(&s, c);
    json_decref(s.root);
    free(s.rope_factors);
    return c;
}

struct config *config_read(const char *folder)
{
    char *path = gguf_of_model(folder);
    if (!path) {
        path = xasprintf("%s/config.json", folder);
        if (!file_exists(path))
            model_folder_without_config(folder);
    }
    struct config *c = read_config(path, folder);
    free(path);
    return c;
}

struct config *config_read_file(const char *path)
{
    return read_config(path, path);
}

void config_free(struct config *c)
{
    free(c->folder);
    free(c->path);
    free(c->architecture);
    free(c->window);
    free(c->rotary);
    for (int i = 0; i < c->n_rotaries; i++)
        free(c->rotaries[i].frequency);
    free(c);
}

static json_t *frequencies(const struct rotary *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->dims / 2; i++)
        json_array_append_new(list, json_real(r->frequency[i]));
    return list;
}

static json_t *integers(const int *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(values[i]));
    return list;
}

/* A key only where it says something: the digests of models that lack it do not know of it. */
static void add_unless(json_t *json, const char *key, double value, double usual)
{
    if (value < usual || value > usual)
        json_object_set_new(json, key, json_real(value));
}

static void add_rotaries(json_t *json, const struct config *c)
{
    const struct rotary *second = &c->rotaries[1];
    bool all = true;
    for (int i = 0; i < c->layers; i++)
        all = all && c->rotary[i] == 0;
    if (!all)
        json_object_set_new(json, "rotary", integers(c->rotary, c->layers));
    if (c->n_rotaries > 1) {
        json_object_set_new(json, "second_frequency", frequencies(second));
        json_object_set_new(json, "second_rope_magnitude", json_real(second->magnitude));
    }
    add_unless(json, "query_growth", c->rotaries[0].growth, 0);
    add_unless(json, "query_growth_step", c->rotaries[0].growth_step, 0);
}

json_t *config_json(const struct config *c)
{
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:o, s:o, s:f}",
                  "architecture", c->architecture, "vocab", c->vocab, "width", c->width, "layers",
                  c->layers, "intermediate", c->intermediate, "heads", c->heads, "kv_heads",
                  c->kv_heads, "head_dim", c->head_dim, "norm_eps", (double)c->norm_eps, "tied",
                  c->tied, "window", integers(c->window, c->layers), "frequency",
                  frequencies(&c->rotaries[0]), "rope_magnitude", (double)c->rotaries[0].magnitude);
    add_rotaries(json, c);
    add_unless(json, "embedding_scale", c->embedding_scale, 1);
    add_unless(json, "residual_scale", c->residual_scale, 1);
    add_unless(json, "attention_scale", c->attention_scale, 1.0f / sqrtf((float)c->head_dim));
    add_unless(json, "logit_scale", c->logit_scale, 1);
    add_unless(json, "attention_cap", c->attention_cap, 0);
    add_unless(json, "logit_cap", c->logit_cap, 0);
    return json;
}
