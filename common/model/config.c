#include "common/model/config_parts.h"

#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <float.h>
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

bool get_bool(const struct source *s, const char *key)
{
    const json_t *v = json_object_get(s->root, key);
    if (given(s->root, key) && !json_is_boolean(v))
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

/* ---- architectures ---- */

/* Which projections have biases. */
enum biases {
    NO_BIASES,
    QKV_BIASES,
    BIASES_AS_TOLD, /* by attention_bias, for q, k, v and o, and mlp_bias */
};

/* Which layers have windows. */
enum windows {
    NO_WINDOWS,
    ONE_WINDOW,   /* sliding_window, in all layers, or in those that layer_types names */
    SOME_WINDOWS, /* sliding_window where use_sliding_window says so, in the layers that layer_types
                   * names, or those from max_window_layers on */
};

/* What an architecture has of its own; all else is the same for all of them. Defaults are those of
 * transformers' configuration classes. */
struct architecture {
    const char *name, *model_type;
    enum biases biases;
    enum windows windows;
    int kv_heads; /* where config.json does not say; 0: as many as heads */
};

static const struct architecture architectures[] = {
    {"MistralForCausalLM", "mistral", NO_BIASES, ONE_WINDOW, 8},
    {"LlamaForCausalLM", "llama", BIASES_AS_TOLD, NO_WINDOWS, 0},
    {"Qwen2ForCausalLM", "qwen2", QKV_BIASES, SOME_WINDOWS, 0},
};

static void read_windows(const struct source *s, const struct architecture *a, struct config *c)
{
    c->window = xcalloc((size_t)c->layers, sizeof *c->window);
    int window = 0, first = 0;
    if (a->windows == ONE_WINDOW ||
        (a->windows == SOME_WINDOWS && get_bool(s, "use_sliding_window"))) {
        const json_t *v = json_object_get(s->root, "sliding_window");
        window = json_is_null(v) ? 0 : get_int(s, "sliding_window", 4096);
    }
    if (a->windows == SOME_WINDOWS) {
        const json_t *layers = json_object_get(s->root, "max_window_layers");
        first = json_is_integer(layers) ? (int)json_integer_value(layers) : 28;
    }
    const json_t *types = json_object_get(s->root, "layer_types");
    bool listed = json_is_array(types);
    if (listed && json_array_size(types) != (size_t)c->layers)
        die(EX_DATAERR, "%s: 'layer_types' does not name every layer", s->path);
    for (int i = 0; i < c->layers; i++) {
        const char *type = listed ? json_string_value(json_array_get(types, (size_t)i)) : NULL;
        if (listed && (!type || (strcmp(type, "full_attention") != 0 &&
                                 strcmp(type, "sliding_attention") != 0)))
            die(EX_DATAERR, "%s: layer type '%s' is not supported", s->path, type ? type : "?");
        bool slides = listed ? !strcmp(type, "sliding_attention") : i >= first;
        if (listed && slides && a->windows == NO_WINDOWS)
            die(EX_DATAERR, "%s: 'layer_types' has windows, %s has none", s->path, a->name);
        c->window[i] = slides ? window : 0;
    }
}

static void read_biases(const struct source *s, const struct architecture *a, struct config *c)
{
    switch (a->biases) {
    case NO_BIASES:
        break;
    case QKV_BIASES:
        c->qkv_bias = true;
        break;
    case BIASES_AS_TOLD:
        c->qkv_bias = c->o_bias = get_bool(s, "attention_bias");
        c->mlp_bias = get_bool(s, "mlp_bias");
        break;
    }
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

/* Products of what single keys may be. */
static void check_sizes(const struct source *s, const struct config *c)
{
    enum { MOST = 1 << 28 };
    if (c->heads % c->kv_heads)
        die(EX_DATAERR, "%s: %d attention heads cannot share %d key heads evenly", s->path,
            c->heads, c->kv_heads);
    if (c->head_dim < 2 || c->head_dim % 2)
        die(EX_DATAERR, "%s: head size %d is not even", s->path, c->head_dim);
    if (c->head_dim > MOST / c->heads)
        die(EX_DATAERR, "%s: %d heads of %d are more than a model can have", s->path, c->heads,
            c->head_dim);
}

/* folder: what messages call the model. */
static struct config *read_config(const char *path, const char *folder)
{
    struct source s = {.path = path};
    s.root = json_read_file(s.path);
    struct config *c = xcalloc(1, sizeof *c);
    c->folder = xstrdup(folder);
    const struct architecture *a = read_architecture(&s);
    c->architecture = xstrdup(a->name);
    if (given(s.root, "quantization_config"))
        die(EX_DATAERR, "%s: the model is quantised, which is not supported: use its bf16 folder",
            s.path);
    const char *activation = json_string_value(json_object_get(s.root, "hidden_act"));
    if (activation && strcmp(activation, "silu") != 0)
        die(EX_DATAERR, "%s: activation '%s' is not supported (silu is)", s.path, activation);
    c->vocab = get_int(&s, "vocab_size", -1);
    c->width = get_int(&s, "hidden_size", -1);
    c->layers = get_int(&s, "num_hidden_layers", -1);
    c->intermediate = get_int(&s, "intermediate_size", -1);
    c->heads = get_int(&s, "num_attention_heads", -1);
    bool kv_null = json_is_null(json_object_get(s.root, "num_key_value_heads"));
    c->kv_heads =
        get_int(&s, "num_key_value_heads", a->kv_heads && !kv_null ? a->kv_heads : c->heads);
    c->head_dim = get_int(&s, "head_dim", c->width / c->heads);
    c->max_positions = get_int(&s, "max_position_embeddings", -1);
    c->norm_eps = (float)get_real(&s, s.root, "rms_norm_eps", 1e-6);
    c->tied = get_bool(&s, "tie_word_embeddings");
    read_biases(&s, a, c);
    check_sizes(&s, c);
    config_check_keys(&s);
    read_windows(&s, a, c);
    config_read_rope(&s, c);
    json_decref(s.root);
    return c;
}

struct config *config_read(const char *folder)
{
    char *path = xasprintf("%s/config.json", folder);
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
    free(c->architecture);
    free(c->window);
    free(c->frequency);
    free(c);
}

json_t *config_json(const struct config *c)
{
    json_t *windows = json_array(), *frequencies = json_array();
    for (int i = 0; i < c->layers; i++)
        json_array_append_new(windows, json_integer(c->window[i]));
    for (int i = 0; i < c->head_dim / 2; i++)
        json_array_append_new(frequencies, json_real(c->frequency[i]));
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:o, s:o, s:f}",
                     "architecture", c->architecture, "vocab", c->vocab, "width", c->width,
                     "layers", c->layers, "intermediate", c->intermediate, "heads", c->heads,
                     "kv_heads", c->kv_heads, "head_dim", c->head_dim, "norm_eps",
                     (double)c->norm_eps, "tied", c->tied, "window", windows, "frequency",
                     frequencies, "rope_magnitude", (double)c->rope_magnitude);
}
