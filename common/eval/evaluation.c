#include "common/eval/evaluation.h"

#include "common/eval/bootstrap.h"
#include "common/eval/combination.h"
#include "common/eval/statistic.h"
#include "common/util/mem.h"
#include "common/util/progress.h"
#include "common/util/threads.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

struct statistics {
    struct statistic *list;
    struct results results;
};

/* ---- what is measured ---- */

static void add(struct statistics *s, struct statistic t, char *set, char *metric)
{
    struct results *r = &s->results;
    s->list = xreallocarray(s->list, r->count + 1, sizeof *s->list);
    r->list = xreallocarray(r->list, r->count + 1, sizeof *r->list);
    s->list[r->count] = t;
    bool of_classes = t.kind == CLASSIFICATION || t.kind == OF_MEMBERS;
    r->list[r->count++] =
        (struct result){.set = set,
                        .against = t.out ? t.out->name : NULL,
                        .metric = metric,
                        .value = NAN,
                        .low = NAN,
                        .high = NAN,
                        .p = NAN,
                        .deviation = NAN,
                        .definition = of_classes ? metric_definition(t.metric, t.binning) : NULL};
}

/* The uncertainties that are shown of every set, and those that this one has beside them. */
static bool is_shown(const struct prediction_set *set, enum uncertainty_kind k)
{
    return set->uncertainty[k] || k < N_PARTS;
}

static void add_levels(struct statistics *s, struct statistic t, const struct levels *levels)
{
    for (size_t i = 0; i < levels->n; i++)
        for (int k = 0; k < N_UNCERTAINTIES; k++) {
            t.level = levels->values[i];
            t.uncertainty = k;
            if (is_shown(t.set, k))
                add(s, t, xstrdup(t.set->name),
                    xasprintf("%s_%g_%s", selection_name(t.selection), t.level,
                              uncertainty_name(k)));
        }
}

static void add_set(struct statistics *s, const struct prediction_set *set,
                    const struct evaluation_settings *e)
{
    struct statistic t = {.set = set, .binning = e->binning, .kind = CLASSIFICATION};
    for (int m = 0; m < N_METRICS; m++) {
        t.metric = m;
        if (metric_is_of(m, e->definitions))
            add(s, t, xstrdup(set->name), xstrdup(metric_name(m)));
    }
    t.kind = MEAN;
    for (int k = 0; k < N_UNCERTAINTIES; k++) {
        t.uncertainty = k;
        if (is_shown(set, k))
            add(s, t, xstrdup(set->name), xasprintf("mean_%s", uncertainty_name(k)));
    }
    t.kind = SELECTION;
    for (int i = 0; i < N_SELECTIONS; i++)
        for (int k = 0; k < N_UNCERTAINTIES; k++) {
            t.selection = i;
            t.uncertainty = k;
            if (is_shown(set, k))
                add(s, t, xstrdup(set->name),
                    xasprintf("%s_%s", selection_name(i), uncertainty_name(k)));
        }
    t.selection = RISK_AT_COVERAGE;
    add_levels(s, t, &e->at_coverages);
    t.selection = COVERAGE_AT_RISK;
    add_levels(s, t, &e->at_risks);
}

static void add_members(struct statistics *s, const struct prediction_set *set,
                        const struct evaluation_settings *e)
{
    struct statistic t = {.set = set, .binning = e->binning, .kind = OF_MEMBERS};
    for (int m = 0; m < N_METRICS; m++) {
        t.metric = m;
        if (metric_is_of(m, e->definitions))
            add(s, t, xasprintf("%s/prompts", set->name), xstrdup(metric_name(m)));
    }
    t.kind = MEMBERS_TOTAL;
    add(s, t, xasprintf("%s/prompts", set->name), xstrdup("mean_total"));
}

static void add_detection(struct statistics *s, const struct ood_set *ood)
{
    struct statistic t = {.set = ood->of, .out = ood->set, .kind = DETECTION};
    for (int k = 0; k < N_UNCERTAINTIES; k++)
        for (int d = 0; d < N_DETECTIONS; d++) {
            t.uncertainty = k;
            t.detection = d;
            if (is_shown(ood->of, k))
                add(s, t, xstrdup(ood->of->name),
                    xasprintf("%s_%s", detection_name(d), uncertainty_name(k)));
        }
}

/* ---- intervals ---- */

/* values: of one bootstrap replicate, a value for each statistic: the sets' texts drawn alike,
 * every out-of-distribution set's on its own. */
static void replicate(const struct evaluation_settings *e, const struct statistic *list,
                      size_t count, size_t number, double *values)
{
    size_t n = e->sets[0]->n;
    size_t *rows = draw_rows(n, e->seed, number, 0);
    struct draw d = {rows, NULL, n, 0};
    size_t *out_rows = NULL, unused;
    const struct prediction_set *drawn = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct prediction_set *out = list[i].out;
        if (out != drawn) {
            free(out_rows);
            out_rows = draw_rows(out->n, e->seed, number, 1);
            d = (struct draw){rows, out_rows, n, out->n};
            drawn = out;
        }
        values[i] = statistic_value(&list[i], &d, NULL, &unused);
    }
    free(out_rows);
    free(rows);
}

struct replicates {
    const struct evaluation_settings *settings;
    const struct statistic *statistics;
    size_t count;   /* of statistics */
    double *values; /* [replicates][count] */
    atomic_ulong done;
};

static void one_replicate(void *context, size_t i)
{
    struct replicates *r = context;
    replicate(r->settings, r->statistics, r->count, i, r->values + i * r->count);
    unsigned long done = atomic_fetch_add(&r->done, 1) + 1;
    if (thread_number() == 0) /* the line on the terminal is one thread's */
        progress_update(done);
}

static void find_interval(double *values, size_t n, struct result *r)
{
    if (r->difference && !isnan(r->value))
        r->p = sign_p_value(values, n);
    percentile_interval(values, n, 0.95, &r->low, &r->high);
}

/* results: those of the statistics, then those of the combinations. */
static void find_intervals(const struct evaluation_settings *e, const struct statistic *statistics,
                           struct results *results, const struct combinations *c)
{
    size_t n = e->replicates, count = results->count - c->count;
    double *values = xreallocarray(NULL, n * count, sizeof *values);
    progress_start("replicates", n);
    threads_run(n, one_replicate, &(struct replicates){e, statistics, count, values, 0});
    progress_end();
    double *of_one = xreallocarray(NULL, n, sizeof *of_one);
    for (size_t j = 0; j < results->count; j++) {
        for (size_t i = 0; i < n; i++)
            of_one[i] = j < count ? values[i * count + j]
                                  : combination_value(&c->list[j - count], values + i * count);
        find_interval(of_one, n, &results->list[j]);
    }
    free(of_one);
    free(values);
}

static size_t *all_rows(size_t n)
{
    size_t *rows = xreallocarray(NULL, n, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    return rows;
}

static struct statistics list_statistics(const struct evaluation_settings *e)
{
    struct statistics s = {0};
    for (size_t i = 0; i < e->n_sets; i++) {
        add_set(&s, e->sets[i], e);
        if (e->members && e->sets[i]->n_members)
            add_members(&s, e->sets[i], e);
    }
    for (size_t i = 0; i < e->n_oods; i++)
        add_detection(&s, &e->oods[i]);
    return s;
}

struct result *evaluate(const struct evaluation_settings *e, size_t *count)
{
    struct statistics s = list_statistics(e);
    size_t most = e->sets[0]->n;
    for (size_t i = 0; i < e->n_oods; i++)
        most = e->oods[i].set->n > most ? e->oods[i].set->n : most;
    size_t *rows = all_rows(most);
    for (size_t i = 0; i < s.results.count; i++) {
        const struct prediction_set *out = s.list[i].out;
        struct draw d = {rows, rows, s.list[i].set->n, out ? out->n : 0};
        struct result *r = &s.results.list[i];
        r->value = statistic_value(&s.list[i], &d, r->reason, &r->n);
    }
    free(rows);
    struct combinations c = combine(&s.results, s.list, e->baseline);
    if (e->replicates)
        find_intervals(e, s.list, &s.results, &c);
    combinations_free(&c);
    free(s.list);
    *count = s.results.count;
    return s.results.list;
}

void results_free(struct result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(results[i].set);
        free(results[i].metric);
        free(results[i].definition);
    }
    free(results);
}
