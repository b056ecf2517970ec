/* Writing an adapter's folder. */
#include "common/model/adapter_parts.h"
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

static void write_json(const char *folder, const char *name, const json_t *value)
{
    char *path = xasprintf("%s/%s", folder, name);
    outfile_remove_stale(path);
    struct outfile *out = outfile_open(path);
    json_write(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17),
               outfile_stream(out));
    outfile_finish(out);
    free(path);
}

/* Parts of one layer that are fused and have an adapter: [n], beginning with part i. 1 where
 * nothing is fused. */
static int fused_parts(const struct adapter *a, size_t i,
                       const struct lora *parts[LAYER_PROJECTIONS])
{
    int n = 0;
    for (size_t k = i; k < adapter_parts(a) && !strcmp(a->parts[k].module, a->parts[i].module); k++)
        if (a->parts[k].a)
            parts[n++] = &a->parts[k];
    return n;
}

/* Whether a part is the first of those that share its module. */
static bool first_of_module(const struct adapter *a, size_t i)
{
    return i == 0 || strcmp(a->parts[i].module, a->parts[i - 1].module) != 0;
}

/* Under a module's last name, times as much as the whole adapter's value. */
static void add_pattern(json_t *pattern, const char *module, json_t *value)
{
    json_object_set_new(pattern, strrchr(module, '.') + 1, value);
}

static json_t *number(double x)
{
    return x == floor(x) ? json_integer((json_int_t)x) : json_real(x);
}

static bool holds(const json_t *list, const char *name)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        if (!strcmp(json_string_value(v), name))
            return true;
    }
    return false;
}

/* The last names of the modules in the order of their use; of fused ones that have several parts,
 * n, n times the rank, at the same scale. */
static json_t *peft_modules(const struct adapter *a, json_t *ranks, json_t *alphas)
{
    const struct adapter_settings *s = &a->settings;
    json_t *targets = json_array();
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *parts[LAYER_PROJECTIONS];
        const char *module = a->parts[i].module, *dot = strrchr(module, '.');
        const char *name = dot ? dot + 1 : module;
        int n = first_of_module(a, i) ? fused_parts(a, i, parts) : 0;
        if (!n || holds(targets, name))
            continue;
        json_array_append_new(targets, json_string(name));
        if (n > 1) {
            add_pattern(ranks, module, json_integer(n * s->rank));
            add_pattern(alphas, module, number(s->alpha * (s->rslora ? sqrt(n) : n)));
        }
    }
    return targets;
}

static json_t *peft_config(const struct adapter *a, const char *base_folder)
{
    const struct adapter_settings *s = &a->settings;
    json_t *ranks = json_object(), *alphas = json_object();
    json_t *targets = peft_modules(a, ranks, alphas);
    if (s->pattern) {
        json_decref(targets);
        targets = json_string(s->pattern);
    }
    return json_pack("{s:s, s:s, s:o, s:n, s:b, s:i, s:o, s:f, s:o, s:s, s:b, s:b, s:b, s:b, s:n, "
                     "s:n, s:o, s:o}",
                     "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path",
                     json_lossy(base_folder), "revision", "inference_mode", 1, "r", s->rank,
                     "lora_alpha", number(s->alpha), "lora_dropout", s->dropout, "target_modules",
                     targets, "bias", "none", "use_rslora", s->rslora, "use_dora", 0,
                     "fan_in_fan_out", 0, "init_lora_weights", 1, "modules_to_save",
                     "layers_to_transform", "rank_pattern", ranks, "alpha_pattern", alphas);
}

/* A module's A, or the parts' one under another; and its B, in which each has its own rows and
 * columns: what PEFT computes of them is what each part adds to its own rows. */
static float *stack_a(const struct lora *const *parts, int n)
{
    size_t size = (size_t)parts[0]->rank * (size_t)parts[0]->in;
    float *a = xreallocarray(NULL, (size_t)n * size, sizeof *a);
    for (int k = 0; k < n; k++)
        memcpy(a + (size_t)k * size, parts[k]->a, size * sizeof *a);
    return a;
}

static float *stack_b(const struct lora *const *parts, int n)
{
    size_t rank = (size_t)parts[0]->rank, columns = (size_t)n * rank;
    float *b = xcalloc((size_t)parts[0]->fused.out * columns, sizeof *b);
    for (int k = 0; k < n; k++)
        for (size_t o = 0; o < (size_t)parts[k]->out; o++)
            memcpy(b + ((size_t)parts[k]->fused.first + o) * columns + (size_t)k * rank,
                   parts[k]->b + o * rank, rank * sizeof *b);
    return b;
}

static void add_tensor(struct tensor *t, const char *module, char matrix, int rows, int columns,
                       float *values)
{
    *t = (struct tensor){.name = xasprintf("%s%s.lora_%c.weight", PEFT_PREFIX, module, matrix),
                         .dtype = F32,
                         .n_dims = 2,
                         .shape = {rows, columns},
                         .data = values};
}

static void write_tensors(const struct adapter *a, const char *folder)
{
    struct tensor *tensors = xcalloc(2 * adapter_parts(a), sizeof *tensors);
    size_t n = 0;
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct lora *parts[LAYER_PROJECTIONS];
        int count = first_of_module(a, i) ? fused_parts(a, i, parts) : 0;
        if (!count)
            continue;
        int rank = count * parts[0]->rank;
        add_tensor(&tensors[n++], parts[0]->module, 'A', rank, parts[0]->in, stack_a(parts, count));
        add_tensor(&tensors[n++], parts[0]->module, 'B', parts[0]->fused.out, rank,
                   stack_b(parts, count));
    }
    char *path = xasprintf("%s/adapter_model.safetensors", folder);
    outfile_remove_stale(path);
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    safetensors_write(path, tensors, n, metadata);
    json_decref(metadata);
    free(path);
    for (size_t i = 0; i < n; i++) {
        free((char *)tensors[i].name);
        free((float *)tensors[i].data);
    }
    free(tensors);
}

/* The facts with the digest of the weights that were written. */
static void write_facts(const struct adapter *a, const char *folder)
{
    char *path = xasprintf("%s/adapter_model.safetensors", folder);
    struct safetensors *tensors = safetensors_open_file(path);
    char digest[DIGEST_SIZE];
    adapter_weights_digest(tensors, digest);
    json_t *facts = json_copy(a->facts);
    json_object_set_new(facts, "weights", json_string(digest));
    write_json(folder, "duq.json", facts);
    json_decref(facts);
    safetensors_close(tensors);
    free(path);
}

void adapter_write(const struct adapter *a, const char *folder, const char *base_folder)
{
    if (mkdir(folder, 0777) && errno != EEXIST)
        die(EX_CANTCREAT, "%s: cannot be created: %s", folder, strerror(errno));
    char *config_path = xasprintf("%s/adapter_config.json", folder);
    if (unlink(config_path) && errno != ENOENT)
        die(EX_CANTCREAT, "%s: cannot be replaced: %s", config_path, strerror(errno));
    free(config_path);
    write_tensors(a, folder);
    if (a->facts)
        write_facts(a, folder);
    json_t *config = peft_config(a, base_folder);
    write_json(folder, "adapter_config.json", config);
    json_decref(config);
}
