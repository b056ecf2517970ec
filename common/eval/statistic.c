#include "common/eval/statistic.h"

#include "common/eval/ranking.h"
#include "common/eval/risk.h"
#include "common/math/dirichlet.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *selection_name(enum selection s)
{
    static const char *const names[] = {[AURC] = "aurc",
                                        [AUGRC] = "augrc",
                                        [ERROR_AUROC] = "error_auroc",
                                        [RISK_AT_COVERAGE] = "risk_at_coverage",
                                        [COVERAGE_AT_RISK] = "coverage_at_risk"};
    return names[s];
}

const char *detection_name(enum detection d)
{
    static const char *const names[N_DETECTIONS] = {"auroc", "aupr", "fpr95", "wasserstein"};
    return names[d];
}

static double none(char *reason, const char *why)
{
    if (reason)
        snprintf(reason, REASON_SIZE, "%s", why);
    return NAN;
}

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
        sum += metric_value(t->metric, &sample, t->binning, reason);
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

/* s: ranked by score_errors(). */
static double selection_value(const struct statistic *t, struct scored *s, size_t n, char *reason)
{
    size_t count;
    struct risk_point *curve;
    double value;
    switch (t->selection) {
    case AURC:
        return risk_area(s, n);
    case AUGRC:
        return generalised_risk_area(s, n);
    case ERROR_AUROC:
        value = 1 - ranked_auroc(s, n); /* the score is minus the uncertainty */
        return isnan(value) ? none(reason, "all answers are right, or all are wrong") : value;
    case COVERAGE_AT_RISK:
        curve = risk_curve(s, n, &count);
        value = coverage_at_risk(curve, count, t->level);
        break;
    default: { /* RISK_AT_COVERAGE */
        curve = risk_curve(s, n, &count);
        const struct risk_point *p = risk_at_coverage(curve, count, t->level);
        value = (double)p->wrong / (double)p->answered;
    }
    }
    free(curve);
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
    } else if (t->kind == SELECTION) {
        struct scored *s = score_errors(t->set, t->uncertainty, rows, *n);
        value = selection_value(t, s, *n, reason);
        free(s);
    } else if (t->kind == OF_MEMBERS) {
        value = members_metric(t, sample, reason);
    } else {
        value = metric_value(t->metric, &sample, t->binning, reason);
    }
    free(rows);
    return value;
}

static double if_finite(double value, char *reason)
{
    return isfinite(value) ? value : none(reason, "beyond the numbers that a double holds");
}

double statistic_value(const struct statistic *t, const struct draw *d, char *reason, size_t *n)
{
    *n = d->n;
    if (t->kind == MEMBERS_TOTAL)
        return members_total(t->set, d);
    if (t->kind == CLASSIFICATION || t->kind == OF_MEMBERS)
        return labelled_value(t, d, reason, n);
    if (!t->set->uncertainty[t->uncertainty])
        return none(reason, "the set's predictions do not have it");
    if (t->kind == MEAN)
        return if_finite(mean(t->set->uncertainty[t->uncertainty], d), reason);
    if (t->kind == SELECTION)
        return labelled_value(t, d, reason, n);
    *n = d->n + d->n_out;
    if (!t->out->uncertainty[t->uncertainty])
        return none(reason, "the out-of-distribution predictions do not have it");
    return if_finite(detect(t, d), reason);
}
