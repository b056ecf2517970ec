/* Reading an adapter's folder. */
#include "common/model/adapter_parts.h"
#include "common/model/safetensors.h"
#include "common/model/target_pattern.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

enum { MOST_RANK = 1 << 20 };

/* null, false, [], {} and 0-length strings: a feature that is not used */
static bool unused(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && !json_array_size(v)) ||
           (json_is_object(v) && !json_object_size(v)) ||
           (json_is_string(v) && !json_string_length(v));
}

/* Settings that change what is computed, other than those we know. */
static const char *const refused_features[] = {"alora_invocation_tokens",
                                               "arrow_config",
                                               "fan_in_fan_out",
                                               "layer_replication",
                                               "lora_bias",
                                               "modules_to_save",
                                               "target_parameters",
                                               "trainable_token_indices",
                                               "use_bdlora",
                                               "use_dora",
                                               "use_qalora",
                                               "velora_config",
                                               "monteclora_config",
                                               "kasa_config"};

static double need_number(const json_t *config, const char *path, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (!json_is_number(v) || !(json_number_value(v) > 0))
        die(EX_DATAERR, "%s: '%s' is missing or not a positive number", path, key);
    return json_number_value(v);
}

static struct adapter_settings read_settings(const json_t *config, const char *path)
{
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    if (!type || strcmp(type, "LORA") != 0)
        die(EX_DATAERR, "%s: 'peft_type' is %s; only LORA adapters can be read", path,
            type ? type : "missing");
    for (size_t i = 0; i < sizeof refused_features / sizeof *refused_features; i++)
        if (!unused(json_object_get(config, refused_features[i])))
            die(EX_DATAERR, "%s: '%s' is set, which is not supported", path, refused_features[i]);
    /* These start from changed base weights. */
    const char *start = json_string_value(json_object_get(config, "init_lora_weights"));
    if (start && strcmp(start, "gaussian") != 0 && strcmp(start, "eva") != 0 &&
        strcmp(start, "orthogonal") != 0)
        die(EX_DATAERR,
            "%s: 'init_lora_weights' is %s, which changes the base weights: convert the "
            "adapter with PEFT (save_pretrained's path_initial_model_for_weight_conversion)",
            path, start);
    const json_t *bias = json_object_get(config, "bias");
    if (bias && (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0))
        die(EX_DATAERR, "%s: 'bias' is not \"none\": trained biases are not supported", path);
    const json_t *rslora = json_object_get(config, "use_rslora");
    if (rslora && !json_is_null(rslora) && !json_is_boolean(rslora))
        die(EX_DATAERR, "%s: 'use_rslora' is not true or false", path);
    struct adapter_settings s = {.alpha = need_number(config, path, "lora_alpha"),
                                 .dropout =
                                     json_number_value(json_object_get(config, "lora_dropout")),
                                 .rslora = json_is_true(rslora)};
    double rank = need_number(config, path, "r");
    if (rank > MOST_RANK || rank != floor(rank))
        die(EX_DATAERR, "%s: 'r' is not a rank", path);
    s.rank = (int)rank;
    return s;
}

static bool ends_in(const char *name, const char *part)
{
    size_t n = strlen(name), m = strlen(part);
    return n >= m && !strcmp(name + n - m, part) && (n == m || name[n - m - 1] == '.');
}

/* PEFT's rule: a target is a module's whole name, or its end after a dot. */
static bool listed(const json_t *targets, const char *module)
{
    size_t i;
    const json_t *t;
    json_array_foreach(targets, i, t)
    {
        if (json_is_string(t) && ends_in(module, json_string_value(t)))
            return true;
    }
    return false;
}

/* Which modules 'target_modules' names. */
struct targets {
    const json_t *list;             /* or NULL */
    struct target_pattern *pattern; /* or NULL, and of neither nothing is known */
};

static struct targets read_targets(const json_t *config, const char *path)
{
    const json_t *value = json_object_get(config, "target_modules");
    struct targets t = {.list = json_is_array(value) ? value : NULL};
    char *wrong;
    if (json_is_string(value) &&
        !(t.pattern = target_pattern_open(json_string_value(value), &wrong)))
        die(EX_DATAERR, "%s: 'target_modules': %s", path, wrong);
    return t;
}

static bool targeted(const struct targets *t, const char *module)
{
    return t->pattern ? target_pattern_matches(t->pattern, module) : listed(t->list, module);
}

/* PEFT's patterns are regular expressions on a module's end: of those without their characters, the
 * number of the one that matches; the fallback where none does. */
static double of_pattern(const json_t *config, const char *path, const char *key,
                         const char *module, double fallback)
{
    const json_t *patterns = json_object_get(config, key);
    const char *name;
    json_t *value;
    if (patterns && !json_is_null(patterns) && !json_is_object(patterns))
        die(EX_DATAERR, "%s: '%s' is no object", path, key);
    json_object_foreach((json_t *)patterns, name, value)
    {
        if (name[strcspn(name, "*+?()[]{}|^$\\")])
            die(EX_DATAERR, "%s: '%s' has the pattern %s, which is no module's name: not supported",
                path, key, name);
        if (!json_is_number(value) || !(json_number_value(value) > 0))
            die(EX_DATAERR, "%s: '%s' gives %s no positive number", path, key, name);
        if (ends_in(module, name))
            return json_number_value(value);
    }
    return fallback;
}

/* Ranks and scales of modules that have their own. */
static void read_patterns(struct adapter *a, const json_t *config, const char *path)
{
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        double rank = of_pattern(config, path, "rank_pattern", l->module, a->settings.rank);
        double alpha = of_pattern(config, path, "alpha_pattern", l->module, a->settings.alpha);
        if (rank > MOST_RANK || rank != floor(rank))
            die(EX_DATAERR, "%s: 'rank_pattern' gives %s what is no rank", path, l->module);
        l->rank = (int)rank;
        l->scale = (float)adapter_scale(&a->settings, alpha, l->rank);
    }
}

static bool holds_integer(const json_t *list, json_int_t number)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        if (json_integer_value(v) == number)
            return true;
    }
    return false;
}

/* Dies where the file has tensors that the lists leave out: PEFT would not compute them. */
static void check_left_out(const struct adapter *a, const struct targets *targets,
                           const json_t *config, const char *config_path, const char *weights_path)
{
    const json_t *excluded = json_object_get(config, "exclude_modules");
    const json_t *layers = json_object_get(config, "layers_to_transform");
    if (!unused(excluded) && !json_is_array(excluded))
        die(EX_DATAERR, "%s: 'exclude_modules' is no list, which is not supported", config_path);
    if (!unused(layers) && !json_is_array(layers))
        die(EX_DATAERR, "%s: 'layers_to_transform' is no list, which is not supported",
            config_path);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *l = &a->parts[i];
        bool head = i + 1 == adapter_parts(a);
        bool out = ((targets->list || targets->pattern) && !targeted(targets, l->module)) ||
                   listed(excluded, l->module) ||
                   (!head && !unused(layers) &&
                    !holds_integer(layers, (json_int_t)(i / LAYER_PROJECTIONS)));
        if (l->a && out)
            die(EX_DATAERR, "%s: tensors for %s, which %s leaves out", weights_path, l->module,
                config_path);
    }
}

/* Every part that the targets name must be there; where they are restricted to some layers, they
 * say too little to check. */
static void check_complete(const struct adapter *a, const struct targets *targets,
                           const json_t *config, const char *config_path, const char *weights_path)
{
    if (!unused(json_object_get(config, "exclude_modules")))
        return;
    bool some_layers = !unused(json_object_get(config, "layers_to_transform"));
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *l = &a->parts[i];
        bool head = i + 1 == adapter_parts(a);
        if (!l->a && (head || !some_layers) && targeted(targets, l->module))
            die(EX_DATAERR, "%s: no tensors for %s, which %s lists as a target", weights_path,
                l->module, config_path);
    }
    size_t i;
    const json_t *t;
    json_array_foreach(targets->list, i, t)
    {
        const char *name = json_string_value(t);
        bool found = false;
        for (size_t k = 0; name && k < adapter_parts(a); k++)
            found = found || ends_in(a->parts[k].module, name);
        if (!found)
            die(EX_DATAERR, "%s: the target %s is no module of this model that can have an adapter",
                config_path, name ? name : "(not a string)");
    }
}

static _Noreturn void bad_shape(const struct tensor *t, long rows, long columns)
{
    struct buf shape = {0};
    for (int i = 0; i < t->n_dims; i++)
        buf_addf(&shape, "%s%lld", i ? "," : "", (long long)t->shape[i]);
    die(EX_DATAERR, "%s: tensor %s has the shape [%s], this model and its rank ask for [%ld,%ld]",
        t->file, t->name, buf_str(&shape), rows, columns);
}

/* Rows first ... of a tensor that has `all` of them. */
static float *read_part(const struct tensor *t, int all, int first, int rows, int columns)
{
    if (t->n_dims != 2 || t->shape[0] != all || t->shape[1] != columns)
        bad_shape(t, all, columns);
    if (!t->readable)
        die(EX_DATAERR, "%s: tensor %s is stored as %s; F32, BF16 and F16 can be read", t->file,
            t->name, t->dtype_name);
    size_t n = (size_t)rows * (size_t)columns;
    float *values = xmalloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = dtype_load(t->dtype, t->data, i + (size_t)first * (size_t)columns);
        if (!isfinite(values[i]))
            die(EX_DATAERR, "%s: tensor %s holds a value that is not finite", t->file, t->name);
    }
    return values;
}

/* Dies unless t, a copy of the base model's tensor `name`, has its values. */
static void check_copy(const struct tensor *t, const struct safetensors *base, const char *name)
{
    const struct tensor *own = safetensors_find(base, name);
    if (!own && !strcmp(name, "lm_head.weight")) /* tied */
        own = safetensors_find(base, "model.embed_tokens.weight");
    bool same = own && t->readable && t->n_dims == own->n_dims;
    size_t n = 1;
    for (int i = 0; same && i < t->n_dims; i++) {
        same = t->shape[i] == own->shape[i];
        n *= (size_t)t->shape[i];
    }
    bool packed = same && own->packed && !own->packed->data;
    const void *values = same ? tensor_data(own) : NULL;
    for (size_t i = 0; same && i < n; i++)
        same = dtype_load(t->dtype, t->data, i) == dtype_load(own->dtype, values, i);
    if (packed)
        safetensors_forget(own);
    if (!same)
        die(EX_DATAERR,
            "%s: tensor %s is not the base model's %s: the adapter belongs to another base model",
            t->file, t->name, name);
}

/* "MODULE.base_layer.weight" or the embedding's: a copy of the base's weights. */
static bool is_copy(const struct tensor *t, const char *rest, const struct safetensors *base)
{
    static const char ending[] = ".base_layer.weight";
    size_t n = strlen(rest), m = sizeof ending - 1;
    char *name = NULL;
    if (n > m && !strcmp(rest + n - m, ending))
        name = xasprintf("%.*s.weight", (int)(n - m), rest);
    else if (!strcmp(rest, "model.embed_tokens.weight") || !strcmp(rest, "lm_head.weight"))
        name = xstrdup(rest);
    if (!name)
        return false;
    check_copy(t, base, name);
    free(name);
    return true;
}

/* "A", "B" or NULL: which of the module's matrices the rest of a tensor's name means. */
static const char *matrix_of(const char *rest, const char *module)
{
    size_t n = strlen(module);
    if (strncmp(rest, module, n) != 0)
        return NULL;
    return !strcmp(rest + n, ".lora_A.weight")   ? "A"
           : !strcmp(rest + n, ".lora_B.weight") ? "B"
                                                 : NULL;
}

/* Projections that are fused have one A, and each its rows of B. */
static void take_tensor(struct adapter *a, const struct tensor *t, const struct safetensors *base)
{
    size_t skip = sizeof PEFT_PREFIX - 1;
    bool prefixed = !strncmp(t->name, PEFT_PREFIX, skip), taken = false;
    for (size_t i = 0; prefixed && i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        const char *matrix = matrix_of(t->name + skip, l->module);
        if (!matrix)
            continue;
        if (*matrix == 'A')
            l->a = read_part(t, l->rank, 0, l->rank, l->in);
        else
            l->b = read_part(t, l->fused.out, l->fused.first, l->out, l->rank);
        taken = true;
    }
    if (!taken && !(prefixed && is_copy(t, t->name + skip, base)))
        die(EX_DATAERR, "%s: tensor %s matches nothing in this model", t->file, t->name);
}

static bool is_zero_column(const struct lora *l, int r)
{
    for (int o = 0; o < l->out; o++)
        if (l->b[(size_t)o * (size_t)l->rank + (size_t)r] != 0)
            return false;
    return true;
}

/* Of a fused projection most columns of B may be zero, for they are another's: they and their rows
 * of A are left out. One stays where all are. */
static void leave_out_zeros(struct lora *l)
{
    int kept = 0, *columns = xcalloc((size_t)l->rank, sizeof *columns);
    for (int r = 0; r < l->rank; r++)
        if (!is_zero_column(l, r))
            columns[kept++] = r;
    kept = kept ? kept : 1;
    for (int k = 0; k < kept; k++)
        memmove(l->a + (size_t)k * (size_t)l->in, l->a + (size_t)columns[k] * (size_t)l->in,
                (size_t)l->in * sizeof *l->a);
    for (int o = 0; o < l->out; o++)
        for (int k = 0; k < kept; k++)
            l->b[(size_t)o * (size_t)kept + (size_t)k] =
                l->b[(size_t)o * (size_t)l->rank + (size_t)columns[k]];
    l->rank = kept;
    free(columns);
}

static void check_base(const json_t *facts, const char *path, const char *digest)
{
    const char *made_for = json_string_value(json_object_get(facts, "model"));
    if (made_for && strcmp(made_for, digest) != 0)
        die(EX_DATAERR,
            "%s: the adapter was trained on the base model %s, this one is %s: name the right "
            "--model",
            path, made_for, digest);
}

static void hash_tensors(XXH64_state_t *h, const struct safetensors *tensors)
{
    for (size_t i = 0; i < safetensors_count(tensors); i++) {
        const struct tensor *t = safetensors_at(tensors, i);
        XXH64_update(h, t->name, strlen(t->name) + 1);
        XXH64_update(h, t->data, t->bytes);
    }
}

void adapter_weights_digest(const struct safetensors *tensors, char digest[DIGEST_SIZE])
{
    XXH64_state_t *h = digest_new();
    hash_tensors(h, tensors);
    digest_text(XXH64_digest(h), digest);
    XXH64_freeState(h);
}

/* The folder's own weights, or those of another adapter beside this one's duq.json? */
static void check_weights(const json_t *facts, const char *path, const char *digest)
{
    const char *made_with = json_string_value(json_object_get(facts, "weights"));
    if (made_with && strcmp(made_with, digest) != 0)
        die(EX_DATAERR,
            "%s: belongs to other weights (%s) than adapter_model.safetensors beside it (%s): "
            "files of two adapters are mixed. If the weights were only saved anew, remove "
            "'weights' from it",
            path, made_with, digest);
}

/* a->digest goes on where that of the tensors alone ends, which is compared on the way. */
static void compute_digest(struct adapter *a, const char *facts_path,
                           const struct safetensors *tensors)
{
    XXH64_state_t *h = digest_new();
    char weights[DIGEST_SIZE];
    hash_tensors(h, tensors);
    digest_text(XXH64_digest(h), weights);
    check_weights(a->facts, facts_path, weights);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        float scale = a->parts[i].scale;
        bool own = scale < a->parts[0].scale || scale > a->parts[0].scale;
        if (own)
            XXH64_update(h, a->parts[i].module, strlen(a->parts[i].module));
        if (own || i == 0)
            XXH64_update(h, &scale, sizeof scale);
    }
    digest_text(XXH64_digest(h), a->digest);
    XXH64_freeState(h);
}

struct adapter *adapter_read(const char *folder, const struct config *c, const char *digest,
                             const struct safetensors *base)
{
    char *config_path = xasprintf("%s/adapter_config.json", folder);
    char *weights_path = xasprintf("%s/adapter_model.safetensors", folder);
    char *facts_path = xasprintf("%s/duq.json", folder);
    json_t *config = json_read_file(config_path);
    struct adapter_settings settings = read_settings(config, config_path);
    struct adapter *a = empty_adapter(c, &settings);
    if (file_exists(facts_path)) {
        a->facts = json_read_file(facts_path);
        check_base(a->facts, facts_path, digest);
    }
    read_patterns(a, config, config_path);
    struct safetensors *tensors = safetensors_open_file(weights_path);
    compute_digest(a, facts_path, tensors);
    for (size_t i = 0; i < safetensors_count(tensors); i++)
        take_tensor(a, safetensors_at(tensors, i), base);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        enum projection p = part_projection(a, i);
        if (!l->a != !l->b)
            die(EX_DATAERR, "%s: %s has lora_%c but no lora_%c", weights_path, l->module,
                l->a ? 'A' : 'B', l->a ? 'B' : 'A');
        a->settings.targets[p] = a->settings.targets[p] || l->a;
        if (l->a && l->fused.out != l->out)
            leave_out_zeros(l);
    }
    struct targets targets = read_targets(config, config_path);
    check_left_out(a, &targets, config, config_path, weights_path);
    check_complete(a, &targets, config, config_path, weights_path);
    target_pattern_free(targets.pattern);
    safetensors_close(tensors);
    json_decref(config);
    free(config_path);
    free(weights_path);
    free(facts_path);
    return a;
}
