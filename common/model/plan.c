#include "common/model/plan.h"

#include "common/model/backward.h"
#include "common/model/lora.h"
#include "common/util/mem.h"

#include <stdlib.h>

/* ---- scoring ---- */

/* As lm-score does it: a window of records at a time. */
static void score(struct plan *p, struct model *m, const struct sequence *s, int n)
{
    struct scorer *r = scorer_open(m, p->settings.score);
    float *logits = xreallocarray(NULL, (size_t)n * (size_t)m->n_classes + 1, sizeof *logits);
    for (int first = 0, end; first < n; first = end) {
        long tokens = 0;
        for (end = first;
             end < n && end - first < SCORE_WINDOW_RECORDS && tokens < SCORE_WINDOW_TOKENS;)
            tokens += s[end++].n;
        scorer_run(r, s + first, end - first, logits, NULL);
    }
    p->prefixes = scorer_counts(r).prefixes;
    scorer_close(r);
    free(logits);
}

/* ---- training ---- */

/* One epoch of optimizer steps as train() takes them, their losses apart, which are of a few
 * numbers for each example. */
static void train_epoch(struct plan *p, struct model *m, const struct adapter *a,
                        const struct sequence *s, int n)
{
    const struct plan_settings *set = &p->settings;
    struct backward *b = backward_open(m);
    float *logits = xcalloc((size_t)set->batch * (size_t)m->n_classes, sizeof *logits);
    size_t largest_a = 1, largest_b = 1;
    for (size_t i = 0; i < adapter_parts(a); i++) {
        size_t rank = (size_t)a->parts[i].rank;
        size_t size_a = rank * (size_t)a->parts[i].in, size_b = rank * (size_t)a->parts[i].out;
        largest_a = size_a > largest_a ? size_a : largest_a;
        largest_b = size_b > largest_b ? size_b : largest_b;
    }
    float *gradient_a = xreallocarray(NULL, largest_a, sizeof *gradient_a);
    float *gradient_b = xreallocarray(NULL, largest_b, sizeof *gradient_b);
    uint32_t pass = 0;
    for (int at = 0; at < n;) {
        lora_clear_gradients(m->lora);
        for (int k = 0; k < set->accumulate && at < n; k++) {
            int count = n - at < set->batch ? n - at : set->batch;
            lora_set_dropout(m->lora, set->adapter.dropout, 0, pass++);
            backward_logits(b, s + at, count, logits);
            backward_gradients(b, logits);
            at += count;
        }
        for (size_t i = 0; i < adapter_parts(a); i++)
            if (a->parts[i].a)
                lora_gradients(m->lora, i, gradient_a, gradient_b);
        lora_refresh(m->lora);
    }
    backward_close(b);
    free(logits);
    free(gradient_a);
    free(gradient_b);
}

/* ---- the plan ---- */

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
    p->computed = count_device_tokens(d);
    p->passes = count_device_passes(d);
}

struct plan *plan_make(const char *config, const struct machine *machine,
                       const struct plan_settings *s, const struct sequence *sequences, int n,
                       const int32_t *class_tokens, int n_classes)
{
    struct plan *p = xcalloc(1, sizeof *p);
    p->settings = *s;
    p->machine = *machine;
    struct model *m = model_without_weights(config, BF16);
    struct device *d = count_device_open(s->compute, machine);
    model_load(m, d);
    model_set_classes(m, class_tokens, n_classes);
    p->products = model_products(m);
    p->architecture = xstrdup(m->config->architecture);
    p->weights = count_device_held(d);
    struct adapter *a = s->adapter.rank ? adapter_create(m->config, &s->adapter, 0) : NULL;
    if (a)
        m->lora = lora_load(d, a, class_tokens, n_classes);
    if (s->stage == PLAN_TRAIN)
        lora_clear_gradients(m->lora);
    p->adapter = count_device_held(d) - p->weights;
    count_device_reset(d);

    p->records = (unsigned long)n;
    for (int i = 0; i < n; i++)
        p->tokens += (unsigned long)sequences[i].n;
    if (s->stage == PLAN_SCORE)
        score(p, m, sequences, n);
    else
        train_epoch(p, m, a, sequences, n);
    take_counts(p, d);
    p->working = count_device_peak(d) - p->weights - p->adapter;
    if (a) {
        lora_free(m->lora);
        adapter_free(a);
    }
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
