#include "common/model/adapter.h"

#include "common/math/philox.h"
#include "common/model/safetensors.h"
#include "common/util/diag.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/outfile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* What PEFT puts before a module's name in a tensor's. */
static const char peft_prefix[] = "base_model.model.";

char *adapter_targets(const char *list, bool *targets)
{
    memset(targets, 0, PROJECTIONS * sizeof *targets);
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        int found = -1;
        for (int p = 0; p < PROJECTIONS; p++) {
            const char *name = projection_name(p);
            size_t whole = strlen(name), brief = p == LM_HEAD ? whole : whole - strlen("_proj");
            if ((n == whole || n == brief) && !strncmp(at, name, n))
                found = p;
        }
        if (found < 0)
            return xasprintf("'%.*s' is none of q, k, v, o, gate, up, down, lm_head", (int)n, at);
        targets[found] = true;
        at += n;
        at += *at == ',';
    }
    for (int p = 0; p < PROJECTIONS; p++)
        if (targets[p])
            return NULL;
    return xstrdup("names no target");
}

struct lora *adapter_part(const struct adapter *a, int layer, enum projection p)
{
    return &a->parts[(p == LM_HEAD ? a->layers : layer) * LAYER_PROJECTIONS +
                     (p == LM_HEAD ? 0 : (int)p)];
}

size_t adapter_parts(const struct adapter *a)
{
    return (size_t)a->layers * LAYER_PROJECTIONS + 1;
}

void lora_merge_row(const struct lora *l, int row, enum dtype type, const void *w, void *to)
{
    size_t in = (size_t)l->in, first = (size_t)row * in;
    const float *b = l->b + (size_t)row * (size_t)l->rank;
    for (size_t i = 0; i < in; i++) {
        double sum = 0;
        for (size_t r = 0; r < (size_t)l->rank; r++)
            sum += (double)b[r] * (double)l->a[r * in + i];
        double value = (double)dtype_load(type, w, first + i) + (double)l->scale * sum;
        dtype_store(type, to, i, (float)value);
    }
}

static enum projection part_projection(const struct adapter *a, size_t part)
{
    if (part + 1 == adapter_parts(a))
        return LM_HEAD;
    return (enum projection)(part % LAYER_PROJECTIONS);
}

/* Modules, shapes and scale of every possible part; a and b are NULL. */
static struct adapter *empty_adapter(const struct config *c, const struct adapter_settings *s)
{
    struct adapter *a = xcalloc(1, sizeof *a);
    a->settings = *s;
    a->layers = c->layers;
    a->parts = xcalloc(adapter_parts(a), sizeof *a->parts);
    double scale = s->alpha / (s->rslora ? sqrt(s->rank) : s->rank);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        enum projection p = part_projection(a, i);
        struct projection_shape shape = projection_shape(c, p);
        l->module = projection_module(p, (int)(i / LAYER_PROJECTIONS));
        l->out = shape.out;
        l->in = shape.in;
        l->rank = s->rank;
        l->scale = (float)scale;
    }
    return a;
}

static void allocate_part(struct lora *l)
{
    l->a = xcalloc((size_t)l->rank * (size_t)l->in, sizeof *l->a);
    l->b = xcalloc((size_t)l->out * (size_t)l->rank, sizeof *l->b);
}

struct adapter *adapter_create(const struct config *c, const struct adapter_settings *s,
                               uint64_t seed)
{
    struct adapter *a = empty_adapter(c, s);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct lora *l = &a->parts[i];
        enum projection p = part_projection(a, i);
        if (!s->targets[p])
            continue;
        allocate_part(l);
        double bound = 1 / sqrt(l->in);
        for (size_t k = 0; k < (size_t)l->rank * (size_t)l->in; k++) {
            /* Steps of dropout count from 0: the highest number is free for this. */
            struct philox counter = {
                {(uint32_t)(k / 4), (uint32_t)(k / 4 >> 32), (uint32_t)i, UINT32_MAX}};
            counter = philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
            l->a[k] = (float)(bound * (2 * ((counter.v[k % 4] >> 8) + 0.5) * 0x1p-24 - 1));
        }
    }
    return a;
}

void adapter_free(struct adapter *a)
{
    for (size_t i = 0; i < adapter_parts(a); i++) {
        free(a->parts[i].module);
        free(a->parts[i].a);
        free(a->parts[i].b);
    }
    free(a->parts);
    json_decref(a->facts);
    free(a);
}

/* ---- reading ---- */

/* null, false, [], {} and 0-length strings: a feature that is not used */
static bool unused(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && !json_array_size(v)) ||
           (json_is_object(v) && !json_object_size(v)) ||
           (json_is_string(v) && !json_string_length(v));
}

/* Settings that change what is computed, other than those we know. */
static const char *const refused_features[] = {"alora_invocation_tokens",
                                               "alpha_pattern",
                                               "arrow_config",
                                               "fan_in_fan_out",
                                               "layer_replication",
                                               "lora_bias",
                                               "modules_to_save",
                                               "rank_pattern",
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
    struct adapter_settings s = {.alpha = need_number(config, path, "lora_alpha"),
                                 .dropout =
                                     json_number_value(json_object_get(config, "lora_dropout")),
                                 .rslora = json_is_true(json_object_get(config, "use_rslora"))};
    double rank = need_number(config, path, "r");
    if (rank > 1 << 20 || rank != floor(rank))
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
static bool targeted(const json_t *targets, const char *module)
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

/* Every part that the list of targets names must be there; a pattern instead of a list, or one
 * restricted to some layers, says too little to check. */
static void check_complete(const struct adapter *a, const json_t *config, const char *config_path,
                           const char *weights_path)
{
    const json_t *targets = json_object_get(config, "target_modules");
    if (!json_is_array(targets) || !unused(json_object_get(config, "exclude_modules")))
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
    json_array_foreach(targets, i, t)
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

static float *read_part(const struct tensor *t, int rows, int columns)
{
    if (t->n_dims != 2 || t->shape[0] != rows || t->shape[1] != columns)
        bad_shape(t, rows, columns);
    if (!t->readable)
        die(EX_DATAERR, "%s: tensor %s is stored as %s; F32, BF16 and F16 can be read", t->file,
            t->name, t->dtype_name);
    size_t n = (size_t)rows * (size_t)columns;
    float *values = xmalloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = dtype_load(t->dtype, t->data, i);
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
    for (size_t i = 0; same && i < n; i++)
        same = dtype_load(t->dtype, t->data, i) == dtype_load(own->dtype, own->data, i);
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

static void take_tensor(struct adapter *a, const struct tensor *t, const struct safetensors *base)
{
    size_t skip = sizeof peft_prefix - 1;
    if (!strncmp(t->name, peft_prefix, skip)) {
        const char *rest = t->name + skip;
        for (size_t i = 0; i < adapter_parts(a); i++) {
            struct lora *l = &a->parts[i];
            size_t n = strlen(l->module);
            if (strncmp(rest, l->module, n) != 0)
                continue;
            if (!strcmp(rest + n, ".lora_A.weight")) {
                l->a = read_part(t, l->rank, l->in);
                return;
            }
            if (!strcmp(rest + n, ".lora_B.weight")) {
                l->b = read_part(t, l->out, l->rank);
                return;
            }
        }
        if (is_copy(t, rest, base))
            return;
    }
    die(EX_DATAERR, "%s: tensor %s matches nothing in this model", t->file, t->name);
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

static void compute_digest(struct adapter *a, const struct safetensors *tensors)
{
    XXH64_state_t *h = XXH64_createState();
    XXH64_reset(h, 0);
    for (size_t i = 0; i < safetensors_count(tensors); i++) {
        const struct tensor *t = safetensors_at(tensors, i);
        XXH64_update(h, t->name, strlen(t->name) + 1);
        XXH64_update(h, t->data, t->bytes);
    }
    XXH64_update(h, &a->parts[0].scale, sizeof a->parts[0].scale);
    snprintf(a->digest, sizeof a->digest, "xxh64:%016llx", (unsigned long long)XXH64_digest(h));
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
    if (!access(facts_path, F_OK)) {
        a->facts = json_read_file(facts_path);
        check_base(a->facts, facts_path, digest);
    }
    struct safetensors *tensors = safetensors_open_file(weights_path);
    for (size_t i = 0; i < safetensors_count(tensors); i++)
        take_tensor(a, safetensors_at(tensors, i), base);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *l = &a->parts[i];
        enum projection p = part_projection(a, i);
        if (!l->a != !l->b)
            die(EX_DATAERR, "%s: %s has lora_%c but no lora_%c", weights_path, l->module,
                l->a ? 'A' : 'B', l->a ? 'B' : 'A');
        a->settings.targets[p] = a->settings.targets[p] || l->a;
    }
    check_complete(a, config, config_path, weights_path);
    compute_digest(a, tensors);
    safetensors_close(tensors);
    json_decref(config);
    free(config_path);
    free(weights_path);
    free(facts_path);
    return a;
}

/* ---- writing ---- */

static void write_json(const char *folder, const char *name, const json_t *value)
{
    char *path = xasprintf("%s/%s", folder, name);
    struct outfile *out = outfile_open(path);
    char *text = json_text(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    fprintf(outfile_stream(out), "%s\n", text);
    free(text);
    outfile_finish(out);
    free(path);
}

static json_t *peft_config(const struct adapter_settings *s, const char *base_folder)
{
    json_t *targets = json_array();
    for (int p = 0; p < PROJECTIONS; p++)
        if (s->targets[p])
            json_array_append_new(targets, json_string(projection_name(p)));
    json_t *alpha =
        s->alpha == floor(s->alpha) ? json_integer((json_int_t)s->alpha) : json_real(s->alpha);
    return json_pack("{s:s, s:s, s:o, s:n, s:b, s:i, s:o, s:f, s:o, s:s, s:b, s:b, s:b, s:b, s:n, "
                     "s:n, s:{}, s:{}}",
                     "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path",
                     json_lossy(base_folder), "revision", "inference_mode", 1, "r", s->rank,
                     "lora_alpha", alpha, "lora_dropout", s->dropout, "target_modules", targets,
                     "bias", "none", "use_rslora", s->rslora, "use_dora", 0, "fan_in_fan_out", 0,
                     "init_lora_weights", 1, "modules_to_save", "layers_to_transform",
                     "rank_pattern", "alpha_pattern");
}

void adapter_write(const struct adapter *a, const char *folder, const char *base_folder)
{
    if (mkdir(folder, 0777) && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", folder, strerror(errno));
    char *config_path = xasprintf("%s/adapter_config.json", folder);
    if (unlink(config_path) && errno != ENOENT)
        die(EX_CANTCREAT, "%s: cannot be replaced: %s", config_path, strerror(errno));
    free(config_path);

    struct tensor *tensors = xcalloc(2 * adapter_parts(a), sizeof *tensors);
    size_t n = 0;
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *l = &a->parts[i];
        if (!l->a)
            continue;
        tensors[n++] =
            (struct tensor){.name = xasprintf("%s%s.lora_A.weight", peft_prefix, l->module),
                            .dtype = F32,
                            .n_dims = 2,
                            .shape = {l->rank, l->in},
                            .data = l->a};
        tensors[n++] =
            (struct tensor){.name = xasprintf("%s%s.lora_B.weight", peft_prefix, l->module),
                            .dtype = F32,
                            .n_dims = 2,
                            .shape = {l->out, l->rank},
                            .data = l->b};
    }
    char *path = xasprintf("%s/adapter_model.safetensors", folder);
    outfile_remove_stale(path);
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    safetensors_write(path, tensors, n, metadata);
    json_decref(metadata);
    free(path);
    for (size_t i = 0; i < n; i++)
        free((char *)tensors[i].name);
    free(tensors);

    if (a->facts)
        write_json(folder, "duq.json", a->facts);
    json_t *config = peft_config(&a->settings, base_folder);
    write_json(folder, "adapter_config.json", config);
    json_decref(config);
}
