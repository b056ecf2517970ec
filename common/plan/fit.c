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
struct double_of {
    struct device *device;
    struct model *model;
    char *config;
    int32_t *class_tokens;
};

/* The tokens stand for any: of the adapter's lm_head as many rows are held. */
static struct double_of make_double(const struct model *m)
{
    struct double_of two = {.config = xasprintf("%s/config.json", m->config->folder),
                            .class_tokens = xcalloc((size_t)m->n_classes, sizeof(int32_t))};
    for (int i = 0; i < m->n_classes; i++)
        two.class_tokens[i] = i % m->config->vocab;
    two.device = count_device_open(m->device->compute, &any_machine);
    count_device_attend_as(two.device, m->device);
    two.model = model_without_weights(two.config, model_stored_type(m));
    model_load(two.model, two.device);
    model_set_classes(two.model, two.class_tokens, m->n_classes);
    return two;
}

static void free_double(struct double_of *two)
{
    model_close(two->model);
    two->device->close(two->device);
    free(two->config);
    free(two->class_tokens);
}

/* Matrices are held in the compute type, or in f32 on the processor in the type of the files. */
static double weight_bytes(const struct double_of *two, const struct model *m)
{
    double counted = count_device_held(two->device);
    if (m->device->copies || m->device->compute != F32)
        return counted;
    return counted - model_products(m) * (double)(sizeof(float) - dtype_size(model_stored_type(m)));
}

/* ---- scoring ---- */

/* A pass of so many tokens, in equal spans at the last positions. */
static void run_pass(struct forward *f, const struct model *m, int tokens, int spans,
                     const struct prefix_cache *cache)
{
    struct batch b = {.n_tokens = tokens,
                      .n_spans = spans,
                      .tokens = xcalloc((size_t)tokens, sizeof *b.tokens),
                      .positions = xcalloc((size_t)tokens, sizeof *b.positions),
                      .spans = xcalloc((size_t)spans, sizeof *b.spans),
                      .max_position = m->config->max_positions - 1};
    int own = tokens / spans;
    for (int i = 0; i < spans; i++)
        b.spans[i] = (struct attention_span){.query_row = i * own,
                                             .queries = own,
                                             .key_row = i * own,
                                             .keys = own,
                                             .prefix = cache ? cache->rows : 0};
    float *logits = xcalloc((size_t)spans * (size_t)m->n_classes, sizeof *logits);
    forward_logits(f, &b, cache, logits);
    free(logits);
    batch_free(&b);
}

struct score_memory score_memory(const struct model *m, const struct adapter *a,
                                 struct score_options options)
{
    struct double_of two = make_double(m);
    struct score_memory memory = {.weights = weight_bytes(&two, m)};
    double before = count_device_held(two.device);
    if (a)
        two.model->lora = lora_load(two.device, a, two.class_tokens, m->n_classes);
    memory.adapter = count_device_held(two.device) - before;
    before += memory.adapter;
    struct prefix_cache cache = {0};
    if (options.share)
        prefix_cache_reserve(&cache, two.model, options.batch_tokens);
    memory.prefixes = count_device_held(two.device) - before;
    before += memory.prefixes;
    struct forward *f = forward_open(two.model);
    /* Most buffers for many short records, most scores of attention for a long one. */
    const struct prefix_cache *prefixes = options.share ? &cache : NULL;
    run_pass(f, two.model, options.batch_tokens, options.batch_tokens, prefixes);
    run_pass(f, two.model, options.batch_tokens, 1, prefixes);
    memory.pass = count_device_peak(two.device) - before;
    forward_close(f);
    prefix_cache_free(&cache, two.model);
    if (a)
        lora_free(two.model->lora);
    free_double(&two);
    return memory;
}

int fitting_batch_tokens(const struct model *m, const struct adapter *a, bool share)
{
    struct device *d = m->device;
    if (!d->copies)
        return CPU_BATCH_TOKENS;
    size_t available, total;
    d->memory(d, &available, &total);
    int tokens = MOST_BATCH_TOKENS;
    for (; tokens > LEAST_BATCH_TOKENS; tokens /= 2) {
        struct score_memory need =
            score_memory(m, a, (struct score_options){.batch_tokens = tokens, .share = share});
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

struct train_memory train_memory(const struct model *m, const struct trainer_settings *s,
                                 const struct training_set *set)
{
    struct sequence *longest = xreallocarray(NULL, (size_t)set->n, sizeof *longest);
    memcpy(longest, set->sequences, (size_t)set->n * sizeof *longest);
    qsort(longest, (size_t)set->n, sizeof *longest, longer_first);
    int n = set->n < s->batch ? set->n : s->batch;
    struct double_of two = make_double(m);
    struct plan_settings settings = {.stage = PLAN_TRAIN,
                                     .compute = m->device->compute,
                                     .attends_as = m->device,
                                     .adapter = s->adapter,
                                     .batch = s->batch,
                                     .accumulate = s->accumulate,
                                     .epochs = 1};
    struct plan *p = plan_make(two.config, &any_machine, &settings, longest, n, set->class_tokens,
                               set->n_classes);
    struct train_memory memory = {
        .weights = weight_bytes(&two, m), .adapter = p->adapter, .pass = p->working};
    plan_free(p);
    free_double(&two);
    free(longest);
    return memory;
}
