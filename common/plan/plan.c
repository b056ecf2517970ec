#include "common/plan/plan.h"

#include "common/model/lora.h"
#include "common/train/trainer.h"
#include "common/util/mem.h"

#include <stdlib.h>

/* ---- counts ---- */

static void take_counts(struct plan *p, const struct device *d)
{
    const struct operation_count *operations = count_device_operations(d, &p->n_operations);
    p->operations = xreallocarray(NULL, p->n_operations + 1, sizeof *p->operations);
    memcpy(p->operations, operations, p->n_operations * sizeof *p->operations);
    struct operation_count *t = &p->total;
    for (size_t i = 0; i < p->n_operations; i++) {
        const struct operation_count *o = &p->operations[i];
        t->calls += o->calls;
        t->launches += o->launches;
        t->flops += o->flops;
        t->bytes_read += o->bytes_read;
        t->bytes_written += o->bytes_written;
        t->seconds += o->seconds;
        for (enum resource r = COMPUTE; r < RESOURCES; r++)
            t->limited[r] += o->limited[r];
    }
}

static void take_passes(struct plan *p, const struct device *d)
{
    p->computed = count_device_tokens(d);
    p->passes = count_device_passes(d);
}

/* ---- scoring ---- */

/* As lm-score does it: a window of records at a time. */
static void score(struct plan *p, struct model *m, struct device *d, const struct sequence *s,
                  int n, const int32_t *class_tokens)
{
    const struct adapter_settings *settings = &p->settings.adapter;
    struct adapter *a = settings->rank ? adapter_create(m->config, settings, 0) : NULL;
    struct lora_set *lora = a ? lora_load(d, a, class_tokens, m->n_classes) : NULL;
    p->adapter = count_device_held(d) - p->weights;
    count_device_reset(d);
    struct score_options options = p->settings.score;
    options.tree = p->settings.tree;
    bool plain = !options.tree || options.tree->plain;
    size_t classes = (size_t)(plain ? m->n_classes : options.tree->n_classes);
    struct scorer *r = scorer_open(m, lora, options);
    float *logits = xreallocarray(NULL, (size_t)n * classes + 1, sizeof *logits);
    for (int first = 0, end; first < n; first = end) {
        size_t tokens = 0;
        for (end = first; end < n && !score_window_full(end - first, tokens);)
            tokens += (size_t)s[end++].n;
        scorer_run(r, s + first, end - first, logits, NULL, NULL);
    }
    p->prefixes = scorer_counts(r).prefixes;
    p->working = count_device_peak(d) - p->weights - p->adapter;
    take_passes(p, d);
    take_counts(p, d);
    scorer_close(r);
    free(logits);
    if (a) {
        lora_free(lora);
        adapter_free(a);
    }
}

/* ---- training ---- */

/* As lora-train does it between steps. */
static void validate(const struct plan *p, struct model *m, struct trainer *t)
{
    const struct plan_settings *s = &p->settings;
    if (!s->n_validation)
        return;
    size_t outputs = (size_t)(s->tree && !s->tree->plain ? s->tree->n_classes : m->n_classes);
    float *logits = xreallocarray(NULL, (size_t)s->n_validation * outputs, sizeof *logits);
    struct scorer *r = scorer_open(m, trainer_lora(t), validation_options(s->tree));
    scorer_run(r, s->validation, s->n_validation, logits, NULL, NULL);
    scorer_close(r);
    free(logits);
}

/* One epoch of optimizer steps as train() takes them. */
static void train_epoch(struct plan *p, struct model *m, struct device *d, const struct sequence *s,
                        int n, const int32_t *class_tokens)
{
    struct trainer_settings settings = {.loss = {.kind = LOSS_SOFTMAX},
                                        .adapter = p->settings.adapter,
                                        .adamw = ADAMW_DEFAULTS,
                                        .batch = p->settings.batch,
                                        .accumulate = p->settings.accumulate,
                                        .kept = p->settings.kept};
    struct adapter *a = adapter_create(m->config, &settings.adapter, 0);
    const struct answer_tree *tree = p->settings.tree;
    int classes = tree ? tree->n_classes : m->n_classes;
    struct training_set set = {.n = n,
                               .n_classes = classes,
                               .n_outputs = m->n_classes,
                               .tree = tree,
                               .sequences = xreallocarray(NULL, (size_t)n, sizeof *set.sequences),
                               .targets =
                                   xcalloc((size_t)n * (size_t)classes, sizeof *set.targets)};
    size_t token_bytes = (size_t)m->n_classes * sizeof *set.class_tokens;
    set.class_tokens = memcpy(xmalloc(token_bytes), class_tokens, token_bytes);
    memcpy(set.sequences, s, (size_t)n * sizeof *s);
    int *examples = xreallocarray(NULL, (size_t)n, sizeof *examples);
    for (int i = 0; i < n; i++)
        examples[i] = i;
    struct ranks *ranks = ranks_open(RANKS_ALONE);
    struct trainer *t = trainer_open(m, a, &set, &settings, ranks);
    p->adapter = count_device_held(d) - p->weights;
    count_device_reset(d);
    int most = settings.batch * settings.accumulate;
    for (int first = 0; first < n; first += most)
        trainer_step(t, &(struct step){.set = &set,
                                       .examples = examples + first,
                                       .n = n - first < most ? n - first : most});
    take_passes(p, d);
    validate(p, m, t);
    p->working = count_device_peak(d) - p->weights - p->adapter;
    take_counts(p, d);
    trainer_close(t);
    ranks->close(ranks);
    adapter_free(a);
    free(examples);
    free(set.sequences);
    free(set.targets);
    free(set.class_tokens);
}

/* ---- the plan ---- */

struct plan *plan_make(const char *config, const struct machine *machine,
                       const struct plan_settings *s, const struct sequence *sequences, int n,
                       const int32_t *class_tokens, int n_classes)
{
    struct plan *p = xcalloc(1, sizeof *p);
    p->settings = *s;
    p->machine = *machine;
    struct model *m = model_without_weights(config, s->stored);
    struct device *d = count_device_open(s->compute, machine);
    if (s->attends_as)
        count_device_attend_as(d, s->attends_as);
    model_load(m, d);
    model_set_classes(m, class_tokens, n_classes);
    p->products = model_products(m);
    p->architecture = xstrdup(m->config->architecture);
    p->weights = count_device_held(d);
    p->records = (unsigned long)n;
    for (int i = 0; i < n; i++)
        p->tokens += (unsigned long)sequences[i].n;
    if (s->stage == PLAN_SCORE)
        score(p, m, d, sequences, n, class_tokens);
    else
        train_epoch(p, m, d, sequences, n, class_tokens);
    model_close(m);
    d->close(d);
    return p;
}

void plan_free(struct plan *p)
{
    free(p->architecture);
    free(p->operations);
    free(p);
}

double plan_bound(const struct plan *p)
{
    return p->total.seconds;
}

double plan_with_launches(const struct plan *p)
{
    return p->total.seconds + (double)p->total.launches * p->machine.launch;
}
