#include "common/eval/evaluation.h"

#include "common/eval/bootstrap.h"
#include "common/eval/ranking.h"
#include "common/eval/risk.h"
#include "common/math/dirichlet.h"
#include "common/util/mem.h"
#include "common/util/progress.h"
#include "common/util/threads.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum detection { AUROC, AUPR, FPR95, WASSERSTEIN, N_DETECTIONS };
static const char *const detection_names[N_DETECTIONS] = {"auroc", "aupr", "fpr95", "wasserstein"};

/* One figure to be measured, on any resampling of the texts. */
struct statistic {
    enum { CLASSIFICATION, OF_MEMBERS, MEMBERS_TOTAL, MEAN, RISK, DETECTION } kind;
    const struct prediction_set *set, *out; /* out: out of distribution, or NULL */
    enum metric metric;
    enum uncertainty_kind uncertainty;
    enum detection detection;
    size_t bins;
};

struct statistics {
    struct statistic *list;
    struct result *results;
    size_t count;
};

/* Texts drawn: of the sets and of the out-of-distribution set. */
struct draw {
    const size_t *rows, *out_rows;
    size_t n, n_out;
};

static double none(char *reason, const char *why)
{
    if (reason)
        snprintf(reason, REASON_SIZE, "%s", why);
    return NAN;
}

/* ---- single values ---- */

static size_t *keep_labelled(const struct prediction_set *s, const struct draw *d, size_t *n)
{
    size_t *rows = xreallocarray(NULL, d->n, sizeof *rows);
    *n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (s->labels[d->rows[i]] != NO_LABEL)
            rows[(*n)++] = d->rows[i];
    return rows;
}

static struct sample sample_of(const struct prediction_set *s, const size_t *rows, size_t n)
{
    return (struct sample){.probs = s->probs,
                           .n_classes = s->n_classes,
                           .stride = s->n_classes,
                           .labels = s->labels,
                           .rows = rows,
                           .n = n};
}

static double members_metric(const struct statistic *t, struct sample sample, char *reason)
{
    double sum = 0;
    sample.stride = t->set->n_members * t->set->n_classes;
    for (size_t m = 0; m < t->set->n_members && !isnan(sum); m++) {
        sample.probs = t->set->members + m * t->set->n_classes;
        sum += metric_value(t->metric, &sample, t->bins, reason);
    }
    return sum / (double)t->set->n_members;
}

static double members_total(const struct prediction_set *s, const struct draw *d)
{
    double sum = 0;
    size_t k = s->n_members, c = s->n_classes;
    for (size_t i = 0; i < d->n; i++)
        for (size_t m = 0; m < k; m++)
            sum += entropy(s->members + (d->rows[i] * k + m) * c, c);
    return sum / (double)(d->n * k);
}

static double mean(const double *values, const struct draw *d)
{
    double sum = 0;
    for (size_t i = 0; i < d->n; i++)
        sum += values[d->rows[i]];
    return sum / (double)d->n;
}

static struct scored *score_errors(const struct prediction_set *s, enum uncertainty_kind kind,
                                   const size_t *rows, size_t n)
{
    struct scored *scored = xreallocarray(NULL, n, sizeof *scored);
    for (size_t i = 0; i < n; i++) {
        const double *p = s->probs + rows[i] * s->n_classes;
        bool wrong = predicted_class(p, s->n_classes) != (size_t)s->labels[rows[i]];
        scored[i] = (struct scored){-s->uncertainty[kind][rows[i]], wrong};
    }
    rank_scores(scored, n);
    return scored;
}

struct scored *risk_scores(const struct prediction_set *s, enum uncertainty_kind kind, size_t *n)
{
    size_t *rows = labelled_rows(s, n);
    struct scored *scored = *n && s->uncertainty[kind] ? score_errors(s, kind, rows, *n) : NULL;
    free(rows);
    return scored;
}

static double distance(const double *in, const double *out, const struct draw *d)
{
    double *a = xreallocarray(NULL, d->n, sizeof *a), *b = xreallocarray(NULL, d->n_out, sizeof *b);
    for (size_t i = 0; i < d->n; i++)
        a[i] = in[d->rows[i]];
    for (size_t i = 0; i < d->n_out; i++)
        b[i] = out[d->out_rows[i]];
    double w = wasserstein(a, d->n, b, d->n_out);
    free(a);
    free(b);
    return w;
}

static double detect(const struct statistic *t, const struct draw *d)
{
    const double *in = t->set->uncertainty[t->uncertainty];
    const double *out = t->out->uncertainty[t->uncertainty];
    if (t->detection == WASSERSTEIN)
        return distance(in, out, d);
    size_t n = d->n + d->n_out;
    struct scored *s = xreallocarray(NULL, n, sizeof *s);
    for (size_t i = 0; i < d->n; i++)
        s[i] = (struct scored){in[d->rows[i]], false};
    for (size_t i = 0; i < d->n_out; i++)
        s[d->n + i] = (struct scored){out[d->out_rows[i]], true};
    rank_scores(s, n);
    double value = t->detection == AUROC  ? ranked_auroc(s, n)
                   : t->detection == AUPR ? ranked_average_precision(s, n)
                                          : ranked_fpr(s, n, 0.95);
    free(s);
    return value;
}

/* A statistic of labelled texts alone. */
static double labelled_value(const struct statistic *t, const struct draw *d, char *reason,
                             size_t *n)
{
    size_t *rows = keep_labelled(t->set, d, n);
    struct sample sample = sample_of(t->set, rows, *n);
    double value;
    if (*n == 0) {
        value = none(reason, "no text has a label");
    } else if (t->kind == RISK) {
        struct scored *s = score_errors(t->set, t->uncertainty, rows, *n);
        value = risk_area(s, *n);
        free(s);
    } else if (t->kind == OF_MEMBERS) {
        value = members_metric(t, sample, reason);
    } else {
        value = metric_value(t->metric, &sample, t->bins, reason);
    }
    free(rows);
    return value;
}

/* n: receives the number of texts used. */
static double statistic_value(const struct statistic *t, const struct draw *d, char *reason,
                              size_t *n)
{
    *n = d->n;
    if (t->kind == MEMBERS_TOTAL)
        return members_total(t->set, d);
    if (t->kind == CLASSIFICATION || t->kind == OF_MEMBERS)
        return labelled_value(t, d, reason, n);
    if (!t->set->uncertainty[t->uncertainty])
        return none(reason, "the set's predictions do not have it");
    if (t->kind == MEAN)
        return mean(t->set->uncertainty[t->uncertainty], d);
    if (t->kind == RISK)
        return labelled_value(t, d, reason, n);
    *n = d->n + d->n_out;
    if (!t->out->uncertainty[t->uncertainty])
        return none(reason, "the out-of-distribution predictions do not have it");
    return detect(t, d);
}

/* ---- what is measured ---- */

static void add(struct statistics *s, struct statistic t, char *set, char *metric)
{
    s->list = xreallocarray(s->list, s->count + 1, sizeof *s->list);
    s->results = xreallocarray(s->results, s->count + 1, sizeof *s->results);
    s->list[s->count] = t;
    s->results[s->count++] = (struct result){.set = set,
                                             .against = t.out ? t.out->name : NULL,
                                             .metric = metric,
                                             .value = NAN,
                                             .low = NAN,
                                             .high = NAN};
}

static void add_set(struct statistics *s, const struct prediction_set *set, size_t bins)
{
    struct statistic t = {.set = set, .bins = bins, .kind = CLASSIFICATION};
    for (int m = 0; m < N_METRICS; m++) {
        t.metric = m;
        add(s, t, xstrdup(set->name), xstrdup(metric_name(m)));
    }
    t.kind = MEAN;
    for (int k = 0; k < N_UNCERTAINTIES; k++) {
        t.uncertainty = k;
        add(s, t, xstrdup(set->name), xasprintf("mean_%s", uncertainty_name(k)));
    }
    t.kind = RISK;
    for (int k = 0; k < N_UNCERTAINTIES; k++) {
        t.uncertainty = k;
        add(s, t, xstrdup(set->name), xasprintf("aurc_%s", uncertainty_name(k)));
    }
}

static void add_members(struct statistics *s, const struct prediction_set *set, size_t bins)
{
    struct statistic t = {.set = set, .bins = bins, .kind = OF_MEMBERS};
    for (int m = 0; m < N_METRICS; m++) {
        t.metric = m;
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
            add(s, t, xstrdup(ood->of->name),
                xasprintf("%s_%s", detection_names[d], uncertainty_name(k)));
        }
}

/* ---- intervals ---- */

/* values: [count], of one bootstrap replicate: the sets' texts drawn alike, every
 * out-of-distribution set's on its own. */
static void replicate(const struct evaluation_settings *e, const struct statistics *s,
                      size_t number, double *values)
{
    size_t n = e->sets[0]->n;
    size_t *rows = draw_rows(n, e->seed, number, 0);
    struct draw d = {rows, NULL, n, 0};
    size_t *out_rows = NULL, unused;
    const struct prediction_set *drawn = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct prediction_set *out = s->list[i].out;
        if (out != drawn) {
            free(out_rows);
            out_rows = draw_rows(out->n, e->seed, number, 1);
            d = (struct draw){rows, out_rows, n, out->n};
            drawn = out;
        }
        values[i] = statistic_value(&s->list[i], &d, NULL, &unused);
    }
    free(out_rows);
    free(rows);
}

struct replicates {
    const struct evaluation_settings *settings;
    const struct statistics *statistics;
    double *values; /* [replicates][statistics] */
    atomic_ulong done;
};

static void one_replicate(void *context, size_t i)
{
    struct replicates *r = context;
    replicate(r->settings, r->statistics, i, r->values + i * r->statistics->count);
    unsigned long done = atomic_fetch_add(&r->done, 1) + 1;
    if (thread_number() == 0) /* the line on the terminal is one thread's */
        progress_update(done);
}

static void find_intervals(const struct evaluation_settings *e, struct statistics *s)
{
    size_t r = e->replicates;
    double *values = xreallocarray(NULL, r * s->count, sizeof *values);
    progress_start("replicates", r);
    threads_run(r, one_replicate, &(struct replicates){e, s, values, 0});
    progress_end();
    double *of_one = xreallocarray(NULL, r, sizeof *of_one);
    for (size_t j = 0; j < s->count; j++) {
        for (size_t i = 0; i < r; i++)
            of_one[i] = values[i * s->count + j];
        percentile_interval(of_one, r, 0.95, &s->results[j].low, &s->results[j].high);
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

struct result *evaluate(const struct evaluation_settings *e, size_t *count)
{
    struct statistics s = {0};
    for (size_t i = 0; i < e->n_sets; i++) {
        add_set(&s, e->sets[i], e->bins);
        if (e->members && e->sets[i]->n_members)
            add_members(&s, e->sets[i], e->bins);
    }
    for (size_t i = 0; i < e->n_oods; i++)
        add_detection(&s, &e->oods[i]);
    size_t most = e->sets[0]->n;
    for (size_t i = 0; i < e->n_oods; i++)
        most = e->oods[i].set->n > most ? e->oods[i].set->n : most;
    size_t *rows = all_rows(most);
    for (size_t i = 0; i < s.count; i++) {
        const struct prediction_set *out = s.list[i].out;
        struct draw d = {rows, rows, s.list[i].set->n, out ? out->n : 0};
        struct result *r = &s.results[i];
        r->value = statistic_value(&s.list[i], &d, r->reason, &r->n);
    }
    free(rows);
    if (e->replicates)
        find_intervals(e, &s);
    free(s.list);
    *count = s.count;
    return s.results;
}

void results_free(struct result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(results[i].set);
        free(results[i].metric);
    }
    free(results);
}
