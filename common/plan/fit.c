#include "common/plan/fit.h"

#include "common/model/lora.h"
#include "common/plan/plan.h"
#include "common/util/mem.h"
#include "kernels/count/count_device.h"

#include <stdlib.h>

/* Times do not matter here. */
static const struct machine any_machine = {
    .name = "any", .product_rate = 1, .f32_rate = 1, .bandwidth = 1, .memory = 1e18};

/* A model of another's shape on a counting device. */
struct shadow {
    struct device *device;
    struct model *model;
    char *config;
    int32_t *class_tokens;
};

/* The tokens stand for any: of the adapter's lm_head as many rows are held. */
static struct shadow make_shadow(const struct model *m)
{
    struct shadow shadow = {.config = xstrdup(m->config->path),
                            .class_tokens = xcalloc((size_t)m->n_classes, sizeof(int32_t))};
    for (int i = 0; i < m->n_classes; i++)
        shadow.class_tokens[i] = i % m->config->vocab;
    shadow.device = count_device_open(m->device->compute, &any_machine);
    count_device_attend_as(shadow.device, m->device);
    shadow.model = model_without_weights(shadow.config, model_stored_type(m));
    model_load(shadow.model, shadow.device);
    model_set_classes(shadow.model, shadow.class_tokens, m->n_classes);
    return shadow;
}

static void free_shadow(struct shadow *shadow)
{
    model_close(shadow->model);
    shadow->device->close(shadow->device);
    free(shadow->config);
    free(shadow->class_tokens);
}

/* Matrices are held in the compute type, or in f32 on the processor in the type of the files. */
static double weight_bytes(const struct shadow *shadow, const struct model *m)
{
    double counted = count_device_held(shadow->device);
    if (m->device->own_memory || m->device->compute != F32)
        return counted;
    return counted - model_products(m) * (double)(sizeof(float) - dtype_size(model_stored_type(m)));
}

/* ---- scoring ---- */

/* A pass of so many tokens, in equal spans at the last positions, with as many copies of keys as a
 * pass may have. */
static void run_pass(struct forward *f, const struct model *m, int tokens, int spans, int copies,
                     const struct prefix_cache *cache)
{
    struct batch b = {.n_tokens = tokens,
                      .n_spans = spans,
                      .n_reads = spans,
                      .n_copies = copies,
                      .reads = xcalloc((size_t)spans, sizeof *b.reads),
                      .copies = xcalloc((size_t)copies + 1, sizeof *b.copies),
                      .tokens = xcalloc((size_t)tokens, sizeof *b.tokens),
                      .positions = xcalloc((size_t)tokens, sizeof *b.positions),
                      .spans = xcalloc((size_t)spans, sizeof *b.spans),
                      .max_position = m->config->max_positions - 1};
    int own = tokens / spans;
    for (int i = 0; i < spans; i++) {
        b.reads[i] = 1;
        b.spans[i] = (struct attention_span){.query_row = i * own,
                                             .queries = own,
                                             .key_row = i * own,
                                             .keys = own,
                                             .prefix = cache ? cache->rows : 0};
    }
    float *logits = xcalloc((size_t)spans * (size_t)m->n_classes, sizeof *logits);
    forward_logits(f, &b, cache, logits, NULL, NULL);
    free(logits);
    batch_free(&b);
}

struct score_memory score_memory(const struct model *m, const struct adapter *a,
                                 struct score_options options)
{
    struct shadow shadow = make_shadow(m);
    struct score_memory memory = {.weights = weight_bytes(&shadow, m)};
    double before = count_device_held(shadow.device);
    struct lora_set *lora =
        a ? lora_load(shadow.device, a, shadow.class_tokens, m->n_classes) : NULL;
    memory.adapter = count_device_held(shadow.device) - before;
    before += memory.adapter;
    struct prefix_cache cache = {0};
    if (options.share)
        prefix_cache_reserve(&cache, shadow.model, options.batch_tokens);
    memory.prefixes = count_device_held(shadow.device) - before;
    before += memory.prefixes;
    struct forward *f = forward_open(shadow.model, lora);
    struct vocabulary *all = options.mass ? vocabulary_open(shadow.model, lora) : NULL;
    if (all)
        vocabulary_reserve(all, options.batch_tokens);
    bool branches = options.tree && options.tree->n_branches > 1;
    int copies = branches ? COPIES_PER_TOKEN * options.batch_tokens : 0;
    /* Most buffers for many short records, most scores of attention for a long one. */
    const struct prefix_cache *prefixes = options.share ? &cache : NULL;
    run_pass(f, shadow.model, options.batch_tokens, options.batch_tokens, copies, prefixes);
    run_pass(f, shadow.model, options.batch_tokens, 1, copies, prefixes);
    memory.pass = count_device_peak(shadow.device) - before;
    if (all)
        vocabulary_close(all);
    forward_close(f);
    prefix_cache_free(&cache, shadow.model);
    if (a)
        lora_free(lora);
    free_shadow(&shadow);
    return memory;
}

int fitting_batch_tokens(const struct model *m, const struct adapter *a,
                         struct score_options options)
{
    struct device *d = m->device;
    if (!d->own_memory)
        return CPU_BATCH_TOKENS;
    size_t available, total;
    d->memory(d, &available, &total);
    int tokens = MOST_BATCH_TOKENS;
    for (; tokens > LEAST_BATCH_TOKENS; tokens /= 2) {
        options.batch_tokens = tokens;
        struct score_memory need = score_memory(m, a, options);
        if (need.pass + need.prefixes <= 0.9 * (double)available)
            break;
    }
    return tokens;
}

/* ---- training ---- */

static int longer_first(const void *a, const void *b)
{
    const struct sequence *x = a, *y = b;
    return (x->n < y->n) - (x->n > y->n);
}

/* Of a full pass, whatever the set's sequences are. */
static double validation_memory(const struct model *m, const struct adapter_settings *s,
                                const struct training_set *set)
{
    struct score_options options = validation_options(set->tree);
    for (int i = 0; i < set->n; i++)
        if (set->sequences[i].n > options.batch_tokens)
            options.batch_tokens = set->sequences[i].n;
    struct adapter *a = adapter_create(m->config, s, 0);
    struct score_memory memory = score_memory(m, a, options);
    adapter_free(a);
    return memory.pass + memory.prefixes;
}

struct train_memory train_memory(const struct model *m, const struct trainer_settings *s,
                                 const struct training_set *set,
                                 const struct training_set *validation)
{
    struct sequence *longest = xreallocarray(NULL, (size_t)set->n, sizeof *longest);
    memcpy(longest, set->sequences, (size_t)set->n * sizeof *longest);
    qsort(longest, (size_t)set->n, sizeof *longest, longer_first);
    int n = set->n < s->batch ? set->n : s->batch;
    struct shadow shadow = make_shadow(m);
    struct plan_settings settings = {.stage = PLAN_TRAIN,
                                     .compute = m->device->compute,
                                     .stored = model_stored_type(m),
                                     .attends_as = m->device,
                                     .adapter = s->adapter,
                                     .batch = s->batch,
                                     .accumulate = s->accumulate,
                                     .epochs = 1,
                                     .kept = s->kept,
                                     .tree = set->tree};
    struct plan *p = plan_make(shadow.config, &any_machine, &settings, longest, n,
                               set->class_tokens, set->n_outputs);
    struct train_memory memory = {
        .weights = weight_bytes(&shadow, m), .adapter = p->adapter, .pass = p->working};
    plan_free(p);
    free_shadow(&shadow);
    free(longest);
    if (validation)
        memory.validation = validation_memory(m, &s->adapter, validation);
    return memory;
}

int fitting_kept_layers(const struct model *m, const struct trainer_settings *s,
                        const struct training_set *set, const struct training_set *validation)
{
    struct trainer_settings none = *s, all = *s;
    none.kept = 0;
    all.kept = m->config->layers - 1;
    if (all.kept == 0)
        return 0;
    struct train_memory least = train_memory(m, &none, set, validation);
    double each = (train_memory(m, &all, set, NULL).pass - least.pass) / all.kept;
    size_t available, total;
    m->device->memory(m->device, &available, &total);
    double share = m->device->own_memory ? 0.9 : 0.5;
    double room = share * (double)available - least.adapter - least.pass - least.validation;
    return room < each ? 0 : room < each * all.kept ? (int)(room / each) : all.kept;
}
